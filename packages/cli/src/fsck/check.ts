import { runSync } from "@sealwright/verifier/node-crypto"
import type { Step } from "@sealwright/verifier/requests"
import { checkJobs } from "./jobs.ts"
import { checkLedger } from "./ledger.ts"
import { checkLogs } from "./log.ts"
import { checkPublication } from "./publication.ts"
import { type Dump, type Finding, Items } from "./state.ts"

export interface FsckResult {
  readonly findings: readonly Finding[]
  readonly records: number
}

export type Run = <T>(step: Step<T>) => T

/**
 * Checks a dump of table and bucket for the service's promises. Imports nothing of the service: see state.ts.
 * @param run drives the verifier; a test may give one for keys of its own
 */
export function fsck(dump: Dump, run: Run = runSync): FsckResult {
  const findings: Finding[] = []
  const report = (finding: Finding) => void findings.push(finding)
  const items = new Items(dump.items, report)
  const facts = checkLedger(items, run, report)
  checkJobs(items, facts.records, report)
  checkLogs(items, dump, facts, run, report)
  checkPublication(items, dump, facts, run, report)
  return { findings, records: facts.records.size }
}
