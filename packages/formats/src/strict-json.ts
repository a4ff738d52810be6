import { utf8Decode } from "./bytes.ts"
import { FormatError } from "./errors.ts"
import { parseNative, readJson } from "./json-reader.ts"

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject

/** Without a prototype when it comes from `parseJson`, so that `__proto__` is a member like any other. */
export interface JsonObject {
  readonly [name: string]: JsonValue
}

export interface JsonLimits {
  readonly maxBytes: number
  /** nesting of arrays and objects; 64 if not given, and a scalar has none */
  readonly maxDepth?: number
}

const DEFAULT_MAX_DEPTH = 64

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a

/**
 * Strict JSON (RFC 8259): UTF-8 without byte order mark, no member name twice in one object, no lone surrogate (§8.2),
 * no number outside the range of a double.
 *
 * The engine's own parser checks the grammar. What it lets pass is found by counting: colons outside strings in the
 * text against members in the result differ exactly when a name stood twice. Names with escapes are read by `readJson`, since
 * the engine may take one for another.
 *
 * @throws FormatError TOO_LARGE (bytes, depth), TEXT_MALFORMED (not UTF-8), JSON_MALFORMED
 */
export function parseJson(bytes: Uint8Array, limits: JsonLimits): JsonValue {
  if (bytes.length > limits.maxBytes) throw new FormatError("TOO_LARGE", `JSON of more than ${limits.maxBytes} bytes`)
  const { members, escapedName } = countMembers(bytes, limits.maxDepth ?? DEFAULT_MAX_DEPTH)
  const text = utf8Decode(bytes)
  return harden(escapedName ? readJson(text) : parseNative(text), members)
}

/**
 * `parseJson` for texts that carry PEM as printed: inside a string that starts with `-----BEGIN `, a raw LF, CR LF or
 * TAB may stand; CR LF is read as LF. Everywhere else they are refused as in `parseJson`.
 * @throws FormatError as `parseJson`
 */
export function parseJsonWithRawPem(bytes: Uint8Array, limits: JsonLimits): JsonValue {
  if (bytes.length > limits.maxBytes) throw new FormatError("TOO_LARGE", `JSON of more than ${limits.maxBytes} bytes`)
  const escaped = escapeRawPem(bytes)
  return parseJson(escaped, { ...limits, maxBytes: escaped.length })
}

/** Exact for valid JSON; for any other text the grammar check comes after. Runs first, so that depth is bounded before parsing. */
function countMembers(
  bytes: Uint8Array,
  maxDepth: number,
): { readonly members: number; readonly escapedName: boolean } {
  const escapes = bytes.includes(BACKSLASH)
  let depth = 0
  let members = 0
  let escapedName = false
  let stringFrom = 0
  let stringTo = 0
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (byte === QUOTE) {
      stringFrom = i + 1
      i = stringTo = endOfString(bytes, stringFrom)
    } else if (byte === COLON) {
      members++
      if (escapes) escapedName ||= bytes.subarray(stringFrom, stringTo).includes(BACKSLASH)
    } else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > maxDepth) throw new FormatError("TOO_LARGE", `JSON nested deeper than ${maxDepth}`)
    } else if (byte === 0x7d || byte === 0x5d) depth--
  }
  return { members, escapedName }
}

/** Position of the quote that ends the string whose content starts at `from`: the first behind an even run of backslashes. */
function endOfString(bytes: Uint8Array, from: number): number {
  for (let quote = bytes.indexOf(QUOTE, from); quote >= 0; quote = bytes.indexOf(QUOTE, quote + 1)) {
    let before = quote
    while (before > from && bytes[before - 1] === BACKSLASH) before--
    if ((quote - before) % 2 === 0) return quote
  }
  return bytes.length
}

/** Rebuilds objects without prototype and checks what the grammar does not; by a list of open containers, not by recursion. */
function harden(root: unknown, membersInText: number): JsonValue {
  let members = 0
  /** each container as it was parsed, then as it is built */
  const open: object[] = []

  function take(value: unknown): JsonValue {
    if (typeof value === "string") return wellFormed(value)
    if (typeof value === "number") {
      if (!Number.isFinite(value)) throw new FormatError("JSON_MALFORMED", "a number beyond the range of a double")
      return value
    }
    if (typeof value !== "object" || value === null) return value as null | boolean
    const built: object = Array.isArray(value) ? value : Object.create(null)
    open.push(value, built)
    return built as JsonValue
  }

  const result = take(root)
  for (let built = open.pop(); built !== undefined; built = open.pop()) {
    const parsed = open.pop() as Record<string, unknown>
    if (Array.isArray(built)) for (let i = 0; i < built.length; i++) built[i] = take(built[i])
    else
      for (const name of Object.keys(parsed)) {
        members++
        ;(built as Record<string, JsonValue>)[wellFormed(name)] = take(parsed[name])
      }
  }
  if (members !== membersInText) throw new FormatError("JSON_MALFORMED", "a member name stands twice in one object")
  return result
}

function wellFormed(text: string): string {
  if (!text.isWellFormed()) throw new FormatError("JSON_MALFORMED", "a surrogate without its pair")
  return text
}

const PEM_START = new TextEncoder().encode("-----BEGIN ")
const LF = 0x0a
const CR = 0x0d
const TAB = 0x09

function escapeRawPem(bytes: Uint8Array): Uint8Array {
  const escaped = new Uint8Array(2 * bytes.length)
  let length = 0
  let inString = false
  let inPem = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number
    if (inPem && (byte === LF || byte === TAB || (byte === CR && bytes[i + 1] === LF))) {
      if (byte === CR) i++
      escaped[length++] = BACKSLASH
      escaped[length++] = byte === TAB ? 0x74 : 0x6e
      continue
    }
    escaped[length++] = byte
    if (inString && byte === BACKSLASH) {
      if (i + 1 < bytes.length) escaped[length++] = bytes[++i] as number
    } else if (byte === QUOTE) {
      inString = !inString
      inPem = inString && PEM_START.every((expected, at) => bytes[i + 1 + at] === expected)
    }
  }
  return escaped.subarray(0, length)
}
