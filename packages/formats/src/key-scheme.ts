import { type HashName, SCHEMES, type SignatureScheme, schemeRow } from "./algorithms.ts"
import type { PublicKey } from "./x509.ts"

/** Modulus in bits of the RSA keys that sign under a hash, as the Notary signature specification ties them. */
export const RSA_BITS = { sha256: 2048, sha384: 3072, sha512: 4096 } as const satisfies Record<HashName, number>

const CURVES = { "P-256": 32, "P-384": 48, "P-521": 66 } as const

/**
 * The schemes that a key may sign under, the preferred one first: one for a curve, Ed25519 and ML-DSA-65; RSASSA-PSS and PKCS #1 v1.5 under the hash
 * of its size for RSA. None for keys outside the table of algorithms and for RSA of another size than 2048, 3072 and 4096.
 */
export function schemesOfKey(key: PublicKey): readonly SignatureScheme[] {
  return (Object.keys(SCHEMES) as SignatureScheme[]).filter((scheme) => {
    const { keyType, fieldBytes, hash } = schemeRow(scheme)
    if (key.type !== keyType) return false
    if (key.type === "ec") return CURVES[key.curve] === fieldBytes
    return key.type !== "rsa" || (hash !== undefined && RSA_BITS[hash] === key.modulusBits)
  })
}
