import { randomUUID } from "node:crypto"
import type { InvokeResult } from "../lambda/events.ts"
import { type HttpReply, type HttpRequest, type LoopbackServer, listenOnLoopback } from "../loopback.ts"
import { buildEvent } from "./event.ts"
import { mapReply, refusal } from "./reply.ts"
import { decodePath, matchRoute, type Route } from "./routes.ts"
import { createTokenBucket } from "./throttle.ts"

export interface OpenFrontOptions {
  readonly routes: readonly Route[]
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
 * Routes without IAM, on a port of 127.0.0.1 for themselves: stock clients (`openssl ts`, `notation --timestamp-url`, `openssl ocsp`) sign no requests. It
 * stands for a stack that opens them; no other route answers here.
 */
export function startOpenFront(options: OpenFrontOptions): Promise<LoopbackServer> {
  const { accountId, apiId, clock } = options
  const isWithinRate = createTokenBucket(THROTTLE.ratePerSec, THROTTLE.burst, clock)

  async function answer(request: HttpRequest): Promise<HttpReply> {
    const path = decodePath(request.rawPath)
    if (path === undefined) return refusal(400)
    const match = matchRoute(options.routes, request.method, request.rawPath)
    if (match === undefined) return refusal(404)
    if (!isWithinRate()) return refusal(429)
    const event = buildEvent(request, {
      match,
      path,
      caller: undefined,
      accountId,
      apiId,
      requestId: randomUUID(),
      now: clock(),
    })
    const result = await options.invoke(match.route.functionName, JSON.stringify(event))
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
