import { openDynamoTable } from "@sealwright/adapters/dynamodb"
import { clock, digest, randomBytes } from "@sealwright/adapters/platform"
import { openKmsAndWrappedKeys } from "@sealwright/adapters/wrapped-keys"
import { isServiceError, ServiceError } from "@sealwright/core/errors"
import { createTimestampAuthority } from "@sealwright/core/timestamp/flow"
import { isTimestampPolicy, MAX_TIMESTAMP_QUERIES } from "@sealwright/core/timestamp/rules"
import { base64Decode, base64Encode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { MAX_TIMESTAMP_QUERY_BYTES, TIMESTAMP_QUERY_TYPE, TIMESTAMP_REPLY_TYPE } from "@sealwright/formats/timestamp"
import { runSync } from "@sealwright/verifier/node-crypto"
import type { ApiEvent } from "../http/event.ts"
import { log } from "../http/log.ts"
import { emitMetric } from "../http/metrics.ts"
import { problemReply, type Reply } from "../http/reply.ts"
import { readSettings } from "../http/settings.ts"

const settings = readSettings(process.env, "table", "stack", "timestampPolicy")
if (!isTimestampPolicy(settings.timestampPolicy))
  throw new Error("SEALWRIGHT_TIMESTAMP_POLICY is not an OID for stock clients")
const answer = createTimestampAuthority(
  {
    table: openDynamoTable(settings.table),
    keys: openKmsAndWrappedKeys(settings.stack),
    clock,
    random: randomBytes,
    digest,
    run: runSync,
  },
  settings.timestampPolicy,
)

/** What another function of the deployment sends: queries and replies in standard base64 of their DER. */
interface Invocation {
  readonly timestampQueries: readonly string[]
}
interface InvocationAnswer {
  /** one a query, in their order; null where none could be made */
  readonly timestampReplies: readonly (string | null)[]
}

/**
 * A request of RFC 3161 over the API, or from a function of the deployment. Who calls need not be known: the route may be open, so nothing is
 * written to the ledger on a stranger's behalf, and a token is its own record.
 */
export const handler = async (event: ApiEvent | Invocation): Promise<Reply | InvocationAnswer> => {
  if (!isApiEvent(event)) {
    const queries = Array.isArray(event.timestampQueries) ? event.timestampQueries : []
    if (queries.length > MAX_TIMESTAMP_QUERIES)
      throw new Error(`${queries.length} queries; an invocation carries ${MAX_TIMESTAMP_QUERIES}`)
    return { timestampReplies: await Promise.all(queries.map(replyOrNull)) }
  }
  const { requestId } = event.requestContext
  const mediaType = event.headers["content-type"]?.split(";")[0]?.trim().toLowerCase()
  if (mediaType !== TIMESTAMP_QUERY_TYPE)
    return problemReply(new ServiceError("REQUEST_MALFORMED", `the content type is ${TIMESTAMP_QUERY_TYPE}`), requestId)
  const response = await timestamp(queryBytes(event.body, event.isBase64Encoded), requestId)
  return {
    statusCode: 200,
    headers: { "content-type": TIMESTAMP_REPLY_TYPE, "cache-control": "no-store" },
    body: base64Encode(response),
    isBase64Encoded: true,
  }
}

/** One query that fails takes no other along. */
async function replyOrNull(query: string): Promise<string | null> {
  try {
    return base64Encode(await timestamp(queryBytes(query, true), undefined))
  } catch (cause) {
    log({ timestamp: "failed", code: codeOf(cause) })
    return null
  }
}

async function timestamp(query: Uint8Array, requestId: string | undefined): Promise<Uint8Array> {
  const { response, outcome, cause } = await answer(query)
  log({ requestId, timestamp: outcome, ...(cause !== undefined && { code: codeOf(cause) }) })
  const failed = outcome === "systemFailure" || outcome === "timeNotAvailable"
  if (outcome === "granted" || failed) emitMetric(failed ? "TimestampFailures" : "TimestampTokens", 1, "Count", clock())
  return response
}

/** Nothing for what is missing, too long or not base64, and nothing is no request: RFC 3161 has a word for that. */
function queryBytes(body: string | undefined, isBase64Encoded: boolean): Uint8Array {
  if (typeof body !== "string" || !isBase64Encoded || body.length > (MAX_TIMESTAMP_QUERY_BYTES * 4) / 3 + 4)
    return new Uint8Array(0)
  try {
    return base64Decode(body)
  } catch (error) {
    if (error instanceof FormatError) return new Uint8Array(0)
    throw error
  }
}

function codeOf(cause: unknown): string {
  return isServiceError(cause)
    ? cause.code
    : cause instanceof Error
      ? `UNEXPECTED ${cause.name}: ${cause.message}`
      : "UNEXPECTED"
}

function isApiEvent(event: ApiEvent | Invocation): event is ApiEvent {
  return "routeKey" in event && "requestContext" in event
}
