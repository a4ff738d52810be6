import { hexEncode, utf8 } from "@sealwright/formats/bytes"
import { MAX_REVOCATION_LIST_BYTES, parseRevocationList } from "@sealwright/formats/revocation-list"
import { anyObject, openObject, string } from "@sealwright/formats/shape"
import { parseJson } from "@sealwright/formats/strict-json"
import { decodeMetadata } from "@sealwright/formats/tuf"
import { bitOf, copyEvents, type EventState, replay, saysOfItem } from "./events.ts"
import { checkAge } from "./records.ts"
import type { AuditPorts, AuditReport } from "./state.ts"
import { sha256 } from "./tree.ts"
import { orUndefined } from "./walk.ts"

const MAX_METADATA_BYTES = 1024 * 1024
const NAMED_EPOCHS = 100
/** Of an epoch as a sort key (docs/stores.md). */
const EPOCH_DIGITS = 15

/** What stood before the log of events was read, so that whatever of it changes is in the log or waits. */
export interface Before {
  /** leaves that wait */
  readonly inbox: readonly Uint8Array[]
  /** newest epoch whose heads are all shown; 0: none */
  readonly published: number
  readonly timestamp: Uint8Array | undefined
}

export async function readBefore(ports: AuditPorts, report: AuditReport): Promise<Before> {
  const published = await publishedEpoch(ports)
  const timestamp = await ports.read("tuf/timestamp.json", MAX_METADATA_BYTES)
  return { published, timestamp, inbox: await readInbox(ports, report) }
}

async function publishedEpoch(ports: AuditPorts): Promise<number> {
  const [head] = await ports.get([{ pk: "publication", sk: "head" }])
  return typeof head?.published === "number" ? head.published : 0
}

export async function readInbox(ports: AuditPorts, report: AuditReport): Promise<Uint8Array[]> {
  return (await ports.query("inbox#events")).flatMap(({ sk, leaves }) => {
    checkAge(ports.now, sk, report)
    return Array.isArray(leaves) ? leaves.filter((leaf) => leaf instanceof Uint8Array) : []
  })
}

/** Events that wait count as if they were logged. An event may have left the inbox for the log meanwhile, so it may come twice. */
export function withWaiting(state: EventState, inbox: readonly Uint8Array[], report: AuditReport): EventState {
  const all = copyEvents(state)
  for (const leaf of inbox)
    replay(all, leaf, "inbox of events", (code, subject, detail) => {
      if (code !== "AUDIT_PUBLICATION_REPEATED") report(code, subject, detail)
    })
  return all
}

export interface RevocationsRequest {
  /** what the events come to, those that wait among them */
  readonly logged: EventState
  /** what the items said as the table was read, by id */
  readonly table: ReadonlyMap<string, string>
  /** the same as `logged`, of every event that took effect before it is called; undefined when the log is not sound */
  readonly follow: () => Promise<EventState | undefined>
  readonly report: AuditReport
}

/** How often a revocation may change in the moment in which it is compared. */
const MAX_CHANGES = 16

/**
 * Compares the revocations that the log's events come to with those of the table, both ways. What differs may have changed since: it is read again, then the
 * events that led there, then it once more; a difference counts when the item stood still meanwhile.
 */
export async function compareRevocations(ports: AuditPorts, request: RevocationsRequest): Promise<void> {
  const { logged, table, follow, report } = request
  const ids = new Set([...table.keys(), ...logged.revocations.keys()])
  let doubtful = [...ids].filter((id) => table.get(id) !== logged.revocations.get(id)?.says)
  for (let changes = 0; doubtful.length > 0; changes++) {
    const items = await readRevocations(ports, doubtful)
    const events = (await follow())?.revocations
    if (events === undefined) return
    const differing = doubtful.filter((id) => items.get(id) !== events.get(id)?.says)
    const now = await readRevocations(ports, differing)
    doubtful = []
    for (const id of differing)
      if (items.get(id) !== now.get(id) && changes < MAX_CHANGES) doubtful.push(id)
      else reportRevocation(id, now.get(id), events.get(id)?.says, report)
  }
}

async function readRevocations(ports: AuditPorts, ids: readonly string[]): Promise<Map<string, string>> {
  if (ids.length === 0) return new Map()
  const items = await ports.get(ids.map((id) => ({ pk: "revocations", sk: id })))
  return new Map(items.map((item) => [item.sk, saysOfItem(item)]))
}

function reportRevocation(id: string, item: string | undefined, event: string | undefined, report: AuditReport): void {
  if (event === undefined) report("AUDIT_REVOCATION_WITHOUT_EVENT", id, `the table says: ${item}`)
  else if (item === undefined) report("AUDIT_REVOCATION_MISSING", id, `the log says: ${event}`)
  else report("AUDIT_REVOCATION_DIFFERS", id, `the table says: ${item}; the log says: ${event}`)
}

/** Every published epoch was logged, once, and the newest is what its event says. */
export async function comparePublications(
  ports: AuditPorts,
  replayed: EventState,
  before: Before,
  report: AuditReport,
): Promise<void> {
  const { publications } = withWaiting(replayed, before.inbox, () => undefined)
  const { published } = before
  let missing = 0
  for (let epoch = 1; epoch <= published; epoch++)
    if (!bitOf(publications.seen, epoch) && !(await wasLeftOut(ports, epoch)) && ++missing <= NAMED_EPOCHS)
      report("AUDIT_PUBLICATION_UNLOGGED", `epoch ${epoch}`, "no event of the log says so")
  if (missing > NAMED_EPOCHS) report("AUDIT_PUBLICATION_UNLOGGED", "epochs", `${missing} epochs in all`)
  const newest = await publishedEpoch(ports)
  for (const epoch of publications.newest.keys())
    if (epoch > newest) report("AUDIT_PUBLICATION_REPEATED", `epoch ${epoch}`, `the newest is epoch ${newest}`)
  const says = publications.newest.get(published)
  if (says !== undefined) await checkNewest(ports, published, says, before.timestamp, report)
}

/** Whether an epoch was lost before it was shown, so that the next one was published instead (docs/recovery.md). */
async function wasLeftOut(ports: AuditPorts, epoch: number): Promise<boolean> {
  const [item] = await ports.get([{ pk: "epochs", sk: String(epoch).padStart(EPOCH_DIGITS, "0") }])
  return item?.skipped === true
}

const saysShape = openObject({
  list: string(64, /^[0-9a-f]{64}$/),
  revocations: string(64, /^[0-9a-f]{64}$/),
  allow: string(64, /^(?:[0-9a-f]{64})?$/),
  timestamp: anyObject,
})

/** Digests of the newest publication's event against the bucket. */
async function checkNewest(
  ports: AuditPorts,
  epoch: number,
  says: string,
  timestamp: Uint8Array | undefined,
  report: AuditReport,
): Promise<void> {
  const differs = (detail: string) => report("AUDIT_PUBLICATION_DIFFERS", `epoch ${epoch}`, detail)
  const event = orUndefined(() => saysShape(parseJson(utf8(says), { maxBytes: 8_192 }), "event"))
  if (event === undefined) return differs("its event names no digests")
  const shown = timestamp && orUndefined(() => decodeMetadata(timestamp, "timestamp", timestamp.length).signed.version)
  if (timestamp === undefined || shown === undefined || shown < epoch)
    differs(`tuf/timestamp.json is ${shown === undefined ? "missing or malformed" : `of version ${shown}`}`)
  else if (shown === epoch && hexEncode(sha256(timestamp)) !== event.timestamp.sha256)
    differs("tuf/timestamp.json has another digest")
  const role = await ports.read(`tuf/${epoch}.lists.json`, MAX_METADATA_BYTES)
  const targets = role && orUndefined(() => decodeMetadata(role, "targets", role.length).signed.targets)
  for (const [name, digest] of [
    ["revocations", event.revocations],
    ["allow", event.allow],
  ] as const)
    if ((targets?.get(`lists/${name}.json`)?.hashes.get("sha256") ?? "") !== digest)
      differs(`tuf/${epoch}.lists.json names another ${name}.json`)
  const path = `tuf/targets/lists/${event.revocations}.revocations.json`
  const list = await ports.read(path, MAX_REVOCATION_LIST_BYTES)
  if (list === undefined || hexEncode(sha256(list)) !== event.revocations)
    return differs(`${path} is missing, or has other bytes`)
  const signed = orUndefined(() => parseRevocationList(list).signedBytes)
  if (signed === undefined || hexEncode(sha256(signed)) !== event.list)
    differs("the list's signed part has another digest")
}
