import type { IncomingHttpHeaders, IncomingMessage } from "node:http"
import { s3Error } from "./errors.ts"

/** One request, taken apart and with its body read. */
export interface S3Request {
  readonly method: string
  readonly bucket: string | undefined
  readonly key: string | undefined
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
}

export interface S3Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array
}

const MAX_KEY_BYTES = 1024
const CONTROL_CHARACTER = /\p{Cc}/u
const BUCKET_NAME = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/
const VIRTUAL_HOST = /^([a-z0-9][a-z0-9.-]+?)(?:\.s3)?\.localhost(?::\d+)?$/

/** Path style, or virtual-host style under `localhost`. @throws InvalidURI, KeyTooLongError, InvalidArgument */
export function parseTarget(request: IncomingMessage): S3Request {
  const [path = "/", ...rest] = (request.url ?? "/").split("?")
  const virtual = VIRTUAL_HOST.exec(request.headers.host ?? "")?.[1]
  const hosted = virtual === "s3" ? undefined : virtual
  const full = hosted === undefined ? path : `/${hosted}${path}`
  const slash = full.indexOf("/", 1)
  const bucket = slash < 0 ? full.slice(1) : full.slice(1, slash)
  const key = slash < 0 ? "" : decodePath(full.slice(slash + 1))
  if (key !== "") requireKey(key)
  return {
    method: request.method ?? "",
    bucket: bucket === "" ? undefined : decodePath(bucket),
    key: key === "" ? undefined : key,
    query: new URLSearchParams(rest.join("?")),
    headers: request.headers,
  }
}

export function decodePath(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw s3Error("InvalidURI")
  }
}

export function requireKey(key: string): void {
  if (Buffer.byteLength(key) > MAX_KEY_BYTES)
    throw s3Error("KeyTooLongError", { MaxSizeAllowed: String(MAX_KEY_BYTES) })
  if (CONTROL_CHARACTER.test(key)) throw s3Error("InvalidArgument", { ArgumentName: "key" })
}

export function requireBucketName(name: string): void {
  if (!BUCKET_NAME.test(name) || name.includes("..")) throw s3Error("InvalidBucketName", { BucketName: name })
}

/** @throws InvalidArgument unless absent or a whole number; numbers above `most` are cut to it */
export function integerParameter(query: URLSearchParams, name: string, most: number): number {
  const text = query.get(name)
  if (text === null || text === "") return most
  if (!/^\d{1,10}$/.test(text)) throw s3Error("InvalidArgument", { ArgumentName: name, ArgumentValue: text })
  return Math.min(Number(text), most)
}
