import {
  isPrincipal,
  isScope,
  padNumber,
  principalOf,
  SLUG,
  scopeCovers,
  ULID,
  ulid,
  ulidFloor,
} from "@sealwright/core/names"
import { describe, expect, test } from "vitest"
import { withCode } from "./core-published.ts"

describe("who calls (D10)", () => {
  test.each([
    ["arn:aws:sts::111122223333:assumed-role/pipeline/run-42", "arn:aws:iam::111122223333:role/pipeline"],
    ["arn:aws:sts::111122223333:assumed-role/pipeline/admin", "arn:aws:iam::111122223333:role/pipeline"],
    ["arn:aws-cn:sts::111122223333:assumed-role/a.b@c/s", "arn:aws-cn:iam::111122223333:role/a.b@c"],
    ["arn:aws:iam::111122223333:user/alice", "arn:aws:iam::111122223333:user/alice"],
    ["arn:aws:iam::111122223333:user/team/deep/alice", "arn:aws:iam::111122223333:user/alice"],
  ])("%s acts as %s", (arn, principal) => {
    expect(principalOf(arn)).toBe(principal)
    expect(isPrincipal(principal)).toBe(true)
  })

  test.each([
    "",
    "arn:aws:iam::111122223333:root",
    "arn:aws:iam::111122223333:role/pipeline",
    "arn:aws:sts::111122223333:federated-user/bob",
    "arn:aws:sts::111122223333:assumed-role/pipeline",
    "arn:aws:sts::111122223333:assumed-role/pipeline/",
    "arn:aws:sts::111122223333:assumed-role/a/b/c",
    "arn:aws:sts::11112222333:assumed-role/pipeline/s",
    "arn:evil:sts::111122223333:assumed-role/pipeline/s",
    "arn:aws:sts::111122223333:assumed-role/pipeline/s\n",
    "x arn:aws:sts::111122223333:assumed-role/pipeline/s",
  ])("%j is nobody", (arn) => {
    expect(principalOf(arn)).toBeUndefined()
  })

  test.each(["arn:aws:iam::111122223333:role/*", "arn:aws:iam::111122223333:root", "arn:aws:iam::1:role/a", "*", ""])(
    "%j is not listed as a principal",
    (text) => {
      expect(isPrincipal(text)).toBe(false)
    },
  )
})

describe("scopes (R9)", () => {
  test.each([
    ["registry.example.com/app", "registry.example.com/app", true],
    ["registry.example.com/app", "registry.example.com/app2", false],
    ["registry.example.com/app", "registry.example.com/app/sub", false],
    ["registry.example.com/team/*", "registry.example.com/team/app", true],
    ["registry.example.com/team/*", "registry.example.com/team/deep/app", true],
    ["registry.example.com/team/*", "registry.example.com/team", false],
    ["registry.example.com/team/*", "registry.example.com/teammate/app", false],
    ["registry.example.com/*", "registry.example.com/app", true],
    ["registry.example.com/*", "registry.example.com.evil.io/app", false],
    ["registry.example.com:5000/app", "registry.example.com/app", false],
  ])("%s covers %s: %s", (scope, repository, covers) => {
    expect(isScope(scope)).toBe(true)
    expect(scopeCovers(scope, repository)).toBe(covers)
  })

  test.each([
    "*",
    "registry.example.com",
    "/app",
    "r/*/app",
    "r/app*",
    "r/App",
    "r/app:v1",
    "r//app",
    `r/${"a".repeat(260)}`,
  ])("%j is no scope", (scope) => {
    expect(isScope(scope)).toBe(false)
  })
})

describe("names and numbers (D14)", () => {
  test.each([
    ["release", true],
    ["a", true],
    ["a-b", true],
    ["a".repeat(48), true],
    ["a".repeat(49), false],
    ["-a", false],
    ["a-", false],
    ["A", false],
    ["a_b", false],
    ["", false],
    ["a\n", false],
  ])("%j as a slug: %s", (name, good) => {
    expect(SLUG.test(name)).toBe(good)
  })

  test("a ULID sorts by time, carries all of its bits and starts at its floor", () => {
    const at = new Date("2026-11-21T09:00:00.123Z")
    const low = ulid(at, new Uint8Array(10))
    const high = ulid(at, new Uint8Array(10).fill(255))
    expect(low).toBe(ulidFloor(at))
    expect(low).toMatch(ULID)
    expect(high).toMatch(ULID)
    expect(high.slice(10)).toBe("ZZZZZZZZZZZZZZZZ")
    expect(low < high).toBe(true)
    expect(high < ulid(new Date(at.getTime() + 1), new Uint8Array(10))).toBe(true)
    const decoded = [...low.slice(0, 10)].reduce((n, c) => n * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".indexOf(c), 0)
    expect(decoded).toBe(at.getTime())
  })

  test("a padded number sorts as text, and one outside of six bytes is refused", () => {
    expect(padNumber(0)).toBe("000000000000000")
    expect(padNumber(2 ** 48 - 1)).toBe("281474976710655")
    expect(padNumber(99) < padNumber(100)).toBe(true)
    for (const number of [-1, 2 ** 48, 1.5, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => padNumber(number)).toThrow(withCode("REQUEST_MALFORMED"))
  })
})
