import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { decodeMetadata, TOP_ROLES } from "@sealwright/formats/tuf"
import { runSync } from "@sealwright/verifier/node-crypto"
import { refresh } from "@sealwright/verifier/tuf-client"
import { matchesPath, TUF_CODES } from "@sealwright/verifier/tuf-rules"
import { readTarget } from "@sealwright/verifier/tuf-targets"
import fc from "fast-check"
import { expect, it } from "vitest"
import { NOW, TufSimulator } from "../support/tuf-simulator.ts"

const runs = process.env.SLOW ? 20_000 : 400

const repository = new TufSimulator()
repository.withHashes = true
repository.delegate("targets", "lists", { paths: ["lists/*"], terminating: true })
repository.addArtifact("lists", "lists/deny", utf8("entries"))
repository.publish("root", "lists", "targets", "snapshot", "timestamp")
const trustedRoot = repository.files.get("root")?.[0] as Uint8Array

/** The bundle as a map, with one file changed; the code, or "ok" with the bytes that were read. */
function verify(change?: { name: string; bytes: Uint8Array | undefined }): string {
  const source = {
    read: (name: string) => (change?.name === name ? change.bytes : repository.source.read(name, 0)),
  }
  const outcome = runSync(refresh({ source, state: { root: trustedRoot }, now: NOW }))
  if (!outcome.accepted) return outcome.refusal.code
  const target = runSync(readTarget(outcome.trusted, repository.targetSource, "lists/deny", 1_000))
  return target.accepted ? `ok ${utf8Decode(target.bytes)}` : target.refusal.code
}

const FILES = ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json", "1.lists.json"]
const original = new Map(FILES.map((name) => [name, repository.source.read(name, 0) as Uint8Array]))

it("the whole bundle is accepted", () => {
  expect(verify()).toBe("ok entries")
})

it("any flipped bit of any document is refused, or changes nothing that was signed", () => {
  fc.assert(
    fc.property(fc.constantFrom(...FILES), fc.nat(), fc.integer({ min: 0, max: 7 }), (name, place, bit) => {
      const bytes = Uint8Array.from(original.get(name) as Uint8Array)
      const at = place % bytes.length
      bytes[at] = (bytes[at] as number) ^ (1 << bit)
      const result = verify({ name, bytes })
      expect(Object.keys(TUF_CODES)).toContain(result)
    }),
    { numRuns: runs },
  )
})

it("a document cut short or missing is refused", () => {
  fc.assert(
    fc.property(fc.constantFrom(...FILES), fc.nat(), (name, place) => {
      const bytes = original.get(name) as Uint8Array
      expect(verify({ name, bytes: bytes.subarray(0, place % bytes.length) })).toMatch(/^TUF_/)
    }),
    { numRuns: runs / 4 },
  )
  for (const name of FILES.slice(1)) expect(verify({ name, bytes: undefined })).toBe("TUF_MISSING")
})

it("whatever the bytes, the decoder throws FormatError alone and the client nothing", () => {
  const json = fc.jsonValue().map((value) => utf8(JSON.stringify(value)))
  const nearly = fc
    .record({
      signed: fc.record(
        {
          _type: fc.constantFrom(...TOP_ROLES, "x"),
          spec_version: fc.constantFrom("1.0.0", "2.0", 1),
          version: fc.oneof(fc.integer(), fc.string()),
          expires: fc.constantFrom("2030-01-01T00:00:00Z", "never", 0),
          keys: fc.jsonValue(),
          roles: fc.dictionary(fc.constantFrom(...TOP_ROLES), fc.jsonValue()),
          meta: fc.jsonValue(),
          targets: fc.jsonValue(),
          delegations: fc.jsonValue(),
        },
        { requiredKeys: [] },
      ),
      signatures: fc.oneof(fc.jsonValue(), fc.array(fc.record({ keyid: fc.string(), sig: fc.string() }))),
    })
    .map((value) => utf8(JSON.stringify(value)))
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), json, nearly), fc.constantFrom(...FILES), (bytes, name) => {
      for (const role of TOP_ROLES) {
        try {
          decodeMetadata(bytes, role, 10_000)
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError)
        }
      }
      expect(verify({ name, bytes })).toMatch(/^TUF_/)
    }),
    { numRuns: runs },
  )
})

const WILDCARDS: Record<string, string> = { "*": "[^/]*", "?": "[^/]" }

it("matchesPath agrees with the same pattern written as a regular expression", () => {
  const letters = fc.array(fc.constantFrom("a", "b", "/", "*", "?", "é", "😀", "."), { maxLength: 8 })
  fc.assert(
    fc.property(letters, letters, (pattern, path) => {
      const source = pattern.map((c) => WILDCARDS[c] ?? c.replace(".", "\\.")).join("")
      const expected = new RegExp(`^${source}$`, "u").test(path.join(""))
      expect(matchesPath(pattern.join(""), path.join(""))).toBe(expected)
    }),
    { numRuns: 10 * runs },
  )
})
