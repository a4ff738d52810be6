import type { Revocation, RevocationTarget } from "@sealwright/core/model"
import {
  checkReason,
  checkWindow,
  effectiveTime,
  mergeRevocation,
  type RevocationRequestTarget,
  releaseHold,
  revocationId,
  targetName,
} from "@sealwright/core/revoke/rules"
import { describe, expect, test } from "vitest"
import { digest } from "../../packages/adapters/src/platform.ts"
import { digestOf, PIPELINE } from "../support/service.ts"
import { withCode } from "./core-published.ts"

const NOW = new Date("2026-11-21T09:00:00Z")
const at = (seconds: number) => new Date(NOW.getTime() + seconds * 1000)
const SIGNATURE: RevocationTarget = {
  kind: "signature",
  signature: "01JD3Y0V6ZV4Q6D8W9X4K2M7RT",
  issuerKeyId: "ab".repeat(32),
  number: 7,
  serialHex: "01",
}

function revocation(change: Partial<Revocation> = {}): Revocation {
  const target = change.target ?? SIGNATURE
  return {
    id: revocationId(digest, target),
    target,
    reason: "keyCompromise",
    comment: "",
    principal: PIPELINE,
    acknowledgedAt: NOW,
    effectiveAt: NOW,
    epoch: 1,
    firstEpoch: 1,
    released: false,
    ...change,
  }
}

describe("merging into what stands (I7)", () => {
  test("the first one is taken as asked", () => {
    expect(mergeRevocation(undefined, revocation())).toEqual(revocation())
  })

  test.each([
    ["the same again", {}, {}],
    ["a later time", {}, { effectiveAt: at(10) }],
    ["another final reason", {}, { reason: "superseded" }],
    ["a hold on a hold", { reason: "certificateHold" }, { reason: "certificateHold" }],
  ] as const)("%s changes nothing", (_name, standing, asked) => {
    expect(mergeRevocation(revocation(standing), revocation(asked))).toBeUndefined()
  })

  test("the time moves earlier, and the reason that stood stays", () => {
    const merged = mergeRevocation(revocation(), revocation({ effectiveAt: at(-60), reason: "superseded" }))
    expect(merged).toMatchObject({ effectiveAt: at(-60), reason: "keyCompromise" })
  })

  test("a hold becomes final, with the earlier of both times", () => {
    const hold = revocation({ reason: "certificateHold" })
    expect(mergeRevocation(hold, revocation({ effectiveAt: at(60) }))).toMatchObject({
      reason: "keyCompromise",
      effectiveAt: NOW,
    })
    expect(mergeRevocation(hold, revocation({ effectiveAt: at(-60) }))).toMatchObject({
      reason: "keyCompromise",
      effectiveAt: at(-60),
    })
  })

  test("a final one never becomes a hold", () => {
    expect(() => mergeRevocation(revocation(), revocation({ reason: "certificateHold" }))).toThrow(
      withCode("REVOCATION_FINAL"),
    )
  })

  test("after a release everything may be asked anew", () => {
    const released = revocation({ reason: "certificateHold", released: true })
    const asked = revocation({ reason: "certificateHold", effectiveAt: at(5) })
    expect(mergeRevocation(released, asked)).toEqual(asked)
  })

  test("a profile's start moves earlier, never later", () => {
    const from = (seconds: number): RevocationTarget => ({ kind: "profile", profile: "release", from: at(seconds) })
    const standing = revocation({ target: from(0) })
    expect(mergeRevocation(standing, revocation({ target: from(-5) }))).toMatchObject({ target: from(-5) })
    expect(mergeRevocation(standing, revocation({ target: from(5), effectiveAt: at(-50) }))).toBeUndefined()
  })

  test("what timestamps spare of an issuer grows less, never more (D7)", () => {
    const from = (seconds?: number): RevocationTarget => ({
      kind: "issuer",
      issuer: "ci",
      issuerKeyId: "ab".repeat(32),
      from: seconds === undefined ? undefined : at(seconds),
    })
    const standing = revocation({ target: from(0) })
    expect(mergeRevocation(standing, revocation({ target: from(-5), effectiveAt: at(9) }))).toMatchObject({
      target: from(-5),
      effectiveAt: NOW,
    })
    expect(mergeRevocation(standing, revocation({ target: from(5), effectiveAt: at(-9) }))).toMatchObject({
      target: from(0),
      effectiveAt: at(-9),
    })
    expect(mergeRevocation(standing, revocation({ target: from(), reason: "superseded" }))).toMatchObject({
      target: from(),
      reason: "keyCompromise",
    })
    for (const seconds of [undefined, 0, 5])
      expect(mergeRevocation(revocation({ target: from() }), revocation({ target: from(seconds) }))).toBeUndefined()
    expect(mergeRevocation(standing, revocation({ target: from(5) }))).toBeUndefined()
  })
})

describe("releasing a hold (R24)", () => {
  test("marks it with who, when and the epoch", () => {
    const hold = revocation({ reason: "certificateHold" })
    expect(releaseHold(hold, "someone", 5, at(9))).toEqual({
      ...hold,
      released: true,
      principal: "someone",
      epoch: 5,
      acknowledgedAt: at(9),
    })
  })

  test("is refused for a final one", () => {
    expect(() => releaseHold(revocation(), "someone", 5, NOW)).toThrow(withCode("REVOCATION_FINAL"))
  })
})

describe("names of revocations", () => {
  const targets: RevocationTarget[] = [
    SIGNATURE,
    { ...SIGNATURE, number: 8 },
    { kind: "artifact", digest: digestOf("a") },
    { kind: "certificate", thumbprint: "cd".repeat(32), issuerKeyId: "ab".repeat(32), serialHex: "02" },
    { kind: "issuer", issuer: "ci", issuerKeyId: "ab".repeat(32), from: undefined },
    { kind: "profile", profile: "release", from: NOW },
    { kind: "principal", principal: PIPELINE, from: NOW, until: undefined },
    { kind: "principal", principal: PIPELINE, from: NOW, until: at(5) },
    { kind: "principal", principal: PIPELINE, from: at(-5), until: undefined },
  ]

  test("differ for every target, and are rev- and 32 hex digits", () => {
    const ids = targets.map((target) => revocationId(digest, target))
    expect(new Set(ids).size).toBe(targets.length)
    for (const id of ids) expect(id).toMatch(/^rev-[0-9a-f]{32}$/)
    for (const target of targets) expect(targetName(target)).not.toMatch(/\s/)
  })

  test("a profile's start is not part of its name", () => {
    const other: RevocationTarget = { kind: "profile", profile: "release", from: at(-900) }
    expect(revocationId(digest, other)).toBe(revocationId(digest, targets[5] as RevocationTarget))
  })
})

describe("times and windows", () => {
  test("a revocation counts from now, or from the earlier moment named", () => {
    expect(effectiveTime(undefined, NOW)).toEqual(NOW)
    expect(effectiveTime(at(-5), NOW)).toEqual(at(-5))
    expect(effectiveTime(NOW, NOW)).toEqual(NOW)
    expect(() => effectiveTime(at(1), NOW)).toThrow(withCode("REQUEST_MALFORMED"))
  })

  test.each<[string, RevocationRequestTarget]>([
    ["a profile from now", { kind: "profile", profile: "a", from: NOW }],
    ["a principal without end", { kind: "principal", principal: PIPELINE, from: at(-5), until: undefined }],
    ["a moment that is over", { kind: "principal", principal: PIPELINE, from: at(-5), until: at(-5) }],
    ["a window that is over", { kind: "principal", principal: PIPELINE, from: at(-9), until: at(-1) }],
    ["no window at all", { kind: "issuer", issuer: "ci" }],
    ["an issuer from now", { kind: "issuer", issuer: "ci", from: NOW }],
  ])("%s is taken", (_name, target) => {
    expect(() => checkWindow(target, NOW)).not.toThrow()
  })

  test.each<[string, RevocationRequestTarget]>([
    ["a profile from tomorrow", { kind: "profile", profile: "a", from: at(86_400) }],
    ["an issuer from tomorrow", { kind: "issuer", issuer: "ci", from: at(1) }],
    ["a principal from tomorrow", { kind: "principal", principal: PIPELINE, from: at(1), until: undefined }],
    ["an end before its start", { kind: "principal", principal: PIPELINE, from: at(-5), until: at(-6) }],
    ["an end that is now", { kind: "principal", principal: PIPELINE, from: at(-5), until: NOW }],
    ["an end in the future", { kind: "principal", principal: PIPELINE, from: at(-5), until: at(5) }],
  ])("%s is refused", (_name, target) => {
    expect(() => checkWindow(target, NOW)).toThrow(withCode("REQUEST_MALFORMED"))
  })

  test.each<[RevocationRequestTarget, boolean]>([
    [{ kind: "signature", signature: "x" }, true],
    [{ kind: "artifact", digest: "x" }, true],
    [{ kind: "certificate", thumbprint: "x" }, false],
    [{ kind: "issuer", issuer: "x" }, false],
    [{ kind: "profile", profile: "x", from: NOW }, false],
    [{ kind: "principal", principal: "x", from: NOW, until: undefined }, false],
  ])("a hold on %j: %s", (target, good) => {
    const check = () => checkReason(target, "certificateHold")
    if (good) expect(check).not.toThrow()
    else expect(check).toThrow(withCode("REQUEST_MALFORMED"))
    expect(() => checkReason(target, "keyCompromise")).not.toThrow()
  })
})
