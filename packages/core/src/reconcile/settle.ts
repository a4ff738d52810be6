import { dropFinding, findingWrites, type KeyFinding, openFindings } from "../ledger/key-findings.ts"
import {
  closeMinute,
  hasUse,
  type KeyUse,
  MINUTE_MS,
  minuteOf,
  minuteStart,
  notedUses,
  openMinutes,
  passMinutes,
  type ReconciliationCursor,
  readCursor,
  startCursor,
  usesOfMinute,
} from "../ledger/key-uses.ts"
import type { Table } from "../ports.ts"
import { type KnownKeys, rememberKeys } from "./known-keys.ts"
import { leasesAt } from "./leases.ts"
import { newMark, type ReconcilePorts } from "./receive.ts"
import {
  CLOCK_SKEW_MS,
  firstGroup,
  LONGEST_ACT_MINUTES,
  METRIC_OF,
  MINUTES_AT_A_TIME,
  minutesBetween,
  minutesOfUse,
  missingId,
} from "./rules.ts"

export interface SettleLimits {
  /** a minute is reconciled this long after its end: CloudTrail's delay, and the longest act */
  readonly delaySec: number
  /** nothing more is begun after it */
  readonly until: Date
}

export interface SettleOutcome {
  /** uses that acts tell */
  readonly explained: number
  /** open findings, by metric */
  readonly open: Readonly<Record<(typeof METRIC_OF)[keyof typeof METRIC_OF], number>>
  /** seconds since the oldest minute that is not reconciled */
  readonly ageSec: number
}

/** Minutes that one transaction opens. */
const PASSED_AT_ONCE = 60
/** Ids of missing uses that one finding names. */
const NAMED = 20
/** Ids that are looked for one by one; where so many are missing, no event came at all. */
const LOOKED_FOR = 500

/**
 * Reconciles every minute that is old enough (D13): each use that CloudTrail tells must be told by an act of the service, and each that an act
 * tells must be among CloudTrail's. Order: move the cursor on and open what it passes, in one transaction; read a minute's uses; write what was
 * found; close the minute. Whoever crashes leaves it open for the next run, and a repeat finds the same.
 */
export async function settleUses(ports: ReconcilePorts, { delaySec, until }: SettleLimits): Promise<SettleOutcome> {
  const { table, clock } = ports
  const now = clock()
  const keys = await rememberKeys(table)
  await moveOn(ports, await startCursor(table, minuteOf(now)), minuteOf(new Date(now.getTime() - delaySec * 1000)))
  let explained = 0
  while (clock().getTime() < until.getTime()) {
    const group = firstGroup(await openMinutes(table, MINUTES_AT_A_TIME))
    if (group.length === 0) break
    explained += await settleGroup(
      ports,
      keys,
      group.map(({ minute }) => minute),
    )
    for (const minute of group) await closeMinute(table, minute)
  }
  return { explained, open: await countOpen(table), ageSec: await ageOf(table, clock()) }
}

async function moveOn(ports: ReconcilePorts, cursor: ReconciliationCursor, to: string): Promise<void> {
  const minutes = minutesBetween(cursor.through, to)
  for (let at = 0; at < minutes.length; at += PASSED_AT_ONCE) {
    const passed = minutes.slice(at, at + PASSED_AT_ONCE)
    await passMinutes(ports.table, passed[0] as string, passed, newMark(ports.random))
  }
}

/** @param minutes one after the other. @returns how many uses acts tell */
async function settleGroup(ports: ReconcilePorts, keys: KnownKeys, minutes: readonly string[]): Promise<number> {
  const { table } = ports
  const first = minuteStart(minutes[0] as string)
  const end = new Date(minuteStart(minutes.at(-1) as string).getTime() + MINUTE_MS)
  const uses = new Map<string, KeyUse>()
  for (const minute of minutes) for await (const use of usesOfMinute(table, minute)) uses.set(use.requestId, use)

  const unexplained = new Map(uses)
  const missing = new Map<string, string[]>(minutes.map((minute) => [minute, []]))
  const near = new Date(end.getTime() + CLOCK_SKEW_MS)
  for await (const { at, use } of notedUses(table, new Date(first.getTime() - CLOCK_SKEW_MS), near)) {
    unexplained.delete(use)
    if (!uses.has(use)) missing.get(minuteOf(at))?.push(use)
  }
  const latest = new Date(end.getTime() + LONGEST_ACT_MINUTES * MINUTE_MS)
  if (unexplained.size > 0) for await (const { use } of notedUses(table, near, latest)) unexplained.delete(use)

  for (const use of unexplained.values()) await putUnexplained(ports, keys, use)
  await tellMissing(ports, missing)
  return uses.size - unexplained.size
}

async function putUnexplained({ table, clock }: ReconcilePorts, keys: KnownKeys, use: KeyUse): Promise<void> {
  const key = keys.get(use.keyId)
  const leases = key?.purpose === "issuer" ? await leasesAt(table, use.keyId, use.at) : undefined
  await table.transact(
    findingWrites({
      id: use.requestId,
      kind: "unexplained",
      at: use.at,
      foundAt: clock(),
      keyId: use.keyId,
      key: key?.name,
      purpose: key?.purpose,
      principal: use.principal,
      sourceIp: use.sourceIp,
      eventId: use.eventId,
      ...leases,
    }),
  )
}

/** What came late after all takes its finding back. */
async function tellMissing(
  { table, clock }: ReconcilePorts,
  byMinute: ReadonlyMap<string, readonly string[]>,
): Promise<void> {
  const open = new Set((await openFindings(table)).map(({ id }) => id))
  for (const [minute, candidates] of byMinute) {
    const uses = await stillMissing(table, minute, candidates)
    const id = missingId(minute)
    if (open.has(id)) await dropFinding(table, id)
    if (uses.length === 0) continue
    const finding: KeyFinding = {
      id,
      kind: "missing",
      at: minuteStart(minute),
      foundAt: clock(),
      count: uses.length,
      uses: uses.slice(0, NAMED),
    }
    await table.transact(findingWrites(finding))
  }
}

async function stillMissing(table: Table, minute: string, candidates: readonly string[]): Promise<readonly string[]> {
  const missing: string[] = []
  for (const use of candidates.slice(0, LOOKED_FOR)) if (!(await isStored(table, minute, use))) missing.push(use)
  return [...missing, ...candidates.slice(LOOKED_FOR)]
}

async function isStored(table: Table, minute: string, use: string): Promise<boolean> {
  for (const other of minutesOfUse(minute)) if (await hasUse(table, other, use)) return true
  return false
}

async function countOpen(table: Table): Promise<SettleOutcome["open"]> {
  const open = { UnexplainedKeyUses: 0, KeyUsesWithoutEvent: 0 }
  for (const { kind } of await openFindings(table)) open[METRIC_OF[kind]] += 1
  return open
}

async function ageOf(table: Table, now: Date): Promise<number> {
  const [oldest] = await openMinutes(table, 1)
  const from = oldest?.minute ?? (await readCursor(table))?.through ?? minuteOf(now)
  return Math.max(0, now.getTime() - minuteStart(from).getTime()) / 1000
}
