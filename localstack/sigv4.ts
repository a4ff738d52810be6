import { createHash, createHmac, timingSafeEqual } from "node:crypto"
import type { HttpRequest } from "./loopback.ts"

/** Who stands behind an access key. `userArn` and `callerId` are what API Gateway puts into `authorizer.iam`. */
export interface Caller {
  readonly accessKeyId: string
  readonly accountId: string
  readonly userArn: string
  readonly callerId: string
}

export interface LocalCredential {
  readonly secretAccessKey: string
  /** when set, a request must carry and sign exactly this token */
  readonly sessionToken?: string | undefined
  readonly caller: Caller
}

export interface SigV4Options {
  readonly credentials: (accessKeyId: string) => LocalCredential | undefined
  readonly region: string
  /** "s3" switches to S3's rules: path encoded once, payload hash in the header, unsigned and streamed payloads */
  readonly service: string
  readonly clock: () => Date
}

export type SigV4Refusal =
  | "MISSING"
  | "INCOMPLETE"
  | "UNKNOWN_KEY"
  | "TOKEN_MISMATCH"
  | "SKEWED"
  | "MISMATCH"
  | "PAYLOAD"

/** What the signature says of the body. `streamed`: the body is aws-chunked; its reader checks chunk signatures with `chunks`. */
export type SignedPayload =
  | { readonly kind: "hashed" }
  | { readonly kind: "unsigned" }
  | { readonly kind: "streamed"; readonly form: string; readonly chunks: ChunkContext }

export interface ChunkContext {
  readonly signingKey: Uint8Array
  readonly scope: string
  /** ISO 8601 basic, as in x-amz-date */
  readonly timestamp: string
  readonly seedSignature: string
}

export type Authentication =
  | { readonly ok: true; readonly caller: Caller; readonly payload: SignedPayload }
  | { readonly ok: false; readonly refusal: SigV4Refusal }

export interface SigV4Verifier {
  /**
   * Checks a request as it came over the wire.
   * @param rawPath path as received, before any decoding
   * @param body the whole body, as received
   */
  authenticate(
    request: Omit<HttpRequest, "body" | "rawPath" | "sourceIp">,
    rawPath: string,
    body: Uint8Array,
  ): Authentication
}

const ALGORITHM = "AWS4-HMAC-SHA256"
const MAX_SKEW_MS = 5 * 60_000
const MAX_PRESIGNED_SEC = 7 * 24 * 3600

interface Claim {
  readonly accessKeyId: string
  readonly day: string
  readonly region: string
  readonly service: string
  readonly signedHeaders: readonly string[]
  readonly signature: string
  readonly timestamp: string
  readonly sessionToken: string | undefined
  /** undefined: header form, valid around `timestamp`; else seconds from `timestamp` on */
  readonly expiresSec: number | undefined
}

type QueryPair = readonly [name: string, value: string]

/**
 * AWS Signature Version 4 in its header and its query (presigned) form. The signature covers method, path, query,
 * `host`, every `x-amz-*` header that is present, and the body's hash; anything less is refused.
 */
export function createSigV4Verifier(options: SigV4Options): SigV4Verifier {
  const isS3 = options.service === "s3"

  function authenticate(
    request: Omit<HttpRequest, "body" | "rawPath" | "sourceIp">,
    rawPath: string,
    body: Uint8Array,
  ): Authentication {
    const query = parseQuery(request.rawQuery)
    if (query === undefined) return refuse("INCOMPLETE")
    const claim = readClaim(request.headers, query)
    if (typeof claim === "string") return refuse(claim)
    if (claim.region !== options.region || claim.service !== options.service) return refuse("INCOMPLETE")
    if (!claim.timestamp.startsWith(claim.day)) return refuse("INCOMPLETE")
    if (!coversWhatMatters(claim.signedHeaders, request.headers)) return refuse("INCOMPLETE")

    const credential = options.credentials(claim.accessKeyId)
    if (credential === undefined) return refuse("UNKNOWN_KEY")
    if (!equalText(credential.sessionToken ?? "", claim.sessionToken ?? "")) return refuse("TOKEN_MISMATCH")
    if (!isTimely(claim, options.clock().getTime())) return refuse("SKEWED")

    const payloadHash =
      request.headers["x-amz-content-sha256"] ??
      query.find(([name]) => name === "X-Amz-Content-Sha256")?.[1] ??
      (isS3 && claim.expiresSec !== undefined ? "UNSIGNED-PAYLOAD" : sha256Hex(body))
    const path = isS3 ? canonicalS3Path(rawPath) : canonicalPath(rawPath)
    if (path === undefined) return refuse("INCOMPLETE")
    const canonicalRequest = [
      request.method,
      path,
      canonicalQuery(query),
      ...claim.signedHeaders.map((name) => `${name}:${canonicalValue(request.headers[name] ?? "")}`),
      "",
      claim.signedHeaders.join(";"),
      payloadHash,
    ].join("\n")
    const scope = `${claim.day}/${claim.region}/${claim.service}/aws4_request`
    const stringToSign = [ALGORITHM, claim.timestamp, scope, sha256Hex(canonicalRequest)].join("\n")
    const signingKey = deriveKey(credential.secretAccessKey, claim)
    const expected = createHmac("sha256", signingKey).update(stringToSign).digest("hex")
    if (!equalText(expected, claim.signature)) return refuse("MISMATCH")

    const payload = checkPayload(payloadHash, body, {
      signingKey,
      scope,
      timestamp: claim.timestamp,
      seedSignature: claim.signature,
    })
    return payload === undefined ? refuse("PAYLOAD") : { ok: true, caller: credential.caller, payload }
  }

  function checkPayload(payloadHash: string, body: Uint8Array, chunks: ChunkContext): SignedPayload | undefined {
    if (/^[0-9a-f]{64}$/.test(payloadHash)) {
      return equalText(payloadHash, sha256Hex(body)) ? { kind: "hashed" } : undefined
    }
    if (!isS3) return undefined
    if (payloadHash === "UNSIGNED-PAYLOAD") return { kind: "unsigned" }
    return payloadHash.startsWith("STREAMING-") ? { kind: "streamed", form: payloadHash, chunks } : undefined
  }

  return { authenticate }
}

function refuse(refusal: SigV4Refusal): Authentication {
  return { ok: false, refusal }
}

function readClaim(headers: HttpRequest["headers"], query: readonly QueryPair[]): Claim | SigV4Refusal {
  const authorization = headers.authorization
  const presigned = query.some(([name]) => name === "X-Amz-Signature")
  if (authorization === undefined) return presigned ? readQueryClaim(query) : "MISSING"
  if (presigned) return "INCOMPLETE"
  if (!authorization.startsWith(`${ALGORITHM} `)) return "INCOMPLETE"
  const fields = new Map<string, string>()
  for (const part of authorization.slice(ALGORITHM.length + 1).split(",")) {
    const equals = part.indexOf("=")
    const name = part.slice(0, equals).trim()
    if (equals < 0 || fields.has(name)) return "INCOMPLETE"
    fields.set(name, part.slice(equals + 1).trim())
  }
  const timestamp = headers["x-amz-date"] ?? basicDate(headers.date)
  return buildClaim(fields.get("Credential"), fields.get("SignedHeaders"), fields.get("Signature"), timestamp, {
    sessionToken: headers["x-amz-security-token"],
    expiresSec: undefined,
  })
}

function readQueryClaim(query: readonly QueryPair[]): Claim | SigV4Refusal {
  const fields = new Map<string, string>()
  for (const [name, value] of query) {
    if (!name.startsWith("X-Amz-")) continue
    if (fields.has(name)) return "INCOMPLETE"
    fields.set(name, value)
  }
  const expires = fields.get("X-Amz-Expires") ?? ""
  const expiresSec = /^[0-9]{1,6}$/.test(expires) ? Number(expires) : 0
  if (fields.get("X-Amz-Algorithm") !== ALGORITHM || expiresSec < 1 || expiresSec > MAX_PRESIGNED_SEC)
    return "INCOMPLETE"
  return buildClaim(
    fields.get("X-Amz-Credential"),
    fields.get("X-Amz-SignedHeaders"),
    fields.get("X-Amz-Signature"),
    fields.get("X-Amz-Date"),
    { sessionToken: fields.get("X-Amz-Security-Token"), expiresSec },
  )
}

function buildClaim(
  credential: string | undefined,
  signedHeaders: string | undefined,
  signature: string | undefined,
  timestamp: string | undefined,
  rest: Pick<Claim, "sessionToken" | "expiresSec">,
): Claim | SigV4Refusal {
  const scope = /^([A-Za-z0-9_]{1,128})\/([0-9]{8})\/([a-z0-9-]+)\/([a-z0-9-]+)\/aws4_request$/.exec(credential ?? "")
  if (scope === null || signedHeaders === undefined || !/^[0-9a-f]{64}$/.test(signature ?? "")) return "INCOMPLETE"
  if (timestamp === undefined || parseBasicDate(timestamp) === undefined) return "INCOMPLETE"
  const [, accessKeyId, day, region, service] = scope as unknown as [string, string, string, string, string]
  return {
    accessKeyId,
    day,
    region,
    service,
    signedHeaders: signedHeaders.split(";"),
    signature: signature as string,
    timestamp,
    ...rest,
  }
}

function coversWhatMatters(signedHeaders: readonly string[], headers: HttpRequest["headers"]): boolean {
  const signed = new Set(signedHeaders)
  const inOrder = signedHeaders.every((name, i) => i === 0 || name > (signedHeaders[i - 1] as string))
  const present = signedHeaders.every((name) => headers[name] !== undefined)
  const allAmz = Object.keys(headers).every((name) => !name.startsWith("x-amz-") || signed.has(name))
  return inOrder && present && allAmz && signed.has("host")
}

function isTimely(claim: Claim, nowMs: number): boolean {
  const signedAtMs = parseBasicDate(claim.timestamp) as number
  if (claim.expiresSec === undefined) return Math.abs(nowMs - signedAtMs) <= MAX_SKEW_MS
  return nowMs >= signedAtMs - MAX_SKEW_MS && nowMs <= signedAtMs + claim.expiresSec * 1000
}

/** Milliseconds of `YYYYMMDDThhmmssZ`; undefined when it is no such time. */
function parseBasicDate(text: string): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text)
  if (match === null) return undefined
  const [, year, month, day, hour, minute, second] = match
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  return Number.isNaN(ms) ? undefined : ms
}

function basicDate(httpDate: string | undefined): string | undefined {
  const ms = Date.parse(httpDate ?? "")
  return Number.isNaN(ms) ? undefined : new Date(ms).toISOString().replace(/[-:]|\.\d{3}/g, "")
}

function parseQuery(rawQuery: string): QueryPair[] | undefined {
  if (rawQuery === "") return []
  const pairs: QueryPair[] = []
  for (const part of rawQuery.split("&")) {
    if (part === "") continue
    const equals = part.indexOf("=")
    const name = percentDecode(equals < 0 ? part : part.slice(0, equals))
    const value = percentDecode(equals < 0 ? "" : part.slice(equals + 1))
    if (name === undefined || value === undefined) return undefined
    pairs.push([name, value])
  }
  return pairs
}

function canonicalQuery(query: readonly QueryPair[]): string {
  return query
    .filter(([name]) => name !== "X-Amz-Signature")
    .map(([name, value]) => [percentEncode(name), percentEncode(value)] as const)
    .sort(([nameA, valueA], [nameB, valueB]) => compareText(nameA, nameB) || compareText(valueA, valueB))
    .map(([name, value]) => `${name}=${value}`)
    .join("&")
}

/** Every service but S3: dot segments and doubled slashes removed, then what was sent is encoded once more. */
function canonicalPath(rawPath: string): string {
  const kept: string[] = []
  for (const segment of rawPath.split("/")) {
    if (segment === "..") kept.pop()
    else if (segment !== "" && segment !== ".") kept.push(percentEncode(segment))
  }
  return `/${kept.join("/")}${kept.length > 0 && rawPath.endsWith("/") ? "/" : ""}`
}

/** S3: the key as it is, encoded once; undefined when the path is not valid percent-encoding. */
function canonicalS3Path(rawPath: string): string | undefined {
  const segments = rawPath.split("/").map(percentDecode)
  return segments.every((segment) => segment !== undefined) ? segments.map(percentEncode).join("/") : undefined
}

function canonicalValue(value: string): string {
  return value.trim().replace(/ +/g, " ")
}

function percentDecode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

function percentEncode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function deriveKey(secretAccessKey: string, claim: Claim): Uint8Array {
  let key: Uint8Array | string = `AWS4${secretAccessKey}`
  for (const part of [claim.day, claim.region, claim.service, "aws4_request"]) {
    key = createHmac("sha256", key).update(part).digest()
  }
  return key as Uint8Array
}

function sha256Hex(content: Uint8Array | string): string {
  return createHash("sha256").update(content).digest("hex")
}

/** Equality of secrets: both sides are hashed first, so neither length nor content shows in the time. */
function equalText(a: string, b: string): boolean {
  return timingSafeEqual(createHash("sha256").update(a).digest(), createHash("sha256").update(b).digest())
}
