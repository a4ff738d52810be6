import { setTimeout as sleep } from "node:timers/promises"

export interface ClientSettings {
  readonly region?: string
  /** another address than AWS's own, e.g. of the embedded stores */
  readonly endpoint?: string
  readonly maxAttempts?: number
  readonly connectionTimeoutMs?: number
  readonly requestTimeoutMs?: number
}

/**
 * Options of every SDK client: the SDK's standard retries, times after which a call has failed, and a command's middleware put together once, not anew
 * for each call.
 */
export function clientOptions(settings: ClientSettings = {}) {
  const { region, endpoint, maxAttempts = 3, connectionTimeoutMs = 1_000, requestTimeoutMs = 3_000 } = settings
  return {
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
    maxAttempts,
    retryMode: "standard",
    cacheMiddleware: true,
    requestHandler: {
      connectionTimeout: connectionTimeoutMs,
      requestTimeout: requestTimeoutMs,
      throwOnRequestTimeout: true,
    },
  } as const
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
