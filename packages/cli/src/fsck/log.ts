import { createHash } from "node:crypto"
import { bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { checkpointSignature, parseCheckpoint } from "@sealwright/formats/checkpoint"
import { FormatError } from "@sealwright/formats/errors"
import { entryHash, hashedRekordEntry } from "@sealwright/formats/hashedrekord"
import { type Hashing, inclusionRoot, leafInput, leftSize, nodeInput } from "@sealwright/formats/merkle"
import { parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import { NOTE_TYPE, noteKeyIdInput, parseNote } from "@sealwright/formats/signed-note"
import { entriesPath, parseEntries, tileHashes, tileOf, tilePath } from "@sealwright/formats/tlog-tiles"
import { type Step, verifySignature } from "@sealwright/verifier/requests"
import type { LedgerFacts, Report } from "./ledger.ts"
import type { Dump, Items, StoredItem, StoredValue } from "./state.ts"

type Run = <T>(step: Step<T>) => T

const KINDS = ["signatures", "events"]
const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash("sha256").update(bytes).digest())
const nothing = new Uint8Array(0)

/** Inbox, places of signatures, tiles, checkpoints and heads of the transparency logs against each other and the records (I6, R30). */
export function checkLogs(
  items: Items,
  { objects }: Pick<Dump, "objects">,
  facts: LedgerFacts,
  run: Run,
  report: Report,
): void {
  const leaves = new Map<string, readonly Uint8Array[]>()
  for (const kind of KINDS) {
    const head = items.one("log", kind)
    if (head !== undefined) leaves.set(kind, checkTree(items, objects, kind, head, run, report))
  }
  checkPlaces(items, leaves.get("signatures") ?? [], facts, report)
}

/** @returns the leaves that the bucket shows */
function checkTree(
  items: Items,
  objects: Dump["objects"],
  kind: string,
  head: StoredItem,
  run: Run,
  report: Report,
): readonly Uint8Array[] {
  const wrong = (detail: string) => report({ code: "LOG_WRONG", subject: `log ${kind}`, detail })
  const size = BigInt(items.number(head, "size"))
  const published = items.text(head, "state") === "published"
  const bytes = objects.get(`log/${kind}/checkpoint`)
  if (bytes === undefined) {
    if (published && size > 0n) wrong("there is no checkpoint")
    return []
  }
  try {
    const note = parseNote(bytes)
    const shown = parseCheckpoint(note.text)
    if (!isSigned(items, kind, note, run)) wrong("the checkpoint does not verify")
    if (published ? shown.size !== size : shown.size > size)
      wrong(`the checkpoint has ${shown.size} leaves, the head ${size}`)
    const leaves = readLeaves(objects, kind, shown.size, wrong)
    const hashes = leaves.map((leaf) => sha256(leafInput(leaf)))
    if (!bytesEqual(rootOf(hashes, 0, hashes.length), shown.root)) wrong("the entries have another root")
    if (published && !bytesEqual(items.bytes(head, "root"), shown.root)) wrong("the head has another root")
    return leaves
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    wrong(error.message)
    return []
  }
}

function isSigned(items: Items, kind: string, note: ReturnType<typeof parseNote>, run: Run): boolean {
  const deployment = items.one("deployment", "deployment")
  const log = deployment && (items.map(deployment, "log")[kind] as { readonly [name: string]: StoredValue } | undefined)
  const key = log?.key as { readonly spki?: StoredValue } | undefined
  if (typeof log?.origin !== "string" || !(key?.spki instanceof Uint8Array)) return false
  const publicKey = key.spki.subarray(-32)
  const type = NOTE_TYPE.ed25519
  const keyId = hexEncode(sha256(noteKeyIdInput(log.origin, type, publicKey)).subarray(0, 4))
  const line = note.signatures.find((one) => one.name === log.origin && one.keyId === keyId)
  const check = line && checkpointSignature({ name: log.origin, keyId, type, publicKey }, note.text, line.signature)
  return check !== undefined && run(verifySignature(check.scheme, check.spki, check.message, check.signature))
}

function readLeaves(
  objects: Dump["objects"],
  kind: string,
  size: bigint,
  wrong: (detail: string) => void,
): readonly Uint8Array[] {
  const leaves: Uint8Array[] = []
  for (let index = 0n; index << 8n < size; index++) {
    const tile = tileOf(0, index, size)
    if (tile === undefined) continue
    const entries = parseEntries(objects.get(`log/${kind}/${entriesPath(tile)}`) ?? nothing, tile.width)
    const hashes = tileHashes(objects.get(`log/${kind}/${tilePath(tile)}`) ?? nothing, tile.width)
    if (entries.some((entry, i) => !bytesEqual(sha256(leafInput(entry)), hashes[i] ?? nothing)))
      wrong(`${tilePath(tile)} has other hashes than its entries`)
    leaves.push(...entries)
  }
  return leaves
}

/** RFC 6962 §2.1. */
function rootOf(hashes: readonly Uint8Array[], start: number, end: number): Uint8Array {
  if (end === start) return sha256(nothing)
  if (end - start === 1) return hashes[start] as Uint8Array
  const middle = start + Number(leftSize(BigInt(end - start)))
  return sha256(nodeInput(rootOf(hashes, start, middle), rootOf(hashes, middle, end)))
}

/** Every record waits or is logged, once; where it is said to stand, its leaves stand, and their proofs lead to the epoch's root. */
function checkPlaces(items: Items, leaves: readonly Uint8Array[], { records }: LedgerFacts, report: Report): void {
  const waiting = new Set<string>()
  for (const [, inbox] of items.partitions("inbox#")) for (const item of inbox) waiting.add(item.sk)
  const epochs = items.partition("log-epochs#signatures")
  const taken = new Set<number>()
  for (const id of records.keys()) {
    const logged = items.one(`logged#${id}`, "log")
    if (logged === undefined) {
      if (!waiting.has(id))
        report({ code: "INBOX_MISSING", subject: id, detail: "neither in the inbox nor in the log" })
      continue
    }
    const wrong = (detail: string) => report({ code: "LOG_PLACE_WRONG", subject: id, detail })
    if (waiting.has(id)) wrong("it is logged and waits")
    const record = items.one(`signature#${id}`, "record")
    const epoch = epochs.find((one) => one.epoch === logged.epoch)
    if (record === undefined || epoch === undefined) wrong("its epoch is unknown")
    else checkProofs(items, { record, logged, epoch }, leaves, taken, wrong)
  }
  if (taken.size > leaves.length)
    report({ code: "LOG_WRONG", subject: "log signatures", detail: `${taken.size} places, ${leaves.length} leaves` })
  const settled = items.one("log", "signatures")?.state === "published"
  if (settled && taken.size < leaves.length)
    report({
      code: "LOG_WRONG",
      subject: "log signatures",
      detail: `${leaves.length - taken.size} leaves of no record`,
    })
}

function checkProofs(
  items: Items,
  { record, logged, epoch }: { readonly record: StoredItem; readonly logged: StoredItem; readonly epoch: StoredItem },
  leaves: readonly Uint8Array[],
  taken: Set<number>,
  wrong: (detail: string) => void,
): void {
  const envelopes = record.envelopes as readonly { readonly bytes: Uint8Array }[]
  const proofs = logged.proofs as readonly Uint8Array[]
  for (const [i, { bytes }] of envelopes.entries()) {
    const index = items.number(logged, "index") + i
    if (taken.has(index)) wrong(`leaf ${index} is another's too`)
    taken.add(index)
    const leaf = leafOf(bytes)
    if (leaf === undefined || !bytesEqual(leaf, leaves[index] ?? nothing)) wrong(`leaf ${index} is not its envelope's`)
    const hashes = Array.from({ length: (proofs[i]?.length ?? 0) / 32 }, (_, at) =>
      (proofs[i] as Uint8Array).subarray(32 * at, 32 * (at + 1)),
    )
    const size = BigInt(items.number(epoch, "size"))
    const root = hashWith(inclusionRoot(sha256(leafInput(leaf ?? nothing)), BigInt(index), size, hashes))
    if (root === undefined || !bytesEqual(root, items.bytes(epoch, "root"))) wrong(`the proof of leaf ${index} fails`)
  }
}

function leafOf(bytes: Uint8Array): Uint8Array | undefined {
  try {
    const { protected: header, signingInput, signature, x5c } = parseNotaryJws(bytes)
    const { der: certificate, spki } = parseX5c(x5c[0] ?? "")
    const digest = new Uint8Array(createHash(entryHash(header.alg)).update(signingInput).digest())
    return hashedRekordEntry({ scheme: header.alg, digest, signature, spki, certificate })
  } catch (error) {
    if (error instanceof FormatError) return undefined
    throw error
  }
}

function hashWith<T>(hashing: Hashing<T>): T {
  let state = hashing.next()
  while (!state.done) state = hashing.next(sha256(state.value))
  return state.value
}
