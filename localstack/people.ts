import { randomBytes } from "node:crypto"
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { FUNCTION_NAMES, OCSP_FUNCTION } from "../functions/routes.ts"
import type { Principal } from "./api/principals.ts"

export const ACCOUNT = "000000000000"
export const REGION = "us-east-1"
export const API_ID = "local"

/** Who uses the local service, by role. */
export const ROLES = ["admin", "pipeline", "revoker", "auditor"] as const
export type Role = (typeof ROLES)[number]

export interface Keys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** The ARN that profiles list for a local role. */
export function roleArn(role: string): string {
  return `arn:aws:iam::${ACCOUNT}:role/${role}`
}

const invoke = (...paths: readonly string[]) => ({
  Effect: "Allow" as const,
  Action: "execute-api:Invoke",
  Resource: paths.map((path) => `arn:aws:execute-api:${REGION}:${ACCOUNT}:${API_ID}/$default/${path}`),
})

/** What each role may call, as the stack's managed policies allow it. */
const STATEMENTS: Record<Role, Principal["statements"]> = {
  admin: [invoke("*/v1/*")],
  pipeline: [
    invoke(
      "POST/v1/profiles/*/foreign-signatures",
      "GET/v1/profiles/*/foreign-signatures",
      "POST/v1/profiles/*/signatures",
      "GET/v1/profiles/*/signatures*",
      "GET/v1/profiles/*/jobs*",
      "POST/v1/profiles/*/jobs/*/cancel",
      "GET/v1/profiles",
      "GET/v1/profiles/*",
      "POST/v1/timestamp",
    ),
  ],
  revoker: [invoke("POST/v1/revocations*", "GET/v1/*")],
  auditor: [invoke("GET/v1/*")],
}

/** Keys of every role and function, made once for a data folder and readable by its owner alone. */
export function loadKeys(folder: string): { readonly [name: string]: Keys } {
  const path = join(folder, "credentials.json")
  const known = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as { [name: string]: Keys }) : {}
  const names = [...ROLES, ...[...FUNCTION_NAMES, OCSP_FUNCTION].map(functionRole)]
  const keys = Object.fromEntries(names.map((name) => [name, known[name] ?? newKeys()]))
  writeFileSync(path, `${JSON.stringify(keys, null, 2)}\n`, { mode: 0o600 })
  chmodSync(path, 0o600)
  return keys
}

export function functionRole(name: string): string {
  return `function-${name}`
}

function newKeys(): Keys {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
  const id = [...randomBytes(16)].map((byte) => alphabet.charAt(byte & 31)).join("")
  return { accessKeyId: `AKIA${id}`, secretAccessKey: randomBytes(30).toString("base64") }
}

export function principalsOf(keys: { readonly [name: string]: Keys }): Principal[] {
  return Object.entries(keys).map(([name, pair]) => ({
    ...pair,
    roleName: name,
    sessionName: "local",
    statements: STATEMENTS[name as Role] ?? [],
  }))
}
