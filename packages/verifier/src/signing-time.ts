import type { NotaryJws } from "@sealwright/formats/notary-jws"
import type { Certificate } from "@sealwright/formats/x509"
import { CERTIFICATE_POLICY, EXTENSION, readExtension } from "@sealwright/formats/x509-extensions"
import type { ChainCache } from "./chain-cache.ts"
import { orMessage } from "./or-message.ts"
import type { Step } from "./requests.ts"
import { type ProvenTime, type TimestampCode, verifyTimestampToken } from "./timestamp.ts"

/** Whose timestamps count, and which signatures must have one; of `notary.x509` alone, since a signing authority vouches for its time itself. */
export interface TimestampTrust {
  /** timestamp roots, self-signed, DER; empty: no timestamp is looked at */
  readonly roots: readonly Uint8Array[]
  /**
   * `always`, and `afterCertExpiry` once a certificate of the chain has ended: a signature without a timestamp is refused. `none`: its
   * chain must hold now. A timestamp that is looked at must be good in any case; before expiry, `afterCertExpiry` looks at none.
   */
  readonly required: "none" | "afterCertExpiry" | "always"
}

/** When a signature was made: between `earliest` and `latest`, both included. */
export interface SigningTime {
  readonly earliest: Date
  readonly latest: Date
  /** the token that proves it; undefined for a time that the signing authority vouches for */
  readonly timestamp: ProvenTime | undefined
}

export type SigningTimeResult =
  /** `proven` undefined: nothing proves a time, so the present counts */
  | { readonly ok: true; readonly proven: SigningTime | undefined; readonly text: string }
  | { readonly ok: false; readonly code: TimestampCode; readonly detail: string }

/**
 * The time at which the chain of a signature must hold. Nothing of the signature is proven yet. An issuer whose certificate demands timestamps is
 * believed by nobody about the time, whatever the policy says: whoever has its key could write any.
 */
export function* signingTimeOf(
  envelope: NotaryJws,
  chain: readonly Certificate[],
  trust: TimestampTrust | undefined,
  now: Date,
  cache: ChainCache,
): Step<SigningTimeResult> {
  const { signingScheme, signingTime } = envelope.protected
  const demanded = chain.slice(1).some(demandsTimestamps)
  const refuse = (detail: string): SigningTimeResult => ({ ok: false, code: "TIMESTAMP_DEMANDED", detail })
  if (signingScheme === "notary.x509.signingAuthority") {
    if (demanded) return refuse("the time is the signing authority's own")
    const proven = { earliest: signingTime, latest: signingTime, timestamp: undefined }
    return { ok: true, proven, text: "the signing authority's own" }
  }
  const token = envelope.timestampToken
  if (trust === undefined || trust.roots.length === 0)
    return demanded ? refuse("no timestamp root is trusted") : noAuthority(token)
  if (!demanded && trust.required === "afterCertExpiry" && chain.every((certificate) => isValidAt(certificate, now)))
    return { ok: true, proven: undefined, text: "no certificate has expired, so no timestamp counts" }
  if (token === undefined && demanded) return refuse("there is none")
  if (token === undefined)
    return trust.required === "none"
      ? { ok: true, proven: undefined, text: "no timestamp" }
      : { ok: false, code: "TIMESTAMP_MISSING", detail: "" }
  const timestamp = yield* verifyTimestampToken(token, envelope.signatureRaw, { trusted: trust.roots, cache })
  if (!timestamp.ok) return timestamp
  const { earliest, latest, genTime } = timestamp
  return { ok: true, proven: { earliest, latest, timestamp }, text: `timestamp of ${genTime.toISOString()}` }
}

function noAuthority(token: Uint8Array | undefined): SigningTimeResult {
  return { ok: true, proven: undefined, text: token ? "a timestamp, but no authority is trusted" : "no timestamp" }
}

/** What can't be read may say so. */
function demandsTimestamps({ extensions }: Certificate): boolean {
  const policies = orMessage(() => readExtension(extensions, EXTENSION.certificatePolicies) ?? [])
  return typeof policies === "string" || policies.includes(CERTIFICATE_POLICY.timestampRequired)
}

function isValidAt({ notBefore, notAfter }: Certificate, time: Date): boolean {
  return notBefore.getTime() <= time.getTime() && time.getTime() < notAfter.getTime() + 1000
}
