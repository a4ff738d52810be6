import { concat } from "./bytes.ts"
import { DerReader, TAG } from "./der.ts"
import { integer, sequence } from "./der-write.ts"
import { FormatError } from "./errors.ts"

/**
 * Ecdsa-Sig-Value (RFC 3279 §2.2.3) of r‖s as JOSE and WebCrypto write it.
 * @param fieldBytes length of r and of s: 32, 48 or 66
 * @throws FormatError SIGNATURE_MALFORMED unless `raw` has exactly twice that length
 */
export function ecdsaRawToDer(raw: Uint8Array, fieldBytes: number): Uint8Array {
  if (raw.length !== 2 * fieldBytes) throw malformed("r‖s of another length than the curve's")
  return sequence(integer(raw.subarray(0, fieldBytes)), integer(raw.subarray(fieldBytes)))
}

/**
 * r‖s, each padded to `fieldBytes`, of a DER Ecdsa-Sig-Value.
 * @throws FormatError SIGNATURE_MALFORMED unless it is DER and both numbers are positive and fit
 */
export function ecdsaDerToRaw(der: Uint8Array, fieldBytes: number): Uint8Array {
  let r: Uint8Array
  let s: Uint8Array
  try {
    const outer = new DerReader(der)
    const inner = outer.enter(TAG.SEQUENCE)
    r = inner.integerBytes()
    s = inner.integerBytes()
    inner.finish()
    outer.finish()
  } catch {
    throw malformed("not a DER Ecdsa-Sig-Value")
  }
  return concat(fixed(r, fieldBytes), fixed(s, fieldBytes))
}

function fixed(content: Uint8Array, fieldBytes: number): Uint8Array {
  if ((content[0] as number) >= 0x80) throw malformed("a negative number")
  const magnitude = content[0] === 0 ? content.subarray(1) : content
  if (magnitude.length === 0 || magnitude.length > fieldBytes) throw malformed("a number that is zero or too long")
  const bytes = new Uint8Array(fieldBytes)
  bytes.set(magnitude, fieldBytes - magnitude.length)
  return bytes
}

function malformed(detail: string): FormatError {
  return new FormatError("SIGNATURE_MALFORMED", detail)
}
