import type { IncomingHttpHeaders, IncomingMessage } from "node:http"
import { BodyTooLarge, readBody } from "../http/loopback.ts"
import { type Checksums, md5, sha256Hex, verifyChecksums } from "./checksums.ts"
import { s3Error } from "./errors.ts"

/** Room for the framing of an aws-chunked body beside the bytes themselves. */
const FRAMING_BYTES = 1024 * 1024
const MAX_LINE_BYTES = 4096

export interface Payload {
  readonly bytes: Buffer
  /** those that the request named, verified */
  readonly checksums: Checksums
}

/** Reads the body as it is on the wire. @throws EntityTooLarge by the declared length before reading, else while reading */
export async function readRaw(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const decoded = Number(request.headers["x-amz-decoded-content-length"] ?? 0)
  if (!(decoded <= maxBytes)) throw s3Error("EntityTooLarge", { MaxSizeAllowed: String(maxBytes) })
  try {
    return await readBody(request, isChunked(request.headers) ? maxBytes + FRAMING_BYTES : maxBytes)
  } catch (error) {
    if (error instanceof BodyTooLarge) throw s3Error("EntityTooLarge", { MaxSizeAllowed: String(maxBytes) })
    throw error
  }
}

/**
 * Takes the aws-chunked framing off and checks every digest that the request carries. Chunk signatures are not looked at.
 * @throws IncompleteBody, EntityTooLarge, BadDigest, XAmzContentSHA256Mismatch, NotImplemented
 */
export function openPayload(headers: IncomingHttpHeaders, raw: Buffer, maxBytes: number): Payload {
  const { bytes, trailers } = isChunked(headers) ? unchunk(raw) : { bytes: raw, trailers: {} }
  const declared = headers["x-amz-decoded-content-length"]
  if (isChunked(headers) && declared !== undefined && Number(declared) !== bytes.length) throw s3Error("IncompleteBody")
  if (bytes.length > maxBytes) throw s3Error("EntityTooLarge", { MaxSizeAllowed: String(maxBytes) })
  const contentMd5 = headers["content-md5"]
  if (contentMd5 !== undefined && contentMd5 !== md5(bytes).toString("base64")) throw s3Error("BadDigest")
  const contentSha256 = headers["x-amz-content-sha256"]
  if (typeof contentSha256 === "string" && /^[0-9a-f]{64}$/.test(contentSha256) && contentSha256 !== sha256Hex(raw)) {
    throw s3Error("XAmzContentSHA256Mismatch")
  }
  const announced = headers["x-amz-trailer"]
  if (
    typeof announced === "string" &&
    announced.split(",").some((name) => trailers[name.trim().toLowerCase()] === undefined)
  ) {
    throw s3Error("IncompleteBody")
  }
  return { bytes, checksums: verifyChecksums({ ...headers, ...trailers }, bytes) }
}

export function isChunked(headers: IncomingHttpHeaders): boolean {
  const contentSha256 = headers["x-amz-content-sha256"]
  return typeof contentSha256 === "string" && contentSha256.startsWith("STREAMING-")
}

/** Content-Encoding without the framing, which is no property of the object. */
export function contentEncoding(headers: IncomingHttpHeaders): string | undefined {
  const codings = (headers["content-encoding"] ?? "").split(",").map((coding) => coding.trim())
  return codings.filter((coding) => coding !== "" && coding !== "aws-chunked").join(",") || undefined
}

/** Reads `size[;chunk-signature=…]CRLF bytes CRLF …, 0 CRLF, trailers`. */
function unchunk(raw: Buffer): { bytes: Buffer; trailers: Record<string, string> } {
  const chunks: Buffer[] = []
  let at = 0
  const line = () => {
    const end = raw.indexOf("\r\n", at)
    if (end < 0 || end - at > MAX_LINE_BYTES) throw s3Error("IncompleteBody")
    const text = raw.toString("latin1", at, end)
    at = end + 2
    return text
  }
  for (;;) {
    const size = /^([0-9a-fA-F]{1,8})(?:;.*)?$/.exec(line())?.[1]
    if (size === undefined) throw s3Error("IncompleteBody")
    const length = Number.parseInt(size, 16)
    if (length === 0) break
    if (at + length + 2 > raw.length || raw.toString("latin1", at + length, at + length + 2) !== "\r\n") {
      throw s3Error("IncompleteBody")
    }
    chunks.push(raw.subarray(at, at + length))
    at += length + 2
  }
  const trailers: Record<string, string> = {}
  while (at < raw.length) {
    const text = line()
    if (text === "") break
    const colon = text.indexOf(":")
    if (colon < 1) throw s3Error("IncompleteBody")
    trailers[text.slice(0, colon).trim().toLowerCase()] = text.slice(colon + 1).trim()
  }
  return { bytes: Buffer.concat(chunks), trailers }
}
