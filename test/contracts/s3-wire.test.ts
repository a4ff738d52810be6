import { createHash } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { request as httpRequest } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { afterEach, beforeEach, expect, test } from "vitest"
import { AwsError } from "../../localstack/http/aws-error.ts"
import type { ServiceCall } from "../../localstack/http/faults.ts"
import { createS3, type EmbeddedS3 } from "../../localstack/s3/server.ts"

const MAX_BYTES = 100_000

let folder: string
let s3: EmbeddedS3
let port: number
let hook: (call: ServiceCall) => void

const open = () =>
  createS3({
    path: join(folder, "s3.db"),
    clock: () => new Date("2026-01-01T00:00:00.500Z"),
    maxObjectBytes: MAX_BYTES,
    onCall: (call) => hook(call),
    authenticate: (request) => {
      if (request.headers.authorization === "wrong") throw new AwsError("SignatureDoesNotMatch", "no", 403)
    },
  })

beforeEach(async () => {
  hook = () => undefined
  folder = mkdtempSync(join(tmpdir(), "sealwright-s3-"))
  s3 = open()
  port = (await s3.listen()).port
  await send("PUT", "/bucket")
})

afterEach(async () => {
  await s3.close()
  rmSync(folder, { recursive: true })
})

interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly text: string
  /** the Code element of an error document */
  readonly code: string | undefined
}

/** Sends the path as it is written, which fetch would normalise. */
function send(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body: string | Buffer = "",
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = httpRequest({ host: "127.0.0.1", port, method, path, headers, agent: false }, (reply) => {
      const chunks: Buffer[] = []
      reply.on("data", (chunk: Buffer) => chunks.push(chunk))
      reply.on("error", reject)
      reply.on("end", () => {
        const text = Buffer.concat(chunks).toString()
        resolve({
          status: reply.statusCode ?? 0,
          headers: reply.headers,
          text,
          code: /<Code>(\w+)<\/Code>/.exec(text)?.[1],
        })
      })
    })
    call.on("error", reject)
    call.end(body)
  })
}

test("an error is an XML document of S3", async () => {
  const reply = await send("GET", "/bucket/a%26b")
  expect(reply.status).toBe(404)
  expect(reply.headers["content-type"]).toBe("application/xml")
  expect(reply.text).toMatch(
    /^<\?xml version="1.0" encoding="UTF-8"\?>\n<Error><Code>NoSuchKey<\/Code><Message>[^<]+<\/Message><Key>a&amp;b<\/Key><RequestId>/,
  )
})

test.each<[string, string, string, Record<string, string>, string, number, string]>([
  ["a key that is no UTF-8", "PUT", "/bucket/%ff", {}, "", 400, "InvalidURI"],
  ["a key above 1,024 bytes", "PUT", `/bucket/${"k".repeat(1025)}`, {}, "", 400, "KeyTooLongError"],
  ["a key with a control character", "PUT", "/bucket/a%00b", {}, "", 400, "InvalidArgument"],
  ["a bad bucket name", "PUT", "/UPPER", {}, "", 400, "InvalidBucketName"],
  ["an unknown sub-resource of a key", "GET", "/bucket/key?acl", {}, "", 501, "NotImplemented"],
  ["an unknown sub-resource of a bucket", "PUT", "/bucket?policy", {}, "{}", 501, "NotImplemented"],
  ["a multipart upload", "PUT", "/bucket/key?uploadId=1&partNumber=1", {}, "x", 501, "NotImplemented"],
  ["the first listing protocol", "GET", "/bucket", {}, "", 501, "NotImplemented"],
  ["an object lock", "PUT", "/bucket/key", { "x-amz-object-lock-mode": "GOVERNANCE" }, "x", 501, "NotImplemented"],
  [
    "encryption with a customer's key",
    "PUT",
    "/bucket/key",
    { "x-amz-server-side-encryption-customer-algorithm": "AES256" },
    "x",
    501,
    "NotImplemented",
  ],
  ["a public ACL", "PUT", "/bucket/key", { "x-amz-acl": "public-read" }, "x", 501, "NotImplemented"],
  ["If-None-Match with a tag", "PUT", "/bucket/key", { "if-none-match": '"a"' }, "x", 501, "NotImplemented"],
  ["a wrong Content-MD5", "PUT", "/bucket/key", { "content-md5": "AAAA" }, "x", 400, "BadDigest"],
  ["a wrong CRC-32", "PUT", "/bucket/key", { "x-amz-checksum-crc32": "AAAAAA==" }, "x", 400, "BadDigest"],
  ["a wrong CRC-32C", "PUT", "/bucket/key", { "x-amz-checksum-crc32c": "AAAAAA==" }, "x", 400, "BadDigest"],
  [
    "a checksum that is not there",
    "PUT",
    "/bucket/key",
    { "x-amz-checksum-crc64nvme": "AAAAAAAAAAA=" },
    "x",
    501,
    "NotImplemented",
  ],
  [
    "a wrong payload hash",
    "PUT",
    "/bucket/key",
    { "x-amz-content-sha256": "0".repeat(64) },
    "x",
    400,
    "XAmzContentSHA256Mismatch",
  ],
  [
    "XML with a document type",
    "POST",
    "/bucket?delete",
    {},
    '<!DOCTYPE a [<!ENTITY b "c">]><Delete><Object><Key>&b;</Key></Object></Delete>',
    400,
    "MalformedXML",
  ],
  [
    "XML that is not closed",
    "POST",
    "/bucket?delete",
    {},
    "<Delete><Object><Key>a</Key></Object>",
    400,
    "MalformedXML",
  ],
  ["XML nested too deep", "POST", "/bucket?delete", {}, "<a>".repeat(100), 400, "MalformedXML"],
  [
    "an unknown versioning state",
    "PUT",
    "/bucket?versioning",
    {},
    "<VersioningConfiguration><Status>On</Status></VersioningConfiguration>",
    400,
    "IllegalVersioningConfigurationException",
  ],
  ["a page size that is no number", "GET", "/bucket?list-type=2&max-keys=-1", {}, "", 400, "InvalidArgument"],
  ["a forged continuation token", "GET", "/bucket?list-type=2&continuation-token=%3F", {}, "", 400, "InvalidArgument"],
  ["an unknown version", "GET", "/bucket/key?versionId=none", {}, "", 404, "NoSuchVersion"],
  ["metadata above 2 KB", "PUT", "/bucket/key", { "x-amz-meta-a": "x".repeat(2048) }, "x", 400, "MetadataTooLarge"],
  ["a method of no meaning", "PATCH", "/bucket/key", {}, "", 405, "MethodNotAllowed"],
  ["a wrong signature", "PUT", "/bucket/key", { authorization: "wrong" }, "x", 403, "SignatureDoesNotMatch"],
])("%s is refused by code, and nothing is stored", async (_, method, path, headers, body, status, code) => {
  const reply = await send(method, path, headers, body)
  expect([reply.status, reply.code]).toEqual([status, code])
  expect((await send("GET", "/bucket?list-type=2")).text).toContain("<KeyCount>0</KeyCount>")
})

test("an object above the limit is refused by its declared length, before it is sent", async () => {
  const declared = await new Promise<number | undefined>((resolve, reject) => {
    const headers = { "content-length": String(MAX_BYTES + 1) }
    const call = httpRequest(
      { host: "127.0.0.1", port, method: "PUT", path: "/bucket/big", headers, agent: false },
      (reply) => {
        resolve(reply.statusCode)
        call.destroy()
      },
    )
    call.on("error", reject)
    call.flushHeaders()
  })
  expect(declared).toBe(400)
  const chunked = await send("PUT", "/bucket/big", { "transfer-encoding": "chunked" }, Buffer.alloc(30 * MAX_BYTES))
  expect(chunked.code).toBe("EntityTooLarge")
  expect((await send("PUT", "/bucket/big", {}, Buffer.alloc(MAX_BYTES))).status).toBe(200)
})

function framed(body: Buffer, trailer: string, signed: boolean): Buffer {
  const signature = signed ? `;chunk-signature=${"0".repeat(64)}` : ""
  const half = Math.ceil(body.length / 2)
  const chunks = [body.subarray(0, half), body.subarray(half)].flatMap((chunk) => [
    Buffer.from(`${chunk.length.toString(16)}${signature}\r\n`),
    chunk,
    Buffer.from("\r\n"),
  ])
  return Buffer.concat([...chunks, Buffer.from(`0${signature}\r\n${trailer}\r\n`)])
}

function streaming(body: Buffer, kind: string, trailer?: string): Record<string, string> {
  return {
    "content-encoding": "aws-chunked",
    "x-amz-content-sha256": `STREAMING-${kind}`,
    "x-amz-decoded-content-length": String(body.length),
    ...(trailer && { "x-amz-trailer": trailer }),
  }
}

const BODY = Buffer.from("a body in two chunks")
const crc = (() => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc32(BODY))
  return bytes.toString("base64")
})()

test.each([
  [
    "unsigned with a trailer",
    "UNSIGNED-PAYLOAD-TRAILER",
    "x-amz-checksum-crc32",
    `x-amz-checksum-crc32:${crc}\r\n`,
    false,
  ],
  ["signed", "AWS4-HMAC-SHA256-PAYLOAD", undefined, "", true],
  [
    "signed with a trailer",
    "AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "x-amz-checksum-crc32",
    `x-amz-checksum-crc32:${crc}\r\nx-amz-trailer-signature:${"0".repeat(64)}\r\n`,
    true,
  ],
])("an aws-chunked body, %s", async (_, kind, trailerName, trailer, signed) => {
  const reply = await send("PUT", "/bucket/chunked", streaming(BODY, kind, trailerName), framed(BODY, trailer, signed))
  expect(reply.status).toBe(200)
  const read = await send("GET", "/bucket/chunked", { "x-amz-checksum-mode": "ENABLED" })
  expect(read.text).toBe(BODY.toString())
  expect(read.headers["content-encoding"]).toBeUndefined()
  expect(read.headers["x-amz-checksum-crc32"]).toBe(trailerName && crc)
})

test.each<[string, Buffer, string]>([
  ["a wrong checksum in the trailer", framed(BODY, "x-amz-checksum-crc32:AAAAAA==\r\n", false), "BadDigest"],
  ["no announced trailer", framed(BODY, "", false), "IncompleteBody"],
  [
    "another length than declared",
    framed(BODY.subarray(1), `x-amz-checksum-crc32:${crc}\r\n`, false),
    "IncompleteBody",
  ],
  ["a chunk cut short", framed(BODY, "", false).subarray(0, 15), "IncompleteBody"],
  ["a size that is no number", Buffer.from("zz\r\nx\r\n0\r\n\r\n"), "IncompleteBody"],
  ["no framing at all", BODY, "IncompleteBody"],
])("an aws-chunked body with %s is refused", async (_, body, code) => {
  const headers = streaming(BODY, "UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc32")
  expect((await send("PUT", "/bucket/chunked", headers, body)).code).toBe(code)
  expect((await send("GET", "/bucket/chunked")).status).toBe(404)
})

test("keys with dots, slashes and reserved characters stay apart", async () => {
  const paths = [
    "/bucket/a/../b",
    "/bucket/b",
    "/bucket/a//b",
    "/bucket/a%2Fb",
    "/bucket/a+b",
    "/bucket/a%20b",
    "/bucket/%3Fa%23",
  ]
  for (const path of paths) await send("PUT", path, {}, path)
  for (const path of paths) expect((await send("GET", path)).text).toBe(path)
  const { text } = await send("GET", "/bucket?list-type=2&encoding-type=url")
  expect([...text.matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key]) => key)).toEqual([
    "%3Fa%23",
    "a%20b",
    "a%2Bb",
    "a/../b",
    "a//b",
    "a/b",
    "b",
  ])
})

test("a bucket may be named by the host", async () => {
  await send("PUT", "/by-host", { host: "bucket.s3.localhost" }, "x")
  expect((await send("GET", "/bucket/by-host")).text).toBe("x")
})

test("a 304 has its validators and no body; a HEAD has the length and no body", async () => {
  await send("PUT", "/bucket/key", { "cache-control": "max-age=5" }, "12345")
  const etag = `"${createHash("md5").update("12345").digest("hex")}"`
  const unchanged = await send("GET", "/bucket/key", { "if-none-match": `W/"x", ${etag}` })
  expect([unchanged.status, unchanged.text, unchanged.headers.etag]).toEqual([304, "", etag])
  expect(unchanged.headers["cache-control"]).toBe("max-age=5")
  const head = await send("HEAD", "/bucket/key")
  expect([head.status, head.text, head.headers["content-length"]]).toEqual([200, "", "5"])
  const since = await send("GET", "/bucket/key", { "if-modified-since": "Thu, 01 Jan 2026 00:00:00 GMT" })
  expect(since.status).toBe(304)
})

test("suspended versioning replaces the null version and keeps the others", async () => {
  const state = (status: string) => `<VersioningConfiguration><Status>${status}</Status></VersioningConfiguration>`
  await send("PUT", "/bucket/key", {}, "before")
  await send("PUT", "/bucket?versioning", {}, state("Enabled"))
  const kept = await send("PUT", "/bucket/key", {}, "versioned")
  await send("PUT", "/bucket?versioning", {}, state("Suspended"))
  expect((await send("GET", "/bucket/key?versionId=null")).text).toBe("before")
  await send("PUT", "/bucket/key", {}, "after")
  expect((await send("GET", "/bucket/key?versionId=null")).text).toBe("after")
  expect((await send("GET", `/bucket/key?versionId=${kept.headers["x-amz-version-id"]}`)).text).toBe("versioned")
  const marker = await send("DELETE", "/bucket/key")
  expect([marker.headers["x-amz-delete-marker"], marker.headers["x-amz-version-id"]]).toEqual(["true", "null"])
  expect((await send("GET", "/bucket/key?versionId=null")).code).toBe("MethodNotAllowed")
  expect((await send("DELETE", "/bucket")).code).toBe("BucketNotEmpty")
})

test("objects survive a restart", async () => {
  await send("PUT", "/bucket/key", { "content-type": "text/x" }, "kept")
  await s3.close()
  s3 = open()
  port = (await s3.listen()).port
  const reply = await send("GET", "/bucket/key")
  expect([reply.text, reply.headers["content-type"]]).toEqual(["kept", "text/x"])
})

test("a fault before a call leaves nothing; a fault after it leaves the effect", async () => {
  const calls: string[] = []
  hook = ({ operation, phase }) => {
    calls.push(`${operation} ${phase}`)
    if (phase === "before") throw new AwsError("ConditionalRequestConflict", "try again", 409)
  }
  const refused = await send("PUT", "/bucket/key", { "if-none-match": "*" }, "x")
  expect([refused.status, refused.code]).toEqual([409, "ConditionalRequestConflict"])
  expect(s3.read("bucket", "key")).toBeUndefined()
  hook = ({ operation, phase }) => {
    calls.push(`${operation} ${phase}`)
    if (phase === "after") throw Object.assign(new Error("cut"), { code: "ECONNRESET" })
  }
  await expect(send("PUT", "/bucket/key", { "if-none-match": "*" }, "x")).rejects.toThrow()
  expect(s3.read("bucket", "key")).toMatchObject({
    etag: '"9dd4e461268c8034f5c8564e155c67a6"',
    contentType: "binary/octet-stream",
  })
  expect(calls).toEqual(["PutObject before", "PutObject before", "PutObject after"])
})
