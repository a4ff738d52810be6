import type { MiddlewareObj } from "@middy/core"
import { isServiceError, ServiceError } from "@sealwright/core/errors"
import { principalOf } from "@sealwright/core/names"
import type { Clock, RandomBytes, Table } from "@sealwright/core/ports"
import { recordRefusal } from "@sealwright/core/records/refusals"
import { FormatError } from "@sealwright/formats/errors"
import type { ApiEvent } from "./event.ts"
import { log } from "./log.ts"
import { bareFailure, problemReply, type Reply } from "./reply.ts"

export interface RefusalPorts {
  readonly table: Table
  readonly clock: Clock
  readonly random: RandomBytes
}

/**
 * Turns what a handler throws into an answer: a code of ours into a problem and, where someone was refused, an audit entry (R12); anything
 * else into a bare 500.
 */
export function problemResponses(ports: RefusalPorts): MiddlewareObj<ApiEvent, Reply> {
  return {
    onError: async (request) => {
      const { requestId } = request.event.requestContext
      const error = codedError(request.error)
      request.response = error === undefined ? bareFailure(requestId) : problemReply(error, requestId)
      log({
        requestId,
        route: request.event.routeKey,
        status: request.response.statusCode,
        code: error?.code ?? "UNEXPECTED",
      })
      if (error === undefined) return log({ requestId, failure: describe(request.error) })
      if (isRefusal(error))
        await audit(ports, request.event, error).catch((failure: unknown) =>
          log({ requestId, failure: describe(failure) }),
        )
    },
  }
}

/** A decoder's refusal of something in the request is the caller's mistake. */
function codedError(error: unknown): ServiceError | undefined {
  if (isServiceError(error)) return error
  if (!(error instanceof FormatError)) return undefined
  switch (error.code) {
    case "DIGEST_MALFORMED":
      return new ServiceError("DIGEST_INVALID", error.message, { cause: error })
    case "REFERENCE_MALFORMED":
      return new ServiceError("REFERENCE_INVALID", error.message, { cause: error })
    default:
      return undefined
  }
}

/** Whatever was not done because of the caller or a policy; trouble behind the service is not a refusal. */
function isRefusal(error: ServiceError): boolean {
  return error.code !== "STORE_UNAVAILABLE" && error.code !== "SIGNER_UNAVAILABLE" && error.code !== "CONTENTION"
}

async function audit(ports: RefusalPorts, event: ApiEvent, error: ServiceError): Promise<void> {
  const principal = principalOf(event.requestContext.authorizer?.iam?.userArn ?? "") ?? "unknown"
  await recordRefusal(
    ports,
    { principal, requestId: event.requestContext.requestId },
    event.routeKey,
    event.rawPath,
    error.code,
  )
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : typeof error
}
