import { concat, hexDecode } from "./bytes.ts"
import { FormatError } from "./errors.ts"

/** What `leafSerial` wants the SHA-256 of: the lease's nonce and the number in 6 bytes, big-endian. */
export function leafSerialInput(nonce: Uint8Array, number: number): Uint8Array {
  return concat(nonce, sixBytes(number))
}

/**
 * Serial of the certificate for one signature (D3), 15 bytes: 01, the first 8 bytes of `digest`, the number in 6 bytes, big-endian.
 * @param digest SHA-256 of `leafSerialInput(nonce, number)`
 * @param number from 0 to 2^48 - 1
 */
export function leafSerial(digest: Uint8Array, number: number): Uint8Array {
  if (digest.length !== 32) throw malformed("a digest that is not 32 bytes")
  return concat(Uint8Array.of(LEAF_SERIAL_FORM), digest.subarray(0, 8), sixBytes(number))
}

/**
 * Serial of one certificate for a batch of signatures, 16 bytes: 02, the first 8 bytes of `digest`, the first number in 6 bytes, and how many numbers
 * it answers for, from `first` on.
 * @param digest SHA-256 of `leafSerialInput(nonce, first)`
 * @param count from 1 to 255
 */
export function batchSerial(digest: Uint8Array, first: number, count: number): Uint8Array {
  if (digest.length !== 32) throw malformed("a digest that is not 32 bytes")
  if (!Number.isInteger(count) || count < 1 || count > 255) throw malformed("a count outside 1 to 255")
  return concat(Uint8Array.of(BATCH_SERIAL_FORM), digest.subarray(0, 8), sixBytes(first), Uint8Array.of(count))
}

/** The numbers of signatures that a certificate may stand for. */
export interface SerialNumbers {
  readonly first: number
  readonly count: number
}

/** Reads a serial that `leafSerial` or `batchSerial` made; undefined for one of any other form. */
export function numbersOfSerial(serial: Uint8Array | bigint): SerialNumbers | undefined {
  const bytes = typeof serial === "bigint" ? hexDecode(evenHex(serial)) : serial
  const [form] = bytes
  if (form === LEAF_SERIAL_FORM && bytes.length === 15) return { first: numberAt(bytes, 9), count: 1 }
  if (form === BATCH_SERIAL_FORM && bytes.length === 16)
    return { first: numberAt(bytes, 9), count: bytes[15] as number }
  return undefined
}

const LEAF_SERIAL_FORM = 0x01
const BATCH_SERIAL_FORM = 0x02

function numberAt(bytes: Uint8Array, at: number): number {
  let number = 0
  for (const byte of bytes.subarray(at, at + 6)) number = number * 256 + byte
  return number
}

function evenHex(serial: bigint): string {
  const hex = serial < 0n ? "" : serial.toString(16)
  return hex.length % 2 === 0 ? hex : `0${hex}`
}

function sixBytes(number: number): Uint8Array {
  if (!Number.isInteger(number) || number < 0 || number >= 2 ** 48) throw malformed("a number outside 0 to 2^48 - 1")
  const bytes = new Uint8Array(6)
  for (let i = 5, rest = number; i >= 0; i--, rest = Math.floor(rest / 256)) bytes[i] = rest % 256
  return bytes
}

function malformed(detail: string): FormatError {
  return new FormatError("CERTIFICATE_MALFORMED", detail)
}
