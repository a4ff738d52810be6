import { publish } from "@sealwright/core/publish/flow"
import { revoke } from "@sealwright/core/revoke/flow"
import { targetName } from "@sealwright/core/revoke/rules"
import { expect, test } from "vitest"
import { randomFrom } from "../support/fakes-schedule.ts"
import { ADMIN, digestOf } from "../support/service.ts"
import { HEAD_WITHOUT_SWAP, MUTANTS, NOTE_WITHOUT_EPOCH } from "./mutants.ts"
import { type Mutant, runSeed } from "./scenario.ts"
import { preparedItems, World } from "./world.ts"

/** A harness that lets a wrong order pass proves nothing: each must be noticed within these seeds. */
const SEEDS = 1000

test.each(Object.entries(MUTANTS))("is noticed: %s", { timeout: 240_000 }, async (name, mutant) => {
  const prepared = await preparedItems()
  const { firstSeed = 1 } = mutant
  for (let seed = firstSeed; seed < firstSeed + SEEDS; seed++) {
    const { violations } = await runSeed(seed, prepared, { mutant })
    if (violations.length === 0) continue
    process.stdout.write(`${name}: seed ${seed}: ${violations[0]?.slice(0, 160)}\n`)
    return
  }
  expect.fail(`${SEEDS} seeds passed`)
})

/** A publisher that sleeps before it moves the head, while another one publishes an epoch more. */
async function sleepBeforeTheHead(mutant?: Mutant): Promise<readonly string[]> {
  const world = new World(randomFrom(1), await preparedItems())
  if (mutant?.ports !== undefined) world.mutate = mutant.ports(world)
  const awake = world.portsOf((_, apply) => apply(), "publisher-2")
  let slept = false
  const sleeper = world.portsOf(async (call, apply) => {
    if (!slept && call.name === "replace tuf/timestamp.json") {
      slept = true
      world.pass(1)
      await publish(awake, true)
    }
    return await apply()
  }, "publisher-1")
  await publish(sleeper, true)
  expect(slept).toBe(true)
  await world.settle()
  return world.violations
}

test("is noticed: a head moves without compare-and-swap", async () => {
  expect(await sleepBeforeTheHead()).toEqual([])
  expect(await sleepBeforeTheHead(HEAD_WITHOUT_SWAP)).not.toEqual([])
})

/** A revoker that sleeps after it has read which epoch is open, while a publisher shows that epoch. */
async function sleepBeforeTheNote(mutant?: Mutant): Promise<readonly string[]> {
  const world = new World(randomFrom(1), await preparedItems())
  if (mutant?.ports !== undefined) world.mutate = mutant.ports(world)
  const awake = world.portsOf((_, apply) => apply(), "publisher-1")
  let slept = false
  const sleeper = world.portsOf(async (call, apply) => {
    const read = await apply()
    if (!slept && call.name === "get publication") {
      slept = true
      world.pass(1)
      await publish(awake, true)
    }
    return read
  }, "revoker")
  const target = { kind: "artifact", digest: digestOf("late") } as const
  const request = { target, reason: "keyCompromise", comment: "", effectiveAt: undefined, ...ADMIN } as const
  const { revocation } = await revoke(sleeper, request)
  world.promised.push({ name: targetName(revocation.target), epoch: revocation.epoch })
  expect(slept).toBe(true)
  await world.settle()
  return world.violations
}

test("is noticed: a revocation is not tied to the open epoch", async () => {
  expect(await sleepBeforeTheNote()).toEqual([])
  expect(await sleepBeforeTheNote(NOTE_WITHOUT_EPOCH)).not.toEqual([])
})
