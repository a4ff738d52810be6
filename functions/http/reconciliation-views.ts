import type { AcknowledgedFinding, KeyFinding } from "@sealwright/core/ledger/key-findings"
import { minuteStart } from "@sealwright/core/ledger/key-uses"
import type { Reconciliation } from "@sealwright/core/reconcile/acknowledge"
import { formatTime } from "@sealwright/formats/time"

export function keyFindingView(finding: KeyFinding | AcknowledgedFinding) {
  const { at, foundAt, ...rest } = finding
  return {
    ...rest,
    at: formatTime(at),
    foundAt: formatTime(foundAt),
    ...("acknowledgedAt" in finding && { acknowledgedAt: formatTime(finding.acknowledgedAt) }),
  }
}

/** `since` and `through` are absent before the first run. */
export function reconciliationView({ cursor, findings }: Reconciliation) {
  return {
    ...(cursor && { since: formatTime(minuteStart(cursor.since)), through: formatTime(minuteStart(cursor.through)) }),
    findings: findings.map(keyFindingView),
  }
}
