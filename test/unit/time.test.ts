import { formatTime, parseTime, parseTimeLenient } from "@sealwright/formats/time"
import { expect, test } from "vitest"

const malformed = expect.objectContaining({ code: "TEXT_MALFORMED" })

test("one form: RFC 3339, UTC, whole seconds", () => {
  const text = "2026-11-21T03:00:00Z"
  expect(formatTime(parseTime(text))).toBe(text)
  expect(formatTime(new Date("2026-11-21T03:00:00.999Z"))).toBe(text)
  expect(() => formatTime(new Date(Number.NaN))).toThrow(malformed)
  expect(() => formatTime(new Date(253402300800000))).toThrow(malformed)
})

test.each([
  "2026-11-21T03:00:00",
  "2026-11-21t03:00:00z",
  "2026-11-21 03:00:00Z",
  "2026-11-21T03:00:00.0Z",
  "2026-11-21T03:00:00+00:00",
  "2026-02-30T03:00:00Z",
  "2026-13-01T03:00:00Z",
  "2026-11-21T24:00:00Z",
  "2026-11-21T03:00:60Z",
  "2026-11-21T03:00:00Z\n",
  "+002026-11-21T03:00:00Z",
  "",
])("no other form: %j", (text) => {
  expect(() => parseTime(text)).toThrow(malformed)
})

test.each([
  ["2026-11-21T03:00:00Z", "2026-11-21T03:00:00.000Z"],
  ["2026-11-21T03:00:00.5Z", "2026-11-21T03:00:00.500Z"],
  ["2026-11-21T03:00:00.123456789Z", "2026-11-21T03:00:00.123Z"],
  ["2026-11-21T03:00:00+01:30", "2026-11-21T01:30:00.000Z"],
  ["2026-11-21T03:00:00.25-05:00", "2026-11-21T08:00:00.250Z"],
  ["2026-11-21T03:00:00+00:00", "2026-11-21T03:00:00.000Z"],
])("the lenient reader takes %s", (text, expected) => {
  expect(parseTimeLenient(text).toISOString()).toBe(expected)
})

test.each([
  "2026-11-21T03:00:00",
  "2026-11-21T03:00:00.Z",
  "2026-11-21T03:00:00.1234567890Z",
  "2026-11-21T03:00:00-00:00",
  "2026-11-21T03:00:00+24:00",
  "2026-11-21T03:00:00+01:60",
  "2026-11-21T03:00:00+0100",
  "2026-02-29T03:00:00Z",
])("the lenient reader refuses %s", (text) => {
  expect(() => parseTimeLenient(text)).toThrow(malformed)
})
