import { readLogHead } from "../ledger/log.ts"
import { type Deployment, LOG_KINDS, type LogKind } from "../model.ts"
import type { Digest, Table } from "../ports.ts"
import { countWaiting, oldestWaiting } from "./inbox.ts"
import { logPolicyText, originOf } from "./origin.ts"

export interface LogStatus {
  readonly kind: LogKind
  readonly origin: string
  readonly epoch: number
  readonly size: bigint
  readonly state: "committed" | "published"
  /** how many entries wait; counting ends at 10,000 */
  readonly waiting: number
  readonly oldest: Date | undefined
}

/** @throws ServiceError LOG_NOT_SET_UP */
export async function readLogStatus(
  table: Table,
  digest: Digest,
  deployment: Deployment,
): Promise<{ readonly logs: readonly LogStatus[]; readonly policy: string }> {
  const logs = await Promise.all(
    LOG_KINDS.map(async (kind): Promise<LogStatus> => {
      const { origin } = originOf(deployment, kind)
      const [{ epoch, size, state }, waiting, oldest] = await Promise.all([
        readLogHead(table, kind),
        countWaiting(table, kind),
        oldestWaiting(table, kind),
      ])
      return { kind, origin, epoch, size, state, waiting, oldest }
    }),
  )
  return { logs, policy: deployment.log === undefined ? "" : logPolicyText(digest, deployment.log) }
}
