import { CapacityMeter } from "./capacity.ts"
import { invalidParameter, validation } from "./errors.ts"
import { parseCondition } from "./expressions/condition.ts"
import { holds } from "./expressions/evaluate.ts"
import { type Placeholders, readPlaceholders, requireAllUsed } from "./expressions/placeholders.ts"
import { parseProjection, project } from "./expressions/projection.ts"
import { type Condition, type Path, pathsOf } from "./expressions/syntax.ts"
import { keyRange } from "./key-condition.ts"
import {
  flag,
  member,
  oneOf,
  optionalInteger,
  optionalText,
  type Reply,
  type Request,
  refuseMembers,
} from "./request.ts"
import {
  type IndexSchema,
  indexPosition,
  itemPosition,
  keyAttributes,
  type Position,
  projectedItem,
  type TableSchema,
  writeKey,
} from "./schema.ts"
import type { Extent, Store } from "./store.ts"
import { tableOf } from "./tables.ts"
import { type Item, itemSize, parseItem, writeItem } from "./values.ts"

const MAX_PAGE_BYTES = 1024 * 1024
const MAX_LIMIT = 2_147_483_647
const MAX_SEGMENTS = 1_000_000

/** What Query and Scan share, read and checked. */
interface Reading {
  readonly table: TableSchema
  readonly index: IndexSchema | undefined
  readonly consistent: boolean
  readonly limit: number | undefined
  readonly filter: Condition | undefined
  readonly paths: readonly Path[] | undefined
  readonly countOnly: boolean
  readonly placeholders: Placeholders
}

export function query(store: Store, request: Request): Reply {
  refuseMembers(request, ["KeyConditions", "QueryFilter", "ConditionalOperator", "AttributesToGet"])
  const KeyConditionExpression = member(request, "KeyConditionExpression")
  if (KeyConditionExpression === undefined) {
    throw validation("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
  }
  const reading = readReading(store, request, { KeyConditionExpression })
  const condition = parseCondition("KeyConditionExpression", KeyConditionExpression, reading.placeholders)
  requireAllUsed(reading.placeholders)
  const schema = reading.index ?? reading.table
  refuseKeysInFilter(schema, reading.filter)
  const range = keyRange(schema, condition)
  const after = startPosition(request, reading)
  if (after && !isInside(range, after[0] as Position)) {
    throw validation("The provided starting key is outside query boundaries based on provided conditions")
  }
  const forward = member(request, "ScanIndexForward") === undefined || flag(request, "ScanIndexForward")
  return page(store, request, reading, { ...range, forward, ...(after && { after }) })
}

export function scan(store: Store, request: Request): Reply {
  refuseMembers(request, ["ScanFilter", "ConditionalOperator", "AttributesToGet"])
  const reading = readReading(store, request, {})
  requireAllUsed(reading.placeholders)
  const after = startPosition(request, reading)
  return page(store, request, reading, { ...segment(request), forward: true, ...(after && { after }) })
}

function readReading(store: Store, request: Request, others: Record<string, unknown>): Reading {
  const { schema: table } = tableOf(store, request)
  const indexName = optionalText(request, "IndexName")
  const index = table.indexes.find(({ name }) => name === indexName)
  if (indexName !== undefined && !index) throw validation(`The table does not have the specified index: ${indexName}`)
  const consistent = flag(request, "ConsistentRead")
  if (consistent && index) throw validation("Consistent reads are not supported on global secondary indexes")
  const FilterExpression = member(request, "FilterExpression")
  const ProjectionExpression = member(request, "ProjectionExpression")
  const placeholders = readPlaceholders(request, { ...others, FilterExpression, ProjectionExpression })
  const paths = ProjectionExpression === undefined ? undefined : parseProjection(ProjectionExpression, placeholders)
  const countOnly = readSelect(request, index, paths !== undefined)
  if (index && paths) requireProjected(table, index, paths)
  return {
    table,
    index,
    consistent,
    limit: optionalInteger(request, "Limit", 1, MAX_LIMIT),
    filter:
      FilterExpression === undefined ? undefined : parseCondition("FilterExpression", FilterExpression, placeholders),
    paths,
    countOnly,
    placeholders,
  }
}

/** @returns whether only the count is asked for */
function readSelect(request: Request, index: IndexSchema | undefined, hasProjection: boolean): boolean {
  if (member(request, "Select") === undefined) return false
  const kinds = ["ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "COUNT", "SPECIFIC_ATTRIBUTES"] as const
  const select = oneOf(request, "Select", [...kinds])
  if (hasProjection && select !== "SPECIFIC_ATTRIBUTES") {
    throw validation(`Cannot specify the ProjectionExpression when choosing to get ${select}`)
  }
  if (select === "SPECIFIC_ATTRIBUTES" && !hasProjection) {
    throw validation(
      "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES",
    )
  }
  if (select === "ALL_PROJECTED_ATTRIBUTES" && !index) {
    throw validation("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")
  }
  if (select === "ALL_ATTRIBUTES" && index && index.projection !== "ALL") {
    throw invalidParameter(
      `Select type ALL_ATTRIBUTES is not supported for global secondary index ${index.name} because its projection type is not ALL`,
    )
  }
  return select === "COUNT"
}

function requireProjected(table: TableSchema, index: IndexSchema, paths: readonly Path[]): void {
  if (index.projection === "ALL") return
  const known = new Set(
    [...keyAttributes(table), ...keyAttributes(index)].map(({ name }) => name).concat(index.included),
  )
  const missing = paths.map(([name]) => name).filter((name) => !known.has(name))
  if (missing.length === 0) return
  throw invalidParameter(`Global secondary index ${index.name} does not project [${missing.join(", ")}]`)
}

function refuseKeysInFilter(schema: TableSchema | IndexSchema, filter: Condition | undefined): void {
  const names = keyAttributes(schema).map(({ name }) => name)
  const key = filter && pathsOf(filter).find(([first]) => names.includes(first))
  if (!key) return
  throw validation(`Filter Expression can only contain non-primary key attributes: Primary key attribute: ${key[0]}`)
}

/** Reads ExclusiveStartKey: the position in the index, if any, then that of the item. */
function startPosition(request: Request, { table, index }: Reading): readonly Position[] | undefined {
  const given = member(request, "ExclusiveStartKey")
  if (given === undefined) return undefined
  const key = parseItem(given)
  const names = new Set([...keyAttributes(table), ...(index ? keyAttributes(index) : [])].map(({ name }) => name))
  if (key.size !== names.size || [...names].some((name) => !key.has(name))) {
    throw validation("The provided starting key is invalid")
  }
  const own = itemPosition(table, key)
  const entry = index && indexPosition(index, key)
  return entry ? [entry, own] : [own]
}

function isInside({ pk, lower, upper }: Pick<Extent, "pk" | "lower" | "upper">, at: Position): boolean {
  if (pk && Buffer.compare(pk, at.pk) !== 0) return false
  if (lower && Buffer.compare(at.sk, lower.sk) < (lower.inclusive ? 0 : 1)) return false
  return !upper || Buffer.compare(at.sk, upper.sk) <= (upper.inclusive ? 0 : -1)
}

/** Partitions start with a digest, so a segment is a range of its first four bytes. */
function segment(request: Request): Pick<Extent, "pkFrom" | "pkBefore"> {
  const total = optionalInteger(request, "TotalSegments", 1, MAX_SEGMENTS)
  const number = optionalInteger(request, "Segment", 0, (total ?? MAX_SEGMENTS) - 1)
  if ((total === undefined) !== (number === undefined)) {
    throw validation("The TotalSegments parameter and the Segment parameter are required together")
  }
  if (total === undefined || number === undefined) return {}
  const border = (at: number) => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(Math.floor((at * 2 ** 32) / total))
    return bytes
  }
  return { pkFrom: border(number), ...(number + 1 < total && { pkBefore: border(number + 1) }) }
}

function page(store: Store, request: Request, reading: Reading, extent: Omit<Extent, "table" | "index">): Reply {
  const { table, index, limit, filter, paths, countOnly } = reading
  const meter = new CapacityMeter(request)
  const items: Reply[] = []
  let count = 0
  let scanned = 0
  let bytes = 0
  let last: Item | undefined
  for (const row of store.rows({ table, ...(index && { index }), ...extent })) {
    const item = index ? projectedItem(table, index, row.item) : row.item
    scanned += 1
    bytes += itemSize(item)
    if (!filter || holds(filter, item)) {
      count += 1
      if (!countOnly) items.push(writeItem(paths ? project(item, paths) : item))
    }
    if (scanned === limit || bytes >= MAX_PAGE_BYTES) {
      last = item
      break
    }
  }
  meter.read(table, bytes, reading.consistent ? 1 : 0.5, index?.name)
  return {
    ...(!countOnly && { Items: items }),
    Count: count,
    ScannedCount: scanned,
    ...(last && { LastEvaluatedKey: writeKey(last, table, ...(index ? [index] : [])) }),
    ...meter.single(),
  }
}
