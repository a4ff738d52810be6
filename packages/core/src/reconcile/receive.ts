import { hexEncode } from "@sealwright/formats/bytes"
import { findingWrites } from "../ledger/key-findings.ts"
import { type KeyUse, type KnownKey, minuteOf, openMinuteWrite, readCursor, storeUse } from "../ledger/key-uses.ts"
import type { Clock, RandomBytes, Table } from "../ports.ts"
import { type KnownKeys, readKnownKeys } from "./known-keys.ts"
import { judgeUse, type KeyUsers, minuteAfter } from "./rules.ts"

export interface ReconcilePorts {
  readonly table: Table
  readonly clock: Clock
  readonly random: RandomBytes
  /** who may use keys of which purpose */
  readonly users: KeyUsers
}

export type Reception = ReturnType<typeof judgeUse>

const REMEMBER_MS = 60_000
/** In an account where others use keys too, most keys are unknown. */
const LOOK_AGAIN_MS = 5_000
const MARK_BYTES = 8

export function newMark(random: RandomBytes): string {
  return hexEncode(random(MARK_BYTES))
}

/**
 * Takes in uses of keys as CloudTrail tells them: once or several times, late, in any order. A role that has no business with the key is found at
 * once. Order: the use first, then a look at the cursor. Reconciling moves the cursor first and reads uses then, so one of the two sees the other:
 * a use whose minute was passed already opens it again.
 */
export function createReceiver(ports: ReconcilePorts): (use: KeyUse) => Promise<Reception> {
  const { table, clock, users } = ports
  let remembered: { readonly keys: KnownKeys; readonly at: number } | undefined

  /** What is not known may be new: a role of the service has it looked up afresh. */
  async function find({ keyId, principal }: KeyUse): Promise<KnownKey | undefined> {
    const now = clock().getTime()
    const known = remembered?.keys.get(keyId)
    const enough = known !== undefined ? REMEMBER_MS : users.has(principal) ? 0 : LOOK_AGAIN_MS
    if (remembered !== undefined && now - remembered.at < enough) return known
    remembered = { keys: await readKnownKeys(table), at: now }
    return remembered.keys.get(keyId)
  }

  return async (use) => {
    const key = await find(use)
    const judged = judgeUse(key?.purpose, use.principal, users)
    if (judged === "wrong-role")
      await table.transact(
        findingWrites({
          id: use.requestId,
          kind: "wrong-role",
          at: use.at,
          foundAt: clock(),
          keyId: use.keyId,
          key: key?.name,
          purpose: key?.purpose,
          principal: use.principal,
          sourceIp: use.sourceIp,
          eventId: use.eventId,
        }),
      )
    if (judged !== "counted") return judged
    await storeUse(table, use)
    const minute = minuteOf(use.at)
    const cursor = await readCursor(table)
    if (cursor !== undefined && minute < cursor.through && minute >= cursor.since)
      // An act may stand in the next minute than its use.
      for (const open of [minute, minuteAfter(minute)])
        if (open < cursor.through) await table.transact([openMinuteWrite(open, newMark(ports.random))])
    return judged
  }
}
