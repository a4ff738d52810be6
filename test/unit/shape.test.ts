import { utf8 } from "@sealwright/formats/bytes"
import { anyJson, array, boolean, integer, map, object, oneOf, openObject, string } from "@sealwright/formats/shape"
import { type JsonValue, parseJson } from "@sealwright/formats/strict-json"
import { describe, expect, it, test } from "vitest"

const json = (text: string): JsonValue => parseJson(utf8(text), { maxBytes: 10_000 })
const mismatch = (path?: string) =>
  expect.objectContaining({ code: "SHAPE_MISMATCH", ...(path && { message: expect.stringContaining(`${path}:`) }) })

describe("object", () => {
  const read = object({ name: string(5), size: integer(0, 9) }, { final: boolean })

  it("reads required and optional members", () => {
    expect(read(json('{"size":1,"name":"a"}'), "x")).toEqual({ name: "a", size: 1 })
    expect(read(json('{"name":"a","size":1,"final":true}'), "x")).toEqual({ name: "a", size: 1, final: true })
  })

  test.each([
    ["a missing member", '{"name":"a"}', "x.size"],
    ["a member that only a prototype has", '{"name":"a","size":1,"toString":1}', "x.toString"],
    ["an unknown member", '{"name":"a","size":1,"more":1}', "x.more"],
    ["__proto__", '{"name":"a","size":1,"__proto__":{"final":true}}', "x.__proto__"],
    ["a wrong optional member", '{"name":"a","size":1,"final":null}', "x.final"],
    ["a list", "[]", "x"],
    ["null", "null", "x"],
  ])("refuses %s", (_, text, path) => {
    expect(() => read(json(text), "x")).toThrow(mismatch(path))
  })

  it("does not take a member from an ordinary object's prototype", () => {
    expect(() => object({ toString: anyJson })({}, "x")).toThrow(mismatch("x.toString"))
  })
})

it("openObject leaves unknown members out and still checks the known ones", () => {
  const read = openObject({ a: integer(1) }, { b: boolean })
  expect(read(json('{"a":1,"z":2}'), "x")).toEqual({ a: 1 })
  expect(() => read(json('{"a":0,"z":2}'), "x")).toThrow(mismatch("x.a"))
  expect(() => read(json('{"z":2}'), "x")).toThrow(mismatch("x.a"))
})

test.each([
  ["a string that is too long", string(2), '"abc"'],
  ["a string off its pattern", string(9, /^[a-z]+$/), '"aB"'],
  ["a number for a string", string(9), "1"],
  ["a fraction", integer(0), "1.5"],
  ["a number below its range", integer(1), "0"],
  ["a number above its range", integer(1, 5), "6"],
  ["an integer that is not exact", integer(0), "9007199254740993"],
  ["a digit string for a number", integer(0), '"1"'],
  ["1 for true", boolean, "1"],
  ["a word outside its choice", oneOf("a", "b"), '"c"'],
  ["an object for a list", array(anyJson, 3), "{}"],
  ["a list below its least size", array(anyJson, 3, 1), "[]"],
  ["a list for a map", map(anyJson, 3), "[]"],
  ["a map with a bad name", map(anyJson, 3, string(9, /^[a-z]$/)), '{"A":1}'],
])("refuses %s", (_, read, text) => {
  expect(() => read(json(text), "x")).toThrow(mismatch())
})

it("reads lists and maps in order, with the path of a bad entry", () => {
  expect(array(integer(0), 3)(json("[3,1,2]"), "x")).toEqual([3, 1, 2])
  expect([...map(integer(0), 3)(json('{"b":1,"__proto__":2}'), "x")]).toEqual([
    ["b", 1],
    ["__proto__", 2],
  ])
  expect(() => array(integer(0), 3)(json('[1,"2"]'), "x")).toThrow(mismatch("x[1]"))
  expect(() => map(integer(0), 3)(json('{"k":[]}'), "x")).toThrow(mismatch('x["k"]'))
})

it("refuses too many entries before it reads them", () => {
  const tooLarge = expect.objectContaining({ code: "TOO_LARGE" })
  expect(() => array(boolean, 2)(json("[1,2,3]"), "x")).toThrow(tooLarge)
  expect(() => map(boolean, 1)(json('{"a":1,"b":2}'), "x")).toThrow(tooLarge)
})
