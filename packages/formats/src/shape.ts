import { FormatError } from "./errors.ts"
import type { JsonObject, JsonValue } from "./strict-json.ts"

/**
 * Turns one JSON value into a checked `T`. `at` is the path of the value, for the message.
 * @throws FormatError SHAPE_MISMATCH; TOO_LARGE for a list or map with too many entries
 */
export type Reader<T> = (value: JsonValue, at: string) => T

type Members = Readonly<Record<string, Reader<unknown>>>
type Read<R> = R extends Reader<infer T> ? T : never
export type ObjectShape<Required extends Members, Optional extends Members> = {
  readonly [Name in keyof Required]: Read<Required[Name]>
} & { readonly [Name in keyof Optional]?: Read<Optional[Name]> }

export function mismatch(at: string, wanted: string): FormatError {
  return new FormatError("SHAPE_MISMATCH", `${at.slice(0, 200) || "document"}: ${wanted}`)
}

/** Exactly these members: an unknown one is refused. */
export function object<R extends Members, O extends Members = Record<never, never>>(
  required: R,
  optional?: O,
): Reader<ObjectShape<R, O>> {
  return members(required, optional, false)
}

/** These members; others may stand beside them and are left out of the result. */
export function openObject<R extends Members, O extends Members = Record<never, never>>(
  required: R,
  optional?: O,
): Reader<ObjectShape<R, O>> {
  return members(required, optional, true)
}

function members<R extends Members, O extends Members>(
  required: R,
  optional: O | undefined,
  open: boolean,
): Reader<ObjectShape<R, O>> {
  const readers = Object.entries({ ...required, ...optional }).map(
    ([name, read]) => [name, read, Object.hasOwn(required, name)] as const,
  )
  const known = new Set(readers.map(([name]) => name))
  return (value, at) => {
    const source = asObject(value, at)
    const result: Record<string, unknown> = {}
    let found = 0
    for (const [name, read, isRequired] of readers) {
      const member = Object.hasOwn(source, name) ? source[name] : undefined
      if (member !== undefined) {
        result[name] = read(member, `${at}.${name}`)
        found++
      } else if (isRequired) throw mismatch(`${at}.${name}`, "is missing")
    }
    if (!open) {
      const names = Object.keys(source)
      if (names.length !== found)
        throw mismatch(`${at}.${names.find((name) => !known.has(name))}`, "is not a known member")
    }
    return result as ObjectShape<R, O>
  }
}

/** @param maxLength in UTF-16 units; `pattern` must be anchored by its author */
export function string(maxLength: number, pattern?: RegExp): Reader<string> {
  return (value, at) => {
    if (typeof value !== "string") throw mismatch(at, "is not a string")
    if (value.length > maxLength) throw mismatch(at, `is longer than ${maxLength} characters`)
    if (pattern !== undefined && !pattern.test(value)) throw mismatch(at, `does not match ${pattern.source}`)
    return value
  }
}

export function oneOf<const T extends string>(...choices: readonly T[]): Reader<T> {
  return (value, at) => {
    if (!choices.includes(value as T)) throw mismatch(at, `is not ${choices.join(" or ")}`)
    return value as T
  }
}

/** A whole number in `min..max`, both inside the range of safe integers. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): Reader<number> {
  return (value, at) => {
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max)
      throw mismatch(at, `is not a whole number from ${min} to ${max}`)
    return value as number
  }
}

export const boolean: Reader<boolean> = (value, at) => {
  if (typeof value !== "boolean") throw mismatch(at, "is not true or false")
  return value
}

export const anyJson: Reader<JsonValue> = (value) => value

/** An object whose content its own reader checks later. */
export const anyObject: Reader<JsonObject> = asObject

export function array<T>(item: Reader<T>, maxEntries: number, minEntries = 0): Reader<readonly T[]> {
  return (value, at) => {
    if (!Array.isArray(value)) throw mismatch(at, "is not a list")
    if (value.length > maxEntries) throw new FormatError("TOO_LARGE", `${at}: more than ${maxEntries} entries`)
    if (value.length < minEntries) throw mismatch(at, `has fewer than ${minEntries} entries`)
    return (value as readonly JsonValue[]).map((entry, i) => item(entry, `${at}[${i}]`))
  }
}

/** An object whose member names are data. The result keeps the order of the text. */
export function map<T>(item: Reader<T>, maxEntries: number, name?: Reader<string>): Reader<ReadonlyMap<string, T>> {
  return (value, at) => {
    const entries = Object.entries(asObject(value, at))
    if (entries.length > maxEntries) throw new FormatError("TOO_LARGE", `${at}: more than ${maxEntries} entries`)
    return new Map(
      entries.map(([key, entry]) => {
        const path = `${at}[${JSON.stringify(key.slice(0, 80))}]`
        return [name === undefined ? key : name(key, path), item(entry, path)]
      }),
    )
  }
}

function asObject(value: JsonValue, at: string): JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw mismatch(at, "is not an object")
  return value as JsonObject
}
