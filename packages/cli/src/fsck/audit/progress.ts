import { base64Decode, base64Encode, utf8 } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { array, boolean, integer, map, object, oneOf, string } from "@sealwright/formats/shape"
import { parseJson } from "@sealwright/formats/strict-json"
import { type EventState, newEvents } from "./events.ts"
import { AUDIT_CODES, type AuditCode, type AuditFinding, MAX_FINDINGS } from "./state.ts"
import { type AuditedTree, type GrowingTree, newTree, sizeOf } from "./tree.ts"

export const MAX_PROGRESS_BYTES = 1024 * 1024 * 1024

/** A bundle whose tile holds other hashes than its entries, until the root says which of them is right. */
export interface Suspect {
  readonly bundle: number
  /** of the tile */
  readonly hashes: readonly Uint8Array[]
}

/** One log as far as it was walked. */
export interface Walked {
  readonly origin: string
  tree: GrowingTree
  suspects: Suspect[]
}

/** A record that had no place yet when it was read, or none in the tree that is audited. */
export interface Unplaced {
  readonly id: string
  readonly shard: number
  /** of its leaves */
  readonly hashes: readonly Uint8Array[]
}

/** What came of the records that had no place when they were read. */
export interface Settled {
  readonly waiting: number
  /** records whose leaves came after the checkpoint */
  readonly later: number
}

/** The table as far as it was read. */
export interface Scanned {
  after: string | undefined
  records: number
  envelopes: number
  /** a bit for each leaf that a record claims */
  claimed: Uint8Array
  unplaced: Unplaced[]
  /** what the revocations in the table say, by id */
  revocations: Map<string, string>
}

/** How far an audit is; after it ended, what the next one begins with. */
export interface Progress {
  stage: "signatures" | "table" | "events" | "done"
  /** every entry is read anew, not only those that an earlier audit has not seen */
  full: boolean
  /** of the log of signatures, as it was when the audit began */
  checkpoint: Uint8Array | undefined
  signatures: Walked
  events: Walked
  replayed: EventState
  scan: Scanned
  /** what became of the records without a place; undefined until the table was read */
  settled: Settled | undefined
  /** what the last audit that found the log sound saw */
  known: { signatures: AuditedTree; events: AuditedTree; replayed: EventState }
  findings: AuditFinding[]
  /** all of them, those that are not kept among them */
  findingCount: number
}

export function newProgress(origins: { readonly signatures: string; readonly events: string }): Progress {
  return {
    stage: "done",
    full: false,
    checkpoint: undefined,
    signatures: { origin: origins.signatures, tree: newTree(), suspects: [] },
    events: { origin: origins.events, tree: newTree(), suspects: [] },
    replayed: newEvents(),
    scan: newScan(),
    settled: undefined,
    known: { signatures: newTree(), events: newTree(), replayed: newEvents() },
    findings: [],
    findingCount: 0,
  }
}

export function newScan(): Scanned {
  return {
    after: undefined,
    records: 0,
    envelopes: 0,
    claimed: new Uint8Array(0),
    unplaced: [],
    revocations: new Map(),
  }
}

const HASH_BYTES = 32
const MANY = 2 ** 31

const text = string(MAX_PROGRESS_BYTES)
const tree = object({ tileRoots: text, last: string(16_384) })
const walked = object({
  origin: string(255),
  tree,
  suspects: array(object({ bundle: integer(0), hashes: string(16_384) }), 64),
})
const events = object({
  revocations: map(object({ order: string(128), says: string(512) }), MANY),
  publications: object({ seen: text, newest: map(string(4_096), MANY) }),
  counts: map(integer(0), 64),
})
const document = object(
  {
    version: integer(1, 1),
    stage: oneOf("signatures", "table", "events", "done"),
    full: boolean,
    signatures: walked,
    events: walked,
    replayed: events,
    scan: object(
      {
        records: integer(0),
        envelopes: integer(0),
        claimed: text,
        unplaced: array(object({ id: string(64), shard: integer(0), hashes: text }), MANY),
        revocations: map(string(512), MANY),
      },
      { after: string(4_096) },
    ),
    known: object({ signatures: tree, events: tree, replayed: events }),
    findings: array(
      object({ code: oneOf(...(Object.keys(AUDIT_CODES) as AuditCode[])), subject: text, detail: text }),
      MAX_FINDINGS,
    ),
    findingCount: integer(0),
  },
  { checkpoint: text, settled: object({ waiting: integer(0), later: integer(0) }) },
)

/** Hashes one after the other in base64; maps as objects. */
export function encodeProgress(progress: Progress): Uint8Array {
  const { checkpoint, scan, known } = progress
  const value = {
    version: 1,
    ...progress,
    checkpoint: checkpoint && base64Encode(checkpoint),
    signatures: encodeWalked(progress.signatures),
    events: encodeWalked(progress.events),
    replayed: encodeEvents(progress.replayed),
    scan: {
      ...scan,
      claimed: base64Encode(scan.claimed),
      unplaced: scan.unplaced.map((one) => ({ ...one, hashes: encodeHashes(one.hashes) })),
      revocations: Object.fromEntries(scan.revocations),
    },
    known: {
      signatures: encodeTree(known.signatures),
      events: encodeTree(known.events),
      replayed: encodeEvents(known.replayed),
    },
  }
  return utf8(`${JSON.stringify(value)}\n`)
}

/** @throws FormatError for bytes that no audit wrote */
export function parseProgress(bytes: Uint8Array): Progress {
  const read = document(parseJson(bytes, { maxBytes: MAX_PROGRESS_BYTES }), "progress")
  const { stage, full, scan, known, findings, findingCount } = read
  const checkpoint = read.checkpoint === undefined ? undefined : base64Decode(read.checkpoint)
  const signatures = parseWalked(read.signatures)
  const claimed = base64Decode(scan.claimed)
  if (stage === "table" && BigInt(claimed.length) * 8n < sizeOf(signatures.tree))
    throw new FormatError("SHAPE_MISMATCH", "progress: fewer bits than leaves")
  return {
    stage,
    full,
    checkpoint,
    signatures,
    events: parseWalked(read.events),
    replayed: parseEvents(read.replayed),
    scan: {
      ...scan,
      after: scan.after,
      claimed,
      unplaced: scan.unplaced.map((one) => ({ ...one, hashes: parseHashes(one.hashes) })),
      revocations: new Map(scan.revocations),
    },
    settled: read.settled,
    known: {
      signatures: parseTree(known.signatures),
      events: parseTree(known.events),
      replayed: parseEvents(known.replayed),
    },
    findings: [...findings],
    findingCount,
  }
}

type Shape<R extends (...args: never[]) => unknown> = ReturnType<R>

function encodeWalked(one: Walked) {
  const suspects = one.suspects.map(({ bundle, hashes }) => ({ bundle, hashes: encodeHashes(hashes) }))
  return { origin: one.origin, tree: encodeTree(one.tree), suspects }
}

function parseWalked(read: Shape<typeof walked>): Walked {
  const suspects = read.suspects.map(({ bundle, hashes }) => ({ bundle, hashes: parseHashes(hashes) }))
  return { origin: read.origin, tree: parseTree(read.tree), suspects }
}

function encodeTree({ tileRoots, last }: AuditedTree) {
  return { tileRoots: encodeHashes(tileRoots), last: encodeHashes(last) }
}

function parseTree(read: Shape<typeof tree>): GrowingTree {
  return { tileRoots: parseHashes(read.tileRoots), last: parseHashes(read.last) }
}

function encodeEvents({ revocations, publications: { seen, newest }, counts }: EventState) {
  return {
    revocations: Object.fromEntries(revocations),
    publications: { seen: base64Encode(seen), newest: Object.fromEntries(newest) },
    counts: Object.fromEntries(counts),
  }
}

function parseEvents({ revocations, publications: { seen, newest }, counts }: Shape<typeof events>): EventState {
  return {
    revocations: new Map(revocations),
    publications: {
      seen: base64Decode(seen),
      newest: new Map([...newest].map(([epoch, what]) => [Number(epoch), what])),
    },
    counts: new Map(counts),
  }
}

function encodeHashes(hashes: readonly Uint8Array[]): string {
  const bytes = new Uint8Array(hashes.length * HASH_BYTES)
  for (const [i, hash] of hashes.entries()) bytes.set(hash, i * HASH_BYTES)
  return base64Encode(bytes)
}

function parseHashes(encoded: string): Uint8Array[] {
  const bytes = base64Decode(encoded)
  if (bytes.length % HASH_BYTES !== 0) throw new FormatError("SHAPE_MISMATCH", "progress: a hash is cut")
  return Array.from({ length: bytes.length / HASH_BYTES }, (_, i) =>
    bytes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES),
  )
}
