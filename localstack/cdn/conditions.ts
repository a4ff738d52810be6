export interface StoredObject {
  readonly body: Uint8Array
  /** with its quotes, as S3 gives it */
  readonly etag: string
  readonly contentType: string
  readonly cacheControl?: string | undefined
  readonly lastModified: Date
}

export type RequestHeaders = Readonly<Record<string, string>>

/** True: the client's copy is current and the answer is 304 (RFC 9110 §13.1.2 and §13.1.3, §13.2.2 for their order). */
export function isUnchanged(headers: RequestHeaders, object: StoredObject): boolean {
  const ifNoneMatch = headers["if-none-match"]
  if (ifNoneMatch !== undefined) {
    return ifNoneMatch.split(",").some((tag) => tag.trim() === "*" || opaque(tag) === opaque(object.etag))
  }
  const since = Date.parse(headers["if-modified-since"] ?? "")
  return !Number.isNaN(since) && wholeSeconds(object.lastModified) <= since
}

/**
 * The bytes that a Range header asks for (RFC 9110 §14.2).
 * @returns [first, last], "all" when there is no range to obey, "none" when no byte is in it
 */
export function selectRange(headers: RequestHeaders, object: StoredObject): readonly [number, number] | "all" | "none" {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(headers.range ?? "")
  if (match === null || !isSameForRange(headers["if-range"], object)) return "all"
  const [, first = "", last = ""] = match
  const { length } = object.body
  if (first === "" && last === "") return "all"
  if (first === "")
    return Number(last) === 0 || length === 0 ? "none" : [Math.max(0, length - Number(last)), length - 1]
  if (last !== "" && Number(last) < Number(first)) return "all"
  if (Number(first) >= length) return "none"
  return [Number(first), last === "" ? length - 1 : Math.min(Number(last), length - 1)]
}

function isSameForRange(ifRange: string | undefined, object: StoredObject): boolean {
  if (ifRange === undefined) return true
  if (ifRange.startsWith('"')) return ifRange === object.etag
  return Date.parse(ifRange) === wholeSeconds(object.lastModified)
}

function opaque(tag: string): string {
  return tag.trim().replace(/^W\//, "")
}

function wholeSeconds(time: Date): number {
  return Math.floor(time.getTime() / 1000) * 1000
}
