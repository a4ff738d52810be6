import middy from "@middy/core"
import { openDynamoTable } from "@sealwright/adapters/dynamodb"
import { clock, digest, randomBytes } from "@sealwright/adapters/platform"
import { openS3Objects } from "@sealwright/adapters/s3"
import { ServiceError } from "@sealwright/core/errors"
import { jobResults, readJob } from "@sealwright/core/jobs/read"
import type { Job } from "@sealwright/core/jobs/rules"
import { auditOfDay } from "@sealwright/core/ledger/audit"
import { foreignSignaturesOf } from "@sealwright/core/ledger/foreign"
import { jobsOfProfile } from "@sealwright/core/ledger/jobs"
import { findLogged } from "@sealwright/core/ledger/log"
import { listOcspResponders } from "@sealwright/core/ledger/ocsp-responders"
import { listOutsideAuthorities } from "@sealwright/core/ledger/outside-authorities"
import { readHead } from "@sealwright/core/ledger/publication"
import { findRecord, recordsOfProfile, signaturesOfArtifact } from "@sealwright/core/ledger/records"
import { findRevocation, listRevocations } from "@sealwright/core/ledger/revocations"
import { listTimestampAuthorities } from "@sealwright/core/ledger/timestamp-authorities"
import {
  findIssuer,
  findPendingIssuer,
  listIssuers,
  listPendingIssuers,
  listProfiles,
  readDeployment,
  readIssuer,
  readProfile,
} from "@sealwright/core/ledger/trust"
import { tufDocuments } from "@sealwright/core/ledger/tuf-documents"
import { logPath } from "@sealwright/core/log/origin"
import { readProofs } from "@sealwright/core/log/proof"
import { readLogsStatus } from "@sealwright/core/log/status"
import type { Issuer, PendingIssuer, SignatureRecord } from "@sealwright/core/model"
import { ULID } from "@sealwright/core/names"
import { readStatus } from "@sealwright/core/publish/status"
import { readReconciliation } from "@sealwright/core/reconcile/acknowledge"
import { recordForeign } from "@sealwright/core/records/foreign"
import { readTuf } from "@sealwright/core/tuf/status"
import { base64Encode } from "@sealwright/formats/bytes"
import { parseDigest } from "@sealwright/formats/oci"
import { MAX_NOTE_BYTES } from "@sealwright/formats/signed-note"
import { formatTime } from "@sealwright/formats/time"
import { MAX_TILE_BYTES, parseLogPath } from "@sealwright/formats/tlog-tiles"
import { runSync } from "@sealwright/verifier/node-crypto"
import { type ApiEvent, bodyOf, callerOf, pathParameter } from "../http/event.ts"
import { proofView } from "../http/log-view.ts"
import { problemResponses } from "../http/problem-responses.ts"
import { reconciliationView } from "../http/reconciliation-views.ts"
import { type Reply, reply } from "../http/reply.ts"
import { bytesOf, check, dateOf, foreignSignatureSchema } from "../http/schemas.ts"
import { readSettings } from "../http/settings.ts"
import {
  auditView,
  deploymentView,
  foreignSignatureView,
  issuerView,
  jobView,
  logsView,
  ocspResponderView,
  outsideAuthorityView,
  profileView,
  revocationView,
  signatureView,
  statusView,
  timestampAuthorityView,
  tufView,
} from "../http/views.ts"

const settings = readSettings(process.env, "table", "bucket")
const table = openDynamoTable(settings.table)
const objects = openS3Objects(settings.bucket)
const ports = { table, clock, random: randomBytes, digest, run: runSync }

const DEFAULT_LIMIT = 50
const MAX_LIMIT = 200
/** Whole records of two envelopes each, up to 48 KB, in base64: within the 6 MB that a function may answer. */
const MAX_RECORDS = 80
const MAX_TREE_BYTES = 4 * 1024 * 1024

/** Entries in base64 within the 6 MB that a function may answer; a full bundle of ours has well below 1 MiB. */
const MAX_LOG_ENTRIES_BYTES = 4 * 1024 * 1024

type Route = (event: ApiEvent) => Promise<Reply>

const routes: { readonly [routeKey: string]: Route } = {
  "GET /v1/profiles/{profile}/signatures/{id}": async (event) => {
    const record = await readRecord(pathParameter(event, "id"))
    if (record.profile !== pathParameter(event, "profile")) throw unknownSignature(record.id)
    return reply(200, { signature: await viewOf(record) })
  },
  "GET /v1/profiles/{profile}/signatures/{id}/proof": async (event) => {
    const record = await readRecord(pathParameter(event, "id"))
    if (record.profile !== pathParameter(event, "profile")) throw unknownSignature(record.id)
    return await proofReply(record)
  },
  "GET /v1/signatures/{id}/proof": async (event) => proofReply(await readRecord(pathParameter(event, "id"))),
  "GET /v1/log": async () => {
    return reply(200, logsView(await readLogsStatus(table, digest, await readDeployment(table))))
  },
  "GET /v1/log/{log}/{path+}": async (event) => {
    const [kind, path] = [pathParameter(event, "log"), pathParameter(event, "path")]
    const maxBytes = logFileLimit(path)
    if ((kind !== "signatures" && kind !== "events") || maxBytes === undefined)
      throw new ServiceError("REQUEST_MALFORMED", "no file that a log has")
    const file = await objects.get(logPath(kind, path), maxBytes)
    if (file === undefined) throw new ServiceError("NOT_PUBLISHED", `the log has no ${path}`)
    return reply(200, { file: { path, content: base64Encode(file.bytes) } })
  },
  "GET /v1/profiles/{profile}/signatures": async (event) => {
    const after = query(event, "after")
    if (after !== undefined && !ULID.test(after)) throw malformed("after")
    const { records, next } = await recordsOfProfile(table, pathParameter(event, "profile"), {
      ...dateRange(event),
      ...(after !== undefined && { after }),
      limit: limitOf(event),
      descending: query(event, "order") === "newest",
    })
    return reply(200, { signatures: await Promise.all(records.map(viewOf)), ...(next !== undefined && { next }) })
  },
  "POST /v1/profiles/{profile}/foreign-signatures": async (event) => {
    const { envelope, reference } = check(foreignSignatureSchema, bodyOf(event))
    const { signature, recorded } = await recordForeign(ports, {
      ...callerOf(event),
      profile: pathParameter(event, "profile"),
      envelope: bytesOf(envelope),
      reference,
    })
    return reply(recorded ? 201 : 200, { signature: foreignSignatureView(signature), recorded })
  },
  "GET /v1/profiles/{profile}/foreign-signatures": async (event) => {
    const after = query(event, "after")
    if (after !== undefined && !/^fs-[0-9a-f]{32}$/.test(after)) throw malformed("after")
    const { signatures, next } = await foreignSignaturesOf(table, pathParameter(event, "profile"), {
      ...(after !== undefined && { after }),
      limit: limitOf(event),
    })
    return reply(200, { signatures: signatures.map(foreignSignatureView), ...(next !== undefined && { next }) })
  },
  "GET /v1/profiles/{profile}/jobs": async (event) => {
    const after = query(event, "after")
    if (after !== undefined && !ULID.test(after)) throw malformed("after")
    const { jobs, next } = await jobsOfProfile(table, pathParameter(event, "profile"), {
      ...(after !== undefined && { after }),
      limit: limitOf(event),
      descending: query(event, "order") === "newest",
    })
    return reply(200, { jobs: jobs.map((job) => jobView(job, clock())), ...(next !== undefined && { next }) })
  },
  "GET /v1/profiles/{profile}/jobs/{id}": async (event) => reply(200, { job: jobView(await jobNamed(event), clock()) }),
  "GET /v1/profiles/{profile}/jobs/{id}/results": async (event) => {
    const after = query(event, "after") ?? "0"
    if (!/^\d{1,5}$/.test(after)) throw malformed("after")
    const { results, next } = await jobResults(table, await jobNamed(event), Number(after), limitOf(event))
    return reply(200, { results, ...(next !== undefined && { next: String(next) }) })
  },
  "GET /v1/signatures/{id}": async (event) =>
    reply(200, { signature: await viewOf(await readRecord(pathParameter(event, "id"))) }),
  "GET /v1/signatures": async (event) => {
    const digest = query(event, "digest")
    if (digest === undefined) throw malformed("digest")
    parseDigest(digest)
    const after = query(event, "after") ?? ""
    if (after !== "" && !ULID.test(after)) throw malformed("after")
    const ids = (await signaturesOfArtifact(table, digest)).filter((id) => id > after)
    const records = await Promise.all(ids.slice(0, MAX_RECORDS).map(readRecord))
    const next = ids.length > records.length ? records.at(-1)?.id : undefined
    return reply(200, { signatures: await Promise.all(records.map(viewOf)), ...(next !== undefined && { next }) })
  },
  "GET /v1/audit": async (event) => {
    const day = query(event, "day") ?? clock().toISOString().slice(0, 10)
    if (!/^\d{4}-\d\d-\d\d$/.test(day)) throw malformed("day")
    const after = query(event, "after")
    const { entries, next } = await auditOfDay(table, day, {
      limit: limitOf(event),
      ...(after !== undefined && { after }),
    })
    return reply(200, { entries: entries.map(auditView), ...(next !== undefined && { next }) })
  },
  "GET /v1/revocations": async () => reply(200, { revocations: (await listRevocations(table)).map(revocationView) }),
  "GET /v1/revocations/{id}": async (event) => {
    const id = pathParameter(event, "id")
    const revocation = await findRevocation(table, id)
    if (revocation === undefined) throw new ServiceError("REVOCATION_UNKNOWN", `no revocation ${id}`)
    return reply(200, { revocation: revocationView(revocation) })
  },
  "GET /v1/deployment": async () => {
    const deployment = await readDeployment(table)
    const roots = await tufDocuments(table, "root")
    return reply(200, { deployment: deploymentView(deployment, roots) })
  },
  "GET /v1/tuf": async () => reply(200, { tuf: tufView(await readTuf(ports)) }),
  "GET /v1/issuers": async () =>
    reply(200, { issuers: [...(await listIssuers(table)), ...(await listPendingIssuers(table))].map(issuerView) }),
  "GET /v1/issuers/{issuer}": async (event) =>
    reply(200, { issuer: issuerView(await issuerNamed(pathParameter(event, "issuer"))) }),
  "GET /v1/profiles": async () => reply(200, { profiles: (await listProfiles(table)).map(profileView) }),
  "GET /v1/profiles/{profile}": async (event) =>
    reply(200, { profile: profileView(await readProfile(table, pathParameter(event, "profile"))) }),
  "GET /v1/outside-authorities": async () =>
    reply(200, { outsideAuthorities: (await listOutsideAuthorities(table)).map(outsideAuthorityView) }),
  "GET /v1/timestamp-authority": async () => {
    const newest = (await listTimestampAuthorities(table)).findLast(({ state }) => state === "active")
    if (newest === undefined) throw new ServiceError("TIMESTAMP_AUTHORITY_MISSING", "no timestamp authority is active")
    return reply(200, { timestampAuthority: timestampAuthorityView(newest) })
  },
  "GET /v1/ocsp-responders": async () =>
    reply(200, { ocspResponders: (await listOcspResponders(table)).map(ocspResponderView) }),
  "GET /v1/publication": async () => {
    const head = await readHead(table)
    if (head === undefined) throw new ServiceError("PRECONDITION_REQUIRED", "nothing is set up yet")
    const { open, committed, published, changes, committedAt } = head
    return reply(200, {
      open,
      committed,
      published,
      changes,
      ...(committedAt && { committedAt: formatTime(committedAt) }),
    })
  },
  "GET /v1/reconciliation": async () => reply(200, reconciliationView(await readReconciliation(table))),
  "GET /v1/status": async () => {
    const status = await readStatus(table, clock())
    if (status === undefined) throw new ServiceError("PRECONDITION_REQUIRED", "nothing is set up yet")
    return reply(200, statusView(status))
  },
  "GET /v1/trees/notation": async () => {
    const tree = await objects.get("trees/notation.json", MAX_TREE_BYTES)
    if (tree === undefined) throw new ServiceError("NOT_PUBLISHED", "no notation tree is published yet")
    return {
      statusCode: 200,
      headers: { "content-type": "application/json", "cache-control": "no-store" },
      body: new TextDecoder().decode(tree.bytes),
    }
  },
}

export const handler = middy<ApiEvent, Reply>()
  .use(problemResponses(ports))
  .handler(async (event) => {
    callerOf(event)
    const route = routes[event.routeKey]
    if (route === undefined) throw new ServiceError("REQUEST_MALFORMED", `no route ${event.routeKey}`)
    return await route(event)
  })

async function viewOf(record: SignatureRecord) {
  return signatureView(record, await findLogged(table, record.id))
}

async function proofReply(record: SignatureRecord): Promise<Reply> {
  return reply(200, { signature: record.id, proofs: (await readProofs(table, record)).map(proofView) })
}

/** @returns undefined for a path that no log has */
function logFileLimit(path: string): number | undefined {
  const file = parseLogPath(path)
  if (file === undefined) return undefined
  if (file.kind === "checkpoint") return MAX_NOTE_BYTES
  return file.kind === "tile" ? MAX_TILE_BYTES : MAX_LOG_ENTRIES_BYTES
}

async function issuerNamed(name: string): Promise<Issuer | PendingIssuer> {
  return (await findIssuer(table, name)) ?? (await findPendingIssuer(table, name)) ?? (await readIssuer(table, name))
}

async function jobNamed(event: ApiEvent): Promise<Job> {
  const id = pathParameter(event, "id")
  if (!ULID.test(id)) throw new ServiceError("JOB_UNKNOWN", "that is no job's id")
  return await readJob(table, pathParameter(event, "profile"), id)
}

async function readRecord(id: string): Promise<SignatureRecord> {
  const record = ULID.test(id) ? await findRecord(table, id) : undefined
  if (record === undefined) throw unknownSignature(id)
  return record
}

function unknownSignature(id: string): ServiceError {
  return new ServiceError("SIGNATURE_UNKNOWN", `no signature ${id.slice(0, 40)}`)
}

function query(event: ApiEvent, name: string): string | undefined {
  const value = event.queryStringParameters?.[name]
  if (value !== undefined && value.length > 200) throw malformed(name)
  return value
}

function dateRange(event: ApiEvent): { readonly from?: Date; readonly to?: Date } {
  const from = query(event, "from")
  const to = query(event, "to")
  return { ...(from !== undefined && { from: dateOf(from) }), ...(to !== undefined && { to: dateOf(to) }) }
}

function limitOf(event: ApiEvent): number {
  const text = query(event, "limit") ?? String(DEFAULT_LIMIT)
  const limit = Number(text)
  if (!/^\d{1,3}$/.test(text) || limit < 1 || limit > MAX_LIMIT) throw malformed("limit")
  return limit
}

function malformed(name: string): ServiceError {
  return new ServiceError("REQUEST_MALFORMED", `the query parameter ${name} is missing or malformed`)
}
