import { request as httpRequest } from "node:http"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import type { StoredObject } from "../../localstack/cdn/conditions.ts"
import { keyOf, startCdn } from "../../localstack/cdn/front.ts"
import type { LoopbackServer } from "../../localstack/loopback.ts"

const body = Buffer.from("0123456789")
const object: StoredObject = {
  body,
  etag: '"abc"',
  contentType: "application/pkix-crl",
  cacheControl: "max-age=60",
  lastModified: new Date("2026-11-20T12:00:00.500Z"),
}
const objects = new Map([
  ["crl/issuer.crl", object],
  ["crl/ü b.crl", object],
  ["tuf/timestamp.json", { ...object, cacheControl: undefined, body: Buffer.alloc(0) }],
  ["private/secret", object],
  ["crlsecret", object],
])

let cdn: LoopbackServer
beforeAll(async () => {
  const read = async (key: string) => {
    if (key === "crl/unreadable") throw new Error("the bucket is down")
    return objects.get(key)
  }
  cdn = await startCdn({ read, publicPaths: ["crl/", "tuf/timestamp.json"] })
})
afterAll(() => cdn.close())

interface Answer {
  readonly status: number | undefined
  readonly headers: Record<string, unknown>
  readonly text: string
}

/** Sends the path as it is; fetch would tidy it. */
const get = (path: string, headers: Record<string, string> = {}, method = "GET", sent = "") =>
  new Promise<Answer>((resolve, reject) => {
    const outgoing = httpRequest({ host: "127.0.0.1", port: cdn.port, path, method, headers }, (incoming) => {
      let text = ""
      incoming.on("data", (chunk) => {
        text += chunk
      })
      incoming.on("end", () => resolve({ status: incoming.statusCode, headers: incoming.headers, text }))
    })
    outgoing.on("error", reject)
    outgoing.end(sent)
  })

test("an object comes with its bytes, type, tag and cache header", async () => {
  expect(await get("/crl/issuer.crl")).toMatchObject({
    status: 200,
    text: "0123456789",
    headers: {
      "content-type": "application/pkix-crl",
      "content-length": "10",
      "cache-control": "max-age=60",
      etag: '"abc"',
      "last-modified": "Fri, 20 Nov 2026 12:00:00 GMT",
    },
  })
  expect(await get("/crl/issuer.crl?v=1")).toMatchObject({ status: 200 })
  expect(await get("/crl/%C3%BC%20b.crl")).toMatchObject({ status: 200 })
  const empty = await get("/tuf/timestamp.json")
  expect(empty).toMatchObject({ status: 200, text: "", headers: { "content-length": "0" } })
  expect(empty.headers["cache-control"]).toBeUndefined()
})

test("HEAD has the headers and no body", async () => {
  const answer = await get("/crl/issuer.crl", {}, "HEAD")
  expect(answer).toMatchObject({ status: 200, text: "", headers: { "content-length": "10", etag: '"abc"' } })
})

test.each(["POST", "PUT", "DELETE", "OPTIONS"])("%s is refused", async (method) => {
  expect(await get("/crl/issuer.crl", {}, method)).toMatchObject({ status: 405, headers: { allow: "GET, HEAD" } })
})

test("a request with a body is refused", async () => {
  expect(await get("/crl/issuer.crl", { "content-length": "1" }, "GET", "x")).toMatchObject({ status: 413 })
})

test("a failing bucket is a 502 that nobody caches", async () => {
  expect(await get("/crl/unreadable")).toMatchObject({ status: 502, headers: { "cache-control": "no-store" } })
})

test.each([
  "/",
  "/crl",
  "/crl/",
  "/crl/missing.crl",
  "/private/secret",
  "/crlsecret",
  "/tuf/timestamp.json/",
  "/tuf/timestamp.jsonx",
  "/crl/../private/secret",
  "/crl/%2e%2e/private/secret",
  "/crl/..%2fprivate/secret",
  "/crl/..%5cprivate/secret",
  "/crl/./issuer.crl",
  "/crl//issuer.crl",
  "//crl/issuer.crl",
  "/crl/issuer.crl%00",
  "/crl/%zz",
])("%s is a 404", async (path) => {
  const answer = await get(path)
  expect(answer.status).toBe(404)
  expect(answer.text).not.toContain("0123")
})

test.each(["/crl/..%2fprivate/secret", "/crl/..%5Cprivate", "/crl\\private", "/crl/%2E%2E/private"])(
  "%s reaches no reader, whatever it makes of dots",
  (path) => {
    expect(keyOf(path)).toBeUndefined()
  },
)

test("a path longer than S3's longest key names nothing", () => {
  expect(keyOf(`/${"a".repeat(1023)}`)).toBe("a".repeat(1023))
  expect(keyOf(`/${"a".repeat(1024)}`)).toBeUndefined()
})

describe("conditions", () => {
  test.each([
    [{ "if-none-match": '"abc"' }, 304],
    [{ "if-none-match": 'W/"abc"' }, 304],
    [{ "if-none-match": '"x", "abc"' }, 304],
    [{ "if-none-match": "*" }, 304],
    [{ "if-none-match": '"x"' }, 200],
    [{ "if-modified-since": "Fri, 20 Nov 2026 12:00:00 GMT" }, 304],
    [{ "if-modified-since": "Fri, 20 Nov 2026 11:59:59 GMT" }, 200],
    [{ "if-modified-since": "no date" }, 200],
    [{ "if-none-match": '"x"', "if-modified-since": "Fri, 20 Nov 2026 12:00:00 GMT" }, 200],
  ])("%j gives %i", async (headers, status) => {
    const answer = await get("/crl/issuer.crl", headers as unknown as Record<string, string>)
    expect(answer).toMatchObject({ status, headers: { etag: '"abc"' } })
    expect(answer.text).toBe(status === 304 ? "" : "0123456789")
  })
})

describe("ranges", () => {
  test.each([
    ["bytes=0-0", 206, "0", "bytes 0-0/10"],
    ["bytes=2-4", 206, "234", "bytes 2-4/10"],
    ["bytes=7-", 206, "789", "bytes 7-9/10"],
    ["bytes=-3", 206, "789", "bytes 7-9/10"],
    ["bytes=-99", 206, "0123456789", "bytes 0-9/10"],
    ["bytes=8-99", 206, "89", "bytes 8-9/10"],
    ["bytes=10-", 416, "", "bytes */10"],
    ["bytes=-0", 416, "", "bytes */10"],
    ["bytes=4-2", 200, "0123456789", undefined],
    ["bytes=0-1,3-4", 200, "0123456789", undefined],
    ["bytes=-", 200, "0123456789", undefined],
    ["items=0-1", 200, "0123456789", undefined],
  ])("%s gives %i %s", async (range, status, text, contentRange) => {
    const answer = await get("/crl/issuer.crl", { range })
    expect([answer.status, answer.text, answer.headers["content-range"]]).toEqual([status, text, contentRange])
  })

  test("If-Range: another version gets the whole object", async () => {
    for (const [ifRange, status] of [
      ['"abc"', 206],
      ['"x"', 200],
      ["Fri, 20 Nov 2026 12:00:00 GMT", 206],
      ["Fri, 20 Nov 2026 12:00:01 GMT", 200],
    ] as const) {
      const answer = await get("/crl/issuer.crl", { range: "bytes=0-0", "if-range": ifRange })
      expect(answer.status, ifRange).toBe(status)
    }
  })
})
