/** One file: everything here reads one synthesised stack, and making it takes longer than checking it. */
import { describe, expect, test } from "vitest"
import { FUNCTION_NAMES, ROUTES } from "../../functions/routes.ts"
import { ACCOUNT, functionName, listOf, newStack, REGION, type Resource, resourcesOf } from "./template.ts"

const resources = resourcesOf(newStack())
const ofType = (type: string, from: readonly Resource[] = resources) =>
  from.filter((resource) => resource.type === type)
const only = (type: string): Resource => {
  const [one, ...others] = ofType(type)
  if (one === undefined || others.length > 0) throw new Error(`not exactly one ${type}`)
  return one
}

describe("what is stored outlives the stack", () => {
  test("the ledger: retained, protected, restorable, on demand", () => {
    const table = only("AWS::DynamoDB::Table")
    expect([table.deletionPolicy, table.replacePolicy]).toEqual(["Retain", "Retain"])
    expect(table.properties).toMatchObject({
      DeletionProtectionEnabled: true,
      PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
      BillingMode: "PAY_PER_REQUEST",
      TimeToLiveSpecification: { AttributeName: "ttl", Enabled: true },
      KeySchema: [
        { AttributeName: "pk", KeyType: "HASH" },
        { AttributeName: "sk", KeyType: "RANGE" },
      ],
      GlobalSecondaryIndexes: [
        {
          IndexName: "byProfile",
          KeySchema: [
            { AttributeName: "byProfile", KeyType: "HASH" },
            { AttributeName: "byProfileAt", KeyType: "RANGE" },
          ],
          Projection: { ProjectionType: "ALL" },
        },
      ],
    })
  })

  test("buckets: retained, private, encrypted by S3; the published one keeps versions", () => {
    const buckets = ofType("AWS::S3::Bucket")
    expect(buckets).toHaveLength(2)
    for (const bucket of buckets) {
      expect([bucket.deletionPolicy, bucket.replacePolicy]).toEqual(["Retain", "Retain"])
      expect(bucket.properties.PublicAccessBlockConfiguration).toEqual({
        BlockPublicAcls: true,
        BlockPublicPolicy: true,
        IgnorePublicAcls: true,
        RestrictPublicBuckets: true,
      })
      expect(bucket.properties.BucketEncryption.ServerSideEncryptionConfiguration).toEqual([
        { ServerSideEncryptionByDefault: { SSEAlgorithm: "AES256" } },
      ])
    }
    const [published] = buckets.filter(({ properties }) => properties.VersioningConfiguration?.Status === "Enabled")
    expect(published?.properties.LoggingConfiguration.LogFilePrefix).toBe("published/")
    expect(published?.properties.LifecycleConfiguration.Rules).toEqual([
      { AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 }, Status: "Enabled" },
      {
        Prefix: "staging/log/",
        ExpirationInDays: 30,
        NoncurrentVersionExpiration: { NoncurrentDays: 1 },
        Status: "Enabled",
      },
    ])
  })

  test("keys are no part of the stack", () => {
    expect(resources.filter(({ type }) => type.startsWith("AWS::KMS::"))).toEqual([])
  })

  test("ids of what is stored are a contract: a new one would mean an empty ledger", () => {
    expect(only("AWS::DynamoDB::Table").id).toBe("ServiceLedgerTable8C64106D")
    expect(ofType("AWS::S3::Bucket").map(({ id }) => id)).toContain("ServicePublicationBucketF6EEC7CB")
  })
})

describe("bucket policy", () => {
  const policy = ofType("AWS::S3::BucketPolicy").find(
    ({ properties }) => properties.Bucket === "ServicePublicationBucketF6EEC7CB",
  )
  const statements = policy?.properties.PolicyDocument.Statement
  const objects = (...patterns: string[]) => patterns.map((p) => `arn:aws:s3:::ServicePublicationBucketF6EEC7CB/${p}`)
  const bySid = (sid: string) => statements.find(({ Sid }: { Sid?: string }) => Sid === sid)

  test("nothing is written blindly, and immutables are only created (D5)", () => {
    expect(bySid("ImmutableIsCreatedOnce")).toMatchObject({
      Effect: "Deny",
      Action: "s3:PutObject",
      Principal: { AWS: "*" },
      Condition: { Null: { "s3:if-none-match": "true" } },
    })
    expect(bySid("ImmutableIsCreatedOnce").Resource.sort()).toEqual(
      objects("log/*/tile/*", "staging/*", "tuf/*.*.json", "tuf/targets/*"),
    )
    expect(bySid("HeadsMoveByCompareAndSwap")).toMatchObject({
      Effect: "Deny",
      Action: "s3:PutObject",
      Resource: objects("*")[0],
      Condition: { Null: { "s3:if-none-match": "true", "s3:if-match": "true" } },
    })
  })

  test("the patterns tell immutables from heads", () => {
    const immutable = bySid("ImmutableIsCreatedOnce").Resource.map(
      (arn: string) => new RegExp(`^${arn.replace(/[.$]/g, "\\$&").replaceAll("*", ".*")}$`),
    )
    const matches = (key: string) => immutable.some((pattern: RegExp) => pattern.test(objects(key)[0] as string))
    for (const key of ["tuf/1.root.json", "tuf/12.snapshot.json", "tuf/3.lists.json", "tuf/targets/lists/ab.x.json"])
      expect([key, matches(key)]).toEqual([key, true])
    for (const key of ["staging/crl/ab.crl", "staging/plan/1-ab.json"]) expect([key, matches(key)]).toEqual([key, true])
    for (const key of ["log/events/tile/0/000.p/7", "log/signatures/tile/entries/x001/000"])
      expect([key, matches(key)]).toEqual([key, true])
    for (const key of ["tuf/timestamp.json", "crl/ab.crl", "trees/notation.json", "log/events/checkpoint"])
      expect([key, matches(key)]).toEqual([key, false])
  })

  test("CloudFront reads what is public, and learns what is absent; plain http is refused", () => {
    const source = {
      "AWS:SourceArn": `arn:aws:cloudfront::${ACCOUNT}:distribution/${only("AWS::CloudFront::Distribution").id}`,
    }
    const cloudFront = statements.filter(
      ({ Principal }: { Principal: { Service?: string } }) => Principal.Service === "cloudfront.amazonaws.com",
    )
    expect(cloudFront).toHaveLength(2)
    for (const { Condition } of cloudFront) expect(Condition).toEqual({ StringEquals: source })
    expect(bySid("DistributionReadsWhatIsPublic").Resource.sort()).toEqual(objects("crl/*", "tuf/*"))
    expect(bySid("AbsentIsNotForbidden").Action).toBe("s3:ListBucket")
    expect(statements).toContainEqual(
      expect.objectContaining({
        Effect: "Deny",
        Action: "s3:*",
        Condition: { Bool: { "aws:SecureTransport": "false" } },
      }),
    )
  })
})

describe("CDN", () => {
  const { DistributionConfig: config } = only("AWS::CloudFront::Distribution").properties

  test("tuf/ over https, crl/ over both, everything else is a 404 made at the edge", () => {
    const behaviors = config.CacheBehaviors.map(
      ({ PathPattern, ViewerProtocolPolicy }: Record<string, string>) => `${PathPattern} ${ViewerProtocolPolicy}`,
    )
    expect(behaviors).toEqual(["tuf/* https-only", "crl/* allow-all"])
    expect(config.DefaultCacheBehavior.ViewerProtocolPolicy).toBe("https-only")
    expect(config.DefaultCacheBehavior.FunctionAssociations).toHaveLength(1)
    expect(only("AWS::CloudFront::Function").properties.FunctionCode).toContain("statusCode: 404")
  })

  test("reads only, no compression, and the origin's headers decide how long", () => {
    for (const behavior of [config.DefaultCacheBehavior, ...config.CacheBehaviors]) {
      expect(behavior.AllowedMethods).toEqual(["GET", "HEAD"])
      expect(behavior.Compress).toBe(false)
    }
    const policy = only("AWS::CloudFront::CachePolicy").properties.CachePolicyConfig
    expect([policy.MinTTL, policy.DefaultTTL, policy.MaxTTL]).toEqual([0, 0, 31_536_000])
    expect(policy.ParametersInCacheKeyAndForwardedToOrigin).toMatchObject({
      EnableAcceptEncodingBrotli: false,
      EnableAcceptEncodingGzip: false,
    })
  })

  test("an absent object is asked for again within ten seconds", () => {
    const ttl = new Map(
      config.CustomErrorResponses.map((e: { ErrorCode: number; ErrorCachingMinTTL: number }) => [
        e.ErrorCode,
        e.ErrorCachingMinTTL,
      ]),
    )
    expect([...ttl.keys()]).toEqual([403, 404, 500, 502, 503, 504])
    for (const seconds of ttl.values()) expect(seconds).toBeLessThanOrEqual(10)
  })

  test("the bucket is reached with signed requests only", () => {
    expect(only("AWS::CloudFront::OriginAccessControl").properties.OriginAccessControlConfig).toMatchObject({
      OriginAccessControlOriginType: "s3",
      SigningBehavior: "always",
      SigningProtocol: "sigv4",
    })
  })

  test("-c cdn=false leaves it out, and admits nobody to the bucket", () => {
    const bare = resourcesOf(newStack({ cdn: "false" }))
    expect(bare.filter(({ type }) => type.startsWith("AWS::CloudFront::"))).toEqual([])
    expect(JSON.stringify(ofType("AWS::S3::BucketPolicy", bare))).not.toContain("cloudfront")
    expect(ofType("AWS::ApiGatewayV2::Route", bare)).toHaveLength(ROUTES.length)
  })

  test("names of one's own come with their certificate and TLS 1.2", () => {
    const certificateArn = `arn:aws:acm:us-east-1:${ACCOUNT}:certificate/00000000-0000-0000-0000-000000000000`
    const [own] = ofType(
      "AWS::CloudFront::Distribution",
      resourcesOf(newStack({ hosts: "trust.example.com", certificateArn })),
    )
    expect(own?.properties.DistributionConfig.Aliases).toEqual(["trust.example.com"])
    expect(own?.properties.DistributionConfig.ViewerCertificate).toMatchObject({
      AcmCertificateArn: certificateArn,
      MinimumProtocolVersion: "TLSv1.2_2021",
    })
  })
})

describe("API", () => {
  const routes = ofType("AWS::ApiGatewayV2::Route")

  test("has the routes that the functions answer, each behind IAM", () => {
    expect(routes.map(({ properties }) => properties.RouteKey).sort()).toEqual(
      ROUTES.map(({ method, path }) => `${method} ${path}`).sort(),
    )
    for (const { properties } of routes) expect(properties.AuthorizationType).toBe("AWS_IAM")
  })

  test("sends each route to its function", () => {
    const integrations = new Map(
      ofType("AWS::ApiGatewayV2::Integration").map(({ id, properties }) => {
        expect(properties.PayloadFormatVersion).toBe("2.0")
        return [id, functionName(String(properties.IntegrationUri).split(":").at(-1) as string)]
      }),
    )
    const answered = Object.fromEntries(
      routes.map(({ properties }) => [
        properties.RouteKey,
        integrations.get(String(properties.Target).replace("integrations/", "")),
      ]),
    )
    expect(answered).toEqual(
      Object.fromEntries(ROUTES.map(({ method, path, functionName: name }) => [`${method} ${path}`, name])),
    )
  })

  test("R8: timestamps are opened on request, that route alone, with a limit of its own", () => {
    const opened = resourcesOf(newStack({ openTimestamps: "20", timestampPolicy: "1.2.3.4" }))
    const unguarded = ofType("AWS::ApiGatewayV2::Route", opened).filter(
      ({ properties }) => properties.AuthorizationType !== "AWS_IAM",
    )
    expect(unguarded.map(({ properties }) => [properties.RouteKey, properties.AuthorizationType])).toEqual([
      ["POST /v1/timestamp", "NONE"],
    ])
    const [stage] = ofType("AWS::ApiGatewayV2::Stage", opened)
    expect(stage?.properties.RouteSettings).toEqual({
      "POST /v1/timestamp": { ThrottlingRateLimit: 20, ThrottlingBurstLimit: 40 },
    })
    const policies = ofType("AWS::Lambda::Function", opened).flatMap(
      ({ properties }) => properties.Environment.Variables.SEALWRIGHT_TIMESTAMP_POLICY ?? [],
    )
    expect(policies).toEqual(["1.2.3.4"])
  })

  test("is throttled, and logs callers and outcomes but no bodies", () => {
    const { properties } = only("AWS::ApiGatewayV2::Stage")
    expect(properties.DefaultRouteSettings).toEqual({ ThrottlingBurstLimit: 200, ThrottlingRateLimit: 100 })
    const format = properties.AccessLogSettings.Format as string
    expect(Object.values(JSON.parse(format) as Record<string, string>).sort()).toEqual([
      "$context.error.message",
      "$context.identity.sourceIp",
      "$context.identity.userArn",
      "$context.integrationErrorMessage",
      "$context.requestId",
      "$context.requestTimeEpoch",
      "$context.responseLatency",
      "$context.responseLength",
      "$context.routeKey",
      "$context.status",
    ])
  })
})

describe("functions", () => {
  const functions = new Map(ofType("AWS::Lambda::Function").map(({ id, properties }) => [functionName(id), properties]))

  test("house defaults: Node 24 on ARM, a time limit, no tracing, a log that is kept for a year", () => {
    for (const properties of functions.values()) {
      expect(properties).toMatchObject({ Runtime: "nodejs24.x", Architectures: ["arm64"], Handler: "index.handler" })
      expect(properties.TracingConfig).toBeUndefined()
      expect(properties.LoggingConfig.LogGroup).toBeTruthy()
    }
    const logs = ofType("AWS::Logs::LogGroup")
    expect(logs).toHaveLength(FUNCTION_NAMES.length + 1)
    for (const { properties, deletionPolicy } of logs)
      expect([properties.RetentionInDays, deletionPolicy]).toEqual([365, "Retain"])
  })

  test("what API Gateway waits for ends before it stops waiting", () => {
    const limits = Object.fromEntries([...functions].map(([name, { Timeout }]) => [name, Timeout]))
    expect(limits).toEqual({
      sign: 29,
      records: 29,
      revoke: 29,
      admin: 29,
      publish: 300,
      crl: 120,
      timestamp: 29,
      relay: 29,
      batch: 900,
      reconcile: 300,
      sequence: 300,
    })
  })

  test("each knows what it uses and no more", () => {
    const variables = Object.fromEntries(
      [...functions].map(([name, { Environment }]) => [
        name,
        Object.keys(Environment.Variables)
          .map((variable) => variable.replace("SEALWRIGHT_", ""))
          .sort(),
      ]),
    )
    expect(variables).toEqual({
      sign: ["BATCH_FUNCTION", "RELAY_FUNCTION", "STACK", "TABLE", "TIMESTAMP_FUNCTION"],
      records: ["BUCKET", "TABLE"],
      revoke: ["PUBLISH_FUNCTION", "TABLE"],
      admin: ["KEY_POLICY", "PUBLISH_FUNCTION", "STACK", "TABLE"],
      publish: ["BUCKET", "CRL_FUNCTION", "STACK", "TABLE"],
      crl: ["BUCKET", "STACK", "TABLE"],
      timestamp: ["STACK", "TABLE", "TIMESTAMP_POLICY"],
      relay: ["TABLE"],
      sequence: ["BUCKET", "STACK", "TABLE"],
      batch: ["BATCH_RATE", "RELAY_FUNCTION", "STACK", "TABLE", "TIMESTAMP_FUNCTION"],
      reconcile: ["KEY_USERS", "SETTLE_AFTER_SEC", "STACK", "TABLE"],
    })
  })

  test("revocations keep a reserve, publishers and sequencers come one at a time, events of CloudTrail wait; an account without room can do without", () => {
    const reserves = (from: readonly Resource[]) =>
      ofType("AWS::Lambda::Function", from)
        .filter(({ properties }) => properties.ReservedConcurrentExecutions !== undefined)
        .map(({ id, properties }) => `${functionName(id)} ${properties.ReservedConcurrentExecutions}`)
        .sort()
    expect(reserves(resources)).toEqual(["publish 1", "reconcile 10", "revoke 10", "sequence 1"])
    expect(reserves(resourcesOf(newStack({ reserveConcurrency: "false" })))).toEqual([])
  })

  test("publish, batch and sequence run every minute, and an event that was lost is not repeated", () => {
    const rules = ofType("AWS::Events::Rule").filter(
      ({ properties }) => properties.ScheduleExpression === "rate(1 minute)",
    )
    const called = rules.map(({ properties }) => {
      expect(properties).toMatchObject({ State: "ENABLED" })
      expect(properties.Targets).toHaveLength(1)
      expect(properties.Targets[0]).toMatchObject({
        Input: '{"schedule":true}',
        RetryPolicy: { MaximumRetryAttempts: 0 },
      })
      return functionName(String(properties.Targets[0].Arn).split(":").at(-1) as string)
    })
    expect(called.sort()).toEqual(["batch", "publish", "sequence"])
    const retries = ofType("AWS::Lambda::EventInvokeConfig").map(({ properties }) => properties.MaximumRetryAttempts)
    expect(retries).toEqual([0, 0, 0])
  })

  test("what is put into the log's inbox wakes sequence within ten seconds, and nothing else does (R30)", () => {
    expect(only("AWS::DynamoDB::Table").properties.StreamSpecification).toEqual({ StreamViewType: "KEYS_ONLY" })
    const { properties } = only("AWS::Lambda::EventSourceMapping")
    expect(functionName(String(properties.FunctionName))).toBe("sequence")
    expect(properties).toMatchObject({ MaximumBatchingWindowInSeconds: 10, MaximumRetryAttempts: 0 })
    expect(properties.FilterCriteria.Filters.map(({ Pattern }: { Pattern: string }) => JSON.parse(Pattern))).toEqual([
      { eventName: ["INSERT"], dynamodb: { Keys: { pk: { S: [{ prefix: "inbox#" }] } } } },
    ])
  })

  test("an old or a refused log entry rings, and so does a sequencer that is silent (R30)", () => {
    const alarm = (name: string) =>
      ofType("AWS::CloudWatch::Alarm").find(({ properties }) => properties.MetricName === name)?.properties
    expect(alarm("OldestLogEntryAge")).toMatchObject({ Threshold: 300, TreatMissingData: "breaching" })
    for (const name of ["LogRefused", "LogDisputed"])
      expect(alarm(name)).toMatchObject({ Threshold: 1, Statistic: "Sum" })
  })

  test("logs are read by nobody through CloudFront unless the stack is deployed so (D9)", () => {
    const shown = (context: Record<string, string>) => {
      const from = resourcesOf(newStack(context))
      const [distribution] = ofType("AWS::CloudFront::Distribution", from)
      const [policy] = ofType("AWS::S3::BucketPolicy", from).filter(({ properties }) =>
        JSON.stringify(properties).includes("DistributionReadsWhatIsPublic"),
      )
      return [
        distribution?.properties.DistributionConfig.CacheBehaviors.map(
          ({ PathPattern }: { PathPattern: string }) => PathPattern,
        ),
        JSON.stringify(policy?.properties).includes('/log/*"'),
      ]
    }
    expect(shown({})).toEqual([["tuf/*", "crl/*"], false])
    expect(shown({ publicLog: "true" })).toEqual([["tuf/*", "crl/*", "log/*"], true])
  })

  test("batches keep to a ceiling that the deployment sets, half of KMS's quota unless it says otherwise (R15)", () => {
    const rate = (context: Record<string, string>) =>
      ofType("AWS::Lambda::Function", resourcesOf(newStack(context)))
        .filter(({ id }) => functionName(id) === "batch")
        .map(({ properties }) => properties.Environment.Variables.SEALWRIGHT_BATCH_RATE)
    expect(rate({})).toEqual(["500"])
    expect(rate({ batchRate: "10000" })).toEqual(["10000"])
    for (const batchRate of ["9", "10001", "1e3", "fast"]) expect(() => newStack({ batchRate })).toThrow(TypeError)
  })
})

describe("alarms", () => {
  const alarms = ofType("AWS::CloudWatch::Alarm").map(({ properties }) => properties)

  test("an old or missing publication rings", () => {
    const age = alarms.filter(({ MetricName }) => MetricName === "PublicationAge")
    expect(age).toHaveLength(1)
    expect(age[0]).toMatchObject({
      Namespace: "Sealwright",
      Dimensions: [{ Name: "Stack", Value: "Sealwright" }],
      Statistic: "Maximum",
      Threshold: 25_200,
      TreatMissingData: "breaching",
    })
  })

  test("R18, R28: a TUF role that ends within hours rings, and so does silence of who would say so", () => {
    const ends = alarms.filter(({ MetricName }) => MetricName === "TufHoursToExpiry")
    expect(ends).toHaveLength(1)
    expect(ends[0]).toMatchObject({
      Namespace: "Sealwright",
      Statistic: "Minimum",
      Threshold: 58,
      ComparisonOperator: "LessThanThreshold",
      TreatMissingData: "breaching",
    })
  })

  test("a batch job that is not finished for an hour rings, and so does silence of its worker", () => {
    const age = alarms.filter(({ MetricName }) => MetricName === "OldestJobAge")
    expect(age).toHaveLength(1)
    expect(age[0]).toMatchObject({
      Namespace: "Sealwright",
      Dimensions: [{ Name: "Stack", Value: "Sealwright" }],
      Statistic: "Maximum",
      Threshold: 3600,
      TreatMissingData: "breaching",
    })
    const failures = alarms.filter(({ MetricName }) => MetricName === "BatchFailures")
    expect(failures).toHaveLength(1)
    expect(failures[0]).toMatchObject({ Statistic: "Sum", Threshold: 10, TreatMissingData: "notBreaching" })
  })

  test("R18: what ends within 90, 30 and 7 days rings, each time anew", () => {
    const expiry = alarms.filter(({ MetricName }) => MetricName === "DaysToExpiry")
    expect(expiry.map(({ Threshold }) => Threshold)).toEqual([90, 30, 7])
    for (const alarm of expiry)
      expect(alarm).toMatchObject({
        Namespace: "Sealwright",
        Dimensions: [{ Name: "Stack", Value: "Sealwright" }],
        Statistic: "Minimum",
        ComparisonOperator: "LessThanThreshold",
      })
  })

  test("errors of every function ring, throttles of all but publish, reconcile and sequence, failures of the API", () => {
    const rings = alarms
      .filter(({ Namespace }) => Namespace !== "Sealwright")
      .map(({ MetricName, Dimensions, TreatMissingData }) => {
        expect(TreatMissingData).toBe("notBreaching")
        const [{ Value }] = Dimensions
        return MetricName === "5xx" ? "5xx" : `${functionName(Value)} ${MetricName}`
      })
    expect(rings.sort()).toEqual(
      [
        ...FUNCTION_NAMES.map((name) => `${name} Errors`),
        ...FUNCTION_NAMES.filter((name) => !["publish", "reconcile", "sequence"].includes(name)).map(
          (name) => `${name} Throttles`,
        ),
        "5xx",
      ].sort(),
    )
  })

  test("tell the topic that is given", () => {
    const alarmTopicArn = `arn:aws:sns:${REGION}:${ACCOUNT}:pager`
    const told = ofType("AWS::CloudWatch::Alarm", resourcesOf(newStack({ alarmTopicArn })))
    expect(told).toHaveLength(alarms.length)
    for (const { properties } of told) expect(properties.AlarmActions).toEqual([alarmTopicArn])
    for (const { AlarmActions } of alarms) expect(AlarmActions).toBeUndefined()
  })
})

describe("policies for people and pipelines (D14)", () => {
  const policies = ofType("AWS::IAM::ManagedPolicy", resourcesOf(newStack({ profiles: "ci,release-eu" })))
  const paths = (name: string): string[] => {
    const policy = policies.find(({ id }) => new RegExp(`^Service\\w*${name}[0-9A-F]{8}$`).test(id))
    const statements = policy?.properties.PolicyDocument.Statement
    expect(statements).toHaveLength(1)
    expect([statements[0].Effect, statements[0].Action]).toEqual(["Allow", "execute-api:Invoke"])
    return listOf<string>(statements[0].Resource).map((arn) => {
      const prefix = new RegExp(`^arn:aws:execute-api:${REGION}:${ACCOUNT}:ServiceApi[0-9A-F]{8}/\\$default/`)
      expect(arn).toMatch(prefix)
      return arn.replace(prefix, "")
    })
  }

  test("a signer policy grants its profile's signatures and jobs and nothing else (D10)", () => {
    expect(paths("SignerCi").sort()).toEqual([
      "GET/v1/profiles/ci/jobs",
      "GET/v1/profiles/ci/jobs/*",
      "GET/v1/profiles/ci/signatures",
      "GET/v1/profiles/ci/signatures/*",
      "POST/v1/profiles/ci/jobs/*/cancel",
      "POST/v1/profiles/ci/signatures",
    ])
    expect(paths("SignerReleaseDashEu")).toContain("POST/v1/profiles/release-eu/signatures")
  })

  test("a recorder policy registers signatures under its profile and does nothing else", () => {
    expect(paths("RecorderCi").sort()).toEqual([
      "GET/v1/profiles/ci/foreign-signatures",
      "POST/v1/profiles/ci/foreign-signatures",
    ])
  })

  test("who decides policy can't sign or revoke, who revokes can't decide or sign, who audits changes nothing", () => {
    const writes = (name: string) =>
      paths(name)
        .filter((path) => !path.startsWith("GET/"))
        .sort()
    expect(writes("Auditor")).toEqual([])
    expect(writes("Revoker")).toEqual(["POST/v1/revocations", "POST/v1/revocations/*/release"])
    expect(writes("Admin")).toEqual([
      "PATCH/v1/profiles/*",
      "POST/v1/ceremony",
      "POST/v1/issuers",
      "POST/v1/issuers/*/activation",
      "POST/v1/issuers/*/rotation",
      "POST/v1/issuers/*/takeover",
      "POST/v1/profiles",
      "POST/v1/profiles/*/resume",
      "POST/v1/profiles/*/rotation",
      "POST/v1/profiles/*/suspend",
      "POST/v1/publications",
      "POST/v1/reconciliation/findings/*/acknowledgement",
      "POST/v1/root/extra",
      "POST/v1/root/retirement",
      "POST/v1/root/rotation",
      "POST/v1/timestamp-authority",
      "POST/v1/tuf/keys",
      "POST/v1/tuf/proposals",
      "POST/v1/tuf/rotation",
      "POST/v1/tuf/signatures",
      "POST/v1/tuf/withdrawal",
      "PUT/v1/log/witnesses",
      "PUT/v1/outside-authorities/*",
      "PUT/v1/outside-crls",
      "PUT/v1/profiles/*/allowances",
    ])
    expect(paths("Timestamps")).toEqual(["POST/v1/timestamp"])
    expect(paths("Auditor")).toContain("GET/v1/audit")
    expect(paths("Revoker")).not.toContain("GET/v1/audit")
  })

  test("a profile's name can't smuggle in a wildcard", () => {
    for (const profiles of ["*", "ci*", "ci/../x", "c?", "Ci"]) expect(() => newStack({ profiles })).toThrow(TypeError)
  })
})

describe("context", () => {
  test.each([
    { cdn: "no" },
    { reserveConcurrency: 1 },
    { hosts: "trust.example.com" },
    { certificateArn: "arn:aws:acm:us-east-1:111122223333:certificate/x" },
    { name: "" },
    { openTimestamps: "yes" },
    { openTimestamps: "0" },
  ])("refuses %o", (context) => {
    expect(() => newStack(context)).toThrow(TypeError)
  })
})
