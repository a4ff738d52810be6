import { utf8 } from "./bytes.ts"
import { FormatError } from "./errors.ts"
import type { JsonObject, JsonValue } from "./strict-json.ts"

const MAX_DEPTH = 512

/**
 * OLPC canonical JSON, as TUF and notary sign it: members sorted by code point, no white space, in strings only `\` and
 * `"` escaped (control characters stay raw, so the result is not always JSON), whole numbers only.
 * @throws FormatError SHAPE_MISMATCH (a fraction or an integer beyond 2^53 - 1), TEXT_MALFORMED (a lone surrogate), TOO_LARGE (depth)
 */
export function canonicalJson(value: JsonValue): Uint8Array {
  const text = encode(value, 0)
  if (!text.isWellFormed()) throw new FormatError("TEXT_MALFORMED", "a surrogate without its pair")
  return utf8(text)
}

function encode(value: JsonValue, depth: number): string {
  if (depth > MAX_DEPTH) throw new FormatError("TOO_LARGE", `nested deeper than ${MAX_DEPTH}`)
  if (typeof value === "string") return quote(value)
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value)) throw new FormatError("SHAPE_MISMATCH", "not a whole number that is exact")
    return String(value)
  }
  if (value === null || typeof value === "boolean") return String(value)
  if (Array.isArray(value)) return `[${value.map((item) => encode(item, depth + 1)).join(",")}]`
  const source = value as JsonObject
  const members = Object.keys(source)
    .sort(compareCodePoints)
    .map((name) => `${quote(name)}:${encode(source[name] as JsonValue, depth + 1)}`)
  return `{${members.join(",")}}`
}

function quote(text: string): string {
  return /["\\]/.test(text) ? `"${text.replace(/["\\]/g, "\\$&")}"` : `"${text}"`
}

/** UTF-16 units compare as their code points once surrogates are moved above U+E000..U+FFFF. */
function compareCodePoints(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length)
  for (let i = 0; i < shorter; i++) {
    const left = a.charCodeAt(i)
    const right = b.charCodeAt(i)
    if (left !== right) return rank(left) - rank(right)
  }
  return a.length - b.length
}

function rank(unit: number): number {
  if (unit < 0xd800) return unit
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800
}
