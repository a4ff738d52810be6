/** Merkle trees of the audit (RFC 6962 §2.1), by code that the sequencer does not share. */
import { hash } from "node:crypto"
import { leafInput, nodeInput } from "@sealwright/formats/merkle"
import { TILE_WIDTH, type Tile } from "@sealwright/formats/tlog-tiles"

/** A tree by the roots of its full bundles: 32 bytes for 256 leaves, from which all levels above follow. */
export interface AuditedTree {
  /** of the full level 0 tiles, in order */
  readonly tileRoots: readonly Uint8Array[]
  /** leaf hashes after them, fewer than 256 */
  readonly last: readonly Uint8Array[]
}

/** The same while a walk adds to it. */
export interface GrowingTree extends AuditedTree {
  readonly tileRoots: Uint8Array[]
  readonly last: Uint8Array[]
}

export function newTree(tileRoots: readonly Uint8Array[] = []): GrowingTree {
  return { tileRoots: [...tileRoots], last: [] }
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(hash("sha256", bytes, "buffer"))
}

export function leafHash(entry: Uint8Array): Uint8Array {
  return sha256(leafInput(entry))
}

export function sizeOf({ tileRoots, last }: AuditedTree): bigint {
  return BigInt(tileRoots.length * TILE_WIDTH + last.length)
}

/** Of 256 hashes. */
export function tileRoot(hashes: readonly Uint8Array[]): Uint8Array {
  return rootOver(hashes)
}

export function rootOf({ tileRoots, last }: AuditedTree): Uint8Array {
  if (tileRoots.length === 0 && last.length === 0) return sha256(new Uint8Array(0))
  if (last.length === 0) return rootOver(tileRoots)
  let root = rootOver(last)
  // A tree parts at powers of two, so each full subtree of the left is one of the whole: fold the partial bundle into them from the right.
  for (const [start, end] of fullSubtrees(tileRoots.length).reverse())
    root = sha256(nodeInput(rootOver(tileRoots.slice(start, end)), root))
  return root
}

/** The largest subtrees whose number of nodes is a power of two, from the left. */
function fullSubtrees(size: number): [number, number][] {
  const subtrees: [number, number][] = []
  for (let start = 0; start < size; ) {
    const width = 2 ** Math.floor(Math.log2(size - start))
    subtrees.push([start, start + width])
    start += width
  }
  return subtrees
}

/** Level by level: pairs from the left are the full subtrees, and a node without a neighbour goes up as it is. */
function rootOver(nodes: readonly Uint8Array[]): Uint8Array {
  let row = nodes
  while (row.length > 1) {
    const above: Uint8Array[] = []
    for (let at = 0; at < row.length; at += 2) {
      const [left, right] = [row[at] as Uint8Array, row[at + 1]]
      above.push(right === undefined ? left : sha256(nodeInput(left, right)))
    }
    row = above
  }
  return row[0] as Uint8Array
}

/** The tiles above level 0, lowest level first. */
export function* upperTiles({ tileRoots }: AuditedTree): Generator<readonly [Tile, readonly Uint8Array[]]> {
  for (let level = 1, row = tileRoots; row.length > 0; level++) {
    const above: Uint8Array[] = []
    for (let at = 0; at < row.length; at += TILE_WIDTH) {
      const hashes = row.slice(at, at + TILE_WIDTH)
      yield [{ level, index: BigInt(at / TILE_WIDTH), width: hashes.length }, hashes]
      if (hashes.length === TILE_WIDTH) above.push(tileRoot(hashes))
    }
    row = above
  }
}
