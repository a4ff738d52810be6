import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { KMSClient } from "@aws-sdk/client-kms"
import { createInvoke, LAMBDA } from "@sealwright/adapters/lambda"
import { createSignedRequest } from "@sealwright/adapters/signed-request"
import type { Objects, Table } from "@sealwright/core/ports"
import { utf8 } from "@sealwright/formats/bytes"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest"
import { AwsError } from "../../localstack/http/aws-error.ts"
import type { ServiceCall } from "../../localstack/http/faults.ts"
import { KmsError } from "../../localstack/kms/errors.ts"
import { type Endpoint, embeddedDynamoDb, embeddedKms, embeddedS3 } from "./embedded.ts"
import { CREDENTIALS, keysAt, objectsAt, REGION, tableAt } from "./endpoints.ts"
import type { KeyHome } from "./keys-contract.ts"

/** Faults that the store injects at the next calls of an operation, the oldest first. */
let faults: { readonly operation: string; readonly phase: ServiceCall["phase"]; readonly error: Error }[] = []
const hook = (call: ServiceCall) => {
  const at = faults.findIndex(({ operation, phase }) => operation === call.operation && phase === call.phase)
  if (at >= 0) throw faults.splice(at, 1)[0]?.error
}
const cut = () => Object.assign(new Error("cut"), { code: "ECONNRESET" })
const inject = (count: number, operation: string, phase: ServiceCall["phase"], error: () => Error) => {
  for (let i = 0; i < count; i++) faults.push({ operation, phase, error: error() })
}
const HEADERS = { contentType: "text/plain", cacheControl: "no-store" }
const ALL_ATTEMPTS = 3

/** Every pause before another attempt, the SDK's and the adapters' own, is a random share of a bound: here all draws are short ones. */
beforeAll(() => {
  const draw = Math.random
  vi.spyOn(Math, "random").mockImplementation(() => draw() / 100)
})
afterAll(() => {
  vi.restoreAllMocks()
})

let endpoint: Endpoint
afterEach(async () => {
  faults = []
  await endpoint.close()
})

describe("the table under faults", () => {
  let table: Table
  const key = { pk: "p", sk: "s" }
  const once = () => table.transact([{ update: key, add: { n: 1 } }])

  beforeEach(async () => {
    endpoint = await embeddedDynamoDb(hook)
    table = await tableAt(endpoint.url)
  })

  test("a transaction whose answer was lost is applied once", async () => {
    inject(2, "TransactWriteItems", "after", cut)
    expect(await once()).toEqual({ committed: true })
    expect(faults).toHaveLength(0)
    expect((await table.get(key))?.n).toBe(1)
  })

  test("when every answer is lost the outcome is unknown", async () => {
    inject(ALL_ATTEMPTS, "TransactWriteItems", "after", cut)
    await expect(once()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" })
    expect((await table.get(key))?.n).toBe(1)
  })

  const conflict = () =>
    new AwsError("TransactionCanceledException", "cancelled", 400, {
      CancellationReasons: [{ Code: "TransactionConflict", Message: "conflict" }],
    })

  test("a conflict with another transaction is tried again", async () => {
    inject(2, "TransactWriteItems", "before", conflict)
    expect(await once()).toEqual({ committed: true })
    expect((await table.get(key))?.n).toBe(1)
  })

  test("conflicts without end are CONTENTION, and nothing was applied", async () => {
    inject(50, "TransactWriteItems", "before", conflict)
    await expect(once()).rejects.toMatchObject({ code: "CONTENTION" })
    expect(await table.get(key)).toBeUndefined()
  })

  test.each([
    ["throttled", () => new AwsError("ThrottlingException", "slow down")],
    ["over capacity", () => new AwsError("ProvisionedThroughputExceededException", "slow down")],
    ["broken", () => new AwsError("InternalServerError", "broken", 500)],
  ])("%s: reads and writes are STORE_UNAVAILABLE", async (_, error) => {
    inject(ALL_ATTEMPTS, "TransactWriteItems", "before", error)
    await expect(once()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" })
    inject(ALL_ATTEMPTS, "GetItem", "before", error)
    await expect(table.get(key)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" })
    inject(ALL_ATTEMPTS, "Query", "before", error)
    await expect(table.query("p")).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" })
  })

  test("a refusal of the call itself is no weather", async () => {
    inject(1, "GetItem", "before", () => new AwsError("AccessDeniedException", "no"))
    await expect(table.get(key)).rejects.toMatchObject({ name: "AccessDeniedException" })
  })
})

describe("the objects under faults", () => {
  let objects: Objects

  beforeEach(async () => {
    endpoint = await embeddedS3(hook)
    objects = await objectsAt(endpoint.url)
  })

  test("a lost answer shows as a conflict with oneself", async () => {
    inject(1, "PutObject", "after", cut)
    expect(await objects.create("a", utf8("one"), HEADERS)).toBe("exists")
    expect((await objects.get("a", 10))?.bytes).toEqual(utf8("one"))
  })

  test("a concurrent conditional write is tried again", async () => {
    inject(2, "PutObject", "before", () => new AwsError("ConditionalRequestConflict", "again", 409))
    expect(await objects.create("a", utf8("one"), HEADERS)).toMatchObject({ etag: expect.any(String) })
    inject(50, "PutObject", "before", () => new AwsError("ConditionalRequestConflict", "again", 409))
    await expect(objects.create("b", utf8("one"), HEADERS)).rejects.toMatchObject({ code: "CONTENTION" })
  })

  test("a bucket that does not answer is STORE_UNAVAILABLE", async () => {
    inject(50, "PutObject", "before", cut)
    await expect(objects.create("a", utf8("one"), HEADERS)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" })
    inject(50, "GetObject", "before", () => new AwsError("SlowDown", "slow", 503))
    await expect(objects.get("a", 10)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" })
  })
})

describe("the keys under faults", () => {
  let home: KeyHome

  beforeEach(async () => {
    endpoint = await embeddedKms(hook)
    home = await keysAt(endpoint.url)
  })

  test("throttling is waited for, and without end it is SIGNER_UNAVAILABLE", async () => {
    const key = await home.maker.create("issuer/ci", "issuer", "ecdsa-p256-sha256")
    inject(1, "Sign", "before", () => new KmsError("ThrottlingException", "slow down"))
    expect(await home.keys.sign(key, utf8("m"))).toBeInstanceOf(Uint8Array)
    inject(ALL_ATTEMPTS, "Sign", "before", () => new KmsError("ThrottlingException", "slow down"))
    await expect(home.keys.sign(key, utf8("m"))).rejects.toMatchObject({ code: "SIGNER_UNAVAILABLE" })
    inject(ALL_ATTEMPTS, "Sign", "after", () => new KmsError("KMSInternalException", "broken"))
    await expect(home.keys.sign(key, utf8("m"))).rejects.toMatchObject({ code: "SIGNER_UNAVAILABLE" })
  })

  test.each(["CreateKey", "CreateAlias"])("a maker that stopped at %s goes on when asked again", async (operation) => {
    for (const phase of ["before", "after"] as const) {
      inject(ALL_ATTEMPTS, operation, phase, cut)
      const name = `issuer/${operation.toLowerCase()}-${phase}`
      const first = await home.maker.create(name, "issuer", "ecdsa-p256-sha256").catch((error: unknown) => error)
      const again = await home.maker.create(name, "issuer", "ecdsa-p256-sha256")
      if (first instanceof Error) expect(first).toMatchObject({ code: "SIGNER_UNAVAILABLE" })
      else expect(first).toEqual(again)
      expect(await home.maker.create(name, "issuer", "ecdsa-p256-sha256")).toEqual(again)
      faults = []
    }
  })
})

describe("calling another function", () => {
  let reply: { readonly status: number; readonly headers?: Record<string, string>; readonly body: string }
  const seen: {
    readonly url: string | undefined
    readonly type: string | string[] | undefined
    readonly body: string
  }[] = []
  const invoke = () =>
    createInvoke(
      createSignedRequest(new KMSClient({ region: REGION, credentials: CREDENTIALS }), LAMBDA, {
        endpoint: endpoint.url,
      }),
    )

  beforeEach(async () => {
    const server = createServer(async (request, response) => {
      let body = ""
      for await (const chunk of request) body += chunk
      seen.push({ url: request.url, type: request.headers["x-amz-invocation-type"], body })
      response.writeHead(reply.status, reply.headers).end(reply.body)
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as AddressInfo
    endpoint = {
      url: `http://127.0.0.1:${port}`,
      close: () =>
        new Promise((resolve) => {
          server.closeAllConnections()
          server.close(() => resolve())
        }),
    }
  })

  test("the answer comes back as JSON; an event has none", async () => {
    reply = { status: 200, body: '{"epoch":3}' }
    expect(await invoke()("crl", { epoch: 3 }, "wait")).toEqual({
      outcome: "done",
      answer: expect.objectContaining({ epoch: 3 }),
    })
    reply = { status: 202, body: "" }
    expect(await invoke()("publish", null, "event")).toEqual({ outcome: "done", answer: undefined })
    expect(seen).toEqual([
      { url: "/2015-03-31/functions/crl/invocations", type: "RequestResponse", body: '{"epoch":3}' },
      { url: "/2015-03-31/functions/publish/invocations", type: "Event", body: "null" },
    ])
  })

  test("a function that threw, an answer above 1 MiB and one that is no JSON are failures", async () => {
    reply = { status: 200, headers: { "x-amz-function-error": "Unhandled" }, body: "{}" }
    expect(await invoke()("crl", {}, "wait")).toMatchObject({ outcome: "failed" })
    reply = { status: 200, body: JSON.stringify("x".repeat(1024 * 1024)) }
    expect(await invoke()("crl", {}, "wait")).toMatchObject({ outcome: "failed" })
    reply = { status: 200, body: "{" }
    expect(await invoke()("crl", {}, "wait")).toMatchObject({ outcome: "failed" })
  })

  test("no answer is unavailable; a refusal is thrown", async () => {
    reply = { status: 500, headers: { "x-amzn-errortype": "ServiceException" }, body: "{}" }
    expect(await invoke()("crl", {}, "wait")).toMatchObject({ outcome: "unavailable" })
    reply = { status: 404, headers: { "x-amzn-errortype": "ResourceNotFoundException" }, body: "{}" }
    await expect(invoke()("crl", {}, "wait")).rejects.toMatchObject({ name: "ResourceNotFoundException" })
  })
})
