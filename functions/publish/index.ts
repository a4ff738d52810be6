import { setTimeout as sleep } from "node:timers/promises"
import middy from "@middy/core"
import { openDynamoTable } from "@sealwright/adapters/dynamodb"
import { openKmsKeys } from "@sealwright/adapters/kms"
import { openInvoke } from "@sealwright/adapters/lambda"
import { clock, digest, randomBytes } from "@sealwright/adapters/platform"
import { openS3Objects } from "@sealwright/adapters/s3"
import { isServiceError, ServiceError } from "@sealwright/core/errors"
import { watchUses } from "@sealwright/core/key-uses"
import { readHead } from "@sealwright/core/ledger/publication"
import type { PublishPorts } from "@sealwright/core/publish/edition"
import { type Expiry, nextExpiries, nextTufExpiry } from "@sealwright/core/publish/expiry"
import { publish } from "@sealwright/core/publish/flow"
import { runSync } from "@sealwright/verifier/node-crypto"
import { type ApiEvent, callerOf } from "../http/event.ts"
import { log } from "../http/log.ts"
import { emitMetric } from "../http/metrics.ts"
import { problemResponses } from "../http/problem-responses.ts"
import { type Reply, reply } from "../http/reply.ts"
import { readSettings } from "../http/settings.ts"

/** Epochs that one wake-up publishes at most; the schedule goes on from there. */
const MAX_ROUNDS = 4
const API_ATTEMPTS = 8
const API_PAUSE_MS = 1_000

const settings = readSettings(process.env, "table", "bucket", "crlFunction")
const invoke = openInvoke()
const watch = watchUses(
  {
    table: openDynamoTable(settings.table),
    random: randomBytes,
    objects: openS3Objects(settings.bucket),
    keys: openKmsKeys(),
    clock,
    digest,
    run: runSync,
    requestCrl: async (epoch: number, issuerKeyId: string) => {
      const invocation = await invoke(settings.crlFunction, { epoch, issuerKeyId }, "wait")
      if (invocation.outcome !== "done")
        throw new ServiceError("SIGNER_UNAVAILABLE", `no CRL of issuer key ${issuerKeyId}`, { cause: invocation.cause })
    },
  },
  "publish",
)
const ports: PublishPorts = watch.ports

const viaApi = middy<ApiEvent, Reply>()
  .use(problemResponses({ table: ports.table, clock, random: randomBytes }))
  .handler(async (event) => {
    callerOf(event)
    return reply(200, await runPatiently())
  })

/** An API event publishes at once; a wake-up or the schedule publishes when something changed or is due. */
export const handler = async (event: unknown, context: Parameters<typeof viaApi>[1]): Promise<unknown> => {
  watch.begin(context.awsRequestId)
  try {
    return isApiEvent(event) ? await viaApi(event, context) : await drain().catch(tolerateOthers)
  } finally {
    await watch.end()
  }
}

/** What came in while an epoch was published goes into the next at once: whoever woke this function for it found it busy. */
async function drain() {
  let outcome = await run(false)
  for (let round = 1; round < MAX_ROUNDS && outcome.published; round++) outcome = await run(false)
  return outcome
}

/** Whoever asks for a publication gets one, though another publisher may be ahead for a moment. */
async function runPatiently() {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run(true)
    } catch (error) {
      if (attempt === API_ATTEMPTS || !isServiceError(error, "EPOCH_CONFLICT", "STAGING_LOST")) throw error
      await sleep(API_PAUSE_MS)
    }
  }
}

async function run(force: boolean) {
  const outcome = await publish(ports, force)
  const head = await readHead(ports.table)
  const ageSec = head?.committedAt === undefined ? 0 : (clock().getTime() - head.committedAt.getTime()) / 1000
  emitMetric("PublicationAge", ageSec, "Seconds", clock())
  const { people, schedule } = await nextExpiries(ports.table, clock())
  emitDays("DaysToExpiry", people)
  emitDays("OcspDaysToExpiry", schedule)
  const tuf = await nextTufExpiry(ports.table)
  if (tuf !== undefined)
    emitMetric("TufHoursToExpiry", (tuf.at.getTime() - clock().getTime()) / 3_600_000, "Count", clock())
  log({ epoch: outcome.epoch, published: outcome.published, idle: outcome.idle })
  return outcome
}

function emitDays(metric: string, expiry: Expiry | undefined): void {
  if (expiry !== undefined) emitMetric(metric, (expiry.at.getTime() - clock().getTime()) / 86_400_000, "Count", clock())
}

/** Before the ceremony there is nothing to publish, and a publisher that lost to another one has nothing to do. */
function tolerateOthers(error: unknown): { readonly idle: true } {
  if (!isServiceError(error, "PRECONDITION_REQUIRED", "EPOCH_CONFLICT")) throw error
  log({ idle: true, code: error.code })
  return { idle: true }
}

function isApiEvent(event: unknown): event is ApiEvent {
  return typeof event === "object" && event !== null && "routeKey" in event && "requestContext" in event
}
