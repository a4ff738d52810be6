import type { IncomingHttpHeaders } from "node:http"
import { s3Error } from "./errors.ts"
import { contentEncoding } from "./payload.ts"

const KEPT = ["cache-control", "content-disposition", "content-language", "expires"]
const META = "x-amz-meta-"
const MAX_META_BYTES = 2048

/** Headers that change what a request means and that this subset does not have: refused, never ignored. */
const REFUSED = ["x-amz-tagging", "x-amz-website-redirect-location", "x-amz-write-offset-bytes", "x-amz-mfa"]
const REFUSED_PREFIXES = [
  "x-amz-object-lock-",
  "x-amz-grant-",
  "x-amz-server-side-encryption-",
  "x-amz-copy-source-server-side-encryption-",
]
/** Headers of which only these values are taken. */
const ALLOWED_VALUES: Readonly<Record<string, readonly string[]>> = {
  "x-amz-acl": ["private", "bucket-owner-full-control"],
  "x-amz-server-side-encryption": ["AES256"],
  "x-amz-storage-class": ["STANDARD"],
}

/** @throws NotImplemented on a header whose meaning would be lost */
export function refuseHeaders(headers: IncomingHttpHeaders): void {
  for (const [name, value] of Object.entries(headers)) {
    const allowed = ALLOWED_VALUES[name]
    const isRefused = REFUSED.includes(name) || REFUSED_PREFIXES.some((prefix) => name.startsWith(prefix))
    if (isRefused || (allowed && !allowed.includes(String(value)))) throw s3Error("NotImplemented", { Header: name })
  }
}

/** The headers that are kept with an object and answered with it. @throws MetadataTooLarge */
export function objectHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const kept: Record<string, string> = { "content-type": headers["content-type"] ?? "binary/octet-stream" }
  const encoding = contentEncoding(headers)
  if (encoding !== undefined) kept["content-encoding"] = encoding
  let metaBytes = 0
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value !== "string") continue
    if (KEPT.includes(name)) kept[name] = value
    if (!name.startsWith(META)) continue
    metaBytes += name.length - META.length + Buffer.byteLength(value)
    kept[name] = value
  }
  if (metaBytes > MAX_META_BYTES) throw s3Error("MetadataTooLarge", { MaxSizeAllowed: String(MAX_META_BYTES) })
  return kept
}

const OVERRIDES = [
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-type",
  "expires",
]

/** `response-*` parameters of GET and HEAD, as answer headers. */
export function overrideHeaders(query: URLSearchParams): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const name of OVERRIDES) {
    const value = query.get(`response-${name}`)
    if (value !== null && /[^\t\x20-\x7e]/.test(value))
      throw s3Error("InvalidArgument", { ArgumentName: `response-${name}` })
    if (value !== null) headers[name] = value
  }
  return headers
}
