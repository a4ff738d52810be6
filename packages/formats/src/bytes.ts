import { FormatError } from "./errors.ts"

const encoder = new TextEncoder()
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

export function utf8(text: string): Uint8Array {
  return encoder.encode(text)
}

/** @throws FormatError TEXT_MALFORMED on invalid UTF-8; a byte order mark is kept as a character */
export function utf8Decode(bytes: Uint8Array): string {
  try {
    return strictDecoder.decode(bytes)
  } catch {
    throw new FormatError("TEXT_MALFORMED", "invalid UTF-8")
  }
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const joined = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    joined.set(part, at)
    at += part.length
  }
  return joined
}

/** Equality of public values; the running time depends on the content. */
export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Order of octet strings as DER's SET OF and sorted lists want it: bytewise, then the shorter first. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shorter = Math.min(a.length, b.length)
  for (let i = 0; i < shorter; i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

/** Lower-case hex, two characters a byte. */
export function hexEncode(bytes: Uint8Array): string {
  let text = ""
  for (const byte of bytes) text += HEX[byte]
  return text
}

/** @throws FormatError TEXT_MALFORMED unless `text` is an even number of lower-case hex digits */
export function hexDecode(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length >> 1)
  let seen = text.length % 2 === 0 ? 0 : NOT_IN_ALPHABET
  for (let i = 0; i < bytes.length; i++) {
    const high = valueAt(HEX_VALUES, text, 2 * i)
    const low = valueAt(HEX_VALUES, text, 2 * i + 1)
    seen |= high | low
    bytes[i] = (high << 4) | low
  }
  // Values have four bits, so one that is not in the alphabet shows in the bits above.
  if (seen > 15) throw new FormatError("TEXT_MALFORMED", "not lower-case hex")
  return bytes
}

const STANDARD = encoder.encode("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
const URL_SAFE = encoder.encode("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
const PAD = 0x3d

/** Base64 of RFC 4648 §4, with padding. */
export function base64Encode(bytes: Uint8Array): string {
  return encode64(bytes, STANDARD, true)
}

/** Base64url of RFC 4648 §5 without padding, as JOSE writes it. */
export function base64urlEncode(bytes: Uint8Array): string {
  return encode64(bytes, URL_SAFE, false)
}

/** @throws FormatError TEXT_MALFORMED unless `text` is exactly what `base64Encode` writes for some bytes */
export function base64Decode(text: string): Uint8Array {
  if (text.length % 4 !== 0) throw new FormatError("TEXT_MALFORMED", "not padded base64")
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0
  return decode64(text, text.length - padding, STANDARD_VALUES)
}

/** @throws FormatError TEXT_MALFORMED unless `text` is exactly what `base64urlEncode` writes for some bytes */
export function base64urlDecode(text: string): Uint8Array {
  return decode64(text, text.length, URL_SAFE_VALUES)
}

/** The characters' codes first and the text at once: a text that grows by a character is made anew for whoever reads it. */
function encode64(bytes: Uint8Array, alphabet: Uint8Array, padded: boolean): string {
  const { length } = bytes
  const whole = length - (length % 3)
  const codes = new Uint8Array(Math.ceil(length / 3) * 4).fill(PAD)
  let at = 0
  for (let i = 0; i < whole; i += 3) {
    const bits = ((bytes[i] as number) << 16) | ((bytes[i + 1] as number) << 8) | (bytes[i + 2] as number)
    codes[at++] = alphabet[bits >> 18] as number
    codes[at++] = alphabet[(bits >> 12) & 63] as number
    codes[at++] = alphabet[(bits >> 6) & 63] as number
    codes[at++] = alphabet[bits & 63] as number
  }
  if (whole < length) {
    const bits = ((bytes[whole] as number) << 16) | ((bytes[whole + 1] ?? 0) << 8)
    codes[at++] = alphabet[bits >> 18] as number
    codes[at++] = alphabet[(bits >> 12) & 63] as number
    if (length - whole === 2) codes[at++] = alphabet[(bits >> 6) & 63] as number
  }
  return strictDecoder.decode(padded ? codes : codes.subarray(0, at))
}

const NOT_IN_ALPHABET = 255
const HEX_VALUES = valuesOf(encoder.encode("0123456789abcdef"))
const STANDARD_VALUES = valuesOf(STANDARD)
const URL_SAFE_VALUES = valuesOf(URL_SAFE)

function valuesOf(alphabet: Uint8Array): Uint8Array {
  const values = new Uint8Array(128).fill(NOT_IN_ALPHABET)
  alphabet.forEach((code, value) => {
    values[code] = value
  })
  return values
}

function valueAt(values: Uint8Array, text: string, i: number): number {
  return values[text.charCodeAt(i)] ?? NOT_IN_ALPHABET
}

function decode64(text: string, length: number, values: Uint8Array): Uint8Array {
  if (length % 4 === 1) throw new FormatError("TEXT_MALFORMED", "base64 of an impossible length")
  const bytes = new Uint8Array((length * 3) >> 2)
  // Values have six bits, so one that is not in the alphabet shows in the two bits above.
  let seen = 0
  let at = 0
  let i = 0
  for (; i + 4 <= length; i += 4) {
    const a = valueAt(values, text, i)
    const b = valueAt(values, text, i + 1)
    const c = valueAt(values, text, i + 2)
    const d = valueAt(values, text, i + 3)
    seen |= a | b | c | d
    bytes[at++] = (a << 2) | (b >> 4)
    bytes[at++] = (b << 4) | (c >> 2)
    bytes[at++] = (c << 6) | d
  }
  let stray = 0
  if (i < length) {
    const a = valueAt(values, text, i)
    const b = valueAt(values, text, i + 1)
    const c = i + 2 < length ? valueAt(values, text, i + 2) : undefined
    seen |= a | b | (c ?? 0)
    bytes[at++] = (a << 2) | (b >> 4)
    stray = c === undefined ? b & 15 : c & 3
    if (c !== undefined) bytes[at] = (b << 4) | (c >> 2)
  }
  if (seen > 63) throw new FormatError("TEXT_MALFORMED", "a character outside the base64 alphabet")
  if (stray !== 0) throw new FormatError("TEXT_MALFORMED", "base64 with stray bits at its end")
  return bytes
}
