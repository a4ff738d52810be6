import { bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import type { Checkpoint } from "@sealwright/formats/checkpoint"
import { MAX_NOTE_BYTES } from "@sealwright/formats/signed-note"
import { checkCheckpoint, type TrustedLogs } from "@sealwright/verifier/log-check"
import { comparePublications, compareRevocations, readBefore, readInbox, withWaiting } from "./compare.ts"
import { copyEvents, type EventState, newEvents, replay } from "./events.ts"
import { encodeProgress, newProgress, newScan, type Progress, type Settled } from "./progress.ts"
import { scanTable, settleRecords } from "./records.ts"
import {
  type AuditCode,
  type AuditedLog,
  type AuditFinding,
  type AuditPorts,
  type AuditReport,
  MAX_FINDINGS,
} from "./state.ts"
import { type AuditedTree, newTree, rootOf, sha256, sizeOf } from "./tree.ts"
import { walkLog } from "./walk.ts"

export interface AuditRequest {
  /** keys of the logs, as somebody else than the audited says them */
  readonly trusted: TrustedLogs
  /** of an earlier audit, whether it ended or not */
  readonly progress: Progress | undefined
  /** reads every entry again, and not only those that the last audit did not see; an audit that was cut goes on as it began */
  readonly full: boolean
  /** how often a long walk saves how far it is, in bundles of 256 leaves; default 256 */
  readonly bundlesPerSave?: number
}

export interface AuditResult {
  /** at most 1,000 */
  readonly findings: readonly AuditFinding[]
  readonly findingCount: number
  readonly logs: {
    readonly [log in AuditedLog]: { readonly origin: string; readonly size: string; readonly root: string }
  }
  /** leaves that the last audit had seen */
  readonly known: { readonly [log in AuditedLog]: string }
  readonly resumed: boolean
  readonly records: number
  readonly envelopes: number
  readonly waiting: number
  readonly later: number
  readonly revocations: number
  /** events by kind, since the log's first leaf */
  readonly events: { readonly [kind: string]: number }
}

/** How the names of the logs begin (docs/formats/log.md): one can't be shown as the other. */
const ORIGINS: { readonly [log in AuditedLog]: string } = { signatures: "sig.", events: "events." }

/**
 * Audits both logs against the table and what is published, while both go on. Order: the log of signatures up to its checkpoint; then the table, so that every
 * leaf's record is met; then what waits, the places of what no longer does, and only then the checkpoint that must reach them; then what is in force, what waits
 * of the events, and only then their checkpoint, so that no event falls between.
 * @param deliver is given the result before the audit counts as ended: one that is killed in between ends again, and finds the same
 */
export async function audit(
  ports: AuditPorts,
  request: AuditRequest,
  deliver: (result: AuditResult) => void,
): Promise<AuditResult> {
  const resumed = request.progress !== undefined && request.progress.stage !== "done"
  const progress = request.progress ?? newProgress({ signatures: "", events: "" })
  const run = {
    ports,
    progress,
    trusted: request.trusted,
    bundlesPerSave: request.bundlesPerSave ?? BUNDLES_PER_SAVE,
    report: reporter(progress),
    save: () => save(ports, progress),
  }
  const known = { signatures: `${sizeOf(progress.known.signatures)}`, events: `${sizeOf(progress.known.events)}` }
  if (!resumed) await begin(run, request.full)
  else ports.note(`sealwright: going on with the ${progress.stage} of an audit that was cut`)
  if (progress.stage === "signatures") await walkSignatures(run)
  const tree = progress.checkpoint && progress.signatures.tree
  const settled = progress.stage === "table" ? await compareTable(run, tree) : (progress.settled ?? NONE_SETTLED)
  await compareEvents(run)
  const result = { ...resultOf(run, settled), known, resumed }
  deliver(result)
  end(run)
  return result
}

const BUNDLES_PER_SAVE = 256
const NONE_SETTLED: Settled = { waiting: 0, later: 0 }

interface Run {
  readonly ports: AuditPorts
  readonly progress: Progress
  readonly trusted: TrustedLogs
  readonly bundlesPerSave: number
  readonly report: AuditReport
  readonly save: () => void
}

function save(ports: AuditPorts, progress: Progress): void {
  ports.save(encodeProgress(progress))
}

/** Tells each finding once. */
function reporter(progress: Progress): AuditReport {
  const nameOf = (...parts: readonly string[]) => parts.join("\n")
  const told = new Set(progress.findings.map(({ code, subject, detail }) => nameOf(code, subject, detail)))
  return (code: AuditCode, subject: string, detail: string) => {
    if (told.has(nameOf(code, subject, detail))) return
    progress.findingCount += 1
    if (progress.findings.length >= MAX_FINDINGS) return
    told.add(nameOf(code, subject, detail))
    progress.findings.push({ code, subject, detail })
  }
}

async function begin(run: Run, full: boolean): Promise<void> {
  const { progress } = run
  const { known } = progress
  progress.full = full
  progress.checkpoint = (await readCheckpoint(run, "signatures"))?.bytes
  progress.signatures.tree = newTree(full ? [] : known.signatures.tileRoots)
  progress.events.tree = newTree(full ? [] : known.events.tileRoots)
  progress.replayed = full ? newEvents() : copyEvents(known.replayed)
  progress.stage = "signatures"
}

interface Opened {
  readonly head: Pick<Checkpoint, "size" | "root">
  /** empty for a log that has no leaf yet */
  readonly bytes: Uint8Array
}

async function readCheckpoint(run: Run, log: AuditedLog): Promise<Opened | undefined> {
  const { ports, progress, report } = run
  // The head is decided before the checkpoint is shown, and stands as published only after it: what it says before the checkpoint is read holds then.
  const [head] = await ports.get([{ pk: "log", sk: log }])
  const bytes = await ports.read(`log/${log}/checkpoint`, MAX_NOTE_BYTES)
  if (bytes !== undefined) return openCheckpoint(run, log, bytes)
  const first = head === undefined || head.epoch === 0 || (head.epoch === 1 && head.state === "committed")
  if (first && sizeOf(progress.known[log]) === 0n && sizeOf(progress[log].tree) === 0n)
    return openCheckpoint(run, log, new Uint8Array(0))
  report("AUDIT_CHECKPOINT_UNVERIFIED", `log ${log}`, "there is none")
  return undefined
}

function openCheckpoint({ ports, progress, trusted, report }: Run, log: AuditedLog, bytes: Uint8Array) {
  if (bytes.length === 0) return { head: { size: 0n, root: sha256(bytes) }, bytes }
  const subject = `log ${log}`
  const origins = trusted.policy.logs.map(({ key }) => key.name).filter((name) => name.startsWith(ORIGINS[log]))
  const result = ports.run(checkCheckpoint(bytes, trusted, origins, ports.now))
  if (!result.ok) {
    report("AUDIT_CHECKPOINT_UNVERIFIED", subject, `${result.code} ${result.detail}`)
    return undefined
  }
  const { origin } = result.head
  const before = progress[log].origin
  if (before !== "" && before !== origin) {
    report("AUDIT_REWRITTEN", subject, `it is named ${origin}, and was ${before}`)
    return undefined
  }
  progress[log] = { ...progress[log], origin }
  return { head: result.head, bytes }
}

async function walkSignatures(run: Run): Promise<void> {
  const { progress } = run
  const opened = progress.checkpoint && openCheckpoint(run, "signatures", progress.checkpoint)
  const tree = opened && (await walk(run, "signatures", opened.head, progress.known.signatures, () => undefined))
  if (tree === undefined) progress.checkpoint = undefined
  progress.scan = { ...newScan(), claimed: new Uint8Array(Math.ceil(Number(tree ? sizeOf(tree) : 0n) / 8)) }
  progress.stage = "table"
  run.save()
}

async function walk(
  run: Run,
  kind: AuditedLog,
  head: Opened["head"],
  known: AuditedTree,
  onLeaf: (index: number, leaf: Uint8Array) => void,
) {
  const { ports, progress, report, save, bundlesPerSave } = run
  const from = progress.full && known === progress.known[kind] ? 0 : Number(sizeOf(known))
  const walked = progress[kind]
  return await walkLog(ports, { kind, head, known, walked, report, from, onLeaf, save, bundlesPerSave })
}

async function compareTable(run: Run, tree: AuditedTree | undefined): Promise<Settled> {
  const { ports, progress, report } = run
  await scanTable(ports, tree, progress.scan, report, run.save)
  progress.settled = await settleRecords(ports, tree, progress.scan, () => newestSize(run, tree), report)
  progress.scan.unplaced = []
  progress.stage = "events"
  run.save()
  return progress.settled
}

/** Size of the log of signatures now; it must not have lost what was walked. @returns undefined for a checkpoint that does not verify, which is a finding */
async function newestSize(run: Run, tree: AuditedTree | undefined): Promise<bigint | undefined> {
  const head = (await readCheckpoint(run, "signatures"))?.head
  if (head === undefined || tree === undefined) return head?.size
  const [subject, size] = ["log signatures", sizeOf(tree)]
  if (head.size < size) run.report("AUDIT_ROLLED_BACK", subject, `${head.size} leaves, and ${size} before`)
  if (head.size === size && !bytesEqual(head.root, rootOf(tree)))
    run.report("AUDIT_REWRITTEN", subject, `another root at ${size} leaves`)
  return head.size
}

async function compareEvents(run: Run): Promise<void> {
  const { ports, progress, report } = run
  const before = await readBefore(ports, report)
  if (!(await walkEvents(run, progress.known.events))) return
  const logged = withWaiting(progress.replayed, before.inbox, report)
  const follow = () => followEvents(run)
  await compareRevocations(ports, { logged, table: progress.scan.revocations, follow, report })
  await comparePublications(ports, progress.replayed, before, report)
}

/** @returns false when the log is not sound, which is a finding */
async function walkEvents(run: Run, known: AuditedTree): Promise<boolean> {
  const { progress, report } = run
  const opened = await readCheckpoint(run, "events")
  const onLeaf = (index: number, leaf: Uint8Array) => replay(progress.replayed, leaf, `event ${index}`, report)
  return opened !== undefined && (await walk(run, "events", opened.head, known, onLeaf)) !== undefined
}

/** Takes in what was logged since, as every event that took effect before now. */
async function followEvents(run: Run): Promise<EventState | undefined> {
  const { ports, progress, report } = run
  const inbox = await readInbox(ports, report)
  const { tree } = progress.events
  progress.events = { ...progress.events, tree: newTree(tree.tileRoots), suspects: [] }
  return (await walkEvents(run, tree)) ? withWaiting(progress.replayed, inbox, report) : undefined
}

function resultOf({ progress }: Run, { waiting, later }: Settled) {
  const { findings, findingCount, scan, replayed } = progress
  const seen = (log: AuditedLog) => {
    const { origin, tree } = progress[log]
    return { origin, size: `${sizeOf(tree)}`, root: hexEncode(rootOf(tree)) }
  }
  return {
    findings,
    findingCount,
    logs: { signatures: seen("signatures"), events: seen("events") },
    records: scan.records,
    envelopes: scan.envelopes,
    waiting,
    later,
    revocations: scan.revocations.size,
    events: Object.fromEntries(replayed.counts),
  }
}

/** Keeps for the next audit what this one saw of a log, if nothing was wrong with the log itself. */
function end(run: Run): void {
  const { progress } = run
  const { findings, findingCount, known, replayed } = progress
  const sound = (log: AuditedLog) =>
    findingCount <= MAX_FINDINGS && !findings.some(({ subject }) => subject === `log ${log}`)
  if (sound("signatures")) known.signatures = progress.signatures.tree
  if (sound("events")) {
    known.events = progress.events.tree
    known.replayed = replayed
  }
  const { signatures, events } = progress
  const origins = { signatures: signatures.origin, events: events.origin }
  Object.assign(progress, newProgress(origins), { known })
  run.save()
}
