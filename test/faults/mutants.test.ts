import { expect, test } from "vitest"
import { MUTANTS } from "./mutants.ts"
import { runSeed } from "./scenario.ts"
import { preparedItems } from "./world.ts"

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
