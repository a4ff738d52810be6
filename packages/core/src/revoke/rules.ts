import { hexEncode, utf8 } from "@sealwright/formats/bytes"
import { ServiceError } from "../errors.ts"
import type { CrlReason, Revocation, RevocationTarget } from "../model.ts"
import type { Digest } from "../ports.ts"

/** What a caller asks to revoke, before it is looked up. */
export type RevocationRequestTarget =
  | { readonly kind: "signature"; readonly signature: string }
  | { readonly kind: "artifact"; readonly digest: string }
  | { readonly kind: "certificate"; readonly thumbprint: string }
  /** the certificate that this signature was made under, with all other signatures under it */
  | { readonly kind: "certificate"; readonly signature: string }
  | { readonly kind: "issuer"; readonly issuer: string; readonly from?: Date | undefined }
  | { readonly kind: "profile"; readonly profile: string; readonly from: Date }
  | { readonly kind: "principal"; readonly principal: string; readonly from: Date; readonly until: Date | undefined }

/**
 * Names a revocation by its target, so that the same target is the same revocation, whoever asks and however often.
 * From when a profile or an issuer is revoked is not part of its name: it may move earlier.
 */
export function revocationId(digest: Digest, target: RevocationTarget): string {
  return `rev-${hexEncode(digest("sha256", utf8(targetName(target)))).slice(0, 32)}`
}

/** What a revocation is about, in one line without spaces; also its name among the released holds of a list. */
export function targetName(target: RevocationTarget): string {
  switch (target.kind) {
    case "signature":
      return `signature:${target.issuerKeyId}:${target.number}`
    case "artifact":
      return `artifact:${target.digest}`
    case "certificate":
      return `certificate:${target.thumbprint}`
    case "issuer":
      return `issuer:${target.issuerKeyId}`
    case "profile":
      return `profile:${target.profile}`
    case "principal":
      return `principal:${target.principal}:${target.from.toISOString()}:${target.until?.toISOString() ?? ""}`
  }
}

/** What lists name of a target: the extra signature of an act has an entry of its own, beside the first one's. */
export function listedNames(target: RevocationTarget): readonly string[] {
  if (target.kind !== "signature" || target.extra === undefined) return [targetName(target)]
  return [targetName(target), `signature:${target.extra.issuerKeyId}:${target.extra.number}`]
}

/**
 * Merges a request into what stands (I7): the effective time may move earlier, never later; a hold may become final, a final one
 * never a hold; asking again for what stands changes nothing.
 * @returns undefined when nothing changes
 * @throws ServiceError REVOCATION_FINAL
 */
export function mergeRevocation(standing: Revocation | undefined, asked: Revocation): Revocation | undefined {
  if (standing === undefined) return asked
  if (standing.released) return asked
  if (standing.reason !== "certificateHold" && asked.reason === "certificateHold")
    throw new ServiceError("REVOCATION_FINAL", `${standing.id} is final and can't become a hold`)
  if (asked.target.kind === "issuer" && standing.target.kind === "issuer") return mergeIssuers(standing, asked)
  const earlier = startOf(asked) < startOf(standing)
  const final = standing.reason === "certificateHold" && asked.reason !== "certificateHold"
  if (!earlier && !final) return undefined
  const from = earlier ? asked : standing
  return {
    ...asked,
    reason: final ? asked.reason : standing.reason,
    effectiveAt: from.effectiveAt,
    target: from.target,
  }
}

/** Two times may move earlier, each by itself: from when on it counts, and up to when timestamps spare a signature. */
function mergeIssuers(standing: Revocation, asked: Revocation): Revocation | undefined {
  const wider = spareEnd(asked) < spareEnd(standing)
  const earlier = asked.effectiveAt < standing.effectiveAt
  if (!wider && !earlier) return undefined
  return {
    ...asked,
    reason: standing.reason,
    effectiveAt: earlier ? asked.effectiveAt : standing.effectiveAt,
    target: wider ? asked.target : standing.target,
  }
}

/** Milliseconds since 1970; below every time when nothing is spared. */
function spareEnd({ target }: Revocation): number {
  return target.kind === "issuer" && target.from !== undefined ? target.from.getTime() : Number.NEGATIVE_INFINITY
}

function startOf(revocation: Revocation): number {
  return revocation.target.kind === "profile" ? revocation.target.from.getTime() : revocation.effectiveAt.getTime()
}

/** @throws ServiceError REVOCATION_FINAL for anything but a standing hold */
export function releaseHold(standing: Revocation, principal: string, epoch: number, now: Date): Revocation {
  if (standing.reason !== "certificateHold")
    throw new ServiceError("REVOCATION_FINAL", `${standing.id} is ${standing.reason}, not certificateHold`)
  return { ...standing, released: true, principal, epoch, acknowledgedAt: now }
}

/**
 * When the revocation counts from: now, or the earlier moment that the caller names.
 * @throws ServiceError REQUEST_MALFORMED for a moment in the future
 */
export function effectiveTime(asked: Date | undefined, now: Date): Date {
  if (asked === undefined) return now
  if (asked.getTime() > now.getTime()) throw new ServiceError("REQUEST_MALFORMED", "effectiveAt lies in the future")
  return asked
}

/** @throws ServiceError REQUEST_MALFORMED for a window that ends before it begins or is not over */
export function checkWindow(target: RevocationRequestTarget, now: Date): void {
  if (target.kind !== "profile" && target.kind !== "principal" && target.kind !== "issuer") return
  if (target.from !== undefined && target.from.getTime() > now.getTime())
    throw new ServiceError("REQUEST_MALFORMED", "`from` lies in the future")
  if (target.kind !== "principal" || target.until === undefined) return
  if (target.until.getTime() < target.from.getTime() || target.until.getTime() >= now.getTime())
    throw new ServiceError("REQUEST_MALFORMED", "`until` lies before `from` or is not in the past")
}

/** A certificateHold can be placed only on what is looked up by name at each check, not on a key or CA. */
export function checkReason(target: RevocationRequestTarget, reason: CrlReason): void {
  if (reason === "certificateHold" && target.kind !== "signature" && target.kind !== "artifact")
    throw new ServiceError("REQUEST_MALFORMED", "certificateHold is for a signature or an artifact")
}
