import { compareBytes, concat, utf8 } from "./bytes.ts"
import { contextTag, explicitTag, TAG } from "./der.ts"
import { FormatError } from "./errors.ts"

function unencodable(detail: string): FormatError {
  return new FormatError("DER_MALFORMED", detail)
}

/** Tag and length octets of an element whose content has `length` bytes. */
export function derHeader(tag: number, length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(tag, length)
  if (length < 0x100) return Uint8Array.of(tag, 0x81, length)
  if (length < 0x10000) return Uint8Array.of(tag, 0x82, length >> 8, length & 0xff)
  if (length < 0x1000000) return Uint8Array.of(tag, 0x83, length >> 16, (length >> 8) & 0xff, length & 0xff)
  return Uint8Array.of(tag, 0x84, length >>> 24, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff)
}

/** An element of this tag whose content is `parts`, one after the other. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  return concat(derHeader(tag, length), ...parts)
}

export function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  return der(TAG.SEQUENCE, ...parts)
}

/** SET OF: sorted as DER wants it (X.690 §11.6). */
export function set(...parts: readonly Uint8Array[]): Uint8Array {
  return der(TAG.SET, ...[...parts].sort(compareBytes))
}

/** `[n]` EXPLICIT, or IMPLICIT over a constructed type. */
export function explicit(n: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return der(explicitTag(n), ...parts)
}

/** `[n]` IMPLICIT over a primitive type; `content` is without tag and length. */
export function implicit(n: number, content: Uint8Array): Uint8Array {
  return der(contextTag(n), content)
}

export function boolean(value: boolean): Uint8Array {
  return Uint8Array.of(TAG.BOOLEAN, 1, value ? 0xff : 0)
}

/** @param value a bigint, or the magnitude of a non-negative number in big-endian bytes */
export function integer(value: bigint | Uint8Array): Uint8Array {
  return der(TAG.INTEGER, integerContent(value))
}

/** Content octets of an INTEGER: two's complement, minimal. */
export function integerContent(value: bigint | Uint8Array): Uint8Array {
  if (typeof value === "bigint") return value < 0n ? negativeContent(value) : integerContent(magnitude(value))
  let from = 0
  while (from < value.length - 1 && value[from] === 0) from++
  if (value.length === 0) return Uint8Array.of(0)
  const trimmed = value.subarray(from)
  return (trimmed[0] as number) < 0x80 ? trimmed : concat(Uint8Array.of(0), trimmed)
}

function magnitude(value: bigint): Uint8Array {
  const bytes: number[] = []
  for (let rest = value; rest > 0n; rest >>= 8n) bytes.push(Number(rest & 0xffn))
  return Uint8Array.from(bytes.reverse())
}

function negativeContent(value: bigint): Uint8Array {
  let length = 1
  while (value < -(1n << BigInt(8 * length - 1))) length++
  const bytes = magnitude((1n << BigInt(8 * length)) + value)
  return bytes
}

/** @param dotted arcs in decimal, such as `2.5.29.15` */
export function oid(dotted: string): Uint8Array {
  if (!/^[012](\.(0|[1-9][0-9]*))+$/.test(dotted)) throw unencodable("not a dotted OBJECT IDENTIFIER")
  const [root, second, ...rest] = dotted.split(".").map(BigInt) as [bigint, bigint, ...bigint[]]
  if (root < 2n && second > 39n) throw unencodable("a second arc above 39")
  const bytes: number[] = []
  for (const arc of [root * 40n + second, ...rest]) {
    const septets = [Number(arc & 0x7fn)]
    for (let left = arc >> 7n; left > 0n; left >>= 7n) septets.push(Number(left & 0x7fn) | 0x80)
    bytes.push(...septets.reverse())
  }
  return der(TAG.OID, Uint8Array.from(bytes))
}

export function octetString(...parts: readonly Uint8Array[]): Uint8Array {
  return der(TAG.OCTET_STRING, ...parts)
}

/** A BIT STRING of whole bytes. */
export function bitString(bytes: Uint8Array): Uint8Array {
  return der(TAG.BIT_STRING, Uint8Array.of(0), bytes)
}

/** A BIT STRING with named bits, bit 0 first: trailing zero bits are cut (X.690 §11.2.2). */
export function namedBits(bits: readonly number[]): Uint8Array {
  if (bits.length === 0) return der(TAG.BIT_STRING, Uint8Array.of(0))
  const highest = Math.max(...bits)
  const bytes = new Uint8Array((highest >> 3) + 1)
  for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] as number) | (0x80 >> (bit & 7))
  return der(TAG.BIT_STRING, Uint8Array.of(7 - (highest & 7)), bytes)
}

export function utf8String(text: string): Uint8Array {
  return der(TAG.UTF8_STRING, utf8(text))
}

export function printableString(text: string): Uint8Array {
  if (!/^[A-Za-z0-9 '()+,\-./:=?]*$/.test(text)) throw unencodable("not a PrintableString")
  return der(TAG.PRINTABLE_STRING, utf8(text))
}

export function ia5String(text: string): Uint8Array {
  return der(TAG.IA5_STRING, ascii(text))
}

/** Bytes of a text that is ASCII without control characters, as names in certificates are. */
export function ascii(text: string): Uint8Array {
  if (!/^[\x20-\x7e]*$/.test(text)) throw unencodable("not printable ASCII")
  return utf8(text)
}

/** Time of RFC 5280 §4.1.2.5: UTCTime through 2049, then GeneralizedTime; fractions of a second are cut. */
export function time(date: Date): Uint8Array {
  const digits = digitsOf(date)
  const year = date.getUTCFullYear()
  return year >= 1950 && year < 2050
    ? der(TAG.UTC_TIME, utf8(`${digits.slice(2)}Z`))
    : der(TAG.GENERALIZED_TIME, utf8(`${digits}Z`))
}

/** GeneralizedTime as RFC 5280 §4.1.2.5.2 restricts it; fractions of a second are cut. */
export function generalizedTime(date: Date): Uint8Array {
  return der(TAG.GENERALIZED_TIME, utf8(`${digitsOf(date)}Z`))
}

function digitsOf(date: Date): string {
  const ms = date.getTime()
  if (!(ms >= -62167219200000 && ms <= 253402300799999)) throw unencodable("a time outside the years 0 to 9999")
  return date.toISOString().slice(0, 19).replace(/[-:T]/g, "")
}
