import type { TokenSettings } from "@sealwright/adapters/service-keys"
import { KEY_PURPOSES, type KeyPurpose, type WrappedPurpose } from "@sealwright/core/ports"

/** What the deployment tells a function through its environment. */
export interface Settings {
  readonly table: string
  readonly bucket: string
  /** name of the stack: prefix of key aliases and value of the keys' tag */
  readonly stack: string
  readonly publishFunction: string
  readonly crlFunction: string
  readonly timestampFunction: string
  readonly relayFunction: string
  readonly batchFunction: string
  /** key operations a second that batches may use, in digits */
  readonly batchRate: string
  /** policy of keys made at run time, JSON */
  readonly keyPolicy: string
  /** the only policy of the timestamp authority, dotted */
  readonly timestampPolicy: string
  /** seconds after which uses of keys are reconciled, in digits */
  readonly settleAfterSec: string
}

const VARIABLES = {
  table: "SEALWRIGHT_TABLE",
  bucket: "SEALWRIGHT_BUCKET",
  stack: "SEALWRIGHT_STACK",
  publishFunction: "SEALWRIGHT_PUBLISH_FUNCTION",
  crlFunction: "SEALWRIGHT_CRL_FUNCTION",
  timestampFunction: "SEALWRIGHT_TIMESTAMP_FUNCTION",
  relayFunction: "SEALWRIGHT_RELAY_FUNCTION",
  batchFunction: "SEALWRIGHT_BATCH_FUNCTION",
  batchRate: "SEALWRIGHT_BATCH_RATE",
  keyPolicy: "SEALWRIGHT_KEY_POLICY",
  timestampPolicy: "SEALWRIGHT_TIMESTAMP_POLICY",
  settleAfterSec: "SEALWRIGHT_SETTLE_AFTER_SEC",
} as const satisfies Record<keyof Settings, string>

/**
 * Settings that this function needs; reading another one is a programming mistake.
 * @throws Error naming the missing variable
 */
export function readSettings<const Name extends keyof Settings>(
  env: { readonly [name: string]: string | undefined },
  ...names: readonly Name[]
): Pick<Settings, Name> {
  return Object.fromEntries(
    names.map((name) => {
      const value = env[VARIABLES[name]]
      if (value === undefined || value === "") throw new Error(`${VARIABLES[name]} is not set`)
      return [name, value]
    }),
  ) as Pick<Settings, Name>
}

/** Whether this is a run on one machine: AWS is this machine itself then. No deployed function has these variables. */
export function isLocalRun(env: { readonly [name: string]: string | undefined }): boolean {
  const host = URL.parse(env.AWS_ENDPOINT_URL_DYNAMODB ?? env.AWS_ENDPOINT_URL ?? "")?.hostname
  return host !== undefined && ["127.0.0.1", "[::1]", "localhost"].includes(host)
}

const WRAPPING_VARIABLE = "SEALWRIGHT_WRAPPING"
const WRAPPED_PURPOSES = ["issuer", "timestamp"] as const satisfies readonly WrappedPurpose[]

/**
 * What the deployment makes wrapped keys for; nothing unless it was deployed so.
 * @throws Error when the variable names anything else
 */
export function readWrapping(env: { readonly [name: string]: string | undefined }): ReadonlySet<WrappedPurpose> {
  const names = (env[WRAPPING_VARIABLE] ?? "").split(",").filter((name) => name !== "")
  return new Set(
    names.map((name) => {
      const purpose = WRAPPED_PURPOSES.find((known) => known === name)
      if (purpose === undefined) throw new Error(`${WRAPPING_VARIABLE} names something unknown`)
      return purpose
    }),
  )
}

const USERS_VARIABLE = "SEALWRIGHT_KEY_USERS"

/**
 * Who may use keys of which purpose, as the deployment granted it: `[{"role": ARN, "purposes": […]}, …]`.
 * @throws Error when the variable is missing or names a purpose that there is not
 */
export function readKeyUsers(env: { readonly [name: string]: string | undefined }): Map<string, Set<KeyPurpose>> {
  const rows = JSON.parse(env[USERS_VARIABLE] ?? "[]") as { readonly role: string; readonly purposes: string[] }[]
  if (rows.length === 0) throw new Error(`${USERS_VARIABLE} is not set`)
  return new Map(
    rows.map(({ role, purposes }) => {
      const known = KEY_PURPOSES.filter((purpose) => purposes.includes(purpose))
      if (known.length !== purposes.length) throw new Error(`${USERS_VARIABLE} names something unknown`)
      return [role, new Set(known)]
    }),
  )
}

const TOKEN_VARIABLES = {
  module: "SEALWRIGHT_PKCS11_MODULE",
  packageFolder: "SEALWRIGHT_PKCS11_PACKAGES",
  tokenLabel: "SEALWRIGHT_PKCS11_TOKEN",
  pin: "SEALWRIGHT_PKCS11_PIN",
} as const satisfies Record<keyof TokenSettings, string>

/**
 * The PKCS #11 token that keys live on; undefined when all live in KMS.
 * @throws Error when only some of its variables are set
 */
export function readTokenSettings(env: { readonly [name: string]: string | undefined }): TokenSettings | undefined {
  const set = Object.entries(TOKEN_VARIABLES).filter(([, variable]) => env[variable])
  if (set.length === 0) return undefined
  const missing = Object.values(TOKEN_VARIABLES).find((variable) => !env[variable])
  if (missing !== undefined) throw new Error(`${missing} is not set`)
  return Object.fromEntries(set.map(([name, variable]) => [name, env[variable]])) as unknown as TokenSettings
}
