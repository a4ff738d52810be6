import { existsSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { KEY_PURPOSES } from "@sealwright/core/ports"
import { describe, expect, test } from "vitest"
import {
  ACCOUNT,
  functionName,
  type Json,
  newStack,
  REGION,
  ROOT,
  resourcesOf,
  type Statement,
  statementsByFunction,
} from "../stacks/template.ts"

/** The policies of the synthesised template, decided by an outside simulator of IAM. Test-only: its licence keeps it out of package.json. */
const SIMULATOR = join(ROOT, ".clients/npm/node_modules/@cloud-copilot/iam-simulate/dist/esm/index.js")
const missing = !existsSync(SIMULATOR)
if (missing)
  process.stdout.write("missing client: @cloud-copilot/iam-simulate (scripts/clients/install.sh puts it there)\n")

const resources = resourcesOf(newStack({ profiles: "ci", ocsp: "10" }))
const roles = statementsByFunction(resources)
const find = (test: (id: string, type: string) => boolean) => {
  const found = resources.find(({ id, type }) => test(id, type))
  if (found === undefined) throw new Error("not in the template")
  return found
}
const lambda = (name: string) => find((id, type) => type === "AWS::Lambda::Function" && functionName(id) === name)
const admin = lambda("admin").properties
const KEY_POLICY: Json = JSON.parse(admin.Environment.Variables.SEALWRIGHT_KEY_POLICY)
const TABLE = `arn:aws:dynamodb:${REGION}:${ACCOUNT}:table/${find((_, type) => type === "AWS::DynamoDB::Table").id}`
const BUCKET = "ServicePublicationBucketF6EEC7CB"
const BUCKET_POLICY: Json = find((id) => id.startsWith("ServicePublicationBucketPolicy")).properties.PolicyDocument
const KEY = `arn:aws:kms:${REGION}:${ACCOUNT}:key/00000000-0000-4000-8000-000000000000`
/** Stands for a key that is being made: KMS has no policy of it yet and asks IAM alone. */
const IAM_DECIDES = {
  Version: "2012-10-17",
  Statement: [{ Effect: "Allow", Principal: { AWS: `arn:aws:iam::${ACCOUNT}:root` }, Action: "kms:*", Resource: "*" }],
}
const ALIAS = `arn:aws:kms:${REGION}:${ACCOUNT}:alias/Sealwright/tuf/root`

type Context = Readonly<Record<string, string | string[]>>
interface Question {
  readonly action: string
  readonly resource: string
  readonly context?: Context
  readonly policy?: Json
}

async function decide(principal: string, statements: readonly Statement[], question: Question): Promise<string> {
  const { runSimulation } = (await import(pathToFileURL(SIMULATOR).href)) as {
    runSimulation: (simulation: Json, options: object) => Promise<Json>
  }
  const answer = await runSimulation(
    {
      identityPolicies: [{ name: "role", policy: { Version: "2012-10-17", Statement: statements } }],
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      ...(question.policy && { resourcePolicy: question.policy }),
      request: {
        action: question.action,
        principal,
        resource: { accountId: ACCOUNT, resource: question.resource },
        contextVariables: { "aws:SecureTransport": "true", "aws:PrincipalArn": principal, ...question.context },
      },
    },
    {},
  )
  if (answer.resultType === "error") throw new Error(JSON.stringify(answer.errors))
  return answer.overallResult === "Allowed" ? "allowed" : "denied"
}

const asFunction = (name: string, question: Question) =>
  decide(lambda(name).properties.Role, roles.get(name) ?? [], question)

const named = ([name, question]: [string, Question]): [string, string, string, Question] => [
  name,
  question.action,
  question.resource.split(":").at(-1) as string,
  question,
]

const tags = (purpose: string, stack = "Sealwright"): Context => ({
  "aws:ResourceTag/sealwright:stack": stack,
  "aws:ResourceTag/sealwright:purpose": purpose,
})
const sign = (purpose: string, more: Context = {}): Question => ({
  action: "kms:Sign",
  resource: KEY,
  policy: KEY_POLICY,
  context: { ...tags(purpose), "kms:MessageType": "DIGEST", "kms:SigningAlgorithm": "ECDSA_SHA_256", ...more },
})
/** RAW, and EXTERNAL_MU for what is longer (R19) */
const mlDsa = (purpose: string, type = "RAW") =>
  sign(purpose, { "kms:MessageType": type, "kms:SigningAlgorithm": "ML_DSA_SHAKE_256" })
const item = (action: string): Question => ({ action: `dynamodb:${action}`, resource: TABLE })
const deleteIn = (partition: string): Question => ({
  ...item("DeleteItem"),
  context: { "dynamodb:LeadingKeys": [partition] },
})
const object = (action: string, key: string, context: Context = {}): Question => ({
  action: `s3:${action}`,
  resource: `arn:aws:s3:::${BUCKET}/${key}`,
  policy: BUCKET_POLICY,
  context,
})
const call = (name: string): Question => ({
  action: "lambda:InvokeFunction",
  resource: `arn:aws:lambda:${REGION}:${ACCOUNT}:function:${lambda(name).id}`,
})
const requestTags: Context = {
  "aws:RequestTag/sealwright:stack": "Sealwright",
  "aws:RequestTag/sealwright:purpose": "issuer",
  "aws:TagKeys": ["sealwright:stack", "sealwright:purpose"],
}
const create: Context = { ...requestTags, "kms:KeySpec": "ECC_NIST_P256", "kms:KeyUsage": "SIGN_VERIFY" }
const FIRST = { "s3:if-none-match": "*" }
const SWAP = { "s3:if-match": "etag" }

const SIGNS: Readonly<Record<string, readonly string[]>> = {
  sign: ["issuer", "held"],
  records: [],
  revoke: [],
  admin: ["root", "issuer", "tuf-root", "tuf-targets"],
  publish: ["tuf-lists", "tuf-registry", "tuf-snapshot", "tuf-timestamp"],
  crl: ["root", "issuer"],
  timestamp: ["timestamp"],
  batch: ["issuer", "held"],
  ocsp: ["ocsp"],
}

describe.skipIf(missing)("IAM as simulated, on the template's own policies (M4, M15, T40)", () => {
  test("each role signs with keys of its purposes and no others", async () => {
    let cases = 0
    for (const [name, purposes] of Object.entries(SIGNS))
      for (const purpose of KEY_PURPOSES) {
        const expected = purposes.includes(purpose) ? "allowed" : "denied"
        expect([name, purpose, await asFunction(name, sign(purpose))]).toEqual([name, purpose, expected])
        cases++
      }
    process.stdout.write(`IAM: ${cases} role and purpose pairs decided\n`)
  })

  const allowed: [string, Question][] = [
    ...["GetItem", "Query", "PutItem", "UpdateItem", "ConditionCheckItem"].map((a): [string, Question] => [
      "sign",
      item(a),
    ]),
    ["records", { action: "dynamodb:Query", resource: `${TABLE}/index/byProfile` }],
    ["records", item("PutItem")],
    ["records", object("GetObject", "trees/notation.json")],
    ["revoke", item("DeleteItem")],
    ["revoke", call("publish")],
    ["admin", call("publish")],
    ["admin", { action: "kms:CreateKey", resource: "*", context: create }],
    ["admin", { action: "kms:TagResource", resource: KEY, context: requestTags, policy: IAM_DECIDES }],
    ["admin", { action: "kms:CreateAlias", resource: ALIAS }],
    ["admin", { action: "kms:CreateAlias", resource: KEY, context: tags("issuer"), policy: KEY_POLICY }],
    ["admin", { action: "kms:GetPublicKey", resource: KEY, context: tags("issuer"), policy: KEY_POLICY }],
    ["publish", call("crl")],
    ["publish", object("PutObject", "tuf/7.snapshot.json", FIRST)],
    ["publish", object("PutObject", "tuf/timestamp.json", SWAP)],
    ["publish", object("PutObject", "crl/ab.crl", FIRST)],
    ["publish", object("PutObject", "staging/plan/1-ab.json", FIRST)],
    ["publish", object("GetObject", "staging/crl/ab.crl")],
    ["crl", object("PutObject", "staging/crl/ab.crl", FIRST)],
    ["crl", item("UpdateItem")],
    ["sign", call("timestamp")],
    ...["GetItem", "Query", "PutItem", "UpdateItem", "ConditionCheckItem"].map((a): [string, Question] => [
      "batch",
      item(a),
    ]),
    ["batch", deleteIn("open-jobs")],
    ["batch", call("timestamp")],
    ["sign", call("batch")],
    ["timestamp", item("Query")],
    ["timestamp", sign("timestamp", { "kms:SigningAlgorithm": "RSASSA_PKCS1_V1_5_SHA_384" })],
    ["ocsp", item("Query")],
    ["ocsp", item("GetItem")],
    ["ocsp", object("GetObject", "staging/crl/ab.crl")],
    ["admin", { action: "kms:CreateKey", resource: "*", context: { ...create, "kms:KeySpec": "ML_DSA_65" } }],
    ["sign", mlDsa("issuer")],
    ["admin", mlDsa("root")],
    ["crl", mlDsa("issuer")],
    ["crl", mlDsa("root", "EXTERNAL_MU")],
  ]
  test.each(allowed.map(named))("%s may %s on %s", async (name, _action, _resource, question) => {
    expect(await asFunction(name, question)).toBe("allowed")
  })

  const denied: [string, Question][] = [
    ["sign", sign("issuer", tags("issuer", "Other"))],
    ["sign", sign("issuer", { "kms:MessageType": "RAW" })],
    ["sign", sign("issuer", { "kms:SigningAlgorithm": "RSASSA_PKCS1_V1_5_SHA_256" })],
    ["sign", mlDsa("issuer", "EXTERNAL_MU")],
    ["sign", mlDsa("held")],
    ["sign", mlDsa("root")],
    ["admin", mlDsa("issuer")],
    ["admin", mlDsa("root", "EXTERNAL_MU")],
    ["publish", mlDsa("tuf-lists")],
    ["timestamp", mlDsa("timestamp")],
    ["admin", { action: "kms:CreateKey", resource: "*", context: { ...create, "kms:KeySpec": "ML_DSA_87" } }],
    ["sign", item("DeleteItem")],
    ["sign", call("publish")],
    ["sign", object("PutObject", "tuf/timestamp.json", SWAP)],
    ["sign", object("GetObject", "trees/notation.json")],
    ["records", item("UpdateItem")],
    ["records", object("GetObject", "staging/plan/1-ab.json")],
    ["records", object("PutObject", "trees/notation.json", SWAP)],
    ["revoke", call("crl")],
    ["admin", object("PutObject", "tuf/timestamp.json", SWAP)],
    [
      "admin",
      { action: "kms:CreateKey", resource: "*", context: { ...create, "aws:RequestTag/sealwright:stack": "Other" } },
    ],
    ["admin", { action: "kms:CreateKey", resource: "*", context: { ...create, "kms:KeyUsage": "ENCRYPT_DECRYPT" } }],
    [
      "admin",
      { action: "kms:CreateKey", resource: "*", context: { ...create, "kms:BypassPolicyLockoutSafetyCheck": "true" } },
    ],
    ["admin", { action: "kms:PutKeyPolicy", resource: KEY, context: tags("issuer"), policy: KEY_POLICY }],
    ["admin", { action: "kms:UpdateAlias", resource: ALIAS }],
    ["admin", { action: "kms:ScheduleKeyDeletion", resource: KEY, context: tags("issuer"), policy: KEY_POLICY }],
    ["admin", { action: "kms:CreateAlias", resource: KEY, context: tags("issuer", "Other"), policy: KEY_POLICY }],
    ["publish", object("PutObject", "staging/crl/ab.crl", FIRST)],
    ["publish", object("PutObject", "tuf/7.snapshot.json", SWAP)],
    ["publish", object("PutObject", "tuf/7.snapshot.json")],
    ["publish", object("PutObject", "tuf/timestamp.json")],
    ["publish", object("PutObject", "tuf/timestamp.json", { ...SWAP, "aws:SecureTransport": "false" })],
    ["publish", object("DeleteObject", "tuf/1.root.json")],
    ["crl", object("PutObject", "crl/ab.crl", SWAP)],
    ["crl", item("DeleteItem")],
    ["crl", call("publish")],
    ["sign", sign("timestamp")],
    ["sign", sign("issuer", { "kms:SigningAlgorithm": "RSASSA_PKCS1_V1_5_SHA_384" })],
    ["timestamp", sign("timestamp", { "kms:MessageType": "RAW" })],
    ["timestamp", item("PutItem")],
    ["timestamp", item("UpdateItem")],
    ["timestamp", call("sign")],
    ["revoke", call("timestamp")],
    ["batch", item("DeleteItem")],
    ["batch", deleteIn("profiles")],
    ["batch", sign("issuer", tags("issuer", "Other"))],
    ["batch", sign("issuer", { "kms:MessageType": "RAW" })],
    ["batch", sign("timestamp")],
    ["batch", call("publish")],
    ["batch", call("batch")],
    ["batch", call("sign")],
    ["batch", object("PutObject", "tuf/timestamp.json", SWAP)],
    ["batch", object("GetObject", "trees/notation.json")],
    ["sign", deleteIn("open-jobs")],
    ["ocsp", sign("ocsp", { "kms:MessageType": "RAW" })],
    ["ocsp", sign("ocsp", { "kms:SigningAlgorithm": "RSASSA_PSS_SHA_384" })],
    ["ocsp", sign("ocsp", tags("ocsp", "Other"))],
    ["ocsp", item("PutItem")],
    ["ocsp", item("UpdateItem")],
    ["ocsp", object("GetObject", "trees/notation.json")],
    ["ocsp", object("GetObject", "staging/plan/1-ab.json")],
    ["ocsp", object("PutObject", "staging/crl/ab.crl", FIRST)],
    ["ocsp", call("crl")],
  ]
  test.each(denied.map(named))("%s may not %s on %s", async (name, _action, _resource, question) => {
    expect(await asFunction(name, question)).toBe("denied")
  })

  const everything: Statement[] = [{ Effect: "Allow", Action: "*", Resource: "*" }]
  const person = `arn:aws:iam::${ACCOUNT}:role/Administrator`

  test("an administrator of the account can't sign, or hand signing on, without changing the key's policy", async () => {
    const ask = (action: string) => ({ ...sign("issuer"), action })
    expect(await decide(person, everything, sign("issuer"))).toBe("denied")
    expect(await decide(person, everything, { ...ask("kms:CreateGrant"), context: tags("issuer") })).toBe("denied")
    expect(await decide(person, everything, { ...ask("kms:PutKeyPolicy"), context: tags("issuer") })).toBe("allowed")
    expect(await decide(person, everything, { ...ask("kms:DescribeKey"), context: tags("issuer") })).toBe("allowed")
  })

  test("no function may re-tag a key that exists, whatever its own policy says", async () => {
    const retag = {
      action: "kms:TagResource",
      resource: KEY,
      context: { ...requestTags, ...tags("held") },
      policy: KEY_POLICY,
    }
    for (const name of ["sign", "admin", "publish", "crl", "timestamp", "batch", "ocsp"])
      expect([name, await decide(lambda(name).properties.Role, everything, retag)]).toEqual([name, "denied"])
    expect(await decide(person, everything, retag)).toBe("allowed")
  })

  test("people's policies: each may call what it is for, and no more", async () => {
    const api = find((_, type) => type === "AWS::ApiGatewayV2::Api").id
    const statements = (name: string): Statement[] =>
      find((id, type) => type === "AWS::IAM::ManagedPolicy" && id.startsWith(`ServicePolicies${name}`)).properties
        .PolicyDocument.Statement
    const may = (name: string, route: string) =>
      decide(person, statements(name), {
        action: "execute-api:Invoke",
        resource: `arn:aws:execute-api:${REGION}:${ACCOUNT}:${api}/$default/${route}`,
      })
    const answers = async (name: string, routes: readonly string[]) =>
      Promise.all(routes.map(async (route) => `${route} ${await may(name, route)}`))
    const routes = [
      "POST/v1/profiles/ci/signatures",
      "POST/v1/profiles/other/signatures",
      "GET/v1/profiles/ci/signatures/01J",
      "POST/v1/revocations",
      "POST/v1/profiles/ci/suspend",
      "GET/v1/audit",
      "POST/v1/profiles/ci/foreign-signatures",
      "GET/v1/profiles/ci/jobs/01J/results",
      "POST/v1/profiles/ci/jobs/01J/cancel",
      "POST/v1/profiles/other/jobs/01J/cancel",
    ]
    const expected = (...verdicts: string[]) => routes.map((route, index) => `${route} ${verdicts[index]}`)
    expect(await answers("SignerCi", routes)).toEqual(
      expected("allowed", "denied", "allowed", "denied", "denied", "denied", "denied", "allowed", "allowed", "denied"),
    )
    expect(await answers("Revoker", routes)).toEqual(
      expected("denied", "denied", "allowed", "allowed", "denied", "denied", "denied", "allowed", "denied", "denied"),
    )
    expect(await answers("Admin", routes)).toEqual(
      expected("denied", "denied", "allowed", "denied", "allowed", "allowed", "denied", "allowed", "denied", "denied"),
    )
    expect(await answers("Auditor", routes)).toEqual(
      expected("denied", "denied", "allowed", "denied", "denied", "allowed", "denied", "allowed", "denied", "denied"),
    )
    expect(await answers("RecorderCi", routes)).toEqual(
      expected("denied", "denied", "denied", "denied", "denied", "denied", "allowed", "denied", "denied", "denied"),
    )
  })
})
