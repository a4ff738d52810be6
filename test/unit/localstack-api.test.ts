import { execFile, execFileSync } from "node:child_process"
import { promisify } from "node:util"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { type AccessEntry, startApiFront } from "../../localstack/api/front.ts"
import { createPrincipals, type Principal } from "../../localstack/api/principals.ts"
import { mapReply } from "../../localstack/api/reply.ts"
import { matchRoute, type Route } from "../../localstack/api/routes.ts"
import { createTokenBucket } from "../../localstack/api/throttle.ts"
import type { InvokeResult } from "../../localstack/lambda/events.ts"
import type { LoopbackServer } from "../../localstack/loopback.ts"
import { compilePolicy, type Statement } from "../../localstack/policy.ts"
import { type SigningCredentials, signerOf } from "./localstack-signer.ts"

const REGION = "eu-central-1"
const ACCOUNT = "000000000000"
const API = "local0api0"
const arn = (rest: string) => `arn:aws:execute-api:${REGION}:${ACCOUNT}:${API}/$default/${rest}`
const allow = (...Resource: string[]): Statement => ({ Effect: "Allow", Action: "execute-api:Invoke", Resource })

const signer: Principal = {
  accessKeyId: "ASIASIGNER",
  secretAccessKey: "signer-secret",
  sessionToken: "signer-token",
  roleName: "release-signer",
  sessionName: "pipeline-7",
  statements: [allow(arn("POST/v1/profiles/release/*"))],
}
const auditor: Principal = {
  accessKeyId: "ASIAAUDITOR",
  secretAccessKey: "auditor-secret",
  roleName: "auditor",
  sessionName: "anna",
  statements: [allow(arn("*")), { Effect: "Deny", Action: "execute-api:*", Resource: arn("POST/v1/revocations") }],
}

const routes: Route[] = [
  { method: "POST", path: "/v1/profiles/{profile}/signatures", functionName: "sign" },
  { method: "GET", path: "/v1/profiles/{profile}/signatures/{id}", functionName: "records" },
  { method: "POST", path: "/v1/revocations", functionName: "revoke" },
  { method: "GET", path: "/v1/narrow", functionName: "narrow", throttle: { ratePerSec: 0.001, burst: 2 } },
  { method: "ANY", path: "/v1/any/{rest+}", functionName: "any" },
]

let answer: (functionName: string, event: never) => InvokeResult | Promise<InvokeResult>
let invoked: { readonly functionName: string; readonly event: Record<string, unknown> }[] = []
let entries: AccessEntry[] = []
let front: LoopbackServer

beforeAll(async () => {
  front = await startApiFront({
    routes,
    principals: createPrincipals(ACCOUNT, [signer, auditor]),
    invoke: async (functionName, payload) => {
      invoked.push({ functionName, event: JSON.parse(payload) })
      return answer(functionName, JSON.parse(payload) as never)
    },
    region: REGION,
    accountId: ACCOUNT,
    apiId: API,
    clock: () => new Date(),
    integrationTimeoutMs: 50,
    log: (entry) => entries.push(entry),
  })
})
beforeEach(() => {
  answer = () => ({ payload: '{"statusCode":200,"body":"done"}' })
  invoked = []
  entries = []
})
afterAll(() => front.close())

interface Call {
  readonly method?: string
  readonly path?: string
  readonly body?: string
  readonly headers?: Record<string, string>
  readonly by?: SigningCredentials
}

async function call({
  method = "POST",
  path = "/v1/profiles/release/signatures",
  body,
  headers = {},
  by = signer,
}: Call) {
  const url = new URL(path, front.url)
  const query: Record<string, string[]> = {}
  for (const [name, value] of url.searchParams) query[name] = [...(query[name] ?? []), value]
  const request = {
    protocol: "http:",
    hostname: "127.0.0.1",
    method,
    path: url.pathname,
    query,
    headers: { host: url.host, "content-type": "application/json", ...headers },
    ...(body === undefined ? {} : { body }),
  }
  const signed = await signerOf(REGION, "execute-api", by).sign(request)
  return fetch(url, { method, headers: signed.headers, ...(body === undefined ? {} : { body }) })
}

const refusal = async (response: Response) => [response.status, await response.json()]

describe("the event", () => {
  test("has every member of payload format 2.0", async () => {
    const body = '{"subject":"ü"}'
    const headers = { "x-two": "a", cookie: "one=1; two=2", "user-agent": "pipeline/1" }
    const response = await call({ path: "/v1/profiles/release/signatures?b=2&a=x%20y&b=3", body, headers })
    expect([response.status, await response.text()]).toEqual([200, "done"])
    const requestId = response.headers.get("apigw-requestid")
    expect(requestId).toMatch(/^[\w-]{15}=$/)
    expect(invoked).toHaveLength(1)
    const { functionName, event } = invoked[0] as (typeof invoked)[0]
    expect(functionName).toBe("sign")
    const context = event.requestContext as Record<string, unknown>
    const host = front.url.slice("http://".length)
    expect(event).toEqual({
      version: "2.0",
      routeKey: "POST /v1/profiles/{profile}/signatures",
      rawPath: "/v1/profiles/release/signatures",
      rawQueryString: "b=2&a=x%20y&b=3",
      cookies: ["one=1", "two=2"],
      headers: expect.objectContaining({
        host,
        "x-two": "a",
        "content-type": "application/json",
        "x-amz-security-token": "signer-token",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-port": String(front.port),
      }),
      queryStringParameters: { b: "2,3", a: "x y" },
      pathParameters: { profile: "release" },
      requestContext: {
        accountId: ACCOUNT,
        apiId: API,
        authorizer: {
          iam: {
            accessKey: "ASIASIGNER",
            accountId: ACCOUNT,
            callerId: expect.stringMatching(/^AROA[0-9A-F]{17}:pipeline-7$/),
            cognitoIdentity: null,
            principalOrgId: null,
            userArn: `arn:aws:sts::${ACCOUNT}:assumed-role/release-signer/pipeline-7`,
            userId: expect.stringMatching(/^AROA[0-9A-F]{17}:pipeline-7$/),
          },
        },
        domainName: host,
        domainPrefix: "127",
        http: {
          method: "POST",
          path: "/v1/profiles/release/signatures",
          protocol: "HTTP/1.1",
          sourceIp: "127.0.0.1",
          userAgent: "pipeline/1",
        },
        requestId,
        routeKey: "POST /v1/profiles/{profile}/signatures",
        stage: "$default",
        time: expect.stringMatching(/^\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000$/),
        timeEpoch: expect.any(Number),
      },
      body,
      isBase64Encoded: false,
    })
    expect(Math.abs(Date.now() - (context.timeEpoch as number))).toBeLessThan(60_000)
    expect(event.headers).not.toHaveProperty("cookie")
  })

  test("leaves out what is empty, and decodes the path", async () => {
    await call({ method: "GET", path: "/v1/profiles/a%20b/signatures/sha256%3Aabc", by: auditor })
    const { event } = invoked[0] as (typeof invoked)[0]
    expect(event).toMatchObject({
      rawPath: "/v1/profiles/a b/signatures/sha256:abc",
      rawQueryString: "",
      pathParameters: { profile: "a b", id: "sha256:abc" },
      isBase64Encoded: false,
    })
    for (const member of ["body", "cookies", "queryStringParameters"]) expect(event).not.toHaveProperty(member)
  })

  test("a body that is not text comes in base64", async () => {
    for (const headers of [{ "content-type": "application/octet-stream" }, { "content-encoding": "gzip" }]) {
      await call({ body: "text", headers: headers as Record<string, string> })
    }
    const bodies = invoked.map(({ event }) => [event.body, event.isBase64Encoded])
    expect(bodies).toEqual([
      ["dGV4dA==", true],
      ["dGV4dA==", true],
    ])
  })
})

describe("API Gateway's own refusals", () => {
  test("403: no signature, a wrong secret, no token, no Allow, a Deny; the function is not invoked", async () => {
    const forbidden = [403, { message: "Forbidden" }]
    expect(await refusal(await fetch(`${front.url}/v1/revocations`, { method: "POST" }))).toEqual(forbidden)
    expect(await refusal(await call({ by: { ...signer, secretAccessKey: "wrong" } }))).toEqual(forbidden)
    const { accessKeyId, secretAccessKey } = signer
    expect(await refusal(await call({ by: { accessKeyId, secretAccessKey } }))).toEqual(forbidden)
    expect(await refusal(await call({ path: "/v1/profiles/other/signatures" }))).toEqual(forbidden)
    expect(await refusal(await call({ path: "/v1/revocations", by: auditor }))).toEqual(forbidden)
    expect(invoked).toEqual([])
    expect(entries.map((entry) => entry.refusal)).toEqual(["MISSING", "MISMATCH", "TOKEN_MISMATCH", "POLICY", "POLICY"])
    expect(entries.at(-1)?.userArn).toContain("assumed-role/auditor/anna")
  })

  test("404 for an unknown path or method, before any signature is asked for", async () => {
    for (const [method, path] of [
      ["GET", "/"],
      ["GET", "/v1/revocations"],
      ["POST", "/v1/revocations/"],
      ["POST", "/v1/profiles//signatures"],
    ] as const) {
      expect(await refusal(await fetch(front.url + path, { method }))).toEqual([404, { message: "Not Found" }])
    }
  })

  test("413 above 10 MB, declared or streamed", async () => {
    const tooLarge = [413, { message: "Request Entity Too Large" }]
    const body = Buffer.alloc(10 * 1024 * 1024 + 1)
    expect(await refusal(await fetch(`${front.url}/v1/revocations`, { method: "POST", body }))).toEqual(tooLarge)
    const stream = new Blob([body]).stream()
    const streamed = await fetch(`${front.url}/v1/revocations`, {
      method: "POST",
      body: stream,
      duplex: "half",
    } as never)
    expect(await refusal(streamed)).toEqual(tooLarge)
  })

  test("413 for an event above Lambda's 6 MB", async () => {
    const response = await call({ body: JSON.stringify("x".repeat(6 * 1024 * 1024)) })
    expect(await refusal(response)).toEqual([413, { message: "Request Entity Too Large" }])
    expect(invoked).toEqual([])
  })

  test("429 once the route's burst is used, on that route alone", async () => {
    const statuses = []
    for (let i = 0; i < 3; i++) statuses.push((await call({ method: "GET", path: "/v1/narrow", by: auditor })).status)
    expect(statuses).toEqual([200, 200, 429])
    expect((await call({})).status).toBe(200)
  })

  test.each<[string, number, string, () => InvokeResult | Promise<InvokeResult>]>([
    [
      "a function error",
      500,
      "FUNCTION_ERROR",
      () => ({ functionError: "Unhandled", payload: '{"errorMessage":"secret"}' }),
    ],
    ["a malformed reply", 500, "FUNCTION_REPLY", () => ({ payload: '{"statusCode":"abc"}' })],
    ["a function that can't be invoked", 500, "Error: down", () => Promise.reject(new Error("down"))],
    ["a function that takes too long", 503, "TIMEOUT", () => new Promise(() => {})],
  ])("%s is a bare %i", async (_, status, reason, result) => {
    answer = result
    const message = status === 500 ? "Internal Server Error" : "Service Unavailable"
    expect(await refusal(await call({}))).toEqual([status, { message }])
    expect(entries[0]?.refusal).toBe(reason)
  })
})

describe("the reply", () => {
  test("status, headers, cookies and body come through", async () => {
    const headers = { "Content-Type": "application/problem+json", "X-Number": 5, "Content-Length": "999" }
    const payload = JSON.stringify({ statusCode: 409, headers, cookies: ["a=1", "b=2"], body: '{"code":"X"}' })
    answer = () => ({ payload })
    const response = await call({})
    expect([response.status, await response.text()]).toEqual([409, '{"code":"X"}'])
    expect(response.headers.get("content-type")).toBe("application/problem+json")
    expect(response.headers.get("x-number")).toBe("5")
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"])
    expect(response.headers.get("x-amzn-requestid")).toBe(response.headers.get("apigw-requestid"))
  })

  test.each([
    ['{"statusCode":201,"body":"AAEC","isBase64Encoded":true}', 201, "text/plain; charset=utf-8", "\u0000\u0001\u0002"],
    ['{"statusCode":204}', 204, "text/plain; charset=utf-8", ""],
    ['{"a":1}', 200, "application/json", '{"a":1}'],
    ['"text"', 200, "application/json", '"text"'],
    ["null", 200, "application/json", "null"],
  ])("%s is mapped", (payload, status, contentType, body) => {
    const reply = mapReply(payload)
    expect(reply).toMatchObject({ status, headers: { "content-type": contentType } })
    expect(Buffer.from(reply?.body as string).toString()).toBe(body)
  })

  test.each([
    "{",
    '{"statusCode":"200"}',
    '{"statusCode":99}',
    '{"statusCode":200,"body":{}}',
    '{"statusCode":200,"headers":[]}',
    '{"statusCode":200,"headers":{"a":{}}}',
    '{"statusCode":200,"headers":{"a":"1\\r\\nb: 2"}}',
    '{"statusCode":200,"headers":{"a b":"1"}}',
    '{"statusCode":200,"cookies":"a=1"}',
    '{"statusCode":200,"cookies":["a\\n"]}',
    '{"statusCode":200,"isBase64Encoded":"yes"}',
  ])("%s is malformed", (payload) => {
    expect(mapReply(payload)).toBeUndefined()
  })
})

test("the more specific route wins", () => {
  const table: Route[] = ["/{all+}", "/v1/{x}", "/v1/fixed", "/v1/{x}/{rest+}"].map((path) => ({
    method: "ANY",
    path,
    functionName: path,
  }))
  table.push({ method: "GET", path: "/v1/{y}", functionName: "get" })
  const chosen = (method: string, path: string) => matchRoute(table, method, path)?.route.functionName
  expect(chosen("POST", "/v1/fixed")).toBe("/v1/fixed")
  expect(chosen("POST", "/v1/other")).toBe("/v1/{x}")
  expect(chosen("GET", "/v1/other")).toBe("get")
  expect(chosen("POST", "/v1/a/b/c")).toBe("/v1/{x}/{rest+}")
  expect(chosen("POST", "/other")).toBe("/{all+}")
  expect(matchRoute(table, "PUT", "/v1/a/b%2Fc/d")?.pathParameters).toEqual({ x: "a", rest: "b/c/d" })
})

describe("policies", () => {
  test.each([
    [[allow("*")], "execute-api:Invoke", "anything", true],
    [[allow(arn("GET/*"))], "execute-api:Invoke", arn("GET/a/b"), true],
    [[allow(arn("GET/*"))], "execute-api:Invoke", arn("POST/a/b"), false],
    [[allow(arn("GET/a?"))], "EXECUTE-API:invoke", arn("GET/ab"), true],
    [[allow(arn("GET/a?"))], "execute-api:Invoke", arn("GET/a"), false],
    [[allow(arn("GET/a.b"))], "execute-api:Invoke", arn("GET/aXb"), false],
    [
      [allow("*"), { Effect: "Deny", Action: ["x:*", "execute-api:I*"], Resource: "*" }],
      "execute-api:Invoke",
      "a",
      false,
    ],
    [[], "execute-api:Invoke", "a", false],
  ] as [Statement[], string, string, boolean][])("%j on %s %s: %s", (statements, action, resource, decision) => {
    expect(compilePolicy(statements)(action, resource)).toBe(decision)
  })

  test("a statement with a condition is refused, not ignored", () => {
    const statement = { ...allow("*"), Condition: { StringEquals: {} } }
    expect(() => compilePolicy([statement])).toThrow(TypeError)
    expect(() => createPrincipals(ACCOUNT, [signer, signer])).toThrow(TypeError)
  })
})

test("a token bucket fills with time, up to its burst", () => {
  let nowMs = 0
  const take = createTokenBucket(2, 3, () => new Date(nowMs))
  expect([take(), take(), take(), take()]).toEqual([true, true, true, false])
  nowMs = 500
  expect([take(), take()]).toEqual([true, false])
  nowMs = 1e9
  expect([take(), take(), take(), take()]).toEqual([true, true, true, false])
  nowMs = 0
  expect(take()).toBe(false)
})

const hasCurl = (() => {
  try {
    return execFileSync("curl", ["--version"]).length > 0
  } catch {
    return false
  }
})()
if (!hasCurl) process.stdout.write("curl is not on this machine: the front is not called by it\n")

test.skipIf(!hasCurl)("curl --aws-sigv4 gets an answer with the right secret, and a 403 with another", async () => {
  const curl = async (secret: string) => {
    const options = ["--silent", "--aws-sigv4", `aws:amz:${REGION}:execute-api`, "--user", `ASIAAUDITOR:${secret}`]
    const url = `${front.url}/v1/profiles/release/signatures`
    return (await promisify(execFile)("curl", [...options, "--json", '{"a":1}', url])).stdout
  }
  expect(await curl("auditor-secret")).toBe("done")
  expect(await curl("wrong")).toBe('{"message":"Forbidden"}')
})
