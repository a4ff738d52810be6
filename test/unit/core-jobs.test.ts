import { resumeProfile, suspendProfile } from "@sealwright/core/admin/profiles"
import { ServiceError } from "@sealwright/core/errors"
import { acceptJob, cancelJob } from "@sealwright/core/jobs/accept"
import { jobResults, readJob } from "@sealwright/core/jobs/read"
import { JOB_DEADLINE_SEC, type Job, jobProgress, jobState, MAX_OPEN_JOBS } from "@sealwright/core/jobs/rules"
import { claimSlot, SLOT_SEC } from "@sealwright/core/jobs/slot"
import { workJobs } from "@sealwright/core/jobs/work"
import { openJobs } from "@sealwright/core/ledger/jobs"
import { findRecord } from "@sealwright/core/ledger/records"
import { padNumber } from "@sealwright/core/names"
import type { SigningKeys } from "@sealwright/core/ports"
import { describe, expect, test } from "vitest"
import { ADMIN, createService, digestOf, PIPELINE, signRequest } from "../support/service.ts"
import { auditOf, expectSound, withCode } from "./core-published.ts"

type Wrap = Parameters<typeof createService>[0]

async function ready(wrap: Wrap = {}) {
  const service = createService(wrap)
  await service.setUp()
  await service.profile("release")
  const ports = { ...service.ports, pause: async () => undefined }
  const accept = (seeds: readonly string[], key = "key", more = {}) =>
    acceptJob(ports, { ...signRequest(seeds, more), idempotencyKey: key })
  const work = (lanes = 2) => workJobs(ports, { lanes, until: new Date(ports.clock().getTime() + 600_000) })
  const resultsOf = async (id: string) => {
    const job = await readJob(ports.table, "release", id)
    return (await jobResults(ports.table, job, 0, 100_000)).results
  }
  const job = (id: string) => readJob(ports.table, "release", id)
  return { service, ports, accept, work, resultsOf, job }
}

const seeds = (count: number, prefix = "s") => Array.from({ length: count }, (_, i) => `${prefix}${i}`)

const codes = (results: readonly object[]) => [
  ...new Set(results.map((one) => ("code" in one ? one.code : "signature" in one ? "signed" : "pending"))),
]

/** Runs something before a call to the key service. */
function keysBefore(act: (call: number) => Promise<void>) {
  let calls = 0
  return (inner: SigningKeys): SigningKeys => ({
    sign: async (key, message) => {
      await act(++calls)
      return await inner.sign(key, message)
    },
  })
}

describe("a job (R11, R15)", () => {
  test("is accepted at once, signed later, and tells each subject's signature in the request's order", async () => {
    const { service, ports, accept, work, resultsOf, job } = await ready()
    const accepted = await accept(seeds(170))
    expect(accepted.replayed).toBe(false)
    expect(jobState(accepted.job)).toBe("accepted")
    expect(codes(await resultsOf(accepted.job.id))).toEqual(["pending"])
    service.pass(2)
    expect(await work()).toMatchObject({ idle: false, signed: 170, refused: 0, failures: 0 })
    const done = await job(accepted.job.id)
    expect(done).toMatchObject({ total: 170, signed: 170, refused: 0, settled: 3, chunks: 3 })
    expect(jobState(done)).toBe("done")
    const results = await resultsOf(done.id)
    expect(results.map(({ digest }) => digest)).toEqual(seeds(170).map(digestOf))
    for (const result of results) {
      const record = "signature" in result ? await findRecord(ports.table, result.signature) : undefined
      expect(record).toMatchObject({ principal: PIPELINE, profile: "release", subject: { digest: result.digest } })
    }
    expect(await openJobs(ports.table)).toEqual([])
    expect(expectSound(service)).toBe(170)
  })

  test("one of a single subject, and two jobs that take turns", async () => {
    const { service, accept, work, job } = await ready()
    const one = await accept(["one"], "a")
    const two = await accept(seeds(161), "b")
    await work(1)
    expect([await job(one.job.id), await job(two.job.id)].map(jobState)).toEqual(["done", "done"])
    expect(expectSound(service)).toBe(162)
  })

  test("pages of results meet without gap or overlap", async () => {
    const { ports, accept, work, job } = await ready()
    const { id } = (await accept(seeds(170))).job
    await work()
    const done = await job(id)
    const found: string[] = []
    for (let from: number | undefined = 0; from !== undefined; ) {
      const page = await jobResults(ports.table, done, from, 33)
      found.push(...page.results.map(({ digest }) => digest))
      from = page.next
    }
    expect(found).toEqual(seeds(170).map(digestOf))
    expect(await jobResults(ports.table, done, 170, 10)).toEqual({ results: [], next: undefined })
    expect(await jobResults(ports.table, done, 9_999, 10)).toEqual({ results: [], next: undefined })
  })

  test("the same key and request is the same job, another request under the key is refused", async () => {
    const { service, accept, work, job } = await ready()
    const first = await accept(seeds(3))
    expect(await accept(seeds(3))).toEqual({ job: first.job, replayed: true })
    await expect(accept(seeds(4))).rejects.toThrow(withCode("IDEMPOTENCY_CONFLICT"))
    await work()
    expect((await accept(seeds(3))).job).toEqual(await job(first.job.id))
    expect(expectSound(service)).toBe(3)
  })

  test("a key of a job is no key of a request that is answered at once, nor the reverse", async () => {
    const { service, accept } = await ready()
    await accept(seeds(2), "job", { requestDigest: "a".repeat(64) })
    const sign = service.signer()
    await expect(sign(signRequest(seeds(2), { idempotencyKey: "job" }))).rejects.toThrow(
      withCode("IDEMPOTENCY_CONFLICT"),
    )
    await expect(sign(signRequest(["s0"], { idempotencyKey: "job" }))).rejects.toThrow(withCode("IDEMPOTENCY_CONFLICT"))
    await sign(signRequest(["s0"], { idempotencyKey: "now" }))
    await expect(accept(["s0"], "now", { requestDigest: "b".repeat(64) })).rejects.toThrow(
      withCode("IDEMPOTENCY_CONFLICT"),
    )
  })
})

describe("what is not accepted", () => {
  test.each([
    ["SUBJECT_REPEATED", (accept: Accept) => accept(["a", "a"])],
    ["REQUEST_TOO_LARGE", (accept: Accept) => accept(seeds(10_001))],
    ["CALLER_NOT_LISTED", (accept: Accept) => accept(["a"], "k", { principal: `${PIPELINE}-other` })],
    ["PROFILE_UNKNOWN", (accept: Accept) => accept(["a"], "k", { profile: "unknown" })],
    ["EXPIRY_INVALID", (accept: Accept) => accept(["a"], "k", { expiresAt: new Date("2020-01-01T00:00:00Z") })],
    [
      "REFERENCE_INVALID",
      (accept: Accept) => {
        const [subject] = signRequest(["a"]).subjects
        const reference = `registry.wabbit-networks.io/net-monitor@${digestOf("other")}`
        return accept(["a"], "k", { subjects: [{ ...subject, reference }] })
      },
    ],
  ] as const)("%s", async (code, act) => {
    const { service, accept, ports } = await ready()
    await expect(act(accept)).rejects.toThrow(withCode(code))
    expect(await openJobs(ports.table)).toEqual([])
    expect(expectSound(service)).toBe(0)
  })

  test("PROFILE_SUSPENDED, but who asks again for a job that was accepted gets it", async () => {
    const { ports, accept } = await ready()
    const { job } = await accept(["a"], "early")
    await suspendProfile(ports, "release", ADMIN)
    await expect(accept(["b"], "late")).rejects.toThrow(withCode("PROFILE_SUSPENDED"))
    expect((await accept(["a"], "early")).job.id).toBe(job.id)
  })

  test("JOBS_CROWDED: more unfinished jobs than a profile may have", async () => {
    const { accept, work } = await ready()
    for (let i = 0; i < MAX_OPEN_JOBS; i++) await accept([`s${i}`], `k${i}`)
    await expect(accept(["more"], "more")).rejects.toThrow(withCode("JOBS_CROWDED"))
    await work()
    expect((await accept(["more"], "more")).replayed).toBe(false)
  })
})

type Accept = Awaited<ReturnType<typeof ready>>["accept"]

describe("policy binds when a chunk is signed (D3)", () => {
  test("a suspended profile refuses the rest with its code, and a resumed one does not sign it (R12)", async () => {
    const wrapped: { act: (call: number) => Promise<void> } = { act: async () => undefined }
    const { service, ports, accept, work, resultsOf, job } = await ready({
      keys: keysBefore((call) => wrapped.act(call)),
    })
    const { id } = (await accept(seeds(200))).job
    let count = 0
    wrapped.act = async () => {
      if (++count === 110) await suspendProfile(ports, "release", ADMIN)
    }
    await work(1)
    const results = await resultsOf(id)
    expect(codes(results.slice(0, 80))).toEqual(["signed"])
    expect(codes(results.slice(80))).toEqual(["signed", "PROFILE_SUSPENDED"])
    expect(codes(results.slice(120))).toEqual(["PROFILE_SUSPENDED"])
    const done = await job(id)
    expect(done).toMatchObject({ stop: "PROFILE_SUSPENDED", signed: 100, refused: 100 })
    expect(jobState(done)).toBe("done")
    await resumeProfile(ports, "release", ADMIN)
    await work(1)
    expect((await resultsOf(id)).filter((one) => "signature" in one)).toHaveLength(100)
    expect(auditOf(service).filter(({ code }) => code === "PROFILE_SUSPENDED")).toHaveLength(100)
    expect(expectSound(service)).toBe(100)
  })

  test("denied digests and repositories out of scope are refused one by one, with an entry each (R9, R12)", async () => {
    const { service, accept, work, resultsOf, job } = await ready()
    await service.revoke({ kind: "artifact", digest: digestOf("denied") })
    const request = signRequest(["a", "denied", "outside", "b"])
    const subjects = request.subjects.map((one) =>
      one.digest === digestOf("outside") ? { ...one, reference: "registry.wabbit-networks.io/other:v1" } : one,
    )
    const { id } = (await accept([], "k", { subjects })).job
    await work()
    expect((await resultsOf(id)).map((one) => ("code" in one ? one.code : "signed"))).toEqual([
      "signed",
      "DIGEST_DENIED",
      "REPOSITORY_OUT_OF_SCOPE",
      "signed",
    ])
    expect(await job(id)).toMatchObject({ signed: 2, refused: 2, stop: undefined })
    const refusals = auditOf(service).filter(({ outcome }) => outcome === "refused")
    expect(refusals.map(({ code, principal }) => [code, principal]).sort()).toEqual([
      ["DIGEST_DENIED", PIPELINE],
      ["REPOSITORY_OUT_OF_SCOPE", PIPELINE],
    ])
    expect(expectSound(service)).toBe(2)
  })

  test("JOB_OVERDUE: what is not signed within seven days is not signed", async () => {
    const { service, accept, work, resultsOf } = await ready()
    const { id } = (await accept(["a", "b"])).job
    service.pass(JOB_DEADLINE_SEC)
    await work()
    expect(codes(await resultsOf(id))).toEqual(["JOB_OVERDUE"])
    expect(expectSound(service)).toBe(0)
  })
})

describe("cancelling", () => {
  const cancel = (ports: Parameters<typeof cancelJob>[0], id: string, principal = PIPELINE) =>
    cancelJob(ports, { profile: "release", id, principal, requestId: "cancel" })

  test("what is recorded stays, the rest is not signed", async () => {
    const wrapped: { act: (call: number) => Promise<void> } = { act: async () => undefined }
    const { service, ports, accept, work, resultsOf, job } = await ready({
      keys: keysBefore((call) => wrapped.act(call)),
    })
    const { id } = (await accept(seeds(240))).job
    let count = 0
    wrapped.act = async () => {
      if (++count === 100) await cancel(ports, id)
    }
    await work(1)
    const results = await resultsOf(id)
    expect(codes(results.slice(0, 160))).toEqual(["signed"])
    expect(codes(results.slice(160))).toEqual(["JOB_CANCELLED"])
    expect(jobState(await job(id))).toBe("cancelled")
    expect(await job(id)).toMatchObject({ signed: 160, refused: 80 })
    expect((await job(id)).finishedAt).toBeDefined()
    expect(jobState(await cancel(ports, id))).toBe("cancelled")
    expect(auditOf(service).filter(({ action }) => action === "cancel job")).toHaveLength(1)
    expect(expectSound(service)).toBe(160)
  })

  test("JOB_FINISHED, JOB_UNKNOWN, CALLER_NOT_LISTED", async () => {
    const { ports, accept, work } = await ready()
    const { id } = (await accept(["a"])).job
    await expect(cancel(ports, id, `${PIPELINE}-other`)).rejects.toThrow(withCode("CALLER_NOT_LISTED"))
    await expect(cancel(ports, "01ARZ3NDEKTSV4RRFFQ69G5FAV")).rejects.toThrow(withCode("JOB_UNKNOWN"))
    await work()
    await expect(cancel(ports, id)).rejects.toThrow(withCode("JOB_FINISHED"))
  })
})

describe("workers", () => {
  test("one at a time; who is not heard of loses the place", async () => {
    const { service, ports, accept, work } = await ready()
    await accept(["a"])
    expect(await claimSlot(ports.table, ports.clock())).toBe(1)
    expect(await claimSlot(ports.table, ports.clock())).toBeUndefined()
    expect(await work()).toMatchObject({ idle: true, signed: 0 })
    service.pass(SLOT_SEC)
    expect(await work()).toMatchObject({ idle: false, signed: 1 })
  })

  test("a worker that was thought dead and signs on changes nothing that its follower has settled", async () => {
    const sleeping: { wake?: () => void; act: (call: number) => Promise<void> } = { act: async () => undefined }
    const { service, ports, accept, work, resultsOf } = await ready({ keys: keysBefore((call) => sleeping.act(call)) })
    const { id } = (await accept(seeds(60))).job
    let count = 0
    sleeping.act = () => {
      count += 1
      return count === 25 ? new Promise<void>((resolve) => (sleeping.wake = resolve)) : Promise.resolve()
    }
    const first = work(1)
    while (sleeping.wake === undefined) await new Promise((resolve) => setImmediate(resolve))
    service.pass(SLOT_SEC)
    await cancelJob(ports, { profile: "release", id, principal: PIPELINE, requestId: "cancel" })
    expect(await work(1)).toMatchObject({ signed: 20, refused: 40 })
    const settled = await resultsOf(id)
    sleeping.wake()
    expect(await first).toMatchObject({ idle: false, signed: 0, refused: 0 })
    expect(await resultsOf(id)).toEqual(settled)
    expect(expectSound(service)).toBe(20)
  })

  test("who lost the place settles nothing more, and does not give away another's", async () => {
    const sleeping: { wake?: () => void; count: number } = { count: Number.NEGATIVE_INFINITY }
    const { service, ports, accept, work, job } = await ready({
      keys: keysBefore(() => {
        sleeping.count += 1
        return sleeping.count === 25 ? new Promise<void>((resolve) => (sleeping.wake = resolve)) : Promise.resolve()
      }),
    })
    const { id } = (await accept(seeds(240))).job
    sleeping.count = 0
    const first = work(1)
    while (sleeping.wake === undefined) await new Promise((resolve) => setImmediate(resolve))
    service.pass(SLOT_SEC)
    expect(await claimSlot(ports.table, ports.clock())).toBe(2)
    sleeping.wake()
    expect(await first).toMatchObject({ idle: false, signed: 0, refused: 0, unexpected: [] })
    expect(await job(id)).toMatchObject({ settled: 0, signed: 0 })
    expect(await claimSlot(ports.table, ports.clock())).toBeUndefined()
    service.pass(SLOT_SEC)
    expect(await work(1)).toMatchObject({ signed: 240 })
    expect(expectSound(service)).toBe(240)
  })

  test("time is up: the rest is left to the next, who goes on", async () => {
    const { service, ports, accept, work, job } = await ready({
      keys: keysBefore(async (call) => {
        if (call === 90) service.pass(700)
      }),
    })
    const { id } = (await accept(seeds(240))).job
    expect((await work(1)).signed).toBeLessThan(240)
    expect(await openJobs(ports.table)).toHaveLength(1)
    await work(1)
    expect(await job(id)).toMatchObject({ signed: 240, refused: 0 })
    expect(expectSound(service)).toBe(240)
  })

  test("a key service that stays down ends the run after a few tries, and nothing is refused", async () => {
    let down = false
    const { service, accept, work, job } = await ready({
      keys: keysBefore(async () => {
        if (down) throw new ServiceError("SIGNER_UNAVAILABLE", "down")
      }),
    })
    const { id } = (await accept(seeds(100))).job
    down = true
    expect(await work(1)).toMatchObject({ signed: 0, refused: 0, failures: 8, unexpected: [] })
    expect(jobState(await job(id))).toBe("running")
    down = false
    expect(await work(1)).toMatchObject({ signed: 100, failures: 0 })
    expect(expectSound(service)).toBe(100)
  })

  test("a damaged job does not keep another from being signed", async () => {
    const { ports, accept, work, job } = await ready()
    const damaged = (await accept(seeds(90), "a")).job
    const sound = (await accept(seeds(3, "t"), "b")).job
    await ports.table.transact([{ update: { pk: `job#${damaged.id}`, sk: padNumber(1) }, remove: ["subjects"] }])
    const { unexpected, signed } = await work(1)
    expect(unexpected.map(({ message }) => message)).toEqual([expect.stringContaining("damaged item")])
    expect(signed).toBe(83)
    expect(jobState(await job(sound.id))).toBe("done")
  })
})

describe("progress", () => {
  const at = (seconds: number) => new Date(Date.UTC(2026, 10, 21, 9, 0, seconds))
  const running: Job = {
    id: "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    profile: "release",
    principal: PIPELINE,
    requestId: "r",
    requestDigest: "0".repeat(64),
    expiresAt: undefined,
    total: 1000,
    chunks: 13,
    settled: 3,
    signed: 230,
    refused: 10,
    acceptedAt: at(0),
    startedAt: at(1),
    updatedAt: at(3),
    finishedAt: undefined,
    stop: undefined,
  }

  test("rate and estimated end", () => {
    expect(jobProgress(running, at(4))).toEqual({ ratePerSec: 120, estimatedEnd: at(11) })
    expect(jobProgress({ ...running, finishedAt: at(5) }, at(9))).toEqual({ ratePerSec: 60, estimatedEnd: undefined })
    expect(jobProgress({ ...running, signed: 0, refused: 0 }, at(4)).estimatedEnd).toBeUndefined()
  })
})
