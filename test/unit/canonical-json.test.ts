import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import { canonicalJson } from "@sealwright/formats/canonical-json"
import { parseJson } from "@sealwright/formats/strict-json"
import { describe, expect, it, test } from "vitest"

const canonical = (text: string) =>
  utf8Decode(canonicalJson(parseJson(utf8(text), { maxBytes: 1_000_000, maxDepth: 2_000 })))

describe("canonicalJson", () => {
  test.each([
    ["white space is dropped", ' { "a" : [ 1 , 2 ] } ', '{"a":[1,2]}'],
    ["names are sorted, also within lists", '[{"b":1,"a":2,"B":3,"10":4,"9":5}]', '[{"10":4,"9":5,"B":3,"a":2,"b":1}]'],
    ["a prefix comes first", '{"ab":1,"a":2,"":3}', '{"":3,"a":2,"ab":1}'],
    ["only quote and backslash are escaped", '"\\"\\\\\\/\\n\\u0001\\u007f"', '"\\"\\\\/\n\u0001\u007f"'],
    ["letters stay UTF-8", '"\\u00e9\\ud83d\\ude00"', '"é😀"'],
    ["constants", "[null,true,false,0,-0,-5]", "[null,true,false,0,0,-5]"],
    ["the largest exact integers", "[9007199254740991,-9007199254740991]", "[9007199254740991,-9007199254740991]"],
    ["__proto__ is a member", '{"b":1,"__proto__":2}', '{"__proto__":2,"b":1}'],
    ["empty containers", '{"a":{},"b":[]}', '{"a":{},"b":[]}'],
  ])("%s", (_, text, expected) => {
    expect(canonical(text)).toBe(expected)
  })

  it("sorts by code point where UTF-16 units order otherwise", () => {
    expect(canonical('{"\\ud83d\\ude00":1,"\\uff5e":2,"\\ue000":3,"z":4}')).toBe('{"z":4,"\ue000":3,"～":2,"😀":1}')
  })

  test.each(["[1.5]", "[9007199254740992]", "[-9007199254740992]", "[1e21]"])("refuses %s", (text) => {
    expect(() => canonical(text)).toThrow(expect.objectContaining({ code: "SHAPE_MISMATCH" }))
  })

  it("refuses a lone surrogate and bottomless nesting", () => {
    expect(() => canonicalJson({ "\ud800": 1 })).toThrow(expect.objectContaining({ code: "TEXT_MALFORMED" }))
    expect(() => canonical("[".repeat(1_000) + "]".repeat(1_000))).toThrow(
      expect.objectContaining({ code: "TOO_LARGE" }),
    )
  })
})
