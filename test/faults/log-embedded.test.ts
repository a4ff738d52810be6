import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { AwsError } from "../../localstack/http/aws-error.ts"
import type { ServiceCall } from "../../localstack/http/faults.ts"
import { type Endpoint, embeddedDynamoDb, embeddedS3 } from "../contracts/embedded.ts"
import { objectsAt, tableAt } from "../contracts/endpoints.ts"
import { randomFrom } from "../support/fakes-schedule.ts"
import { LOG_MUTANTS } from "./log-mutants.ts"
import { type LogOptions, type Prepared, prepareLogs, runLogSeed } from "./log-scenario.ts"

const SEEDS = Number(process.env.SEALWRIGHT_LOG_EMBEDDED ?? 4)

/** What S3 answers under load and in races, and cut connections; each before or after the call took effect. */
const TROUBLES = [
  () => new AwsError("ConditionalRequestConflict", "another request", 409),
  () => new AwsError("SlowDown", "reduce your request rate", 503),
  () => new AwsError("InternalError", "internal", 500),
  () => Object.assign(new Error("cut"), { code: "ECONNRESET" }),
]

describe("a log over stores that speak AWS's protocols (R30)", () => {
  const draw = randomFrom(99)
  let troubled = 0
  const hook = ({ operation, phase }: ServiceCall) => {
    if (troubled >= 0 && !/^(?:Put|Get)Object$|^TransactWriteItems$|^GetItem$/.test(operation)) return
    if (troubled < 0 || draw() > 0.03) return
    const trouble = TROUBLES[Math.floor(draw() * TROUBLES.length)]?.()
    // A 409 says that nothing was written.
    if (phase === "after" && trouble instanceof AwsError && trouble.status === 409) return
    if (trouble instanceof AwsError && trouble.status === 409 && operation !== "PutObject") return
    troubled++
    throw trouble
  }
  let endpoints: readonly Endpoint[]
  let prepared: Prepared

  beforeAll(async () => {
    // Pauses before another try are drawn with it; the order of things is the seed's.
    const draw = Math.random
    vi.spyOn(Math, "random").mockImplementation(() => draw() / 100)
    prepared = await prepareLogs()
    endpoints = [await embeddedDynamoDb(hook), await embeddedS3(hook)]
  })
  afterAll(async () => {
    vi.restoreAllMocks()
    for (const endpoint of endpoints) await endpoint.close()
  })

  async function run(seed: number, options: LogOptions = {}) {
    const quiet = troubled
    troubled = -1
    const [dynamodb, s3] = endpoints as [Endpoint, Endpoint]
    const stores = { table: await tableAt(dynamodb.url), objects: await objectsAt(s3.url) }
    await stores.table.transact(prepared.items.map((put) => ({ put })))
    troubled = Math.max(0, quiet)
    return await runLogSeed(seed, prepared, { ...options, stores })
  }

  test(`stays one log in ${SEEDS} schedules, with S3's 409, 500 and 503 and cut connections`, {
    timeout: 600_000,
  }, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { violations } = await run(seed)
      expect(violations, `seed ${seed}`).toEqual([])
    }
    process.stdout.write(`log over embedded stores: ${SEEDS} seeds, ${troubled} troubles\n`)
    expect(troubled).toBeGreaterThan(SEEDS)
  })

  test("a head that is signed before it is decided is noticed here too", { timeout: 600_000 }, async () => {
    const mutant = LOG_MUTANTS["a head is signed before it is decided"]
    for (let seed = 1; seed <= 20; seed++)
      if ((await run(seed, { mutant: (mutant as NonNullable<typeof mutant>)() })).violations.length > 0) return
    expect.fail("20 seeds passed")
  })
})
