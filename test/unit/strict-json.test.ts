import { utf8 } from "@sealwright/formats/bytes"
import { parseJson, parseJsonWithRawPem } from "@sealwright/formats/strict-json"
import { describe, expect, it, test } from "vitest"

const LIMITS = { maxBytes: 1_000_000 }
const parse = (text: string) => parseJson(utf8(text), LIMITS)
const code = (expected: string) => expect.objectContaining({ code: expected })

describe("parseJson", () => {
  test.each([
    ["at the top", '{"a":1,"a":1}'],
    ["deep down", '[{"x":[{"a":1,"b":2,"a":3}]}]'],
    ["written with an escape", '{"a":1,"\\u0061":2}'],
    ["__proto__", '{"__proto__":1,"__proto__":2}'],
    ["a whole number", '{"7":1,"b":2,"7":3}'],
    ["empty", '{"":1,"":2}'],
  ])("refuses a repeated member name: %s", (_, text) => {
    expect(() => parse(text)).toThrow(code("JSON_MALFORMED"))
  })

  it("takes the same name in different objects, and colons and braces in strings", () => {
    expect(parse('{"a":{"a":":{[\\":"},"b":[{"a":1},{"a":"}"}]}')).toEqual({
      a: { a: ':{[":' },
      b: [{ a: 1 }, { a: "}" }],
    })
  })

  it("gives objects without prototype, so __proto__ and constructor are plain members", () => {
    const value = parse(
      '{"__proto__":{"polluted":true},"constructor":{"prototype":{}},"in":{"__proto__":[]}}',
    ) as Record<string, object>
    expect(Object.getPrototypeOf(value)).toBeNull()
    expect(Object.keys(value)).toEqual(["__proto__", "constructor", "in"])
    expect(value.polluted).toBeUndefined()
    expect(Object.getPrototypeOf(value.in)).toBeNull()
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  test.each([
    ["a byte order mark", new Uint8Array([0xef, 0xbb, 0xbf, 0x7b, 0x7d]), "JSON_MALFORMED"],
    ["broken UTF-8", new Uint8Array([0x22, 0xc3, 0x22]), "TEXT_MALFORMED"],
    ["an encoded surrogate", new Uint8Array([0x22, 0xed, 0xa0, 0x80, 0x22]), "TEXT_MALFORMED"],
    ["UTF-16", new Uint8Array([0x7b, 0, 0x7d, 0]), "JSON_MALFORMED"],
    ["a lone high surrogate", utf8('"\\ud800"'), "JSON_MALFORMED"],
    ["a lone low surrogate in a name", utf8('{"\\udc00":1}'), "JSON_MALFORMED"],
    ["a number beyond a double", utf8("[1e400]"), "JSON_MALFORMED"],
    ["a comment", utf8("{}//"), "JSON_MALFORMED"],
    ["two values", utf8("{}{}"), "JSON_MALFORMED"],
    ["nothing", utf8(""), "JSON_MALFORMED"],
    ["a raw line break in a string", utf8('"a\nb"'), "JSON_MALFORMED"],
    ["an unfinished escape", utf8('"\\'), "JSON_MALFORMED"],
  ])("refuses %s", (_, bytes, expected) => {
    expect(() => parseJson(bytes, LIMITS)).toThrow(code(expected))
  })

  it("reads a surrogate pair", () => {
    expect(parse('"\\ud83d\\ude00"')).toBe("😀")
  })

  it("counts bytes, not characters, up to the limit", () => {
    expect(parseJson(utf8('"é"'), { maxBytes: 4 })).toBe("é")
    expect(() => parseJson(utf8('"éé"'), { maxBytes: 5 })).toThrow(code("TOO_LARGE"))
  })

  it("counts nesting up to the limit, and not in strings", () => {
    expect(parseJson(utf8('[[{"a":"[[[["}]]'), { ...LIMITS, maxDepth: 3 })).toEqual([[{ a: "[[[[" }]])
    expect(() => parseJson(utf8('[[{"a":[]}]]'), { ...LIMITS, maxDepth: 3 })).toThrow(code("TOO_LARGE"))
  })

  test.each(["[", '{"a":', '[{"":'])("refuses %s a hundred thousand times without overflow", (open) => {
    expect(() => parse(open.repeat(100_000))).toThrow(code("TOO_LARGE"))
  })

  it("survives deep nesting where the caller allows it", () => {
    const depth = 5_000
    expect(() => parseJson(utf8("[".repeat(depth) + "]".repeat(depth)), { ...LIMITS, maxDepth: depth })).not.toThrow()
  })
})

describe("parseJsonWithRawPem", () => {
  const readPem = (text: string) => parseJsonWithRawPem(utf8(text), LIMITS)

  it("reads raw LF, CR LF and TAB inside a PEM string; CR LF as LF", () => {
    expect(readPem('{"root":"-----BEGIN CERTIFICATE-----\n\tAA==\r\n  -----END CERTIFICATE-----"}')).toEqual({
      root: "-----BEGIN CERTIFICATE-----\n\tAA==\n  -----END CERTIFICATE-----",
    })
  })

  it("reads the escaped form and plain JSON as parseJson does", () => {
    for (const text of ['["-----BEGIN X-----\\nAA==\\n-----END X-----"]', '{"a":"\\"-----BEGIN ","b":[1,true]}'])
      expect(readPem(text)).toEqual(parse(text))
  })

  test.each([
    ["in another string", '["a\nb"]'],
    ["in the string after a PEM string", '["-----BEGIN X-----\n-----END X-----","a\nb"]'],
    ["before the label", '["\n-----BEGIN X-----"]'],
    ["where the label is behind an escaped quote", '["\\"-----BEGIN X\n"]'],
    ["with another label start", '["----BEGIN X-----\n"]'],
    ["as a lone CR", '["-----BEGIN X-----\rAA=="]'],
    ["as NUL", '["-----BEGIN X-----\u0000AA=="]'],
    ["after a backslash", '["-----BEGIN X-----\\\nAA=="]'],
  ])("refuses a raw control character %s", (_, text) => {
    expect(() => readPem(text)).toThrow(code("JSON_MALFORMED"))
  })

  it("keeps the other rules and the limit on the bytes given", () => {
    expect(() => readPem('{"a":"-----BEGIN \n","a":1}')).toThrow(code("JSON_MALFORMED"))
    const bytes = utf8(`["-----BEGIN ${"\n".repeat(80)}"]`)
    expect(() => parseJsonWithRawPem(bytes, { maxBytes: bytes.length - 1 })).toThrow(code("TOO_LARGE"))
    expect(() => parseJsonWithRawPem(bytes, { maxBytes: bytes.length })).not.toThrow()
  })
})
