import { bytesEqual } from "@sealwright/formats/bytes"
import type { Checkpoint } from "@sealwright/formats/checkpoint"
import { FormatError } from "@sealwright/formats/errors"
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
import type { Suspect, Walked } from "./progress.ts"
import type { AuditedLog, AuditPorts, AuditReport } from "./state.ts"
import { type AuditedTree, type GrowingTree, leafHash, rootOf, sizeOf, tileRoot, upperTiles } from "./tree.ts"

/** Bundles that are read at once: 16 MiB each at the very most, and some 100 KiB as they are. */
const BUNDLES_AT_ONCE = 8
const MAX_SUSPECTS = 16
export const NOT_THE_TREES = "is missing, or holds other hashes than the tree"

export interface WalkRequest {
  readonly kind: AuditedLog
  readonly head: Pick<Checkpoint, "size" | "root">
  /** the tree that an earlier audit saw; every state must continue it */
  readonly known: AuditedTree
  /** changed as the walk goes on; begins at a full bundle */
  readonly walked: Walked
  readonly report: AuditReport
  /** leaves below it were told of before */
  readonly from: number
  readonly onLeaf: (index: number, leaf: Uint8Array) => void
  /** how far it came may be kept */
  readonly save: () => void
  readonly bundlesPerSave: number
}

interface Bundle {
  readonly tile: Tile
  readonly entries: readonly Uint8Array[] | undefined
  /** of the tile */
  readonly hashes: readonly Uint8Array[] | undefined
}

/**
 * Walks a log's entries up to a checkpoint, and compares every tile and the root with the tree over them.
 * @returns the tree, as the checkpoint says that it is; undefined when it is not the checkpoint's, which is a finding
 */
export async function walkLog(ports: AuditPorts, request: WalkRequest): Promise<AuditedTree | undefined> {
  const { kind, head, known, walked, report, bundlesPerSave } = request
  const before = Math.max(Number(sizeOf(known)), Number(sizeOf(walked.tree)))
  if (before > head.size) {
    report("AUDIT_ROLLED_BACK", `log ${kind}`, `${head.size} leaves, and ${before} before`)
    return undefined
  }
  const bundles = Number((head.size + 255n) >> 8n)
  for (let next = walked.tree.tileRoots.length, saved = next; next < bundles; ) {
    const indexes = Array.from({ length: Math.min(BUNDLES_AT_ONCE, bundles - next) }, (_, i) => next + i)
    for (const bundle of await Promise.all(indexes.map((index) => readBundle(ports, kind, index, head.size))))
      if (!takeBundle(request, bundle)) return undefined
    next += indexes.length
    if (next - saved >= bundlesPerSave && next < bundles) {
      request.save()
      ports.note(`sealwright: log ${kind}: ${next * TILE_WIDTH} of ${head.size} leaves`)
      saved = next
    }
  }
  const tree = judgeSuspects(request)
  if (tree === undefined) return undefined
  walked.tree = tree
  await checkUpperTiles(ports, request, tree)
  return tree
}

async function readBundle(ports: AuditPorts, kind: AuditedLog, index: number, size: bigint): Promise<Bundle> {
  const tile = tileOf(0, BigInt(index), size)
  if (tile === undefined) throw new RangeError("a bundle beyond the tree")
  const read = async <T>(path: string, maxBytes: number, parse: (bytes: Uint8Array) => T): Promise<T | undefined> => {
    const bytes = await ports.read(`log/${kind}/${path}`, maxBytes)
    return bytes && orUndefined(() => parse(bytes))
  }
  const [entries, hashes] = await Promise.all([
    read(entriesPath(tile), MAX_ENTRIES_BYTES, (bytes) => parseEntries(bytes, tile.width)),
    read(tilePath(tile), MAX_TILE_BYTES, (bytes) => tileHashes(bytes, tile.width)),
  ])
  return { tile, entries, hashes }
}

export function orUndefined<T>(parse: () => T): T | undefined {
  try {
    return parse()
  } catch (error) {
    if (error instanceof FormatError) return undefined
    throw error
  }
}

/** @returns false when there is nothing to go on with */
function takeBundle(
  { kind, known, from, walked, report, onLeaf }: WalkRequest,
  { tile, entries, hashes }: Bundle,
): boolean {
  const bundle = Number(tile.index)
  const subject = `log ${kind}`
  if (entries === undefined) report("AUDIT_ENTRIES_CHANGED", subject, `${entriesPath(tile)} is missing or malformed`)
  if (hashes === undefined) report("AUDIT_TILE_CHANGED", subject, `${tilePath(tile)} ${NOT_THE_TREES}`)
  const made = entries?.map(leafHash) ?? hashes
  if (made === undefined) return false
  const differs = hashes?.some((hash, i) => !bytesEqual(hash, made[i] as Uint8Array)) ?? false
  if (hashes !== undefined && differs && walked.suspects.length < MAX_SUSPECTS) walked.suspects.push({ bundle, hashes })
  // What an earlier audit saw must stand, whichever of entries and tile is asked: if neither says so, the past is another one.
  if (!continues(known, bundle, made) && (hashes === undefined || !continues(known, bundle, hashes)))
    report("AUDIT_REWRITTEN", subject, `leaves from ${bundle * TILE_WIDTH} on are not those that were audited`)
  const seen = Math.max(0, Math.min(made.length, from - bundle * TILE_WIDTH))
  entries?.slice(seen).forEach((leaf, i) => {
    onLeaf(bundle * TILE_WIDTH + seen + i, leaf)
  })
  if (made.length === TILE_WIDTH) walked.tree.tileRoots.push(tileRoot(made))
  else walked.tree.last.push(...made)
  return true
}

function continues({ tileRoots, last }: AuditedTree, bundle: number, hashes: readonly Uint8Array[]): boolean {
  const root = tileRoots[bundle]
  if (root !== undefined) return hashes.length === TILE_WIDTH && bytesEqual(tileRoot(hashes), root)
  return bundle > tileRoots.length || last.every((hash, i) => hashes[i] !== undefined && bytesEqual(hash, hashes[i]))
}

/** Where entries and tile differ, the root says which of them is the log's. @returns undefined when it is over neither */
function judgeSuspects({ kind, head, walked, report }: WalkRequest): GrowingTree | undefined {
  const subject = `log ${kind}`
  const paths = walked.suspects.map(({ bundle }) => tileOf(0, BigInt(bundle), head.size)).filter((tile) => !!tile)
  if (bytesEqual(rootOf(walked.tree), head.root)) {
    for (const tile of paths) report("AUDIT_TILE_CHANGED", subject, `${tilePath(tile)} ${NOT_THE_TREES}`)
    return walked.tree
  }
  for (const tile of paths) report("AUDIT_ENTRIES_CHANGED", subject, `${entriesPath(tile)} is not what its tile says`)
  const byTiles = withTiles(walked.tree, walked.suspects)
  if (walked.suspects.length > 0 && bytesEqual(rootOf(byTiles), head.root)) return byTiles
  report("AUDIT_ROOT_WRONG", subject, `at ${head.size} leaves`)
  return undefined
}

function withTiles(tree: GrowingTree, suspects: readonly Suspect[]): GrowingTree {
  const tileRoots = [...tree.tileRoots]
  let { last } = tree
  for (const { bundle, hashes } of suspects)
    if (hashes.length === TILE_WIDTH) tileRoots[bundle] = tileRoot(hashes)
    else last = [...hashes]
  return { tileRoots, last }
}

async function checkUpperTiles(ports: AuditPorts, { kind, report }: WalkRequest, tree: AuditedTree): Promise<void> {
  for (const [tile, hashes] of upperTiles(tree)) {
    const path = tilePath(tile)
    const bytes = await ports.read(`log/${kind}/${path}`, MAX_TILE_BYTES)
    const found = bytes && orUndefined(() => tileHashes(bytes, tile.width))
    if (!found?.every((hash, i) => bytesEqual(hash, hashes[i] as Uint8Array)))
      report("AUDIT_TILE_CHANGED", `log ${kind}`, `${path} ${NOT_THE_TREES}`)
  }
}
