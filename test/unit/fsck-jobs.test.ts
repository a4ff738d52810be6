import { acceptJob } from "@sealwright/core/jobs/accept"
import { workJobs } from "@sealwright/core/jobs/work"
import type { Item } from "@sealwright/core/ports"
import { describe, expect, test } from "vitest"
import { fsck } from "../../packages/cli/src/fsck/check.ts"
import { createService, digestOf, signRequest } from "../support/service.ts"
import { dumpOf } from "./core-published.ts"

/** One job that is done, with a refusal in it, and one that nobody has begun. */
async function withJobs() {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  await service.revoke({ kind: "artifact", digest: digestOf("denied") })
  const ports = { ...service.ports, pause: async () => undefined }
  const accept = (seeds: readonly string[], key: string) =>
    acceptJob(ports, { ...signRequest(seeds), idempotencyKey: key })
  const done = (await accept(["a", "denied", "b"], "done")).job.id
  await workJobs(ports, { lanes: 1, until: new Date(ports.clock().getTime() + 60_000) })
  service.pass(10)
  const open = (await accept(["c"], "open")).job.id
  await service.publish()
  return { service, done, open }
}

type Damage = (items: Item[], ids: { readonly done: string; readonly open: string }) => Item[]

const changed =
  (isMeant: (item: Item, done: string) => boolean, change: (item: Item) => object): Damage =>
  (items, { done }) =>
    items.map((item) => (isMeant(item, done) ? ({ ...item, ...change(item) } as Item) : item))
const without =
  (isMeant: (item: Item, ids: { readonly done: string; readonly open: string }) => boolean): Damage =>
  (items, ids) =>
    items.filter((item) => !isMeant(item, ids))
const header = (item: Item, id: string) => item.pk === "jobs#release" && item.sk === id
const chunk = (item: Item, id: string) => item.pk === `job#${id}`
const resultsOf = (item: Item) => item.results as readonly { readonly signature?: string; readonly code?: string }[]
const subjectsOf = (item: Item) => item.subjects as readonly { readonly digest: string }[]

const DAMAGES: Readonly<Record<string, Damage>> = {
  "counts that don't add up": changed(header, (item) => ({ signed: Number(item.signed) + 1 })),
  "a chunk that is gone": without((item, { done }) => chunk(item, done)),
  "a subject that stands twice": changed(chunk, (item) => ({
    subjects: subjectsOf(item).map((subject, at) => (at === 2 ? { ...subject, digest: digestOf("a") } : subject)),
  })),
  "a result that names no record": changed(chunk, (item) => ({
    results: resultsOf(item).map((one) => (one.signature === undefined ? one : { signature: "gone" })),
  })),
  "results of other subjects": changed(chunk, (item) => ({ results: [...resultsOf(item)].reverse().slice(1) })),
  "a refusal of what was signed": changed(chunk, (item) => ({
    results: resultsOf(item).map(() => ({ code: "DIGEST_DENIED" })),
  })),
  "an open job without its mark": without((item, { open }) => item.pk === "open-jobs" && item.sk.endsWith(open)),
  "a mark without its job": without((item, { open }) => header(item, open)),
  "a job that is called finished": (items, { open }) =>
    items.map((item) => (header(item, open) ? { ...item, finishedAt: "2026-11-21T10:00:00.000Z" } : item)),
}

describe("fsck of jobs (I5, R12)", () => {
  test("finds nothing in sound ones, nor in chunks that a crash left without a job", async () => {
    const { service, open } = await withJobs()
    const { items, objects } = dumpOf(service)
    const orphans = items.filter((item) => item.pk === `job#${open}`).map((item) => ({ ...item, pk: "job#orphan" }))
    expect(orphans).toHaveLength(1)
    expect(fsck({ items: [...items, ...orphans], objects })).toEqual({ findings: [], records: 2 })
  })

  test.each(Object.entries(DAMAGES))("JOB_WRONG: %s", async (_, damage) => {
    const { service, ...ids } = await withJobs()
    const { items, objects } = dumpOf(service)
    const damaged = damage([...items] as unknown as Item[], ids) as unknown as typeof items
    expect(damaged).not.toEqual(items)
    const { findings } = fsck({ items: damaged, objects })
    expect([...new Set(findings.map(({ code }) => code))]).toEqual(["JOB_WRONG"])
  })
})
