import { createHash, createHmac, randomUUID } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { defaultProvider } from "@aws-sdk/credential-provider-node"
import { object, openObject, string } from "@sealwright/formats/shape"
import { type JsonObject, type JsonValue, parseJson } from "@sealwright/formats/strict-json"
import { SignatureV4 } from "@smithy/signature-v4"
import type { Arguments } from "./arguments.ts"
import { configFolder } from "./config-folder.ts"
import { CommandFailure, EXIT, usage } from "./exit.ts"

const MAX_ANSWER_BYTES = 16 * 1024 * 1024
const TIMEOUT_MS = 40_000
const ATTEMPTS = 4

export interface ServiceClient {
  get(path: string, query?: { readonly [name: string]: string | undefined }): Promise<JsonObject>
  /** Sent again on failures that allow it; `Idempotency-Key` makes that safe where the route takes one. */
  send(
    method: "POST" | "PUT" | "PATCH",
    path: string,
    body: JsonValue,
    query?: { readonly [name: string]: string | undefined },
    /** lower-case names; an `idempotency-key` of the caller's own replaces the one made here */
    headers?: { readonly [name: string]: string },
  ): Promise<JsonObject>
  /** Posts bytes under a media type, once. @returns the bytes of the answer, which has the media type `accept` */
  exchange(path: string, mediaType: string, accept: string, body: Uint8Array): Promise<Uint8Array>
}

/**
 * The service's API for a command: endpoint and region from flag, environment or configuration file (D14), credentials as every AWS tool
 * takes them.
 * @throws CommandFailure USAGE when no endpoint is known
 */
export function openClient(args: Arguments): ServiceClient {
  const config = readConfig()
  const endpoint = args.text("endpoint") ?? process.env.SEALWRIGHT_ENDPOINT ?? config.endpoint
  if (endpoint === undefined)
    throw usage(
      "no endpoint is known",
      "Give --endpoint, set SEALWRIGHT_ENDPOINT, or write it into ~/.config/sealwright/config.json.",
    )
  const url = parseEndpoint(endpoint)
  const region =
    args.text("region") ??
    config.region ??
    process.env.AWS_REGION ??
    process.env.AWS_DEFAULT_REGION ??
    regionOf(url) ??
    "us-east-1"
  const signer = new SignatureV4({ service: "execute-api", region, credentials: defaultProvider(), sha256: NodeSha256 })
  return {
    get: (path, query) => request(signer, url, "GET", path, undefined, query),
    send: (method, path, body, query, headers) => request(signer, url, method, path, body, query, headers),
    exchange: async (path, mediaType, accept, body) => {
      const signed = await sign(signer, url, "POST", path, undefined, { "content-type": mediaType }, body)
      return await exchangeBytes(new URL(signed.path, url), accept, { ...signed.headers, accept }, body)
    },
  }
}

function parseEndpoint(endpoint: string): URL {
  let url: URL
  try {
    url = new URL(endpoint)
  } catch {
    throw usage(`${endpoint} is no URL`)
  }
  const loopback = ["127.0.0.1", "localhost", "[::1]"].includes(url.hostname)
  if (url.protocol !== "https:" && !(url.protocol === "http:" && loopback))
    throw usage("the endpoint must be https, or http on this machine")
  return url
}

function regionOf(url: URL): string | undefined {
  return /\.execute-api\.([a-z0-9-]+)\.amazonaws\./.exec(url.hostname)?.[1]
}

const configShape = object({}, { endpoint: string(2048), region: string(64) })

function readConfig(): { readonly endpoint?: string; readonly region?: string } {
  const path = join(configFolder(), "config.json")
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch {
    return {}
  }
  try {
    return configShape(parseJson(bytes, { maxBytes: 65_536 }), "config")
  } catch (error) {
    throw usage(`${path}: ${error instanceof Error ? error.message : "unreadable"}`, "Mend or remove the file.")
  }
}

type Query = { readonly [name: string]: string | undefined } | undefined

async function request(
  signer: SignatureV4,
  endpoint: URL,
  method: string,
  path: string,
  body: JsonValue | undefined,
  query: Query,
  headers: { readonly [name: string]: string } = {},
): Promise<JsonObject> {
  const text = body === undefined ? undefined : JSON.stringify(body)
  const sent = {
    ...(body !== undefined && { "content-type": "application/json" }),
    ...(method === "POST" && { "idempotency-key": randomUUID() }),
    ...headers,
  }
  for (let attempt = 1; ; attempt++) {
    const outcome = await attemptRequest(signer, endpoint, method, path, text, query, sent)
    if (!("retry" in outcome)) return outcome.answer
    if (attempt === ATTEMPTS) throw outcome.retry
    await sleep(Math.random() * 250 * 2 ** attempt)
  }
}

async function attemptRequest(
  signer: SignatureV4,
  endpoint: URL,
  method: string,
  path: string,
  body: string | undefined,
  query: Query,
  headers: { readonly [name: string]: string },
): Promise<{ readonly answer: JsonObject } | { readonly retry: CommandFailure }> {
  const parameters = Object.fromEntries(
    Object.entries(query ?? {}).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  )
  const signed = await sign(signer, endpoint, method, path, parameters, headers, body)
  const search = new URLSearchParams(parameters).toString().replaceAll("+", "%20")
  let response: Response
  let bytes: Uint8Array
  try {
    response = await fetch(new URL(`${signed.path}${search === "" ? "" : `?${search}`}`, endpoint), {
      method,
      headers: signed.headers,
      redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(body !== undefined && { body }),
    })
    bytes = await readLimited(response)
  } catch (error) {
    if (error instanceof CommandFailure) throw error
    return { retry: unreachable(endpoint, error) }
  }
  return readAnswer(response.status, bytes)
}

async function sign(
  signer: SignatureV4,
  endpoint: URL,
  method: string,
  path: string,
  query: { readonly [name: string]: string } | undefined,
  headers: { readonly [name: string]: string },
  body: string | Uint8Array | undefined,
) {
  return await signer
    .sign({
      method,
      protocol: endpoint.protocol,
      hostname: endpoint.hostname,
      ...(endpoint.port !== "" && { port: Number(endpoint.port) }),
      path: endpoint.pathname.replace(/\/$/, "") + path,
      query: { ...query },
      headers: { host: endpoint.host, ...headers },
      ...(body !== undefined && { body }),
    })
    .catch((error: unknown) => {
      throw new CommandFailure(
        EXIT.denied,
        "NO_CREDENTIALS",
        `no AWS credentials: ${messageOf(error)}`,
        "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
      )
    })
}

/**
 * Posts bytes and reads bytes.
 * @throws CommandFailure UNREACHABLE, ANSWER_TOO_LARGE; ANSWER_MALFORMED for another media type than `accept`, and as the service's refusals
 */
export async function exchangeBytes(
  url: URL,
  accept: string,
  headers: { readonly [name: string]: string },
  body: Uint8Array,
): Promise<Uint8Array> {
  let response: Response
  let bytes: Uint8Array
  try {
    response = await fetch(url, {
      method: "POST",
      headers,
      redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT_MS),
      body: new Uint8Array(body),
    })
    bytes = await readLimited(response)
  } catch (error) {
    if (error instanceof CommandFailure) throw error
    throw unreachable(url, error)
  }
  const mediaType = response.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase()
  if (response.ok && mediaType === accept) return bytes
  const outcome = readAnswer(response.status, bytes)
  if ("retry" in outcome) throw outcome.retry
  throw new CommandFailure(
    EXIT.unavailable,
    "ANSWER_MALFORMED",
    `HTTP ${response.status} with a body that is not ${accept}`,
  )
}

function unreachable(url: URL, error: unknown): CommandFailure {
  return new CommandFailure(
    EXIT.unavailable,
    "UNREACHABLE",
    `${url.origin} does not answer: ${messageOf(error)}`,
    "Check the endpoint and the network.",
  )
}

async function readLimited(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body ?? []) {
    length += chunk.length
    if (length > MAX_ANSWER_BYTES)
      throw new CommandFailure(EXIT.unavailable, "ANSWER_TOO_LARGE", "the answer is larger than 16 MiB")
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

const problemShape = openObject(
  {},
  { code: string(100), detail: string(4000), remedy: string(4000), message: string(4000) },
)

function readAnswer(
  status: number,
  bytes: Uint8Array,
): { readonly answer: JsonObject } | { readonly retry: CommandFailure } {
  let value: JsonValue
  try {
    value = bytes.length === 0 ? {} : parseJson(bytes, { maxBytes: MAX_ANSWER_BYTES })
  } catch {
    return {
      retry: new CommandFailure(EXIT.unavailable, "ANSWER_MALFORMED", `HTTP ${status} with a body that is not JSON`),
    }
  }
  if (status >= 200 && status < 300) return { answer: value as JsonObject }
  const problem = problemShape(value, "problem")
  const failure = new CommandFailure(
    status === 401 || status === 403 ? EXIT.denied : status >= 500 || status === 429 ? EXIT.unavailable : EXIT.rejected,
    problem.code ?? `HTTP_${status}`,
    problem.detail ?? problem.message ?? `HTTP ${status}`,
    problem.remedy,
  )
  if (status >= 500 || status === 429) return { retry: failure }
  throw failure
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown"
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message
}

/** SHA-256 in the form that the signer takes: a hash, or an HMAC when it is given a key. */
class NodeSha256 {
  readonly #hash: ReturnType<typeof createHash> | ReturnType<typeof createHmac>

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash =
      secret === undefined
        ? createHash("sha256")
        : createHmac("sha256", typeof secret === "string" ? secret : bytesOf(secret))
  }

  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(typeof data === "string" ? data : bytesOf(data))
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }
}

function bytesOf(data: ArrayBuffer | ArrayBufferView): Uint8Array {
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data)
}
