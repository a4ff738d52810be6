import { Duration, RemovalPolicy, Stack, Validations } from "aws-cdk-lib"
import { ReadWriteType, Trail } from "aws-cdk-lib/aws-cloudtrail"
import { type CfnRule, type EventPattern, Rule, RuleTargetInput, Schedule } from "aws-cdk-lib/aws-events"
import { LambdaFunction as FunctionTarget } from "aws-cdk-lib/aws-events-targets"
import { BlockPublicAccess, Bucket, BucketEncryption, type IBucket, ObjectOwnership } from "aws-cdk-lib/aws-s3"
import { Construct } from "constructs"
import type { FunctionName } from "../../functions/routes.ts"
import type { LedgerTable } from "./ledger-table.ts"
import type { ServiceFunction } from "./service-function.ts"
import type { KeyPurpose, WrappedPurpose } from "./signing-keys.ts"

export interface ReconciliationProps {
  /** value of the keys' stack tag */
  readonly name: string
  readonly functions: Readonly<Record<FunctionName, ServiceFunction>>
  readonly ocsp: ServiceFunction | undefined
  readonly ledger: LedgerTable
  /** whether `sign` and `batch` may use root keys */
  readonly rootSigning: boolean
  /** what the deployment makes wrapped keys for */
  readonly wrapped: readonly WrappedPurpose[]
  readonly trail: boolean
}

/** Uses are reconciled this long after they happened: CloudTrail's delay, 5 minutes and now and then 15, and the longest act. */
const SETTLE_AFTER_SEC = 1800
const EVERY = Duration.minutes(5)

/** What this function alone writes, so that who steals another's role can neither remove evidence nor call it acknowledged. */
const OWN_PARTITIONS = [
  "key-use#*",
  "key-use-minutes",
  "key-reconciliation",
  "key-known",
  "key-findings",
  "key-findings-acknowledged",
]
const READ_PARTITIONS = [
  "audit#*",
  "key-notes#*",
  "deployment",
  "issuers",
  "pending-issuers",
  "profiles",
  "timestamp-authorities",
  "*-responders",
  "leases#*",
]

/** Uses of keys, as CloudTrail tells them, against what the service recorded (D13). It uses no key. */
export class Reconciliation extends Construct {
  constructor(scope: Construct, id: string, props: ReconciliationProps) {
    super(scope, id)
    const { functions, ledger } = props
    const { reconcile } = functions
    ledger.grantLike(reconcile, [...OWN_PARTITIONS, ...READ_PARTITIONS], "GetItem", "Query")
    ledger.grantLike(reconcile, [...OWN_PARTITIONS, "audit#*"], "PutItem")
    ledger.grantLike(reconcile, OWN_PARTITIONS, "UpdateItem", "DeleteItem", "ConditionCheckItem")
    const { relay: _reads, timestamp: _too, reconcile: _own, ...writers } = functions
    for (const other of Object.values(writers)) ledger.refuseWrites(other, OWN_PARTITIONS)

    reconcile.function.addEnvironment("SEALWRIGHT_SETTLE_AFTER_SEC", String(SETTLE_AFTER_SEC))
    reconcile.function.addEnvironment(
      "SEALWRIGHT_KEY_USERS",
      Stack.of(this).toJsonString(
        keyUsers(props).map(([user, purposes]) => ({ role: user.role.roleArn, purposes: [...purposes] })),
      ),
    )
    this.#listen("Uses", reconcile, { eventName: ["Sign"] })
    if (props.wrapped.length > 0)
      this.#listen("Unwrappings", reconcile, {
        eventName: ["Decrypt"],
        requestParameters: { encryptionContext: { "sealwright:stack": [props.name] } },
      })
    new Rule(this, "EveryFiveMinutes", {
      description: "Sealwright: reconciles uses of keys",
      schedule: Schedule.rate(EVERY),
      targets: [
        new FunctionTarget(reconcile.function, {
          event: RuleTargetInput.fromObject({ schedule: true }),
          retryAttempts: 0,
          maxEventAge: EVERY,
        }),
      ],
    })
    if (props.trail) this.#makeTrail()
  }

  /** Uses are management events that only read, which a rule gets in this state alone. */
  #listen(id: string, target: ServiceFunction, call: EventPattern["detail"]): void {
    const rule = new Rule(this, id, {
      description: "Sealwright: uses of keys, from CloudTrail",
      eventPattern: {
        source: ["aws.kms"],
        detailType: ["AWS API Call via CloudTrail"],
        detail: { eventSource: ["kms.amazonaws.com"], errorCode: [{ exists: false }], ...call },
      },
      targets: [new FunctionTarget(target.function)],
    })
    const cfnRule = rule.node.defaultChild as CfnRule
    cfnRule.state = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
  }

  #makeTrail(): void {
    const bucket = new Bucket(this, "TrailBucket", {
      encryption: BucketEncryption.S3_MANAGED,
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      enforceSSL: true,
      versioned: true,
      removalPolicy: RemovalPolicy.RETAIN,
      lifecycleRules: [{ expiration: Duration.days(400), noncurrentVersionExpiration: Duration.days(30) }],
    })
    Validations.of(bucket).acknowledge({
      id: "AwsSolutions-S1",
      reason: "It holds the log of the account's calls, its own objects' among them; a log of the log helps nobody.",
    })
    new Trail(this, "Trail", {
      bucket: bucket as IBucket,
      enableFileValidation: true,
      isMultiRegionTrail: false,
      includeGlobalServiceEvents: false,
      managementEvents: ReadWriteType.ALL,
    })
  }
}

/** Who may use keys of which purpose, as `SigningService` grants it; a test holds the two equal. */
function keyUsers({
  functions,
  ocsp,
  rootSigning,
  wrapped,
}: ReconciliationProps): readonly (readonly [ServiceFunction, readonly KeyPurpose[]])[] {
  const { sign, batch, admin, crl, publish, timestamp, sequence } = functions
  const unwraps: readonly KeyPurpose[] = wrapped.includes("issuer") ? ["wrapping"] : []
  const signs: readonly KeyPurpose[] = ["issuer", "held", ...(rootSigning ? (["root"] as const) : []), ...unwraps]
  const stamps: readonly KeyPurpose[] = [
    "timestamp",
    ...(wrapped.includes("timestamp") ? (["wrapping-timestamp"] as const) : []),
  ]
  return [
    [sign, signs],
    [batch, signs],
    [admin, ["root", "issuer", "tuf-root", "tuf-targets"]],
    [crl, ["root", "issuer", ...unwraps]],
    [publish, ["tuf-lists", "tuf-registry", "tuf-snapshot", "tuf-timestamp"]],
    [timestamp, stamps],
    [sequence, ["log"]],
    ...(ocsp ? ([[ocsp, ["ocsp"]]] as const) : []),
  ]
}
