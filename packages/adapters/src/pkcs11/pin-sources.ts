import { open } from "node:fs/promises"
import { ServiceError } from "@sealwright/core/errors"
import { utf8Decode } from "@sealwright/formats/bytes"
import { askHidden } from "./ask-hidden.ts"

const MAX_PIN_BYTES = 1_024
const OTHERS_MAY = 0o077

/** From where PINs come, beside files. */
export interface PinPlaces {
  /** default: this process's */
  readonly environment?: { readonly [name: string]: string | undefined }
  /** default: AWS Secrets Manager, with the credentials that are in force. @param id name or ARN of a secret whose string is the PIN */
  readonly readSecret?: (id: string) => Promise<string>
  /** default: the terminal, without echo */
  readonly ask?: (question: string) => Promise<string>
}

/**
 * What gives a PIN when a login needs it; nothing is kept in between. The text of a source is never repeated in an error, since people put PINs where
 * sources belong.
 * @param source `env:NAME`, `file:PATH`, `prompt`, `secretsmanager:NAME-OR-ARN`
 * @throws ServiceError PIN_UNREADABLE for another source, and from the function when the PIN can't be had
 */
export function pinSource(source: string, places: PinPlaces = {}): () => Promise<string> {
  const [, kind = "", place = ""] = /^(env|file|secretsmanager):(.+)$/s.exec(source) ?? []
  const { environment = process.env, readSecret = readSecretOfAws, ask = askHidden } = places
  if (kind === "env") return async () => checked(environment[place] ?? "", "the environment")
  if (kind === "file") return async () => checked(await readPinFile(place), "the file")
  if (kind === "secretsmanager") return async () => checked(await readSecret(place), "the secret")
  if (source === "prompt") return async () => checked(await ask("PIN: "), "the terminal")
  throw unreadable("a PIN comes from env:NAME, file:PATH, prompt or secretsmanager:ARN")
}

/** A line end behind the PIN is an editor's. */
async function readPinFile(path: string): Promise<string> {
  const file = await open(path, "r").catch((cause: unknown) => {
    throw unreadable("the file of the PIN can't be opened", cause)
  })
  try {
    const { mode, uid } = await file.stat()
    const owned = uid === 0 || uid === process.getuid?.()
    if (!owned || (mode & OTHERS_MAY) !== 0)
      throw unreadable("the file of the PIN is another user's, or its mode lets others in: give it 0400 or 0600")
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_PIN_BYTES + 1), 0, MAX_PIN_BYTES + 1, 0)
    if (bytesRead > MAX_PIN_BYTES) throw unreadable("the file of the PIN is too long")
    return utf8Decode(new Uint8Array(buffer.subarray(0, bytesRead))).replace(/\r?\n$/, "")
  } catch (cause) {
    if (cause instanceof ServiceError) throw cause
    throw unreadable("the file of the PIN can't be read as text", cause)
  } finally {
    await file.close()
  }
}

/** Loaded when it is needed, so that others do without AWS's SDK. */
async function readSecretOfAws(id: string): Promise<string> {
  const { openReadSecret } = await import("../secrets-manager.ts")
  return await openReadSecret()(id)
}

function checked(pin: string, place: string): string {
  if (pin === "") throw unreadable(`no PIN in ${place}`)
  if (pin.length > MAX_PIN_BYTES || pin.includes("\0")) throw unreadable(`what ${place} holds is no PIN`)
  return pin
}

function unreadable(detail: string, cause?: unknown): ServiceError {
  return new ServiceError("PIN_UNREADABLE", detail, { cause })
}
