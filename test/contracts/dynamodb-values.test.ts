import fc from "fast-check"
import { expect, test } from "vitest"
import {
  addDecimals,
  compareDecimals,
  decimalKey,
  formatDecimal,
  parseDecimal,
} from "../../localstack/dynamodb/numbers.ts"
import { type Item, itemSize, parseItem, type Value, valuesEqual, writeItem } from "../../localstack/dynamodb/values.ts"

const SLOW = process.env.SLOW === "1" ? 20 : 1
const runs = { numRuns: 1000 * SLOW }

const coefficient = fc.bigInt({ min: -(10n ** 38n) + 1n, max: 10n ** 38n - 1n })
const decimalText = fc
  .tuple(coefficient, fc.integer({ min: -130, max: 87 }))
  .map(([digits, exponent]) => `${digits}e${exponent}`)

test("the bytes of a number's key have the order of the numbers", () => {
  fc.assert(
    fc.property(decimalText, decimalText, (a, b) => {
      const [one, two] = [parseDecimal(a), parseDecimal(b)]
      expect(Math.sign(Buffer.compare(decimalKey(one), decimalKey(two)))).toBe(Math.sign(compareDecimals(one, two)))
    }),
    runs,
  )
})

test("the order holds for neighbours: equal prefixes, zeros, and both signs", () => {
  const ascending = [
    "-1e125",
    "-124",
    "-123.1",
    "-123",
    "-12.3",
    "-0.0123",
    "-1e-130",
    "0",
    "1e-130",
    "0.0123",
    "0.123",
    "0.1231",
    "1",
    "12",
    "12.3",
    "123",
    "1e125",
  ]
  const keys = ascending.map((text) => decimalKey(parseDecimal(text)))
  expect([...keys].sort(Buffer.compare)).toEqual(keys)
})

test("a number's plain text reads back as the same number", () => {
  fc.assert(
    fc.property(decimalText, (text) => {
      const decimal = parseDecimal(text)
      expect(parseDecimal(formatDecimal(decimal))).toEqual(decimal)
      expect(formatDecimal(decimal)).toMatch(/^-?\d+(\.\d*[1-9])?$/)
    }),
    runs,
  )
})

test("sums are exact", () => {
  const cents = fc.integer({ min: -1_000_000_000, max: 1_000_000_000 })
  fc.assert(
    fc.property(cents, cents, (a, b) => {
      const sum = addDecimals(parseDecimal(`${a}e-2`), parseDecimal(`${b}e-2`))
      expect(sum).toEqual(parseDecimal(`${a + b}e-2`))
    }),
    runs,
  )
})

const value: fc.Arbitrary<Value> = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.string({ unit: "binary" }).map((text): Value => ({ type: "S", value: text.toWellFormed() })),
    decimalText.map((text): Value => ({ type: "N", value: formatDecimal(parseDecimal(text)) })),
    fc.uint8Array().map((bytes): Value => ({ type: "B", value: Buffer.from(bytes) })),
    fc.boolean().map((flag): Value => ({ type: "BOOL", value: flag })),
    fc.constant<Value>({ type: "NULL", value: true }),
    fc.uniqueArray(fc.string(), { minLength: 1 }).map((entries): Value => ({ type: "SS", value: entries })),
    fc.array(tie("value"), { maxLength: 4 }).map((entries): Value => ({ type: "L", value: entries })),
    fc
      .array(fc.tuple(fc.string({ minLength: 1 }), tie("value")), { maxLength: 4 })
      .map((entries): Value => ({ type: "M", value: new Map(entries) })),
  ),
})).value

test("an item that is written and read is the same, whatever its names", () => {
  const names = fc.oneof(fc.string({ minLength: 1 }), fc.constantFrom("__proto__", "constructor", "toString"))
  fc.assert(
    fc.property(fc.array(fc.tuple(names, value), { maxLength: 5 }), (entries) => {
      const item: Item = new Map(entries)
      const read = parseItem(JSON.parse(JSON.stringify(writeItem(item))))
      expect(valuesEqual({ type: "M", value: read }, { type: "M", value: item })).toBe(true)
      expect(itemSize(read)).toBe(itemSize(item))
    }),
    { numRuns: 300 * SLOW },
  )
})
