import middy from "@middy/core"
import { openDynamoTable } from "@sealwright/adapters/dynamodb"
import { clock, randomBytes } from "@sealwright/adapters/platform"
import { ServiceError } from "@sealwright/core/errors"
import { acknowledgeFinding } from "@sealwright/core/reconcile/acknowledge"
import { createReceiver } from "@sealwright/core/reconcile/receive"
import { METRIC_OF } from "@sealwright/core/reconcile/rules"
import { settleUses } from "@sealwright/core/reconcile/settle"
import { type ApiEvent, bodyOf, callerOf, pathParameter } from "../http/event.ts"
import { log } from "../http/log.ts"
import { emitMetric } from "../http/metrics.ts"
import { problemResponses } from "../http/problem-responses.ts"
import { keyFindingView } from "../http/reconciliation-views.ts"
import { type Reply, reply } from "../http/reply.ts"
import { acknowledgementSchema, check } from "../http/schemas.ts"
import { readKeyUsers, readSettings } from "../http/settings.ts"

import { isTrailEvent, keyUseOf } from "./trail-event.ts"

/** Before its time is up a run begins nothing more. */
const REST_MS = 30_000

const settings = readSettings(process.env, "table", "settleAfterSec")
const ports = {
  table: openDynamoTable(settings.table),
  clock,
  random: randomBytes,
  users: readKeyUsers(process.env),
}
const receive = createReceiver(ports)

const viaApi = middy<ApiEvent, Reply>()
  .use(problemResponses(ports))
  .handler(async (event) => {
    const actor = callerOf(event)
    const { comment } = check(acknowledgementSchema, bodyOf(event))
    const id = pathParameter(event, "id")
    if (!/^[0-9A-Za-z-]{1,100}$/.test(id)) throw new ServiceError("FINDING_UNKNOWN", "not the id of a finding")
    return reply(200, { finding: keyFindingView(await acknowledgeFinding(ports, id, comment, actor)) })
  })

/** A use of a key from CloudTrail; the schedule; or someone who acknowledges what was found. */
export const handler = async (
  event: unknown,
  context: Parameters<typeof viaApi>[1] & { readonly getRemainingTimeInMillis: () => number },
): Promise<unknown> => {
  if (isApiEvent(event)) return await viaApi(event, context)
  return isTrailEvent(event) ? await take(event) : await settle(context.getRemainingTimeInMillis())
}

async function take(event: unknown): Promise<{ readonly use: string }> {
  const use = keyUseOf(event)
  if (use === undefined) return { use: "refused" }
  const received = await receive(use)
  if (received === "wrong-role") {
    log({ keyUse: received, requestId: use.requestId, keyId: use.keyId, principal: use.principal })
    emitMetric(METRIC_OF["wrong-role"], 1, "Count", clock())
  }
  return { use: received }
}

async function settle(remainingMs: number) {
  const outcome = await settleUses(ports, {
    delaySec: Number(settings.settleAfterSec),
    until: new Date(clock().getTime() + remainingMs - REST_MS),
  })
  const { explained, open, ageSec } = outcome
  for (const [metric, count] of Object.entries(open)) emitMetric(metric, count, "Count", clock())
  emitMetric("ReconciliationAge", ageSec, "Seconds", clock())
  log({ explained, unexplained: open.UnexplainedKeyUses, withoutEvent: open.KeyUsesWithoutEvent, ageSec })
  return outcome
}

function isApiEvent(event: unknown): event is ApiEvent {
  return typeof event === "object" && event !== null && "routeKey" in event && "requestContext" in event
}
