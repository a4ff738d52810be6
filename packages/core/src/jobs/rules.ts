import { parseReference } from "@sealwright/formats/oci-reference"
import { ERROR_CODES, type ErrorCode, ServiceError } from "../errors.ts"
import type { SubjectRequest } from "../sign/rules.ts"

/** What one job takes; a request of more is cut by its caller. */
export const MAX_JOB_SUBJECTS = 10_000
/** A request that becomes a job: below Lambda's 6 MB for an event, also when it comes in base64. */
export const MAX_JOB_BODY_BYTES = 4 * 1024 * 1024
/** Four signing transactions; with an audit entry for each subject still below DynamoDB's 100 writes. */
export const SUBJECTS_PER_CHUNK = 80
/** Unfinished jobs that one profile may have. */
export const MAX_OPEN_JOBS = 20

const DAY_SEC = 86_400
/** What is not signed by then is not signed. */
export const JOB_DEADLINE_SEC = 7 * DAY_SEC
/** Results are kept 30 days at least, whenever the job ended. */
export const JOB_KEPT_SEC = JOB_DEADLINE_SEC + 30 * DAY_SEC
/** Chunks outlive their job's header, so that no header stands without them. */
export const CHUNK_KEPT_SEC = JOB_KEPT_SEC + 7 * DAY_SEC

/** One asynchronous batch. `settled` counts chunks, `signed` and `refused` subjects. */
export interface Job {
  /** ULID */
  readonly id: string
  readonly profile: string
  /** in whose name all is signed */
  readonly principal: string
  /** of the request that brought it */
  readonly requestId: string
  /** lower-case hex SHA-256 of that request */
  readonly requestDigest: string
  /** the request's wish for its signatures */
  readonly expiresAt: Date | undefined
  readonly total: number
  readonly chunks: number
  readonly settled: number
  readonly signed: number
  readonly refused: number
  readonly acceptedAt: Date
  readonly startedAt: Date | undefined
  readonly updatedAt: Date
  readonly finishedAt: Date | undefined
  /** why nothing more of it is signed */
  readonly stop: ErrorCode | undefined
}

export type JobState = "accepted" | "running" | "done" | "cancelled"

/** A cancelled job is settled only when it has a `finishedAt`. */
export function jobState({ stop, startedAt, finishedAt }: Job): JobState {
  if (stop === "JOB_CANCELLED") return "cancelled"
  if (finishedAt !== undefined) return "done"
  return startedAt === undefined ? "accepted" : "running"
}

export interface JobProgress {
  /** subjects a second since it began; undefined before the first are settled */
  readonly ratePerSec: number | undefined
  /** undefined when it is finished, or no rate is known */
  readonly estimatedEnd: Date | undefined
}

export function jobProgress(job: Job, now: Date): JobProgress {
  const settled = job.signed + job.refused
  if (job.startedAt === undefined || settled === 0) return { ratePerSec: undefined, estimatedEnd: undefined }
  const elapsedMs = Math.max(1, (job.finishedAt ?? job.updatedAt).getTime() - job.startedAt.getTime())
  const ratePerSec = Math.round((settled * 1_000_000) / elapsedMs) / 1000
  if (job.finishedAt !== undefined) return { ratePerSec, estimatedEnd: undefined }
  const restMs = ((job.total - settled) * elapsedMs) / settled
  return { ratePerSec, estimatedEnd: new Date(now.getTime() + Math.ceil(restMs / 1000) * 1000) }
}

export function chunkCount(subjects: number): number {
  return Math.ceil(subjects / SUBJECTS_PER_CHUNK)
}

/**
 * What a job's subjects must be before it is accepted; whether the profile signs for them is asked when they are signed (D3).
 * @throws ServiceError REQUEST_TOO_LARGE, SUBJECT_REPEATED, REFERENCE_INVALID; FormatError REFERENCE_MALFORMED
 */
export function checkJobSubjects(subjects: readonly SubjectRequest[]): void {
  if (subjects.length > MAX_JOB_SUBJECTS)
    throw new ServiceError("REQUEST_TOO_LARGE", `${subjects.length} subjects; a job takes ${MAX_JOB_SUBJECTS}`)
  const seen = new Set<string>()
  for (const { digest, reference } of subjects) {
    if (seen.has(digest)) throw new ServiceError("SUBJECT_REPEATED", `${digest} stands twice`)
    seen.add(digest)
    const named = parseReference(reference).digest
    if (named !== undefined && named !== digest)
      throw new ServiceError("REFERENCE_INVALID", `the reference names ${named}, the subject is ${digest}`)
  }
}

/** Why nothing more of a job is signed, by what is known of it alone. */
export function stopOf(job: Job, now: Date): ErrorCode | undefined {
  if (job.stop !== undefined) return job.stop
  return now.getTime() >= job.acceptedAt.getTime() + JOB_DEADLINE_SEC * 1000 ? "JOB_OVERDUE" : undefined
}

const OF_ONE_SUBJECT: ReadonlySet<ErrorCode> = new Set(["REPOSITORY_OUT_OF_SCOPE", "REFERENCE_INVALID"])

/** Does this failure of a chunk refuse the rest of its job? What may pass, and what concerns one subject, does not. */
export function refusesAll(code: ErrorCode): boolean {
  const { kind, retry } = ERROR_CODES[code]
  return !retry && (kind === "denied" || kind === "missing" || kind === "caller") && !OF_ONE_SUBJECT.has(code)
}

/** The idempotency key under which a chunk is signed. The space keeps it apart from every key that a caller can send. */
export function chunkKey(job: Job, index: number): string {
  return `job ${job.id} ${index}`
}
