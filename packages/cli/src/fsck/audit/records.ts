import { createHash } from "node:crypto"
import { bytesEqual, concat, hexEncode } from "@sealwright/formats/bytes"
import { entryHash, hashedRekordEntry } from "@sealwright/formats/hashedrekord"
import { parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import {
  entriesPath,
  MAX_ENTRIES_BYTES,
  MAX_TILE_BYTES,
  parseEntries,
  TILE_WIDTH,
  type Tile,
  tileHashes,
  tileOf,
  tilePath,
} from "@sealwright/formats/tlog-tiles"
import type { StoredItem, StoredValue } from "../state.ts"
import { bitOf, saysOfItem } from "./events.ts"
import type { Scanned, Settled, Unplaced } from "./progress.ts"
import type { AuditPorts, AuditReport } from "./state.ts"
import { type AuditedTree, leafHash, sizeOf, tileRoot } from "./tree.ts"
import { NOT_THE_TREES, orUndefined } from "./walk.ts"

/** Partitions of the inbox of the log of signatures; a record's number tells which (docs/stores.md). */
const INBOX_SHARDS = 16
/** Level 0 tiles that are kept: 32 MiB. */
const MAX_CACHED_TILES = 4_096
const HASH_BYTES = 32
const MAX_WAIT_MS = 3_600_000
const PAGES_PER_SAVE = 16
/** Leaves without a record that are named one by one. */
const NAMED_LEAVES = 100

interface Scan {
  readonly ports: AuditPorts
  /** undefined: the log can't be rebuilt, so records are only counted */
  readonly tree: AuditedTree | undefined
  readonly scanned: Scanned
  readonly report: AuditReport
  /** by their index: hashes one after the other */
  readonly tiles: Map<number, Uint8Array | undefined>
}

/**
 * Reads the whole table: each record's envelopes against the leaves at their place, and what revocations say for later. Records that have no place yet are
 * looked up once more at the end, since the log went on meanwhile.
 */
export async function scanTable(
  ports: AuditPorts,
  tree: AuditedTree | undefined,
  scanned: Scanned,
  report: AuditReport,
  save: () => void,
): Promise<void> {
  const scan: Scan = { ports, tree, scanned, report, tiles: new Map() }
  for (let pages = 1; ; pages++) {
    const { items, next } = await ports.page(scanned.after)
    await takePage(scan, items)
    if (next === undefined) break
    scanned.after = next
    if (pages % PAGES_PER_SAVE !== 0) continue
    save()
    ports.note(`sealwright: ${scanned.records} records compared with the log`)
  }
}

async function takePage(scan: Scan, items: readonly StoredItem[]): Promise<void> {
  const { ports, scanned } = scan
  const records: Unplaced[] = []
  for (const item of items) {
    if (item.pk === "revocations") scanned.revocations.set(item.sk, saysOfItem(item))
    if (!item.pk.startsWith("signature#") || item.sk !== "record") continue
    const record = readRecord(scan, item)
    scanned.records += 1
    scanned.envelopes += record.hashes.length
    records.push(record)
  }
  const places = await placesOf(ports, records)
  for (const record of records) {
    const index = places.get(record.id)
    if (index === undefined || !(await takePlace(scan, record, index))) scanned.unplaced.push(record)
  }
}

function readRecord({ report }: Scan, item: StoredItem): Unplaced {
  const id = item.pk.slice("signature#".length)
  const damaged = (detail: string) => report("AUDIT_TABLE_DAMAGED", `${item.pk} ${item.sk}`, detail)
  const { number, envelopes } = item
  if (typeof number !== "number") damaged("number")
  if (!Array.isArray(envelopes) || envelopes.length === 0) damaged("envelopes")
  const hashes = (Array.isArray(envelopes) ? envelopes : []).map((envelope: StoredValue) => {
    const leaf = typeof envelope === "object" && "bytes" in envelope ? leafOf(envelope.bytes) : undefined
    // An envelope of which no leaf can be made is nobody's leaf.
    return leaf === undefined ? new Uint8Array(32) : leafHash(leaf)
  })
  return { id, shard: typeof number === "number" ? number % INBOX_SHARDS : 0, hashes }
}

function leafOf(bytes: StoredValue): Uint8Array | undefined {
  if (!(bytes instanceof Uint8Array)) return undefined
  return orUndefined(() => {
    const { protected: header, signingInput, signature, x5c } = parseNotaryJws(bytes)
    const { der: certificate, spki } = parseX5c(x5c[0] ?? "")
    const digest = new Uint8Array(createHash(entryHash(header.alg)).update(signingInput).digest())
    return hashedRekordEntry({ scheme: header.alg, digest, signature, spki, certificate })
  })
}

/** Index of the first leaf of each record that the table says is logged. */
async function placesOf(ports: AuditPorts, records: readonly Unplaced[]): Promise<Map<string, number>> {
  const items = await ports.get(records.map(({ id }) => ({ pk: `logged#${id}`, sk: "log" })))
  return new Map(
    items.flatMap(({ pk, index }): [string, number][] =>
      Number.isSafeInteger(index) && (index as number) >= 0 ? [[pk.slice("logged#".length), index as number]] : [],
    ),
  )
}

/** @returns false for a place beyond the tree that is audited */
async function takePlace(scan: Scan, { id, hashes }: Unplaced, index: number): Promise<boolean> {
  const { tree, scanned, report } = scan
  if (tree === undefined) return true
  if (BigInt(index + hashes.length) > sizeOf(tree)) return false
  for (const [i, hash] of hashes.entries()) {
    const at = index + i
    if (bitOf(scanned.claimed, at)) report("AUDIT_LEAF_TAKEN_TWICE", id, `leaf ${at} is another's too`)
    scanned.claimed[Math.floor(at / 8)] = (scanned.claimed[Math.floor(at / 8)] as number) | (1 << (at % 8))
    const leaf = await leafAt(scan, tree, at)
    if (leaf !== undefined && !bytesEqual(leaf, hash))
      report("AUDIT_RECORD_CHANGED", id, `leaf ${at} is not that of its envelope`)
  }
  return true
}

async function leafAt(scan: Scan, tree: AuditedTree, at: number): Promise<Uint8Array | undefined> {
  const bundle = Math.floor(at / TILE_WIDTH)
  const within = at % TILE_WIDTH
  if (bundle === tree.tileRoots.length) return tree.last[within]
  return (await tileAt(scan, tree, bundle))?.subarray(within * HASH_BYTES, (within + 1) * HASH_BYTES)
}

/** Hashes of a full bundle, proven by the tree; undefined when neither tile nor entries are the tree's, which is a finding. */
async function tileAt(scan: Scan, tree: AuditedTree, bundle: number): Promise<Uint8Array | undefined> {
  const { ports, tiles, report } = scan
  if (tiles.has(bundle)) return tiles.get(bundle)
  const tile = tileOf(0, BigInt(bundle), sizeOf(tree))
  const root = tree.tileRoots[bundle] as Uint8Array
  if (tile === undefined) throw new RangeError("a leaf beyond the tree")
  const bytes = await ports.read(`log/signatures/${tilePath(tile)}`, MAX_TILE_BYTES)
  const found = bytes && orUndefined(() => tileHashes(bytes, TILE_WIDTH))
  const sound = found !== undefined && bytesEqual(tileRoot(found), root)
  if (!sound) report("AUDIT_TILE_CHANGED", "log signatures", `${tilePath(tile)} ${NOT_THE_TREES}`)
  const hashes = sound ? bytes : await entryHashes(ports, tile, root)
  if (tiles.size >= MAX_CACHED_TILES) tiles.delete(tiles.keys().next().value as number)
  tiles.set(bundle, hashes)
  return hashes
}

async function entryHashes(ports: AuditPorts, tile: Tile, root: Uint8Array): Promise<Uint8Array | undefined> {
  const bytes = await ports.read(`log/signatures/${entriesPath(tile)}`, MAX_ENTRIES_BYTES)
  const hashes = bytes && orUndefined(() => parseEntries(bytes, tile.width).map(leafHash))
  return hashes && bytesEqual(tileRoot(hashes), root) ? concat(...hashes) : undefined
}

/**
 * Ends the comparison: every record must have a place now or wait, and every leaf must belong to a record. A leaf may stand in the tree while its record still
 * waits: the sequencer writes places down last.
 * @param newest asks how many leaves the log has now; undefined when that can't be told
 */
export async function settleRecords(
  ports: AuditPorts,
  tree: AuditedTree | undefined,
  scanned: Scanned,
  newest: () => Promise<bigint | undefined>,
  report: AuditReport,
): Promise<Settled> {
  const scan: Scan = { ports, tree, scanned, report, tiles: new Map() }
  const { unplaced } = scanned
  const waiting = await waitingOf(ports, unplaced)
  // Read after the inbox: what left it in between has its place. And before the checkpoint, which is moved before places are written down.
  const places = await placesOf(ports, unplaced)
  const size = await newest()
  const excused = new Set<string>()
  let later = 0
  for (const record of unplaced) {
    const index = places.get(record.id)
    if (index === undefined) {
      if (waiting.has(record.id)) for (const hash of record.hashes) excused.add(hexEncode(hash))
      else report("AUDIT_RECORD_NOT_LOGGED", record.id, "neither in the inbox nor in the log")
      if (waiting.has(record.id)) checkAge(ports.now, record.id, report)
      continue
    }
    waiting.delete(record.id)
    if (await takePlace(scan, record, index)) continue
    later += 1
    if (size !== undefined && BigInt(index + record.hashes.length) > size)
      report("AUDIT_RECORD_NOT_LOGGED", record.id, `leaf ${index} is beyond the log`)
  }
  if (tree !== undefined) await checkUnclaimed(scan, tree, excused)
  return { waiting: waiting.size, later }
}

async function waitingOf(ports: AuditPorts, records: readonly Unplaced[]): Promise<Set<string>> {
  const found = await ports.get(records.map(({ id, shard }) => ({ pk: `inbox#${shard}`, sk: id })))
  return new Set(found.map(({ sk }) => sk))
}

/** An entry is logged within a minute or so. @param id ULID: begins with the time */
export function checkAge(now: Date, id: string, report: AuditReport): void {
  const made = ulidTime(id)
  if (made === undefined || now.getTime() - made > MAX_WAIT_MS)
    report(
      "AUDIT_WAITS_TOO_LONG",
      id,
      made === undefined ? "no id with a time" : `since ${new Date(made).toISOString()}`,
    )
}

/** @returns milliseconds since 1970; undefined for what is no ULID */
function ulidTime(id: string): number | undefined {
  if (!/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(id)) return undefined
  const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
  return [...id.slice(0, 10)].reduce((time, digit) => time * 32 + alphabet.indexOf(digit), 0)
}

async function checkUnclaimed(scan: Scan, tree: AuditedTree, excused: ReadonlySet<string>): Promise<void> {
  const { scanned, report } = scan
  const size = Number(sizeOf(tree))
  let found = 0
  for (let at = 0; at < size; at++) {
    if (at % 8 === 0 && scanned.claimed[at / 8] === 0xff) at += 7
    else if (!bitOf(scanned.claimed, at)) {
      const hash = await leafAt(scan, tree, at)
      if (hash !== undefined && excused.has(hexEncode(hash))) continue
      found += 1
      if (found <= NAMED_LEAVES) report("AUDIT_LEAF_WITHOUT_RECORD", `leaf ${at}`, "belongs to no record")
    }
  }
  if (found > NAMED_LEAVES)
    report("AUDIT_LEAF_WITHOUT_RECORD", "leaves", `${found} leaves in all, the first ${NAMED_LEAVES} are named`)
}
