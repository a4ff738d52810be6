import { expect, test } from "vitest"
import { LOG_MUTANTS } from "./log-mutants.ts"
import { prepareLogs, runLogSeed } from "./log-scenario.ts"

const SEEDS = Number(process.env.SEALWRIGHT_LOG_SCHEDULES ?? 600)

test(`a log stays one log in ${SEEDS} schedules of four sequencers (R30)`, { timeout: 3_600_000 }, async () => {
  const prepared = await prepareLogs()
  const totals = { calls: 0, logged: 0, replaced: 0 }
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violations, steps, logged, replaced } = await runLogSeed(seed, prepared)
    expect(violations, `seed ${seed}`).toEqual([])
    totals.calls += steps
    totals.logged += logged
    totals.replaced += replaced
  }
  process.stdout.write(`log schedules: ${SEEDS}, ${JSON.stringify(totals)}\n`)
  expect(totals.logged).toBeGreaterThan(10 * SEEDS)
  expect(totals.replaced).toBeGreaterThan(SEEDS / 10)
})

/** Seeds that noticed a mutant which few do: looked at first, so that it takes no hundred others. */
const TELLING: Readonly<Record<string, number>> = {
  "a round of witnesses is stored over another": 91,
  "a checkpoint is put without its condition": 86,
}

/** A harness that lets a wrong order pass proves nothing: each must be noticed within the seeds. */
test.each(Object.entries(LOG_MUTANTS))("is noticed: %s", { timeout: 240_000 }, async (name, mutant) => {
  const prepared = await prepareLogs()
  for (let i = 0; i < SEEDS; i++) {
    const seed = (((TELLING[name] ?? 1) - 1 + i) % SEEDS) + 1
    const { violations } = await runLogSeed(seed, prepared, { mutant: mutant() })
    if (violations.length === 0) continue
    process.stdout.write(`${name}: seed ${seed}: ${violations[0]?.slice(0, 160)}\n`)
    return
  }
  expect.fail(`${SEEDS} seeds passed`)
})
