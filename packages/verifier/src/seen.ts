import type { RevocationList, RevocationRule } from "@sealwright/formats/revocation-list"
import { array, integer, map, object, string } from "@sealwright/formats/shape"
import { rangeOf } from "./revocation.ts"

/** Weaker than any time: what only holds may be released, and may become final. */
const HOLD = Number.MAX_SAFE_INTEGER
const MAX_ENTRIES = 2_000_000

/** What a list revokes of one issuer's numbers, or of one kind of target: each to when it begins in ms, 0 for what has no beginning, or HOLD. */
type Entries = ReadonlyMap<string, number>

/**
 * What a list says, as far as later ones must say it too (I7): whoever stole its key can't take back what a verifier has seen. Nothing is condensed, since
 * of what is condensed nobody can tell what is missing.
 */
export interface SeenEntries {
  /** by what their names begin with, as in `released` */
  readonly entries: ReadonlyMap<string, Entries>
  /** by issuer key id */
  readonly void: ReadonlyMap<string, readonly (readonly [number, number])[]>
  readonly coveredBelow: ReadonlyMap<string, number>
}

export const seenShape = object({
  entries: map(map(integer(0), MAX_ENTRIES, string(160)), 10_100, string(80)),
  void: map(
    array((value, at) => {
      const [from = 0, to = 0] = array(integer(0), 2, 2)(value, at)
      return [from, to] as const
    }, MAX_ENTRIES),
    10_000,
    string(64),
  ),
  coveredBelow: map(integer(0), 10_000, string(64)),
})

export function seenJson({ entries, void: ranges, coveredBelow }: SeenEntries) {
  return {
    entries: Object.fromEntries([...entries].map(([kind, group]) => [kind, Object.fromEntries(group)])),
    void: Object.fromEntries(ranges),
    coveredBelow: Object.fromEntries(coveredBelow),
  }
}

export function seenIn(list: RevocationList): SeenEntries {
  const entries = new Map<string, Map<string, number>>()
  const add = (kind: string, name: string, reason: string, from = 0) => {
    const group = entries.get(kind) ?? new Map<string, number>()
    entries.set(kind, group)
    const begins = reason === "certificateHold" ? HOLD : from
    group.set(name, Math.min(group.get(name) ?? begins, begins))
  }
  for (const rule of list.rules) {
    add(rule.kind, subjectOf(rule), rule.reason, fromOf(rule))
    if (rule.kind === "certificate" && rule.issuerKeyId !== undefined && rule.reason !== "certificateHold")
      add("certificate of", `${rule.issuerKeyId} ${rule.serialHex}`, rule.reason)
  }
  for (const [digest, { reason }] of list.artifacts) add("artifact", digest, reason)
  for (const [issuer, { revoked }] of list.issuers)
    for (const [number, { reason }] of revoked) add(`signature:${issuer}`, String(number), reason)
  return {
    entries,
    void: new Map([...list.issuers].map(([issuer, numbers]) => [issuer, numbers.void])),
    coveredBelow: new Map([...list.issuers].map(([issuer, numbers]) => [issuer, numbers.coveredBelow])),
  }
}

function subjectOf(rule: RevocationRule): string {
  if (rule.kind === "profile") return rule.profile
  return rule.kind === "issuer" ? rule.issuerKeyId : rule.thumbprint
}

function fromOf(rule: RevocationRule): number {
  return rule.kind === "certificate" ? 0 : (rule.from?.getTime() ?? 0)
}

/** @returns the name of something that was seen and that the list takes back: gone, later, or a hold where it was final; undefined: there is none */
export function takenBack(seen: SeenEntries, list: RevocationList): string | undefined {
  const now = seenIn(list)
  const released = new Set(list.released)
  for (const [kind, group] of seen.entries)
    for (const [name, begins] of group) {
      const begun = now.entries.get(kind)?.get(name)
      if (begun === undefined ? begins !== HOLD || !released.has(`${kind}:${name}`) : begun > begins)
        return `${kind}:${name}`
    }
  for (const [issuer, below] of seen.coveredBelow)
    if ((now.coveredBelow.get(issuer) ?? -1) < below) return `what is settled of ${issuer}`
  for (const [issuer, ranges] of seen.void)
    for (const [from, to] of ranges) {
      for (let number = from; number <= to; ) {
        const range = rangeOf(now.void.get(issuer) ?? [], number)
        if (range === undefined) return `void number ${number} of ${issuer}`
        number = range[1] + 1
      }
    }
  return undefined
}
