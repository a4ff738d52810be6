import { ERROR_CODES, type ErrorKind, type ServiceError } from "@sealwright/core/errors"

export interface Reply {
  readonly statusCode: number
  readonly headers: { readonly [name: string]: string }
  readonly body: string
  /** `body` is base64 of the bytes that go out */
  readonly isBase64Encoded?: true
}

const STATUS = { caller: 400, denied: 403, missing: 404, conflict: 409, backend: 503 } as const satisfies Record<
  ErrorKind,
  number
>
const NO_STORE = { "cache-control": "no-store" }

export function reply(statusCode: number, body: unknown): Reply {
  return { statusCode, headers: { "content-type": "application/json", ...NO_STORE }, body: JSON.stringify(body) }
}

/** Problem details of RFC 9457 with our code; `detail` is for people and free to change. */
export function problemOf(
  error: ServiceError,
  requestId: string,
): { readonly [name: string]: string | number | boolean } {
  const { kind, retry, remedy } = ERROR_CODES[error.code]
  return {
    type: `urn:sealwright:error:${error.code}`,
    title: error.code,
    status: STATUS[kind],
    code: error.code,
    detail: error.message,
    remedy,
    retry,
    requestId,
  }
}

export function problemReply(error: ServiceError, requestId: string): Reply {
  const { kind, retry } = ERROR_CODES[error.code]
  return {
    statusCode: STATUS[kind],
    headers: { "content-type": "application/problem+json", ...NO_STORE, ...(retry && { "retry-after": "1" }) },
    body: JSON.stringify(problemOf(error, requestId)),
  }
}

/** What nobody foresaw says nothing of the inside. */
export function bareFailure(requestId: string): Reply {
  return {
    statusCode: 500,
    headers: { "content-type": "application/problem+json", ...NO_STORE },
    body: JSON.stringify({ type: "about:blank", title: "Internal Server Error", status: 500, requestId }),
  }
}
