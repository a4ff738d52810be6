import { ServiceError } from "@sealwright/core/errors"
import type { Actor } from "@sealwright/core/ledger/audit"
import { principalOf } from "@sealwright/core/names"
import type { Digest } from "@sealwright/core/ports"
import { base64Decode, hexEncode, utf8 } from "@sealwright/formats/bytes"
import { canonicalJson } from "@sealwright/formats/canonical-json"
import { FormatError } from "@sealwright/formats/errors"
import { type JsonValue, parseJson } from "@sealwright/formats/strict-json"

/** What we read of an API Gateway HTTP API event, payload format 2.0. */
export interface ApiEvent {
  readonly routeKey: string
  readonly rawPath: string
  readonly headers: { readonly [name: string]: string | undefined }
  readonly queryStringParameters?: { readonly [name: string]: string | undefined }
  readonly pathParameters?: { readonly [name: string]: string | undefined }
  readonly body?: string
  readonly isBase64Encoded: boolean
  readonly requestContext: {
    readonly requestId: string
    readonly authorizer?: { readonly iam?: { readonly userArn?: string } }
  }
}

export const MAX_BODY_BYTES = 256 * 1024
const MAX_DEPTH = 8

/**
 * Who calls, from the SigV4 context alone and never from the body (D10).
 * @throws ServiceError CALLER_NOT_LISTED for a caller that is neither a role nor a user
 */
export function callerOf(event: ApiEvent): Actor {
  const arn = event.requestContext.authorizer?.iam?.userArn ?? ""
  const principal = principalOf(arn)
  if (principal === undefined)
    throw new ServiceError("CALLER_NOT_LISTED", "the caller is neither an IAM role nor an IAM user")
  return { principal, requestId: event.requestContext.requestId }
}

/** @throws ServiceError REQUEST_TOO_LARGE, REQUEST_MALFORMED */
export function bodyOf(event: ApiEvent, maxBytes = MAX_BODY_BYTES): JsonValue {
  const { body } = event
  if (body === undefined || body === "") throw new ServiceError("REQUEST_MALFORMED", "the request has no body")
  if (body.length > (maxBytes * 4) / 3 + 4) throw tooLarge(maxBytes)
  try {
    const bytes = event.isBase64Encoded ? base64Decode(body) : utf8(body)
    if (bytes.length > maxBytes) throw tooLarge(maxBytes)
    return parseJson(bytes, { maxBytes, maxDepth: MAX_DEPTH })
  } catch (error) {
    if (error instanceof FormatError) throw new ServiceError("REQUEST_MALFORMED", error.message, { cause: error })
    throw error
  }
}

function tooLarge(maxBytes: number): ServiceError {
  return new ServiceError("REQUEST_TOO_LARGE", `a body of more than ${maxBytes} bytes`)
}

/** Whether the caller would rather be answered before the work is done (RFC 7240 §4.1). */
export function prefersAsync(event: ApiEvent): boolean {
  const preferences = event.headers.prefer?.split(",") ?? []
  return preferences.some((one) => one.split(";")[0]?.trim().toLowerCase() === "respond-async")
}

/** Lower-case hex SHA-256 of the body as a value, so that white space and member order don't matter. */
export function bodyDigest(digest: Digest, body: JsonValue): string {
  return hexEncode(digest("sha256", canonicalJson(body)))
}

/** @throws ServiceError REQUEST_MALFORMED unless it is 1 to 128 visible ASCII characters */
export function idempotencyKeyOf(event: ApiEvent): string | undefined {
  const key = event.headers["idempotency-key"]
  if (key === undefined) return undefined
  if (!/^[\x21-\x7e]{1,128}$/.test(key))
    throw new ServiceError("REQUEST_MALFORMED", "an Idempotency-Key is 1 to 128 visible ASCII characters")
  return key
}

/** @throws ServiceError REQUEST_MALFORMED when the route has no such parameter */
export function pathParameter(event: ApiEvent, name: string): string {
  const value = event.pathParameters?.[name]
  if (value === undefined || value.length > 200)
    throw new ServiceError("REQUEST_MALFORMED", `no usable ${name} in the path`)
  return value
}
