import middy from "@middy/core"
import { openDynamoTable } from "@sealwright/adapters/dynamodb"
import { type Invoke, openInvoke } from "@sealwright/adapters/lambda"
import { clock, digest, randomBytes } from "@sealwright/adapters/platform"
import { serviceKeys } from "@sealwright/adapters/service-keys"
import { openOutsideTimestampers, openTimestamper } from "@sealwright/adapters/timestamper"
import { openKmsAndWrappedKeys } from "@sealwright/adapters/wrapped-keys"
import { ServiceError } from "@sealwright/core/errors"
import { acceptJob, cancelJob } from "@sealwright/core/jobs/accept"
import { type Job, MAX_JOB_BODY_BYTES } from "@sealwright/core/jobs/rules"
import type { Actor } from "@sealwright/core/ledger/audit"
import { recordRefusal } from "@sealwright/core/records/refusals"
import { createSigner, type SignRequest } from "@sealwright/core/sign/flow"
import { runSync } from "@sealwright/verifier/node-crypto"
import {
  type ApiEvent,
  bodyDigest,
  bodyOf,
  callerOf,
  idempotencyKeyOf,
  pathParameter,
  prefersAsync,
} from "../http/event.ts"
import { problemResponses } from "../http/problem-responses.ts"
import { problemOf, type Reply, reply } from "../http/reply.ts"
import { check, dateOf, signBatchSchema, signJobSchema, signOneSchema } from "../http/schemas.ts"
import { readSettings, readTokenSettings } from "../http/settings.ts"
import { jobView, signatureView } from "../http/views.ts"
import { wake } from "../http/wake.ts"
import { LONGEST_WAIT_MS, waitForLog } from "./wait.ts"

const settings = readSettings(process.env, "table", "stack", "timestampFunction", "relayFunction", "batchFunction")
const table = openDynamoTable(settings.table)
const ports = {
  table,
  clock,
  random: randomBytes,
  digest,
  ...serviceKeys(openKmsAndWrappedKeys(settings.stack), readTokenSettings(process.env)),
  timestamper: openTimestamper(settings.timestampFunction),
  outsideTimestampers: openOutsideTimestampers(settings.relayFunction),
  run: runSync,
}
const sign = createSigner(ports)

let invoke: Invoke | undefined

const CANCEL_ROUTE = "POST /v1/profiles/{profile}/jobs/{id}/cancel"

export const handler = middy<ApiEvent, Reply>()
  .use(problemResponses(ports))
  .handler(async (event) => {
    const until = clock().getTime() + LONGEST_WAIT_MS
    const caller = callerOf(event)
    if (event.routeKey === CANCEL_ROUTE) return await cancel(event, caller)
    if (prefersAsync(event)) return await accept(event, caller)
    const { request, batch } = parseSignRequest(event, caller)
    const outcomes = await sign(request)
    if (!batch) {
      const [only] = outcomes
      if (only === undefined || "refused" in only) throw only?.refused ?? new Error("no outcome")
      const view = signatureView(only.signed)
      if (!wantsLog(event)) return reply(only.replayed ? 200 : 201, { signature: view })
      const logged = (await waitForLog(table, [only.signed], until)).get(only.signed.id)
      return reply(logged === undefined ? 202 : only.replayed ? 200 : 201, { signature: { ...view, ...logged } })
    }
    await Promise.all(
      outcomes.map((outcome) => ("refused" in outcome ? auditRefusal(event, caller, outcome.refused) : undefined)),
    )
    const signed = outcomes.flatMap((outcome) => ("signed" in outcome ? [outcome.signed] : []))
    const logged = wantsLog(event) ? await waitForLog(table, signed, until) : undefined
    return reply(200, {
      results: outcomes.map((outcome) =>
        "refused" in outcome
          ? { digest: outcome.digest, problem: problemOf(outcome.refused, caller.requestId) }
          : {
              digest: outcome.digest,
              signature: { ...signatureView(outcome.signed), ...logged?.get(outcome.signed.id) },
            },
      ),
    })
  })

/** Asked for by `?wait=logged`: the answer carries proofs of inclusion, if they are there in time. */
function wantsLog(event: ApiEvent): boolean {
  return event.queryStringParameters?.wait === "logged"
}

async function accept(event: ApiEvent, caller: Actor): Promise<Reply> {
  const idempotencyKey = idempotencyKeyOf(event)
  if (idempotencyKey === undefined)
    throw new ServiceError("IDEMPOTENCY_KEY_REQUIRED", "a job is asked for without an Idempotency-Key")
  const body = bodyOf(event, MAX_JOB_BODY_BYTES)
  const { subjects, expiresAt } = check(signJobSchema, body)
  const { job } = await acceptJob(ports, {
    profile: pathParameter(event, "profile"),
    ...caller,
    subjects: subjects.map(({ subject, reference }) => ({ ...subject, reference })),
    expiresAt: expiresAt === undefined ? undefined : dateOf(expiresAt),
    idempotencyKey,
    requestDigest: bodyDigest(digest, { prefer: "respond-async", body }),
  })
  await wakeBatch(job)
  const answer = reply(202, { job: jobView(job, clock()) })
  const location = `/v1/profiles/${job.profile}/jobs/${job.id}`
  return { ...answer, headers: { ...answer.headers, location, "preference-applied": "respond-async" } }
}

async function cancel(event: ApiEvent, caller: Actor): Promise<Reply> {
  const job = await cancelJob(ports, {
    profile: pathParameter(event, "profile"),
    id: pathParameter(event, "id"),
    ...caller,
  })
  await wakeBatch(job)
  return reply(200, { job: jobView(job, clock()) })
}

/** The client is made with the first job, as it is with the first timestamp. */
async function wakeBatch({ finishedAt }: Job): Promise<void> {
  if (finishedAt !== undefined) return
  invoke ??= openInvoke()
  await wake(invoke, settings.batchFunction)
}

function parseSignRequest(event: ApiEvent, caller: Actor): { readonly request: SignRequest; readonly batch: boolean } {
  const body = bodyOf(event)
  const batch = typeof body === "object" && body !== null && Object.hasOwn(body, "subjects")
  const { subjects, expiresAt } = batch ? check(signBatchSchema, body) : oneOf(check(signOneSchema, body))
  const request: SignRequest = {
    profile: pathParameter(event, "profile"),
    ...caller,
    subjects: subjects.map(({ subject, reference }) => ({ ...subject, reference })),
    expiresAt: expiresAt === undefined ? undefined : dateOf(expiresAt),
    idempotencyKey: idempotencyKeyOf(event),
    requestDigest: bodyDigest(digest, body),
  }
  return { request, batch }
}

function oneOf<Entry extends { readonly expiresAt?: string | undefined }>(entry: Entry) {
  return { subjects: [entry], expiresAt: entry.expiresAt }
}

function auditRefusal(event: ApiEvent, caller: Actor, refused: Parameters<typeof problemOf>[0]): Promise<void> {
  return recordRefusal(ports, caller, event.routeKey, event.rawPath, refused.code)
}
