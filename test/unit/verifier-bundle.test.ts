import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import type { RevocationList } from "@sealwright/formats/revocation-list"
import { BUNDLE_MARKER, type BundleInput, openBundle } from "@sealwright/verifier/bundle"
import { runSync } from "@sealwright/verifier/node-crypto"
import { encodeState, parseState } from "@sealwright/verifier/state"
import { describe, expect, test } from "vitest"
import { makeSigner, NOW, TARGET } from "../support/chains.ts"
import { afterSec, Deployment, openFiles, type Publication } from "../support/deployment.ts"

const DAY = 86_400
const revoked = { reason: "certificateHold", at: NOW }

function codeOf(
  deployment: Deployment,
  files: ReadonlyMap<string, Uint8Array>,
  options: Partial<BundleInput> = {},
): string {
  const outcome = deployment.open(files, options)
  return outcome.ok ? (outcome.stale ? "stale" : "ok") : outcome.code
}

/** A deployment, a first bundle seen, and what a second one comes to against its floors. */
function second(first: Publication, next: Publication): string {
  const deployment = new Deployment()
  const { floors } = deployment.opened(deployment.publish(first))
  return codeOf(deployment, deployment.publish({ date: afterSec(1), ...next }), { floors, now: afterSec(1) })
}

const numbered = (
  deployment: Deployment,
  entries: number[],
  voids: [number, number][] = [],
): Partial<RevocationList> => ({
  issuers: new Map([
    [deployment.issuerKeyId, { coveredBelow: 5000, revoked: new Map(entries.map((n) => [n, revoked])), void: voids }],
  ]),
})

describe("opening", () => {
  const deployment = new Deployment()
  const files = deployment.publish()

  test("gives trust bundle, registry, lists and the age of every part", () => {
    const bundle = deployment.opened(files, { now: afterSec(60) })
    expect(bundle.trustBundle.roots).toEqual([deployment.issuer.root])
    expect(bundle.registry.profiles.map(({ name }) => name)).toEqual(["web", "other"])
    expect(bundle.stale).toBe(false)
    expect(bundle.freshness.map(({ part }) => part)).toEqual([
      "root",
      "timestamp",
      "snapshot",
      "targets",
      "registry",
      "lists",
      "lists/revocations.json",
      "lists/allow.json",
    ])
  })

  test("every file but the CRLs is needed", () => {
    for (const path of files.keys()) {
      const expected = path === "tuf/1.root.json" || path.endsWith(".crl") ? "ok" : /MISSING|TARGET_UNKNOWN/
      expect(codeOf(deployment, new Map([...files].filter(([each]) => each !== path))), path).toMatch(expected)
    }
  })

  test("M6: every file with one flipped bit is refused", () => {
    for (const [path, bytes] of files) {
      if (path === "tuf/1.root.json" || path.endsWith(".crl")) continue
      const flipped = Uint8Array.from(bytes)
      const at = bytes.length >> 1
      flipped[at] = (flipped[at] as number) ^ 1
      expect(codeOf(deployment, new Map([...files, [path, flipped]])), path).not.toMatch(/^ok$|^stale$/)
    }
  })

  test("an unknown version of the bundle, nothing at all, another deployment's root", () => {
    const marked = (text: string) => new Map([...files, [BUNDLE_MARKER, utf8(text)]])
    expect(codeOf(deployment, marked('{"mediaType":"application/vnd.sealwright.bundle.v2+json"}'))).toBe(
      "BUNDLE_VERSION_UNKNOWN",
    )
    expect(codeOf(deployment, marked("{"))).toBe("BUNDLE_MALFORMED")
    expect(codeOf(deployment, new Map())).toBe("BUNDLE_MISSING")
    expect(codeOf(deployment, files, { pinnedRoot: new Deployment().pinnedRoot })).toBe("TUF_SIGNATURES_MISSING")
    expect(codeOf(deployment, files, { pinnedRoot: new Uint8Array() })).toBe("TUF_MALFORMED")
  })

  test("a list signed by another key than the lists role's", () => {
    const mine = new Deployment()
    expect(codeOf(mine, mine.publish({ listSigner: makeSigner("ecdsa-p256-sha256") }))).toBe("LIST_SIGNATURE_INVALID")
    expect(codeOf(mine, mine.publish({ listSigner: mine.keys.timestamp }))).toBe("LIST_SIGNATURE_INVALID")
  })

  test("a list of another deployment under this one's TUF metadata", () => {
    const mine = new Deployment()
    const theirs = new Deployment().publish()
    const [, list] = [...theirs].find(([path]) => path.endsWith("revocations.json")) as [string, Uint8Array]
    const swap = (targets: Map<string, Uint8Array>) => targets.set("lists/revocations.json", list)
    expect(codeOf(mine, mine.publish({ change: swap }))).toBe("LIST_SIGNATURE_INVALID")
  })

  test.each([
    ["lists/revocations.json", "BUNDLE_MISSING"],
    ["lists/allow.json", "ok"],
    ["trust-bundle.json", "TUF_TARGET_UNKNOWN"],
    ["registry/registry.json", "TUF_TARGET_UNKNOWN"],
  ])("a publisher without %s", (path, code) => {
    const mine = new Deployment()
    expect(codeOf(mine, mine.publish({ change: (targets) => targets.delete(path) }))).toBe(code)
  })

  test.each(["registry/registry.json", "lists/revocations.json", "lists/allow.json"])(
    "another role than its own speaks for %s",
    (path) => {
      const mine = new Deployment()
      expect(codeOf(mine, mine.publish({ topLevel: [path] }))).toBe("BUNDLE_MALFORMED")
    },
  )

  test("a list that is due before its date", () => {
    const mine = new Deployment()
    expect(codeOf(mine, mine.publish({ list: { due: afterSec(-1) } }))).toBe("BUNDLE_MALFORMED")
  })

  test("lists of a newer format", () => {
    const mine = new Deployment()
    const files = mine.publish({
      change: (targets) =>
        targets.set(
          "registry/registry.json",
          utf8(utf8Decode(targets.get("registry/registry.json") as Uint8Array).replace("v1+json", "v2+json")),
        ),
    })
    expect(codeOf(mine, files)).toBe("BUNDLE_VERSION_UNKNOWN")
  })

  test.each([
    ["no reader", { read: undefined }],
    ["no root", { pinnedRoot: "root.json" }],
    ["no time", { now: new Date(Number.NaN) }],
    ["a negative age", { maxStaleSec: -1 }],
    ["an age that is no number", { maxStaleSec: Number.NaN }],
  ])("misuse is a TypeError: %s", (_, change) => {
    const input = {
      read: () => undefined,
      pinnedRoot: deployment.pinnedRoot,
      now: NOW,
      ...change,
    } as unknown as BundleInput
    expect(() => runSync(openBundle(input))).toThrow(TypeError)
  })
})

describe("freshness (M8, M13)", () => {
  const deployment = new Deployment()
  const files = deployment.publish({ expires: afterSec(DAY) })
  test.each([
    [0, undefined, "ok"],
    [DAY, undefined, "ok"],
    [DAY + 1, undefined, "stale"],
    [3 * DAY, 3 * DAY, "ok"],
    [3 * DAY + 1, 3 * DAY, "stale"],
    [1, 0, "stale"],
    [-60, undefined, "ok"],
    [-61, undefined, "CLOCK_BEHIND"],
  ])("%i s after the list, %s s allowed: %s", (sec, maxStaleSec, code) => {
    expect(codeOf(deployment, files, { now: afterSec(sec), maxStaleSec })).toBe(code)
  })
  test("TUF metadata counts for maxStale after its expiry, which is the first second too late", () => {
    const mine = new Deployment()
    const short = mine.publish({ expires: afterSec(10) })
    expect(codeOf(mine, short, { now: afterSec(19), maxStaleSec: 10 })).toBe("stale")
    const list = mine.publish({ expires: afterSec(10), date: afterSec(10) })
    expect(codeOf(mine, list, { now: afterSec(19), maxStaleSec: 10 })).toBe("ok")
    expect(codeOf(mine, list, { now: afterSec(20), maxStaleSec: 10 })).toBe("stale")
  })
})

describe("floors (R28, M7)", () => {
  test("an older bundle, whole", () => {
    const deployment = new Deployment()
    const old = deployment.publish()
    const { floors } = deployment.opened(deployment.publish({ date: afterSec(1) }), { now: afterSec(1) })
    expect(codeOf(deployment, old)).toBe("ok")
    expect(codeOf(deployment, old, { floors })).toBe("TUF_ROLLBACK")
  })

  test("parts of two bundles", () => {
    const deployment = new Deployment()
    const first = deployment.publish()
    const next = deployment.publish({ date: afterSec(1), list: { artifacts: new Map([[TARGET.digest, revoked]]) } })
    for (const path of new Set([...first.keys(), ...next.keys()])) {
      const mixed = new Map([...first, ...next])
      const older = first.get(path)
      if (older === undefined) mixed.delete(path)
      else mixed.set(path, older)
      const outcome = deployment.open(mixed, { now: afterSec(1) })
      if (outcome.ok) expect([1, 2], path).toContain(outcome.revocations.epoch)
      if (outcome.ok && outcome.revocations.epoch === 1) expect(path).toBe("tuf/timestamp.json")
    }
  })

  test("an older list under newer TUF metadata", () => {
    expect(second({ list: { epoch: 7 } }, { list: { epoch: 6, previous: "" } })).toBe("LIST_ROLLBACK")
    expect(second({}, { date: afterSec(-1) })).toBe("LIST_ROLLBACK")
    expect(second({ allow: { epoch: 9 } }, { allow: { epoch: 8 } })).toBe("LIST_ROLLBACK")
    expect(second({}, { allow: null })).toBe("LIST_ROLLBACK")
    expect(second({ registry: { epoch: 9 } }, { registry: { epoch: 8 } })).toBe("LIST_ROLLBACK")
    expect(second({}, {})).toBe("ok")
  })

  test("two lists of one epoch, and one that follows a list never seen", () => {
    expect(second({ list: { epoch: 5 } }, { list: { epoch: 5 } })).toBe("LIST_FORKED")
    expect(second({}, { list: { previous: "00".repeat(32) } })).toBe("LIST_FORKED")
    expect(second({ list: { epoch: 5 } }, { list: { epoch: 7, previous: "00".repeat(32) } })).toBe("ok")
  })

  const artifacts = (...digests: string[]) => ({ artifacts: new Map(digests.map((digest) => [digest, revoked])) })
  const profile = { kind: "profile", profile: "web", from: NOW, ...revoked } as const
  const OTHER = `sha256:${"6b".repeat(32)}`
  const NAMED = { issuerKeyId: "11".repeat(32), serialHex: "01" }
  const final = { reason: "keyCompromise", at: NOW }
  const denied = (reason: string) => ({ artifacts: new Map([[OTHER, { reason, at: NOW }]]) })
  const ruled = (sec: number) => ({ rules: [{ ...profile, ...final, from: afterSec(sec) }] })
  const fallen = ({ issuerKeyId }: Deployment, from?: Date) => ({
    rules: [{ kind: "issuer", issuerKeyId, ...final, ...(from && { from }) } as const],
  })
  const certificate = (name: { issuerKeyId?: string; serialHex?: string }) => ({
    rules: [{ kind: "certificate", thumbprint: "22".repeat(32), ...name, ...final } as const],
  })
  const settled = ({ issuerKeyId }: Deployment, coveredBelow: number) => ({
    issuers: new Map([[issuerKeyId, { coveredBelow, revoked: new Map(), void: [] }]]),
  })
  test.each<[string, (deployment: Deployment) => readonly [Partial<RevocationList>, Partial<RevocationList>], string]>([
    ["a denied artifact lost", () => [artifacts(TARGET.digest), {}], "LIST_SHRANK"],
    ["a denied artifact released", () => [artifacts(TARGET.digest), { released: [`artifact:${TARGET.digest}`] }], "ok"],
    [
      "an artifact denied and released at once, then denied",
      () => [{ ...artifacts(TARGET.digest), released: [`artifact:${TARGET.digest}`] }, artifacts(TARGET.digest)],
      "ok",
    ],
    ["a rule lost", () => [{ rules: [profile] }, {}], "LIST_SHRANK"],
    ["a rule lost, an artifact gained", () => [{ rules: [profile] }, artifacts(TARGET.digest)], "LIST_SHRANK"],
    ["a number lost", (d) => [numbered(d, [1, 2]), numbered(d, [1])], "LIST_SHRANK"],
    [
      "a number released",
      (d) => [numbered(d, [1, 2]), { ...numbered(d, [1]), released: [`signature:${d.issuerKeyId}:2`] }],
      "ok",
    ],
    [
      "a number lost behind a release named twice",
      (d) => [
        numbered(d, [1, 2, 3]),
        { ...numbered(d, [1]), released: [`signature:${d.issuerKeyId}:2`, `signature:${d.issuerKeyId}:2`] },
      ],
      "LIST_SHRANK",
    ],
    [
      "a released number held again",
      (d) => [{ ...numbered(d, [1]), released: [`signature:${d.issuerKeyId}:2`] }, numbered(d, [1, 2])],
      "ok",
    ],
    ["a void number lost", (d) => [numbered(d, [], [[10, 20]]), numbered(d, [], [[10, 19]])], "LIST_SHRANK"],
    ["an issuer lost", (d) => [numbered(d, [1]), { issuers: new Map() }], "LIST_SHRANK"],
    ["a denied artifact swapped for another", () => [artifacts(TARGET.digest), artifacts(OTHER)], "LIST_SHRANK"],
    ["a number swapped for another", (d) => [numbered(d, [1, 2]), numbered(d, [1, 3])], "LIST_SHRANK"],
    ["a final denial released", () => [denied("keyCompromise"), { released: [`artifact:${OTHER}`] }], "LIST_SHRANK"],
    ["a final denial that is a hold now", () => [denied("keyCompromise"), denied("certificateHold")], "LIST_SHRANK"],
    ["a hold that is final now", () => [denied("certificateHold"), denied("keyCompromise")], "ok"],
    ["an earlier rule", () => [ruled(60), ruled(0)], "ok"],
    ["a later rule", () => [ruled(0), ruled(60)], "LIST_SHRANK"],
    ["an issuer's rule that spares something now", (d) => [fallen(d), fallen(d, NOW)], "LIST_SHRANK"],
    ["an issuer's rule that spares nothing any more", (d) => [fallen(d, NOW), fallen(d)], "ok"],
    ["a certificate by its thumbprint alone", () => [certificate({ ...NAMED }), certificate({})], "LIST_SHRANK"],
    ["a certificate by its name too", () => [certificate({}), certificate({ ...NAMED })], "ok"],
    ["a rule of another kind for one lost", (d) => [ruled(0), fallen(d)], "LIST_SHRANK"],
    [
      "void numbers split in two",
      (d) => [
        numbered(d, [], [[10, 20]]),
        numbered(
          d,
          [],
          [
            [10, 12],
            [13, 30],
          ],
        ),
      ],
      "ok",
    ],
    ["void numbers moved", (d) => [numbered(d, [], [[10, 20]]), numbered(d, [], [[11, 21]])], "LIST_SHRANK"],
    [
      "void numbers with a hole",
      (d) => [
        numbered(d, [], [[1, 9e14]]),
        numbered(
          d,
          [],
          [
            [1, 8],
            [10, 9e14],
          ],
        ),
      ],
      "LIST_SHRANK",
    ],
    ["less settled than before", (d) => [numbered(d, []), settled(d, 4999)], "LIST_SHRANK"],
    ["more settled than before", (d) => [numbered(d, []), settled(d, 5001)], "ok"],
  ])("%s", (_, lists, code) => {
    const deployment = new Deployment()
    const [before, after] = lists(deployment)
    const opened = deployment.opened(deployment.publish({ list: before }))
    const floors = parseState(encodeState(opened.floors))
    expect(floors).toEqual(opened.floors)
    expect(codeOf(deployment, deployment.publish({ list: after }), { floors })).toBe(code)
  })

  test("a refused bundle raises no floor", () => {
    const deployment = new Deployment()
    const { floors } = deployment.opened(deployment.publish({ list: artifacts(TARGET.digest) }))
    const refused = deployment.open(deployment.publish(), { floors })
    expect(refused).toMatchObject({ ok: false, code: "LIST_SHRANK" })
    expect(refused.floors).toEqual(floors)
  })
})

describe("state file", () => {
  const deployment = new Deployment()
  const { floors } = deployment.opened(deployment.publish())
  test("reads what it wrote", () => expect(parseState(encodeState(floors))).toEqual(floors))
  test.each([
    ["empty", "", "JSON_MALFORMED"],
    ["another version", utf8Decode(encodeState(floors)).replace("v1+json", "v2+json"), "VERSION_UNKNOWN"],
    ["a member too many", utf8Decode(encodeState(floors)).replace("{", '{"x":1,'), "SHAPE_MISMATCH"],
    [
      "a negative floor",
      utf8Decode(encodeState(floors)).replace('"allowEpoch":1', '"allowEpoch":-1'),
      "SHAPE_MISMATCH",
    ],
    ["cut off", utf8Decode(encodeState(floors)).slice(0, -9), "JSON_MALFORMED"],
    [
      "half a range",
      utf8Decode(encodeState(floors)).replace('"void":{', `"void":{"${"33".repeat(32)}":[[1]],`),
      "SHAPE_MISMATCH",
    ],
  ])("a damaged one is refused: %s", (_, text, code) => {
    expect(() => parseState(utf8(text))).toThrow(expect.objectContaining({ code }))
  })
})

test("a reader's own failure passes through", () => {
  const deployment = new Deployment()
  const read = () => {
    throw new RangeError("disk")
  }
  expect(() => openFiles(new Map(), { pinnedRoot: deployment.pinnedRoot, read })).toThrow(RangeError)
})
