import { Duration, Stack } from "aws-cdk-lib"
import { Architecture } from "aws-cdk-lib/aws-lambda"
import type { ITopic } from "aws-cdk-lib/aws-sns"
import { Construct } from "constructs"
import { type FunctionName, OCSP_FUNCTION, OCSP_ROUTES } from "../../functions/routes.ts"
import { AccessPolicies } from "./access-policies.ts"
import { ServiceAlarms } from "./alarms.ts"
import { HsmNetwork } from "./hsm-network.ts"
import { ServiceApi, type Throttle } from "./http-api.ts"
import type { KeyHome, Pkcs11KeyHome } from "./key-home.ts"
import { LedgerTable } from "./ledger-table.ts"
import { LAYER_ROOT, Pkcs11Layer } from "./pkcs11-layer.ts"
import { Publication, type PublicHost } from "./publication.ts"
import { Reconciliation } from "./reconciliation.ts"
import { PUBLISH_TIME, SEQUENCE_TIME, scheduleRuns } from "./schedules.ts"
import { type HsmAttachment, ServiceFunction, type ServiceFunctionProps } from "./service-function.ts"
import { SigningKeys, type WrappedPurpose } from "./signing-keys.ts"

export interface SigningServiceProps {
  /** tag of its keys and first part of their aliases; for ever. Default: the stack's name */
  readonly name?: string
  /** CloudFront before the public part of the bucket. Default: true */
  readonly cdn?: boolean
  /** names of your own, with their certificate. Default: CloudFront's own name */
  readonly host?: PublicHost
  /** of each route. Default: 100 requests per second, burst 200 */
  readonly throttle?: Throttle
  /**
   * Opens timestamps to clients that sign no requests, as all stock clients are, at a rate of its own.
   * Default: IAM, as on every route
   */
  readonly openTimestamps?: Throttle
  /** policy of the timestamp authority, dotted; every arc below 2^31. Default: Sealwright's own */
  readonly timestampPolicy?: string
  /**
   * Key operations a second that batch jobs may use, 10 to 10,000, so that signing on demand keeps its share of the quota.
   * Default: 500, half of what KMS gives a Region's ECC keys
   */
  readonly batchRate?: number
  /**
   * An OCSP responder for stock clients, open to anyone at a rate of its own (docs/ocsp.md). Default: none: no function, no route, no right to such keys
   */
  readonly ocsp?: { readonly throttle: Throttle }
  /** whether anyone may read the transparency logs, entries among them. Default: false, IAM and the API alone (D9) */
  readonly publicLog?: boolean
  /** where alarms go. Default: nowhere */
  readonly alarmTopic?: ITopic
  /**
   * Concurrency set aside so that a flood of signatures can't keep revocations waiting, nor reconciling take what signing needs: 22 of the account's.
   * Default: true; an account with a limit below 122 can't have it.
   */
  readonly reserveConcurrency?: boolean
  /** where the private keys of root, issuers and held profiles live; for ever. Default: `awsKms()` */
  readonly keyHome?: KeyHome
  /** The second lock of profiles right below the root (R5): lets the sign role use root keys. Default: false */
  readonly rootSigning?: boolean
  /**
   * Lets issuers be made whose keys sign in the memory of `sign`, `batch` and `crl`, beyond KMS's quota, and can be copied from there: docs/key-modes.md.
   * Needs keys in KMS. Default: false
   */
  readonly wrappedIssuers?: boolean
  /** The same for the timestamp authority's key, in the memory of `timestamp` alone. Default: false */
  readonly wrappedTimestamps?: boolean
  /**
   * A trail of CloudTrail that records management events in this Region. Default: none, since most accounts have one; without any, reconciling
   * hears of nothing, and its alarm rings with the first signature (docs/reconciliation.md).
   */
  readonly trail?: boolean
}

/** docs/timestamps.md; the service's own default, held equal by a test. */
const TIMESTAMP_POLICY = "1.2.840.113556.1.8000.2554.6102.11502.31703.19761.46538.5871777.6203004"

/** API Gateway waits 30 seconds. */
const BEHIND_API = Duration.seconds(29)
const CRL_TIME = Duration.minutes(2)
/** What came in within it goes into one round: latency against the price of a round. */
const SEQUENCE_WINDOW = Duration.seconds(10)
const REVOKE_RESERVE = 10
const BATCH_TIME = Duration.minutes(15)
const BATCH_RATE = 500
const RECONCILE_TIME = Duration.minutes(5)
const RECONCILE_RESERVE = 10

/**
 * The whole service: API, functions with a role each, ledger, bucket, CDN, schedule, alarms and policies for its users.
 * What is stored outlives it: ledger and bucket are retained, and keys, made at run time, are no part of any stack.
 */
export class SigningService extends Construct {
  readonly ledger: LedgerTable
  readonly publication: Publication
  readonly functions: Readonly<Record<FunctionName, ServiceFunction>>
  /** undefined unless the stack is deployed with one */
  readonly ocsp: ServiceFunction | undefined
  readonly api: ServiceApi
  readonly policies: AccessPolicies
  readonly keys: SigningKeys

  constructor(scope: Construct, id: string, props: SigningServiceProps = {}) {
    super(scope, id)
    const name = props.name ?? Stack.of(this).stackName
    this.ledger = new LedgerTable(this, "Ledger")
    this.publication = new Publication(this, "Publication", {
      ...(props.cdn !== undefined && { cdn: props.cdn }),
      ...(props.host && { host: props.host }),
      ...(props.publicLog !== undefined && { publicLog: props.publicLog }),
    })
    this.keys = new SigningKeys(this, "Keys", name)
    const home = props.keyHome?.kind === "pkcs11" ? props.keyHome : undefined
    this.functions = this.#makeFunctions(props.reserveConcurrency ?? true, home && this.#attach(home))
    this.ocsp = props.ocsp && this.#makeOcsp()
    if (home && props.wrappedIssuers)
      throw new TypeError("wrappedIssuers: the keys of issuers live on the token; give one of the two")
    const wrapped: WrappedPurpose[] = [
      ...(props.wrappedIssuers ? (["issuer"] as const) : []),
      ...(props.wrappedTimestamps ? (["timestamp"] as const) : []),
    ]
    this.#grant(wrapped)
    this.#configure(name, props.timestampPolicy ?? TIMESTAMP_POLICY, wrapped)
    this.#configureBatches(props.batchRate ?? BATCH_RATE)
    if (home) this.#giveHsm(home)
    else this.#giveKms(props.rootSigning ?? false)
    this.api = new ServiceApi(this, "Api", {
      functions: this.functions,
      throttle: props.throttle ?? { rate: 100, burst: 200 },
      openTimestamps: props.openTimestamps,
      ocsp: props.ocsp && this.ocsp && { function: this.ocsp, throttle: props.ocsp.throttle },
    })
    this.policies = new AccessPolicies(this, "Policies", this.api, this.ocsp && OCSP_ROUTES)
    scheduleRuns(this, this.functions, this.ocsp)
    new Reconciliation(this, "Reconciliation", {
      name,
      functions: this.functions,
      ocsp: this.ocsp,
      ledger: this.ledger,
      rootSigning: home === undefined && (props.rootSigning ?? false),
      wrapped,
      trail: props.trail ?? false,
    })
    new ServiceAlarms(this, "Alarms", {
      name,
      functions: this.functions,
      ocsp: this.ocsp,
      api: this.api,
      topic: props.alarmTopic,
    })
  }

  #makeFunctions(reserve: boolean, hsm: HsmAttachment | undefined): Record<FunctionName, ServiceFunction> {
    const make = (id: string, props: ServiceFunctionProps) => new ServiceFunction(this, id, props)
    const short = { timeout: BEHIND_API }
    return {
      sign: make("Sign", {
        ...short,
        name: "sign",
        description: "Sealwright: signs and records",
        memoryMiB: 1024,
        hsm,
      }),
      records: make("Records", { ...short, name: "records", description: "Sealwright: reads records" }),
      revoke: make("Revoke", {
        ...short,
        name: "revoke",
        description: "Sealwright: revokes",
        reservedConcurrency: reserve ? REVOKE_RESERVE : undefined,
      }),
      admin: make("Admin", { ...short, name: "admin", description: "Sealwright: set-up, issuers, profiles", hsm }),
      publish: make("Publish", {
        name: "publish",
        description: "Sealwright: publishes lists and trust metadata",
        timeout: PUBLISH_TIME,
        memoryMiB: 1024,
        // A hint that spares collisions; what is published is right with any number of them (D5).
        reservedConcurrency: reserve ? 1 : undefined,
        // The next minute's run does what a lost event asked for.
        events: { retryAttempts: 0, maxEventAge: PUBLISH_TIME },
      }),
      crl: make("Crl", {
        name: "crl",
        description: "Sealwright: signs CRLs of committed epochs",
        timeout: CRL_TIME,
        memoryMiB: 1024,
        hsm,
      }),
      timestamp: make("Timestamp", { ...short, name: "timestamp", description: "Sealwright: timestamp authority" }),
      relay: make("Relay", { ...short, name: "relay", description: "Sealwright: asks outside timestamp authorities" }),
      batch: make("Batch", {
        name: "batch",
        description: "Sealwright: signs batch jobs",
        timeout: BATCH_TIME,
        // One whole processor: one worker at a time signs for all jobs.
        memoryMiB: 1769,
        // The next minute's run does what a lost event asked for.
        events: { retryAttempts: 0, maxEventAge: BATCH_TIME },
        hsm,
      }),
      reconcile: make("Reconcile", {
        name: "reconcile",
        description: "Sealwright: reconciles uses of keys with records",
        timeout: RECONCILE_TIME,
        memoryMiB: 1024,
        // Events wait for their turn; they must not take what signing needs.
        reservedConcurrency: reserve ? RECONCILE_RESERVE : undefined,
      }),
      sequence: make("Sequence", {
        name: "sequence",
        description: "Sealwright: takes signatures and events into the transparency logs",
        timeout: SEQUENCE_TIME,
        memoryMiB: 1024,
        // A hint that spares collisions; there is one log with any number of them (D5).
        reservedConcurrency: reserve ? 1 : undefined,
        // The next minute's run does what a lost event asked for.
        events: { retryAttempts: 0, maxEventAge: SEQUENCE_TIME },
      }),
    }
  }

  /** It reads the ledger and the CRLs, which are public; its key certifies nothing. */
  #makeOcsp(): ServiceFunction {
    const ocsp = new ServiceFunction(this, "Ocsp", {
      name: OCSP_FUNCTION,
      description: "Sealwright: OCSP responder",
      timeout: BEHIND_API,
    })
    this.ledger.grant(ocsp, "GetItem", "Query")
    this.publication.grantReadKnown(ocsp, "staging/crl/*")
    this.keys.grantOcsp(ocsp)
    return ocsp
  }

  /** Who may do what (D13). No one of these roles both signs artifacts and publishes. */
  #grant(wrapped: readonly WrappedPurpose[]): void {
    const { sign, records, revoke, admin, publish, crl, timestamp, relay, batch } = this.functions
    const write = ["GetItem", "Query", "PutItem", "UpdateItem", "ConditionCheckItem"] as const
    for (const signer of [sign, batch]) this.ledger.grant(signer, ...write)
    this.ledger.grantIn(batch, "open-jobs", "DeleteItem")
    this.ledger.grant(records, "GetItem", "Query", "PutItem")
    this.ledger.grantQueryIndex(records)
    this.ledger.grant(revoke, ...write, "DeleteItem")
    this.ledger.grant(admin, ...write, "DeleteItem")
    this.ledger.grant(publish, ...write, "DeleteItem")
    this.ledger.grant(crl, ...write)
    this.ledger.grant(timestamp, "Query")
    this.ledger.grantIn(relay, "outside-authorities", "GetItem")

    this.keys.grantCreate(admin, this.ocsp ? [] : ["ocsp"], wrapped)
    for (const kind of wrapped) {
      this.keys.grantWrap(admin, kind)
      for (const reader of this.#unwrappers()[kind]) this.keys.grantUnwrap(reader, kind)
    }
    this.keys.grantSign(publish, "tuf-lists", "tuf-registry", "tuf-snapshot", "tuf-timestamp")
    this.keys.grantTimestamps(timestamp)

    this.#grantLog()

    this.publication.grantRead(records, "trees/*", "log/*")
    this.publication.grantRead(publish, "tuf/*", "crl/*", "trees/*", "staging/*")
    this.publication.grantWrite(publish, "tuf/*", "crl/*", "trees/*", "staging/plan/*")
    this.publication.grantWrite(crl, "staging/crl/*")

    for (const caller of [revoke, admin]) grantInvoke(caller, publish)
    grantInvoke(publish, crl)
    // The right to ask, not the key: who signs can't date back.
    for (const signer of [sign, batch]) for (const asked of [timestamp, relay]) grantInvoke(signer, asked)
    grantInvoke(sign, batch)
  }

  /** It reads what waits and the records that wait, writes the logs' own items alone, and signs nothing but checkpoints. */
  #grantLog(): void {
    const { sequence } = this.functions
    this.ledger.grantIn(sequence, ["deployment", "log", "log-epochs#*", "signature#*"], "GetItem")
    this.ledger.grantIn(sequence, ["inbox#*"], "Query")
    this.ledger.grantIn(sequence, ["log-epochs#*", "logged#*", "key-notes#*", "table-behind"], "PutItem")
    this.ledger.grantIn(sequence, ["log", "log-epochs#*"], "UpdateItem")
    this.ledger.grantIn(sequence, ["inbox#*"], "DeleteItem")
    this.ledger.wake(sequence, "inbox#", SEQUENCE_WINDOW)
    this.keys.grantLog(sequence)
    this.publication.grantRead(sequence, "log/*", "staging/log/*")
    this.publication.grantWrite(sequence, "log/*", "staging/log/*")
  }

  #unwrappers() {
    const { sign, batch, crl, timestamp } = this.functions
    return { issuer: [sign, batch, crl], timestamp: [timestamp] } as const
  }

  #attach(home: Pkcs11KeyHome): HsmAttachment {
    const architecture = home.architecture ?? Architecture.ARM_64
    const { layer } = new Pkcs11Layer(this, "Pkcs11", { ...home, architecture })
    return { vpc: home.vpc, network: new HsmNetwork(this, "HsmNetwork", home), layer, architecture }
  }

  #giveKms(rootSigning: boolean): void {
    const { sign, admin, crl, batch } = this.functions
    for (const signer of [sign, batch])
      this.keys.grantSign(signer, "issuer", "held", ...(rootSigning ? (["root"] as const) : []))
    for (const signer of [sign, batch]) this.keys.grantMlDsa(signer, ["issuer"], "message")
    this.keys.grantSign(admin, "root", "issuer", "tuf-root", "tuf-targets")
    this.keys.grantSign(crl, "root", "issuer")
    this.keys.grantMlDsa(admin, ["root"], "message")
    this.keys.grantMlDsa(crl, ["root", "issuer"], "message", "mu")
  }

  /** The same four read the PIN when they log in to the HSMs. */
  #giveHsm(home: Pkcs11KeyHome): void {
    this.keys.grantSign(this.functions.admin, "tuf-root", "tuf-targets")
    const { sign, admin, crl, batch } = this.functions
    for (const user of [sign, admin, crl, batch]) {
      home.pin.grantRead(user.role)
      user.function.addEnvironment("SEALWRIGHT_PKCS11_MODULE", home.module)
      user.function.addEnvironment("SEALWRIGHT_PKCS11_PACKAGES", `${LAYER_ROOT}/nodejs`)
      user.function.addEnvironment("SEALWRIGHT_PKCS11_TOKEN", home.tokenLabel)
      user.function.addEnvironment("SEALWRIGHT_PKCS11_PIN", `secretsmanager:${home.pin.secretArn}`)
    }
  }

  /** Each function knows what it uses, and no more. */
  #configure(name: string, timestampPolicy: string, wrapped: readonly WrappedPurpose[]): void {
    const { sign, records, revoke, admin, publish, crl, timestamp, relay, batch, reconcile, sequence } = this.functions
    const set = (variable: string, value: string, ...functions: readonly ServiceFunction[]) => {
      for (const { function: lambda } of functions) lambda.addEnvironment(variable, value)
    }
    const ocsp = this.ocsp ? [this.ocsp] : []
    set(
      "SEALWRIGHT_TABLE",
      this.ledger.table.tableName,
      sign,
      records,
      revoke,
      admin,
      publish,
      crl,
      timestamp,
      batch,
      relay,
      reconcile,
      sequence,
      ...ocsp,
    )
    set("SEALWRIGHT_BUCKET", this.publication.bucket.bucketName, records, publish, crl, sequence, ...ocsp)
    set("SEALWRIGHT_STACK", name, sign, admin, publish, crl, timestamp, batch, reconcile, sequence, ...ocsp)
    set("SEALWRIGHT_PUBLISH_FUNCTION", publish.function.functionName, revoke, admin)
    set("SEALWRIGHT_CRL_FUNCTION", crl.function.functionName, publish)
    const unwrappers = Object.fromEntries(wrapped.map((kind) => [kind, this.#unwrappers()[kind]]))
    const signers = [sign, admin, publish, crl, timestamp, batch, ...ocsp]
    const mlDsaSigners = [sign, admin, crl, batch]
    set("SEALWRIGHT_KEY_POLICY", this.keys.policyJson(signers, admin, mlDsaSigners, [sequence], unwrappers), admin)
    if (wrapped.length > 0) set("SEALWRIGHT_WRAPPING", wrapped.join(","), admin)
    set("SEALWRIGHT_TIMESTAMP_FUNCTION", timestamp.function.functionName, sign, batch)
    set("SEALWRIGHT_TIMESTAMP_POLICY", timestampPolicy, timestamp)
    set("SEALWRIGHT_RELAY_FUNCTION", relay.function.functionName, sign, batch)
  }

  #configureBatches(rate: number): void {
    if (!Number.isInteger(rate) || rate < 10 || rate > 10_000)
      throw new TypeError("batchRate: expected 10 to 10000 key operations a second")
    const { sign, batch } = this.functions
    sign.function.addEnvironment("SEALWRIGHT_BATCH_FUNCTION", batch.function.functionName)
    batch.function.addEnvironment("SEALWRIGHT_BATCH_RATE", String(rate))
  }
}

function grantInvoke(caller: ServiceFunction, callee: ServiceFunction): void {
  caller.allow(["lambda:InvokeFunction"], [callee.function.functionArn])
}
