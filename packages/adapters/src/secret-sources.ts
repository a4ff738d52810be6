import { ServiceError } from "@sealwright/core/errors"
import { utf8 } from "@sealwright/formats/bytes"
import { readOwnFile } from "./key-file.ts"

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

export interface SecretSurroundings {
  readonly environment: { readonly [name: string]: string | undefined }
  readonly terminal: Terminal
  /** shows the question, never the answer */
  readonly show: (text: string) => void
}

const HERE: SecretSurroundings = {
  environment: process.env,
  terminal: process.stdin,
  show: (text) => void process.stderr.write(text),
}

/**
 * Reads a password or PIN. It never stands in arguments, which other users of the machine can see.
 * @param source `env:NAME`; `file:PATH`, without the line's end, for its owner's eyes alone; `prompt`, typed at a terminal without echo
 * @param what it is for, to be shown with `prompt`
 * @throws ServiceError SECRET_UNAVAILABLE when the source is none of these, or has nothing, or more than 1024 bytes; KEY_FILE_UNSAFE as `readOwnFile`
 */
export async function readSecret(source: string, what: string, surroundings = HERE): Promise<string> {
  const secret = await fromSource(source, what, surroundings)
  if (secret === "") throw unavailable(`the secret from ${nameOf(source)} is empty`)
  if (utf8(secret).length > MAX_SECRET_BYTES) throw unavailable(`the secret from ${nameOf(source)} is too long`)
  return secret
}

async function fromSource(source: string, what: string, here: SecretSurroundings): Promise<string> {
  if (source === "prompt") return await promptSecret(what, here)
  const [, kind, rest = ""] = /^(env|file):(.+)$/s.exec(source) ?? []
  if (kind === "env") {
    const value = here.environment[rest]
    if (value === undefined) throw unavailable(`the environment has no ${rest}`)
    return value
  }
  if (kind !== "file") throw unavailable(`a secret's source is env:NAME, file:PATH or prompt, not ${nameOf(source)}`)
  const text = await readOwnFile(rest, MAX_SECRET_BYTES + 2, "followed")
  if (text === undefined) throw unavailable(`there is no file ${rest}`)
  return text.replace(/\r?\n$/, "")
}

/** What of a source may be shown: a secret that someone wrote in its place must not reach a log. */
function nameOf(source: string): string {
  return /^(?:env|file):/.test(source) || source === "prompt" ? source : "anything else"
}

const ENTER = new Set([0x0a, 0x0d])
const BACKSPACE = new Set([0x08, 0x7f])
/** Ctrl-C, Ctrl-D */
const ENDED = new Set([0x03, 0x04])

/** Reads one line, in raw mode so that the terminal does not show it; Ctrl-C and Ctrl-D end the asking. */
async function promptSecret(what: string, { terminal, show }: SecretSurroundings): Promise<string> {
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
