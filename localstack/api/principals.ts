import { createHash } from "node:crypto"
import { compilePolicy, type Statement } from "../policy.ts"
import type { LocalCredential } from "../sigv4.ts"

/** A role session with keys of its own and the policy of its role. */
export interface Principal {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
  readonly roleName: string
  readonly sessionName: string
  readonly statements: readonly Statement[]
}

export interface Principals {
  /** for `createSigV4Verifier`, here and in the other embedded services */
  lookup(accessKeyId: string): LocalCredential | undefined
  /** @returns false for an unknown key, a Deny, or no Allow */
  isAllowed(accessKeyId: string, action: string, resource: string): boolean
}

/** @throws TypeError on two principals with one access key, or a statement that is not evaluated here */
export function createPrincipals(accountId: string, principals: readonly Principal[]): Principals {
  const known = new Map<
    string,
    { readonly credential: LocalCredential; readonly decide: ReturnType<typeof compilePolicy> }
  >()
  for (const principal of principals) {
    const { accessKeyId, roleName, sessionName } = principal
    if (known.has(accessKeyId)) throw new TypeError(`two principals have the access key ${accessKeyId}`)
    const caller = {
      accessKeyId,
      accountId,
      userArn: `arn:aws:sts::${accountId}:assumed-role/${roleName}/${sessionName}`,
      callerId: `${roleId(roleName)}:${sessionName}`,
    }
    known.set(accessKeyId, {
      credential: { secretAccessKey: principal.secretAccessKey, sessionToken: principal.sessionToken, caller },
      decide: compilePolicy(principal.statements),
    })
  }
  return {
    lookup: (accessKeyId) => known.get(accessKeyId)?.credential,
    isAllowed: (accessKeyId, action, resource) => known.get(accessKeyId)?.decide(action, resource) ?? false,
  }
}

/** A role's unique id in AWS's form; the same name always has the same id. */
function roleId(roleName: string): string {
  const digest = createHash("sha256").update(roleName).digest("hex").toUpperCase()
  return `AROA${digest.slice(0, 17)}`
}
