import { resumeProfile, suspendProfile } from "@sealwright/core/admin/profiles"
import { isServiceError } from "@sealwright/core/errors"
import { acceptJob, cancelJob } from "@sealwright/core/jobs/accept"
import { jobResults } from "@sealwright/core/jobs/read"
import { SLOT_SEC } from "@sealwright/core/jobs/slot"
import { workJobs } from "@sealwright/core/jobs/work"
import { jobsOfProfile, openJobs } from "@sealwright/core/ledger/jobs"
import type { Item } from "@sealwright/core/ports"
import { expect, test } from "vitest"
import { randomFrom, runSchedule } from "../support/fakes-schedule.ts"
import { ADMIN, digestOf, PIPELINE, signRequest } from "../support/service.ts"
import { type Ports, preparedItems, World } from "./world.ts"

/**
 * Two workers, a client that retries, and an admin on the same jobs, in an order and with faults and crashes that the seed decides. Time jumps,
 * so that one worker is taken for dead and goes on all the same. In the end every job's account must hold, with each settled outcome as it was told.
 */

const SEEDS = 120
const WEATHER = [
  "STORE_UNAVAILABLE",
  "SIGNER_UNAVAILABLE",
  "CONTENTION",
  "PROFILE_CHANGED",
  "PROFILE_SUSPENDED",
  "JOB_FINISHED",
] as const
/** The large one has two chunks in every other seed, and in all of them with SLOW=1; else one chunk of two transactions. */
const JOBS = { large: 85, small: 3, one: 1 }
const ONE_CHUNK = { ...JOBS, large: 24 }
const jobsOf = (seed: number) => (process.env.SLOW !== undefined || seed % 2 === 0 ? JOBS : ONE_CHUNK)

interface Outcome {
  readonly problems: readonly string[]
  /** claims of the workers' place: more than there are workers mean that one lost it */
  readonly claims: number
}

async function runSeed(seed: number, prepared: readonly Item[]): Promise<Outcome> {
  const random = randomFrom(seed)
  const world = new World(random, prepared)
  const jobs = jobsOf(seed)
  const told = new Map<string, string>()

  async function tried(ports: Ports, act: () => Promise<unknown>): Promise<void> {
    for (let attempt = 0; attempt < 4; attempt++) {
      try {
        await act()
        return
      } catch (error) {
        if (!isServiceError(error, ...WEATHER)) return world.fail(error instanceof Error ? `${error.stack}` : "unknown")
        await ports.table.get({ pk: "publication", sk: "head" }).catch(() => undefined)
      }
    }
  }

  /** What a client was told of a subject never changes. */
  async function look(ports: Ports): Promise<void> {
    const standing = await jobsOfProfile(ports.table, "release", { limit: 10, descending: false })
    for (const job of standing.jobs)
      for (const result of (await jobResults(ports.table, job, 0, 1000)).results) {
        if ("pending" in result) continue
        const name = `${job.id} ${result.digest}`
        const now = JSON.stringify(result)
        if ((told.get(name) ?? now) !== now) world.fail(`told ${told.get(name)}, then ${now}`)
        told.set(name, now)
      }
  }

  const ask = (ports: Ports, name: keyof typeof JOBS) =>
    acceptJob(ports, {
      ...signRequest(Array.from({ length: jobs[name] }, (_, i) => `${name}-${i}`)),
      idempotencyKey: name,
      requestDigest: digestOf(name).slice(7),
    })

  const worker = (name: string) => ({
    name,
    life: async (around: Parameters<World["portsOf"]>[0]) => {
      const ports = { ...world.portsOf(around, name), pause: async () => undefined }
      for (let run = 0; run < 3; run++)
        await tried(ports, async () => {
          const { unexpected } = await workJobs(ports, { lanes: 2, until: new Date(world.now.getTime() + 600_000) })
          for (const error of unexpected) world.fail(`${name}: ${error.stack}`)
        })
    },
  })

  const { errors } = await runSchedule({
    random,
    faultShare: 0.02,
    crashShare: 0.005,
    maxSteps: 1500,
    actors: [
      {
        name: "client",
        life: async (around) => {
          const ports = world.portsOf(around, "client")
          for (const name of ["large", "small", "one"] as const) await tried(ports, () => ask(ports, name))
          await tried(ports, async () => {
            const [job] = (await jobsOfProfile(ports.table, "release", { limit: 1, descending: random() < 0.5 })).jobs
            const request = { profile: "release", id: job?.id ?? "", principal: PIPELINE, requestId: "cancel" }
            if (job !== undefined && random() < 0.5) await cancelJob(ports, request)
          })
          await tried(ports, () => look(ports))
        },
      },
      {
        name: "admin",
        life: async (around) => {
          const ports = world.portsOf(around, "admin")
          if (random() < 0.6) return
          await tried(ports, () => suspendProfile(ports, "release", ADMIN))
          await tried(ports, () => resumeProfile(ports, "release", ADMIN))
        },
      },
      worker("worker-1"),
      worker("worker-2"),
    ],
    onStep: () => {
      if (random() < 0.02) world.pass(Math.floor(random() * 90))
    },
  })
  for (const error of errors) world.fail(`an actor ended with ${String(error)}`)

  const calm = { ...world.portsOf((_, apply) => apply(), "calm"), pause: async () => undefined }
  await resumeProfile(calm, "release", ADMIN).catch(() => undefined)
  for (const name of ["large", "small", "one"] as const) await ask(calm, name)
  world.pass(SLOT_SEC)
  await workJobs(calm, { lanes: 2, until: new Date(world.now.getTime() + 600_000) })
  if ((await openJobs(calm.table)).length > 0) world.fail("I8: a job is unfinished after the faults")
  await look(calm)
  await world.settle()
  const slot = await world.table.get({ pk: "batch-worker", sk: "slot" })
  return { problems: world.violations, claims: Number(slot?.claim) }
}

test(`two workers on the same jobs, ${SEEDS} schedules (R15)`, { timeout: 240_000 }, async () => {
  const prepared = await preparedItems()
  let claims = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    const outcome = await runSeed(seed, prepared)
    expect(outcome.problems, `seed ${seed}`).toEqual([])
    claims += outcome.claims
  }
  process.stdout.write(`jobs: ${SEEDS} schedules, ${claims} claims of the place\n`)
  expect(claims).toBeGreaterThan(2 * SEEDS)
})
