import { utf8 } from "@sealwright/formats/bytes"
import { canonicalJson } from "@sealwright/formats/canonical-json"
import { FormatError } from "@sealwright/formats/errors"
import { type JsonValue, parseJson, parseJsonWithRawPem } from "@sealwright/formats/strict-json"
import fc from "fast-check"
import { expect, it } from "vitest"

const LIMITS = { maxBytes: 1_000_000 }
const runs = process.env.SLOW ? 20_000 : 500

/** Values that canonical JSON can carry: exact integers, well-formed text, no control characters (those stay raw). */
const canonicalValue = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger(),
    fc.string({ unit: "grapheme" }).filter((text) => !/\p{Cc}/u.test(text)),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom("a", "b", "__proto__", "é", "😀", "\ufffd", "constructor", '"', "\\"), tie("value")),
  ),
})).value as fc.Arbitrary<JsonValue>

it("parse(JSON.stringify(x)) = x", () => {
  fc.assert(
    fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
      expect(JSON.stringify(parseJson(utf8(JSON.stringify(value)), LIMITS))).toBe(JSON.stringify(value))
    }),
    { numRuns: runs },
  )
})

it("the canonical form is a fixed point and does not depend on the order of members", () => {
  fc.assert(
    fc.property(canonicalValue, (value) => {
      const once = canonicalJson(value)
      expect(canonicalJson(parseJson(once, LIMITS))).toEqual(once)
      expect(canonicalJson(reversed(value))).toEqual(once)
    }),
    { numRuns: runs },
  )
})

/** Names of one or two of these, so that each is met after every other; escapes of all forms. */
const NAME_PIECES = ['"', "\\", "/", "a", "\n", "u", "\u0001", "é", "\\u0022", "u005c"]
const escapedNames = fc.dictionary(
  fc.array(fc.constantFrom(...NAME_PIECES), { minLength: 1, maxLength: 2 }).map((pieces) => pieces.join("")),
  fc.integer(),
  { minKeys: 1, maxKeys: 5 },
)

it("names with escapes are read as they stand, whatever was read before", () => {
  fc.assert(
    fc.property(escapedNames, fc.boolean(), (members, asCodes) => {
      const plain = JSON.stringify(members)
      const text = asCodes ? plain.replace(/\\(["\\])/g, (_, one) => (one === '"' ? "\\u0022" : "\\u005C")) : plain
      const [read] = parseJson(utf8(`[${text}]`), LIMITS) as [object]
      expect(Object.entries(read)).toEqual(Object.entries(members))
    }),
    { numRuns: 4 * runs },
  )
})

it("repeating any member of any object is refused", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }), fc.nat(), (members, pick) => {
      const parts = Object.entries(members).map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`)
      const repeated = [...parts, parts[pick % parts.length]].join(",")
      expect(() => parseJson(utf8(`[{${repeated}}]`), LIMITS)).toThrow(
        expect.objectContaining({ code: "JSON_MALFORMED" }),
      )
    }),
    { numRuns: runs },
  )
})

it("whatever the bytes, both readers accept what JSON.parse accepts at most, and throw FormatError alone", () => {
  const fragment = fc.constantFrom(
    '"',
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "-----BEGIN ",
    "\n",
    "\r",
    "\t",
    "a",
    "1",
    "e",
    "-",
    ".",
    "\\u",
    "d800",
    "true",
    "null",
    " ",
  )
  const input = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc.array(fragment, { maxLength: 40 }).map((parts) => utf8(parts.join(""))),
  )
  fc.assert(
    fc.property(input, (bytes) => {
      let strict: JsonValue | undefined
      for (const read of [parseJson, parseJsonWithRawPem]) {
        try {
          const value = read(bytes, LIMITS)
          if (read === parseJson) strict = value
          else if (strict !== undefined) expect(value).toEqual(strict)
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError)
          if (read === parseJsonWithRawPem) expect(strict).toBeUndefined()
        }
      }
      if (strict !== undefined) expect(JSON.parse(new TextDecoder().decode(bytes))).toEqual(strict)
    }),
    { numRuns: 4 * runs },
  )
})

function reversed(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== "object" || value === null) return value
  const copy: Record<string, JsonValue> = Object.create(null)
  for (const [name, member] of Object.entries(value).reverse()) copy[name] = reversed(member)
  return copy
}
