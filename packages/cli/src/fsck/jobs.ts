import { createHash } from "node:crypto"
import type { CheckedRecord, Report } from "./ledger.ts"
import type { Items, StoredItem, StoredValue } from "./state.ts"

interface CheckedJob {
  readonly item: StoredItem
  readonly id: string
  readonly profile: string
  readonly principal: string
}

/** Every job's account: each subject once, each with its record or its refusal when it is settled, counts as they add up. */
export function checkJobs(items: Items, records: ReadonlyMap<string, CheckedRecord>, report: Report): void {
  const open = new Set(items.partition("open-jobs").map(({ sk }) => sk))
  const claimed = new Set<string>()
  for (const [profile, partition] of items.partitions("jobs#"))
    for (const item of partition) {
      const job = { item, id: item.sk, profile, principal: items.text(item, "principal") }
      const wrong = (detail: string) => report({ code: "JOB_WRONG", subject: `job ${job.id}`, detail })
      const marked = open.delete(`${profile}#${job.id}`)
      if (marked === (item.finishedAt !== undefined))
        wrong(marked ? "finished and still marked as open" : "open without its mark")
      checkChunks(items, job, records, claimed, wrong)
    }
  for (const mark of open)
    report({ code: "JOB_WRONG", subject: `job ${mark}`, detail: "marked as open, and there is none" })
}

function checkChunks(
  items: Items,
  job: CheckedJob,
  records: ReadonlyMap<string, CheckedRecord>,
  claimed: Set<string>,
  wrong: (detail: string) => void,
): void {
  const chunks = items.partition(`job#${job.id}`)
  const digests = new Set<string>()
  const counts = { settled: 0, signed: 0, refused: 0 }
  let subjects = 0
  for (const chunk of chunks) {
    const named = list(chunk.subjects).map((subject) => text(subject, "digest"))
    subjects += named.length
    for (const digest of named) digests.add(digest)
    if (chunk.results === undefined) continue
    counts.settled += 1
    const results = list(chunk.results)
    if (results.length !== named.length) wrong(`chunk ${Number(chunk.sk)} has ${results.length} results`)
    const recorded = recordedOf(items, job, Number(chunk.sk), named)
    for (const [at, digest] of named.entries()) {
      const id = text(results[at], "signature")
      if (id === "") counts.refused += 1
      else counts.signed += 1
      if (id === "" && text(results[at], "code") === "") wrong(`${digest} has no outcome`)
      if ((recorded.get(digest) ?? "") !== id) wrong(`${digest}: recorded ${recorded.get(digest)}, told ${id}`)
      if (id !== "") checkSignature(job, digest, records.get(id), claimed, wrong)
    }
  }
  const expected = (name: string) => items.number(job.item, name)
  if (chunks.length !== expected("chunks") || subjects !== expected("total") || digests.size !== subjects)
    wrong(`${chunks.length} chunks with ${subjects} subjects, ${digests.size} of them different`)
  for (const [name, count] of Object.entries(counts))
    if (count !== expected(name)) wrong(`${name} says ${expected(name)}, and it is ${count}`)
  if (job.item.finishedAt !== undefined && counts.settled !== chunks.length) wrong("finished before all was settled")
}

function checkSignature(
  job: CheckedJob,
  digest: string,
  record: CheckedRecord | undefined,
  claimed: Set<string>,
  wrong: (detail: string) => void,
): void {
  if (record === undefined) {
    wrong(`${digest} names no record`)
    return
  }
  if (record.digest !== digest || record.profile !== job.profile || record.principal !== job.principal)
    wrong(`${record.id} is not of this job`)
  if (claimed.has(record.id)) wrong(`${record.id} stands twice`)
  claimed.add(record.id)
}

/** What was signed under a chunk's idempotency key, by digest. */
function recordedOf(items: Items, job: CheckedJob, index: number, digests: readonly string[]): Map<string, string> {
  const parts = [job.principal, job.profile, `job ${job.id} ${index}`]
  const name = parts.map((part) => `${part.length}:${part}`).join("")
  const recorded = new Map<string, string>()
  for (const { sk, signature } of items.partition(`idempotency#${createHash("sha256").update(name).digest("hex")}`))
    if (typeof signature === "string") recorded.set(sk === "request" ? (digests[0] ?? "") : sk, signature)
  return recorded
}

function list(value: StoredValue | undefined): readonly StoredValue[] {
  return Array.isArray(value) ? value : []
}

function text(value: StoredValue | undefined, name: string): string {
  const member =
    typeof value === "object" && name in value ? (value as { readonly [key: string]: StoredValue })[name] : undefined
  return typeof member === "string" ? member : ""
}
