import middy from "@middy/core"
import { openDynamoTable } from "@sealwright/adapters/dynamodb"
import { openKmsKeys } from "@sealwright/adapters/kms"
import { clock, digest, randomBytes } from "@sealwright/adapters/platform"
import { serviceKeys } from "@sealwright/adapters/service-keys"
import { openTimestamper } from "@sealwright/adapters/timestamper"
import type { Actor } from "@sealwright/core/ledger/audit"
import { recordRefusal } from "@sealwright/core/records/refusals"
import { createSigner, type SignRequest } from "@sealwright/core/sign/flow"
import { runSync } from "@sealwright/verifier/node-crypto"
import { type ApiEvent, bodyDigest, bodyOf, callerOf, idempotencyKeyOf, pathParameter } from "../http/event.ts"
import { problemResponses } from "../http/problem-responses.ts"
import { problemOf, type Reply, reply } from "../http/reply.ts"
import { check, dateOf, signBatchSchema, signOneSchema } from "../http/schemas.ts"
import { readSettings, readTokenSettings } from "../http/settings.ts"
import { signatureView } from "../http/views.ts"

const settings = readSettings(process.env, "table", "timestampFunction")
const table = openDynamoTable(settings.table)
const ports = {
  table,
  clock,
  random: randomBytes,
  digest,
  ...serviceKeys(openKmsKeys(), readTokenSettings(process.env)),
  timestamper: openTimestamper(settings.timestampFunction),
  run: runSync,
}
const sign = createSigner(ports)

export const handler = middy<ApiEvent, Reply>()
  .use(problemResponses(ports))
  .handler(async (event) => {
    const caller = callerOf(event)
    const { request, batch } = parseSignRequest(event, caller)
    const outcomes = await sign(request)
    if (!batch) {
      const [only] = outcomes
      if (only === undefined || "refused" in only) throw only?.refused ?? new Error("no outcome")
      return reply(only.replayed ? 200 : 201, { signature: signatureView(only.signed) })
    }
    await Promise.all(
      outcomes.map((outcome) => ("refused" in outcome ? auditRefusal(event, caller, outcome.refused) : undefined)),
    )
    return reply(200, {
      results: outcomes.map((outcome) =>
        "refused" in outcome
          ? { digest: outcome.digest, problem: problemOf(outcome.refused, caller.requestId) }
          : { digest: outcome.digest, signature: signatureView(outcome.signed) },
      ),
    })
  })

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
