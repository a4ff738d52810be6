import { execFile } from "node:child_process"
import { createHash, createHmac } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { SignatureV4 } from "@smithy/signature-v4"
import { inject } from "vitest"
import { functionRole, type Keys, REGION } from "../../localstack/people.ts"
import { type LocalService, startService } from "../../localstack/service.ts"
import { fsck } from "../../packages/cli/src/fsck/check.ts"
import { dumpReaders, dumpStill } from "../../packages/cli/src/still-dump.ts"

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
/** the command unbuilt */
export const SOURCES = join(root, "packages/cli/src/main.ts")
export const REPOSITORY = "registry.wabbit-networks.io/net-monitor"

export interface Answer {
  readonly status: number
  readonly contentType: string
  // biome-ignore lint/suspicious/noExplicitAny: answers are read member by member, and a wrong one fails the test
  readonly json: any
}

export interface CallOptions {
  readonly body?: unknown
  /** sent as it is, instead of `body` */
  readonly raw?: string
  readonly headers?: Record<string, string>
  readonly query?: Record<string, string>
}

class Sha256 {
  readonly #hash
  constructor(secret?: unknown) {
    this.#hash = secret === undefined ? createHash("sha256") : createHmac("sha256", secret as Uint8Array)
  }
  update(bytes: unknown) {
    this.#hash.update(bytes as Uint8Array)
  }
  async digest() {
    return new Uint8Array(this.#hash.digest())
  }
}

/** One request with SigV4, sent once. */
export async function callApi(
  apiUrl: string,
  credentials: Keys,
  method: string,
  path: string,
  options: CallOptions = {},
): Promise<Answer> {
  const url = new URL(apiUrl)
  const body = options.raw ?? (options.body === undefined ? undefined : JSON.stringify(options.body))
  const signer = new SignatureV4({ service: "execute-api", region: REGION, credentials, sha256: Sha256 })
  const query = options.query ?? {}
  const signed = await signer.sign({
    method,
    protocol: url.protocol,
    hostname: url.hostname,
    port: Number(url.port),
    path,
    query,
    headers: { host: url.host, "content-type": "application/json", ...options.headers },
    ...(body !== undefined && { body }),
  })
  const search = new URLSearchParams(query).toString()
  const response = await fetch(`${apiUrl}${path}${search === "" ? "" : `?${search}`}`, {
    method,
    headers: signed.headers,
    signal: AbortSignal.timeout(30_000),
    ...(body !== undefined && { body }),
  })
  const text = await response.text()
  return {
    status: response.status,
    contentType: response.headers.get("content-type") ?? "",
    json: text === "" ? undefined : JSON.parse(text),
  }
}

export interface Outcome {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: as in Answer
  readonly json: any
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs the command as a user does, with nothing of this process's environment but the path.
 * @param command as it is published, when left out
 */
export function runCli(
  cwd: string,
  env: Record<string, string>,
  args: readonly string[],
  command = inject("built").command,
): Promise<Outcome> {
  const { PATH = "" } = process.env
  const cache = join(dirname(dirname(inject("built").command)), "compiled")
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [command, ...args],
      { cwd, env: { PATH, HOME: cwd, NODE_COMPILE_CACHE: cache, ...env }, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === "number" ? error.code : -1
        const last = stdout.trim().split("\n").at(-1) ?? ""
        resolve({ status, json: last.startsWith("{") ? JSON.parse(last) : undefined, stdout, stderr })
      },
    )
  })
}

export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "sealwright-e2e-"))
  return { path, remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 5 }) }
}

export async function startLocal(folder: string): Promise<LocalService> {
  return await startService({
    folder: join(folder, "service"),
    apiPort: 0,
    trustPort: 0,
    log: () => undefined,
    schedule: false,
    bundles: inject("built").functions,
  })
}

/** The environment of a person with a role's keys. */
export function environmentOf(service: LocalService, role: string): Record<string, string> {
  const keys = keysOf(service, role)
  return {
    SEALWRIGHT_ENDPOINT: service.apiUrl,
    AWS_REGION: REGION,
    AWS_ACCESS_KEY_ID: keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
  }
}

/** The environment of an operator who reads table and bucket. */
export function storeEnvironment(service: LocalService): Record<string, string> {
  return {
    ...environmentOf(service, functionRole("publish")),
    AWS_ENDPOINT_URL_DYNAMODB: service.endpoints.dynamodb,
    AWS_ENDPOINT_URL_S3: service.endpoints.s3,
  }
}

export function keysOf(service: LocalService, role: string): Keys {
  const keys = service.keys[role]
  if (keys === undefined) throw new Error(`no keys of ${role}`)
  return keys
}

/** A signature as it was before the log took it in, which happens when it happens. */
export function unlogged({ log: _, ...signature }: { readonly [member: string]: unknown }): object {
  return { ...signature, state: "recorded" }
}

/** What fsck finds in the running service, and what it read, through the stores' own protocols. */
export async function fsckLocal(service: LocalService) {
  const { DynamoDBClient } = await import("@aws-sdk/client-dynamodb")
  const { S3Client } = await import("@aws-sdk/client-s3")
  const shared = { region: REGION, credentials: keysOf(service, functionRole("publish")) }
  const table = new DynamoDBClient({ ...shared, endpoint: service.endpoints.dynamodb })
  const bucket = new S3Client({ ...shared, endpoint: service.endpoints.s3, forcePathStyle: true })
  try {
    const { items, objects } = await dumpStill(
      dumpReaders(service.table, service.bucket, () => undefined, table, bucket),
    )
    return { ...fsck({ items, objects }), items, objects }
  } finally {
    table.destroy()
    bucket.destroy()
  }
}
