import { type ErrorCode, isServiceError, ServiceError } from "../errors.ts"
import { Attributes } from "../ledger/attributes.ts"
import { auditWrite } from "../ledger/audit.ts"
import { findChunk, findJob, type JobResult } from "../ledger/jobs.ts"
import { keys, queryAll } from "../ledger/keys.ts"
import type { Table, Write } from "../ports.ts"
import { idempotencyHash } from "../sign/commit.ts"
import type { Signer } from "../sign/flow.ts"
import type { SubjectRequest } from "../sign/rules.ts"
import type { AcceptPorts } from "./accept.ts"
import { chunkKey, type Job, refusesAll, stopOf } from "./rules.ts"
import { type Claim, holdSlot } from "./slot.ts"

export interface SettledChunk {
  readonly signed: number
  readonly refused: number
}

/** Another worker has the place. */
export class SlotLost extends Error {
  override readonly name = "SlotLost"
}

const CLOSED = "closed"
const REQUEST = "request"

/**
 * Settles one chunk. Order: sign, under the chunk's own idempotency key; where something was refused, close that key and write the refusals down
 * with it; then results, counts, audit entries and the worker's claim in one transaction. After a crash another worker gets the recorded bytes by the
 * key. Closing comes before the last look at what is recorded, so whoever was thought dead can't sign what is then called refused.
 * @returns undefined when it was settled before
 * @throws SlotLost; ServiceError for what may pass: the chunk is as it was, or further
 */
export async function settleChunk(
  ports: AcceptPorts,
  sign: Signer,
  claim: Claim,
  of: { readonly profile: string; readonly id: string; readonly index: number },
): Promise<SettledChunk | undefined> {
  const { table, clock } = ports
  const job = await findJob(table, of.profile, of.id)
  const chunk = await findChunk(table, of.id, of.index)
  if (job === undefined || chunk === undefined) throw new Error(`damaged job: ${of.profile} ${of.id} ${of.index}`)
  if (chunk.results !== undefined) return undefined
  const results = await resultsOf(ports, sign, job, of.index, chunk.subjects)
  const refused = results.filter((result) => "code" in result).length
  const signed = results.length - refused
  const now = clock()
  const settled = await table.transact([
    holdSlot(claim, now),
    {
      update: keys.jobChunk(job.id, of.index),
      set: { results: results.map((result) => ({ ...result })) },
      if: { exists: true, lacks: ["results"] },
    },
    {
      update: keys.job(job.profile, job.id),
      add: { settled: 1, signed, refused },
      set: { updatedAt: now.toISOString() },
      if: { exists: true },
    },
    ...refusalAudits(ports, job, chunk.subjects, results),
  ])
  if (settled.committed) return { signed, refused }
  if (settled.outcomes[0]?.failed) throw new SlotLost(`job ${job.id}`)
  return undefined
}

async function resultsOf(
  ports: AcceptPorts,
  sign: Signer,
  job: Job,
  index: number,
  subjects: readonly SubjectRequest[],
): Promise<readonly JobResult[]> {
  const { table } = ports
  const stop = stopOf(job, ports.clock())
  if (stop !== undefined) return await closed(ports, job, index, subjects, () => stop)
  try {
    const outcomes = await sign({
      profile: job.profile,
      principal: job.principal,
      requestId: job.requestId,
      subjects,
      expiresAt: job.expiresAt,
      idempotencyKey: chunkKey(job, index),
      requestDigest: job.requestDigest,
    })
    const codes = new Map(outcomes.map((one) => [one.digest, "refused" in one ? one.refused.code : undefined]))
    if (outcomes.some((one) => "refused" in one))
      return await closed(ports, job, index, subjects, (digest) => codes.get(digest))
    return outcomes.map((one) => ({ signature: "signed" in one ? one.signed.id : "" }))
  } catch (error) {
    if (isServiceError(error, "IDEMPOTENCY_CONFLICT")) return await closed(ports, job, index, subjects, () => undefined)
    if (!(error instanceof ServiceError) || !refusesAll(error.code)) throw error
    await stopJob(table, job, error.code)
    return await closed(ports, job, index, subjects, () => error.code)
  }
}

/** The first reason counts: a profile that is resumed meanwhile does not divide a job. */
async function stopJob(table: Table, job: Job, stop: ErrorCode): Promise<void> {
  await table.transact([
    { update: keys.job(job.profile, job.id), set: { stop }, if: { exists: true, lacks: ["stop", "finishedAt"] } },
  ])
}

/**
 * Ends a chunk's signing for good: nobody records under its key any more. What is recorded counts, then what whoever closed it first wrote down.
 * @param codeOf why a subject is not signed; undefined when it is, or when the chunk is known to be closed
 */
async function closed(
  ports: AcceptPorts,
  job: Job,
  index: number,
  subjects: readonly SubjectRequest[],
  codeOf: (digest: string) => ErrorCode | undefined,
): Promise<readonly JobResult[]> {
  const { table } = ports
  const keyHash = idempotencyHash(ports.digest, job.principal, job.profile, chunkKey(job, index))
  const refused = subjects.flatMap(({ digest }) => {
    const code = codeOf(digest)
    return code === undefined ? [] : [{ digest, code }]
  })
  if (refused.length > 0)
    await table.transact([
      {
        update: keys.idempotency(keyHash, REQUEST),
        set: { requestDigest: CLOSED, refused },
        if: { absentOrEquals: { requestDigest: job.requestDigest } },
      },
    ])
  const found = new Map<string, JobResult>()
  const [only] = subjects
  for (const item of await queryAll(table, keys.idempotency(keyHash, REQUEST).pk)) {
    const attributes = Attributes.of(item)
    if (attributes.has("refused"))
      for (const one of attributes.maps("refused"))
        if (!found.has(one.text("digest"))) found.set(one.text("digest"), { code: one.text("code") as ErrorCode })
    const signature = attributes.optionalText("signature")
    if (signature !== undefined) found.set(item.sk === REQUEST ? (only?.digest ?? "") : item.sk, { signature })
  }
  return subjects.map(({ digest }) => {
    const result = found.get(digest)
    if (result === undefined) throw new Error(`damaged job: ${job.id} ${index}: ${digest} has no outcome`)
    return result
  })
}

/** As in a batch that is answered at once (R12); the cancelling has an entry of its own. */
function refusalAudits(
  ports: AcceptPorts,
  job: Job,
  subjects: readonly SubjectRequest[],
  results: readonly JobResult[],
): Write[] {
  return subjects.flatMap(({ digest }, at) => {
    const result = results[at]
    if (result === undefined || !("code" in result) || result.code === "JOB_CANCELLED") return []
    return [auditWrite(ports, job, "sign", `profile/${job.profile} job/${job.id} ${digest}`, result.code)]
  })
}
