import { bytesEqual, concat, hexEncode, utf8 } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { leafInput, type TreeState } from "@sealwright/formats/merkle"
import { array, integer, object, string } from "@sealwright/formats/shape"
import { parseJson } from "@sealwright/formats/strict-json"
import {
  edgeTiles,
  entriesPath,
  growTree,
  MAX_TILE_BYTES,
  parseEntries,
  type Sha256,
  TILE_WIDTH,
  TileTree,
  tileHashes,
  tilePath,
} from "@sealwright/formats/tlog-tiles"
import type { Key } from "../ports.ts"
import type { WaitingEntry } from "./inbox.ts"

/** What one epoch adds to a log: as one object it is staged before the epoch is decided, so that anyone can finish it. */
export interface Batch {
  /** the tree after it */
  readonly tree: TreeState
  /** new objects by their path below the log, in the order of writing */
  readonly files: ReadonlyMap<string, Uint8Array>
  /** tiles at the right edge of the tree before, by path */
  readonly edge: ReadonlyMap<string, Uint8Array>
  readonly entries: readonly BatchEntry[]
}

export interface BatchEntry {
  readonly inbox: Key
  /** of its first leaf */
  readonly index: bigint
  readonly leaves: number
}

/** The right edge of a tree, as it stands in the bucket. */
export interface Edge {
  /** of `edgeTiles`, in its order */
  readonly tiles: readonly Uint8Array[]
  /** entries of the last bundle, when it is partial */
  readonly lastEntries: readonly Uint8Array[]
}

/** Equal edges and entries give equal batches, whoever makes them. @throws FormatError TILE_MALFORMED, TOO_LARGE */
export function makeBatch(from: TreeState, edge: Edge, waiting: readonly WaitingEntry[], sha256: Sha256): Batch {
  const leaves = waiting.flatMap((entry) => entry.leaves)
  const growth = growTree(from.size, edge.tiles, edge.lastEntries, leaves, sha256)
  let index = from.size
  const entries = waiting.map(({ inbox, leaves: { length } }): BatchEntry => {
    const entry = { inbox, index, leaves: length }
    index += BigInt(length)
    return entry
  })
  return {
    tree: growth.tree,
    files: new Map([
      ...[...growth.entries].map(([bundle, bytes]): [string, Uint8Array] => [entriesPath(bundle), bytes]),
      ...[...growth.tiles].map(([tile, bytes]): [string, Uint8Array] => [tilePath(tile), bytes]),
    ]),
    edge: new Map(edgeTiles(from.size).map((tile, i) => [tilePath(tile), edge.tiles[i] as Uint8Array])),
    entries,
  }
}

export const MAX_STAGED_BYTES = 256 * 1024 * 1024
const MAX_HEADER_BYTES = 16 * 1024 * 1024
const NEWLINE = 0x0a

/** Beyond what the largest round makes. */
const MAX_PARTS = 100_000

const partsShape = array(object({ path: string(256), bytes: integer(0) }), MAX_PARTS)
const headerShape = object({
  files: partsShape,
  edge: partsShape,
  entries: array(object({ pk: string(64), sk: string(64), leaves: integer(1) }), MAX_PARTS),
})

/** One line of JSON that says what follows it: files, then the edge before. */
export function encodeBatch({ files, edge, entries }: Batch): Uint8Array {
  const parts = (of: ReadonlyMap<string, Uint8Array>) => [...of].map(([path, { length }]) => ({ path, bytes: length }))
  const header = {
    files: parts(files),
    edge: parts(edge),
    entries: entries.map(({ inbox, leaves }) => ({ pk: inbox.pk, sk: inbox.sk, leaves })),
  }
  return concat(utf8(`${JSON.stringify(header)}\n`), ...files.values(), ...edge.values())
}

/**
 * @param from the tree before
 * @param tree the tree after, as it was decided
 * @throws FormatError for bytes that are no batch; what it says of the tree is for `checkBatch`
 */
export function decodeBatch(bytes: Uint8Array, from: TreeState, tree: TreeState): Batch {
  const end = bytes.indexOf(NEWLINE)
  if (end < 0) throw malformed("a staged object without a header")
  const header = headerShape(parseJson(bytes.subarray(0, end), { maxBytes: MAX_HEADER_BYTES }), "batch")
  let at = end + 1
  const take = (parts: readonly { readonly path: string; readonly bytes: number }[]) =>
    new Map(
      parts.map(({ path, bytes: length }): [string, Uint8Array] => {
        at += length
        return [path, bytes.subarray(at - length, at)]
      }),
    )
  const files = take(header.files)
  const edge = take(header.edge)
  if (at !== bytes.length) throw malformed("a staged object of another length than its header says")
  let index = from.size
  const entries = header.entries.map(({ pk, sk, leaves }): BatchEntry => {
    const entry = { inbox: { pk, sk }, index, leaves }
    index += BigInt(leaves)
    return entry
  })
  if (index !== tree.size) throw malformed("a staged object with another number of leaves")
  return { tree, files, edge, entries }
}

/** The tree over new tiles and the edge before them. @throws FormatError TILE_MALFORMED by its methods, when one is missing */
export function treeOf(
  size: bigint,
  files: ReadonlyMap<string, Uint8Array>,
  edge: ReadonlyMap<string, Uint8Array>,
  sha256: Sha256,
): TileTree {
  // Of two widths of one tile the wider one counts, and it is among the new ones.
  const tiles = new Map<string, Uint8Array>()
  for (const [path, bytes] of [...edge, ...files]) tiles.set(path.replace(/\.p\/\d+$/, ""), bytes)
  return new TileTree(
    size,
    (tile) => {
      const bytes = tiles.get(tilePath({ ...tile, width: TILE_WIDTH }))
      return bytes !== undefined && bytes.length <= MAX_TILE_BYTES ? bytes : undefined
    },
    sha256,
  )
}

/** Whether the hashes of a tile are those of the entries of its bundle. */
export function entriesMatch(entries: Uint8Array, tile: Uint8Array, sha256: Sha256): boolean {
  const hashes = tileHashes(tile, tile.length / 32)
  return parseEntries(entries, hashes.length).every((entry, i) =>
    bytesEqual(sha256(leafInput(entry)), hashes[i] as Uint8Array),
  )
}

/** @param epoch makes the name another one for each epoch: one root can be reached from two trees */
export function stagingKey(kind: string, epoch: number, { size, root }: TreeState): string {
  return `staging/log/${kind}/${epoch}-${size}-${hexEncode(root)}`
}

function malformed(detail: string): FormatError {
  return new FormatError("TILE_MALFORMED", detail)
}
