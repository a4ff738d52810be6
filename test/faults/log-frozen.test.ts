import { createMemoryObjects } from "@sealwright/adapters/memory-objects"
import { createMemoryTable } from "@sealwright/adapters/memory-table"
import { describe, expect, test } from "vitest"
import { type Around, unavailable } from "../support/fakes-faults.ts"
import { randomFrom } from "../support/fakes-schedule.ts"
import { prepareLogs } from "./log-scenario.ts"
import { LogWorld } from "./log-world.ts"

const LIMITS = { entries: 3, bytes: 2 ** 20 }
const HOUR = 3600
const calm: Around = (_, apply) => apply()

/** A log with five entries waiting, and how many calls one invocation makes. */
async function waitingWorld() {
  const { items } = await prepareLogs()
  const world = new LogWorld(randomFrom(3), "events", {
    table: createMemoryTable(items),
    objects: createMemoryObjects(),
  })
  for (let i = 0; i < 5; i++) await world.submit(world.portsOf(calm, "feeder"), `event-${i}`)
  return world
}

async function callsOf(): Promise<string[]> {
  const world = await waitingWorld()
  const calls: string[] = []
  await world.run(
    world.portsOf((call, apply) => {
      calls.push(call.name)
      return apply()
    }, "sequencer"),
    LIMITS,
  )
  return calls
}

describe("a sequencer that stands still (R30)", () => {
  test.each(["before", "after"])(
    "for hours %s any of its calls changes nothing when it wakes",
    { timeout: 60_000 },
    async (when) => {
      const calls = await callsOf()
      expect(calls.length).toBeGreaterThan(15)
      for (const at of calls.keys()) {
        const world = await waitingWorld()
        const awake = world.portsOf(calm, "sequencer-2")
        const sleep = async () => {
          for (let hour = 0; hour < 5; hour++) {
            world.pass(HOUR)
            await world.submit(awake, `hour-${hour}`)
            await world.run(awake, LIMITS)
          }
        }
        let count = 0
        const sleeper = world.portsOf(async (_, apply) => {
          const mine = count++ === at
          if (mine && when === "before") await sleep()
          const answer = await apply()
          if (mine && when === "after") await sleep()
          return answer
        }, "sequencer-1")
        await world.run(sleeper, LIMITS)
        await world.settle(LIMITS)
        expect(world.violations, `asleep ${when} call ${at}: ${calls[at]}`).toEqual([])
      }
    },
  )

  test("a wake-up that comes twice, or at once with another, logs nothing twice", async () => {
    const world = await waitingWorld()
    const ports = world.portsOf(calm, "sequencer")
    await Promise.all([1, 2, 3, 4].map(() => world.run(ports, LIMITS)))
    await world.run(ports, LIMITS)
    await world.settle(LIMITS)
    expect(world.violations).toEqual([])
  })

  test("a throttled key leaves the log where it was, and the next wake-up ends the work", async () => {
    const world = await waitingWorld()
    const throttled = world.portsOf(async (call, apply) => {
      if (call.port === "keys") throw unavailable(call)
      return await apply()
    }, "sequencer")
    for (let i = 0; i < 3; i++) expect(await world.run(throttled, LIMITS)).toBeUndefined()
    expect(world.shown).toBe(0n)
    await world.settle(LIMITS)
    expect(world.violations).toEqual([])
    expect(world.shown).toBe(5n)
  })
})
