import { createHash } from "node:crypto"
import { hexEncode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import { decodeMetadata, formatExpires, type Root, type Targets, type TufSigned } from "@sealwright/formats/tuf"
import { encodeMetadata, signedBytes } from "@sealwright/formats/tuf-encode"
import { keyidInput } from "@sealwright/formats/tuf-key"
import { describe, expect, it, test } from "vitest"
import { newSigner } from "../support/tuf-simulator.ts"

const code = (expected: string) => expect.objectContaining({ code: expected })
const EXPIRES = new Date("2030-01-01T00:00:00Z")
const signer = newSigner()
const ROLE = { keyids: [signer.keyid], threshold: 1 }
const ROOT: Root = {
  type: "root",
  version: 1,
  expires: EXPIRES,
  consistentSnapshot: true,
  keys: new Map([[signer.keyid, signer.key]]),
  roles: { root: ROLE, timestamp: ROLE, snapshot: ROLE, targets: ROLE },
}
const HASHES = new Map([["sha256", "ab".repeat(32)]])
const TARGETS: Targets = {
  type: "targets",
  version: 7,
  expires: EXPIRES,
  targets: new Map([
    ["b", { length: 0, hashes: HASHES }],
    ["a/é", { length: 12, hashes: HASHES, custom: { epoch: 3, nested: { list: [1, null, true] } } }],
  ]),
  delegations: {
    keys: ROOT.keys,
    roles: [
      { name: "lists", ...ROLE, terminating: true, paths: ["lists/*"] },
      { name: "bins", ...ROLE, terminating: false, pathHashPrefixes: ["0", "ff"] },
    ],
  },
}
const DOCUMENTS: readonly TufSigned[] = [
  ROOT,
  { type: "timestamp", version: 2, expires: EXPIRES, snapshot: { version: 3, length: 4, hashes: HASHES } },
  {
    type: "snapshot",
    version: 3,
    expires: EXPIRES,
    meta: new Map([
      ["targets.json", { version: 7 }],
      ["lists.json", { version: 1, length: 2 }],
    ]),
  },
  TARGETS,
]

describe("a document", () => {
  test.each(DOCUMENTS.map((signed) => [signed.type, signed] as const))(
    "%s is read as it was written",
    (type, signed) => {
      const bytes = encodeMetadata(signed, [{ keyid: "k", signature: new Uint8Array([1, 255]) }])
      const read = decodeMetadata(bytes, type, bytes.length)
      expect(read.signed).toEqual(signed)
      expect(read.signedBytes).toEqual(signedBytes(signed))
      expect([...read.signatures]).toEqual([["k", new Uint8Array([1, 255])]])
      expect(() => decodeMetadata(bytes, type, bytes.length - 1)).toThrow(code("TOO_LARGE"))
    },
  )

  it("has the members and the canonical form of the specification", () => {
    const signed: TufSigned = { type: "timestamp", version: 2, expires: EXPIRES, snapshot: { version: 3 } }
    expect(utf8Decode(signedBytes(signed))).toBe(
      '{"_type":"timestamp","expires":"2030-01-01T00:00:00Z","meta":{"snapshot.json":{"version":3}},"spec_version":"1.0.34","version":2}',
    )
    expect(utf8Decode(encodeMetadata(signed, []))).toBe(`{"signatures":[],"signed":${utf8Decode(signedBytes(signed))}}`)
  })

  it("does not depend on the order of entries in maps", () => {
    const reversed = { ...TARGETS, targets: new Map([...TARGETS.targets].reverse()) }
    expect(encodeMetadata(reversed, [])).toEqual(encodeMetadata(TARGETS, []))
  })

  it("names a key by the SHA-256 of its canonical form", () => {
    const { keytype, scheme, public: pem } = signer.key
    const canonical = `{"keytype":"${keytype}","keyval":{"public":"${pem}"},"scheme":"${scheme}"}`
    expect(utf8Decode(keyidInput(signer.key))).toBe(canonical)
    expect(signer.keyid).toBe(createHash("sha256").update(canonical).digest("hex"))
  })
})

describe("the writer refuses what clients would refuse, or read differently", () => {
  const role = (change: object): Root => ({ ...ROOT, roles: { ...ROOT.roles, timestamp: { ...ROLE, ...change } } })
  const delegation = (change: object): Targets => ({
    ...TARGETS,
    delegations: { keys: ROOT.keys, roles: [{ name: "lists", ...ROLE, terminating: true, paths: ["*"], ...change }] },
  })

  test.each<[string, TufSigned]>([
    ["a fraction of a second", { ...ROOT, expires: new Date("2030-01-01T00:00:00.500Z") }],
    ["version 0", { ...ROOT, version: 0 }],
    ["a threshold of 0", role({ threshold: 0 })],
    ["a threshold above the number of keys", role({ threshold: 2 })],
    ["a key named twice", role({ keyids: [signer.keyid, signer.keyid], threshold: 2 })],
    ["a key that isn't there", role({ keyids: ["00"] })],
    ["a delegated role with the name of a top-level role", delegation({ name: "timestamp" })],
    ["a delegated threshold above the number of keys", delegation({ threshold: 2 })],
    ["a pattern on which clients disagree", delegation({ paths: ["[ab]"] })],
    [
      "an upper-case digest",
      { ...TARGETS, targets: new Map([["a", { length: 1, hashes: new Map([["sha256", "AB"]]) }]]) },
    ],
    ["a negative length", { ...TARGETS, targets: new Map([["a", { length: -1, hashes: HASHES }]]) }],
    [
      "a fraction in custom",
      { ...TARGETS, targets: new Map([["a", { length: 1, hashes: HASHES, custom: { x: 0.5 } }]]) },
    ],
  ])("%s", (_, signed) => {
    expect(() => encodeMetadata(signed, [])).toThrow(code("SHAPE_MISMATCH"))
  })

  it("two signatures under one keyid", () => {
    const signature = { keyid: "k", signature: new Uint8Array(1) }
    expect(() => encodeMetadata(ROOT, [signature, signature])).toThrow(code("SHAPE_MISMATCH"))
  })
})

describe("the reader", () => {
  type Change = (signed: Record<string, unknown>, file: Record<string, unknown>) => void
  const changed = (change: Change) => {
    const file = JSON.parse(utf8Decode(encodeMetadata(ROOT, [])))
    change(file.signed, file)
    return utf8(JSON.stringify(file))
  }

  test.each<[string, Change]>([
    ["no expiry", (signed) => delete signed.expires],
    ["an expiry with a fraction", (signed) => Object.assign(signed, { expires: "2030-01-01T00:00:00.5Z" })],
    ["an expiry in another zone", (signed) => Object.assign(signed, { expires: "2030-01-01T00:00:00+00:00" })],
    ["the 30th of February", (signed) => Object.assign(signed, { expires: "2030-02-30T00:00:00Z" })],
    ["hour 24", (signed) => Object.assign(signed, { expires: "2030-02-03T24:00:00Z" })],
    ["a leap second", (signed) => Object.assign(signed, { expires: "2030-12-31T23:59:60Z" })],
    ["a version as text", (signed) => Object.assign(signed, { version: "1" })],
    ["a version that isn't exact", (signed) => Object.assign(signed, { version: 2 ** 53 })],
    [
      "no role for timestamp",
      (signed) => Object.assign(signed, { roles: { root: ROLE, snapshot: ROLE, targets: ROLE } }),
    ],
    ["keys as a list", (signed) => Object.assign(signed, { keys: [] })],
    ["a key without its value", (signed) => Object.assign(signed, { keys: { a: { keytype: "rsa", scheme: "x" } } })],
    ["signed as text", (_, file) => Object.assign(file, { signed: "{}" })],
    ["no signatures", (_, file) => delete file.signatures],
    ["a signature without its keyid", (_, file) => Object.assign(file, { signatures: [{ sig: "00" }] })],
    ["another role", (signed) => Object.assign(signed, { _type: "Root" })],
  ])("refuses %s", (_, change) => {
    expect(() => decodeMetadata(changed(change), "root", 100_000)).toThrow(code("SHAPE_MISMATCH"))
  })

  it("keeps unknown members in what the signatures are over", () => {
    const bytes = changed((signed) => Object.assign(signed, { "x-unknown": { b: 1, a: "é" } }))
    const { signed, signedBytes: message } = decodeMetadata(bytes, "root", 100_000)
    expect(signed).toEqual(ROOT)
    expect(utf8Decode(message)).toContain('"x-unknown":{"a":"é","b":1}')
  })

  it("reads a signature that is no hex as none", () => {
    const bytes = changed((_, file) => Object.assign(file, { signatures: [{ keyid: "k", sig: "ZZ" }] }))
    expect([...decodeMetadata(bytes, "root", 100_000).signatures]).toEqual([["k", new Uint8Array(0)]])
  })

  it("takes a missing consistent_snapshot and terminating as false, as older documents have them", () => {
    const root = changed((signed) => delete signed.consistent_snapshot)
    expect(decodeMetadata(root, "root", 100_000).signed.consistentSnapshot).toBe(false)
    const file = JSON.parse(utf8Decode(encodeMetadata(TARGETS, [])))
    delete file.signed.delegations.roles[0].terminating
    const targets = decodeMetadata(utf8(JSON.stringify(file)), "targets", 100_000)
    expect(targets.signed.delegations?.roles[0]?.terminating).toBe(false)
  })

  it("refuses a repeated member before anything else can disagree on it", () => {
    const text = utf8Decode(encodeMetadata(ROOT, []))
    const twice = text.replace('"version":1', '"version":1,"version":2')
    expect(() => decodeMetadata(utf8(twice), "root", 100_000)).toThrow(code("JSON_MALFORMED"))
  })
})

it("formatExpires cuts off what the format has no place for", () => {
  expect(formatExpires(new Date("2030-01-02T03:04:05.999Z"))).toBe("2030-01-02T03:04:05Z")
  expect(hexEncode(utf8(formatExpires(EXPIRES)))).toHaveLength(40)
})
