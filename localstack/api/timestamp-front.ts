import { randomUUID } from "node:crypto"
import { TIMESTAMP_ROUTE } from "../../functions/routes.ts"
import type { InvokeResult } from "../lambda/events.ts"
import { type HttpReply, type HttpRequest, type LoopbackServer, listenOnLoopback } from "../loopback.ts"
import { buildEvent } from "./event.ts"
import { mapReply, refusal } from "./reply.ts"
import { createTokenBucket } from "./throttle.ts"

export interface TimestampFrontOptions {
  /** @param payload the event, JSON text */
  readonly invoke: (functionName: string, payload: string) => Promise<InvokeResult>
  readonly accountId: string
  readonly apiId: string
  readonly clock: () => Date
  readonly port: number
}

const MAX_BODY_BYTES = 64 * 1024
const THROTTLE = { ratePerSec: 1_000, burst: 1_000 }

/**
 * The timestamp route without IAM, on a port of 127.0.0.1 for itself: stock clients (`openssl ts`, `notation --timestamp-url`) sign no requests. It stands
 * for a stack with `openTimestamps`; no other route answers here.
 */
export function startTimestampFront(options: TimestampFrontOptions): Promise<LoopbackServer> {
  const { accountId, apiId, clock } = options
  const isWithinRate = createTokenBucket(THROTTLE.ratePerSec, THROTTLE.burst, clock)

  async function answer(request: HttpRequest): Promise<HttpReply> {
    const { method, path, functionName } = TIMESTAMP_ROUTE
    if (request.method !== method || request.rawPath !== path) return refusal(404)
    if (!isWithinRate()) return refusal(429)
    const match = { route: TIMESTAMP_ROUTE, pathParameters: {} }
    const event = buildEvent(request, {
      match,
      path,
      caller: undefined,
      accountId,
      apiId,
      requestId: randomUUID(),
      now: clock(),
    })
    const result = await options.invoke(functionName, JSON.stringify(event))
    return (result.functionError === undefined ? mapReply(result.payload) : undefined) ?? refusal(500)
  }

  return listenOnLoopback({
    port: options.port,
    maxBodyBytes: MAX_BODY_BYTES,
    onRequest: answer,
    tooLarge: () => refusal(413),
    failed: () => refusal(500),
  })
}
