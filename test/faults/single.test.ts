import { isServiceError } from "@sealwright/core/errors"
import { beforeAll, describe, expect, test } from "vitest"
import { type Around, unavailable } from "../support/fakes-faults.ts"
import { randomFrom } from "../support/fakes-schedule.ts"
import { signRequest } from "../support/service.ts"
import { ACTS, type Act, signing } from "./acts.ts"
import { preparedItems, World } from "./world.ts"

const FAULTS = ["fails-before", "fails-after", "crash-before", "crash-after"] as const
type Fault = (typeof FAULTS)[number]
/** Each call in one of two ways, by turns: failing with its effect, or dying without it. In all four with SLOW=1, as .ci/run does. */
const ASKED = process.env.SLOW ? FAULTS : (["fails-after", "crash-before"] as const)
const isAsked = (fault: Fault, at: number) => process.env.SLOW !== undefined || ASKED[at % ASKED.length] === fault
const RETRIES = 3

/** One call of an act, as it is when nothing fails. */
interface Site {
  readonly name: string
  /** what the call finds: see `World.course` */
  readonly course: string
}

/** How a process ended. */
interface End {
  /** where its stores stand; undefined when it changed something after the fault, so that no other end is like it */
  readonly course: string | undefined
  /** calls that it made after the fault: what it did at once, besides the call that failed, may go on */
  calls(): number
}

const calm: Around = (_, apply) => apply()
const quiet = () => new Promise<void>((resolve) => process.nextTick(resolve))
const prepared = preparedItems()

/**
 * A new process knows nothing but the stores. The course of an act is one, up to its fault; so of all faults that end a process with the stores at
 * one point, what comes after is run for the first: of the calls that fail between two writes, it is the same.
 */
describe.each(Object.entries(ACTS))("every single fault: %s", (name, act) => {
  let sites: readonly Site[]
  const recovered = new Set<string>()

  /** A deployment with an open lease and one signature; empty for the act that sets up. */
  async function openWorld(): Promise<World> {
    const world = new World(randomFrom(7), name === "set up" ? [] : await prepared)
    if (name !== "set up")
      await signing(signRequest(["before"], { idempotencyKey: "before" }))(world.portsOf(calm, "before"), world)
    return world
  }

  beforeAll(async () => {
    const world = await openWorld()
    const seen: Site[] = []
    const recording: Around = (call, apply) => {
      seen.push({ name: call.name, course: world.course() })
      return apply()
    }
    await act(world.portsOf(recording, "recorded"), world)
    sites = seen
  })

  /** @returns whether a new process had to go on from there */
  async function failAt(at: number, fault: Fault): Promise<boolean> {
    if (fault === "crash-before" && recovered.has(sites[at]?.course ?? "")) return false
    let world = await openWorld()
    let end = await doWithFault(world, act, at, fault)
    if (end.course !== undefined && recovered.has(end.course)) {
      await quiet()
      if (end.calls() === 0) {
        expect(world.violations, `${fault} at call ${at}: ${sites[at]?.name}`).toEqual([])
        return false
      }
      world = await openWorld()
      end = await doWithFault(world, act, at, fault)
    }
    await again(world, act)
    await world.settle()
    expect(world.violations, `${fault} at call ${at}: ${sites[at]?.name}`).toEqual([])
    if (end.course !== undefined && end.calls() === 0) recovered.add(end.course)
    return true
  }

  test.each(ASKED)("%s", { timeout: 120_000 }, async (fault) => {
    expect(sites.length).toBeGreaterThan(0)
    let recoveries = 0
    for (const at of sites.keys()) if (isAsked(fault, at) && (await failAt(at, fault))) recoveries++
    process.stdout.write(`${name}, ${fault}: ${sites.length} call sites, ${recoveries} recoveries\n`)
    expect(recovered.size).toBeGreaterThan(0)
  })
})

/** Runs the act up to its end, its failure, or the crash of its process at the call. */
async function doWithFault(world: World, act: Act, at: number, fault: Fault): Promise<End> {
  let count = 0
  let left = ""
  const crashed = () => count > at && fault.startsWith("crash")
  await new Promise<void>((resolve) => {
    const around: Around = async (call, apply) => {
      if (crashed()) return new Promise(() => undefined)
      if (count++ !== at) return apply()
      if (fault.endsWith("after")) await apply()
      left = world.course()
      if (fault.startsWith("fails")) throw unavailable(call)
      resolve()
      return new Promise(() => undefined)
    }
    act(world.portsOf(around, "first"), world).then(resolve, (error: unknown) => {
      if (!isServiceError(error, "STORE_UNAVAILABLE", "SIGNER_UNAVAILABLE")) world.fail(`first: ${String(error)}`)
      resolve()
    })
  })
  if (left === "") world.fail("the call was never made")
  return { course: world.course() === left ? left : undefined, calls: () => count - at - 1 }
}

/** The same act by a new process, without faults: it must come to its end. */
async function again(world: World, act: Act): Promise<void> {
  for (let retry = 1; ; retry++) {
    try {
      return await act(world.portsOf(calm, "again"), world)
    } catch (error) {
      if (retry < RETRIES && isServiceError(error, "EPOCH_CONFLICT")) continue
      return world.fail(`again: ${error instanceof Error ? error.stack : String(error)}`)
    }
  }
}
