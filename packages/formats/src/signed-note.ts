/** Signed notes and verifier keys (C2SP signed-note v1.0.0). */
import { base64Decode, base64Encode, concat, hexDecode, hexEncode, utf8, utf8Decode } from "./bytes.ts"
import { FormatError } from "./errors.ts"

/** A checkpoint with a hundred Ed25519 cosignatures, or a dozen of ML-DSA-44. */
export const MAX_NOTE_BYTES = 65_536
export const MAX_NOTE_SIGNATURES = 100

/** Signature type identifier bytes (§Signature types). */
export const NOTE_TYPE = { ed25519: 0x01, ecdsa: 0x02, cosignature: 0x04, mlDsa44: 0x06 } as const

export interface NoteSignature {
  readonly name: string
  /** four bytes, lower-case hex */
  readonly keyId: string
  /** of the form that the key's type has; timestamped types begin with eight bytes of POSIX time */
  readonly signature: Uint8Array
}

export interface Note {
  /** ends with a line feed */
  readonly text: string
  readonly signatures: readonly NoteSignature[]
}

/** One key and the one kind of signature that it makes. */
export interface NoteKey {
  readonly name: string
  /** four bytes, lower-case hex */
  readonly keyId: string
  readonly type: number
  /** Ed25519: 32 bytes; ECDSA: SubjectPublicKeyInfo, DER; ML-DSA-44: 1,312 bytes */
  readonly publicKey: Uint8Array
}

const SIGNATURE_LINE = /^— (\S+) ([A-Za-z0-9+/]+={0,2})$/u
const KEY_ID_BYTES = 4

/**
 * @returns every signature, in the note's order; which of them count is for their verifier to say
 * @throws FormatError TOO_LARGE, TEXT_MALFORMED, NOTE_MALFORMED
 */
export function parseNote(bytes: Uint8Array, maxBytes = MAX_NOTE_BYTES): Note {
  if (bytes.length > maxBytes) throw new FormatError("TOO_LARGE", `a note of more than ${maxBytes} bytes`)
  const whole = utf8Decode(bytes)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the format forbids them
  if (/[\u0000-\u0009\u000b-\u001f]/.test(whole)) throw malformed("a control character")
  const end = whole.lastIndexOf("\n\n")
  if (end < 1) throw malformed("no empty line between text and signatures")
  const lines = whole.slice(end + 2).split("\n")
  if (lines.pop() !== "" || lines.length === 0) throw malformed("no whole signature line")
  return { text: whole.slice(0, end + 1), signatures: parseSignatureLines(lines) }
}

/**
 * The lines that a witness answers with.
 * @param lines without their line feeds
 * @throws FormatError TOO_LARGE, NOTE_MALFORMED, TEXT_MALFORMED
 */
export function parseSignatureLines(lines: readonly string[]): NoteSignature[] {
  if (lines.length > MAX_NOTE_SIGNATURES) throw new FormatError("TOO_LARGE", `over ${MAX_NOTE_SIGNATURES} signatures`)
  return lines.map((line) => {
    const match = SIGNATURE_LINE.exec(line)
    if (match === null) throw malformed("a line that is no signature")
    const [, name, encoded] = match as unknown as [string, string, string]
    checkName(name)
    const signature = base64Decode(encoded)
    if (signature.length <= KEY_ID_BYTES) throw malformed("a signature that is too short")
    return {
      name,
      keyId: hexEncode(signature.subarray(0, KEY_ID_BYTES)),
      signature: signature.subarray(KEY_ID_BYTES),
    }
  })
}

/**
 * @param text ends with a line feed
 * @throws FormatError NOTE_MALFORMED, TOO_LARGE for what `parseNote` would refuse
 */
export function encodeNote({ text, signatures }: Note): Uint8Array {
  const lines = signatures.map(
    ({ name, keyId, signature }) => `— ${name} ${base64Encode(concat(hexDecode(keyId), signature))}\n`,
  )
  const bytes = utf8(`${text}\n${lines.join("")}`)
  if (parseNote(bytes).text !== text) throw malformed("a text that can't be told from its signatures")
  return bytes
}

/** What a key's id is the SHA-256 of; the first four bytes count. Of ECDSA the key alone, as its deployed form has it. */
export function noteKeyIdInput(name: string, type: number, publicKey: Uint8Array): Uint8Array {
  if (type === NOTE_TYPE.ecdsa) return publicKey
  return concat(utf8(`${name}\n`), new Uint8Array([type]), publicKey)
}

const KEY_BYTES: ReadonlyMap<number, number> = new Map([
  [NOTE_TYPE.ed25519, 32],
  [NOTE_TYPE.cosignature, 32],
  [NOTE_TYPE.mlDsa44, 1312],
])

/**
 * A verifier key: `name+keyId+base64(type || publicKey)`. Whether the id belongs to the key is for the caller to check, by `noteKeyIdInput`.
 * @throws FormatError TOO_LARGE, NOTE_MALFORMED, TEXT_MALFORMED, ALGORITHM_UNSUPPORTED for a type that is read nowhere here
 */
export function parseVkey(text: string): NoteKey {
  if (text.length > 4_096) throw new FormatError("TOO_LARGE", "a verifier key of more than 4,096 characters")
  const parts = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/u.exec(text)
  if (parts === null) throw malformed("not a verifier key")
  const [, name, keyId, encoded] = parts as unknown as [string, string, string, string]
  checkName(name)
  const [type, ...rest] = base64Decode(encoded)
  const publicKey = new Uint8Array(rest)
  const expected = KEY_BYTES.get(type as number)
  if (expected === undefined && type !== NOTE_TYPE.ecdsa)
    throw new FormatError("ALGORITHM_UNSUPPORTED", `signature type ${type} of a verifier key`)
  if (expected !== undefined && publicKey.length !== expected) throw malformed("a public key of another length")
  return { name, keyId, type: type as number, publicKey }
}

export function encodeVkey({ name, keyId, type, publicKey }: NoteKey): string {
  return `${name}+${keyId}+${base64Encode(concat(new Uint8Array([type]), publicKey))}`
}

/** @throws FormatError NOTE_MALFORMED */
function checkName(name: string): void {
  if (name === "" || /[\p{White_Space}+]/u.test(name)) throw malformed("a key name with a space or `+`")
}

function malformed(detail: string): FormatError {
  return new FormatError("NOTE_MALFORMED", detail)
}
