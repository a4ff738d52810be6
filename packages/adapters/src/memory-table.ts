import type {
  Attribute,
  Condition,
  Item,
  Key,
  QueryPage,
  QueryRange,
  Table,
  TransactResult,
  Update,
  Write,
  WriteOutcome,
} from "@sealwright/core/ports"
import { checkWrites, keyOf } from "./writes.ts"

const MAX_ITEM_BYTES = 400 * 1024
const MAX_TRANSACTION_BYTES = 4 * 1024 * 1024

export interface MemoryTable extends Table {
  /** Copies of every item, by key: what fsck reads. */
  dump(): Item[]
  /** Sets the table back to what a `dump()` had, as a recovery to a point in time does. */
  restore(items: readonly Item[]): void
}

/**
 * The ledger's table in memory: DynamoDB's semantics and limits, one writer at a time. For tests.
 * @param start what it holds at first, e.g. another table's `dump()`
 */
export function createMemoryTable(start: readonly Item[] = []): MemoryTable {
  const partitions = new Map<string, Map<string, Item>>()
  const find = ({ pk, sk }: Key): Item | undefined => partitions.get(pk)?.get(sk)

  function store(item: Item): void {
    const partition = partitions.get(item.pk)
    if (partition === undefined) partitions.set(item.pk, new Map([[item.sk, item]]))
    else partition.set(item.sk, item)
  }

  function restore(items: readonly Item[]): void {
    partitions.clear()
    for (const item of items) store(copyItem(item))
  }
  restore(start)

  function apply(write: Write): void {
    if ("put" in write) store(copyItem(write.put))
    else if ("update" in write) store(updated(find(write.update), write))
    else if ("delete" in write) partitions.get(write.delete.pk)?.delete(write.delete.sk)
  }

  async function transact(writes: readonly Write[]): Promise<TransactResult> {
    checkWrites(writes)
    const outcomes = writes.map((write): WriteOutcome => {
      const item = find(keyOf(write))
      if (write.if === undefined || holds(write.if, item)) return { failed: false }
      return { failed: true, item: item && copyItem(item) }
    })
    if (outcomes.some((outcome) => outcome.failed)) return { committed: false, outcomes }
    checkSizes(writes, find)
    for (const write of writes) apply(write)
    return { committed: true }
  }

  return {
    transact,
    restore,
    async get(key) {
      const item = find(key)
      return item && copyItem(item)
    },
    async query(pk, range = {}) {
      return page([...(partitions.get(pk)?.values() ?? [])], (item) => item.sk, range)
    },
    async queryIndex(index, value, range = {}) {
      const at = `${index}At`
      const items = [...partitions.values()].flatMap((partition) =>
        [...partition.values()].filter((item) => item[index] === value && typeof item[at] === "string"),
      )
      return page(items, (item) => item[at] as string, range)
    },
    dump() {
      return [...partitions.keys()].sort().flatMap((pk) => {
        const partition = [...(partitions.get(pk)?.values() ?? [])]
        return partition.sort((a, b) => (a.sk < b.sk ? -1 : 1)).map(copyItem)
      })
    },
  }
}

function page(items: readonly Item[], sortKey: (item: Item) => string, range: QueryRange): QueryPage {
  const { from, to, after, limit, descending = false } = range
  const within = items
    .filter((item) => {
      const at = sortKey(item)
      if ((from !== undefined && at < from) || (to !== undefined && at > to)) return false
      return after === undefined || (descending ? at < after : at > after)
    })
    .sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1))
  if (descending) within.reverse()
  const taken = limit === undefined ? within : within.slice(0, limit)
  const last = taken.at(-1)
  return {
    items: taken.map(copyItem),
    next: last !== undefined && taken.length < within.length ? sortKey(last) : undefined,
  }
}

function holds(condition: Condition, item: Item | undefined): boolean {
  const same = (scalars: { readonly [attribute: string]: Attribute }) =>
    item !== undefined && Object.entries(scalars).every(([name, value]) => item[name] === value)
  if (condition.absent && item !== undefined) return false
  if (condition.exists && item === undefined) return false
  if (condition.equals !== undefined && !same(condition.equals)) return false
  if (condition.absentOrEquals !== undefined && item !== undefined && !same(condition.absentOrEquals)) return false
  if (condition.lacks?.some((name) => item?.[name] !== undefined)) return false
  for (const [map, keys] of Object.entries(condition.lacksIn ?? {})) {
    const value = item?.[map]
    if (isMap(value) && keys.some((key) => Object.hasOwn(value, key))) return false
  }
  return Object.entries(condition.fewerThan ?? {}).every(([set, bound]) => {
    const value = item?.[set]
    return value === undefined || (value instanceof Set && value.size < bound)
  })
}

function updated(before: Item | undefined, write: Update): Item {
  const next: { pk: string; sk: string; [name: string]: Attribute } = {
    ...(before ?? { pk: write.update.pk, sk: write.update.sk }),
  }
  for (const [name, value] of Object.entries(write.set ?? {})) next[name] = copy(value)
  for (const name of write.remove ?? []) delete next[name]
  for (const [name, entries] of Object.entries(write.setIn ?? {})) {
    const map = next[name]
    if (!isMap(map)) throw new Error(`${next.pk} ${next.sk}: ${name} is no map`)
    next[name] = { ...map, ...(copy(entries) as { readonly [key: string]: Attribute }) }
  }
  for (const [name, members] of Object.entries(write.join ?? {})) {
    const set = next[name] ?? new Set<string>()
    if (!(set instanceof Set)) throw new Error(`${next.pk} ${next.sk}: ${name} is no set`)
    next[name] = new Set<string>([...set, ...members])
  }
  for (const [name, amount] of Object.entries(write.add ?? {})) {
    const number = next[name] ?? 0
    if (typeof number !== "number") throw new Error(`${next.pk} ${next.sk}: ${name} is no number`)
    next[name] = number + amount
  }
  return next
}

function checkSizes(writes: readonly Write[], find: (key: Key) => Item | undefined): void {
  let total = 0
  for (const write of writes) {
    const item = "put" in write ? write.put : "update" in write ? updated(find(write.update), write) : undefined
    const size = item === undefined ? 0 : sizeOf(item) - 3
    if (size > MAX_ITEM_BYTES) throw new Error(`${item?.pk} ${item?.sk}: an item has ${MAX_ITEM_BYTES} bytes at most`)
    total += size
  }
  if (total > MAX_TRANSACTION_BYTES) throw new Error(`a transaction has ${MAX_TRANSACTION_BYTES} bytes at most`)
}

/** DynamoDB's own count: names and texts in UTF-8, a number at most 21 bytes, 3 bytes a list or map and 1 an entry. */
function sizeOf(value: Attribute): number {
  if (typeof value === "string") return Buffer.byteLength(value)
  if (typeof value === "number") return Math.min(21, Math.ceil(String(value).length / 2) + 1)
  if (typeof value === "boolean") return 1
  if (value instanceof Uint8Array) return value.length
  if (value instanceof Set) return [...value].reduce((sum, member) => sum + Buffer.byteLength(member), 0)
  if (Array.isArray(value)) return value.reduce((sum, entry) => sum + 1 + sizeOf(entry), 3)
  return Object.entries(value).reduce((sum, [name, entry]) => sum + 1 + Buffer.byteLength(name) + sizeOf(entry), 3)
}

function isMap(value: Attribute | undefined): value is { readonly [name: string]: Attribute } {
  return typeof value === "object" && !(value instanceof Uint8Array) && !(value instanceof Set) && !Array.isArray(value)
}

function copyItem(item: Item): Item {
  return copy(item) as Item
}

/** @throws TypeError on what the table cannot hold */
function copy(value: Attribute): Attribute {
  if (typeof value === "string" || typeof value === "boolean") return value
  if (typeof value === "number" && Number.isFinite(value)) return value
  if (value instanceof Uint8Array) return new Uint8Array(value)
  if (value instanceof Set && value.size > 0) return new Set(value)
  if (Array.isArray(value)) return value.map(copy)
  if (!isMap(value))
    throw new TypeError("an attribute is a text, finite number, flag, bytes, non-empty set, list or map")
  const map: { [name: string]: Attribute } = {}
  for (const name in value) map[name] = copy(value[name] as Attribute)
  return map
}
