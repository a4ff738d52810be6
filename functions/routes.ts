/**
 * The HTTP API: which function answers which route, in AWS and on one machine alike. IAM authorizes every one (D10, D14), but timestamps where a
 * deployment opens them.
 */
export interface ApiRoute {
  readonly method: "GET" | "POST" | "PUT" | "PATCH"
  readonly path: string
  readonly functionName: FunctionName
}

export const FUNCTION_NAMES = ["sign", "records", "revoke", "admin", "publish", "crl", "timestamp", "batch"] as const
export type FunctionName = (typeof FUNCTION_NAMES)[number]

const route = (functionName: FunctionName, method: ApiRoute["method"], ...paths: readonly string[]): ApiRoute[] =>
  paths.map((path) => ({ method, path, functionName }))

/** The one route that a deployment may open to clients that sign no requests. */
export const TIMESTAMP_ROUTE: ApiRoute = { method: "POST", path: "/v1/timestamp", functionName: "timestamp" }

export const ROUTES: readonly ApiRoute[] = [
  ...route("sign", "POST", "/v1/profiles/{profile}/signatures", "/v1/profiles/{profile}/jobs/{id}/cancel"),
  ...route(
    "records",
    "GET",
    "/v1/profiles/{profile}/signatures",
    "/v1/profiles/{profile}/signatures/{id}",
    "/v1/signatures",
    "/v1/signatures/{id}",
    "/v1/audit",
    "/v1/revocations",
    "/v1/revocations/{id}",
    "/v1/deployment",
    "/v1/issuers",
    "/v1/issuers/{issuer}",
    "/v1/profiles",
    "/v1/profiles/{profile}",
    "/v1/timestamp-authority",
    "/v1/publication",
    "/v1/status",
    "/v1/trees/notation",
    "/v1/profiles/{profile}/foreign-signatures",
    "/v1/profiles/{profile}/jobs",
    "/v1/profiles/{profile}/jobs/{id}",
    "/v1/profiles/{profile}/jobs/{id}/results",
  ),
  ...route("records", "POST", "/v1/profiles/{profile}/foreign-signatures"),
  ...route("revoke", "POST", "/v1/revocations", "/v1/revocations/{id}/release"),
  ...route("admin", "POST", "/v1/ceremony", "/v1/issuers", "/v1/profiles", "/v1/timestamp-authority"),
  ...route("admin", "POST", "/v1/root/rotation", "/v1/root/retirement"),
  ...route("admin", "POST", "/v1/issuers/{issuer}/activation"),
  ...route("admin", "POST", "/v1/issuers/{issuer}/rotation", "/v1/issuers/{issuer}/takeover"),
  ...route("admin", "POST", "/v1/profiles/{profile}/rotation"),
  ...route("admin", "POST", "/v1/profiles/{profile}/suspend", "/v1/profiles/{profile}/resume"),
  ...route("admin", "PATCH", "/v1/profiles/{profile}"),
  ...route("admin", "PUT", "/v1/profiles/{profile}/allowances"),
  ...route("publish", "POST", "/v1/publications"),
  TIMESTAMP_ROUTE,
]
