import { ServiceError } from "@sealwright/core/errors"
import { jitterMs, type Pace, reserve, SLOWEST_PER_SEC, slowed, startPace } from "@sealwright/core/jobs/pace"
import { pacedKeys } from "@sealwright/core/jobs/paced-keys"
import type { KeyReference } from "@sealwright/core/ports"
import { describe, expect, test } from "vitest"

/** Takes as many turns as fall due within a time, always waiting as told. @returns how many, and the pace afterwards */
function turnsWithin(from: Pace, startMs: number, lengthMs: number): { turns: number; pace: Pace } {
  let pace = from
  let now = startMs
  for (let turns = 0; ; turns++) {
    const reserved = reserve(pace, now)
    now += reserved.waitMs
    if (now >= startMs + lengthMs) return { turns, pace }
    pace = reserved.pace
  }
}

describe("the pace of key operations (R15)", () => {
  test.each([10, 500, 10_000])("%d a second is never passed, and reached", (ceiling) => {
    const { turns } = turnsWithin(startPace(ceiling, 0), 0, 10_000)
    expect(turns).toBeGreaterThanOrEqual(10 * ceiling)
    expect(turns).toBeLessThanOrEqual(10 * ceiling + Math.ceil(ceiling / 10) + 1)
  })

  test("what was not used is not saved up beyond a tenth of a second", () => {
    const { turns } = turnsWithin(startPace(500, 0), 3_600_000, 1_000)
    expect(turns).toBeGreaterThanOrEqual(500)
    expect(turns).toBeLessThanOrEqual(551)
  })

  test("a wave of throttling halves the rate once, the next one halves it again, down to the slowest", () => {
    const first = slowed(startPace(500, 0), 0)
    expect(first.ratePerSec).toBe(250)
    expect(slowed(first, 999)).toBe(first)
    expect(slowed(first, 1_000).ratePerSec).toBe(125)
    let pace = first
    for (let second = 1; second < 20; second++) pace = slowed(pace, second * 1_000)
    expect(pace.ratePerSec).toBe(SLOWEST_PER_SEC)
  })

  test("without throttling the rate rises by a thirtieth of the ceiling a second, and stops at the ceiling", () => {
    const slow = slowed(startPace(300, 0), 0)
    expect(reserve(slow, 999).pace.ratePerSec).toBe(150)
    expect(reserve(slow, 1_000).pace.ratePerSec).toBe(160)
    expect(reserve(slow, 15_000).pace.ratePerSec).toBe(300)
    expect(reserve(slow, 3_600_000).pace.ratePerSec).toBe(300)
  })

  test("jitter lies anywhere below a bound that doubles and ends at five seconds", () => {
    expect([jitterMs(0, 3), jitterMs(0.5, 0), jitterMs(0.5, 1), jitterMs(0.5, 20)]).toEqual([0, 50, 100, 2_500])
  })
})

const KEY: KeyReference = { keyId: "key", scheme: "ecdsa-p256-sha256", spki: new Uint8Array() }

/** Paced keys whose waits move the clock, over a key service that throttles as told. */
function paced(
  throttles: (call: number) => boolean,
  code: "SIGNER_UNAVAILABLE" | "KEY_NOT_USABLE" = "SIGNER_UNAVAILABLE",
) {
  const state = { now: 0, calls: 0 }
  const keys = pacedKeys(
    {
      keys: {
        sign: async () => {
          state.calls += 1
          if (throttles(state.calls)) throw new ServiceError(code, "throttled")
          return new Uint8Array([1])
        },
      },
      clock: () => new Date(state.now),
      random: (length) => new Uint8Array(length).fill(128),
      pause: async (milliseconds) => {
        state.now += milliseconds
      },
    },
    100,
  )
  return { state, sign: () => keys.sign(KEY, new Uint8Array()) }
}

describe("keys under a pace", () => {
  test("a throttled operation is repeated until it succeeds", async () => {
    const { state, sign } = paced((call) => call <= 3)
    expect(await sign()).toEqual(new Uint8Array([1]))
    expect(state.calls).toBe(4)
    expect(state.now).toBeGreaterThan(350)
  })

  test("six tries, then its caller hears of it", async () => {
    const { state, sign } = paced(() => true)
    await expect(sign()).rejects.toThrow(expect.objectContaining({ code: "SIGNER_UNAVAILABLE" }))
    expect(state.calls).toBe(6)
  })

  test("when all fail, repeats end with their budget: then each operation is tried once", async () => {
    const { state, sign } = paced(() => true)
    for (let i = 0; i < 50; i++) await sign().catch(() => undefined)
    expect(state.calls).toBe(50 + 100)
  })

  test("what a repeat can't mend is not repeated", async () => {
    const { state, sign } = paced(() => true, "KEY_NOT_USABLE")
    await expect(sign()).rejects.toThrow(expect.objectContaining({ code: "KEY_NOT_USABLE" }))
    expect(state.calls).toBe(1)
  })
})
