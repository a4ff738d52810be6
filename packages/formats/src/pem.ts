import { base64Decode, base64Encode } from "./bytes.ts"
import { FormatError } from "./errors.ts"

/** Longest text that is read, in characters: room for a few hundred certificates. */
const MAX_TEXT = 1 << 20

/** One PEM block of RFC 7468 §2: lines of 64 characters, `\n` after each. */
export function pemEncode(label: string, der: Uint8Array): string {
  const lines = base64Encode(der).match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`
}

/**
 * Every block of one label, in order. Between and around blocks only blank lines may stand; lines end in `\n` or `\r\n`.
 * @throws FormatError PEM_MALFORMED for another label, text outside a block, a line longer than 64 characters or no block; TOO_LARGE above 1 MiB
 */
export function pemDecodeAll(label: string, text: string): readonly Uint8Array[] {
  limit(text)
  const blocks: Uint8Array[] = []
  let body: string[] | undefined
  for (const line of text.split(/\r?\n/)) {
    if (body === undefined) {
      if (line === `-----BEGIN ${label}-----`) body = []
      else if (line !== "") throw malformed("text outside a block, or another label")
    } else if (line === `-----END ${label}-----`) {
      blocks.push(bodyBytes(body.join("")))
      body = undefined
    } else {
      const previous = body.at(-1)
      if (line.length === 0 || line.length > 64 || (previous !== undefined && previous.length !== 64))
        throw malformed("a line of another length than 64")
      body.push(line)
    }
  }
  if (body !== undefined || blocks.length === 0) throw malformed("no whole block")
  return blocks
}

/**
 * The one block of a text that holds exactly one.
 * @throws FormatError PEM_MALFORMED, TOO_LARGE as `pemDecodeAll`
 */
export function pemDecode(label: string, text: string): Uint8Array {
  const [block, ...others] = pemDecodeAll(label, text)
  if (block === undefined || others.length > 0) throw malformed("more than one block")
  return block
}

/**
 * One block that was indented and wrapped anew, as documents print it: blanks, tabs and line breaks may stand anywhere between
 * the two boundaries and around them. The base64 itself stays strict.
 * @throws FormatError PEM_MALFORMED, TOO_LARGE as `pemDecodeAll`
 */
export function pemDecodeLenient(label: string, text: string): Uint8Array {
  limit(text)
  const begin = `-----BEGIN ${label}-----`
  const end = `-----END ${label}-----`
  const trimmed = text.trim()
  if (trimmed.length < begin.length + end.length || !trimmed.startsWith(begin) || !trimmed.endsWith(end))
    throw malformed("not one block of this label")
  return bodyBytes(trimmed.slice(begin.length, -end.length).replace(/[ \t\r\n]+/g, ""))
}

function limit(text: string): void {
  if (text.length > MAX_TEXT) throw new FormatError("TOO_LARGE", "PEM above 1 MiB")
}

function bodyBytes(body: string): Uint8Array {
  if (body === "") throw malformed("an empty block")
  try {
    return base64Decode(body)
  } catch {
    throw malformed("a body that is not base64")
  }
}

function malformed(detail: string): FormatError {
  return new FormatError("PEM_MALFORMED", detail)
}
