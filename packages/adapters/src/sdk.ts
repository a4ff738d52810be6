import { setTimeout as sleep } from "node:timers/promises"
import { RequestSigner } from "./request-signer.ts"

export interface ClientSettings {
  readonly region?: string
  /** another address than AWS's own, e.g. of the embedded stores */
  readonly endpoint?: string
  readonly maxAttempts?: number
  readonly connectionTimeoutMs?: number
  readonly requestTimeoutMs?: number
}

/** Options of every SDK client: the SDK's standard retries, and times after which a call has failed. */
export function clientOptions(settings: ClientSettings = {}) {
  const { region, endpoint, maxAttempts = 3, connectionTimeoutMs = 1_000, requestTimeoutMs = 3_000 } = settings
  return {
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
    maxAttempts,
    retryMode: "standard",
    requestHandler: {
      connectionTimeout: connectionTimeoutMs,
      requestTimeout: requestTimeoutMs,
      throwOnRequestTimeout: true,
    },
  } as const
}

/**
 * `clientOptions` for KMS and DynamoDB, whose calls are many, small and alike, so that what the SDK does around a call counts: it puts a command's
 * middleware together once, and signs by the shortest way. For clients that `trimmed` trims.
 */
export function smallCallOptions(settings: ClientSettings = {}) {
  return { ...clientOptions(settings), cacheMiddleware: true, signerConstructor: RequestSigner } as const
}

interface Trimmable {
  readonly middlewareStack: { remove(name: string): boolean }
  readonly config: { signer: (...scheme: never[]) => Promise<unknown> }
}

/**
 * Takes from a client what each call would pay for in vain: logging, which blanks the secrets of every input and output for a logger that is not
 * there; marks against functions that invoke each other without end, which neither service does; a new signer.
 * @returns the client
 */
export function trimmed<Client extends Trimmable>(client: Client): Client {
  for (const name of ["loggerMiddleware", "recursionDetectionMiddleware"]) client.middlewareStack.remove(name)
  const { config } = client
  const make = config.signer
  let signer: unknown
  config.signer = async (...scheme) => {
    signer ??= await make(...scheme)
    return signer
  }
  return client
}

const THROTTLED = new Set([
  "LimitExceededException",
  "ProvisionedThroughputExceededException",
  "RequestLimitExceeded",
  "RequestTimeout",
  "SlowDown",
  "ThrottlingException",
  "TooManyRequestsException",
])
const MISCONFIGURED = new Set(["CredentialsProviderError", "TypeError", "RangeError"])

export function errorName(error: unknown): string {
  return error instanceof Error ? error.name : ""
}

/** The service's answer to a call that it refused; false for everything that leaves open whether the call was carried out. */
export function isRefusal(error: unknown): boolean {
  if (!(error instanceof Error) || THROTTLED.has(error.name)) return false
  if (MISCONFIGURED.has(error.name)) return true
  return "$fault" in error && error.$fault === "client" && statusOf(error) < 500
}

function statusOf(error: object): number {
  const metadata = "$metadata" in error ? (error.$metadata as { readonly httpStatusCode?: number }) : {}
  return metadata.httpStatusCode ?? 400
}

const FIRST_PAUSE_MS = 10
const LONGEST_PAUSE_MS = 500

/** Waits a random time below a bound that doubles with each attempt ("full jitter"). @param attempt from 0 */
export async function backOff(attempt: number): Promise<void> {
  await sleep(Math.random() * Math.min(FIRST_PAUSE_MS * 2 ** attempt, LONGEST_PAUSE_MS))
}
