import type { HashName } from "@sealwright/formats/algorithms"
import { base64Encode, bytesEqual } from "@sealwright/formats/bytes"
import { isNamedSigner, parseTimestampToken, type TimestampToken } from "@sealwright/formats/cms"
import type { Certificate } from "@sealwright/formats/x509"
import { ChainCache } from "./chain-cache.ts"
import { orMessage } from "./or-message.ts"
import { digest, type Step, verifySignature } from "./requests.ts"
import { MAX_PATH, verifyPath } from "./x509-path.ts"

/** Why a timestamp token proves no time. */
export const TIMESTAMP_CODES = {
  TIMESTAMP_MALFORMED: "the timestamp token is not one of RFC 3161 in the profile that is read here",
  TIMESTAMP_IMPRINT_MISMATCH: "the timestamp token is for other bytes",
  TIMESTAMP_SIGNER_UNKNOWN: "the timestamp token carries no certificate that is the one it names as its signer's",
  TIMESTAMP_SIGNATURE_INVALID: "the timestamp token's signature does not verify under its signer's key",
  TIMESTAMP_NOT_TRUSTED: "the timestamp token's signer is not below a trusted timestamp root",
  TIMESTAMP_MISSING: "the policy asks for a timestamp, and the signature has none",
  TIMESTAMP_DEMANDED: "the issuer's certificate says that signatures below it count with a trusted timestamp alone",
  TIMESTAMP_CHAIN_INVALID: "the timestamp token's chain breaks a rule, or does not hold at the token's time",
} as const

export type TimestampCode = keyof typeof TIMESTAMP_CODES

/** A proven time: the stamped bytes existed at the latest at `latest`, and the token was made at the earliest at `earliest`. */
export interface ProvenTime {
  readonly ok: true
  readonly genTime: Date
  readonly earliest: Date
  readonly latest: Date
  /** dotted */
  readonly policy: string
  /** the authority's certificate first, the trusted root last */
  readonly chain: readonly Certificate[]
  readonly token: TimestampToken
}

export type TimestampResult =
  | ProvenTime
  /** `detail`: for people */
  | { readonly ok: false; readonly code: TimestampCode; readonly detail: string }

/** What was stamped, when the bytes themselves are not at hand. */
export interface Stamped {
  readonly hash: HashName
  readonly digest: Uint8Array
}

export interface TimestampOptions {
  /** trusted timestamp roots, self-signed, DER */
  readonly trusted: readonly Uint8Array[]
  /** kept by the caller across calls */
  readonly cache?: ChainCache
}

/**
 * Verifies an RFC 3161 token over `stamped`, offline: imprint, signer's certificate by its digest (RFC 5816), signature, and the authority's path at
 * genTime ± accuracy, by the profile of `verifyPath` for timestamps. The present does not count: a token outlives its authority's certificate.
 * Never throws on bad input. Revocation is decided by the caller.
 */
export function* verifyTimestampToken(
  bytes: Uint8Array,
  stamped: Uint8Array | Stamped,
  options: TimestampOptions,
): Step<TimestampResult> {
  const refuse = (code: TimestampCode, detail = ""): TimestampResult => ({ ok: false, code, detail })
  const token = orMessage(() => parseTimestampToken(bytes))
  if (typeof token === "string") return refuse("TIMESTAMP_MALFORMED", token)
  const { info } = token
  const { hash } = info.imprint
  if (hash === undefined) return refuse("TIMESTAMP_MALFORMED", "an imprint outside SHA-2")
  const wanted = stamped instanceof Uint8Array ? { hash, digest: yield* digest(hash, stamped) } : stamped
  if (wanted.hash !== hash || !bytesEqual(wanted.digest, info.imprint.digest))
    return refuse("TIMESTAMP_IMPRINT_MISMATCH")

  const signer = yield* findSigner(token)
  if (signer === undefined) return refuse("TIMESTAMP_SIGNER_UNKNOWN")
  if (!bytesEqual(yield* digest(token.hash, token.content), token.messageDigest))
    return refuse("TIMESTAMP_SIGNATURE_INVALID", "the message digest is another")
  if (!(yield* verifySignature(token.scheme, signer.spki, token.signedAttributes, token.signature)))
    return refuse("TIMESTAMP_SIGNATURE_INVALID")

  const cache = options.cache ?? new ChainCache()
  const [first = signer] = known([signer.der], cache)
  const carried = known(
    token.certificates.map(({ der }) => der),
    cache,
  )
  const chain = chainOf(first, carried, known(options.trusted, cache))
  const earliest = new Date(info.genTime.getTime() - info.accuracyMs)
  const latest = new Date(info.genTime.getTime() + info.accuracyMs)
  const path = yield* verifyPath(chain, {
    trusted: options.trusted,
    time: earliest,
    until: latest,
    use: "timestamps",
    cache,
  })
  if (!path.ok && path.code === "CHAIN_NOT_TRUSTED") return refuse("TIMESTAMP_NOT_TRUSTED")
  if (!path.ok) return refuse("TIMESTAMP_CHAIN_INVALID", `${path.code}, certificate ${path.at + 1} of ${chain.length}`)
  return { ok: true, genTime: info.genTime, earliest, latest, policy: info.policy, chain, token }
}

/** The certificate that the token names by issuer and serial, and by digest: a swapped one has another digest. */
function* findSigner(token: TimestampToken): Step<Certificate | undefined> {
  const { hash, digest: wanted } = token.signerDigest
  for (const certificate of token.certificates)
    if (isNamedSigner(token, certificate) && bytesEqual(yield* digest(hash, certificate.der), wanted))
      return certificate
  return undefined
}

/**
 * The certificates as the cache has them, so that a chain which every token of an authority carries is checked once. What can't be read is none, among
 * the deployer's roots alone: a token's were read before.
 */
function known(ders: readonly Uint8Array[], cache: ChainCache): readonly Certificate[] {
  return ders.flatMap((der) => {
    const certificate = orMessage(() => cache.certificate(base64Encode(der)))
    return typeof certificate === "string" ? [] : [certificate]
  })
}

/**
 * The way up from the signer through what the token carries, in whatever order, to a trusted root, which a token may leave out. Names and key
 * identifiers lead; `verifyPath` decides whether the way holds.
 */
function chainOf(
  signer: Certificate,
  carried: readonly Certificate[],
  roots: readonly Certificate[],
): readonly Certificate[] {
  const chain = [signer]
  for (let top = signer; chain.length < MAX_PATH && !bytesEqual(top.issuer.der, top.subject.der); ) {
    const next = [...roots, ...carried].find((candidate) => isIssuerOf(candidate, top))
    if (next === undefined) break
    chain.push(next)
    top = next
  }
  return chain
}

function isIssuerOf(candidate: Certificate, certificate: Certificate): boolean {
  if (!bytesEqual(candidate.subject.der, certificate.issuer.der)) return false
  const wanted = certificate.authorityKeyIdentifier?.keyIdentifier
  const keyId = candidate.subjectKeyIdentifier
  return wanted === undefined || keyId === undefined || bytesEqual(wanted, keyId)
}
