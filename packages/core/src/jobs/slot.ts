import { ServiceError } from "../errors.ts"
import { keys } from "../ledger/keys.ts"
import type { Table, Write } from "../ports.ts"

/** How long a worker that died keeps others from its place. Each chunk that it settles begins this time anew. */
export const SLOT_SEC = 120

/** The number of a worker's claim: whoever claims the place next has a higher one, and the writes of the former fail. */
export type Claim = number

/**
 * Takes the one worker's place when it is free, or when its holder has not been heard of.
 * @returns undefined when another one has it
 */
export async function claimSlot(table: Table, now: Date): Promise<Claim | undefined> {
  const item = await table.get(keys.batchWorker)
  const claim = typeof item?.claim === "number" ? item.claim : 0
  const until = typeof item?.until === "number" ? item.until : 0
  if (until > now.getTime()) return undefined
  const result = await table.transact([
    {
      update: keys.batchWorker,
      set: { claim: claim + 1, until: untilFrom(now) },
      if: item === undefined ? { absent: true } : { equals: { claim } },
    },
  ])
  return result.committed ? claim + 1 : undefined
}

/** Part of a worker's every transaction: it fails once another one has the place. */
export function holdSlot(claim: Claim, now: Date): Write {
  return { update: keys.batchWorker, set: { until: untilFrom(now) }, if: { equals: { claim } } }
}

/** Gives the place up; a place that can't be given up comes free by itself. */
export async function releaseSlot(table: Table, claim: Claim): Promise<void> {
  await table
    .transact([{ update: keys.batchWorker, set: { until: 0 }, if: { equals: { claim } } }])
    .catch((error: unknown) => {
      if (!(error instanceof ServiceError)) throw error
    })
}

function untilFrom(now: Date): number {
  return now.getTime() + SLOT_SEC * 1000
}
