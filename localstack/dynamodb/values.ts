import { validation } from "./errors.ts"
import { compareDecimals, formatDecimal, parseDecimal, significantDigits } from "./numbers.ts"

/** An attribute value. N and NS hold plain decimal text (`formatDecimal`), so equal numbers are equal texts. */
export type Value =
  | { readonly type: "S" | "N"; readonly value: string }
  | { readonly type: "B"; readonly value: Buffer }
  | { readonly type: "SS" | "NS"; readonly value: readonly string[] }
  | { readonly type: "BS"; readonly value: readonly Buffer[] }
  | { readonly type: "L"; readonly value: readonly Value[] }
  | { readonly type: "M"; readonly value: Item }
  | { readonly type: "BOOL"; readonly value: boolean }
  | { readonly type: "NULL"; readonly value: true }

export type ValueType = Value["type"]

/** Attributes by name. A Map, since names such as `__proto__` are legal. */
export type Item = ReadonlyMap<string, Value>

/** Wire form of one value: an object with one member, named by the type. */
export type WireValue = { [type: string]: unknown }
export type WireItem = { [name: string]: WireValue }

export const VALUE_TYPES: readonly ValueType[] = ["S", "N", "B", "SS", "NS", "BS", "L", "M", "BOOL", "NULL"]
const MAX_DEPTH = 32
const MAX_NAME_BYTES = 65_535

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** @throws ValidationException on anything that is no item */
export function parseItem(wire: unknown, depth = 1): Item {
  if (!isRecord(wire)) throw validation("Supplied AttributeValue map is not an object")
  const item = new Map<string, Value>()
  for (const [name, value] of Object.entries(wire)) {
    if (name.length === 0) throw validation("One or more parameter values were invalid: Attribute name is empty")
    if (Buffer.byteLength(name) > MAX_NAME_BYTES)
      throw validation("Attribute name is too large, must be less than 65536 bytes")
    item.set(name, parseValue(value, depth))
  }
  return item
}

/** @throws ValidationException unless `wire` holds exactly one well-formed value of a known type */
export function parseValue(wire: unknown, depth = 1): Value {
  if (depth > MAX_DEPTH) throw validation("Nesting Levels have exceeded supported limits")
  const members = isRecord(wire)
    ? Object.entries(wire).filter(([, value]) => value !== null && value !== undefined)
    : []
  if (members.length === 0) {
    throw validation("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
  }
  if (members.length > 1) {
    throw validation(
      "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
    )
  }
  const [type, value] = members[0] as [string, unknown]
  switch (type) {
    case "S":
      return { type, value: text(value) }
    case "N":
      return { type, value: number(value) }
    case "B":
      return { type, value: binary(value) }
    case "SS":
      return { type, value: distinct(list(value).map(text), (entry) => entry, type) }
    case "NS":
      return { type, value: distinct(list(value).map(number), (entry) => entry, type) }
    case "BS":
      return { type, value: distinct(list(value).map(binary), (entry) => entry.toString("latin1"), type) }
    case "L":
      return { type, value: list(value).map((entry) => parseValue(entry, depth + 1)) }
    case "M":
      return { type, value: parseItem(value, depth + 1) }
    case "BOOL":
      if (typeof value !== "boolean") throw validation("Supplied AttributeValue BOOL is not a boolean")
      return { type, value }
    case "NULL":
      if (value !== true) {
        throw validation(
          "One or more parameter values were invalid: Null attribute value types must have the value of true",
        )
      }
      return { type, value }
    default:
      throw validation("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
  }
}

function text(value: unknown): string {
  if (typeof value !== "string" || !value.isWellFormed())
    throw validation("Supplied AttributeValue S is not a Unicode string")
  return value
}

function number(value: unknown): string {
  if (typeof value !== "string") throw validation("Supplied AttributeValue N is not a string")
  return formatDecimal(parseDecimal(value))
}

function binary(value: unknown): Buffer {
  const bytes = typeof value === "string" ? Buffer.from(value, "base64") : undefined
  if (bytes === undefined || bytes.toString("base64") !== value)
    throw validation("Supplied AttributeValue B is not base64")
  return bytes
}

function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw validation("Supplied AttributeValue is not a list")
  return value
}

function distinct<T>(entries: readonly T[], key: (entry: T) => string, type: string): readonly T[] {
  if (entries.length === 0) {
    throw validation(
      `One or more parameter values were invalid: An ${type === "SS" ? "string" : type === "NS" ? "number" : "binary"} set  may not be empty`,
    )
  }
  if (new Set(entries.map(key)).size !== entries.length) {
    throw validation(`One or more parameter values were invalid: Input collection contains duplicates.`)
  }
  return entries
}

export function writeValue(value: Value): WireValue {
  switch (value.type) {
    case "B":
      return { B: value.value.toString("base64") }
    case "BS":
      return { BS: value.value.map((entry) => entry.toString("base64")) }
    case "L":
      return { L: value.value.map(writeValue) }
    case "M":
      return { M: writeItem(value.value) }
    default:
      return { [value.type]: value.value }
  }
}

export function writeItem(item: Item): WireItem {
  return Object.fromEntries([...item].map(([name, value]) => [name, writeValue(value)]))
}

/** Equality as the `=` operator has it: sets without order, numbers by value. */
export function valuesEqual(a: Value, b: Value): boolean {
  if (a.type !== b.type) return false
  if (a.type === "B" && b.type === "B") return a.value.equals(b.value)
  if (a.type === "L" && b.type === "L") {
    return a.value.length === b.value.length && a.value.every((entry, at) => valuesEqual(entry, b.value[at] as Value))
  }
  if (a.type === "M" && b.type === "M") {
    if (a.value.size !== b.value.size) return false
    for (const [name, value] of a.value) {
      const other = b.value.get(name)
      if (other === undefined || !valuesEqual(value, other)) return false
    }
    return true
  }
  if (isSet(a) && isSet(b))
    return a.value.length === b.value.length && setEntries(a).every((entry) => setEntries(b).includes(entry))
  return a.value === b.value
}

/** Order of two values of one type among S, N and B; undefined where DynamoDB knows no order. */
export function compareValues(a: Value, b: Value): number | undefined {
  if (a.type === "N" && b.type === "N") return compareDecimals(parseDecimal(a.value), parseDecimal(b.value))
  if (a.type === "S" && b.type === "S") return Buffer.compare(Buffer.from(a.value), Buffer.from(b.value))
  if (a.type === "B" && b.type === "B") return Buffer.compare(a.value, b.value)
  return undefined
}

export type SetValue = Extract<Value, { type: "SS" | "NS" | "BS" }>

export function isSet(value: Value): value is SetValue {
  return value.type === "SS" || value.type === "NS" || value.type === "BS"
}

/** Entries of a set as comparable texts. */
export function setEntries(set: SetValue): readonly string[] {
  return set.type === "BS" ? set.value.map((entry) => entry.toString("base64")) : set.value
}

/** @param entries as `setEntries` gives them, at least one */
export function setOf(type: SetValue["type"], entries: readonly string[]): SetValue {
  return type === "BS"
    ? { type, value: entries.map((entry) => Buffer.from(entry, "base64")) }
    : { type, value: entries }
}

/** Size by the rules of DynamoDB's developer guide ("item sizes and formats"). */
export function itemSize(item: Item): number {
  let size = 0
  for (const [name, value] of item) size += Buffer.byteLength(name) + valueSize(value)
  return size
}

const CONTAINER_BYTES = 3

export function valueSize(value: Value): number {
  switch (value.type) {
    case "S":
      return Buffer.byteLength(value.value)
    case "N":
      return numberSize(value.value)
    case "B":
      return value.value.length
    case "SS":
      return value.value.reduce((sum, entry) => sum + Buffer.byteLength(entry), 0)
    case "NS":
      return value.value.reduce((sum, entry) => sum + numberSize(entry), 0)
    case "BS":
      return value.value.reduce((sum, entry) => sum + entry.length, 0)
    case "L":
      return value.value.reduce((sum, entry) => sum + 1 + valueSize(entry), CONTAINER_BYTES)
    case "M":
      return CONTAINER_BYTES + value.value.size + itemSize(value.value)
    default:
      return 1
  }
}

function numberSize(text: string): number {
  return Math.ceil(significantDigits(parseDecimal(text)) / 2) + 1 + (text.startsWith("-") ? 1 : 0)
}
