import { createHash, randomBytes, randomUUID } from "node:crypto"
import { Readable } from "node:stream"
import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketLocationCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  type GetObjectCommandInput,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandInput,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
} from "@aws-sdk/client-s3"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { failure } from "./stores.ts"

const RACERS = 20
export const CHECKSUMS = "checksums are verified, kept, and returned when asked"

const md5Tag = (body: string | Uint8Array) => `"${createHash("md5").update(body).digest("hex")}"`

/**
 * What the service expects of any S3: run it on the embedded one, versitygw, moto, or AWS.
 * @param lacking titles of the cases that this one is known to fail; the day it passes one, that case is red
 */
export function s3Contract(title: string, connect: () => S3Client, lacking: readonly string[] = []): void {
  const known = (name: string) => (lacking.includes(name) ? test.fails : test)
  describe(`S3 contract: ${title}`, () => {
    const Bucket = `contract-${randomUUID()}`
    const versioned = `${Bucket}-v`
    let s3: S3Client
    const put = (Key: string, Body: string | Uint8Array, more: Partial<PutObjectCommandInput> = {}) =>
      s3.send(new PutObjectCommand({ Bucket, Key, Body, ...more }))
    const get = async (Key: string, more: Partial<GetObjectCommandInput> = {}) => {
      const reply = await s3.send(new GetObjectCommand({ Bucket, Key, ...more }))
      return { ...reply, text: await reply.Body?.transformToString() }
    }
    const list = (more: Partial<ListObjectsV2CommandInput>) => s3.send(new ListObjectsV2Command({ Bucket, ...more }))
    const status = (error: Record<string, unknown>) => (error.$metadata as { httpStatusCode: number }).httpStatusCode

    beforeAll(async () => {
      s3 = connect()
      await s3.send(new CreateBucketCommand({ Bucket }))
      await s3.send(new CreateBucketCommand({ Bucket: versioned }))
      await s3.send(
        new PutBucketVersioningCommand({ Bucket: versioned, VersioningConfiguration: { Status: "Enabled" } }),
      )
    })

    afterAll(async () => {
      for (const bucket of [Bucket, versioned]) {
        const { Versions = [], DeleteMarkers = [] } = await s3.send(new ListObjectVersionsCommand({ Bucket: bucket }))
        for (const { Key, VersionId } of [...Versions, ...DeleteMarkers]) {
          await s3.send(new DeleteObjectCommand({ Bucket: bucket, Key, VersionId }))
        }
        await s3.send(new DeleteBucketCommand({ Bucket: bucket }))
      }
      s3.destroy()
    })

    test("buckets are found, listed and located; others are not", async () => {
      await s3.send(new HeadBucketCommand({ Bucket }))
      const { Buckets } = await s3.send(new ListBucketsCommand({}))
      expect(Buckets?.map(({ Name }) => Name)).toEqual(expect.arrayContaining([Bucket, versioned]))
      const { LocationConstraint } = await s3.send(new GetBucketLocationCommand({ Bucket }))
      expect(LocationConstraint ?? "us-east-1").toBe("us-east-1")
      const absent = { Bucket: `absent-${randomUUID()}` }
      expect(status(await failure(s3.send(new HeadBucketCommand(absent))))).toBe(404)
      expect((await failure(s3.send(new ListObjectsV2Command(absent)))).name).toBe("NoSuchBucket")
      expect((await failure(s3.send(new PutObjectCommand({ ...absent, Key: "a", Body: "x" })))).name).toBe(
        "NoSuchBucket",
      )
    })

    test("an object comes back with its headers and metadata", async () => {
      const body = randomBytes(70_000)
      const { ETag } = await put("dir/a b+c%20ü&<.bin", body, {
        ContentType: "application/x-test",
        CacheControl: "max-age=60",
        ContentEncoding: "identity",
        Metadata: { purpose: "test", "two-words": "x y" },
      })
      expect(ETag).toBe(md5Tag(body))
      const reply = await s3.send(new GetObjectCommand({ Bucket, Key: "dir/a b+c%20ü&<.bin" }))
      expect(Buffer.from((await reply.Body?.transformToByteArray()) ?? [])).toEqual(body)
      const head = await s3.send(new HeadObjectCommand({ Bucket, Key: "dir/a b+c%20ü&<.bin" }))
      for (const answer of [reply, head]) {
        expect(answer).toMatchObject({
          ETag,
          ContentLength: body.length,
          ContentType: "application/x-test",
          CacheControl: "max-age=60",
          ContentEncoding: "identity",
          Metadata: { purpose: "test", "two-words": "x y" },
        })
        expect(answer.LastModified).toBeInstanceOf(Date)
      }
      const { Contents } = await list({ Prefix: "dir/a b" })
      expect(Contents?.map(({ Key, Size, ETag: tag }) => [Key, Size, tag])).toEqual([
        ["dir/a b+c%20ü&<.bin", body.length, ETag],
      ])
    })

    test("a missing key is NoSuchKey, for HEAD a bare 404; deleting it is no error", async () => {
      expect(await failure(get("absent"))).toMatchObject({ name: "NoSuchKey" })
      expect(status(await failure(s3.send(new HeadObjectCommand({ Bucket, Key: "absent" }))))).toBe(404)
      await s3.send(new DeleteObjectCommand({ Bucket, Key: "absent" }))
    })

    test("an empty object", async () => {
      await put("empty", "", { ContentLength: 0 })
      expect(await get("empty")).toMatchObject({ text: "", ContentLength: 0, ETag: md5Tag("") })
    })

    test("a streamed body (aws-chunked with a trailer) is stored without its framing", async () => {
      const body = randomBytes(200_000)
      await s3.send(
        new PutObjectCommand({
          Bucket,
          Key: "streamed",
          Body: Readable.from([body]),
          ContentLength: body.length,
          ContentEncoding: "gzip",
        }),
      )
      const reply = await s3.send(new GetObjectCommand({ Bucket, Key: "streamed" }))
      expect(reply.ContentEncoding).toBe("gzip")
      expect(Buffer.from((await reply.Body?.transformToByteArray()) ?? []).equals(body)).toBe(true)
    })

    known(CHECKSUMS)(CHECKSUMS, async () => {
      const sha256 = createHash("sha256").update("checked").digest("base64")
      await put("checked", "checked", { ChecksumSHA256: sha256 })
      expect(await get("checked", { ChecksumMode: "ENABLED" })).toMatchObject({
        text: "checked",
        ChecksumSHA256: sha256,
      })
      const wrong = createHash("sha256").update("other").digest("base64")
      expect(status(await failure(put("unchecked", "checked", { ChecksumSHA256: wrong })))).toBe(400)
      expect((await failure(get("unchecked"))).name).toBe("NoSuchKey")
      expect((await failure(put("unchecked", "checked", { ContentMD5: "1B2M2Y8AsgTpgAmY7PhCfg==" }))).name).toBe(
        "BadDigest",
      )
    })

    test.each<[string, string]>([
      ["bytes=0-0", "0"],
      ["bytes=2-4", "234"],
      ["bytes=7-", "789"],
      ["bytes=-3", "789"],
      ["bytes=5-999", "56789"],
      ["bytes=-999", "0123456789"],
    ])("range %s is %s", async (Range, text) => {
      await put("range", "0123456789")
      const reply = await get("range", { Range })
      expect(reply.text).toBe(text)
      expect(reply.$metadata.httpStatusCode).toBe(206)
      const start = "0123456789".indexOf(text)
      expect(reply.ContentRange).toBe(`bytes ${start}-${start + text.length - 1}/10`)
    })

    test("a range past the end is refused", async () => {
      await put("range", "0123456789")
      const error = await failure(get("range", { Range: "bytes=10-" }))
      expect([error.name, status(error)]).toEqual(["InvalidRange", 416])
    })

    test("conditional reads: 304 and 412", async () => {
      const { ETag } = await put("conditional", "x")
      const { LastModified } = await get("conditional")
      expect(status(await failure(get("conditional", { IfNoneMatch: ETag })))).toBe(304)
      expect((await get("conditional", { IfNoneMatch: '"other"' })).text).toBe("x")
      expect(status(await failure(get("conditional", { IfModifiedSince: LastModified })))).toBe(304)
      expect((await get("conditional", { IfModifiedSince: new Date(0) })).text).toBe("x")
      expect((await get("conditional", { IfMatch: ETag })).text).toBe("x")
      expect(status(await failure(get("conditional", { IfMatch: '"other"' })))).toBe(412)
    })

    test("conditional writes: If-None-Match and If-Match", async () => {
      const first = await put("guarded", "1", { IfNoneMatch: "*" })
      const again = await failure(put("guarded", "2", { IfNoneMatch: "*" }))
      expect([again.name, status(again)]).toEqual(["PreconditionFailed", 412])
      const second = await put("guarded", "2", { IfMatch: first.ETag })
      const stale = await failure(put("guarded", "3", { IfMatch: first.ETag }))
      expect([stale.name, status(stale)]).toEqual(["PreconditionFailed", 412])
      expect(await get("guarded")).toMatchObject({ text: "2", ETag: second.ETag })
      expect(status(await failure(put("never-there", "1", { IfMatch: first.ETag })))).toBe(404)
    })

    test(`of ${RACERS} racers on If-None-Match exactly one wins, and its bytes stay`, async () => {
      const outcomes = await Promise.allSettled(
        Array.from({ length: RACERS }, (_, racer) => put("race-new", `racer ${racer}`, { IfNoneMatch: "*" })),
      )
      const winners = outcomes.flatMap(({ status }, racer) => (status === "fulfilled" ? [racer] : []))
      expect(winners).toHaveLength(1)
      expect((await get("race-new")).text).toBe(`racer ${winners[0]}`)
      for (const outcome of outcomes) {
        if (outcome.status === "rejected")
          expect(["PreconditionFailed", "ConditionalRequestConflict"]).toContain(outcome.reason.name)
      }
    })

    test(`of ${RACERS} racers on If-Match exactly one wins each round`, async () => {
      let { ETag } = await put("race-head", "start")
      for (let round = 0; round < 3; round++) {
        const outcomes = await Promise.allSettled(
          Array.from({ length: RACERS }, (_, racer) => put("race-head", `${round}/${racer}`, { IfMatch: ETag })),
        )
        const winners = outcomes.flatMap((outcome, racer) => (outcome.status === "fulfilled" ? [racer] : []))
        expect(winners).toHaveLength(1)
        const head = await get("race-head")
        expect(head.text).toBe(`${round}/${winners[0]}`)
        ETag = head.ETag
      }
    })

    test("listing: order of UTF-8, prefix, delimiter, pages, start-after", async () => {
      const keys = ["l/a/1", "l/a/2", "l/b", "l/c/1", "l/c/2", "l/d", "l/é", "l/\u{1f511}"]
      for (const key of keys.toReversed()) await put(key, key)
      const walk = async (input: Partial<ListObjectsV2CommandInput>) => {
        const found: string[] = []
        const prefixes: string[] = []
        let ContinuationToken: string | undefined
        let pages = 0
        do {
          const page = await list({ Prefix: "l/", ...input, ...(ContinuationToken && { ContinuationToken }) })
          found.push(...(page.Contents ?? []).map(({ Key }) => Key ?? ""))
          prefixes.push(...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix ?? ""))
          expect(page.KeyCount).toBe((page.Contents?.length ?? 0) + (page.CommonPrefixes?.length ?? 0))
          ContinuationToken = page.NextContinuationToken
          expect(page.IsTruncated).toBe(ContinuationToken !== undefined)
          pages += 1
        } while (ContinuationToken)
        return { found, prefixes, pages }
      }
      expect(await walk({})).toEqual({ found: keys, prefixes: [], pages: 1 })
      expect(await walk({ MaxKeys: 3 })).toEqual({ found: keys, prefixes: [], pages: 3 })
      const folded = { found: ["l/b", "l/d", "l/é", "l/\u{1f511}"], prefixes: ["l/a/", "l/c/"] }
      expect(await walk({ Delimiter: "/" })).toEqual({ ...folded, pages: 1 })
      expect(await walk({ Delimiter: "/", MaxKeys: 1 })).toEqual({ ...folded, pages: 6 })
      expect((await walk({ StartAfter: "l/c/1" })).found).toEqual(keys.slice(4))
      expect((await walk({ Prefix: "l/none" })).found).toEqual([])
    })

    test("several objects are deleted at once", async () => {
      for (const key of ["many/1", "many/2", "many/3"]) await put(key, key)
      const { Deleted } = await s3.send(
        new DeleteObjectsCommand({
          Bucket,
          Delete: { Objects: [{ Key: "many/1" }, { Key: "many/2" }, { Key: "many/<none>" }] },
        }),
      )
      expect(Deleted?.map(({ Key }) => Key)).toEqual(["many/1", "many/2", "many/<none>"])
      expect((await list({ Prefix: "many/" })).Contents?.map(({ Key }) => Key)).toEqual(["many/3"])
    })

    test("a copy keeps bytes and metadata, or takes new ones", async () => {
      await put("original", "copied", { ContentType: "text/x-a", Metadata: { a: "1" } })
      await s3.send(new CopyObjectCommand({ Bucket, Key: "copy", CopySource: `${Bucket}/original` }))
      expect(await get("copy")).toMatchObject({ text: "copied", ContentType: "text/x-a", Metadata: { a: "1" } })
      await s3.send(
        new CopyObjectCommand({
          Bucket,
          Key: "copy",
          CopySource: `${Bucket}/original`,
          MetadataDirective: "REPLACE",
          ContentType: "text/x-b",
          Metadata: { b: "2" },
        }),
      )
      expect(await get("copy")).toMatchObject({ ContentType: "text/x-b", Metadata: { b: "2" } })
      const absent = new CopyObjectCommand({ Bucket, Key: "copy", CopySource: `${Bucket}/nothing` })
      expect((await failure(s3.send(absent))).name).toBe("NoSuchKey")
    })

    test("versions: every write is kept, a delete is a marker, and each can be read and removed", async () => {
      const at = { Bucket: versioned, Key: "v" }
      const write = (Body: string) => s3.send(new PutObjectCommand({ ...at, Body }))
      expect((await s3.send(new GetBucketVersioningCommand({ Bucket: versioned }))).Status).toBe("Enabled")
      const first = await write("1")
      const second = await write("2")
      expect(first.VersionId).not.toBe(second.VersionId)
      const marker = await s3.send(new DeleteObjectCommand(at))
      expect(marker.DeleteMarker).toBe(true)
      expect((await failure(s3.send(new GetObjectCommand(at)))).name).toBe("NoSuchKey")
      const old = await s3.send(new GetObjectCommand({ ...at, VersionId: first.VersionId }))
      expect(await old.Body?.transformToString()).toBe("1")
      const listed = await s3.send(new ListObjectVersionsCommand({ Bucket: versioned, Prefix: "v" }))
      expect(listed.Versions?.map(({ VersionId, IsLatest }) => [VersionId, IsLatest])).toEqual([
        [second.VersionId, false],
        [first.VersionId, false],
      ])
      expect(listed.DeleteMarkers?.map(({ VersionId, IsLatest }) => [VersionId, IsLatest])).toEqual([
        [marker.VersionId, true],
      ])
      expect((await s3.send(new ListObjectsV2Command({ Bucket: versioned, Prefix: "v" }))).KeyCount).toBe(0)
      const third = await s3.send(new PutObjectCommand({ ...at, Body: "3", IfNoneMatch: "*" }))
      await s3.send(new DeleteObjectCommand({ ...at, VersionId: third.VersionId }))
      await s3.send(new DeleteObjectCommand({ ...at, VersionId: marker.VersionId }))
      const restored = await s3.send(new GetObjectCommand(at))
      expect([await restored.Body?.transformToString(), restored.VersionId]).toEqual(["2", second.VersionId])
    })

    test("versions are listed in pages", async () => {
      const bodies = ["1", "2", "3"]
      for (const Key of ["p/a", "p/b"]) {
        for (const Body of bodies) await s3.send(new PutObjectCommand({ Bucket: versioned, Key, Body }))
      }
      const tags: string[] = []
      let marker: { KeyMarker?: string; VersionIdMarker?: string } | undefined = {}
      while (marker) {
        const page: Awaited<ReturnType<typeof next>> = await next(marker)
        tags.push(...(page.Versions ?? []).map(({ Key, ETag }) => `${Key} ${ETag}`))
        marker = page.IsTruncated
          ? {
              ...(page.NextKeyMarker && { KeyMarker: page.NextKeyMarker }),
              ...(page.NextVersionIdMarker && { VersionIdMarker: page.NextVersionIdMarker }),
            }
          : undefined
      }
      expect(tags).toEqual(["p/a", "p/b"].flatMap((key) => bodies.toReversed().map((body) => `${key} ${md5Tag(body)}`)))

      function next(from: { KeyMarker?: string; VersionIdMarker?: string }) {
        return s3.send(new ListObjectVersionsCommand({ Bucket: versioned, Prefix: "p/", MaxKeys: 4, ...from }))
      }
    })
  })
}
