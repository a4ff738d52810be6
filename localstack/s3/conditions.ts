import type { IncomingHttpHeaders } from "node:http"
import { s3Error } from "./errors.ts"
import type { Version } from "./store.ts"

function matches(header: string, etag: string): boolean {
  const bare = (text: string) => text.trim().replace(/^"|"$/g, "")
  return header.split(",").some((entry) => entry.trim() === "*" || bare(entry) === bare(etag))
}

/** Dates of HTTP have whole seconds, so the object's is cut before it is compared. */
function isAfter(modified: Date, header: string): boolean | undefined {
  const limit = Date.parse(header)
  return Number.isNaN(limit) ? undefined : Math.floor(modified.getTime() / 1000) * 1000 > limit
}

/**
 * Conditions of GET and HEAD, in the order of RFC 9110 §13.2.2.
 * @returns whether the answer is 304. @throws PreconditionFailed
 */
export function isNotModified(headers: IncomingHttpHeaders, etag: string, modified: Date): boolean {
  const ifMatch = headers["if-match"]
  const ifUnmodifiedSince = headers["if-unmodified-since"]
  if (ifMatch !== undefined) {
    if (!matches(ifMatch, etag)) throw s3Error("PreconditionFailed", { Condition: "If-Match" })
  } else if (ifUnmodifiedSince !== undefined && isAfter(modified, ifUnmodifiedSince) === true) {
    throw s3Error("PreconditionFailed", { Condition: "If-Unmodified-Since" })
  }
  const ifNoneMatch = headers["if-none-match"]
  if (ifNoneMatch !== undefined) return matches(ifNoneMatch, etag)
  const ifModifiedSince = headers["if-modified-since"]
  return ifModifiedSince !== undefined && isAfter(modified, ifModifiedSince) === false
}

/**
 * Conditions of a write against the newest version of its key.
 * @throws PreconditionFailed, NoSuchKey (If-Match without an object), NotImplemented for other forms than S3 takes
 */
export function requireWriteConditions(headers: IncomingHttpHeaders, key: string, latest: Version | undefined): void {
  const ifNoneMatch = headers["if-none-match"]
  const ifMatch = headers["if-match"]
  if (ifNoneMatch !== undefined && (ifNoneMatch !== "*" || ifMatch !== undefined))
    throw s3Error("NotImplemented", { Header: "If-None-Match" })
  if (ifNoneMatch !== undefined && latest?.head) throw s3Error("PreconditionFailed", { Condition: "If-None-Match" })
  if (ifMatch === undefined) return
  if (!latest?.head) throw s3Error("NoSuchKey", { Key: key })
  if (!matches(ifMatch, latest.head.etag)) throw s3Error("PreconditionFailed", { Condition: "If-Match" })
}

/** x-amz-copy-source-if-*: conditions on the source of a copy. @throws PreconditionFailed */
export function requireCopyConditions(headers: IncomingHttpHeaders, etag: string, modified: Date): void {
  const prefix = "x-amz-copy-source-"
  const conditions: IncomingHttpHeaders = {}
  for (const name of ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"]) {
    const value = headers[prefix + name]
    if (typeof value === "string") conditions[name] = value
  }
  if (isNotModified(conditions, etag, modified))
    throw s3Error("PreconditionFailed", { Condition: "x-amz-copy-source-if" })
}

export interface ByteRange {
  readonly start: number
  readonly length: number
}

/**
 * Range of RFC 9110 §14.1.2. Several ranges and unreadable headers are ignored, as S3 does.
 * @returns undefined for the whole object. @throws InvalidRange
 */
export function byteRange(header: string | undefined, size: number): ByteRange | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? "")
  const [, first, last] = match ?? []
  if (first === undefined || last === undefined || first + last === "") return undefined
  const start = first === "" ? Math.max(0, size - Number(last)) : Number(first)
  const end = first === "" || last === "" ? size - 1 : Math.min(Number(last), size - 1)
  if (first !== "" && last !== "" && Number(last) < Number(first)) return undefined
  if (start >= size || end < start) {
    throw s3Error("InvalidRange", { ActualObjectSize: String(size) }, { "content-range": `bytes */${size}` })
  }
  return { start, length: end - start + 1 }
}
