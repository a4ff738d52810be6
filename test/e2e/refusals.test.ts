import { createHash } from "node:crypto"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { roleArn } from "../../localstack/people.ts"
import type { LocalService } from "../../localstack/service.ts"
import { ERROR_CODES, type ErrorCode } from "../../packages/core/src/errors.ts"
import {
  type Answer,
  type CallOptions,
  callApi,
  fsckLocal,
  keysOf,
  REPOSITORY,
  startLocal,
  temporaryFolder,
} from "./local.ts"

/** Bad input over HTTP: each gives its code, its status, what to do, an audit entry, and leaves nothing half-done (D11). */

const STATUS = { caller: 400, denied: 403, missing: 404, conflict: 409, backend: 503 }
const digestOf = (seed: string) => `sha256:${createHash("sha256").update(seed).digest("hex")}`
const folder = temporaryFolder()
let service: LocalService
let counter = 0

function call(role: string, method: string, path: string, options: CallOptions = {}): Promise<Answer> {
  return callApi(service.apiUrl, keysOf(service, role), method, path, options)
}

async function done(answer: Promise<Answer>): Promise<Answer> {
  const { status, json } = await answer
  if (status >= 300) throw new Error(`HTTP ${status}: ${JSON.stringify(json)}`)
  return await answer
}

function signBody(seed: string, change: object = {}) {
  const subject = { mediaType: "application/octet-stream", digest: digestOf(seed), size: 1 }
  return { subject, reference: `${REPOSITORY}:v1`, ...change }
}

const SIGN = "/v1/profiles/release/signatures"

beforeAll(async () => {
  service = await startLocal(folder.path)
  const names = {
    country: "US",
    state: "Washington",
    organisation: "Wabbit Networks",
    identityHost: "trust.wabbit-networks.io",
    crlHost: new URL(service.trustUrl).host,
    tufUrl: `${service.trustUrl}/tuf`,
  }
  const before = await call("pipeline", "POST", SIGN, { body: signBody("early") })
  expect(before).toMatchObject({ status: 400, json: { code: "PRECONDITION_REQUIRED" } })
  await done(call("admin", "POST", "/v1/ceremony", { body: names }))
  await done(call("admin", "POST", "/v1/issuers", { body: { name: "ci" } }))
  const profile = { issuer: "ci", principals: [roleArn("pipeline")], repositories: [REPOSITORY] }
  for (const name of ["release", "suspended", "revoked", "limited"])
    await done(
      call("admin", "POST", "/v1/profiles", {
        body: { ...profile, name, ...(name === "limited" && { expirySec: 60 }) },
      }),
    )
  await done(
    call("admin", "POST", "/v1/profiles", { body: { ...profile, name: "others", principals: [roleArn("other")] } }),
  )
  await done(call("admin", "POST", "/v1/profiles/suspended/suspend"))
  const from = `${new Date().toISOString().slice(0, 19)}Z`
  await done(
    call("revoker", "POST", "/v1/revocations", { body: { target: { kind: "profile", profile: "revoked", from } } }),
  )
  await done(
    call("revoker", "POST", "/v1/revocations", { body: { target: { kind: "artifact", digest: digestOf("denied") } } }),
  )
  await done(call("pipeline", "POST", SIGN, { body: signBody("first"), headers: { "idempotency-key": "used" } }))
}, 60_000)

afterAll(async () => {
  await service?.close()
  folder.remove()
})

async function auditOf(requestId: string) {
  const { json } = await done(call("auditor", "GET", "/v1/audit", { query: { limit: "200" } }))
  const entries = [...json.entries]
  for (let next = json.next; next !== undefined; ) {
    const page = await done(call("auditor", "GET", "/v1/audit", { query: { limit: "200", after: next } }))
    entries.push(...page.json.entries)
    next = page.json.next
  }
  return entries.filter((entry: { requestId: string }) => entry.requestId === requestId)
}

async function expectRefused(answer: Answer, code: ErrorCode, role: string): Promise<void> {
  const { kind, retry, remedy } = ERROR_CODES[code]
  expect(answer.json).toMatchObject({
    type: `urn:sealwright:error:${code}`,
    code,
    status: STATUS[kind],
    retry,
    remedy,
    requestId: expect.any(String),
  })
  expect(answer.status).toBe(STATUS[kind])
  expect(answer.contentType).toBe("application/problem+json")
  expect(await auditOf(answer.json.requestId)).toEqual([
    expect.objectContaining({ outcome: "refused", code, principal: roleArn(role) }),
  ])
}

interface BadRequest {
  readonly name: string
  readonly code: ErrorCode
  readonly path?: string
  readonly raw?: string
  readonly body?: unknown
  readonly headers?: Record<string, string>
}

const subject = (change: object) => signBody("x", { subject: { ...signBody("x").subject, ...change } })
const entries = (count: number) => Array.from({ length: count }, (_, i) => signBody(`many ${i}`))

const SIGN_REQUESTS: readonly BadRequest[] = [
  { name: "an oversize body", code: "REQUEST_TOO_LARGE", raw: `{"a":"${"x".repeat(256 * 1024)}"}` },
  { name: "no body", code: "REQUEST_MALFORMED" },
  { name: "text that is no JSON", code: "REQUEST_MALFORMED", raw: "{" },
  { name: "a member twice", code: "REQUEST_MALFORMED", raw: '{"reference":"a","reference":"b"}' },
  { name: "a list", code: "REQUEST_MALFORMED", body: [] },
  { name: "null", code: "REQUEST_MALFORMED", raw: "null" },
  { name: "deep nesting", code: "REQUEST_MALFORMED", raw: "[".repeat(2000) + "]".repeat(2000) },
  { name: "a subject of another type", code: "REQUEST_MALFORMED", body: signBody("x", { subject: "x" }) },
  { name: "a size in text", code: "REQUEST_MALFORMED", body: subject({ size: "1" }) },
  { name: "a negative size", code: "REQUEST_MALFORMED", body: subject({ size: -1 }) },
  { name: "a media type with a line break", code: "REQUEST_MALFORMED", body: subject({ mediaType: "a/b\nc" }) },
  { name: "an unknown member", code: "REQUEST_MALFORMED", body: signBody("x", { payload: "eyJ9" }) },
  { name: "annotations of the caller's", code: "REQUEST_MALFORMED", body: subject({ annotations: { a: "b" } }) },
  { name: "__proto__", code: "REQUEST_MALFORMED", raw: JSON.stringify(signBody("x")).replace("{", '{"__proto__":{},') },
  {
    name: "__proto__ in the subject",
    code: "REQUEST_MALFORMED",
    raw: JSON.stringify(signBody("x")).replace('{"media', '{"__proto__":{"size":1},"media'),
  },
  { name: "constructor", code: "REQUEST_MALFORMED", body: signBody("x", { constructor: 1 }) },
  { name: "a short digest", code: "DIGEST_INVALID", body: subject({ digest: "sha256:abcd" }) },
  { name: "a digest in upper case", code: "DIGEST_INVALID", body: subject({ digest: digestOf("x").toUpperCase() }) },
  {
    name: "an unknown digest algorithm",
    code: "DIGEST_INVALID",
    body: subject({ digest: `md5:${"0".repeat(32)}` }),
  },
  {
    name: "a reference in upper case",
    code: "REFERENCE_INVALID",
    body: signBody("x", { reference: "Registry/App:v1" }),
  },
  {
    name: "a reference that climbs",
    code: "REFERENCE_INVALID",
    body: signBody("x", { reference: `${REPOSITORY}/../other` }),
  },
  {
    name: "a reference by another digest",
    code: "REFERENCE_INVALID",
    body: signBody("x", { reference: `${REPOSITORY}@${digestOf("y")}` }),
  },
  { name: "an expiry that is no time", code: "REQUEST_MALFORMED", body: signBody("x", { expiresAt: "tomorrow" }) },
  {
    name: "an expiry on no day",
    code: "REQUEST_MALFORMED",
    body: signBody("x", { expiresAt: "2027-02-30T00:00:00Z" }),
  },
  { name: "an expiry in the past", code: "EXPIRY_INVALID", body: signBody("x", { expiresAt: "2020-01-01T00:00:00Z" }) },
  {
    name: "an expiry beyond the profile's",
    code: "EXPIRY_INVALID",
    path: "/v1/profiles/limited/signatures",
    body: signBody("x", { expiresAt: "2030-01-01T00:00:00Z" }),
  },
  { name: "an empty batch", code: "REQUEST_MALFORMED", body: { subjects: [] } },
  { name: "101 subjects", code: "REQUEST_MALFORMED", body: { subjects: entries(101) } },
  { name: "a subject twice", code: "SUBJECT_REPEATED", body: { subjects: [signBody("x"), signBody("x")] } },
  {
    name: "a used key with another body",
    code: "IDEMPOTENCY_CONFLICT",
    body: signBody("second"),
    headers: { "idempotency-key": "used" },
  },
  {
    name: "a used key with a batch",
    code: "IDEMPOTENCY_CONFLICT",
    body: { subjects: entries(2) },
    headers: { "idempotency-key": "used" },
  },
  { name: "a key with a space", code: "REQUEST_MALFORMED", body: signBody("x"), headers: { "idempotency-key": "a b" } },
  {
    name: "a key that is too long",
    code: "REQUEST_MALFORMED",
    body: signBody("x"),
    headers: { "idempotency-key": "k".repeat(129) },
  },
  { name: "an unknown profile", code: "PROFILE_UNKNOWN", path: "/v1/profiles/nobody/signatures", body: signBody("x") },
  {
    name: "a profile's name that is none",
    code: "PROFILE_UNKNOWN",
    path: "/v1/profiles/__proto__/signatures",
    body: signBody("x"),
  },
  {
    name: "a suspended profile",
    code: "PROFILE_SUSPENDED",
    path: "/v1/profiles/suspended/signatures",
    body: signBody("x"),
  },
  { name: "a revoked profile", code: "PROFILE_REVOKED", path: "/v1/profiles/revoked/signatures", body: signBody("x") },
  {
    name: "a caller that the profile does not list",
    code: "CALLER_NOT_LISTED",
    path: "/v1/profiles/others/signatures",
    body: signBody("x"),
  },
  {
    name: "a repository out of scope",
    code: "REPOSITORY_OUT_OF_SCOPE",
    body: signBody("x", { reference: "registry.wabbit-networks.io/other:v1" }),
  },
  { name: "a denied digest", code: "DIGEST_DENIED", body: signBody("denied") },
]

describe("signing refuses (R9, R10, R12)", () => {
  test.each(SIGN_REQUESTS)("$name: $code", async ({ code, path = SIGN, name: _, ...options }) => {
    await expectRefused(await call("pipeline", "POST", path, options), code, "pipeline")
  })

  test("in a batch each for itself, with an entry each", async () => {
    const body = {
      subjects: [
        signBody(`good ${counter++}`),
        signBody("denied"),
        signBody("x", { reference: "registry.wabbit-networks.io/other" }),
      ],
    }
    const { status, json } = await call("pipeline", "POST", SIGN, { body })
    expect(status).toBe(200)
    expect(json.results.map((result: { problem?: { code: string } }) => result.problem?.code ?? "signed")).toEqual([
      "signed",
      "DIGEST_DENIED",
      "REPOSITORY_OUT_OF_SCOPE",
    ])
    const audit = await auditOf(json.results[1].problem.requestId)
    expect(audit.map(({ code }: { code?: string }) => code ?? "done").sort()).toEqual([
      "DIGEST_DENIED",
      "REPOSITORY_OUT_OF_SCOPE",
      "done",
    ])
  })
})

const FROM = "2026-01-01T00:00:00Z"
const ID = "01JD3Y0V6ZV4Q6D8W9X4K2M7RT"
const target = (value: object) => ({ target: value })

const REVOCATIONS: readonly BadRequest[] = [
  { name: "no target", code: "REQUEST_MALFORMED", body: {} },
  { name: "an unknown kind", code: "REQUEST_MALFORMED", body: target({ kind: "key", key: "a" }) },
  { name: "an unknown member", code: "REQUEST_MALFORMED", body: target({ kind: "issuer", issuer: "ci", until: FROM }) },
  { name: "a bad digest", code: "DIGEST_INVALID", body: target({ kind: "artifact", digest: "sha256:1" }) },
  {
    name: "an unknown reason",
    code: "REQUEST_MALFORMED",
    body: { ...target({ kind: "signature", signature: ID }), reason: "aACompromise" },
  },
  { name: "an unknown signature", code: "SIGNATURE_UNKNOWN", body: target({ kind: "signature", signature: ID }) },
  {
    name: "an unknown certificate",
    code: "CERTIFICATE_UNKNOWN",
    body: target({ kind: "certificate", thumbprint: "ab".repeat(32) }),
  },
  {
    name: "an issuer from the future on",
    code: "REQUEST_MALFORMED",
    body: target({ kind: "issuer", issuer: "ci", from: "2099-01-01T00:00:00Z" }),
  },
  { name: "an unknown issuer", code: "ISSUER_UNKNOWN", body: target({ kind: "issuer", issuer: "nobody" }) },
  {
    name: "an unknown profile",
    code: "PROFILE_UNKNOWN",
    body: target({ kind: "profile", profile: "nobody", from: FROM }),
  },
  {
    name: "a window in the future",
    code: "REQUEST_MALFORMED",
    body: target({ kind: "principal", principal: roleArn("x"), from: "2099-01-01T00:00:00Z" }),
  },
  {
    name: "an effective time in the future",
    code: "REQUEST_MALFORMED",
    body: { ...target({ kind: "artifact", digest: digestOf("z") }), effectiveAt: "2099-01-01T00:00:00Z" },
  },
  {
    name: "a hold on an issuer",
    code: "REQUEST_MALFORMED",
    body: { ...target({ kind: "issuer", issuer: "ci" }), reason: "certificateHold" },
  },
  {
    name: "a hold on what is final",
    code: "REVOCATION_FINAL",
    body: { ...target({ kind: "artifact", digest: digestOf("denied") }), reason: "certificateHold" },
  },
  {
    name: "a release of nothing",
    code: "REVOCATION_UNKNOWN",
    path: `/v1/revocations/rev-${"0".repeat(32)}/release`,
    body: {},
  },
]

describe("revoking refuses (R24)", () => {
  test.each(REVOCATIONS)("$name: $code", async ({ code, path = "/v1/revocations", name: _, ...options }) => {
    await expectRefused(await call("revoker", "POST", path, options), code, "revoker")
  })
})

interface AdminRequest extends BadRequest {
  readonly method?: string
}

const PROFILE = { name: "new", issuer: "ci", principals: [roleArn("pipeline")], repositories: [REPOSITORY] }
const ADMIN: readonly AdminRequest[] = [
  { name: "a profile with a wild principal", code: "REQUEST_MALFORMED", body: { ...PROFILE, principals: ["*"] } },
  { name: "a profile for everything", code: "REQUEST_MALFORMED", body: { ...PROFILE, repositories: ["*"] } },
  { name: "a profile's name with a capital", code: "REQUEST_MALFORMED", body: { ...PROFILE, name: "New" } },
  { name: "a profile with an unknown member", code: "REQUEST_MALFORMED", body: { ...PROFILE, rawDigest: true } },
  { name: "a profile of an unknown issuer", code: "ISSUER_UNKNOWN", body: { ...PROFILE, issuer: "nobody" } },
  {
    name: "a profile that exists otherwise",
    code: "ALREADY_EXISTS",
    body: { ...PROFILE, name: "release", allowList: true },
  },
  {
    name: "an issuer that exists otherwise",
    code: "ALREADY_EXISTS",
    path: "/v1/issuers",
    body: { name: "ci", algorithm: "rsa-pss-sha384" },
  },
  {
    name: "a change of an unknown profile",
    code: "PROFILE_UNKNOWN",
    method: "PATCH",
    path: "/v1/profiles/nobody",
    body: { expirySec: 60 },
  },
  {
    name: "a change of a revoked profile",
    code: "PROFILE_REVOKED",
    method: "PATCH",
    path: "/v1/profiles/revoked",
    body: { expirySec: 60 },
  },
  {
    name: "a change of what never changes",
    code: "REQUEST_MALFORMED",
    method: "PATCH",
    path: "/v1/profiles/release",
    body: { issuer: "ci" },
  },
  { name: "a resume of a revoked profile", code: "PROFILE_REVOKED", path: "/v1/profiles/revoked/resume" },
  {
    name: "an allow list that is not kept",
    code: "REQUEST_MALFORMED",
    method: "PUT",
    path: "/v1/profiles/release/allowances",
    body: { repository: REPOSITORY, digests: [digestOf("a")] },
  },
  {
    name: "a name that leaves a root's no room: 64 characters are the most (RFC 5280)",
    code: "REQUEST_MALFORMED",
    path: "/v1/ceremony",
    body: {
      country: "DE",
      state: "Berlin",
      organisation: "X".repeat(47),
      identityHost: "a.b",
      crlHost: "a.b",
      tufUrl: "https://a.b/tuf",
    },
  },
  {
    name: "a second ceremony with other names",
    code: "ALREADY_EXISTS",
    path: "/v1/ceremony",
    body: {
      country: "DE",
      state: "Berlin",
      organisation: "X",
      identityHost: "a.b",
      crlHost: "a.b",
      tufUrl: "https://a.b/tuf",
    },
  },
]

describe("administration refuses", () => {
  test.each(ADMIN)("$name: $code", async ({ code, method = "POST", path = "/v1/profiles", name: _, ...options }) => {
    await expectRefused(await call("admin", method, path, options), code, "admin")
  })
})

describe("reading refuses", () => {
  test.each<[ErrorCode, string, Record<string, string>?]>([
    ["SIGNATURE_UNKNOWN", `/v1/signatures/${ID}`],
    ["SIGNATURE_UNKNOWN", "/v1/signatures/x"],
    ["DIGEST_INVALID", "/v1/signatures", { digest: "sha256:1" }],
    ["REQUEST_MALFORMED", "/v1/signatures"],
    ["REQUEST_MALFORMED", "/v1/profiles/release/signatures", { limit: "201" }],
    ["REQUEST_MALFORMED", "/v1/profiles/release/signatures", { after: "x" }],
    ["REQUEST_MALFORMED", "/v1/profiles/release/signatures", { from: "x" }],
    ["REQUEST_MALFORMED", "/v1/audit", { day: "today" }],
    ["PROFILE_UNKNOWN", "/v1/profiles/nobody"],
    ["ISSUER_UNKNOWN", "/v1/issuers/nobody"],
    ["REVOCATION_UNKNOWN", "/v1/revocations/rev-1"],
  ])("%s for %s %j", async (code, path, query = {}) => {
    await expectRefused(await call("auditor", "GET", path, { query }), code, "auditor")
  })

  test("a signature under another profile's path is not there", async () => {
    const made = await done(call("pipeline", "POST", SIGN, { body: signBody(`one ${counter++}`) }))
    const { id } = made.json.signature
    await expectRefused(
      await call("auditor", "GET", `/v1/profiles/limited/signatures/${id}`),
      "SIGNATURE_UNKNOWN",
      "auditor",
    )
    expect((await call("auditor", "GET", `/v1/profiles/release/signatures/${id}`)).status).toBe(200)
  })
})

test("after all of it nothing is half-done: fsck finds nothing, and only what was asked rightly is recorded", async () => {
  await done(call("admin", "POST", "/v1/publications"))
  const { findings, items } = await fsckLocal(service)
  expect(findings).toEqual([])
  const refused = new Set([digestOf("x"), digestOf("denied"), digestOf("second"), digestOf("early")])
  const subjects = items.filter(({ sk }) => sk === "record").map((item) => (item.subject as { digest: string }).digest)
  expect(subjects.length).toBeGreaterThan(2)
  expect(subjects.filter((digest) => refused.has(digest))).toEqual([])
}, 60_000)
