import type { RevocationList, RevocationRule, Revoked } from "@sealwright/formats/revocation-list"

/** How far the clocks of signer, publisher and verifier may lie apart. */
export const CLOCK_TOLERANCE_MS = 60_000

/** What was rescinded or revoked, so that the signature falls. */
export type RevokedBy = "artifact" | "signature" | "certificate" | "issuer" | "profile" | "void number"

export interface RevocationQuery {
  /** lower-case hex SHA-256 of the SubjectPublicKeyInfo that certified the leaf */
  readonly issuerKeyId: string
  /** position in that issuer's numbering */
  readonly number: number
  readonly profile: string
  /** of the leaf, lower-case hex of its content octets */
  readonly serialHex: string
  /** lower-case hex SHA-256 of every certificate of the chain */
  readonly thumbprints: readonly string[]
  /** digest of the artifact, `sha256:…` */
  readonly artifact: string
  /**
   * Between which times it was made; undefined when nothing proves a time: then every rule "from a time on" counts, and the signature is never
   * newer than the list
   */
  readonly signedAt: { readonly earliest: Date; readonly latest: Date } | undefined
  /** by when a timestamp authority had seen it at the latest; undefined without a good timestamp */
  readonly stampedBy: Date | undefined
  readonly now: Date
  /** how old the list may be */
  readonly maxStaleSec: number
}

/** What of a signature names its certificates. */
export type CertificateQuery = Pick<RevocationQuery, "issuerKeyId" | "serialHex" | "thumbprints">

/**
 * What the list says of one signature. `newer`: made after the list, so that no list of this age can know it. `not covered`: it should be
 * older than the list, and the list has not settled its number. `stale`: the list is older than allowed; a revocation is reported all the same.
 */
export type RevocationAnswer =
  | { readonly status: "revoked"; readonly reason: string; readonly at: Date; readonly by: RevokedBy }
  | { readonly status: "good" | "newer" | "not covered" | "stale" }

/** A list of rescinded signatures, in whatever form it was published. */
export interface RevocationReader {
  readonly epoch: number
  readonly date: Date
  readonly due: Date
  /** true when the list numbers the signatures of this issuer */
  knowsIssuer(issuerKeyId: string): boolean
  /** the entry of a denied artifact */
  deniedArtifact(digest: string): Revoked | undefined
  /** the entry of a leaf certificate, of whatever issuer: by issuer and serial, or by thumbprint */
  revokedCertificate(query: CertificateQuery): Revoked | undefined
  answer(query: RevocationQuery): RevocationAnswer
}

/** The reason given for a number that was handed out and that no recorded signature has: whoever shows one did not get it from the service. */
export const VOID_REASON = "noSignatureRecorded"

/** Reads the plain list. The list is taken as verified. */
export function revocationReader(list: RevocationList): RevocationReader {
  return {
    epoch: list.epoch,
    date: list.date,
    due: list.due,
    knowsIssuer: (issuerKeyId) => list.issuers.has(issuerKeyId),
    deniedArtifact: (digest) => list.artifacts.get(digest),
    revokedCertificate: (query) =>
      list.rules.find((rule) => rule.kind === "certificate" && namesCertificate(rule, query)),
    answer(query) {
      const found = revokedBy(list, query)
      if (found !== undefined) return found
      if (isOlderThan(list.date, query.now, query.maxStaleSec)) return { status: "stale" }
      const numbers = list.issuers.get(query.issuerKeyId)
      if (numbers !== undefined && query.number < numbers.coveredBelow) return { status: "good" }
      const { signedAt } = query
      const newer = signedAt !== undefined && signedAt.earliest.getTime() >= list.date.getTime() - CLOCK_TOLERANCE_MS
      return { status: newer ? "newer" : "not covered" }
    },
  }
}

/** False when `date` lies in the future, and never true for an age of exactly `maxSec`. */
export function isOlderThan(date: Date, now: Date, maxSec: number): boolean {
  return !(now.getTime() - date.getTime() <= maxSec * 1000)
}

function revokedBy(list: RevocationList, query: RevocationQuery): RevocationAnswer | undefined {
  const denied = list.artifacts.get(query.artifact)
  if (denied !== undefined) return answer(denied, "artifact")
  const numbers = list.issuers.get(query.issuerKeyId)
  const rescinded = numbers?.revoked.get(query.number)
  if (rescinded !== undefined) return answer(rescinded, "signature")
  for (const rule of list.rules) {
    if (rule.kind === "issuer" && rule.issuerKeyId === query.issuerKeyId && !spares(rule, query.stampedBy))
      return answer(rule, "issuer")
    if (rule.kind === "certificate" && namesCertificate(rule, query)) return answer(rule, "certificate")
    if (rule.kind === "profile" && rule.profile === query.profile && notBefore(query.signedAt?.latest, rule.from))
      return answer(rule, "profile")
  }
  if (numbers !== undefined && rangeOf(numbers.void, query.number) !== undefined)
    return { status: "revoked", reason: VOID_REASON, at: list.date, by: "void number" }
  return undefined
}

function namesCertificate(
  rule: Extract<RevocationRule, { kind: "certificate" }>,
  { issuerKeyId, serialHex, thumbprints }: CertificateQuery,
): boolean {
  return thumbprints.includes(rule.thumbprint) || (rule.issuerKeyId === issuerKeyId && rule.serialHex === serialHex)
}

function answer({ reason, at }: Revoked, by: RevokedBy): RevocationAnswer {
  return { status: "revoked", reason, at, by }
}

/** Who has an issuer's key writes any signing time; the authority's key is another, so its time alone can spare a signature (D7). */
function spares({ from }: Extract<RevocationRule, { kind: "issuer" }>, stampedBy: Date | undefined): boolean {
  return from !== undefined && stampedBy !== undefined && stampedBy.getTime() < from.getTime()
}

/** An unproven time may be any time. */
function notBefore(signedAt: Date | undefined, from: Date): boolean {
  return signedAt === undefined || signedAt.getTime() >= from.getTime()
}

/**
 * The range that a number is in.
 * @param ranges inclusive, disjoint, rising
 */
export function rangeOf(
  ranges: readonly (readonly [number, number])[],
  number: number,
): readonly [number, number] | undefined {
  let low = 0
  let high = ranges.length
  while (low < high) {
    const middle = (low + high) >> 1
    const range = ranges[middle] as readonly [number, number]
    if (number < range[0]) high = middle
    else if (number > range[1]) low = middle + 1
    else return range
  }
  return undefined
}
