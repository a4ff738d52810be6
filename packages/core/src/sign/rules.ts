import { parseReference } from "@sealwright/formats/oci-reference"
import { ServiceError } from "../errors.ts"
import { type Issuer, isWrappedIssuer, type Profile, type TimestampMode } from "../model.ts"
import { scopeCovers } from "../names.ts"

/** One artifact to be signed, as the request names it. */
export interface SubjectRequest {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  /** `registry/repository[:tag]` */
  readonly reference: string
}

/** A batch is cut into transactions of this many subjects: four writes a subject, and DynamoDB takes 100. */
export const SUBJECTS_PER_TRANSACTION = 20
export const MAX_SUBJECTS = 100

/** The longest a signature may stay valid by its own expiry: ten years. */
export const MAX_EXPIRY_SEC = 10 * 366 * 86_400

/**
 * May this principal sign with this profile at all?
 * @throws ServiceError PROFILE_SUSPENDED, PROFILE_REVOKED, CALLER_NOT_LISTED
 */
export function authorizeCaller(profile: Profile, principal: string): void {
  if (!profile.principals.includes(principal))
    throw new ServiceError("CALLER_NOT_LISTED", `profile ${profile.name} does not list ${principal}`)
  if (profile.state === "suspended") throw new ServiceError("PROFILE_SUSPENDED", `profile ${profile.name} is suspended`)
  if (profile.state === "revoked") throw new ServiceError("PROFILE_REVOKED", `profile ${profile.name} is revoked`)
}

/**
 * A retired issuer certifies nothing any more; a key that it certified before goes on until its certificate ends or the profile is rotated.
 * Under a wrapped one nothing is signed without a timestamp, however the profile came there.
 * @throws ServiceError ISSUER_NOT_ACTIVE, ISSUER_DEMANDS_TIMESTAMPS
 */
export function requireFitIssuer(issuer: Issuer, { name, keyMode, timestamp }: Profile): void {
  const fit = issuer.state === "active" || (issuer.state === "retired" && keyMode === "held")
  if (!fit) throw new ServiceError("ISSUER_NOT_ACTIVE", `issuer ${issuer.name} is ${issuer.state}`)
  if (isWrappedIssuer(issuer) && !isStamped(timestamp))
    throw new ServiceError("ISSUER_DEMANDS_TIMESTAMPS", `profile ${name}, issuer ${issuer.name}`)
}

/**
 * May this profile sign for the subject's repository (R9)? A digest in the reference must be the subject's own.
 * @throws ServiceError REPOSITORY_OUT_OF_SCOPE, REFERENCE_INVALID
 */
export function authorizeSubject(profile: Profile, subject: SubjectRequest): void {
  const { registry, repository, digest } = parseReference(subject.reference)
  if (digest !== undefined && digest !== subject.digest)
    throw new ServiceError("REFERENCE_INVALID", `the reference names ${digest}, the subject is ${subject.digest}`)
  const named = `${registry}/${repository}`
  if (!profile.repositories.some((scope) => scopeCovers(scope, named)))
    throw new ServiceError("REPOSITORY_OUT_OF_SCOPE", `profile ${profile.name} does not sign for ${named}`)
}

/** @throws ServiceError SUBJECT_REPEATED, REQUEST_TOO_LARGE */
export function checkSubjects(subjects: readonly SubjectRequest[]): void {
  if (subjects.length > MAX_SUBJECTS)
    throw new ServiceError("REQUEST_TOO_LARGE", `${subjects.length} subjects; a request takes ${MAX_SUBJECTS}`)
  const seen = new Set<string>()
  for (const { digest } of subjects) {
    if (seen.has(digest)) throw new ServiceError("SUBJECT_REPEATED", `${digest} stands twice`)
    seen.add(digest)
  }
}

/**
 * When the signature itself ends (R7): the request's wish if there is one, else the profile's rule.
 * @param signedAt whole seconds
 * @throws ServiceError EXPIRY_INVALID if the wish is not after `signedAt`, or later than the profile allows
 */
export function planExpiry(profile: Profile, wish: Date | undefined, signedAt: Date): Date | undefined {
  const latest = new Date(signedAt.getTime() + (profile.expirySec ?? MAX_EXPIRY_SEC) * 1000)
  if (wish === undefined) return profile.expirySec === undefined ? undefined : latest
  if (wish.getTime() <= signedAt.getTime()) throw new ServiceError("EXPIRY_INVALID", "the expiry is not in the future")
  if (wish.getTime() > latest.getTime())
    throw new ServiceError("EXPIRY_INVALID", `the profile allows nothing after ${latest.toISOString()}`)
  return wish
}

/**
 * The last moment of an ephemeral leaf.
 * @throws ServiceError ISSUER_NOT_ACTIVE if the leaf would outlive its issuer
 */
export function planLeafEnd(profile: Profile, issuer: Issuer, signedAt: Date): Date {
  const end = new Date(signedAt.getTime() + profile.leafLifetimeSec * 1000)
  if (end.getTime() > issuer.notAfter.getTime())
    throw new ServiceError("ISSUER_NOT_ACTIVE", `issuer ${issuer.name} ends ${issuer.notAfter.toISOString()}`)
  return end
}

/** Whether every signature carries a token, whoever's: then it is of the scheme `notary.x509`. */
export function isStamped(timestamp: TimestampMode): boolean {
  return timestamp !== "none"
}

/** The name of the outside authority that stamps; undefined: the deployment's own does, or none. */
export function outsideAuthorityOf(timestamp: TimestampMode): string | undefined {
  return timestamp.startsWith(OUTSIDE) ? timestamp.slice(OUTSIDE.length) : undefined
}

const OUTSIDE = "outside:"

/** How far the clocks of signer and timestamp authority may lie apart, the accuracy of tokens included. */
export const CLOCK_MARGIN_MS = 60_000

/** The first moment of a leaf: with a timestamp it reaches back, since the token's time less its accuracy must lie within. */
export function leafStart(timestamp: Profile["timestamp"], signedAt: Date): Date {
  return isStamped(timestamp) ? new Date(signedAt.getTime() - CLOCK_MARGIN_MS) : signedAt
}

/** Whole seconds, cut down: certificates and envelopes know no fractions. */
export function wholeSeconds(at: Date): Date {
  return new Date(Math.floor(at.getTime() / 1000) * 1000)
}

/** Lease sizes: start small, double while blocks are used up before they end, start over when they are not (D3). */
export const SMALLEST_LEASE = 4
export const LARGEST_LEASE = 64
export const LEASE_LIFETIME_SEC = 60

export function nextLeaseSize(
  previous: { readonly size: number; readonly usedUp: boolean } | undefined,
  wanted: number,
): number {
  const size = previous?.usedUp ? Math.min(previous.size * 2, LARGEST_LEASE) : SMALLEST_LEASE
  return Math.max(size, wanted)
}
