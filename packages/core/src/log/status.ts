import { utf8 } from "@sealwright/formats/bytes"
import { type LogPolicy, parseLogPolicy } from "@sealwright/formats/tlog-policy"
import { readLogCommit, readLogHead, readWitnessed } from "../ledger/log.ts"
import { type Deployment, LOG_KINDS, type LogKind } from "../model.ts"
import type { Digest, Table } from "../ports.ts"
import { type Cosigners, cosignersOf } from "./cosigners.ts"
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
  /** of the newest epoch's checkpoint; undefined without witnesses */
  readonly cosigned: Cosigners | undefined
  /** size that each address has cosigned last, as far as it is remembered */
  readonly witnessed: ReadonlyMap<string, bigint>
}

export interface LogsStatus {
  readonly logs: readonly LogStatus[]
  /** what deployers accept (C2SP tlog-policy) */
  readonly policy: string
  readonly witnesses: LogPolicy["witnesses"]
}

/** @throws ServiceError LOG_NOT_SET_UP */
export async function readLogsStatus(table: Table, digest: Digest, deployment: Deployment): Promise<LogsStatus> {
  const { log, witnesses } = deployment
  const asked = witnesses === undefined ? undefined : parseLogPolicy(utf8(witnesses))
  const logs = await Promise.all(LOG_KINDS.map((kind) => readLogStatus(table, deployment, kind, asked)))
  return {
    logs,
    policy: log === undefined ? "" : logPolicyText(digest, log, witnesses),
    witnesses: asked?.witnesses ?? [],
  }
}

async function readLogStatus(
  table: Table,
  deployment: Deployment,
  kind: LogKind,
  asked: LogPolicy | undefined,
): Promise<LogStatus> {
  const { origin } = originOf(deployment, kind)
  const [{ epoch, size, state }, waiting, oldest] = await Promise.all([
    readLogHead(table, kind),
    countWaiting(table, kind),
    oldestWaiting(table, kind),
  ])
  const commit = asked && (await readLogCommit(table, kind, epoch))
  const note = commit?.shown?.bytes ?? commit?.note
  const cosigned = note && asked && cosignersOf(note, asked)
  const witnessed = asked === undefined ? new Map() : await readWitnessed(table, kind)
  return { kind, origin, epoch, size, state, waiting, oldest, cosigned, witnessed }
}
