import { ServiceError } from "@sealwright/core/errors"
import { utf8 } from "@sealwright/formats/bytes"
import { readOwnFile } from "./own-file.ts"

const MAX_SECRET_BYTES = 1024

/** A terminal that a secret is typed at, as `process.stdin` is one. */
export interface Terminal {
  readonly isTTY?: boolean
  setRawMode(raw: boolean): unknown
  on(event: "data", listener: (chunk: Buffer) => void): unknown
  off(event: "data", listener: (chunk: Buffer) => void): unknown
  resume(): unknown
  pause(): unknown
}

/** From where secrets come, beside files. */
export interface SecretPlaces {
  readonly environment: { readonly [name: string]: string | undefined }
  readonly terminal: Terminal
  /** shows the question, never the answer */
  readonly show: (text: string) => void
  /** default: nobody is asked, so that who needs no AWS SDK carries none. @param id name or ARN of a secret of AWS Secrets Manager whose string is meant */
  readonly readAwsSecret: (id: string) => Promise<string>
}

const HERE: SecretPlaces = {
  environment: process.env,
  terminal: process.stdin,
  show: (text) => void process.stderr.write(text),
  readAwsSecret: async () => {
    throw unavailable("AWS Secrets Manager is not asked here")
  },
}

/**
 * What gives a password or PIN when it is needed; nothing is kept in between. Secrets never stand in arguments, which other users of the machine can
 * see; where someone wrote one in its source's place, no error repeats it.
 * @param source `env:NAME`; `file:PATH`, without the line's end, for its owner's eyes alone; `secretsmanager:NAME-OR-ARN`; `prompt`, typed at a
 * terminal without echo
 * @param what it is for, shown with `prompt`
 * @throws ServiceError SECRET_UNAVAILABLE for another source; from the function when there is nothing, or more than 1024 bytes, or a zero byte;
 * KEY_FILE_UNSAFE as `readOwnFile`; SIGNER_UNAVAILABLE when Secrets Manager does not answer
 */
export function secretSource(source: string, what: string, places: Partial<SecretPlaces> = {}): () => Promise<string> {
  const { environment, terminal, show, readAwsSecret } = { ...HERE, ...places }
  const [, kind, place = ""] = /^(prompt$|(?:env|file|secretsmanager):(?=.))(.*)$/s.exec(source) ?? []
  const from = (name: string, read: () => Promise<string>) => async () => checked(await read(), name)
  switch (kind) {
    case "env:":
      return from("the environment", async () => environment[place] ?? "")
    case "file:":
      return from("the file", () => readSecretFile(place))
    case "secretsmanager:":
      return from("the secret", () => readAwsSecret(place))
    case "prompt":
      return from("the terminal", () => promptSecret(what, terminal, show))
    default:
      throw unavailable("a secret comes from env:NAME, file:PATH, secretsmanager:NAME-OR-ARN or prompt")
  }
}

async function readSecretFile(path: string): Promise<string> {
  const text = await readOwnFile(path, MAX_SECRET_BYTES + 2, "followed")
  if (text === undefined) throw unavailable(`there is no file ${path}`)
  // An editor's line end is no part of it.
  return text.replace(/\r?\n$/, "")
}

function checked(secret: string, place: string): string {
  if (secret === "") throw unavailable(`${place} holds no secret`)
  if (utf8(secret).length > MAX_SECRET_BYTES || secret.includes("\0"))
    throw unavailable(`what ${place} holds is no secret`)
  return secret
}

const ENTER = new Set([0x0a, 0x0d])
const BACKSPACE = new Set([0x08, 0x7f])
/** Ctrl-C, Ctrl-D */
const ENDED = new Set([0x03, 0x04])

/** Reads one line, in raw mode so that the terminal does not show it; Ctrl-C and Ctrl-D end the asking. */
async function promptSecret(what: string, terminal: Terminal, show: (text: string) => void): Promise<string> {
  if (terminal.isTTY !== true) throw unavailable("there is no terminal to ask at")
  show(`${what}: `)
  terminal.setRawMode(true)
  const typed: number[] = []
  try {
    await new Promise<void>((done, fail) => {
      const listener = (chunk: Buffer): void => {
        for (const byte of chunk) {
          if (ENTER.has(byte) || ENDED.has(byte)) {
            terminal.off("data", listener)
            if (ENTER.has(byte)) done()
            else fail(unavailable("the asking was ended"))
            break
          }
          if (BACKSPACE.has(byte)) eraseCharacter(typed)
          else if (typed.length <= MAX_SECRET_BYTES) typed.push(byte)
        }
      }
      terminal.on("data", listener)
      terminal.resume()
    })
  } finally {
    terminal.setRawMode(false)
    terminal.pause()
    show("\n")
  }
  return Buffer.from(typed).toString("utf8")
}

/** The last character with all of its UTF-8 bytes. */
function eraseCharacter(bytes: number[]): void {
  for (let byte = bytes.pop(); byte !== undefined && byte >> 6 === 2; byte = bytes.pop());
}

function unavailable(message: string): ServiceError {
  return new ServiceError("SECRET_UNAVAILABLE", message)
}
