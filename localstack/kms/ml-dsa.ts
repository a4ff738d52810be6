/** ML-DSA with its message representative µ given from outside (FIPS 204, algorithms 7 and 8): AWS takes it as EXTERNAL_MU, OpenSSL offers it to nobody. */
import type { KeyObject } from "node:crypto"
import { ml_dsa44, ml_dsa65, ml_dsa87 } from "@noble/post-quantum/ml-dsa.js"
import { base64urlDecode } from "@sealwright/formats/bytes"

/** bytes */
export const MU_LENGTH = 64

const PARAMETER_SETS: Readonly<Record<string, typeof ml_dsa65>> = {
  "ML-DSA-44": ml_dsa44,
  "ML-DSA-65": ml_dsa65,
  "ML-DSA-87": ml_dsa87,
}

export function signMu(privateKey: KeyObject, mu: Uint8Array): Uint8Array {
  const { set, secretKey } = expand(privateKey)
  return set.internal.sign(Uint8Array.from(mu), secretKey, { externalMu: true })
}

export function verifyMu(privateKey: KeyObject, mu: Uint8Array, signature: Uint8Array): boolean {
  const { set, publicKey } = expand(privateKey)
  return set.internal.verify(Uint8Array.from(signature), Uint8Array.from(mu), publicKey, { externalMu: true })
}

/** A JWK of the type AKP has the seed (draft-ietf-cose-dilithium). */
function expand(privateKey: KeyObject) {
  const { alg, priv } = privateKey.export({ format: "jwk" }) as { readonly alg?: string; readonly priv?: string }
  const set = PARAMETER_SETS[alg ?? ""]
  if (set === undefined || priv === undefined) throw new TypeError("not an ML-DSA key with its seed")
  return { set, ...set.keygen(base64urlDecode(priv)) }
}
