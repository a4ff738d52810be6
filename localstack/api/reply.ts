import { validateHeaderName, validateHeaderValue } from "node:http"
import type { HttpReply } from "../loopback.ts"

const OWN_HEADERS = new Set(["connection", "content-length", "date", "keep-alive", "transfer-encoding"])

/** API Gateway's own refusals: its words, and nothing of ours. */
const REFUSALS = {
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  413: "Request Entity Too Large",
  429: "Too Many Requests",
  500: "Internal Server Error",
  503: "Service Unavailable",
} as const

export function refusal(status: keyof typeof REFUSALS): HttpReply {
  return {
    status,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ message: REFUSALS[status] }),
  }
}

/**
 * Maps what a function returned to HTTP, payload format 2.0: an object with `statusCode` is a reply, anything else is
 * the body of a 200.
 * @param payload JSON text
 * @returns undefined when it has a `statusCode` but is no valid reply
 */
export function mapReply(payload: string): HttpReply | undefined {
  let value: unknown
  try {
    value = JSON.parse(payload)
  } catch {
    return undefined
  }
  if (typeof value !== "object" || value === null || !("statusCode" in value)) {
    return { status: 200, headers: { "content-type": "application/json" }, body: payload }
  }
  const {
    statusCode,
    headers = {},
    cookies = [],
    body = "",
    isBase64Encoded = false,
  } = value as Record<string, unknown>
  const isReply =
    Number.isInteger(statusCode) &&
    (statusCode as number) >= 200 &&
    (statusCode as number) <= 599 &&
    isHeaders(headers) &&
    Array.isArray(cookies) &&
    cookies.every((cookie) => isHeaderValue("set-cookie", cookie)) &&
    (typeof body === "string" || body === null) &&
    typeof isBase64Encoded === "boolean"
  if (!isReply) return undefined
  const replyHeaders: Record<string, string | string[]> = { "content-type": "text/plain; charset=utf-8" }
  for (const [name, content] of Object.entries(headers)) {
    if (!OWN_HEADERS.has(name.toLowerCase())) replyHeaders[name.toLowerCase()] = String(content)
  }
  if (cookies.length > 0) replyHeaders["set-cookie"] = cookies
  return {
    status: statusCode as number,
    headers: replyHeaders,
    body: isBase64Encoded ? Buffer.from(body ?? "", "base64") : (body ?? ""),
  }
}

function isHeaders(headers: unknown): headers is Record<string, string | number | boolean> {
  return (
    typeof headers === "object" &&
    headers !== null &&
    !Array.isArray(headers) &&
    Object.entries(headers).every(([name, value]) => isHeaderValue(name, value))
  )
}

function isHeaderValue(name: string, value: unknown): boolean {
  if (!["string", "number", "boolean"].includes(typeof value)) return false
  try {
    validateHeaderName(name)
    validateHeaderValue(name, String(value))
    return true
  } catch {
    return false
  }
}
