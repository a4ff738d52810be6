import { toJsonSchema } from "@valibot/to-json-schema"
import type { GenericSchema } from "valibot"
import {
  activationSchema,
  allowancesSchema,
  ceremonySchema,
  extraRootSchema,
  issuerRotationSchema,
  issuerSchema,
  logWitnessesSchema,
  ocspResponderSchema,
  outsideAuthoritySchema,
  outsideCrlSchema,
  profileChangeSchema,
  profileRotationSchema,
  profileSchema,
  rootRetirementSchema,
  rootRotationSchema,
  takeoverSchema,
  timestampAuthoritySchema,
  tufKeySchema,
  tufProposalSchema,
  tufRotationSchema,
  tufSignaturesSchema,
  tufWithdrawalSchema,
} from "../../functions/http/admin-schemas.ts"
import {
  acknowledgementSchema,
  foreignSignatureSchema,
  revocationSchema,
  signOrJobSchema,
} from "../../functions/http/schemas.ts"
import { type AnyRoute, OCSP_FUNCTION, OCSP_ROUTES, ROUTES } from "../../functions/routes.ts"
import { ANSWERS, COMPONENTS, ref } from "./responses.ts"

const BODIES: { readonly [routeKey: string]: GenericSchema } = {
  "POST /v1/profiles/{profile}/signatures": signOrJobSchema,
  "POST /v1/profiles/{profile}/foreign-signatures": foreignSignatureSchema,
  "POST /v1/revocations": revocationSchema,
  "POST /v1/reconciliation/findings/{id}/acknowledgement": acknowledgementSchema,
  "POST /v1/ceremony": ceremonySchema,
  "POST /v1/issuers": issuerSchema,
  "POST /v1/issuers/{issuer}/activation": activationSchema,
  "POST /v1/root/rotation": rootRotationSchema,
  "POST /v1/root/extra": extraRootSchema,
  "POST /v1/root/retirement": rootRetirementSchema,
  "POST /v1/tuf/keys": tufKeySchema,
  "POST /v1/tuf/proposals": tufProposalSchema,
  "POST /v1/tuf/signatures": tufSignaturesSchema,
  "POST /v1/tuf/withdrawal": tufWithdrawalSchema,
  "POST /v1/tuf/rotation": tufRotationSchema,
  "POST /v1/issuers/{issuer}/rotation": issuerRotationSchema,
  "POST /v1/issuers/{issuer}/takeover": takeoverSchema,
  "POST /v1/profiles/{profile}/rotation": profileRotationSchema,
  "POST /v1/profiles": profileSchema,
  "POST /v1/timestamp-authority": timestampAuthoritySchema,
  "POST /v1/issuers/{issuer}/ocsp-responder": ocspResponderSchema,
  "PATCH /v1/profiles/{profile}": profileChangeSchema,
  "PUT /v1/profiles/{profile}/allowances": allowancesSchema,
  "PUT /v1/outside-authorities/{authority}": outsideAuthoritySchema,
  "PUT /v1/outside-crls": outsideCrlSchema,
  "PUT /v1/log/witnesses": logWitnessesSchema,
}

const DER = { type: "string", contentMediaType: "application/octet-stream", description: "DER" }

const FAILURES: { readonly [status: number]: string } = {
  400: "The request is wrong",
  403: "Denied: by a signing policy (with a code), or by IAM (API Gateway's own body)",
  404: "There is no such thing",
  409: "Another writer was first, or the name or key is taken",
  429: "Throttled by API Gateway",
  500: "Nobody foresaw this; the bare body has only the requestId",
  503: "A dependency did not answer; never means that nothing was done",
}

/** docs/openapi.json: every route, its request as the function checks it, its answers, IAM. */
export function openApiDocument(): string {
  const paths: { [path: string]: { [method: string]: unknown } } = {}
  for (const route of [...ROUTES, ...OCSP_ROUTES]) {
    const item = paths[templateOf(route)] ?? {}
    paths[templateOf(route)] = item
    item[route.method.toLowerCase()] = operation(route)
  }
  return `${JSON.stringify(
    {
      openapi: "3.1.0",
      info: {
        title: "Sealwright",
        version: "1",
        description:
          "Signing and revocation. Every route is authorized by IAM (SigV4, service execute-api). Times are RFC 3339 in UTC with whole seconds; big integers are decimal strings; unknown members are refused. A body has 256 KiB at most, 4 MiB where it becomes a job.",
        license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      },
      servers: [
        {
          url: "https://{api}.execute-api.{region}.amazonaws.com",
          variables: { api: { default: "api" }, region: { default: "us-east-1" } },
        },
      ],
      security: [{ sigv4: [] }],
      paths,
      components: {
        securitySchemes: {
          sigv4: {
            type: "apiKey",
            in: "header",
            name: "Authorization",
            description: "AWS Signature Version 4; action execute-api:Invoke on the route",
            "x-amazon-apigateway-authtype": "awsSigv4",
          },
        },
        schemas: COMPONENTS,
      },
    },
    null,
    2,
  )}\n`
}

/** OpenAPI has no word for a parameter that takes the rest of the path. */
function templateOf({ path }: AnyRoute): string {
  return path.replace("+}", "}")
}

function operation(route: AnyRoute): unknown {
  const key = `${route.method} ${route.path}`
  const answer = ANSWERS[key]
  if (answer === undefined) throw new Error(`scripts/docs/responses.ts says nothing of ${key}`)
  const body = BODIES[key]
  const { $schema: _, ...schema } = body === undefined ? {} : requestSchema(body)
  return {
    operationId: operationId(route),
    summary: answer.summary,
    tags: [route.functionName],
    ...(route.functionName === OCSP_FUNCTION && { security: [] }),
    ...parameters(route, answer),
    ...(body !== undefined && { requestBody: { required: true, content: { "application/json": { schema } } } }),
    ...(answer.media?.request && {
      requestBody: { required: true, content: { [answer.media.request]: { schema: DER } } },
    }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answer.status).map(([status, content]) => [
          status,
          {
            description: descriptionOf(Number(status)),
            content: { [answer.media?.response ?? "application/json"]: { schema: content } },
          },
        ]),
      ),
      ...Object.fromEntries(Object.entries(FAILURES).map(([status, text]) => [status, failure(Number(status), text)])),
    },
  }
}

/** Formats that a pattern with a flag describes (names without control characters) have their length alone in the document. */
function requestSchema(schema: GenericSchema): { readonly [name: string]: unknown } {
  return toJsonSchema(schema, { typeMode: "input", errorMode: "ignore", target: "draft-2020-12" }) as {
    readonly [name: string]: unknown
  }
}

function descriptionOf(status: number): string {
  return status === 201 ? "Made anew" : status === 202 ? "Durable, and not done or not published yet" : "Done"
}

function failure(status: number, description: string): unknown {
  const problem = { "application/problem+json": { schema: ref("Problem") } }
  const gateway = { "application/json": { schema: ref("Gateway") } }
  if (status === 429) return { description, content: gateway }
  if (status === 500) return { description, content: { "application/problem+json": { schema: { type: "object" } } } }
  return { description, content: status === 403 || status === 404 ? { ...problem, ...gateway } : problem }
}

function parameters(route: AnyRoute, { query = {}, idempotent, prefer }: (typeof ANSWERS)[string]): object {
  const inPath = [...route.path.matchAll(/\{(\w+)(\+?)\}/g)].map(([, name, rest]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string", maxLength: rest === "+" ? 5464 : 200 },
  }))
  const inQuery = Object.entries(query).map(([name, description]) => ({
    name,
    in: "query",
    required: description === "required",
    ...(description !== "required" && { description }),
    schema: { type: "string", maxLength: 200 },
  }))
  const header = {
    name: "Idempotency-Key",
    in: "header",
    required: false,
    description:
      "Required with `Prefer: respond-async`. Counts per caller role and profile, and is kept as long as the record. The same key and body answer the recorded bytes; another body is a 409.",
    schema: { type: "string", pattern: "^[\\x21-\\x7e]{1,128}$" },
  }
  const preference = {
    name: "Prefer",
    in: "header",
    required: false,
    description: "`respond-async` (RFC 7240) makes the request a job; other preferences are left aside",
    schema: { type: "string" },
  }
  const found = [...inPath, ...inQuery, ...(idempotent ? [header] : []), ...(prefer ? [preference] : [])]
  return found.length === 0 ? {} : { parameters: found }
}

/** `POST /v1/profiles/{profile}/suspend` -> `postProfilesProfileSuspend`. */
function operationId({ method, path }: AnyRoute): string {
  const words = path.replace("/v1/", "").replace(/[{}+]/g, "").split("/")
  return method.toLowerCase() + words.map((word) => `${word.slice(0, 1).toUpperCase()}${word.slice(1)}`).join("")
}
