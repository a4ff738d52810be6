import type { HttpRequest } from "../loopback.ts"
import type { Caller } from "../sigv4.ts"
import type { RouteMatch } from "./routes.ts"

export interface EventContext {
  readonly match: RouteMatch
  /** percent-decoded */
  readonly path: string
  /** undefined on a route without IAM */
  readonly caller: Caller | undefined
  readonly accountId: string
  readonly apiId: string
  readonly requestId: string
  readonly now: Date
}

const TEXT_TYPES = /^(text\/.*|application\/(json|xml|javascript))$/
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

/**
 * The event of an HTTP API with a Lambda proxy integration, payload format 2.0. Members without content
 * (cookies, queryStringParameters, pathParameters, body) are left out, as API Gateway does.
 */
export function buildEvent(request: HttpRequest, context: EventContext): Record<string, unknown> {
  const { match, path, caller, requestId, now } = context
  const { cookie, ...headers } = request.headers
  const routeKey = `${match.route.method} ${match.route.path}`
  const domainName = headers.host ?? ""
  return {
    version: "2.0",
    routeKey,
    rawPath: path,
    rawQueryString: request.rawQuery,
    ...optional("cookies", cookie?.split(/; */)),
    headers: {
      ...headers,
      "x-forwarded-for": request.sourceIp,
      "x-forwarded-port": domainName.split(":")[1] ?? "80",
      "x-forwarded-proto": "http",
    },
    ...optional("queryStringParameters", joinedQuery(request.rawQuery)),
    requestContext: {
      accountId: context.accountId,
      apiId: context.apiId,
      ...(caller && { authorizer: { iam: iamMembers(caller) } }),
      domainName,
      domainPrefix: domainName.split(".")[0],
      http: {
        method: request.method,
        path,
        protocol: "HTTP/1.1",
        sourceIp: request.sourceIp,
        userAgent: headers["user-agent"] ?? "",
      },
      requestId,
      routeKey,
      stage: "$default",
      time: commonLogTime(now),
      timeEpoch: now.getTime(),
    },
    ...optional("pathParameters", match.pathParameters),
    ...bodyMembers(request),
  }
}

function iamMembers(caller: Caller): Record<string, unknown> {
  return {
    accessKey: caller.accessKeyId,
    accountId: caller.accountId,
    callerId: caller.callerId,
    cognitoIdentity: null,
    principalOrgId: null,
    userArn: caller.userArn,
    userId: caller.callerId,
  }
}

function optional(name: string, value: object | undefined): Record<string, unknown> {
  return value === undefined || Object.keys(value).length === 0 ? {} : { [name]: value }
}

function joinedQuery(rawQuery: string): Record<string, string> {
  const joined = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(rawQuery)) {
    const earlier = joined.get(name)
    joined.set(name, earlier === undefined ? value : `${earlier},${value}`)
  }
  return Object.fromEntries(joined)
}

function bodyMembers(request: HttpRequest): { readonly body?: string; readonly isBase64Encoded: boolean } {
  if (request.body.length === 0) return { isBase64Encoded: false }
  const mediaType = (request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? ""
  const text = TEXT_TYPES.test(mediaType) && !request.headers["content-encoding"] ? decodeUtf8(request.body) : undefined
  if (text !== undefined) return { body: text, isBase64Encoded: false }
  return { body: Buffer.from(request.body).toString("base64"), isBase64Encoded: true }
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/** 12/Mar/2020:19:03:58 +0000 */
function commonLogTime(time: Date): string {
  const day = String(time.getUTCDate()).padStart(2, "0")
  return `${day}/${MONTHS[time.getUTCMonth()]}/${time.getUTCFullYear()}:${time.toISOString().slice(11, 19)} +0000`
}
