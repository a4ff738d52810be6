import type { ErrorCode } from "../errors.ts"
import { CHUNK_KEPT_SEC, JOB_KEPT_SEC, type Job } from "../jobs/rules.ts"
import type { Item, Table, Write } from "../ports.ts"
import type { SubjectRequest } from "../sign/rules.ts"
import { Attributes, present } from "./attributes.ts"
import { keys, queryAll } from "./keys.ts"

/** What became of one subject: a signature's id, or why there is none. */
export type JobResult = { readonly signature: string } | { readonly code: ErrorCode }

export interface JobChunk {
  readonly subjects: readonly SubjectRequest[]
  /** in the order of the subjects; undefined until all of them are settled */
  readonly results: readonly JobResult[] | undefined
}

export function jobItem(job: Job): Item {
  return {
    ...keys.job(job.profile, job.id),
    ttl: epochSeconds(job.acceptedAt) + JOB_KEPT_SEC,
    ...present({
      id: job.id,
      profile: job.profile,
      principal: job.principal,
      requestId: job.requestId,
      requestDigest: job.requestDigest,
      expiresAt: job.expiresAt?.toISOString(),
      total: job.total,
      chunks: job.chunks,
      settled: job.settled,
      signed: job.signed,
      refused: job.refused,
      acceptedAt: job.acceptedAt.toISOString(),
      startedAt: job.startedAt?.toISOString(),
      updatedAt: job.updatedAt.toISOString(),
      finishedAt: job.finishedAt?.toISOString(),
      stop: job.stop,
    }),
  }
}

export function jobFrom(item: Item): Job {
  const attributes = Attributes.of(item)
  return {
    id: attributes.text("id"),
    profile: attributes.text("profile"),
    principal: attributes.text("principal"),
    requestId: attributes.text("requestId"),
    requestDigest: attributes.text("requestDigest"),
    expiresAt: attributes.optionalDate("expiresAt"),
    total: attributes.number("total"),
    chunks: attributes.number("chunks"),
    settled: attributes.number("settled"),
    signed: attributes.number("signed"),
    refused: attributes.number("refused"),
    acceptedAt: attributes.date("acceptedAt"),
    startedAt: attributes.optionalDate("startedAt"),
    updatedAt: attributes.date("updatedAt"),
    finishedAt: attributes.optionalDate("finishedAt"),
    stop: attributes.optionalText("stop") as ErrorCode | undefined,
  }
}

export function chunkWrite(job: Job, index: number, subjects: readonly SubjectRequest[]): Write {
  return {
    put: {
      ...keys.jobChunk(job.id, index),
      ttl: epochSeconds(job.acceptedAt) + CHUNK_KEPT_SEC,
      subjects: subjects.map(({ mediaType, digest, size, reference }) => ({ mediaType, digest, size, reference })),
    },
    if: { absent: true },
  }
}

function chunkFrom(item: Item): JobChunk {
  const attributes = Attributes.of(item)
  return {
    subjects: attributes.maps("subjects").map((subject) => ({
      mediaType: subject.text("mediaType"),
      digest: subject.text("digest"),
      size: subject.number("size"),
      reference: subject.text("reference"),
    })),
    results: attributes.has("results") ? attributes.maps("results").map(resultFrom) : undefined,
  }
}

function resultFrom(result: Attributes): JobResult {
  const signature = result.optionalText("signature")
  return signature === undefined ? { code: result.text("code") as ErrorCode } : { signature }
}

export async function findJob(table: Table, profile: string, id: string): Promise<Job | undefined> {
  const item = await table.get(keys.job(profile, id))
  return item && jobFrom(item)
}

export async function findChunk(table: Table, id: string, index: number): Promise<JobChunk | undefined> {
  const item = await table.get(keys.jobChunk(id, index))
  return item && chunkFrom(item)
}

/** Indexes of chunks that are not settled. */
export async function pendingChunks(table: Table, id: string): Promise<number[]> {
  const items = await queryAll(table, `job#${id}`)
  return items.flatMap((item) => (item.results === undefined ? [Number(item.sk)] : []))
}

/** A profile's jobs by time, complete as of now. */
export async function jobsOfProfile(
  table: Table,
  profile: string,
  range: { readonly after?: string; readonly limit: number; readonly descending: boolean },
): Promise<{ readonly jobs: readonly Job[]; readonly next: string | undefined }> {
  const page = await table.query(`jobs#${profile}`, range)
  return { jobs: page.items.map(jobFrom), next: page.next }
}

export interface OpenJob {
  readonly profile: string
  readonly id: string
  readonly acceptedAt: Date
}

export function openJobItem({ profile, id, acceptedAt }: Job): Item {
  return { ...keys.openJob(profile, id), profile, id, acceptedAt: acceptedAt.toISOString() }
}

/** Jobs that are not finished, of one profile or of all. `#` is below `$` and no part of a profile's name. */
export async function openJobs(table: Table, profile?: string): Promise<OpenJob[]> {
  const range = profile === undefined ? {} : { from: `${profile}#`, to: `${profile}$` }
  return (await queryAll(table, "open-jobs", range)).map((item) => {
    const attributes = Attributes.of(item)
    return { profile: attributes.text("profile"), id: attributes.text("id"), acceptedAt: attributes.date("acceptedAt") }
  })
}

function epochSeconds(at: Date): number {
  return Math.floor(at.getTime() / 1000)
}
