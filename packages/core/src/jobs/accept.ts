import { ServiceError } from "../errors.ts"
import { auditWrite } from "../ledger/audit.ts"
import { chunkWrite, findJob, jobItem, openJobItem, openJobs } from "../ledger/jobs.ts"
import { keys } from "../ledger/keys.ts"
import { readIssuerOf, readProfile } from "../ledger/trust.ts"
import type { Profile } from "../model.ts"
import { ulid } from "../names.ts"
import type { Clock, Digest, Item, RandomBytes, Table, Write } from "../ports.ts"
import { idempotencyHash } from "../sign/commit.ts"
import type { SignRequest } from "../sign/flow.ts"
import { authorizeCaller, planExpiry, requireFitIssuer, wholeSeconds } from "../sign/rules.ts"
import { readJob } from "./read.ts"
import { checkJobSubjects, chunkCount, type Job, MAX_OPEN_JOBS, SUBJECTS_PER_CHUNK } from "./rules.ts"

export interface AcceptPorts {
  readonly table: Table
  readonly clock: Clock
  readonly random: RandomBytes
  readonly digest: Digest
}

export type JobRequest = SignRequest & { readonly idempotencyKey: string }

/** Chunks that are written at a time. */
const WRITERS = 8

/**
 * Takes a batch in, to be signed later in its caller's name. Order: chunks, then, in one transaction, the header, the mark of an open job, the
 * idempotency key and the audit entry. So a crash leaves a whole job or none: chunks without a header are nobody's, and the store drops
 * them in time. Nothing is signed here; what binds is what the profile says when each chunk is signed (D3).
 * @returns the job, or the one that the same key and request made before
 * @throws ServiceError as `checkJobSubjects`, `authorizeCaller`, `planExpiry`; IDEMPOTENCY_CONFLICT, JOBS_CROWDED, JOB_UNKNOWN (the key's
 * job was dropped), STORE_UNAVAILABLE
 */
export async function acceptJob(
  ports: AcceptPorts,
  request: JobRequest,
): Promise<{ readonly job: Job; readonly replayed: boolean }> {
  const { table } = ports
  checkJobSubjects(request.subjects)
  const profile = await readProfile(table, request.profile)
  requireListed(profile, request.principal)
  const keyHash = idempotencyHash(ports.digest, request.principal, request.profile, request.idempotencyKey)
  const key = keys.idempotency(keyHash, "request")
  const known = await table.get(key)
  if (known !== undefined) return { job: await jobOf(table, request, known), replayed: true }

  const acceptedAt = wholeSeconds(ports.clock())
  authorizeCaller(profile, request.principal)
  requireFitIssuer(await readIssuerOf(table, profile), profile)
  planExpiry(profile, request.expiresAt, acceptedAt)
  if ((await openJobs(table, request.profile)).length >= MAX_OPEN_JOBS)
    throw new ServiceError("JOBS_CROWDED", `profile ${request.profile} has ${MAX_OPEN_JOBS} unfinished jobs`)

  const job = newJob(ports, request, acceptedAt)
  await writeChunks(table, job, request)
  const result = await table
    .transact([
      { put: { ...key, requestDigest: request.requestDigest, job: job.id }, if: { absent: true } },
      { put: jobItem(job), if: { absent: true } },
      { put: openJobItem(job), if: { absent: true } },
      auditWrite(ports, request, "accept job", `profile/${request.profile} job/${job.id}`),
    ])
    .catch(async (error: unknown) => {
      const unknown = error instanceof ServiceError && error.code === "STORE_UNAVAILABLE"
      if (unknown && (await findJob(table, job.profile, job.id)) !== undefined) return { committed: true } as const
      throw error
    })
  if (result.committed) return { job, replayed: false }
  const [first] = result.outcomes
  if (first?.failed && first.item !== undefined) return { job: await jobOf(table, request, first.item), replayed: true }
  throw new ServiceError("CONTENTION", `job ${job.id} was not accepted`)
}

function newJob(ports: AcceptPorts, request: JobRequest, acceptedAt: Date): Job {
  return {
    id: ulid(ports.clock(), ports.random(10)),
    profile: request.profile,
    principal: request.principal,
    requestId: request.requestId,
    requestDigest: request.requestDigest,
    expiresAt: request.expiresAt,
    total: request.subjects.length,
    chunks: chunkCount(request.subjects.length),
    settled: 0,
    signed: 0,
    refused: 0,
    acceptedAt,
    startedAt: undefined,
    updatedAt: acceptedAt,
    finishedAt: undefined,
    stop: undefined,
  }
}

async function writeChunks(table: Table, job: Job, { subjects }: JobRequest): Promise<void> {
  const writes = Array.from({ length: job.chunks }, (_, index): Write => {
    const start = index * SUBJECTS_PER_CHUNK
    return chunkWrite(job, index, subjects.slice(start, start + SUBJECTS_PER_CHUNK))
  })
  const writer = async () => {
    for (let write = writes.pop(); write !== undefined; write = writes.pop()) await table.transact([write])
  }
  await Promise.all(Array.from({ length: WRITERS }, writer))
}

async function jobOf(table: Table, request: JobRequest, known: Item): Promise<Job> {
  if (known.requestDigest !== request.requestDigest || typeof known.job !== "string")
    throw new ServiceError("IDEMPOTENCY_CONFLICT", "this key came with another request before")
  return await readJob(table, request.profile, known.job)
}

/**
 * Ends a job early: what is recorded stays, chunks that are being signed are finished, the rest is not signed.
 * @throws ServiceError CALLER_NOT_LISTED, JOB_UNKNOWN, JOB_FINISHED
 */
export async function cancelJob(
  ports: AcceptPorts,
  request: {
    readonly profile: string
    readonly id: string
    readonly principal: string
    readonly requestId: string
  },
): Promise<Job> {
  const { table } = ports
  const profile = await readProfile(table, request.profile)
  requireListed(profile, request.principal)
  const job = await readJob(table, request.profile, request.id)
  if (job.stop === "JOB_CANCELLED") return job
  if (job.finishedAt !== undefined) throw new ServiceError("JOB_FINISHED", `job ${job.id} is done`)
  const updatedAt = ports.clock()
  const result = await table.transact([
    {
      update: keys.job(job.profile, job.id),
      set: { stop: "JOB_CANCELLED", updatedAt: updatedAt.toISOString() },
      if: { exists: true, lacks: ["finishedAt", "stop"] },
    },
    auditWrite(ports, request, "cancel job", `profile/${job.profile} job/${job.id}`),
  ])
  if (result.committed) return { ...job, stop: "JOB_CANCELLED", updatedAt }
  const now = await readJob(table, request.profile, request.id)
  if (now.stop === "JOB_CANCELLED") return now
  throw new ServiceError("JOB_FINISHED", `job ${job.id} has ended`)
}

/** Who is listed may look for his job's end also while the profile is suspended. */
function requireListed({ name, principals }: Profile, principal: string): void {
  if (!principals.includes(principal))
    throw new ServiceError("CALLER_NOT_LISTED", `profile ${name} does not list ${principal}`)
}
