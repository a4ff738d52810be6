import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { FormatError } from "@sealwright/formats/errors"
import { parseJson, parseJsonWithRawPem } from "@sealwright/formats/strict-json"
import { describe, expect, it, test } from "vitest"

const SUITE = join("..", "shared", "vectors", "json", "test_parsing")
const SAMPLE_STORE = join("..", "shared", "vectors", "notary-v2", "truststore.json")
const LIMITS = { maxBytes: 1_000_000 }

/** RFC 8259 leaves the meaning of a repeated name open; our reader refuses it. */
const REPEATED_NAME = ["y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"]

const files = existsSync(SUITE) ? readdirSync(SUITE) : []
const named = (prefix: string) => files.filter((name) => name.startsWith(prefix))
const read = (name: string) => new Uint8Array(readFileSync(join(SUITE, name)))

describe.skipIf(files.length === 0)("JSONTestSuite", () => {
  test.each(named("n_"))("refuses %s", (name) => {
    expect(() => parseJson(read(name), LIMITS)).toThrow(FormatError)
  })

  test.each(named("y_").filter((name) => !REPEATED_NAME.includes(name)))("reads %s as JSON.parse does", (name) => {
    expect(parseJson(read(name), LIMITS)).toEqual(JSON.parse(readFileSync(join(SUITE, name), "utf8")))
  })

  test.each(REPEATED_NAME)("refuses %s for its repeated name", (name) => {
    expect(() => parseJson(read(name), LIMITS)).toThrow(expect.objectContaining({ code: "JSON_MALFORMED" }))
  })

  test.each(named("i_"))("reads or refuses %s, and throws nothing else", (name) => {
    try {
      parseJson(read(name), LIMITS)
    } catch (error) {
      expect(error).toBeInstanceOf(FormatError)
    }
  })

  it("has the cases of the published suite", () => {
    const counts = { n: named("n_").length, y: named("y_").length, i: named("i_").length }
    process.stdout.write(
      `JSONTestSuite: ${counts.n} must be refused, ${counts.y} read or refused for a repeated name, ${counts.i} open\n`,
    )
    expect(counts).toEqual({ n: 188, y: 95, i: 35 })
  })
})

describe.skipIf(!existsSync(SAMPLE_STORE))("the sample trust store of the Notary v2 key-management document", () => {
  it("is refused as JSON and read with raw PEM", () => {
    const bytes = new Uint8Array(readFileSync(SAMPLE_STORE))
    expect(() => parseJson(bytes, LIMITS)).toThrow(expect.objectContaining({ code: "JSON_MALFORMED" }))
    const store = parseJsonWithRawPem(bytes, LIMITS) as { trustedRoots: { root: string }[] }
    const pems = store.trustedRoots.map((entry) => entry.root)
    expect(pems.length).toBeGreaterThan(0)
    for (const pem of pems)
      expect(pem).toMatch(/^-----BEGIN CERTIFICATE-----\n[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----/)
  })
})

test.runIf(files.length === 0)("the vectors from outside are not here", () => {
  process.stdout.write(`JSONTestSuite: skipped, no folder ${SUITE}\n`)
  expect(files).toEqual([])
})
