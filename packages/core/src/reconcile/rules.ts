import type { FindingKind } from "../ledger/key-findings.ts"
import { MINUTE_MS, minuteOf, minuteStart, type OpenMinute } from "../ledger/key-uses.ts"
import type { KeyPurpose } from "../ports.ts"

/** Purposes by the ARN of the role that may use keys of them: what the deployment granted. */
export type KeyUsers = ReadonlyMap<string, ReadonlySet<KeyPurpose>>

/**
 * Keys whose functions store nothing of an act, since strangers may cause it and the product is its own record: who uses them is checked, and their
 * uses are not counted.
 */
const UNCOUNTED: ReadonlySet<KeyPurpose> = new Set(["timestamp", "ocsp", "wrapping", "wrapping-timestamp"])

/**
 * What a use is to the service at first sight. `foreign`: neither the key nor the role is the service's. `counted`: an act must tell it.
 * @param purpose undefined: the ledger knows no such key
 */
export function judgeUse(
  purpose: KeyPurpose | undefined,
  principal: string,
  users: KeyUsers,
): "foreign" | "wrong-role" | "uncounted" | "counted" {
  const allowed = users.get(principal)
  if (purpose === undefined) return allowed === undefined ? "foreign" : "counted"
  if (allowed?.has(purpose) !== true) return "wrong-role"
  return UNCOUNTED.has(purpose) ? "uncounted" : "counted"
}

/** An act is stored at most this long after its last use of a key: the longest life of an invocation. */
export const LONGEST_ACT_MINUTES = 16
/** What clocks of KMS and Lambda may differ by. */
export const CLOCK_SKEW_MS = MINUTE_MS
/** Minutes that are reconciled at a time: bounds memory at ten minutes of KMS's quota. */
export const MINUTES_AT_A_TIME = 10

/** Minutes from one to before another. */
export function minutesBetween(from: string, to: string): string[] {
  const minutes: string[] = []
  for (let at = minuteStart(from).getTime(); at < minuteStart(to).getTime(); at += MINUTE_MS)
    minutes.push(minuteOf(new Date(at)))
  return minutes
}

export function minuteAfter(minute: string, by = 1): string {
  return minuteOf(new Date(minuteStart(minute).getTime() + by * MINUTE_MS))
}

/** The oldest minutes that follow each other without a gap. */
export function firstGroup(open: readonly OpenMinute[]): readonly OpenMinute[] {
  const end = open.findIndex((one, at) => {
    const before = open[at - 1]
    return before !== undefined && one.minute !== minuteAfter(before.minute)
  })
  return open.slice(0, Math.min(end < 0 ? open.length : end, MINUTES_AT_A_TIME))
}

/** Where the event of a use may stand that an act of this minute tells: the act comes after its use, or a little before by clocks that differ. */
export function minutesOfUse(actMinute: string): string[] {
  return minutesBetween(minuteAfter(actMinute, -LONGEST_ACT_MINUTES), minuteAfter(actMinute, 2)).reverse()
}

/** Names the finding of a minute whose acts tell uses that CloudTrail does not show. */
export function missingId(minute: string): string {
  return `missing-${minute.replaceAll(/[-:]/g, "")}`
}

/** The metric that a finding counts under while it is open. */
export const METRIC_OF = {
  unexplained: "UnexplainedKeyUses",
  "wrong-role": "UnexplainedKeyUses",
  missing: "KeyUsesWithoutEvent",
} as const satisfies Record<FindingKind, string>
