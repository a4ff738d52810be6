import { base64Decode, base64Encode } from "./bytes.ts"
import { FormatError } from "./errors.ts"

/** Longest text that is read, in characters: room for a few hundred certificates. */
const MAX_TEXT = 1 << 20

/** One PEM block of RFC 7468 §2: lines of 64 characters, `\n` after each. */
export function pemEncode(label: string, der: Uint8Array): string {
  const lines = base64Encode(der).match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`
}

/** One block of a text that may hold several kinds. */
export interface PemBlock {
  readonly label: string
  readonly der: Uint8Array
}

/**
 * Every block, in order. Between and around blocks only blank lines may stand; lines end in `\n` or `\r\n`.
 * @throws FormatError PEM_MALFORMED for text outside a block, headers of RFC 1421, a line longer than 64 characters or no block; TOO_LARGE above 1 MiB
 */
export function pemBlocks(text: string): readonly PemBlock[] {
  limit(text)
  const blocks: PemBlock[] = []
  let open: { readonly label: string; readonly body: string[] } | undefined
  for (const line of text.split(/\r?\n/)) {
    if (open === undefined) {
      const label = /^-----BEGIN ([A-Z0-9]+(?: [A-Z0-9]+)*)-----$/.exec(line)?.[1]
      if (label !== undefined) open = { label, body: [] }
      else if (line !== "") throw malformed("text outside a block")
    } else if (line === `-----END ${open.label}-----`) {
      blocks.push({ label: open.label, der: bodyBytes(open.body.join("")) })
      open = undefined
    } else {
      const previous = open.body.at(-1)
      if (line.length === 0 || line.length > 64 || (previous !== undefined && previous.length !== 64))
        throw malformed("a line of another length than 64")
      open.body.push(line)
    }
  }
  if (open !== undefined || blocks.length === 0) throw malformed("no whole block")
  return blocks
}

/**
 * Every block of a text that holds one label alone, in order.
 * @throws FormatError PEM_MALFORMED as `pemBlocks`, and for another label; TOO_LARGE above 1 MiB
 */
export function pemDecodeAll(label: string, text: string): readonly Uint8Array[] {
  return pemBlocks(text).map((block) => {
    if (block.label !== label) throw malformed("another label")
    return block.der
  })
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
