import { FormatError } from "@sealwright/formats/errors"
import { MAX_ENTRY_BYTES } from "@sealwright/formats/tlog-tiles"
import { keys } from "../ledger/keys.ts"
import { findRecord } from "../ledger/records.ts"
import type { LogKind, SignatureRecord } from "../model.ts"
import { ulidTime } from "../names.ts"
import type { Digest, Item, Key, Table } from "../ports.ts"
import { INBOX_SHARDS } from "../sign/commit.ts"
import { leavesOfRecord } from "./entry.ts"

/** What waits for a log: the leaves that it becomes, one after the other. */
export interface WaitingEntry {
  readonly inbox: Key
  readonly leaves: readonly Uint8Array[]
}

export interface Waiting {
  /** in the order of their ids, that is of time */
  readonly entries: readonly WaitingEntry[]
  /** when the oldest of all that waits was made */
  readonly oldest: Date | undefined
  /** ids of what no leaf can be made of: they stay, and ring by their age */
  readonly unreadable: readonly string[]
}

/** What one round takes at most. */
export interface RoundLimits {
  readonly entries: number
  /** of leaves together; the entry that goes beyond it is the last */
  readonly bytes: number
}

export const ROUND_LIMITS: RoundLimits = { entries: 10_000, bytes: 16 * 1024 * 1024 }

/** Records that are read at once. */
const RECORDS_AT_ONCE = 32

/** Reads what waits, oldest first. */
export async function readWaiting(
  ports: { readonly table: Table; readonly digest: Digest },
  kind: LogKind,
  limits: RoundLimits,
): Promise<Waiting> {
  const items = await readItems(ports.table, kind, limits)
  const entries: WaitingEntry[] = []
  const unreadable: string[] = []
  let bytes = 0
  for (let at = 0; at < items.length && bytes < limits.bytes; at += RECORDS_AT_ONCE) {
    const some = items.slice(at, at + RECORDS_AT_ONCE)
    for (const [i, leaves] of (await Promise.all(some.map((item) => leavesOf(ports, item)))).entries()) {
      const { pk, sk } = some[i] as Item
      if (leaves === undefined) unreadable.push(sk)
      else {
        entries.push({ inbox: { pk, sk }, leaves })
        bytes += leaves.reduce((sum, { length }) => sum + length, 0)
      }
    }
  }
  const [first] = items
  return { entries, oldest: first && ulidTime(first.sk), unreadable }
}

function partitionsOf(kind: LogKind): string[] {
  if (kind === "events") return [keys.inboxEvent("").pk]
  return Array.from({ length: INBOX_SHARDS }, (_, shard) => keys.inbox(shard, "").pk)
}

/** How much waits; counting ends at a round's bound. */
export async function countWaiting(table: Table, kind: LogKind): Promise<number> {
  const { entries } = ROUND_LIMITS
  const partitions = partitionsOf(kind)
  const share = Math.ceil(entries / partitions.length)
  const counts = await Promise.all(partitions.map(async (pk) => (await readPartition(table, pk, share)).length))
  return counts.reduce((sum, count) => sum + count, 0)
}

/** When the oldest of what waits was made; undefined when nothing waits. */
export async function oldestWaiting(table: Table, kind: LogKind): Promise<Date | undefined> {
  const firsts = await Promise.all(partitionsOf(kind).map(async (pk) => (await table.query(pk, { limit: 1 })).items))
  const [first] = firsts
    .flat()
    .map(({ sk }) => sk)
    .sort()
  return first === undefined ? undefined : ulidTime(first)
}

/** Shards fill evenly, so that each gives its share; what is left over is the next round's. */
async function readItems(table: Table, kind: LogKind, { entries }: RoundLimits): Promise<readonly Item[]> {
  const partitions = partitionsOf(kind)
  const share = Math.ceil(entries / partitions.length)
  const shards = await Promise.all(partitions.map((pk) => readPartition(table, pk, share)))
  return shards.flat().sort((a, b) => (a.sk < b.sk ? -1 : 1))
}

async function readPartition(table: Table, pk: string, limit: number): Promise<Item[]> {
  const items: Item[] = []
  for (let after: string | undefined; ; ) {
    const page = await table.query(pk, { limit: limit - items.length, ...(after !== undefined && { after }) })
    items.push(...page.items)
    if (page.next === undefined || items.length >= limit) return items
    after = page.next
  }
}

/** @returns undefined when the record is missing, or can't be a leaf: a damaged table, which must not stop the others */
async function leavesOf(
  { table, digest }: { readonly table: Table; readonly digest: Digest },
  item: Item,
): Promise<readonly Uint8Array[] | undefined> {
  const record = item.leaves === undefined ? await findRecord(table, item.sk) : undefined
  const leaves = record === undefined ? eventLeaves(item) : readLeaves(digest, record)
  return leaves?.some(({ length }) => length > MAX_ENTRY_BYTES) ? undefined : leaves
}

function eventLeaves({ leaves }: Item): readonly Uint8Array[] | undefined {
  return Array.isArray(leaves) && leaves.length > 0 && leaves.every((leaf) => leaf instanceof Uint8Array)
    ? leaves
    : undefined
}

function readLeaves(digest: Digest, record: SignatureRecord): readonly Uint8Array[] | undefined {
  try {
    return leavesOfRecord(digest, record)
  } catch (error) {
    if (error instanceof FormatError) return undefined
    throw error
  }
}
