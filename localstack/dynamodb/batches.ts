import { CapacityMeter } from "./capacity.ts"
import { notFound, validation } from "./errors.ts"
import { readProjection, shown } from "./items.ts"
import { flag, type Reply, type Request, requiredList, requiredRecord } from "./request.ts"
import { itemPosition, type Position, parseKey, type TableSchema } from "./schema.ts"
import type { Store } from "./store.ts"
import { tableOf } from "./tables.ts"
import { isRecord, itemSize } from "./values.ts"
import { apply, decide, prepareDelete, preparePut, type Write } from "./writes.ts"

const MAX_GETS = 100
const MAX_WRITES = 25
const MAX_REPLY_BYTES = 16 * 1024 * 1024

export function batchGetItem(store: Store, request: Request): Reply {
  const meter = new CapacityMeter(request)
  const plans = perTable(request, "BatchGetItem").map(([TableName, part]) => readGets(store, TableName, part))
  if (plans.reduce((sum, { keys }) => sum + keys.length, 0) > MAX_GETS) {
    throw validation("Too many items requested for the BatchGetItem call")
  }
  const Responses: Record<string, Reply[]> = {}
  const UnprocessedKeys: Record<string, Reply> = {}
  let bytes = 0
  for (const { TableName, schema, keys, paths, part } of plans) {
    const found: Reply[] = []
    Responses[TableName] = found
    for (const [at, { position }] of keys.entries()) {
      const item = store.getItem(schema, position)
      const size = item ? itemSize(item) : 0
      if (bytes > 0 && bytes + size > MAX_REPLY_BYTES) {
        UnprocessedKeys[TableName] = { ...part, Keys: keys.slice(at).map(({ wire }) => wire) }
        break
      }
      bytes += size
      meter.read(schema, size, flag(part, "ConsistentRead") ? 1 : 0.5)
      if (item) found.push(shown(item, paths))
    }
  }
  return { Responses, UnprocessedKeys, ...meter.several() }
}

function readGets(store: Store, TableName: string, part: unknown) {
  if (!isRecord(part)) throw validation(`RequestItems.${TableName} is not an object`)
  const { schema } = tableOf(store, { TableName })
  const paths = readProjection(part)
  const keys = requiredList(part, "Keys", 1, MAX_GETS).map((wire) => ({
    wire,
    position: itemPosition(schema, parseKey(schema, wire)),
  }))
  requireDistinct(
    keys.map(({ position }) => ({ table: schema, position })),
    "Provided list of item keys contains duplicates",
  )
  return { TableName, schema, keys, paths, part }
}

/** One SQLite transaction for the whole batch: stronger than AWS, where each item stands alone. */
export function batchWriteItem(store: Store, request: Request): Reply {
  const meter = new CapacityMeter(request)
  const writes = perTable(request, "BatchWriteItem").flatMap(([TableName, part]) => {
    if (!Array.isArray(part) || part.length === 0 || !part.every(isRecord)) {
      throw validation(`The batch write request list for a table cannot be null or empty: ${TableName}`)
    }
    return part.map((entry) => readWrite(store, TableName, entry))
  })
  if (writes.length > MAX_WRITES) throw validation("Too many items requested for the BatchWriteItem call")
  requireDistinct(writes, "Provided list of item keys contains duplicates")
  for (const write of writes) {
    const effect = decide(store, write)
    apply(store, write, effect)
    meter.write(write.table, effect.before, effect.after, 1)
  }
  return { UnprocessedItems: {}, ...meter.several() }
}

function readWrite(store: Store, TableName: string, entry: Request): Write {
  const isPut = isRecord(entry.PutRequest)
  if (isPut === isRecord(entry.DeleteRequest)) {
    throw validation("Supplied WriteRequest must contain exactly one of PutRequest and DeleteRequest")
  }
  if (isPut) return preparePut(store, { TableName, Item: requiredRecord(entry, "PutRequest").Item })
  return prepareDelete(store, { TableName, Key: requiredRecord(entry, "DeleteRequest").Key })
}

function perTable(request: Request, operation: string): [string, unknown][] {
  const tables = Object.entries(requiredRecord(request, "RequestItems"))
  if (tables.length === 0) throw validation(`${operation} cannot have a null or no requests set`)
  const missing = tables.find(([name]) => name.length === 0)
  if (missing) throw notFound()
  return tables
}

/** @throws ValidationException with `message` if two of them stand on one item */
export function requireDistinct(places: readonly { table: TableSchema; position: Position }[], message: string): void {
  const seen = new Set(
    places.map(({ table, position: { pk, sk } }) =>
      [table.id, Buffer.from(pk).toString("hex"), Buffer.from(sk).toString("hex")].join("/"),
    ),
  )
  if (seen.size !== places.length) throw validation(message)
}
