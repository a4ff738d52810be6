import { validation } from "./errors.ts"
import { isRecord } from "./values.ts"

/** The JSON body of one call. */
export type Request = Readonly<Record<string, unknown>>
export type Reply = Record<string, unknown>

/** A member, with null read as absent as AWS does. */
export function member(request: Request, name: string): unknown {
  return request[name] ?? undefined
}

export function requiredRecord(request: Request, name: string): Record<string, unknown> {
  const value = member(request, name)
  if (value === undefined) throw constraint("null", name, "Member must not be null")
  if (!isRecord(value)) throw validation(`${name} is not an object`)
  return value
}

export function requiredText(request: Request, name: string): string {
  const value = optionalText(request, name)
  if (value === undefined) throw constraint("null", name, "Member must not be null")
  return value
}

export function optionalText(request: Request, name: string): string | undefined {
  const value = member(request, name)
  if (value !== undefined && typeof value !== "string") throw validation(`${name} is not a string`)
  return value
}

export function flag(request: Request, name: string): boolean {
  const value = member(request, name)
  if (value !== undefined && typeof value !== "boolean") throw validation(`${name} is not a boolean`)
  return value ?? false
}

/** @throws ValidationException unless absent or an integer in the range */
export function optionalInteger(request: Request, name: string, least: number, most: number): number | undefined {
  const value = member(request, name)
  if (value === undefined) return undefined
  if (typeof value !== "number" || !Number.isSafeInteger(value)) throw validation(`${name} is not an integer`)
  if (value < least) throw constraint(String(value), name, `Member must have value greater than or equal to ${least}`)
  if (value > most) throw constraint(String(value), name, `Member must have value less than or equal to ${most}`)
  return value
}

/** @returns the first of `among` when the member is absent */
export function oneOf<T extends string>(request: Request, name: string, among: readonly [T, ...T[]]): T {
  const value = member(request, name)
  if (value === undefined) return among[0]
  const known = among.find((candidate) => candidate === value)
  if (known === undefined) {
    throw constraint(`'${String(value)}'`, name, `Member must satisfy enum value set: [${among.join(", ")}]`)
  }
  return known
}

/** @throws ValidationException unless a list with `least` to `most` objects */
export function requiredList(request: Request, name: string, least: number, most: number): Record<string, unknown>[] {
  const value = member(request, name)
  if (!Array.isArray(value) || !value.every(isRecord)) throw validation(`${name} is not a list of objects`)
  if (value.length < least) throw constraint("[]", name, `Member must have length greater than or equal to ${least}`)
  if (value.length > most) throw constraint("list", name, `Member must have length less than or equal to ${most}`)
  return value
}

/** Refuses members that this subset does not implement, so that nothing is silently left out. */
export function refuseMembers(request: Request, names: readonly string[]): void {
  const found = names.find((name) => member(request, name) !== undefined)
  if (found) throw validation(`${found} is not supported by this embedded DynamoDB`)
}

function constraint(value: string, name: string, text: string) {
  const lowerName = name.charAt(0).toLowerCase() + name.slice(1)
  return validation(
    `1 validation error detected: Value ${value} at '${lowerName}' failed to satisfy constraint: ${text}`,
  )
}
