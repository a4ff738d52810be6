import { validation } from "../errors.ts"
import { isRecord, parseValue, type Value } from "../values.ts"

/** The `#` and `:` placeholders of one request, and which of them its expressions have used. */
export interface Placeholders {
  readonly names: ReadonlyMap<string, string>
  readonly values: ReadonlyMap<string, Value>
  readonly used: Set<string>
}

/**
 * @param expressions the request's expressions by parameter name; undefined where it has none
 * @param withValues false for requests that take no ExpressionAttributeValues
 * @throws ValidationException on malformed placeholders, and on placeholders without any expression
 */
export function readPlaceholders(
  request: Record<string, unknown>,
  expressions: Record<string, unknown>,
  withValues = true,
): Placeholders {
  const none = Object.values(expressions).every((expression) => expression === undefined)
  const names = readMap(request, "ExpressionAttributeNames", "#", (value) => {
    if (typeof value !== "string" || value.length === 0)
      throw validation("ExpressionAttributeNames contains invalid value")
    return value
  })
  const values = readMap(request, "ExpressionAttributeValues", ":", (value) => parseValue(value))
  if (names && none) throw validation("ExpressionAttributeNames can only be specified when using expressions")
  if (values && (none || !withValues)) {
    throw validation("ExpressionAttributeValues can only be specified when using expressions")
  }
  return { names: names ?? new Map(), values: values ?? new Map(), used: new Set() }
}

function readMap<T>(
  request: Record<string, unknown>,
  member: string,
  sign: string,
  read: (value: unknown) => T,
): Map<string, T> | undefined {
  const given = request[member]
  if (given === undefined || given === null) return undefined
  if (!isRecord(given)) throw validation(`${member} is not an object`)
  const entries = Object.entries(given)
  if (entries.length === 0) throw validation(`${member} must not be empty`)
  const map = new Map<string, T>()
  for (const [key, value] of entries) {
    if (!key.startsWith(sign) || !/^.[A-Za-z0-9_]+$/.test(key)) {
      throw validation(`${member} contains invalid key: Syntax error; key: "${key}"`)
    }
    map.set(key, read(value))
  }
  return map
}

/** @throws ValidationException if a placeholder was given and no expression used it */
export function requireAllUsed({ names, values, used }: Placeholders): void {
  const unusedNames = [...names.keys()].filter((key) => !used.has(key))
  if (unusedNames.length > 0) {
    throw validation(
      `Value provided in ExpressionAttributeNames unused in expressions: keys: {${unusedNames.join(", ")}}`,
    )
  }
  const unusedValues = [...values.keys()].filter((key) => !used.has(key))
  if (unusedValues.length > 0) {
    throw validation(
      `Value provided in ExpressionAttributeValues unused in expressions: keys: {${unusedValues.join(", ")}}`,
    )
  }
}
