import { describe, expect, test } from "vitest"
import { FUNCTION_NAMES } from "../../functions/routes.ts"
import {
  ACCOUNT,
  functionName,
  listOf,
  newStack,
  REGION,
  resourcesOf,
  type Statement,
  statementsByFunction,
} from "./template.ts"

const resources = resourcesOf(newStack())
const roles = statementsByFunction(resources)

const allowed = (name: string, action: string): Statement[] =>
  (roles.get(name) ?? []).filter(({ Effect, Action }) => Effect === "Allow" && listOf(Action).includes(action))

const isMlDsa = ({ Condition }: Statement) => Condition.StringEquals["kms:SigningAlgorithm"] === "ML_DSA_SHAKE_256"
const isLog = ({ Condition }: Statement) =>
  listOf(Condition.StringEquals["kms:SigningAlgorithm"]).includes("ED25519_SHA_512")
const classical = (name: string) =>
  allowed(name, "kms:Sign").filter((statement) => !isMlDsa(statement) && !isLog(statement))

describe("roles of the functions (D13, M15)", () => {
  test("each function has a role of its own", () => {
    const functions = resources.filter(({ type }) => type === "AWS::Lambda::Function")
    expect(functions.map(({ id }) => functionName(id)).sort()).toEqual([...FUNCTION_NAMES].sort())
    expect(new Set(functions.map(({ properties }) => properties.Role)).size).toBe(FUNCTION_NAMES.length)
    const made = resources.filter(({ type }) => type === "AWS::IAM::Role")
    expect(made).toHaveLength(FUNCTION_NAMES.length)
    for (const { properties } of made) expect(properties.ManagedPolicyArns).toBeUndefined()
  })

  test("actions of each role are a closed list", () => {
    const actions = Object.fromEntries(
      [...roles].map(([name, statements]) => [
        name,
        [...new Set(statements.filter(({ Effect }) => Effect === "Allow").flatMap(({ Action }) => listOf(Action)))]
          .filter((action) => !action.startsWith("logs:"))
          .sort(),
      ]),
    )
    const table = (...names: string[]) => names.map((name) => `dynamodb:${name}`)
    const write = table("ConditionCheckItem", "GetItem", "PutItem", "Query", "UpdateItem")
    const writeAndDelete = [...write, ...table("DeleteItem")].sort()
    const wake = "lambda:InvokeFunction"
    const create = ["kms:CreateAlias", "kms:CreateKey", "kms:DescribeKey", "kms:GetPublicKey", "kms:TagResource"]
    expect(actions).toEqual({
      sign: [...write, "kms:Sign", wake],
      records: [...table("GetItem", "PutItem", "Query"), "s3:GetObject", "s3:ListBucket"],
      revoke: [...writeAndDelete, wake],
      admin: [...writeAndDelete, ...create, "kms:Sign", wake].sort(),
      publish: [...writeAndDelete, "kms:Sign", wake, "s3:GetObject", "s3:ListBucket", "s3:PutObject"],
      crl: [...write, "kms:Sign", "s3:PutObject"],
      timestamp: [...table("Query"), "kms:Sign"],
      relay: table("GetItem"),
      batch: [...writeAndDelete, "kms:Sign", wake],
      reconcile: writeAndDelete,
      sequence: [
        ...table("DeleteItem", "DescribeStream", "GetItem", "GetRecords", "GetShardIterator", "ListStreams", "PutItem"),
        ...table("Query", "UpdateItem"),
        "kms:Sign",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
      ],
    })
  })

  test("ML-DSA-65 is for these roles alone: issuers' and roots' keys, and of long lists the representative (R19)", () => {
    const granted = FUNCTION_NAMES.flatMap((name) =>
      allowed(name, "kms:Sign")
        .filter(isMlDsa)
        .map(({ Condition: { StringEquals: condition }, Resource }) => [
          name,
          listOf(condition["aws:ResourceTag/sealwright:purpose"]).sort(),
          listOf(condition["kms:MessageType"]),
          condition["aws:ResourceTag/sealwright:stack"],
          Resource,
        ]),
    )
    const keys = `arn:aws:kms:${REGION}:${ACCOUNT}:key/*`
    expect(granted).toEqual([
      ["sign", ["issuer"], ["RAW"], "Sealwright", keys],
      ["admin", ["root"], ["RAW"], "Sealwright", keys],
      ["crl", ["issuer", "root"], ["RAW", "EXTERNAL_MU"], "Sealwright", keys],
      ["batch", ["issuer"], ["RAW"], "Sealwright", keys],
    ])
  })

  test("checkpoints are signed by sequence alone, with keys of this purpose, which nobody else uses (R30)", () => {
    const granted = FUNCTION_NAMES.flatMap((name) =>
      allowed(name, "kms:Sign")
        .filter(isLog)
        .map((one) => [name, one]),
    )
    expect(granted).toEqual([
      [
        "sequence",
        expect.objectContaining({
          Resource: `arn:aws:kms:${REGION}:${ACCOUNT}:key/*`,
          Condition: {
            StringEquals: {
              "aws:ResourceTag/sealwright:stack": "Sealwright",
              "aws:ResourceTag/sealwright:purpose": "log",
              "kms:MessageType": "RAW",
              "kms:SigningAlgorithm": ["ED25519_SHA_512", "ML_DSA_SHAKE_256"],
            },
          },
        }),
      ],
    ])
    expect(allowed("sequence", "kms:Sign")).toHaveLength(1)
  })

  test("sequence reads what waits and its records, and writes the logs' own items alone (R30)", () => {
    const partitions = ["GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem"].map((action) => {
      const [statement, ...others] = allowed("sequence", `dynamodb:${action}`)
      expect(others).toEqual([])
      expect(statement?.Condition.Null).toEqual({ "dynamodb:LeadingKeys": "false" })
      return [action, statement?.Condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]]
    })
    expect(Object.fromEntries(partitions)).toEqual({
      GetItem: ["deployment", "log", "log-epochs#*", "signature#*"],
      Query: ["inbox#*"],
      PutItem: ["log-epochs#*", "logged#*", "key-notes#*", "table-behind"],
      UpdateItem: ["log", "log-epochs#*"],
      DeleteItem: ["inbox#*"],
    })
  })

  test("only these roles sign otherwise, each with keys of these purposes, digests only, three algorithms", () => {
    const purposes = Object.fromEntries(
      FUNCTION_NAMES.flatMap((name) =>
        classical(name).map(({ Condition }) => [
          name,
          listOf(Condition.StringEquals["aws:ResourceTag/sealwright:purpose"]).sort(),
        ]),
      ),
    )
    expect(purposes).toEqual({
      sign: ["held", "issuer"],
      admin: ["issuer", "root", "tuf-root", "tuf-targets"],
      publish: ["tuf-lists", "tuf-registry", "tuf-snapshot", "tuf-timestamp"],
      crl: ["issuer", "root"],
      timestamp: ["timestamp"],
      batch: ["held", "issuer"],
    })
    for (const name of FUNCTION_NAMES) {
      const statements = classical(name)
      expect(statements.length).toBeLessThanOrEqual(1)
      for (const { Condition, Resource } of statements) {
        expect(Resource).toBe(`arn:aws:kms:${REGION}:${ACCOUNT}:key/*`)
        expect(Condition.StringEquals["aws:ResourceTag/sealwright:stack"]).toBe("Sealwright")
        expect(Condition.StringEquals["kms:MessageType"]).toBe("DIGEST")
        expect(Condition.StringEquals["kms:SigningAlgorithm"]).toEqual([
          "ECDSA_SHA_256",
          "ECDSA_SHA_384",
          name === "timestamp" ? "RSASSA_PKCS1_V1_5_SHA_384" : "RSASSA_PSS_SHA_384",
        ])
      }
    }
  })

  test.each(["sign", "batch"])("R5: the %s role has no right to root keys unless the stack is deployed so", (name) => {
    const purposes = (context: Record<string, string>) =>
      (statementsByFunction(resourcesOf(newStack(context))).get(name) ?? [])
        .filter(({ Action }) => listOf(Action).includes("kms:Sign"))
        .filter((statement) => !isMlDsa(statement))
        .flatMap(({ Condition }) => listOf(Condition.StringEquals["aws:ResourceTag/sealwright:purpose"]))
    expect(purposes({})).toEqual(["issuer", "held"])
    expect(purposes({ rootSigning: "true" })).toEqual(["issuer", "held", "root"])
  })

  test("no action on keys without a tag condition, but for names below the deployment's own prefix", () => {
    const keyStatements = [...roles.values()]
      .flat()
      .filter(({ Action }) => listOf(Action).some((a) => a.startsWith("kms:")))
    expect(keyStatements.length).toBeGreaterThan(4)
    for (const { Action, Condition, Resource } of keyStatements) {
      if (Condition === undefined) {
        expect(listOf(Action)).toEqual(["kms:CreateAlias"])
        expect(Resource).toBe(`arn:aws:kms:${REGION}:${ACCOUNT}:alias/Sealwright/*`)
        continue
      }
      const tags = Object.keys(Condition.StringEquals).filter((key) => key.endsWith("/sealwright:stack"))
      expect(tags).toHaveLength(1)
      expect(Condition.StringEquals[tags[0] as string]).toBe("Sealwright")
    }
  })

  test("keys are made with both tags and nothing else", () => {
    for (const action of ["kms:CreateKey", "kms:TagResource"]) {
      const [statement, ...others] = allowed("admin", action)
      expect(others).toEqual([])
      expect(statement?.Condition.StringEquals["aws:RequestTag/sealwright:purpose"]).toHaveLength(11)
      expect(statement?.Condition["ForAllValues:StringEquals"]["aws:TagKeys"]).toEqual([
        "sealwright:stack",
        "sealwright:purpose",
      ])
    }
    const [create] = allowed("admin", "kms:CreateKey")
    expect(create?.Condition.StringEquals["kms:KeyUsage"]).toBe("SIGN_VERIFY")
    expect(create?.Condition.BoolIfExists).toEqual({ "kms:BypassPolicyLockoutSafetyCheck": "false" })
  })

  test("no statement has a wildcard action (T40); wildcard resources are a closed list", () => {
    const wild = new Set<string>()
    for (const [name, statements] of roles)
      for (const { Action, Resource } of statements) {
        for (const action of listOf(Action)) expect(action).not.toContain("*")
        for (const resource of listOf(Resource))
          if (resource.includes("*") && !resource.startsWith("arn:aws:logs:"))
            wild.add(`${name} ${listOf(Action).join(",")} ${resource.replace(/:::\w+\//, ":::BUCKET/")}`)
      }
    const key = `arn:aws:kms:${REGION}:${ACCOUNT}:key/*`
    expect([...wild].sort()).toEqual(
      [
        `sign kms:Sign ${key}`,
        `admin kms:Sign ${key}`,
        `publish kms:Sign ${key}`,
        `crl kms:Sign ${key}`,
        `timestamp kms:Sign ${key}`,
        `batch kms:Sign ${key}`,
        "admin kms:CreateKey *",
        "admin kms:TagResource *",
        `admin kms:CreateAlias arn:aws:kms:${REGION}:${ACCOUNT}:alias/Sealwright/*`,
        `admin kms:CreateAlias,kms:DescribeKey,kms:GetPublicKey ${key}`,
        `sequence kms:Sign ${key}`,
        ...["log", "staging/log"].map((prefix) => `sequence s3:GetObject,s3:PutObject arn:aws:s3:::BUCKET/${prefix}/*`),
        ...["log", "trees"].map((prefix) => `records s3:GetObject arn:aws:s3:::BUCKET/${prefix}/*`),
        ...["crl", "staging", "trees", "tuf"].map((prefix) => `publish s3:GetObject arn:aws:s3:::BUCKET/${prefix}/*`),
        ...["crl", "staging/plan", "trees", "tuf"].map((p) => `publish s3:PutObject arn:aws:s3:::BUCKET/${p}/*`),
        "crl s3:PutObject arn:aws:s3:::BUCKET/staging/crl/*",
      ].sort(),
    )
  })

  test.each([
    ["batch deletes marks of open jobs", "batch", "DeleteItem", "open-jobs"],
    ["relay reads addresses of outside authorities", "relay", "GetItem", "outside-authorities"],
  ] as const)("%s and nothing else", (_what, name, action, partition) => {
    const rights = allowed(name, `dynamodb:${action}`)
    expect(rights).toHaveLength(1)
    expect(rights[0]?.Condition).toEqual({
      "ForAllValues:StringEquals": { "dynamodb:LeadingKeys": [partition] },
      Null: { "dynamodb:LeadingKeys": "false" },
    })
  })

  test("revoke and admin wake publish, sign wakes batch, publish asks crl, sign and batch ask timestamp and relay, and no one else calls anyone", () => {
    const calls = FUNCTION_NAMES.flatMap((name) =>
      allowed(name, "lambda:InvokeFunction").flatMap(({ Resource }) =>
        listOf(Resource).map((arn) => `${name} -> ${functionName(arn.split(":").at(-1) as string)}`),
      ),
    )
    expect(calls.sort()).toEqual([
      "admin -> publish",
      "batch -> relay",
      "batch -> timestamp",
      "publish -> crl",
      "revoke -> publish",
      "sign -> batch",
      "sign -> relay",
      "sign -> timestamp",
    ])
  })

  test("no one is admitted whom the service doesn't name: no wildcard principal (T40), no other account (M14)", () => {
    const assume = resources.filter(({ type }) => type === "AWS::IAM::Role")
    for (const { properties } of assume)
      expect(properties.AssumeRolePolicyDocument.Statement).toEqual([
        { Action: "sts:AssumeRole", Effect: "Allow", Principal: { Service: "lambda.amazonaws.com" } },
      ])
    const permissions = resources.filter(({ type }) => type === "AWS::Lambda::Permission")
    expect(permissions.length).toBeGreaterThan(20)
    for (const { properties } of permissions) {
      expect(["apigateway.amazonaws.com", "events.amazonaws.com"]).toContain(properties.Principal)
      expect(properties.SourceArn).toContain(`:${ACCOUNT}:`)
    }
    for (const { properties } of resources.filter(({ type }) => type === "AWS::S3::BucketPolicy"))
      for (const { Effect, Principal, Condition } of properties.PolicyDocument.Statement as Statement[])
        if (Effect === "Allow") {
          expect(["cloudfront.amazonaws.com", "logging.s3.amazonaws.com"]).toContain(Principal.Service)
          expect(
            Object.keys({ ...Condition.StringEquals, ...Condition.ArnLike }).map((k) => k.toLowerCase()),
          ).toContain("aws:sourcearn")
        }
  })
})

describe("wrapped keys (D13)", () => {
  const both = resourcesOf(newStack({ wrappedIssuers: "true", wrappedTimestamps: "true" }))
  const byFunction = statementsByFunction(both)
  const holders = (from: ReadonlyMap<string, Statement[]>, action: string) =>
    [...from].flatMap(([name, statements]) =>
      statements
        .filter(({ Action }) => listOf(Action).includes(action))
        .map(
          ({ Condition }) => [name, Condition.StringEquals["aws:ResourceTag/sealwright:purpose"], Condition] as const,
        ),
    )
  const adminOf = (from: typeof resources) =>
    from.find(({ type, id }) => type === "AWS::Lambda::Function" && functionName(id) === "admin")?.properties
      .Environment.Variables

  test("nobody makes or unwraps one unless the stack is deployed so, each kind for itself", () => {
    for (const action of ["kms:Decrypt", "kms:GenerateDataKeyPairWithoutPlaintext"])
      expect(holders(roles, action)).toEqual([])
    expect(adminOf(resources).SEALWRIGHT_WRAPPING).toBeUndefined()
    expect(adminOf(resources).SEALWRIGHT_KEY_POLICY).not.toMatch(/Decrypt|GenerateDataKey/)
    const issuers = statementsByFunction(resourcesOf(newStack({ wrappedIssuers: "true" })))
    expect(
      holders(issuers, "kms:Decrypt")
        .map(([name]) => name)
        .sort(),
    ).toEqual(["batch", "crl", "sign"])
    expect(adminOf(both).SEALWRIGHT_WRAPPING).toBe("issuer,timestamp")
  })

  test("who unwraps signs with it, and who makes them unwraps none", () => {
    const short = (action: string) => holders(byFunction, action).map(([name, purpose]) => `${name} ${purpose}`)
    expect(short("kms:Decrypt").sort()).toEqual([
      "batch wrapping",
      "crl wrapping",
      "sign wrapping",
      "timestamp wrapping-timestamp",
    ])
    expect(short("kms:GenerateDataKeyPairWithoutPlaintext").sort()).toEqual([
      "admin wrapping",
      "admin wrapping-timestamp",
    ])
    for (const action of ["kms:Decrypt", "kms:GenerateDataKeyPairWithoutPlaintext"])
      for (const [, purpose, condition] of holders(byFunction, action)) {
        expect(condition.StringEquals).toMatchObject({
          "aws:ResourceTag/sealwright:stack": "Sealwright",
          "kms:EncryptionContext:sealwright:stack": "Sealwright",
        })
        const names = purpose === "wrapping" ? "issuer/*" : "timestamp/*"
        expect(condition.StringLike).toEqual({ "kms:EncryptionContext:sealwright:key": names })
      }
  })

  test("a wrapping key encrypts, and keys that sign are made as before", () => {
    const made = (byFunction.get("admin") ?? []).filter(({ Action }) => listOf(Action).includes("kms:CreateKey"))
    const kinds = made.map(({ Condition: { StringEquals } }) => [
      StringEquals["kms:KeyUsage"],
      listOf(StringEquals["aws:RequestTag/sealwright:purpose"]).filter((one: string) => one.startsWith("wrapping")),
    ])
    expect(kinds.sort()).toEqual([
      ["ENCRYPT_DECRYPT", ["wrapping", "wrapping-timestamp"]],
      ["SIGN_VERIFY", []],
    ])
  })

  test("the key's policy delegates unwrapping to these roles alone, by the names of what they unwrap, and fits", () => {
    const text: string = adminOf(both).SEALWRIGHT_KEY_POLICY
    expect(
      Object.entries(adminOf(both))
        .map(([name, value]) => name.length + String(value).length)
        .reduce((a, b) => a + b),
    ).toBeLessThan(3900)
    const { Statement: statements } = JSON.parse(text) as { Statement: Statement[] }
    const roleOf = (name: string) =>
      both.find(({ type, id }) => type === "AWS::Lambda::Function" && functionName(id) === name)?.properties.Role
    const unwrapping = statements.filter(({ Action }) => listOf(Action).includes("kms:Decrypt"))
    expect(unwrapping.map(({ Condition }) => Condition)).toEqual([
      {
        ArnEquals: { "aws:PrincipalArn": [roleOf("sign"), roleOf("batch"), roleOf("crl")] },
        StringLike: { "kms:EncryptionContext:sealwright:key": "issuer/*" },
      },
      {
        ArnEquals: { "aws:PrincipalArn": [roleOf("timestamp")] },
        StringLike: { "kms:EncryptionContext:sealwright:key": "timestamp/*" },
      },
    ])
  })
})

describe("policy of keys that are made at run time (M4)", () => {
  const admin = resources.find(({ type, id }) => type === "AWS::Lambda::Function" && functionName(id) === "admin")
  const text: string = admin?.properties.Environment.Variables.SEALWRIGHT_KEY_POLICY
  const { Statement: statements } = JSON.parse(text) as { Statement: (Statement & { Sid: string })[] }
  const statement = (sid: string) => statements.find(({ Sid }) => Sid === sid)
  const roleOf = (name: string) =>
    resources.find(({ type, id }) => type === "AWS::Lambda::Function" && functionName(id) === name)?.properties.Role

  test("fits Lambda's environment", () => {
    expect(text.length).toBeLessThan(3000)
  })

  test("delegates to IAM of the own account alone, so a role's purposes still decide", () => {
    for (const { Principal, Effect } of statements) {
      expect(Effect).toBe("Allow")
      expect(Principal).toEqual({ AWS: `arn:aws:iam::${ACCOUNT}:root` })
    }
  })

  test("kms:Sign is delegated for six roles and the log's only, and no grant can hand it on", () => {
    const signing = statements.filter(
      ({ Sid, Action }) =>
        !["SigningMlDsa", "SigningLog"].includes(Sid) &&
        listOf(Action).some((action) => /^kms:(Sign|\*|S\*)$/.test(action)),
    )
    expect(signing).toEqual([statement("Signing")])
    expect(statement("Signing")?.Condition.ArnEquals["aws:PrincipalArn"].sort()).toEqual(
      ["sign", "admin", "publish", "crl", "timestamp", "batch"].map(roleOf).sort(),
    )
    expect(statement("Signing")?.Condition.StringEquals["kms:MessageType"]).toBe("DIGEST")
    const mlDsa = statement("SigningMlDsa")?.Condition
    expect(mlDsa.ArnEquals["aws:PrincipalArn"].sort()).toEqual(["sign", "admin", "crl", "batch"].map(roleOf).sort())
    expect(mlDsa.StringEquals).toEqual({
      "kms:MessageType": ["RAW", "EXTERNAL_MU"],
      "kms:SigningAlgorithm": "ML_DSA_SHAKE_256",
    })
    expect(statement("SigningLog")?.Condition).toEqual({
      ArnEquals: { "aws:PrincipalArn": [roleOf("sequence")] },
      StringEquals: { "kms:MessageType": "RAW", "kms:SigningAlgorithm": ["ED25519_SHA_512", "ML_DSA_SHAKE_256"] },
    })
    const actions = statements.flatMap(({ Action }) => listOf(Action))
    expect(actions).not.toContain("kms:CreateGrant")
    expect(actions.filter((action) => action.startsWith("kms:C")).sort()).toEqual([
      "kms:CancelKeyDeletion",
      "kms:CreateAlias",
      "kms:CreateAlias",
    ])
  })

  test("roles of the functions may not re-tag a key", () => {
    const tagging = statements.filter(({ Action }) => listOf(Action).some((action) => /Tag/.test(action)))
    expect(tagging).toEqual([statement("Naming")])
    expect(statement("Naming")?.Condition.ArnNotEquals["aws:PrincipalArn"].sort()).toEqual(
      ["sign", "admin", "publish", "crl", "timestamp", "batch", "sequence"].map(roleOf).sort(),
    )
  })

  test("somebody may always change it, or KMS refuses it", () => {
    const change = statements.find(({ Action }) => listOf(Action).includes("kms:PutKeyPolicy"))
    expect(change?.Condition).toBeUndefined()
  })
})
