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

/** The number in a serial that `leafSerial` made; undefined for a serial of any other form. */
export function numberOfSerial(serial: Uint8Array | bigint): number | undefined {
  const bytes = typeof serial === "bigint" ? bytesOf(serial) : serial
  if (bytes.length !== 15 || bytes[0] !== LEAF_SERIAL_FORM) return undefined
  let number = 0
  for (const byte of bytes.subarray(9)) number = number * 256 + byte
  return number
}

const LEAF_SERIAL_FORM = 0x01

function sixBytes(number: number): Uint8Array {
  if (!Number.isInteger(number) || number < 0 || number >= 2 ** 48) throw malformed("a number outside 0 to 2^48 - 1")
  const bytes = new Uint8Array(6)
  for (let i = 5, rest = number; i >= 0; i--, rest = Math.floor(rest / 256)) bytes[i] = rest % 256
  return bytes
}

function bytesOf(serial: bigint): Uint8Array {
  return serial >> 112n === 1n ? hexDecode(serial.toString(16).padStart(30, "0")) : new Uint8Array(0)
}

function malformed(detail: string): FormatError {
  return new FormatError("CERTIFICATE_MALFORMED", detail)
}
