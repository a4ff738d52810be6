import type { HashName } from "./algorithms.ts"
import { hexDecode } from "./bytes.ts"
import { TAG } from "./der.ts"
import { bitString, integer, octetString, oid, sequence } from "./der-write.ts"
import { FormatError } from "./errors.ts"

export type Curve = "P-256" | "P-384" | "P-521"

/** Named curves (RFC 5480 §2.1.1.1): OBJECT IDENTIFIER in DER, and bytes of a coordinate. */
export const CURVES = {
  "P-256": { oid: oid("1.2.840.10045.3.1.7"), fieldBytes: 32 },
  "P-384": { oid: oid("1.3.132.0.34"), fieldBytes: 48 },
  "P-521": { oid: oid("1.3.132.0.35"), fieldBytes: 66 },
} as const satisfies Record<Curve, { readonly oid: Uint8Array; readonly fieldBytes: number }>

/** RFC 8410 §3 */
export const OID_ED25519 = oid("1.3.101.112")
const OID_EC = oid("1.2.840.10045.2.1")
const OID_RSA = oid("1.2.840.113549.1.1.1")
const NULL = Uint8Array.of(TAG.NULL, 0)

/**
 * SubjectPublicKeyInfo of an EC key (RFC 5480 §2).
 * @param point uncompressed: 04, X, Y
 * @throws FormatError ALGORITHM_UNSUPPORTED for a point of another form or length
 */
export function ecSpki(curve: Curve, point: Uint8Array): Uint8Array {
  const { oid: curveOid, fieldBytes } = CURVES[curve]
  if (point[0] !== 4 || point.length !== 1 + 2 * fieldBytes) throw unfit(`not an uncompressed point of ${curve}`)
  return sequence(sequence(OID_EC, curveOid), bitString(point))
}

/**
 * SubjectPublicKeyInfo of an RSA key (RFC 8017 A.1.1, RFC 3279 §2.3.1).
 * @param modulus magnitude, big-endian
 * @throws FormatError ALGORITHM_UNSUPPORTED for numbers that are no RSA key's
 */
export function rsaSpki(modulus: Uint8Array, publicExponent: Uint8Array): Uint8Array {
  const odd = (number: Uint8Array) => ((number.at(-1) ?? 0) & 1) === 1
  if (!odd(modulus) || !odd(publicExponent)) throw unfit("not an RSA key")
  return sequence(sequence(OID_RSA, NULL), bitString(sequence(integer(modulus), integer(publicExponent))))
}

/**
 * SubjectPublicKeyInfo of an Ed25519 key (RFC 8410 §4).
 * @throws FormatError ALGORITHM_UNSUPPORTED unless it has 32 bytes
 */
export function ed25519Spki(publicKey: Uint8Array): Uint8Array {
  if (publicKey.length !== 32) throw unfit("not an Ed25519 key")
  return sequence(sequence(OID_ED25519), bitString(publicKey))
}

const DIGEST_ALGORITHMS: Record<HashName, Uint8Array> = {
  sha256: hexDecode("300d06096086480165030402010500"),
  sha384: hexDecode("300d06096086480165030402020500"),
  sha512: hexDecode("300d06096086480165030402030500"),
}

/** DigestInfo (RFC 8017 §9.2 note 1): what RSASSA-PKCS1-v1_5 pads. */
export function digestInfo(hash: HashName, digest: Uint8Array): Uint8Array {
  return sequence(DIGEST_ALGORITHMS[hash], octetString(digest))
}

function unfit(detail: string): FormatError {
  return new FormatError("ALGORITHM_UNSUPPORTED", detail)
}
