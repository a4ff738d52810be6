import type { HashName, SignatureScheme } from "@sealwright/formats/algorithms"

/**
 * What the verifier asks of its driver (D15). The verifier itself computes no digest and checks no signature:
 * it is a generator that yields these and is resumed with the answer.
 */
export type CryptoRequest =
  | { readonly kind: "digest"; readonly hash: HashName; readonly bytes: Uint8Array }
  | {
      readonly kind: "verify"
      readonly scheme: SignatureScheme
      /** SubjectPublicKeyInfo, DER */
      readonly spki: Uint8Array
      readonly message: Uint8Array
      /** ECDSA: DER Ecdsa-Sig-Value (RFC 3279 §2.2.3); RSA-PSS: as long as the modulus; Ed25519: 64 bytes */
      readonly signature: Uint8Array
    }

/** What a driver throws into a step when its platform lacks the algorithm of a request: neither yes nor no. */
export class AlgorithmUnavailable extends Error {
  readonly scheme: SignatureScheme

  constructor(scheme: SignatureScheme) {
    super(`this platform has no ${scheme}`)
    this.scheme = scheme
  }
}

/**
 * A step of verification: yields requests, is resumed with a digest or with a yes or no, or with `AlgorithmUnavailable` thrown into it, and ends
 * with `T`.
 */
export type Step<T> = Generator<CryptoRequest, T, Uint8Array | boolean>

export function* digest(hash: HashName, bytes: Uint8Array): Step<Uint8Array> {
  const answer = yield { kind: "digest", hash, bytes }
  if (!(answer instanceof Uint8Array)) throw new TypeError("the driver answered a digest request without bytes")
  return answer
}

/** False for a signature that does not verify and for a key that does not fit the scheme alike. */
export function* verifySignature(
  scheme: SignatureScheme,
  spki: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): Step<boolean> {
  return (yield { kind: "verify", scheme, spki, message, signature }) === true
}
