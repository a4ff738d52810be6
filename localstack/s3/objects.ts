import { md5 } from "./checksums.ts"
import { byteRange, isNotModified, requireCopyConditions, requireWriteConditions } from "./conditions.ts"
import { s3Error } from "./errors.ts"
import { objectHeaders, overrideHeaders, refuseHeaders } from "./metadata.ts"
import type { Payload } from "./payload.ts"
import { decodePath, requireKey, type S3Reply, type S3Request } from "./request.ts"
import { type Bucket, NULL_VERSION, type ObjectHead, type ObjectStore, type Version } from "./store.ts"
import { writeXml } from "./xml.ts"

type Headers = Record<string, string>

export function versionHeader(bucket: Bucket, versionId: string): Headers {
  return bucket.versioning === "Unversioned" ? {} : { "x-amz-version-id": versionId }
}

function checksumHeaders({ checksums }: Pick<ObjectHead, "checksums">): Headers {
  return Object.keys(checksums).length > 0 ? { ...checksums, "x-amz-checksum-type": "FULL_OBJECT" } : {}
}

/** The version that a GET, HEAD or copy asks for. @throws NoSuchKey, NoSuchVersion, MethodNotAllowed for a delete marker */
function readable(store: ObjectStore, bucket: Bucket, key: string, versionId: string | undefined) {
  if (versionId !== undefined) {
    const version = store.version(bucket.name, key, versionId)
    if (!version) throw s3Error("NoSuchVersion", { Key: key, VersionId: versionId })
    if (!version.head) {
      throw s3Error(
        "MethodNotAllowed",
        { Method: "GET", ResourceType: "DeleteMarker" },
        { "x-amz-delete-marker": "true" },
      )
    }
    return { version, head: version.head }
  }
  const version = store.latest(bucket.name, key)
  if (!version?.head) {
    const marker = version ? { "x-amz-delete-marker": "true", ...versionHeader(bucket, version.versionId) } : {}
    throw s3Error("NoSuchKey", { Key: key }, marker)
  }
  return { version, head: version.head }
}

export function getObject(store: ObjectStore, bucket: Bucket, key: string, request: S3Request): S3Reply {
  const { version, head } = readable(store, bucket, key, request.query.get("versionId") ?? undefined)
  const validators: Headers = {
    etag: head.etag,
    "last-modified": version.modified.toUTCString(),
    ...versionHeader(bucket, version.versionId),
  }
  if (isNotModified(request.headers, head.etag, version.modified)) {
    const cacheControl = head.headers["cache-control"]
    return {
      status: 304,
      headers: { ...validators, ...(cacheControl !== undefined && { "cache-control": cacheControl }) },
    }
  }
  const range = byteRange(request.headers.range, head.size)
  const whole = request.headers["x-amz-checksum-mode"]?.toString().toUpperCase() === "ENABLED" && !range
  const { start, length } = range ?? { start: 0, length: head.size }
  return {
    status: range ? 206 : 200,
    headers: {
      ...head.headers,
      ...overrideHeaders(request.query),
      ...validators,
      ...(whole && checksumHeaders(head)),
      ...(range && { "content-range": `bytes ${start}-${start + length - 1}/${head.size}` }),
      "accept-ranges": "bytes",
      "content-length": String(length),
    },
    ...(request.method !== "HEAD" && { body: store.body(version.seq, start, length) }),
  }
}

export function putObject(
  store: ObjectStore,
  bucket: Bucket,
  key: string,
  request: S3Request,
  { bytes, checksums }: Payload,
  now: Date,
): S3Reply {
  refuseHeaders(request.headers)
  requireWriteConditions(request.headers, key, store.latest(bucket.name, key))
  const head: ObjectHead = {
    etag: `"${md5(bytes).toString("hex")}"`,
    size: bytes.length,
    headers: objectHeaders(request.headers),
    checksums,
  }
  const versionId = store.add(bucket, key, now, { head, body: bytes })
  return { status: 200, headers: { etag: head.etag, ...checksumHeaders(head), ...versionHeader(bucket, versionId) } }
}

export function copyObject(store: ObjectStore, bucket: Bucket, key: string, request: S3Request, now: Date): S3Reply {
  const { headers } = request
  refuseHeaders(headers)
  const source = copySource(store, headers["x-amz-copy-source"])
  const { version, head } = readable(store, source.bucket, source.key, source.versionId)
  requireCopyConditions(headers, head.etag, version.modified)
  const directive = headers["x-amz-metadata-directive"] ?? "COPY"
  if (directive !== "COPY" && directive !== "REPLACE")
    throw s3Error("InvalidArgument", { ArgumentName: "x-amz-metadata-directive" })
  if (directive === "COPY" && source.bucket.name === bucket.name && source.key === key && version.isLatest) {
    throw s3Error("InvalidRequest", { Reason: "A copy onto itself must change the metadata" })
  }
  requireWriteConditions(headers, key, store.latest(bucket.name, key))
  const copied: ObjectHead = directive === "REPLACE" ? { ...head, headers: objectHeaders(headers) } : head
  const body = store.body(version.seq, 0, head.size)
  const versionId = store.add(bucket, key, now, { head: copied, body })
  return {
    status: 200,
    headers: {
      "content-type": "application/xml",
      ...versionHeader(bucket, versionId),
      ...(source.bucket.versioning !== "Unversioned" && { "x-amz-copy-source-version-id": version.versionId }),
    },
    body: writeXml("CopyObjectResult", { LastModified: now.toISOString(), ETag: head.etag }),
  }
}

function copySource(store: ObjectStore, header: string | string[] | undefined) {
  const [path = "", versionId] = String(header).split("?versionId=")
  const match = /^([^/]+)\/(.+)$/s.exec(decodePath(path.replace(/^\//, "")))
  const [, bucketName, key] = match ?? []
  if (bucketName === undefined || key === undefined)
    throw s3Error("InvalidArgument", { ArgumentName: "x-amz-copy-source" })
  requireKey(key)
  const bucket = store.bucket(bucketName)
  if (!bucket) throw s3Error("NoSuchBucket", { BucketName: bucketName })
  return { bucket, key, versionId: versionId === undefined ? undefined : decodePath(versionId) }
}

export interface Deletion {
  readonly versionId: string | undefined
  readonly isMarker: boolean
}

/** Removes one version, or puts a delete marker on top. A key that isn't there is no error. */
export function removeKey(
  store: ObjectStore,
  bucket: Bucket,
  key: string,
  versionId: string | undefined,
  now: Date,
): Deletion {
  if (versionId !== undefined) {
    const version = store.version(bucket.name, key, versionId)
    if (version) store.remove(version)
    return { versionId, isMarker: version !== undefined && !version.head }
  }
  if (bucket.versioning !== "Unversioned") return { versionId: store.add(bucket, key, now), isMarker: true }
  const version: Version | undefined = store.version(bucket.name, key, NULL_VERSION)
  if (version) store.remove(version)
  return { versionId: undefined, isMarker: false }
}

export function deleteObject(store: ObjectStore, bucket: Bucket, key: string, request: S3Request, now: Date): S3Reply {
  refuseHeaders(request.headers)
  const versionId = request.query.get("versionId") ?? undefined
  const target = versionId === undefined ? store.latest(bucket.name, key) : store.version(bucket.name, key, versionId)
  requireWriteConditions(request.headers, key, target)
  const { isMarker, ...removed } = removeKey(store, bucket, key, versionId, now)
  return {
    status: 204,
    headers: {
      ...(isMarker && { "x-amz-delete-marker": "true" }),
      ...(removed.versionId !== undefined && { "x-amz-version-id": removed.versionId }),
    },
  }
}
