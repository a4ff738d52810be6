import { setImmediate as macrotask } from "node:timers/promises"
import { expect } from "vitest"
import { runSeed } from "./scenario.ts"
import { preparedItems } from "./world.ts"

const ALL = Number(process.env.SEALWRIGHT_SCHEDULES ?? 3000)

/**
 * Runs one half of the seeds, so that two workers share them. Every seed is a schedule of its own, and a failure names it.
 * @param half 0 or 1
 */
export async function runSchedules(half: 0 | 1): Promise<void> {
  const prepared = await preparedItems()
  const totals = { schedules: 0, calls: 0, released: 0, editions: 0 }
  for (let seed = 1 + half; seed <= ALL; seed += 2) {
    const outcome = await runSeed(seed, prepared)
    // The worker answers its parent between schedules.
    await macrotask()
    expect(outcome.violations, `seed ${seed}`).toEqual([])
    totals.schedules++
    totals.calls += outcome.steps
    totals.released += outcome.released
    totals.editions += outcome.editions
  }
  process.stdout.write(`schedules: ${JSON.stringify(totals)}\n`)
  expect(totals.released).toBeGreaterThan(totals.schedules)
  expect(totals.editions).toBeGreaterThan(totals.schedules)
}
