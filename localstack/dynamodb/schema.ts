import { createHash } from "node:crypto"
import { invalidParameter, validation } from "./errors.ts"
import { decimalKey, parseDecimal } from "./numbers.ts"
import { type Item, isRecord, parseValue, type Value, type WireItem, writeValue } from "./values.ts"

export type KeyType = "S" | "N" | "B"

export interface KeyAttribute {
  readonly name: string
  readonly type: KeyType
}

export interface KeySchema {
  readonly hash: KeyAttribute
  readonly range?: KeyAttribute
}

export interface IndexSchema extends KeySchema {
  readonly id: number
  readonly name: string
  readonly projection: "ALL" | "KEYS_ONLY" | "INCLUDE"
  readonly included: readonly string[]
}

export interface TableSchema extends KeySchema {
  readonly id: number
  readonly name: string
  readonly indexes: readonly IndexSchema[]
  /** the attribute that holds the expiry in epoch seconds, while time to live is enabled */
  readonly ttlAttribute?: string
}

/** Where an item or an index entry stands: partition first, then order within it. Compared bytewise. */
export interface Position {
  readonly pk: Uint8Array
  readonly sk: Uint8Array
}

const MAX_HASH_BYTES = 2048
const MAX_RANGE_BYTES = 1024
const PARTITION_BYTES = 8
/** Stands where a key schema has no range key: node:sqlite binds bytes of length zero as NULL. */
const NO_RANGE = Uint8Array.of(0)

export function keyAttributes({ hash, range }: KeySchema): readonly KeyAttribute[] {
  return range ? [hash, range] : [hash]
}

/** Partition key bytes led by their digest, so that a scan meets partitions in no useful order, as on AWS. */
export function hashPosition(value: Value): Buffer {
  const bytes = keyBytes(value)
  return Buffer.concat([createHash("md5").update(bytes).digest().subarray(0, PARTITION_BYTES), bytes])
}

/** Bytes whose order is the order of sort keys: UTF-8, unsigned bytes, or by number. */
export function keyBytes(value: Value): Buffer {
  if (value.type === "N") return decimalKey(parseDecimal(value.value))
  if (value.type === "B") return value.value
  return Buffer.from(value.value as string)
}

function positionOf(schema: KeySchema, item: Item): Position {
  const range = schema.range && item.get(schema.range.name)
  return {
    pk: hashPosition(item.get(schema.hash.name) as Value),
    sk: range ? keyBytes(range) : NO_RANGE,
  }
}

/** @throws ValidationException if a key attribute is missing, empty, too long or of another type */
export function itemPosition(schema: TableSchema, item: Item): Position {
  for (const { name, type } of keyAttributes(schema)) {
    const value = item.get(name)
    if (value === undefined) throw invalidParameter(`Missing the key ${name} in the item`)
    if (value.type !== type)
      throw invalidParameter(`Type mismatch for key ${name} expected: ${type} actual: ${value.type}`)
    requireKeyLength(name, value, name === schema.hash.name)
  }
  return positionOf(schema, item)
}

/** Position of the item's entry in an index; undefined where the item lacks a key attribute of the index. */
export function indexPosition(index: IndexSchema, item: Item): Position | undefined {
  for (const { name, type } of keyAttributes(index)) {
    const value = item.get(name)
    if (value === undefined) return undefined
    if (value.type !== type) {
      throw invalidParameter(
        `Type mismatch for Index Key ${name} Expected: ${type} Actual: ${value.type} IndexName: ${index.name}`,
      )
    }
    requireKeyLength(name, value, name === index.hash.name)
  }
  return positionOf(index, item)
}

function requireKeyLength(name: string, value: Value, isHash: boolean): void {
  const length = keyBytes(value).length
  if (length === 0) {
    throw validation(
      `One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty ${value.type === "B" ? "binary" : "string"} value. Key: ${name}`,
    )
  }
  const most = isHash ? MAX_HASH_BYTES : MAX_RANGE_BYTES
  if (value.type !== "N" && length > most) {
    throw invalidParameter(
      `Size of ${isHash ? "hashkey" : "rangekey"} has exceeded the maximum size limit of ${most} bytes`,
    )
  }
}

/** Reads a primary key and nothing else. @throws ValidationException if it is not exactly the key of the table */
export function parseKey(schema: TableSchema, wire: unknown): Item {
  const attributes = keyAttributes(schema)
  if (!isRecord(wire) || Object.keys(wire).length !== attributes.length) {
    throw validation("The provided key element does not match the schema")
  }
  const key = new Map<string, Value>()
  for (const { name, type } of attributes) {
    const value = Object.hasOwn(wire, name) ? parseValue(wire[name]) : undefined
    if (value?.type !== type) throw validation("The provided key element does not match the schema")
    requireKeyLength(name, value, name === schema.hash.name)
    key.set(name, value)
  }
  return key
}

/** The attributes of one or several key schemas, in wire form. */
export function writeKey(item: Item, ...schemas: readonly KeySchema[]): WireItem {
  const entries = schemas.flatMap(keyAttributes).map(({ name }) => [name, writeValue(item.get(name) as Value)] as const)
  return Object.fromEntries(entries)
}

/** What an index shows of an item. */
export function projectedItem(table: TableSchema, index: IndexSchema, item: Item): Item {
  if (index.projection === "ALL") return item
  const names = new Set([...keyAttributes(table), ...keyAttributes(index)].map(({ name }) => name))
  for (const name of index.included) names.add(name)
  return new Map([...item].filter(([name]) => names.has(name)))
}
