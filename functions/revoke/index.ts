import { setTimeout as sleep } from "node:timers/promises"
import middy from "@middy/core"
import { openDynamoTable } from "@sealwright/adapters/dynamodb"
import { openInvoke } from "@sealwright/adapters/lambda"
import { clock, digest, randomBytes } from "@sealwright/adapters/platform"
import { isServiceError } from "@sealwright/core/errors"
import { readHead } from "@sealwright/core/ledger/publication"
import { dueTime } from "@sealwright/core/publish/due"
import { type Acknowledgement, release, revoke } from "@sealwright/core/revoke/flow"
import type { RevocationRequestTarget } from "@sealwright/core/revoke/rules"
import { parseDigest } from "@sealwright/formats/oci"
import { formatTime } from "@sealwright/formats/time"
import { type ApiEvent, bodyOf, callerOf, pathParameter } from "../http/event.ts"
import { problemResponses } from "../http/problem-responses.ts"
import { type Reply, reply } from "../http/reply.ts"
import { check, dateOf, revocationSchema } from "../http/schemas.ts"
import { readSettings } from "../http/settings.ts"
import { revocationView } from "../http/views.ts"
import { wake } from "../http/wake.ts"

const settings = readSettings(process.env, "table", "publishFunction")
const table = openDynamoTable(settings.table)
const invoke = openInvoke()
const ports = { table, clock, random: randomBytes, digest }

/** API Gateway waits 30 seconds; this leaves time to answer. */
const LONGEST_WAIT_MS = 25_000
const POLL_MS = 500

export const handler = middy<ApiEvent, Reply>()
  .use(problemResponses(ports))
  .handler(async (event) => {
    const caller = callerOf(event)
    const acknowledged =
      event.routeKey === "POST /v1/revocations/{id}/release"
        ? await release(ports, pathParameter(event, "id"), caller)
        : await revoke(ports, { ...parseRevokeRequest(event), ...caller })
    await wake(invoke, settings.publishFunction)
    return await answer(acknowledged, event.queryStringParameters?.wait === "published")
  })

function parseRevokeRequest(event: ApiEvent) {
  const body = check(revocationSchema, bodyOf(event))
  return {
    target: targetOf(body.target),
    reason: body.reason,
    comment: body.comment,
    effectiveAt: body.effectiveAt === undefined ? undefined : dateOf(body.effectiveAt),
  }
}

function targetOf(target: ReturnType<typeof check<typeof revocationSchema>>["target"]): RevocationRequestTarget {
  switch (target.kind) {
    case "artifact":
      parseDigest(target.digest)
      return target
    case "profile":
      return { ...target, from: dateOf(target.from) }
    case "issuer":
      return { ...target, from: target.from === undefined ? undefined : dateOf(target.from) }
    case "principal":
      return {
        ...target,
        from: dateOf(target.from),
        until: target.until === undefined ? undefined : dateOf(target.until),
      }
    default:
      return target
  }
}

async function answer({ revocation, changed }: Acknowledgement, wait: boolean): Promise<Reply> {
  const published = wait && (await waitForEpoch(revocation.epoch))
  return reply(published ? 200 : 202, {
    revocation: revocationView(revocation),
    changed,
    epoch: revocation.epoch,
    published,
    due: formatTime(dueTime(clock())),
  })
}

async function waitForEpoch(epoch: number): Promise<boolean> {
  const end = clock().getTime() + LONGEST_WAIT_MS
  for (;;) {
    const head = await readHead(table).catch((error: unknown) => {
      if (isServiceError(error)) return undefined
      throw error
    })
    if (head !== undefined && head.published >= epoch) return true
    if (clock().getTime() + POLL_MS > end) return false
    await sleep(POLL_MS)
  }
}
