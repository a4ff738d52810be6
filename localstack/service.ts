import { mkdirSync } from "node:fs"
import type { IncomingMessage } from "node:http"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import {
  FUNCTION_NAMES,
  type FunctionName,
  OCSP_FUNCTION,
  OCSP_OPEN_ROUTES,
  OCSP_ROUTES,
  ROUTES,
  TIMESTAMP_ROUTE,
} from "../functions/routes.ts"
import { type BundledFunction, bundleFunctions } from "../scripts/bundling.ts"
import { startApiFront } from "./api/front.ts"
import { startOpenFront } from "./api/open-front.ts"
import { createPrincipals, type Principals } from "./api/principals.ts"
import { startCdn } from "./cdn/front.ts"
import { createDynamoDb, type EmbeddedDynamoDb } from "./dynamodb/server.ts"
import { AwsError } from "./http/aws-error.ts"
import { startKms } from "./kms/server.ts"
import type { TrailEvent } from "./kms/trail.ts"
import { createEventBus, type EventBus } from "./lambda/event-bus.ts"
import { createFunctions } from "./lambda/functions.ts"
import { startInvokeApi } from "./lambda/invoke-api.ts"
import { createSchedule } from "./lambda/schedule.ts"
import { createStreamMapping, type StreamMapping } from "./lambda/stream.ts"
import { ACCOUNT, API_ID, functionRole, type Keys, loadKeys, principalsOf, REGION, roleArn } from "./people.ts"
import { createS3 } from "./s3/server.ts"
import { createSigV4Verifier } from "./sigv4.ts"

const TABLE = "sealwright"
const BUCKET = "sealwright-published"
export const STACK = "sealwright"
const TIMESTAMP_POLICY = "1.2.840.113556.1.8000.2554.6102.11502.31703.19761.46538.5871777.6203004"
const SCHEDULE_SEC = 60
const RECONCILE_EVERY_SEC = 300
const LOG_WINDOW_MS = 1_000
const RENEW_EVERY_SEC = 86_400
const TIMEOUT_SEC: Record<FunctionName | typeof OCSP_FUNCTION, number> = {
  sign: 29,
  records: 29,
  revoke: 29,
  admin: 29,
  publish: 60,
  crl: 60,
  timestamp: 29,
  relay: 29,
  batch: 900,
  reconcile: 60,
  sequence: 300,
  ocsp: 29,
}
/** As the stack grants them. */
const KEY_USERS = [
  { name: "sign", purposes: ["root", "issuer", "held", "wrapping"] },
  { name: "batch", purposes: ["root", "issuer", "held", "wrapping"] },
  { name: "admin", purposes: ["root", "issuer", "tuf-root", "tuf-targets"] },
  { name: "crl", purposes: ["root", "issuer", "wrapping"] },
  { name: "publish", purposes: ["tuf-lists", "tuf-registry", "tuf-snapshot", "tuf-timestamp"] },
  { name: "timestamp", purposes: ["timestamp", "wrapping-timestamp"] },
  { name: "sequence", purposes: ["log"] },
  { name: OCSP_FUNCTION, purposes: ["ocsp"] },
].map(({ name, purposes }) => ({ role: roleArn(functionRole(name)), purposes }))
const root = dirname(dirname(fileURLToPath(import.meta.url)))

export interface LocalServiceOptions {
  /** everything that must survive stands below; ":memory:" is not offered, since functions are processes */
  readonly folder: string
  /** 0 takes a free port */
  readonly apiPort: number
  /** 0 takes a free port */
  readonly trustPort: number
  /** where clients that sign no requests ask for timestamps; default: 0, a free port */
  readonly timestampPort?: number
  /** where such clients ask for certificates' status (RFC 6960); 0 takes a free port. Default: no OCSP responder */
  readonly ocspPort?: number | undefined
  readonly log: (line: string) => void
  /** default: each minute, as the stack's */
  readonly schedule?: boolean
  /** how long entries of the logs are gathered before the sequencer wakes; AWS's is ten seconds. Default: 1000 */
  readonly logWindowMs?: number
  /** whether anyone may read the logs, as a stack with `publicLog` shows them. Default: false */
  readonly publicLog?: boolean
  /** the functions, bundled before; those that this service has none of are left alone. Default: bundled now, below `folder` */
  readonly bundles?: readonly Pick<BundledFunction, "name" | "folder">[] | undefined
  /** settings of a function beside those that every deployment has */
  readonly settingsOf?: (functionName: string) => Readonly<Record<string, string>>
  /** another runtime interface client than the stand-in's own, by the path of its program */
  readonly runtimeClient?: string
  /** What becomes of CloudTrail's events on their way: none, one or several deliveries, now or later. Default: one, now */
  readonly trail?: (event: TrailEvent, deliver: (event: TrailEvent) => void) => void
}

/** The whole service on this machine (D12): the bundles that CDK deploys, over stand-ins that speak AWS's protocols, on loopback alone. */
export interface LocalService {
  readonly apiUrl: string
  /** the published bucket as CloudFront shows it; `tuf/` and `crl/` stand below */
  readonly trustUrl: string
  /** timestamps (RFC 3161) without IAM, as a stack with `openTimestamps` gives them */
  readonly timestampUrl: string
  /** status of certificates (RFC 6960) without IAM, as a stack with `ocsp` gives it; undefined without `ocspPort` */
  readonly ocspUrl: string | undefined
  readonly keys: { readonly [name: string]: Keys }
  readonly endpoints: { readonly dynamodb: string; readonly s3: string; readonly kms: string; readonly lambda: string }
  readonly table: string
  readonly bucket: string
  /** until every event of CloudTrail that is on its way has been delivered */
  readonly trailDelivered: () => Promise<void>
  /** delivers an event of CloudTrail that was held up */
  readonly deliverTrail: (event: TrailEvent) => void
  close(): Promise<void>
}

export async function startService(options: LocalServiceOptions): Promise<LocalService> {
  const { folder, log } = options
  const clock = () => new Date()
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const keys = loadKeys(folder)
  const principals = createPrincipals(ACCOUNT, principalsOf(keys))
  const { ocspPort } = options
  const names: readonly string[] = ocspPort === undefined ? FUNCTION_NAMES : [...FUNCTION_NAMES, OCSP_FUNCTION]
  const bundles =
    options.bundles?.filter(({ name }) => names.includes(name)) ??
    (await bundleFunctions({ root, out: join(folder, "functions"), names }))

  let stream: StreamMapping | undefined
  const dynamodb = createDynamoDb({
    path: join(folder, "dynamodb.sqlite"),
    clock,
    authenticate: authenticator(principals, "dynamodb"),
    onPuts: (puts) => stream?.onPuts(puts),
  })
  const s3 = createS3({ path: join(folder, "s3.sqlite"), clock, authenticate: authenticator(principals, "s3") })
  const tableServer = await dynamodb.listen()
  const bucketServer = await s3.listen()
  let bus: EventBus | undefined
  const deliver = (event: TrailEvent) => bus?.put(event)
  const kms = await startKms({
    trail: (event) => (options.trail ?? ((one, pass) => pass(one)))(event, deliver),
    dataDir: join(folder, "kms"),
    region: REGION,
    accountId: ACCOUNT,
    credentials: principals.lookup,
    clock,
  })
  await createTable(dynamodb)
  await createBucket(bucketServer.url, keys)

  const environments = new Map<string, Record<string, string>>()
  const functions = createFunctions({
    region: REGION,
    accountId: ACCOUNT,
    clock,
    log,
    functions: bundles.map(({ name, folder: bundle }) => {
      const environment: Record<string, string> = { ...options.settingsOf?.(name) }
      environments.set(name, environment)
      const timeoutSec = TIMEOUT_SEC[name as keyof typeof TIMEOUT_SEC]
      return { name, folder: bundle, environment, timeoutSec, maxConcurrency: 2, runtimeClient: options.runtimeClient }
    }),
  })
  bus = createEventBus(functions.invoke, "reconcile", (name, failure) => log(`[${name}] ${failure}`))
  const lambda = await startInvokeApi({
    functions,
    region: REGION,
    credentials: principals.lookup,
    clock,
    report: (name, failure) => log(`[${name}] ${failure}`),
  })
  for (const [name, environment] of environments)
    Object.assign(
      environment,
      environmentOf(keys[functionRole(name)] as Keys, {
        dynamodb: tableServer.url,
        s3: bucketServer.url,
        kms: kms.url,
        lambda: lambda.url,
      }),
    )

  const api = await startApiFront({
    routes: ocspPort === undefined ? ROUTES : [...ROUTES, ...OCSP_ROUTES],
    principals,
    invoke: functions.invoke,
    region: REGION,
    accountId: ACCOUNT,
    apiId: API_ID,
    clock,
    port: options.apiPort,
  })
  const open = (routes: Parameters<typeof startOpenFront>[0]["routes"], port: number) =>
    startOpenFront({ routes, invoke: functions.invoke, accountId: ACCOUNT, apiId: API_ID, clock, port })
  const timestamps = await open([TIMESTAMP_ROUTE], options.timestampPort ?? 0)
  const ocsp = ocspPort === undefined ? undefined : await open(OCSP_OPEN_ROUTES, ocspPort)
  const cdn = await startCdn({
    publicPaths: ["tuf/", "crl/", ...(options.publicLog ? ["log/"] : [])],
    port: options.trustPort,
    read: async (key) => s3.read(BUCKET, key),
  })
  const report = (name: string, failure: string) => log(`[${name}] ${failure}`)
  const schedule = createSchedule(functions.invoke, report)
  stream = createStreamMapping({
    functionName: "sequence",
    partitionPrefix: "inbox#",
    windowMs: options.logWindowMs ?? LOG_WINDOW_MS,
    invoke: functions.invoke,
    report,
  })
  if (options.schedule !== false)
    for (const name of ["publish", "batch", "sequence"])
      schedule.every(SCHEDULE_SEC, name, JSON.stringify({ schedule: true }))
  if (options.schedule !== false) schedule.every(RECONCILE_EVERY_SEC, "reconcile", JSON.stringify({ schedule: true }))
  if (ocsp && options.schedule !== false)
    schedule.every(RENEW_EVERY_SEC, "admin", JSON.stringify({ renew: "ocsp-responders" }))

  return {
    apiUrl: api.url,
    trustUrl: cdn.url,
    timestampUrl: `${timestamps.url}/v1/timestamp`,
    ocspUrl: ocsp && `${ocsp.url}/v1/ocsp`,
    keys,
    endpoints: { dynamodb: tableServer.url, s3: bucketServer.url, kms: kms.url, lambda: lambda.url },
    table: TABLE,
    bucket: BUCKET,
    trailDelivered: () => bus.idle(),
    deliverTrail: deliver,
    close: async () => {
      schedule.close()
      bus.close()
      stream?.close()
      await api.close()
      await timestamps.close()
      await ocsp?.close()
      await cdn.close()
      await functions.close()
      await lambda.close()
      await kms.close()
      await dynamodb.close()
      await s3.close()
    },
  }
}

function environmentOf(
  keys: Keys,
  endpoints: { readonly dynamodb: string; readonly s3: string; readonly kms: string; readonly lambda: string },
): Record<string, string> {
  return {
    AWS_REGION: REGION,
    AWS_ACCESS_KEY_ID: keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
    AWS_ENDPOINT_URL_DYNAMODB: endpoints.dynamodb,
    AWS_ENDPOINT_URL_S3: endpoints.s3,
    AWS_ENDPOINT_URL_KMS: endpoints.kms,
    AWS_ENDPOINT_URL_LAMBDA: endpoints.lambda,
    SEALWRIGHT_TABLE: TABLE,
    SEALWRIGHT_BUCKET: BUCKET,
    SEALWRIGHT_STACK: STACK,
    SEALWRIGHT_PUBLISH_FUNCTION: "publish",
    SEALWRIGHT_CRL_FUNCTION: "crl",
    SEALWRIGHT_TIMESTAMP_FUNCTION: "timestamp",
    SEALWRIGHT_TIMESTAMP_POLICY: TIMESTAMP_POLICY,
    SEALWRIGHT_RELAY_FUNCTION: "relay",
    SEALWRIGHT_BATCH_FUNCTION: "batch",
    SEALWRIGHT_BATCH_RATE: "500",
    SEALWRIGHT_SETTLE_AFTER_SEC: "1800",
    SEALWRIGHT_KEY_USERS: JSON.stringify(KEY_USERS),
    SEALWRIGHT_WRAPPING: "issuer,timestamp",
    SEALWRIGHT_KEY_POLICY: JSON.stringify({
      Version: "2012-10-17",
      Statement: [
        { Effect: "Allow", Principal: { AWS: `arn:aws:iam::${ACCOUNT}:root` }, Action: "kms:*", Resource: "*" },
      ],
    }),
  }
}

async function createTable(dynamodb: EmbeddedDynamoDb): Promise<void> {
  const text = (name: string) => ({ AttributeName: name, AttributeType: "S" })
  const key = (partition: string, sort: string) => [
    { AttributeName: partition, KeyType: "HASH" },
    { AttributeName: sort, KeyType: "RANGE" },
  ]
  try {
    await dynamodb.call("CreateTable", {
      TableName: TABLE,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: ["pk", "sk", "byProfile", "byProfileAt"].map(text),
      KeySchema: key("pk", "sk"),
      GlobalSecondaryIndexes: [
        { IndexName: "byProfile", KeySchema: key("byProfile", "byProfileAt"), Projection: { ProjectionType: "ALL" } },
      ],
    })
  } catch (error) {
    if (!(error instanceof AwsError) || error.code !== "ResourceInUseException") throw error
  }
}

async function createBucket(endpoint: string, keys: { readonly [name: string]: Keys }): Promise<void> {
  const { CreateBucketCommand, PutBucketVersioningCommand, S3Client } = await import("@aws-sdk/client-s3")
  const client = new S3Client({
    endpoint,
    region: REGION,
    credentials: keys[functionRole("publish")] as Keys,
    forcePathStyle: true,
  })
  try {
    await client.send(new CreateBucketCommand({ Bucket: BUCKET }))
  } catch (error) {
    const { name } = error as Error
    if (name !== "BucketAlreadyOwnedByYou" && name !== "BucketAlreadyExists") throw error
  }
  await client.send(new PutBucketVersioningCommand({ Bucket: BUCKET, VersioningConfiguration: { Status: "Enabled" } }))
  client.destroy()
}

/** Lets in who signs with a key of this service. */
function authenticator(
  principals: Principals,
  service: "dynamodb" | "s3",
): (message: IncomingMessage, body: Uint8Array) => void {
  const verifier = createSigV4Verifier({
    credentials: principals.lookup,
    region: REGION,
    service,
    clock: () => new Date(),
  })
  return (message, body) => {
    const [rawPath = "/", rawQuery = ""] = (message.url ?? "/").split(/\?(.*)/s, 2)
    const headers = Object.fromEntries(
      Object.entries(message.headers).map(([name, value]) => [
        name,
        Array.isArray(value) ? value.join(",") : (value ?? ""),
      ]),
    )
    const request = { method: message.method ?? "GET", rawPath, rawQuery, headers, body, sourceIp: "127.0.0.1" }
    const outcome = verifier.authenticate(request, rawPath, body)
    if (!outcome.ok)
      throw new AwsError(
        service === "s3" ? "SignatureDoesNotMatch" : "InvalidSignatureException",
        outcome.refusal,
        service === "s3" ? 403 : 400,
      )
  }
}
