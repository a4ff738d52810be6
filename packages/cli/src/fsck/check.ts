import { checkLedger } from "./ledger.ts"
import { checkPublication } from "./publication.ts"
import { type Dump, type Finding, Items } from "./state.ts"

export interface FsckResult {
  readonly findings: readonly Finding[]
  readonly records: number
}

/** Checks a dump of table and bucket for the service's promises. Imports nothing of the service: see state.ts. */
export function fsck(dump: Dump): FsckResult {
  const findings: Finding[] = []
  const report = (finding: Finding) => void findings.push(finding)
  const items = new Items(dump.items, report)
  const facts = checkLedger(items, report)
  checkPublication(items, dump, facts, report)
  return { findings, records: facts.records.size }
}
