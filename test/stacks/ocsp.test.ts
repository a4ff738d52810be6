import { describe, expect, test } from "vitest"
import { OCSP_ROUTES, ROUTES } from "../../functions/routes.ts"
import { ACCOUNT, functionName, listOf, newStack, REGION, resourcesOf, statementsByFunction } from "./template.ts"

const without = resourcesOf(newStack())
const resources = resourcesOf(newStack({ ocsp: "10" }))
const roles = statementsByFunction(resources)
const ofType = (type: string, among = resources) => among.filter((one) => one.type === type)
const keyOf = ({ method, path }: { readonly method: string; readonly path: string }) => `${method} ${path}`

describe("a stack without OCSP, which is the default (D13)", () => {
  test("has neither its function, nor its routes, nor a right to keys of its purpose", () => {
    expect(statementsByFunction(without).has("ocsp")).toBe(false)
    expect(ofType("AWS::ApiGatewayV2::Route", without)).toHaveLength(ROUTES.length)
    expect(JSON.stringify(without)).not.toMatch(/ocsp/i)
  })
})

describe("a stack with OCSP (R26, D13)", () => {
  test("its function reads the ledger and lists that are public, signs with keys of its purpose, and nothing else", () => {
    const statements = (roles.get("ocsp") ?? []).filter(({ Action }) => !listOf(Action)[0]?.startsWith("logs:"))
    expect(statements.map(({ Effect, Action, Resource }) => [Effect, listOf(Action), Resource])).toEqual([
      ["Allow", ["dynamodb:GetItem", "dynamodb:Query"], expect.stringMatching(/:table\/ServiceLedgerTable\w+$/)],
      [
        "Allow",
        ["s3:GetObject"],
        expect.stringMatching(/^arn:aws:s3:::ServicePublicationBucket\w+\/staging\/crl\/\*$/),
      ],
      ["Allow", ["kms:Sign"], `arn:aws:kms:${REGION}:${ACCOUNT}:key/*`],
    ])
    expect(statements.at(-1)?.Condition).toEqual({
      StringEquals: {
        "aws:ResourceTag/sealwright:stack": "Sealwright",
        "aws:ResourceTag/sealwright:purpose": ["ocsp"],
        "kms:MessageType": "DIGEST",
        "kms:SigningAlgorithm": ["ECDSA_SHA_256", "ECDSA_SHA_384"],
      },
    })
  })

  test("no other role gains a right to sign; admin may make keys of that purpose", () => {
    const signing = (among: typeof resources) =>
      [...statementsByFunction(among)]
        .filter(([name]) => name !== "ocsp")
        .flatMap(([name, statements]) =>
          statements.filter(({ Action }) => listOf(Action).includes("kms:Sign")).map((one) => [name, one.Condition]),
        )
    expect(signing(resources)).toEqual(signing(without))
    const purposes = (among: typeof resources) =>
      (statementsByFunction(among).get("admin") ?? [])
        .filter(({ Action }) => listOf(Action).includes("kms:CreateKey"))
        .flatMap(({ Condition }) => listOf(Condition.StringEquals["aws:RequestTag/sealwright:purpose"]))
    expect(purposes(resources).filter((purpose) => !purposes(without).includes(purpose))).toEqual(["ocsp"])
    expect(purposes(without).filter((purpose) => !purposes(resources).includes(purpose))).toEqual([])
  })

  test("nobody may call it but the API, and it may call nobody", () => {
    const ocsp = ofType("AWS::Lambda::Function").find(({ id }) => functionName(id) === "ocsp")
    const callers = ofType("AWS::Lambda::Permission")
      .filter(({ properties }) => String(properties.FunctionName).includes(ocsp?.id ?? "none"))
      .map(({ properties }) => properties.Principal)
    expect(callers).toEqual(["apigateway.amazonaws.com", "apigateway.amazonaws.com"])
    for (const statements of roles.values())
      for (const { Action, Resource } of statements)
        if (listOf(Action).includes("lambda:InvokeFunction"))
          expect(listOf(Resource).join()).not.toContain(ocsp?.id ?? "none")
  })

  test("its two routes are open, each with the limit that was given; all others stay with IAM", () => {
    const routes = ofType("AWS::ApiGatewayV2::Route").map(({ properties }) => properties)
    expect(routes.map(({ RouteKey }) => RouteKey).sort()).toEqual([...ROUTES, ...OCSP_ROUTES].map(keyOf).sort())
    const open = routes.filter(({ AuthorizationType }) => AuthorizationType !== "AWS_IAM")
    expect(open.map(({ RouteKey, AuthorizationType }) => `${RouteKey} ${AuthorizationType}`).sort()).toEqual([
      "GET /v1/ocsp/{request+} NONE",
      "POST /v1/ocsp NONE",
    ])
    const limit = { ThrottlingRateLimit: 10, ThrottlingBurstLimit: 20 }
    const [stage] = ofType("AWS::ApiGatewayV2::Stage")
    expect(stage?.properties.RouteSettings).toEqual({ "POST /v1/ocsp": limit, "GET /v1/ocsp/{request+}": limit })
    const both = resourcesOf(newStack({ ocsp: "10", openTimestamps: "5" }))
    expect(Object.keys(ofType("AWS::ApiGatewayV2::Stage", both)[0]?.properties.RouteSettings)).toHaveLength(3)
  })

  test("admins and auditors reach its routes, revokers may read them", () => {
    const invokes = (name: string) =>
      ofType("AWS::IAM::ManagedPolicy")
        .filter(({ id }) => id.startsWith(`ServicePolicies${name}`))
        .flatMap(({ properties }) => properties.PolicyDocument.Statement)
        .flatMap(({ Resource }) => listOf(Resource as string))
        .filter((arn) => arn.includes("ocsp"))
        .map((arn) => arn.split("$default/")[1])
        .sort()
    expect(invokes("Admin")).toEqual(["GET/v1/ocsp-responders", "POST/v1/issuers/*/ocsp-responder"])
    expect(invokes("Auditor")).toEqual(["GET/v1/ocsp-responders"])
    expect(invokes("Revoker")).toEqual(["GET/v1/ocsp-responders"])
    expect(invokes("Timestamps")).toEqual([])
  })

  test("a schedule renews each day; failures and a renewal that fails for days ring", () => {
    const daily = ofType("AWS::Events::Rule").filter(
      ({ properties }) => properties.ScheduleExpression === "rate(1 day)",
    )
    expect(daily.map(({ properties }) => properties.Targets.map(({ Input }: { Input: string }) => Input))).toEqual([
      ['{"renew":"ocsp-responders"}'],
    ])
    const named = (among: typeof resources) => ofType("AWS::CloudWatch::Alarm", among).map(({ id }) => id.slice(13, -8))
    expect(
      named(resources)
        .filter((id) => !named(without).includes(id))
        .sort(),
    ).toEqual(["OcspDaysToExpiry", "OcspErrors", "OcspFailures", "OcspThrottles"])
  })

  test("the policy of new keys lets its role sign, and still fits Lambda's environment", () => {
    const find = (name: string) => ofType("AWS::Lambda::Function").find(({ id }) => functionName(id) === name)
    const text: string = find("admin")?.properties.Environment.Variables.SEALWRIGHT_KEY_POLICY
    expect(text.length).toBeLessThan(3000)
    expect(text).toContain(find("ocsp")?.properties.Role)
    expect(Object.keys(find("ocsp")?.properties.Environment.Variables).sort()).toEqual([
      "SEALWRIGHT_BUCKET",
      "SEALWRIGHT_STACK",
      "SEALWRIGHT_TABLE",
    ])
  })

  test.each(["0", "yes", "10000"])("refuses %s requests per second", (ocsp) => {
    expect(() => newStack({ ocsp })).toThrow(TypeError)
  })
})
