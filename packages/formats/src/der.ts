// One file: the reader and the private checks of its primitive types, which no other file may use alone.
import { utf8Decode } from "./bytes.ts"
import { FormatError } from "./errors.ts"

export const TAG = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  NULL: 0x05,
  OID: 0x06,
  ENUMERATED: 0x0a,
  UTF8_STRING: 0x0c,
  PRINTABLE_STRING: 0x13,
  IA5_STRING: 0x16,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const

/** Tag of a primitive context-specific element: `[n]` IMPLICIT over a primitive type. */
export function contextTag(n: number): number {
  return 0x80 | n
}

/** Tag of a constructed context-specific element: `[n]` EXPLICIT, or IMPLICIT over a SEQUENCE or SET. */
export function explicitTag(n: number): number {
  return 0xa0 | n
}

function malformed(detail: string): FormatError {
  return new FormatError("DER_MALFORMED", detail)
}

/** Longest OBJECT IDENTIFIER content that is read, in bytes: far above any registered one. */
const MAX_OID_BYTES = 64

/**
 * A cursor over DER (X.690 §10): definite minimal lengths, tag numbers below 31, no tree of objects.
 * Every method throws FormatError DER_MALFORMED on bytes that are not the DER of what was asked for.
 * `start` and `stop` bound the content of the element that was read last.
 */
export class DerReader {
  readonly bytes: Uint8Array
  at: number
  end: number
  start = 0
  stop = 0

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  /** Points this cursor at another range of the same bytes, so that long lists need one object. */
  reset(at: number, end: number): this {
    this.at = at
    this.end = end
    return this
  }

  get done(): boolean {
    return this.at === this.end
  }

  /** True when the next element has this tag; false at the end. */
  is(tag: number): boolean {
    return this.at < this.end && this.bytes[this.at] === tag
  }

  /** Steps over the next element and returns its tag. */
  next(): number {
    const { bytes, end } = this
    let at = this.at
    if (at + 2 > end) throw malformed("an element is missing or cut off")
    const tag = bytes[at++] as number
    if ((tag & 0x1f) === 0x1f) throw malformed("a tag number above 30")
    let length = bytes[at++] as number
    if (length >= 0x80) {
      const octets = length & 0x7f
      if (octets === 0 || octets > 4) throw malformed("an indefinite or oversized length")
      if (at + octets > end) throw malformed("a length is cut off")
      length = 0
      for (let i = 0; i < octets; i++) length = length * 256 + (bytes[at++] as number)
      if (length < 0x80 || length < 256 ** (octets - 1)) throw malformed("a length that is not minimal")
    }
    if (length > end - at) throw malformed("an element is longer than what holds it")
    this.start = at
    this.stop = at + length
    this.at = this.stop
    return tag
  }

  /** Steps over the next element, which must have this tag. */
  take(tag: number): this {
    if (this.bytes[this.at] !== tag || this.at >= this.end) throw malformed(`expected tag ${tag}`)
    this.next()
    return this
  }

  /** A cursor over the content of the next element, which must have this tag. */
  enter(tag: number): DerReader {
    this.take(tag)
    return new DerReader(this.bytes, this.start, this.stop)
  }

  /** The next element with its tag and length, as a view; of any tag unless one is given. */
  element(tag?: number): Uint8Array {
    const from = this.at
    if (tag === undefined) this.next()
    else this.take(tag)
    return this.bytes.subarray(from, this.stop)
  }

  /** The content of the next element, as a view. */
  content(tag: number): Uint8Array {
    this.take(tag)
    return this.bytes.subarray(this.start, this.stop)
  }

  /** Nothing may follow. */
  finish(): void {
    if (this.at !== this.end) throw malformed("bytes after the last element")
  }

  boolean(): boolean {
    this.take(TAG.BOOLEAN)
    const value = this.bytes[this.start]
    if (this.stop - this.start !== 1 || (value !== 0 && value !== 0xff)) throw malformed("a BOOLEAN not 00 or FF")
    return value === 0xff
  }

  null(): void {
    this.take(TAG.NULL)
    if (this.start !== this.stop) throw malformed("a NULL with content")
  }

  /** Content octets of an INTEGER (or of another tag with the same rule): two's complement, minimal. */
  integerBytes(tag: number = TAG.INTEGER): Uint8Array {
    this.take(tag)
    const { bytes, start, stop } = this
    if (start === stop) throw malformed("an INTEGER without content")
    if (stop - start > 1) {
      const first = bytes[start]
      const second = bytes[start + 1] as number
      if ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)) throw malformed("a padded INTEGER")
    }
    return bytes.subarray(start, stop)
  }

  integer(): bigint {
    return integerOf(this.integerBytes())
  }

  /** An INTEGER or ENUMERATED from 0 to 2^31 - 1. */
  smallInteger(tag: number = TAG.INTEGER): number {
    const bytes = this.integerBytes(tag)
    if (bytes.length > 4 || (bytes[0] as number) >= 0x80) throw malformed("an integer out of range")
    let value = 0
    for (const byte of bytes) value = value * 256 + byte
    return value
  }

  /** An OBJECT IDENTIFIER as dotted text; every arc is exact, whatever its size. */
  oid(): string {
    this.take(TAG.OID)
    return oidText(this.bytes, this.start, this.stop)
  }

  octets(): Uint8Array {
    return this.content(TAG.OCTET_STRING)
  }

  /** A BIT STRING; the unused bits must be zero (X.690 §11.2.1). */
  bits(tag: number = TAG.BIT_STRING): { readonly bytes: Uint8Array; readonly unused: number } {
    this.take(tag)
    const { bytes, start, stop } = this
    const unused = bytes[start] as number
    if (start === stop || unused > 7) throw malformed("a BIT STRING without a count of unused bits")
    if (stop - start === 1 ? unused !== 0 : ((bytes[stop - 1] as number) & ((1 << unused) - 1)) !== 0)
      throw malformed("a BIT STRING with stray bits")
    return { bytes: bytes.subarray(start + 1, stop), unused }
  }

  /** A BIT STRING of whole bytes, as signatures and keys are. */
  wholeBits(): Uint8Array {
    const { bytes, unused } = this.bits()
    if (unused !== 0) throw malformed("a BIT STRING that does not end on a byte")
    return bytes
  }

  /** UTF8String, PrintableString or IA5String, by its own rules. */
  text(): string {
    const tag = this.next()
    switch (tag) {
      case TAG.UTF8_STRING:
        return utf8Text(this.bytes.subarray(this.start, this.stop))
      case TAG.PRINTABLE_STRING:
        return printableText(asciiText(this.bytes, this.start, this.stop))
      case TAG.IA5_STRING:
        return asciiText(this.bytes, this.start, this.stop)
      default:
        throw malformed(`a text of tag ${tag}`)
    }
  }

  /** IA5String under this tag: the characters of ASCII. */
  ascii(tag: number): string {
    this.take(tag)
    return asciiText(this.bytes, this.start, this.stop)
  }

  /** Time of RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050, whole seconds, `Z`. */
  time(): Date {
    if (this.is(TAG.UTC_TIME)) {
      this.take(TAG.UTC_TIME)
      if (this.stop - this.start !== 13) throw malformed("a UTCTime that is not YYMMDDHHMMSSZ")
      const year = this.#digits(this.start, 2)
      return this.#date(year >= 50 ? 1900 + year : 2000 + year, this.start + 2)
    }
    const date = this.generalizedTime()
    if (date.getUTCFullYear() < 2050) throw malformed("a GeneralizedTime before 2050")
    return date
  }

  /** GeneralizedTime as RFC 5280 §4.1.2.5.2 restricts it, of any year. */
  generalizedTime(): Date {
    this.take(TAG.GENERALIZED_TIME)
    if (this.stop - this.start !== 15) throw malformed("a GeneralizedTime that is not YYYYMMDDHHMMSSZ")
    return this.#date(this.#digits(this.start, 4), this.start + 4)
  }

  #digits(at: number, count: number): number {
    let value = 0
    for (let i = at; i < at + count; i++) {
      const digit = (this.bytes[i] as number) - 0x30
      if (digit < 0 || digit > 9) throw malformed("a time with a character that is not a digit")
      value = value * 10 + digit
    }
    return value
  }

  #date(year: number, at: number): Date {
    const month = this.#digits(at, 2)
    const day = this.#digits(at + 2, 2)
    const hour = this.#digits(at + 4, 2)
    const minute = this.#digits(at + 6, 2)
    const second = this.#digits(at + 8, 2)
    if (this.bytes[at + 10] !== 0x5a) throw malformed("a time that is not in UTC")
    if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59)
      throw malformed("a time that is not in the calendar")
    const date = new Date(Date.UTC(year, month - 1, day, hour, minute, second))
    if (year < 100) date.setUTCFullYear(year)
    return date
  }
}

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}

/** The value of an INTEGER's content octets. */
export function integerOf(content: Uint8Array): bigint {
  let value = 0n
  let at = 0
  for (; at + 4 <= content.length; at += 4)
    value =
      (value << 32n) |
      BigInt(
        ((content[at] as number) * 0x1000000 +
          (((content[at + 1] as number) << 16) | ((content[at + 2] as number) << 8) | (content[at + 3] as number))) >>>
          0,
      )
  for (; at < content.length; at++) value = (value << 8n) | BigInt(content[at] as number)
  return (content[0] as number) >= 0x80 ? value - (1n << BigInt(8 * content.length)) : value
}

function oidText(bytes: Uint8Array, start: number, stop: number): string {
  if (start === stop || stop - start > MAX_OID_BYTES || (bytes[stop - 1] as number) >= 0x80)
    throw malformed("an OBJECT IDENTIFIER that is empty, too long or cut off")
  let text = ""
  let at = start
  while (at < stop) {
    if (bytes[at] === 0x80) throw malformed("a padded arc in an OBJECT IDENTIFIER")
    const from = at
    let arc = 0
    while ((bytes[at] as number) >= 0x80) arc = arc * 128 + ((bytes[at++] as number) & 0x7f)
    arc = arc * 128 + (bytes[at++] as number)
    if (at - from > 7) text += arcText(from === start, bigArc(bytes, from, at))
    else if (from !== start) text += `.${arc}`
    else text = arc < 40 ? `0.${arc}` : arc < 80 ? `1.${arc - 40}` : `2.${arc - 80}`
  }
  return text
}

/** Arcs of more than 49 bits, beyond what a number holds exactly. */
function bigArc(bytes: Uint8Array, from: number, to: number): bigint {
  let arc = 0n
  for (let i = from; i < to; i++) arc = (arc << 7n) | BigInt((bytes[i] as number) & 0x7f)
  return arc
}

function arcText(first: boolean, arc: bigint): string {
  return first ? `2.${arc - 80n}` : `.${arc}`
}

function asciiText(bytes: Uint8Array, start: number, stop: number): string {
  let text = ""
  for (let i = start; i < stop; i++) {
    const byte = bytes[i] as number
    if (byte >= 0x80) throw malformed("a character outside ASCII")
    text += String.fromCharCode(byte)
  }
  return text
}

function utf8Text(bytes: Uint8Array): string {
  for (const byte of bytes) if (byte >= 0x80) return strictUtf8(bytes)
  return asciiText(bytes, 0, bytes.length)
}

function strictUtf8(bytes: Uint8Array): string {
  try {
    return utf8Decode(bytes)
  } catch {
    throw malformed("a UTF8String that is not UTF-8")
  }
}

function printableText(text: string): string {
  if (!/^[A-Za-z0-9 '()+,\-./:=?]*$/.test(text)) throw malformed("a PrintableString with another character")
  return text
}

/**
 * Checks that `der` is one element whose lengths and tags are DER all the way down, without recursion.
 * @throws FormatError DER_MALFORMED; TOO_LARGE when elements are nested deeper than `maxDepth`
 */
export function checkNesting(der: Uint8Array, maxDepth: number): void {
  const reader = new DerReader(der)
  const ends: number[] = []
  let tag = reader.next()
  reader.finish()
  for (;;) {
    if ((tag & 0x20) !== 0) {
      if (ends.length >= maxDepth) throw new FormatError("TOO_LARGE", `nested deeper than ${maxDepth}`)
      ends.push(reader.end)
      reader.reset(reader.start, reader.stop)
    }
    while (reader.done) {
      const end = ends.pop()
      if (end === undefined) return
      reader.reset(reader.at, end)
    }
    tag = reader.next()
  }
}
