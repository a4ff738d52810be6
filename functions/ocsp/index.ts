import { openDynamoTable } from "@sealwright/adapters/dynamodb"
import { openKmsKeys } from "@sealwright/adapters/kms"
import { certIdDigest, clock, digest } from "@sealwright/adapters/platform"
import { openS3Objects } from "@sealwright/adapters/s3"
import { isServiceError } from "@sealwright/core/errors"
import { createOcspResponder, type OcspOutcome } from "@sealwright/core/ocsp/flow"
import { base64Decode, base64Encode, hexEncode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { MAX_OCSP_REQUEST_BYTES, OCSP_REQUEST_TYPE, OCSP_RESPONSE_TYPE } from "@sealwright/formats/ocsp"
import { runSync } from "@sealwright/verifier/node-crypto"
import type { ApiEvent } from "../http/event.ts"
import { log } from "../http/log.ts"
import { emitMetric } from "../http/metrics.ts"
import type { Reply } from "../http/reply.ts"
import { readSettings } from "../http/settings.ts"

const settings = readSettings(process.env, "table", "bucket")
const answer = createOcspResponder({
  table: openDynamoTable(settings.table),
  objects: openS3Objects(settings.bucket),
  keys: openKmsKeys(),
  clock,
  digest,
  certIdDigest,
  run: runSync,
})

/** How long a cache may keep a response at most: a revocation is out within two minutes, and should not wait much longer here. */
const MAX_AGE_SEC = 300
const MAX_BASE64 = (MAX_OCSP_REQUEST_BYTES * 4) / 3 + 4

/**
 * A request of RFC 6960 by POST, or by GET with its base64 in the path (A.1). Every answer is an OCSPResponse with status 200, refusals too. Who asks need
 * not be known, and nothing is written on a stranger's behalf.
 */
export const handler = async (event: ApiEvent): Promise<Reply> => {
  const byGet = event.routeKey.startsWith("GET ")
  const outcome = await answer(byGet ? fromPath(event) : fromBody(event))
  report(outcome, event.requestContext.requestId)
  return {
    statusCode: 200,
    headers: { "content-type": OCSP_RESPONSE_TYPE, ...cacheHeaders(outcome, byGet) },
    body: base64Encode(outcome.response),
    isBase64Encoded: true,
  }
}

const NOTHING = new Uint8Array(0)

function fromBody({ headers, body, isBase64Encoded }: ApiEvent): Uint8Array {
  const mediaType = headers["content-type"]?.split(";")[0]?.trim().toLowerCase()
  return mediaType === OCSP_REQUEST_TYPE && isBase64Encoded ? decoded(body) : NOTHING
}

/** Some clients leave "+" as it is, which others on the way read as a blank. */
function fromPath({ pathParameters }: ApiEvent): Uint8Array {
  return decoded(pathParameters?.request?.replaceAll(" ", "+"))
}

/** Nothing for what is missing, too long or not base64, and nothing is no request: RFC 6960 has a word for that. */
function decoded(base64: string | undefined): Uint8Array {
  if (base64 === undefined || base64.length > MAX_BASE64) return NOTHING
  try {
    return base64Decode(base64)
  } catch (error) {
    if (error instanceof FormatError) return NOTHING
    throw error
  }
}

/** RFC 5019 §6.2: what came by GET and repeats no nonce may be kept by anyone on the way. */
function cacheHeaders({ freshness, response }: OcspOutcome, byGet: boolean): Reply["headers"] {
  if (!byGet || freshness === undefined || freshness.hasNonce) return { "cache-control": "no-store" }
  const { thisUpdate, nextUpdate } = freshness
  const left = Math.floor((nextUpdate.getTime() - clock().getTime()) / 1000)
  return {
    "cache-control": `max-age=${Math.max(0, Math.min(MAX_AGE_SEC, left))}, public, no-transform, must-revalidate`,
    etag: `"${hexEncode(digest("sha256", response))}"`,
    expires: nextUpdate.toUTCString(),
    "last-modified": thisUpdate.toUTCString(),
  }
}

function report({ outcome, cause }: OcspOutcome, requestId: string): void {
  log({ requestId, ocsp: outcome, ...(cause !== undefined && { code: codeOf(cause) }) })
  if (outcome === "successful") emitMetric("OcspResponses", 1, "Count", clock())
  else if (cause !== undefined) emitMetric("OcspFailures", 1, "Count", clock())
}

function codeOf(cause: unknown): string {
  return isServiceError(cause)
    ? cause.code
    : cause instanceof Error
      ? `UNEXPECTED ${cause.name}: ${cause.message}`
      : "UNEXPECTED"
}
