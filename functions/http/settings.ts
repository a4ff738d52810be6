/** What the deployment tells a function through its environment. */
export interface Settings {
  readonly table: string
  readonly bucket: string
  /** name of the stack: prefix of key aliases and value of the keys' tag */
  readonly stack: string
  readonly publishFunction: string
  readonly crlFunction: string
  readonly timestampFunction: string
  /** policy of keys made at run time, JSON */
  readonly keyPolicy: string
  /** the only policy of the timestamp authority, dotted */
  readonly timestampPolicy: string
}

const VARIABLES = {
  table: "SEALWRIGHT_TABLE",
  bucket: "SEALWRIGHT_BUCKET",
  stack: "SEALWRIGHT_STACK",
  publishFunction: "SEALWRIGHT_PUBLISH_FUNCTION",
  crlFunction: "SEALWRIGHT_CRL_FUNCTION",
  timestampFunction: "SEALWRIGHT_TIMESTAMP_FUNCTION",
  keyPolicy: "SEALWRIGHT_KEY_POLICY",
  timestampPolicy: "SEALWRIGHT_TIMESTAMP_POLICY",
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
