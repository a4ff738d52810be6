import { s3Error } from "./errors.ts"
import { integerParameter, type S3Reply, type S3Request } from "./request.ts"
import type { Bucket, ObjectStore, Version } from "./store.ts"
import { writeXml, type XmlTree } from "./xml.ts"

const MAX_KEYS = 1000

interface Page {
  readonly versions: readonly Version[]
  readonly prefixes: readonly string[]
  /** the last key or common prefix of the page; undefined when the listing is complete */
  readonly last: { readonly key: string; readonly versionId?: string } | undefined
}

interface Selection {
  readonly prefix: string
  readonly delimiter: string
  readonly maxKeys: number
  readonly encode: (text: string) => string
  readonly encoding: "url" | undefined
}

function selection({ query }: S3Request): Selection {
  const encoding = query.get("encoding-type") ?? undefined
  if (encoding !== undefined && encoding !== "url") throw s3Error("InvalidArgument", { ArgumentName: "encoding-type" })
  return {
    prefix: query.get("prefix") ?? "",
    delimiter: query.get("delimiter") ?? "",
    maxKeys: integerParameter(query, "max-keys", MAX_KEYS),
    encode: encoding === "url" ? (text) => encodeURIComponent(text).replaceAll("%2F", "/") : (text) => text,
    encoding,
  }
}

/** @param after the key or common prefix that the page before ended with, @param isWanted leaves versions out */
function collect(
  store: ObjectStore,
  bucket: Bucket,
  { prefix, delimiter, maxKeys }: Selection,
  after: string,
  isWanted: (version: Version) => boolean,
): Page {
  const versions: Version[] = []
  const prefixes: string[] = []
  let last: Page["last"]
  for (const version of store.versions(
    bucket.name,
    Buffer.compare(Buffer.from(after), Buffer.from(prefix)) > 0 ? after : prefix,
  )) {
    if (!version.key.startsWith(prefix)) break
    if (!isWanted(version)) continue
    const at = delimiter === "" ? -1 : version.key.indexOf(delimiter, prefix.length)
    const common = at < 0 ? undefined : version.key.slice(0, at + delimiter.length)
    if (common !== undefined && (common === prefixes.at(-1) || common === after)) continue
    if (versions.length + prefixes.length >= maxKeys) {
      return { versions, prefixes, last: maxKeys === 0 ? undefined : last }
    }
    if (common === undefined) versions.push(version)
    else prefixes.push(common)
    last = common === undefined ? { key: version.key, versionId: version.versionId } : { key: common }
  }
  return { versions, prefixes, last: undefined }
}

export function listObjectsV2(store: ObjectStore, bucket: Bucket, request: S3Request): S3Reply {
  const { query } = request
  const chosen = selection(request)
  const token = query.get("continuation-token") ?? undefined
  const startAfter = query.get("start-after") ?? undefined
  const after = token === undefined ? (startAfter ?? "") : readToken(token)
  const page = collect(
    store,
    bucket,
    chosen,
    after,
    ({ isLatest, head, key }) => isLatest && head !== undefined && key !== after,
  )
  const { encode } = chosen
  return xmlReply("ListBucketResult", {
    Name: bucket.name,
    Prefix: encode(chosen.prefix),
    ...(chosen.delimiter !== "" && { Delimiter: encode(chosen.delimiter) }),
    MaxKeys: chosen.maxKeys,
    EncodingType: chosen.encoding,
    KeyCount: page.versions.length + page.prefixes.length,
    IsTruncated: page.last !== undefined,
    ContinuationToken: token,
    NextContinuationToken: page.last && writeToken(page.last.key),
    StartAfter: startAfter === undefined ? undefined : encode(startAfter),
    Contents: page.versions.map((version) => contents(version, encode)),
    CommonPrefixes: page.prefixes.map((Prefix) => ({ Prefix: encode(Prefix) })),
  })
}

function contents({ key, modified, head }: Version, encode: (text: string) => string): XmlTree {
  return {
    Key: encode(key),
    LastModified: modified.toISOString(),
    ETag: head?.etag,
    Size: head?.size,
    StorageClass: "STANDARD",
  }
}

function writeToken(last: string): string {
  return Buffer.from(last).toString("base64url")
}

function readToken(token: string): string {
  const last = Buffer.from(token, "base64url").toString()
  if (token === "" || writeToken(last) !== token)
    throw s3Error("InvalidArgument", { ArgumentName: "continuation-token" })
  return last
}

export function listObjectVersions(store: ObjectStore, bucket: Bucket, request: S3Request): S3Reply {
  const { query } = request
  const chosen = selection(request)
  const keyMarker = query.get("key-marker") ?? ""
  const versionMarker = query.get("version-id-marker") ?? ""
  if (versionMarker !== "" && keyMarker === "") throw s3Error("InvalidArgument", { ArgumentName: "version-id-marker" })
  const marker = versionMarker === "" ? undefined : store.version(bucket.name, keyMarker, versionMarker)
  const page = collect(
    store,
    bucket,
    chosen,
    keyMarker,
    ({ key, seq }) => key !== keyMarker || keyMarker === "" || (marker !== undefined && seq < marker.seq),
  )
  const { encode } = chosen
  const entry = (version: Version): XmlTree => ({
    Key: encode(version.key),
    VersionId: version.versionId,
    IsLatest: version.isLatest,
    LastModified: version.modified.toISOString(),
    ...(version.head && { ETag: version.head.etag, Size: version.head.size, StorageClass: "STANDARD" }),
  })
  return xmlReply("ListVersionsResult", {
    Name: bucket.name,
    Prefix: encode(chosen.prefix),
    KeyMarker: encode(keyMarker),
    VersionIdMarker: versionMarker,
    NextKeyMarker: page.last && encode(page.last.key),
    NextVersionIdMarker: page.last?.versionId,
    ...(chosen.delimiter !== "" && { Delimiter: encode(chosen.delimiter) }),
    MaxKeys: chosen.maxKeys,
    EncodingType: chosen.encoding,
    IsTruncated: page.last !== undefined,
    Version: page.versions.filter(({ head }) => head).map(entry),
    DeleteMarker: page.versions.filter(({ head }) => !head).map(entry),
    CommonPrefixes: page.prefixes.map((Prefix) => ({ Prefix: encode(Prefix) })),
  })
}

export function xmlReply(root: string, content: XmlTree): S3Reply {
  return { status: 200, headers: { "content-type": "application/xml" }, body: writeXml(root, content) }
}
