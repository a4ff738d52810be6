import { ServiceError } from "../errors.ts"
import { findChunk, findJob } from "../ledger/jobs.ts"
import type { Table } from "../ports.ts"
import { type Job, SUBJECTS_PER_CHUNK } from "./rules.ts"

/** @throws ServiceError JOB_UNKNOWN */
export async function readJob(table: Table, profile: string, id: string): Promise<Job> {
  const job = await findJob(table, profile, id)
  if (job === undefined) throw new ServiceError("JOB_UNKNOWN", `no job ${id.slice(0, 40)}`)
  return job
}

/** What became of one subject, or that nothing has yet. */
export type SubjectResult = { readonly digest: string } & (
  | { readonly signature: string }
  | { readonly code: string }
  | { readonly pending: true }
)

/**
 * Results in the order of the request.
 * @param from how many subjects are left out at the front
 * @returns `limit` results at most; `next`: what `from` continues with, undefined at the end
 */
export async function jobResults(
  table: Table,
  job: Job,
  from: number,
  limit: number,
): Promise<{ readonly results: readonly SubjectResult[]; readonly next: number | undefined }> {
  const to = Math.min(job.total, from + limit)
  const first = Math.floor(from / SUBJECTS_PER_CHUNK)
  const count = Math.max(0, Math.ceil(to / SUBJECTS_PER_CHUNK) - first)
  const chunks = await Promise.all(Array.from({ length: count }, (_, at) => resultsOfChunk(table, job, first + at)))
  const start = first * SUBJECTS_PER_CHUNK
  return { results: chunks.flat().slice(from - start, to - start), next: to < job.total ? to : undefined }
}

async function resultsOfChunk(table: Table, job: Job, index: number): Promise<SubjectResult[]> {
  const chunk = await findChunk(table, job.id, index)
  if (chunk === undefined) throw new Error(`damaged job: ${job.id} lacks chunk ${index}`)
  const { subjects, results } = chunk
  return subjects.map(({ digest }, at): SubjectResult => ({ digest, ...(results?.[at] ?? { pending: true as const }) }))
}
