import { parseX5c } from "@sealwright/formats/notary-jws"
import type { Certificate } from "@sealwright/formats/x509"
import { Recent } from "./recent.ts"
import { digest, type Step, verifySignature } from "./requests.ts"

/**
 * Remembers certificates by their whole text, and of these which signature did verify under which issuer. Both hold for ever and say nothing about
 * trust or time, which are decided anew each time. Bounded, and leaves never push their issuers out; failures are not kept. The bytes of
 * certificates that it gives out must not be written to.
 */
export class ChainCache {
  readonly #certificates: Recent<Certificate>
  readonly #issuers = new WeakMap<Certificate, Certificate>()
  readonly #keyIds = new WeakMap<Certificate, Uint8Array>()

  constructor(maxEntries = 256) {
    this.#certificates = new Recent(maxEntries)
  }

  /** @throws FormatError as `parseX5c` */
  certificate(x5c: string): Certificate {
    const known = this.#certificates.get(x5c)
    if (known !== undefined) return known
    const certificate = parseX5c(x5c)
    this.#certificates.set(x5c, certificate)
    return certificate
  }

  /** True when `issuer`'s key signed `certificate`; a signature scheme outside the table never did. */
  *signedBy(certificate: Certificate, issuer: Certificate): Step<boolean> {
    if (this.#issuers.get(certificate) === issuer) return true
    const { signatureScheme: scheme, tbs, signature } = certificate
    const verified = scheme !== undefined && (yield* verifySignature(scheme, issuer.spki, tbs, signature))
    if (verified) this.#issuers.set(certificate, issuer)
    return verified
  }

  /** SHA-256 of the SubjectPublicKeyInfo. */
  *keyId(certificate: Certificate): Step<Uint8Array> {
    const known = this.#keyIds.get(certificate)
    if (known !== undefined) return known
    const keyId = Uint8Array.from(yield* digest("sha256", certificate.spki))
    this.#keyIds.set(certificate, keyId)
    return keyId
  }
}
