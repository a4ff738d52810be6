import { describe, expect, test } from "vitest"
import { OCSP_FUNCTION } from "../../functions/routes.ts"
import {
  ACCOUNT,
  functionName,
  listOf,
  newStack,
  type Resource,
  resourcesOf,
  type Statement,
  statementsByFunction,
} from "../stacks/template.ts"

const of = (type: string, from: readonly Resource[]) => from.filter((resource) => resource.type === type)
const resources = resourcesOf(newStack())
const OWN = [
  "key-use#*",
  "key-use-minutes",
  "key-reconciliation",
  "key-known",
  "key-findings",
  "key-findings-acknowledged",
]

describe("reconciling uses of keys (R12, R29, D13)", () => {
  const rules = (from: readonly Resource[]) =>
    of("AWS::Events::Rule", from).filter(({ properties }) => properties.EventPattern !== undefined)

  test("hears every use of a key that succeeded, though such calls only read", () => {
    expect(rules(resources).map(({ properties }) => properties)).toMatchObject([
      {
        State: "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS",
        EventPattern: {
          source: ["aws.kms"],
          "detail-type": ["AWS API Call via CloudTrail"],
          detail: { eventSource: ["kms.amazonaws.com"], eventName: ["Sign"], errorCode: [{ exists: false }] },
        },
      },
    ])
    for (const { properties } of rules(resources))
      expect(functionName(String(properties.Targets[0].Arn).split(":").at(-1) as string)).toBe("reconcile")
  })

  test("hears what unwraps its keys, where the stack wraps any, and nobody else's Decrypt", () => {
    const wrapping = rules(resourcesOf(newStack({ wrappedIssuers: "true" })))
    const patterns = wrapping.map(({ properties }) => properties.EventPattern.detail)
    expect(patterns.map(({ eventName }) => eventName)).toEqual([["Sign"], ["Decrypt"]])
    expect(patterns[1].requestParameters).toEqual({ encryptionContext: { "sealwright:stack": ["Sealwright"] } })
  })

  test("reconciles every five minutes", () => {
    const every = of("AWS::Events::Rule", resources).filter(
      ({ properties }) => properties.ScheduleExpression === "rate(5 minutes)",
    )
    expect(every.map(({ properties }) => properties.Targets[0].Input)).toEqual(['{"schedule":true}'])
  })

  test.each([
    {},
    { rootSigning: "true" },
    { ocsp: "5" },
    { wrappedIssuers: "true" },
    { wrappedIssuers: "true", wrappedTimestamps: "true" },
  ])("knows who may use keys of which purpose as IAM does, with %o", (context) => {
    const stack = resourcesOf(newStack(context))
    const functions = of("AWS::Lambda::Function", stack)
    const users = JSON.parse(
      functions.find(({ id }) => functionName(id) === "reconcile")?.properties.Environment.Variables
        .SEALWRIGHT_KEY_USERS,
    ) as { role: string; purposes: string[] }[]
    const granted = [...statementsByFunction(stack)].flatMap(([name, statements]) => {
      const purposes = statements
        .filter(({ Action }) => listOf(Action).some((action) => action === "kms:Sign" || action === "kms:Decrypt"))
        .flatMap(({ Condition }) => listOf(Condition.StringEquals["aws:ResourceTag/sealwright:purpose"]))
      const role = functions.find(({ id }) => functionName(id) === name)?.properties.Role
      return purposes.length === 0 ? [] : [{ role, purposes: [...new Set(purposes)].sort() }]
    })
    const byRole = (a: { role: string }, b: { role: string }) => (a.role < b.role ? -1 : 1)
    expect(users.map(({ role, purposes }) => ({ role, purposes: purposes.sort() })).sort(byRole)).toEqual(
      granted.sort(byRole),
    )
    expect(users.every(({ role }) => role.startsWith(`arn:aws:iam::${ACCOUNT}:role/`))).toBe(true)
    expect(users.length).toBe(context.ocsp ? 8 : 7)
  })

  test("uses no key, reads and writes named partitions alone", () => {
    const statements = (statementsByFunction(resources).get("reconcile") ?? []).filter(
      ({ Action }) => !listOf(Action).some((action) => action.startsWith("logs:")),
    )
    for (const { Effect, Condition } of statements) {
      expect(Effect).toBe("Allow")
      expect(Condition.Null).toEqual({ "dynamodb:LeadingKeys": "false" })
    }
    const writes = statements.filter(({ Action }) => listOf(Action).some((action) => !/GetItem|Query/.test(action)))
    const partitions = writes.flatMap(({ Condition }) => Condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"])
    expect([...new Set(partitions)].sort()).toEqual([...OWN, "audit#*"].sort())
    expect(statements.flatMap(({ Action }) => listOf(Action)).every((action) => action.startsWith("dynamodb:"))).toBe(
      true,
    )
  })

  test("nobody else writes its evidence and findings: who steals another role can't remove what it did", () => {
    const stack = resourcesOf(newStack({ ocsp: "5" }))
    const WRITES = ["dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
    const mayWrite = ({ Effect, Action, Condition }: Statement) =>
      Effect === "Allow" && listOf(Action).some((action) => WRITES.includes(action)) && Condition === undefined
    const writers = [...statementsByFunction(stack)].filter(([, statements]) => statements.some(mayWrite))
    expect(writers.map(([name]) => name).sort()).toEqual([
      "admin",
      "batch",
      "crl",
      "publish",
      "records",
      "revoke",
      "sign",
    ])
    for (const [, statements] of writers) {
      const refused = statements.filter(({ Effect }) => Effect === "Deny")
      expect(refused.map(({ Action, Condition }) => [listOf(Action).sort(), Condition])).toEqual([
        [WRITES, { "ForAnyValue:StringLike": { "dynamodb:LeadingKeys": OWN } }],
      ])
    }
    expect(writers.map(([name]) => name)).not.toContain(OCSP_FUNCTION)
  })

  test("an unexplained use rings, and so do missing events and silence", () => {
    const alarms = of("AWS::CloudWatch::Alarm", resources).map(({ properties }) => properties)
    const alarm = (name: string) => alarms.filter(({ MetricName }) => MetricName === name)
    for (const name of ["UnexplainedKeyUses", "KeyUsesWithoutEvent"])
      expect(alarm(name)).toMatchObject([
        {
          Threshold: 1,
          ComparisonOperator: "GreaterThanOrEqualToThreshold",
          Statistic: "Maximum",
          EvaluationPeriods: 1,
        },
      ])
    expect(alarm("ReconciliationAge")).toMatchObject([{ Threshold: 7200, TreatMissingData: "breaching" }])
  })

  test("makes a trail of management events where it is asked for, and none otherwise", () => {
    expect(of("AWS::CloudTrail::Trail", resources)).toEqual([])
    const stack = resourcesOf(newStack({ trail: "true" }))
    expect(of("AWS::CloudTrail::Trail", stack).map(({ properties }) => properties)).toMatchObject([
      {
        IsLogging: true,
        EnableLogFileValidation: true,
        EventSelectors: [{ IncludeManagementEvents: true, ReadWriteType: "All" }],
      },
    ])
    const [bucket] = of("AWS::S3::Bucket", stack).filter(({ id }) => id.includes("TrailBucket"))
    expect(bucket).toMatchObject({
      deletionPolicy: "Retain",
      properties: { VersioningConfiguration: { Status: "Enabled" } },
    })
  })
})
