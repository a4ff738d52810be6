import type { Issuer, Profile } from "@sealwright/core/model"
import {
  authorizeCaller,
  authorizeSubject,
  checkSubjects,
  LARGEST_LEASE,
  MAX_EXPIRY_SEC,
  MAX_SUBJECTS,
  nextLeaseSize,
  planExpiry,
  planLeafEnd,
  SMALLEST_LEASE,
  SUBJECTS_PER_TRANSACTION,
  wholeSeconds,
} from "@sealwright/core/sign/rules"
import { describe, expect, test } from "vitest"
import { digestOf, PIPELINE, PROFILE } from "../support/service.ts"
import { withCode } from "./core-published.ts"

const NOW = new Date("2026-11-21T09:00:00Z")
const later = (seconds: number) => new Date(NOW.getTime() + seconds * 1000)

function profile(change: Partial<Profile> = {}): Profile {
  return {
    name: "release",
    ...PROFILE,
    extraIssuer: undefined,
    state: "active",
    generation: 1,
    held: undefined,
    former: { issuers: [], certificates: [] },
    rotatedFrom: undefined,
    createdAt: NOW,
    updatedAt: NOW,
    ...change,
  }
}

function subject(seed: string, reference = "registry.wabbit-networks.io/net-monitor:v1") {
  return { mediaType: "application/octet-stream", digest: digestOf(seed), size: 1, reference }
}

describe("authorizing a caller (R10)", () => {
  test("a listed principal of an active profile may sign", () => {
    expect(() => authorizeCaller(profile(), PIPELINE)).not.toThrow()
  })

  test.each([
    ["CALLER_NOT_LISTED", { principals: [] }],
    ["CALLER_NOT_LISTED", { principals: [`${PIPELINE}2`, PIPELINE.toUpperCase()] }],
    ["PROFILE_SUSPENDED", { state: "suspended" }],
    ["PROFILE_REVOKED", { state: "revoked" }],
  ] as const)("%s for %j", (code, change) => {
    expect(() => authorizeCaller(profile(change), PIPELINE)).toThrow(withCode(code))
  })

  test("who is not listed learns nothing of the profile's state", () => {
    for (const state of ["active", "suspended", "revoked"] as const)
      expect(() => authorizeCaller(profile({ state, principals: [] }), PIPELINE)).toThrow(withCode("CALLER_NOT_LISTED"))
  })
})

describe("authorizing a subject (R9)", () => {
  test.each(["registry.wabbit-networks.io/net-monitor", "registry.wabbit-networks.io/net-monitor:v1"])(
    "%s is in scope",
    (reference) => {
      expect(() => authorizeSubject(profile(), subject("a", reference))).not.toThrow()
    },
  )

  test.each([
    ["REPOSITORY_OUT_OF_SCOPE", "registry.wabbit-networks.io/other:v1"],
    ["REPOSITORY_OUT_OF_SCOPE", "registry.wabbit-networks.io/net-monitor/sub:v1"],
    ["REPOSITORY_OUT_OF_SCOPE", "registry.evil.io/net-monitor:v1"],
    ["REFERENCE_MALFORMED", "Registry/../net-monitor"],
    ["REFERENCE_MALFORMED", ""],
  ])("%s for %s", (code, reference) => {
    expect(() => authorizeSubject(profile(), subject("a", reference))).toThrow(withCode(code))
  })

  test("a digest in the reference is the subject's own, or the request is refused", () => {
    const named = (seed: string) => `registry.wabbit-networks.io/net-monitor@${digestOf(seed)}`
    expect(() => authorizeSubject(profile(), subject("a", named("a")))).not.toThrow()
    expect(() => authorizeSubject(profile(), subject("a", named("b")))).toThrow(withCode("REFERENCE_INVALID"))
  })
})

describe("a batch (R15)", () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => subject(`s${i}`))

  test("takes 100 different subjects, and one more is too many", () => {
    expect(() => checkSubjects(many(MAX_SUBJECTS))).not.toThrow()
    expect(() => checkSubjects(many(MAX_SUBJECTS + 1))).toThrow(withCode("REQUEST_TOO_LARGE"))
    expect(MAX_SUBJECTS).toBe(100)
  })

  test("names each digest once, whatever else differs", () => {
    const twice = [subject("a"), subject("b"), { ...subject("a"), size: 2 }]
    expect(() => checkSubjects(twice)).toThrow(withCode("SUBJECT_REPEATED"))
  })

  test("is cut so that a chunk's writes fit one transaction of 100", () => {
    expect(3 + 4 * SUBJECTS_PER_TRANSACTION).toBeLessThanOrEqual(100)
  })
})

describe("expiry of a signature (R7)", () => {
  test.each([
    ["none asked, none ruled", undefined, undefined, undefined],
    ["the profile's rule", 3600, undefined, later(3600)],
    ["the request's wish", undefined, later(60), later(60)],
    ["a wish below the rule", 3600, later(60), later(60)],
    ["a wish equal to the rule", 3600, later(3600), later(3600)],
    ["the longest wish", undefined, later(MAX_EXPIRY_SEC), later(MAX_EXPIRY_SEC)],
  ])("%s", (_name, expirySec, wish, expected) => {
    expect(planExpiry(profile({ expirySec }), wish, NOW)).toEqual(expected)
  })

  test.each([
    ["now", undefined, NOW],
    ["the past", undefined, later(-1)],
    ["above the rule", 3600, later(3601)],
    ["above ten years", undefined, later(MAX_EXPIRY_SEC + 1)],
  ])("a wish for %s is refused", (_name, expirySec, wish) => {
    expect(() => planExpiry(profile({ expirySec }), wish, NOW)).toThrow(withCode("EXPIRY_INVALID"))
  })
})

test("a leaf ends with its profile's lifetime, and never after its issuer (R18)", () => {
  const issuer = { name: "ci", state: "active", notAfter: later(600) } as Issuer
  expect(planLeafEnd(profile(), issuer, NOW)).toEqual(later(600))
  expect(() => planLeafEnd(profile(), issuer, later(1))).toThrow(withCode("ISSUER_NOT_ACTIVE"))
})

test("leases start small, double while used up in time, stop at the largest and start over (D3)", () => {
  const sizes: number[] = []
  let previous: { size: number; usedUp: boolean } | undefined
  for (let i = 0; i < 7; i++) {
    const size = nextLeaseSize(previous, 1)
    sizes.push(size)
    previous = { size, usedUp: true }
  }
  expect(sizes).toEqual([4, 8, 16, 32, 64, 64, 64])
  expect(nextLeaseSize({ size: 32, usedUp: false }, 1)).toBe(SMALLEST_LEASE)
  expect(nextLeaseSize(undefined, 20)).toBe(20)
  expect(nextLeaseSize({ size: 64, usedUp: true }, 80)).toBe(80)
  expect(LARGEST_LEASE).toBe(64)
})

test("times are cut to whole seconds, also before 1970", () => {
  expect(wholeSeconds(new Date("2026-11-21T09:00:00.999Z"))).toEqual(NOW)
  expect(wholeSeconds(new Date(-1))).toEqual(new Date(-1000))
})
