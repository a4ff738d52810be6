import { execFile, execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { promisify } from "node:util"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import { type HttpRequest, type LoopbackServer, listenOnLoopback } from "../../localstack/loopback.ts"
import { type Authentication, createSigV4Verifier, type LocalCredential } from "../../localstack/sigv4.ts"
import { signerOf } from "./localstack-signer.ts"

const REGION = "eu-central-1"
const NOW = new Date("2026-11-20T12:00:00Z")
const plain = { accessKeyId: "AKIAPLAIN", secretAccessKey: "plain-secret" }
const session = { accessKeyId: "ASIASESSION", secretAccessKey: "session-secret", sessionToken: "token/+=" }

const credentialOf = (accessKeyId: string): LocalCredential | undefined => {
  const found = [plain, session].find((candidate) => candidate.accessKeyId === accessKeyId)
  if (found === undefined) return undefined
  const caller = {
    accessKeyId,
    accountId: "000000000000",
    userArn: `arn:of:${accessKeyId}`,
    callerId: `id:${accessKeyId}`,
  }
  return { ...found, caller }
}

const verifierOf = (service: string, clock = () => NOW) =>
  createSigV4Verifier({ credentials: credentialOf, region: REGION, service, clock })

interface Sample {
  readonly method: string
  readonly path: string
  readonly query: Record<string, string | string[]>
  readonly headers: Record<string, string>
  readonly body: string
}

const post: Sample = {
  method: "POST",
  path: "/v1/profiles/release/signatures",
  query: {},
  headers: { host: "127.0.0.1:4566", "content-type": "application/json" },
  body: '{"subject":1}',
}

type WireRequest = Omit<HttpRequest, "sourceIp">

const toWire = (signed: { headers: Record<string, string>; query?: unknown }, sample: Sample): WireRequest => ({
  method: sample.method,
  rawPath: sample.path,
  rawQuery: Object.entries((signed.query ?? sample.query) as Sample["query"])
    .flatMap(([name, values]) =>
      [values].flat().map((value) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`),
    )
    .join("&"),
  headers: Object.fromEntries(Object.entries(signed.headers).map(([name, value]) => [name.toLowerCase(), value])),
  body: Buffer.from(sample.body),
})

async function signed(service = "execute-api", credentials = plain, sample = post, at = NOW): Promise<WireRequest> {
  const request = { protocol: "http:", hostname: "127.0.0.1", ...sample }
  return toWire((await signerOf(REGION, service, credentials).sign(request, { signingDate: at })) as never, sample)
}

async function presigned(sample: Sample, expiresIn: number, credentials = plain, service = "s3"): Promise<WireRequest> {
  const request = { protocol: "http:", hostname: "127.0.0.1", ...sample }
  return toWire(
    (await signerOf(REGION, service, credentials).presign(request, { signingDate: NOW, expiresIn })) as never,
    sample,
  )
}

const check = (request: WireRequest, service = "execute-api", clock = () => NOW) =>
  verifierOf(service, clock).authenticate(request, request.rawPath, request.body)

const refusalOf = (result: Authentication) => (result.ok ? "accepted" : result.refusal)

describe("what the AWS signer for JavaScript signs", () => {
  const awkward: Sample = {
    ...post,
    path: "/v1/sha256%3Aabc/a%20b/~tilde'(x)*",
    query: { b: ["2", "1"], a: "x y", "k+": "/=&", empty: "" },
    headers: { ...post.headers, "x-amz-meta": "  two   spaces  " },
  }

  test.each([
    ["a plain request", post, plain],
    ["a session token", post, session],
    ["an encoded path, repeated and empty query members, spaces in a header", awkward, plain],
    ["no body", { ...post, method: "GET", body: "" }, plain],
    ["a trailing slash", { ...post, path: "/a/" }, plain],
    ["the root", { ...post, path: "/" }, plain],
  ])("%s is accepted with its caller", async (_, sample, credentials) => {
    const result = check(await signed("execute-api", credentials, sample))
    expect(result).toEqual({
      ok: true,
      caller: credentialOf(credentials.accessKeyId)?.caller,
      payload: { kind: "hashed" },
    })
  })

  test("S3 keys with dot segments, doubled slashes and encoded characters are accepted", async () => {
    const sample = { ...post, method: "PUT", path: "/bucket//a/../b%20c/%3A%2B", query: { "x-id": "PutObject" } }
    expect(check(await signed("s3", plain, sample), "s3")).toMatchObject({ ok: true, payload: { kind: "hashed" } })
  })

  test("S3 takes unsigned and streamed payloads; other services do not", async () => {
    const unsigned = { ...post, headers: { ...post.headers, "x-amz-content-sha256": "UNSIGNED-PAYLOAD" } }
    const form = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    const streamed = { ...post, headers: { ...post.headers, "x-amz-content-sha256": form } }
    expect(check(await signed("s3", plain, unsigned), "s3")).toMatchObject({ ok: true, payload: { kind: "unsigned" } })
    expect(check(await signed("s3", plain, streamed), "s3")).toMatchObject({
      ok: true,
      payload: { kind: "streamed", form, chunks: { scope: `20261120/${REGION}/s3/aws4_request` } },
    })
    expect(refusalOf(check(await signed("execute-api", plain, unsigned)))).toBe("PAYLOAD")
    expect(refusalOf(check(await signed("execute-api", plain, streamed)))).toBe("PAYLOAD")
  })
})

describe("refused", () => {
  const OTHER = Buffer.from('{"subject":2}')
  const sha256Hex = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")
  const change = (request: WireRequest, part: Partial<WireRequest>) => ({ ...request, ...part })
  const withHeader = (request: WireRequest, headers: Record<string, string>) =>
    change(request, { headers: { ...request.headers, ...headers } })
  const without = (request: WireRequest, name: string) =>
    change(request, { headers: Object.fromEntries(Object.entries(request.headers).filter(([key]) => key !== name)) })

  test.each<[string, string, (request: WireRequest) => WireRequest]>([
    ["no Authorization", "MISSING", (r) => without(r, "authorization")],
    ["another scheme", "INCOMPLETE", (r) => withHeader(r, { authorization: "Bearer x" })],
    ["another method", "MISMATCH", (r) => change(r, { method: "PUT" })],
    ["another path", "MISMATCH", (r) => change(r, { rawPath: "/v1/profiles/other/signatures" })],
    ["an added query member", "MISMATCH", (r) => change(r, { rawQuery: "a=1" })],
    ["a query that is no percent-encoding", "INCOMPLETE", (r) => change(r, { rawQuery: "a=%zz" })],
    ["another body", "PAYLOAD", (r) => change(r, { body: OTHER })],
    [
      "another body with its hash",
      "MISMATCH",
      (r) => withHeader(change(r, { body: OTHER }), { "x-amz-content-sha256": sha256Hex(OTHER) }),
    ],
    ["another signed header", "MISMATCH", (r) => withHeader(r, { "content-type": "text/plain" })],
    ["an added x-amz- header", "INCOMPLETE", (r) => withHeader(r, { "x-amz-target": "x" })],
    ["another host", "MISMATCH", (r) => withHeader(r, { host: "elsewhere" })],
    ["no host", "INCOMPLETE", (r) => without(r, "host")],
    ["no date", "INCOMPLETE", (r) => without(r, "x-amz-date")],
    [
      "a token on a key without session",
      "TOKEN_MISMATCH",
      (r) => rewrite(r, "x-amz-date,", "x-amz-date;x-amz-security-token,", { "x-amz-security-token": "x" }),
    ],
    ["another region in the scope", "INCOMPLETE", (r) => rewrite(r, REGION, "us-east-1")],
    ["another service in the scope", "INCOMPLETE", (r) => rewrite(r, "execute-api", "kms")],
    ["another day in the scope", "INCOMPLETE", (r) => rewrite(r, "20261120/", "20261119/")],
    ["an unknown key", "UNKNOWN_KEY", (r) => rewrite(r, "AKIAPLAIN", "AKIANOBODY")],
    ["a known key without its session token", "TOKEN_MISMATCH", (r) => rewrite(r, "AKIAPLAIN", "ASIASESSION")],
    ["a cut signature", "INCOMPLETE", (r) => rewrite(r, /.$/, "")],
    ["a changed signature", "MISMATCH", (r) => rewrite(r, /.$/, (last: string) => (last === "0" ? "1" : "0"))],
    ["host left out of the signed headers", "INCOMPLETE", (r) => rewrite(r, ";host", "")],
    ["signed headers out of order", "INCOMPLETE", (r) => rewrite(r, "content-type;host", "host;content-type")],
  ])("%s: %s", async (_, refusal, alter) => {
    const request = await signed()
    expect(refusalOf(check(request))).toBe("accepted")
    expect(refusalOf(check(alter(request)))).toBe(refusal)
  })

  test("a wrong secret", async () => {
    const request = await signed("execute-api", { ...plain, secretAccessKey: "wrong" })
    expect(refusalOf(check(request))).toBe("MISMATCH")
  })

  test.each([
    [-301, "SKEWED"],
    [-300, "accepted"],
    [300, "accepted"],
    [301, "SKEWED"],
  ])("signed %i seconds from now: %s", async (seconds, outcome) => {
    const at = new Date(NOW.getTime() + seconds * 1000)
    expect(refusalOf(check(await signed("execute-api", plain, post, at)))).toBe(outcome)
  })
})

describe("presigned", () => {
  const get: Sample = {
    ...post,
    method: "GET",
    path: "/bucket/key",
    headers: { host: "127.0.0.1:4566", "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD" },
    body: "",
  }
  const later = (seconds: number) => () => new Date(NOW.getTime() + seconds * 1000)

  test.each([
    [0, "accepted"],
    [60, "accepted"],
    [61, "SKEWED"],
    [-300, "accepted"],
    [-301, "SKEWED"],
  ])("for 60 seconds, used %i seconds later: %s", async (seconds, outcome) => {
    expect(refusalOf(check(await presigned(get, 60), "s3", later(seconds)))).toBe(outcome)
  })

  test("with a session token; a changed key, expiry or token is refused", async () => {
    const request = await presigned(get, 60, session)
    expect(refusalOf(check(request, "s3"))).toBe("accepted")
    expect(refusalOf(check({ ...request, rawPath: "/bucket/other" }, "s3"))).toBe("MISMATCH")
    const longer = request.rawQuery.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
    expect(refusalOf(check({ ...request, rawQuery: longer }, "s3"))).toBe("MISMATCH")
    const forever = request.rawQuery.replace("X-Amz-Expires=60", "X-Amz-Expires=604801")
    expect(refusalOf(check({ ...request, rawQuery: forever }, "s3"))).toBe("INCOMPLETE")
    const otherToken = request.rawQuery.replace("token", "other")
    expect(refusalOf(check({ ...request, rawQuery: otherToken }, "s3"))).toBe("TOKEN_MISMATCH")
    const both = { ...request, headers: { ...request.headers, authorization: "AWS4-HMAC-SHA256 x" } }
    expect(refusalOf(check(both, "s3"))).toBe("INCOMPLETE")
  })
})

function rewrite(
  request: WireRequest,
  from: string | RegExp,
  to: string | ((found: string) => string),
  headers: Record<string, string> = {},
): WireRequest {
  const authorization = (request.headers.authorization ?? "").replace(from, to as string)
  return { ...request, headers: { ...request.headers, ...headers, authorization } }
}

const curlVersion = (() => {
  try {
    return /^curl (\S+)/.exec(execFileSync("curl", ["--version"], { encoding: "utf8" }))?.[1]
  } catch {
    return undefined
  }
})()
if (curlVersion === undefined) process.stdout.write("curl is not on this machine: its signatures are not checked\n")

describe.skipIf(curlVersion === undefined)(`curl ${curlVersion} --aws-sigv4`, () => {
  let server: LoopbackServer
  let clock = () => new Date()
  const curl = async (...args: string[]) => {
    const user = args.includes("--user") ? [] : ["--user", `${plain.accessKeyId}:${plain.secretAccessKey}`]
    const signing = ["--aws-sigv4", `aws:amz:${REGION}:execute-api`, ...user]
    const { stdout } = await promisify(execFile)("curl", [
      "--silent",
      ...(args.includes("--bare") ? [] : signing),
      ...args.filter((arg) => arg !== "--bare"),
    ])
    return stdout
  }

  beforeAll(async () => {
    const onRequest = async (request: HttpRequest) => ({
      status: 200,
      headers: {},
      body: refusalOf(verifierOf("execute-api", clock).authenticate(request, request.rawPath, request.body)),
    })
    const failed = (error: unknown) => ({ status: 500, headers: {}, body: String(error) })
    server = await listenOnLoopback({ maxBodyBytes: 1e6, onRequest, failed, tooLarge: () => failed("too large") })
  })
  afterEach(() => {
    clock = () => new Date()
  })
  afterAll(() => server.close())

  test("GET and POST are accepted", async () => {
    expect(await curl(`${server.url}/v1/profiles`)).toBe("accepted")
    expect(await curl("--json", post.body, `${server.url}${post.path}`)).toBe("accepted")
  })

  test("a wrong secret, a skewed clock and no signature are refused", async () => {
    expect(await curl("--user", "AKIAPLAIN:wrong", `${server.url}/`)).toBe("MISMATCH")
    expect(await curl("--bare", `${server.url}/`)).toBe("MISSING")
    clock = () => new Date(Date.now() + 6 * 60_000)
    expect(await curl(`${server.url}/`)).toBe("SKEWED")
  })
})
