import { Token } from "aws-cdk-lib"
import { Effect, ManagedPolicy, PolicyStatement } from "aws-cdk-lib/aws-iam"
import { Construct } from "constructs"
import { type AnyRoute, type FunctionName, ROUTES } from "../../functions/routes.ts"
import type { ServiceApi } from "./http-api.ts"
import { acknowledgeWildcards } from "./wildcards.ts"

const PROFILE_NAME = /^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$/

/** Managed policies to attach to people's and pipelines' roles (D10, D14). No one of them both decides policy and signs. */
export class AccessPolicies extends Construct {
  /** rescinds and revokes, releases holds, and looks up what to revoke */
  readonly revoker: ManagedPolicy
  /** sets up, makes issuers and profiles, suspends and resumes, publishes at once */
  readonly admin: ManagedPolicy
  /** reads everything, changes nothing */
  readonly auditor: ManagedPolicy
  /** asks for timestamps */
  readonly timestamps: ManagedPolicy
  readonly #api: ServiceApi

  /** @param more routes beside those that every stack has. Default: none */
  constructor(scope: Construct, id: string, api: ServiceApi, more: readonly AnyRoute[] = []) {
    super(scope, id)
    this.#api = api
    const routes = [...ROUTES, ...more]
    const routesOf = (name: FunctionName) => routes.filter(({ functionName }) => functionName === name).map(invocation)
    const reads = routes
      .filter(({ method, functionName }) => method === "GET" && functionName === "records")
      .map(invocation)
    this.revoker = this.#policy("Revoker", "revokes, and reads what to revoke", [
      ...routesOf("revoke"),
      ...reads.filter((route) => route !== "GET/v1/audit"),
    ])
    this.admin = this.#policy("Admin", "sets up and keeps issuers and profiles", [
      ...routesOf("admin"),
      ...routesOf("publish"),
      ...routesOf("reconcile"),
      ...reads,
    ])
    this.timestamps = this.#policy("Timestamps", "asks for timestamps", routesOf("timestamp"))
    this.auditor = this.#policy("Auditor", "reads everything", reads)
  }

  /**
   * Lets whoever holds it ask for signatures of these profiles, in batch jobs too, and read both; the profile's own list of principals decides too.
   * @param profiles names, at least one; no wildcard
   * @throws TypeError on what is not a profile's name
   */
  signer(id: string, profiles: readonly string[]): ManagedPolicy {
    checkProfiles(profiles)
    return this.#policy(
      id,
      `signs under ${profiles.join(", ")}`.slice(0, 200),
      profiles.flatMap((profile) =>
        ["POST", "GET"]
          .map((method) => `${method}/v1/profiles/${profile}/signatures`)
          .concat(
            `GET/v1/profiles/${profile}/signatures/*`,
            `GET/v1/profiles/${profile}/jobs`,
            `GET/v1/profiles/${profile}/jobs/*`,
            `POST/v1/profiles/${profile}/jobs/*/cancel`,
          ),
      ),
    )
  }

  /**
   * Lets whoever holds it register signatures that were made without the service under these profiles, and read them; the profile's own list of
   * principals decides too. Whoever may sign need not have it, nor the reverse.
   * @param profiles names, at least one; no wildcard
   * @throws TypeError on what is not a profile's name
   */
  recorder(id: string, profiles: readonly string[]): ManagedPolicy {
    checkProfiles(profiles)
    return this.#policy(
      id,
      `registers signatures under ${profiles.join(", ")}`.slice(0, 200),
      profiles.flatMap((profile) =>
        ["POST", "GET"].map((method) => `${method}/v1/profiles/${profile}/foreign-signatures`),
      ),
    )
  }

  #policy(id: string, description: string, paths: readonly string[]): ManagedPolicy {
    const resources = this.#api.routeArns(...paths)
    const policy = new ManagedPolicy(this, id, {
      description: `Sealwright: ${description}`,
      statements: [new PolicyStatement({ effect: Effect.ALLOW, actions: ["execute-api:Invoke"], resources })],
    })
    acknowledgeWildcards(
      policy,
      resources,
      "Each wildcard stands for one parameter in the path of a route of this API.",
    )
    return policy
  }
}

function checkProfiles(profiles: readonly string[]): void {
  const bad = profiles.find((name) => Token.isUnresolved(name) || !PROFILE_NAME.test(name))
  if (bad !== undefined || profiles.length === 0) throw new TypeError(`not a profile's name: ${bad ?? "(none)"}`)
}

function invocation({ method, path }: AnyRoute): string {
  return `${method}${path.replaceAll(/\{\w+\+?\}/g, "*")}`
}
