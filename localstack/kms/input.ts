import { KmsError } from "./errors.ts"

/** A request body after JSON parsing. Members that no operation reads are ignored, as AWS does. */
export type Input = Readonly<Record<string, unknown>>

/** @throws KmsError SerializationException unless `body` is a JSON object */
export function parseInput(body: Uint8Array): Input {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body))
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Input
  } catch {
    // told below, like any other body that is not an object
  }
  throw new KmsError("SerializationException", "The request body is not a JSON object.")
}

export function optionalText(input: Input, name: string, maxLength = 2048): string | undefined {
  const value = input[name]
  if (value === undefined || value === null) return undefined
  if (typeof value !== "string") throw new KmsError("SerializationException", `${name} must be a string.`)
  if (value.length > maxLength) throw invalid(name, `at most ${maxLength} characters`)
  return value
}

export function text(input: Input, name: string, maxLength = 2048): string {
  const value = optionalText(input, name, maxLength)
  if (value === undefined || value === "") throw invalid(name, "at least 1 character")
  return value
}

export function oneOf<T extends string>(input: Input, name: string, allowed: readonly T[], otherwise?: T): T {
  const value = optionalText(input, name) ?? otherwise
  const found = allowed.find((candidate) => candidate === value)
  if (found === undefined) throw invalid(name, `one of ${allowed.join(", ")}`)
  return found
}

export function blob(input: Input, name: string, maxBytes: number): Uint8Array {
  const value = text(input, name, Number.POSITIVE_INFINITY)
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(value) || value.length % 4 !== 0) {
    throw new KmsError("SerializationException", `${name} must be base64.`)
  }
  const bytes = Buffer.from(value, "base64")
  if (bytes.length < 1 || bytes.length > maxBytes) throw invalid(name, `1 to ${maxBytes} bytes`)
  return bytes
}

export function integer(input: Input, name: string, least: number, most: number, otherwise: number): number {
  const value = input[name] ?? otherwise
  if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most) {
    throw invalid(name, `an integer from ${least} to ${most}`)
  }
  return value
}

export function flag(input: Input, name: string): boolean {
  const value = input[name] ?? false
  if (typeof value !== "boolean") throw new KmsError("SerializationException", `${name} must be a boolean.`)
  return value
}

export function list(input: Input, name: string): readonly unknown[] {
  const value = input[name] ?? []
  if (!Array.isArray(value)) throw new KmsError("SerializationException", `${name} must be a list.`)
  return value
}

const MAX_TAGS = 50

/** @throws KmsError TagException on a name or value that AWS refuses, or more than 50 tags */
export function tags(input: Input): readonly (readonly [name: string, value: string])[] {
  const pairs = list(input, "Tags").map((entry): [string, string] => {
    const { TagKey, TagValue } = (entry ?? {}) as Input
    if (typeof TagKey !== "string" || typeof TagValue !== "string")
      throw new KmsError("TagException", "A tag is TagKey and TagValue.")
    const isAllowed =
      /^[\p{L}\p{Z}\p{N}_.:/=+\-@]{1,128}$/u.test(TagKey) && /^[\p{L}\p{Z}\p{N}_.:/=+\-@]{0,256}$/u.test(TagValue)
    if (!isAllowed || TagKey.startsWith("aws:")) throw new KmsError("TagException", `The tag ${TagKey} is not allowed.`)
    return [TagKey, TagValue]
  })
  if (pairs.length > MAX_TAGS || new Set(pairs.map(([name]) => name)).size !== pairs.length) {
    throw new KmsError("TagException", `At most ${MAX_TAGS} tags, each name once.`)
  }
  return pairs
}

export function policyDocument(document: string): string {
  try {
    const value: unknown = JSON.parse(document)
    if (typeof value === "object" && value !== null && Array.isArray((value as Input).Statement)) return document
  } catch {
    // told below, like any other text that is not a policy
  }
  throw new KmsError("MalformedPolicyDocumentException", "The policy is not a JSON object with a list of statements.")
}

export interface Page<T> {
  readonly items: readonly T[]
  readonly marker: string | undefined
}

/** @param items in ascending order of `idOf`; the marker is the last id of the page before */
export function pageOf<T>(items: readonly T[], idOf: (item: T) => string, input: Input, most: number): Page<T> {
  const limit = integer(input, "Limit", 1, most, most)
  const after = optionalText(input, "Marker")
  const rest = after === undefined ? items : items.filter((item) => idOf(item) > after)
  const page = rest.slice(0, limit)
  const last = page.at(-1)
  return { items: page, marker: rest.length > limit && last !== undefined ? idOf(last) : undefined }
}

function invalid(name: string, expected: string): KmsError {
  return new KmsError("ValidationException", `1 validation error detected: ${name} must be ${expected}.`)
}
