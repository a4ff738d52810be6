import type { Caller } from "./sigv4.ts"

/** An IAM statement without conditions. `*` stands for any characters, `?` for one. */
export interface Statement {
  readonly Effect: "Allow" | "Deny"
  readonly Action: string | readonly string[]
  readonly Resource: string | readonly string[]
}

export interface AccessQuestion {
  readonly caller: Caller
  /** `kms:Sign`, `execute-api:Invoke` and the like */
  readonly action: string
  /** an ARN, or "*" when the request names none */
  readonly resource: string
  /** condition keys of the service with their values, where the request has them */
  readonly conditions: Readonly<Record<string, string>>
}

const MEMBERS = new Set(["Sid", "Effect", "Action", "Resource"])

/**
 * Compiles statements to a decision: an explicit Deny wins, then an Allow, else denied.
 * @throws TypeError on a member that would narrow a statement and is not evaluated here (Condition, NotAction, Principal)
 */
export function compilePolicy(statements: readonly Statement[]): (action: string, resource: string) => boolean {
  const compiled = statements.map((statement) => {
    const unknown = Object.keys(statement).find((member) => !MEMBERS.has(member))
    if (unknown !== undefined) throw new TypeError(`policy statements with ${unknown} are not evaluated here`)
    return {
      effect: statement.Effect,
      actions: [statement.Action].flat().map((pattern) => wildcard(pattern, "i")),
      resources: [statement.Resource].flat().map((pattern) => wildcard(pattern, "")),
    }
  })
  return (action, resource) => {
    const matching = compiled.filter(
      ({ actions, resources }) =>
        actions.some((pattern) => pattern.test(action)) && resources.some((pattern) => pattern.test(resource)),
    )
    return matching.length > 0 && matching.every(({ effect }) => effect === "Allow")
  }
}

function wildcard(pattern: string, flags: string): RegExp {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".")
  return new RegExp(`^${source}$`, `s${flags}`)
}
