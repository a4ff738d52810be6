import { concat, hexEncode } from "@sealwright/formats/bytes"
import type { Certificate } from "@sealwright/formats/x509"
import { digest, type Step, verifySignature } from "./requests.ts"

/**
 * Remembers which issuer signatures did verify. An entry is named by the SHA-256 of the issuer's key and the whole certificate, so it holds for ever
 * and says nothing about trust or time. Bounded, least recently used out first, so that leaves never push their issuers out; failures are not kept.
 */
export class SignatureCache {
  readonly #verified = new Set<string>()
  readonly #maxEntries: number

  constructor(maxEntries = 256) {
    this.#maxEntries = maxEntries
  }

  /** Also counts as a use. */
  has(name: string): boolean {
    if (!this.#verified.delete(name)) return false
    this.#verified.add(name)
    return true
  }

  add(name: string): void {
    const [oldest] = this.#verified
    if (this.#verified.size >= this.#maxEntries && oldest !== undefined) this.#verified.delete(oldest)
    this.#verified.add(name)
  }
}

/** True when `issuer`'s key signed `certificate`; a signature scheme outside the table never did. */
export function* signedBy(
  certificate: Certificate,
  issuer: Certificate,
  cache: SignatureCache | undefined,
): Step<boolean> {
  const { signatureScheme: scheme, tbs, signature } = certificate
  if (scheme === undefined) return false
  if (cache === undefined) return yield* verifySignature(scheme, issuer.spki, tbs, signature)
  const name = hexEncode(yield* digest("sha256", concat(issuer.spki, certificate.der)))
  if (cache.has(name)) return true
  const verified = yield* verifySignature(scheme, issuer.spki, tbs, signature)
  if (verified) cache.add(name)
  return verified
}
