import { type HttpReply, type HttpRequest, type LoopbackServer, listenOnLoopback } from "../loopback.ts"
import { isUnchanged, type StoredObject, selectRange } from "./conditions.ts"

export interface CdnOptions {
  /** @returns undefined when there is no such object */
  readonly read: (key: string) => Promise<StoredObject | undefined>
  /**
   * What is public: a key, or a prefix that ends in "/". In AWS the CRL prefix alone is served on plain http; here
   * everything is, so a second front with that prefix stands for the plain one.
   */
  readonly publicPaths: readonly string[]
  readonly port?: number
}

const MAX_KEY_LENGTH = 1024

/** A static front over a bucket, as CloudFront with origin access control: GET and HEAD, conditions, ranges, true 404s. */
export function startCdn(options: CdnOptions): Promise<LoopbackServer> {
  const isPublic = (key: string) =>
    options.publicPaths.some((path) => key === path || (path.endsWith("/") && key.startsWith(path)))

  async function answer(request: HttpRequest): Promise<HttpReply> {
    if (request.method !== "GET" && request.method !== "HEAD") return plain(405, { allow: "GET, HEAD" })
    const key = keyOf(request.rawPath)
    const object = key === undefined || !isPublic(key) ? undefined : await options.read(key)
    return object === undefined ? plain(404, { "cache-control": "max-age=5" }) : present(request, object)
  }

  return listenOnLoopback({
    ...(options.port === undefined ? {} : { port: options.port }),
    maxBodyBytes: 0,
    onRequest: answer,
    tooLarge: () => plain(413, {}),
    failed: () => plain(502, { "cache-control": "no-store" }),
  })
}

/** The key that a path names; undefined for a path that has more than one reading: dots, empty parts, encoded slashes. */
export function keyOf(rawPath: string): string | undefined {
  if (rawPath.length > MAX_KEY_LENGTH || /%2f|%5c|\\/i.test(rawPath)) return undefined
  const segments = rawPath.split("/").slice(1).map(decodeSegment)
  const isPlain = segments.every((segment) => segment !== undefined && !["", ".", ".."].includes(segment))
  return isPlain ? segments.join("/") : undefined
}

function decodeSegment(segment: string): string | undefined {
  try {
    const decoded = decodeURIComponent(segment)
    return /\p{Cc}/u.test(decoded) ? undefined : decoded
  } catch {
    return undefined
  }
}

function present(request: HttpRequest, object: StoredObject): HttpReply {
  const headers: Record<string, string> = {
    "accept-ranges": "bytes",
    etag: object.etag,
    "last-modified": object.lastModified.toUTCString(),
    "x-content-type-options": "nosniff",
    ...(object.cacheControl === undefined ? {} : { "cache-control": object.cacheControl }),
  }
  if (isUnchanged(request.headers, object)) return { status: 304, headers, body: "" }
  const { length } = object.body
  const range = selectRange(request.headers, object)
  if (range === "none") {
    return { status: 416, headers: { ...headers, "content-range": `bytes */${length}` }, body: "" }
  }
  const whole = { ...headers, "content-type": object.contentType }
  if (range === "all") return { status: 200, headers: whole, body: object.body }
  const [first, last] = range
  return {
    status: 206,
    headers: { ...whole, "content-range": `bytes ${first}-${last}/${length}` },
    body: object.body.subarray(first, last + 1),
  }
}

function plain(status: number, headers: Record<string, string>): HttpReply {
  return { status, headers: { "content-type": "text/plain; charset=utf-8", ...headers }, body: `${status}\n` }
}
