/**
 * The HTTP API: which function answers which route, in AWS and on one machine alike. IAM authorizes every one (D10, D14), but timestamps and OCSP where
 * a deployment opens them.
 */
export interface ApiRoute<Name extends string = FunctionName> {
  readonly method: "GET" | "POST" | "PUT" | "PATCH"
  readonly path: string
  readonly functionName: Name
}

/** Functions that a stack always has. */
export const FUNCTION_NAMES = [
  "sign",
  "records",
  "revoke",
  "admin",
  "publish",
  "crl",
  "timestamp",
  "relay",
  "batch",
  "reconcile",
  "sequence",
] as const
export type FunctionName = (typeof FUNCTION_NAMES)[number]

/** A function that a stack has only when it is asked for. */
export const OCSP_FUNCTION = "ocsp"

/** A route of any function that a stack may have. */
export type AnyRoute = ApiRoute<FunctionName | typeof OCSP_FUNCTION>

const route = <Name extends string>(
  functionName: Name,
  method: ApiRoute["method"],
  ...paths: readonly string[]
): ApiRoute<Name>[] => paths.map((path) => ({ method, path, functionName }))

/** The one route that a deployment may open to clients that sign no requests. */
export const TIMESTAMP_ROUTE: ApiRoute = { method: "POST", path: "/v1/timestamp", functionName: "timestamp" }

export const ROUTES: readonly ApiRoute[] = [
  ...route("sign", "POST", "/v1/profiles/{profile}/signatures", "/v1/profiles/{profile}/jobs/{id}/cancel"),
  ...route(
    "records",
    "GET",
    "/v1/profiles/{profile}/signatures",
    "/v1/profiles/{profile}/signatures/{id}",
    "/v1/profiles/{profile}/signatures/{id}/proof",
    "/v1/signatures",
    "/v1/signatures/{id}",
    "/v1/signatures/{id}/proof",
    "/v1/log",
    "/v1/log/{log}/{path+}",
    "/v1/audit",
    "/v1/revocations",
    "/v1/revocations/{id}",
    "/v1/deployment",
    "/v1/issuers",
    "/v1/issuers/{issuer}",
    "/v1/profiles",
    "/v1/profiles/{profile}",
    "/v1/timestamp-authority",
    "/v1/outside-authorities",
    "/v1/publication",
    "/v1/status",
    "/v1/reconciliation",
    "/v1/tuf",
    "/v1/trees/notation",
    "/v1/profiles/{profile}/foreign-signatures",
    "/v1/profiles/{profile}/jobs",
    "/v1/profiles/{profile}/jobs/{id}",
    "/v1/profiles/{profile}/jobs/{id}/results",
  ),
  ...route("records", "POST", "/v1/profiles/{profile}/foreign-signatures"),
  ...route("revoke", "POST", "/v1/revocations", "/v1/revocations/{id}/release"),
  ...route("admin", "POST", "/v1/ceremony", "/v1/issuers", "/v1/profiles", "/v1/timestamp-authority"),
  ...route("admin", "POST", "/v1/root/rotation", "/v1/root/extra", "/v1/root/retirement"),
  ...route("admin", "POST", "/v1/tuf/keys", "/v1/tuf/proposals", "/v1/tuf/signatures"),
  ...route("admin", "POST", "/v1/tuf/withdrawal", "/v1/tuf/rotation"),
  ...route("admin", "POST", "/v1/issuers/{issuer}/activation"),
  ...route("admin", "POST", "/v1/issuers/{issuer}/rotation", "/v1/issuers/{issuer}/takeover"),
  ...route("admin", "POST", "/v1/profiles/{profile}/rotation"),
  ...route("admin", "POST", "/v1/profiles/{profile}/suspend", "/v1/profiles/{profile}/resume"),
  ...route("admin", "PATCH", "/v1/profiles/{profile}"),
  ...route(
    "admin",
    "PUT",
    "/v1/profiles/{profile}/allowances",
    "/v1/outside-authorities/{authority}",
    "/v1/outside-crls",
    "/v1/log/witnesses",
  ),
  ...route("publish", "POST", "/v1/publications"),
  ...route("reconcile", "POST", "/v1/reconciliation/findings/{id}/acknowledgement"),
  TIMESTAMP_ROUTE,
]

/** Where stock clients ask for a certificate's status (RFC 6960 A.1); they sign no requests. */
export const OCSP_OPEN_ROUTES: readonly AnyRoute[] = [
  ...route(OCSP_FUNCTION, "POST", "/v1/ocsp"),
  ...route(OCSP_FUNCTION, "GET", "/v1/ocsp/{request+}"),
]

/** What a stack with an OCSP responder has besides. */
export const OCSP_ROUTES: readonly AnyRoute[] = [
  ...route("records", "GET", "/v1/ocsp-responders"),
  ...route("admin", "POST", "/v1/issuers/{issuer}/ocsp-responder"),
  ...OCSP_OPEN_ROUTES,
]
