import { randomBytes } from "node:crypto"
import { type InvokeResult, MAX_PAYLOAD_BYTES } from "../lambda/events.ts"
import { type HttpReply, type HttpRequest, type LoopbackServer, listenOnLoopback } from "../loopback.ts"
import { createSigV4Verifier } from "../sigv4.ts"
import { buildEvent } from "./event.ts"
import type { Principals } from "./principals.ts"
import { mapReply, refusal } from "./reply.ts"
import { decodePath, matchRoute, type Route } from "./routes.ts"
import { createTokenBucket } from "./throttle.ts"

export interface ApiFrontOptions {
  readonly routes: readonly Route[]
  readonly principals: Principals
  /** @param payload the event, JSON text */
  readonly invoke: (functionName: string, payload: string) => Promise<InvokeResult>
  readonly region: string
  readonly accountId: string
  readonly apiId: string
  readonly clock: () => Date
  readonly port?: number
  /** 30 seconds, as API Gateway's, unless given */
  readonly integrationTimeoutMs?: number
  /** one entry for each request, sent after its reply is decided */
  readonly log?: (entry: AccessEntry) => void
}

export interface AccessEntry {
  readonly requestId: string
  readonly time: Date
  readonly method: string
  readonly rawPath: string
  readonly routeKey: string | undefined
  readonly status: number
  readonly userArn: string | undefined
  /** why the front itself refused; undefined when the function answered */
  readonly refusal: string | undefined
}

const MAX_BODY_BYTES = 10 * 1024 * 1024
const INTEGRATION_TIMEOUT_MS = 30_000
const DEFAULT_THROTTLE = { ratePerSec: 10_000, burst: 5_000 }

interface Decision {
  readonly reply: HttpReply
  readonly routeKey?: string
  readonly userArn?: string
  readonly refusal?: string
}

/** An API Gateway HTTP API on 127.0.0.1: IAM authorization on every route, Lambda proxy integrations, stage $default. */
export function startApiFront(options: ApiFrontOptions): Promise<LoopbackServer> {
  const { principals, clock } = options
  const sigV4 = createSigV4Verifier({
    credentials: principals.lookup,
    region: options.region,
    service: "execute-api",
    clock,
  })
  const buckets = new Map(
    options.routes.map((route) => {
      const { ratePerSec, burst } = route.throttle ?? DEFAULT_THROTTLE
      return [route, createTokenBucket(ratePerSec, burst, clock)]
    }),
  )

  async function decide(request: HttpRequest, requestId: string): Promise<Decision> {
    const path = decodePath(request.rawPath)
    if (path === undefined) return { reply: refusal(400), refusal: "PATH" }
    const match = matchRoute(options.routes, request.method, request.rawPath)
    if (match === undefined) return { reply: refusal(404), refusal: "ROUTE" }
    const { route } = match
    const routeKey = `${route.method} ${route.path}`
    const signedBy = sigV4.authenticate(request, request.rawPath, request.body)
    if (!signedBy.ok) return { reply: refusal(403), routeKey, refusal: signedBy.refusal }
    const { caller } = signedBy
    const known = { routeKey, userArn: caller.userArn }
    const resource = `arn:aws:execute-api:${options.region}:${options.accountId}:${options.apiId}/$default/${request.method}${path}`
    if (!principals.isAllowed(caller.accessKeyId, "execute-api:Invoke", resource)) {
      return { reply: refusal(403), ...known, refusal: "POLICY" }
    }
    if (buckets.get(route)?.() === false) return { reply: refusal(429), ...known, refusal: "THROTTLE" }
    const { accountId, apiId } = options
    const event = buildEvent(request, { match, path, caller, accountId, apiId, requestId, now: clock() })
    return { ...known, ...(await integrate(route.functionName, JSON.stringify(event))) }
  }

  async function integrate(functionName: string, payload: string): Promise<Decision> {
    if (Buffer.byteLength(payload) > MAX_PAYLOAD_BYTES) return { reply: refusal(413), refusal: "EVENT_SIZE" }
    const result = await within(
      options.integrationTimeoutMs ?? INTEGRATION_TIMEOUT_MS,
      options.invoke(functionName, payload),
    )
    if (result === "timed out") return { reply: refusal(503), refusal: "TIMEOUT" }
    if (result.functionError !== undefined) return { reply: refusal(500), refusal: "FUNCTION_ERROR" }
    const reply = mapReply(result.payload)
    return reply === undefined ? { reply: refusal(500), refusal: "FUNCTION_REPLY" } : { reply }
  }

  return listenOnLoopback({
    ...(options.port === undefined ? {} : { port: options.port }),
    maxBodyBytes: MAX_BODY_BYTES,
    onRequest: async (request) => {
      const requestId = newRequestId()
      const decision = await decide(request, requestId).catch(
        (error): Decision => ({ reply: refusal(500), refusal: String(error) }),
      )
      options.log?.({
        requestId,
        time: clock(),
        method: request.method,
        rawPath: request.rawPath,
        routeKey: decision.routeKey,
        status: decision.reply.status,
        userArn: decision.userArn,
        refusal: decision.refusal,
      })
      return withRequestId(decision.reply, requestId)
    },
    tooLarge: () => withRequestId(refusal(413), newRequestId()),
    failed: () => withRequestId(refusal(500), newRequestId()),
  })
}

function withRequestId(reply: HttpReply, requestId: string): HttpReply {
  return { ...reply, headers: { ...reply.headers, "apigw-requestid": requestId, "x-amzn-requestid": requestId } }
}

/** HTTP APIs have short ids: 15 characters of base64 and "=". */
function newRequestId(): string {
  return `${randomBytes(12).toString("base64url").slice(0, 15)}=`
}

async function within<T>(timeoutMs: number, work: Promise<T>): Promise<T | "timed out"> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<"timed out">((resolve) => {
    timer = setTimeout(() => resolve("timed out"), timeoutMs)
  })
  try {
    return await Promise.race([work, timeout])
  } finally {
    clearTimeout(timer)
  }
}
