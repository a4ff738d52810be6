import { expect, test } from "vitest"
import { realCrypto } from "../support/fakes-crypto.ts"
import { runSeed } from "./scenario.ts"
import { preparedItems } from "./world.ts"

const SEEDS = Number(process.env.SEALWRIGHT_REAL_SCHEDULES ?? 30)

test("the promises hold with real keys and signatures", { timeout: 3_600_000 }, async () => {
  const crypto = realCrypto()
  const prepared = await preparedItems(crypto)
  let released = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    const outcome = await runSeed(seed, prepared, { crypto })
    expect(outcome.violations, `seed ${seed}`).toEqual([])
    released += outcome.released
  }
  process.stdout.write(`schedules with real crypto: ${SEEDS}, ${released} signatures\n`)
  expect(released).toBeGreaterThan(SEEDS)
})
