/** Tiles of a transparency log (C2SP tlog-tiles): names, entry bundles, growing a tree and proofs from its tiles. */
import { concat } from "./bytes.ts"
import { TREE_HASH_BYTES } from "./checkpoint.ts"
import { FormatError } from "./errors.ts"
import {
  consistencySubtrees,
  inclusionSubtrees,
  leafInput,
  leftSize,
  nodeInput,
  type Subtree,
  type TreeState,
} from "./merkle.ts"

/** Hashes of a full tile, and entries of a full bundle. */
export const TILE_WIDTH = 256
const TILE_HEIGHT = 8n
/** Above it no tree of 2^63 leaves has a hash. */
const MAX_LEVEL = 7
export const MAX_TILE_BYTES = TILE_WIDTH * TREE_HASH_BYTES
/** An entry's length has two bytes. */
export const MAX_ENTRY_BYTES = 65_535
export const MAX_ENTRIES_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)

/** SHA-256 of some bytes. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array

export interface Tile {
  readonly level: number
  readonly index: bigint
  /** number of hashes, 1 to 256; below 256 the tile is partial */
  readonly width: number
}

/** Path below the log's prefix: `tile/1/x001/234/067.p/8`. */
export function tilePath({ level, index, width }: Tile): string {
  return `tile/${level}/${indexPath(index)}${partialSuffix(width)}`
}

/** Path of the entries that the hashes of a level 0 tile belong to. */
export function entriesPath({ index, width }: Pick<Tile, "index" | "width">): string {
  return `tile/entries/${indexPath(index)}${partialSuffix(width)}`
}

function indexPath(index: bigint): string {
  const digits = index.toString()
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/[0-9]{3}/g) ?? []
  return groups.map((group, i) => (i === groups.length - 1 ? group : `x${group}`)).join("/")
}

function partialSuffix(width: number): string {
  return width === TILE_WIDTH ? "" : `.p/${width}`
}

/** The partial tiles at the right edge of a tree of this size, lowest level first: with them it can grow. */
export function edgeTiles(size: bigint): Tile[] {
  const tiles: Tile[] = []
  for (let level = 0, rest = size; rest > 0n; level++, rest >>= TILE_HEIGHT) {
    const width = Number(rest & 255n)
    if (width > 0) tiles.push({ level, index: rest >> TILE_HEIGHT, width })
  }
  return tiles
}

/** The tile that a tree of this size has at a level and index; undefined when it has none there. */
export function tileOf(level: number, index: bigint, size: bigint): Tile | undefined {
  const hashes = (size >> (TILE_HEIGHT * BigInt(level))) - (index << TILE_HEIGHT)
  if (hashes <= 0n) return undefined
  return { level, index, width: hashes < 256n ? Number(hashes) : TILE_WIDTH }
}

/** Every tile of hashes that a tree of this size has, the highest level first. */
export function* allTiles(size: bigint): Generator<Tile> {
  let level = 0
  while (size >> (TILE_HEIGHT * BigInt(level + 1)) > 0n) level++
  for (; level >= 0; level--)
    for (let index = 0n; ; index++) {
      const tile = tileOf(level, index, size)
      if (tile === undefined) break
      yield tile
    }
}

/**
 * The tiles on the way from the last leaf of a smaller tree to the top, in a tree of `size`, the highest level first. Those of some sizes, and of `size`
 * itself, are what consistency between any two of them is proven from.
 * @throws RangeError unless 0 <= `leaves` <= `size`
 */
export function pathTiles(leaves: bigint, size: bigint): Tile[] {
  if (leaves < 0n || leaves > size) throw new RangeError("a tree that is larger than the one around it")
  if (leaves === 0n) return []
  const tiles: Tile[] = []
  for (let level = 0, index = leaves - 1n; size >> (TILE_HEIGHT * BigInt(level)) > 0n; level++) {
    index >>= TILE_HEIGHT
    const tile = tileOf(level, index, size)
    if (tile !== undefined) tiles.unshift(tile)
  }
  return tiles
}

/** A file of a log by its path below the log's prefix. */
export type LogFile =
  | { readonly kind: "checkpoint" }
  | { readonly kind: "tile"; readonly tile: Tile }
  | { readonly kind: "entries"; readonly tile: Pick<Tile, "index" | "width"> }

const TILE_PATH = /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/){0,6}[0-9]{3})(?:\.p\/([0-9]{1,3}))?$/

/** @returns undefined for every path that a log of tiles does not have, other spellings of one that it has among them */
export function parseLogPath(path: string): LogFile | undefined {
  if (path === "checkpoint") return { kind: "checkpoint" }
  const [, level, index, width] = TILE_PATH.exec(path) ?? []
  if (level === undefined || index === undefined || width === "256") return undefined
  const tile = {
    level: level === "entries" ? 0 : Number(level),
    index: BigInt(index.replace(/[x/]/g, "")),
    width: Number(width ?? TILE_WIDTH),
  }
  if (tile.width < 1 || tile.width > TILE_WIDTH || tile.level > MAX_LEVEL) return undefined
  const file: LogFile =
    level === "entries" ? { kind: "entries", tile: { index: tile.index, width: tile.width } } : { kind: "tile", tile }
  return (file.kind === "entries" ? entriesPath(file.tile) : tilePath(tile)) === path ? file : undefined
}

/**
 * Entries one after the other, each with its length before it.
 * @throws FormatError TOO_LARGE for an entry beyond 65,535 bytes or more than 256 of them
 */
export function encodeEntries(entries: readonly Uint8Array[]): Uint8Array {
  if (entries.length > TILE_WIDTH) throw new FormatError("TOO_LARGE", "more than 256 entries")
  return concat(
    ...entries.flatMap((entry) => {
      if (entry.length > MAX_ENTRY_BYTES) throw new FormatError("TOO_LARGE", "an entry beyond 65,535 bytes")
      return [new Uint8Array([entry.length >> 8, entry.length & 0xff]), entry]
    }),
  )
}

/**
 * @param width number of entries that must be there
 * @throws FormatError TILE_MALFORMED
 */
export function parseEntries(bytes: Uint8Array, width: number): Uint8Array[] {
  const entries: Uint8Array[] = []
  let at = 0
  while (at < bytes.length) {
    const length = ((bytes[at] as number) << 8) | (bytes[at + 1] ?? 0)
    const end = at + 2 + length
    if (end > bytes.length || entries.length === width) throw malformed("entries that do not fit their bundle")
    entries.push(bytes.subarray(at + 2, end))
    at = end
  }
  if (entries.length !== width) throw malformed("fewer entries than the bundle's name says")
  return entries
}

/**
 * @returns the tile's hashes
 * @throws FormatError TILE_MALFORMED unless there are as many as the tile is wide
 */
export function tileHashes(bytes: Uint8Array, width: number): Uint8Array[] {
  if (bytes.length !== width * TREE_HASH_BYTES) throw malformed("a tile of another width than its name says")
  return Array.from({ length: width }, (_, i) => bytes.subarray(i * TREE_HASH_BYTES, (i + 1) * TREE_HASH_BYTES))
}

/**
 * Bytes of a tile that a tree has, or of a wider one that begins with it.
 * @returns undefined when it can't be had
 */
export type ReadTile = (tile: Tile) => Uint8Array | undefined

/**
 * A tree over its tiles: roots of subtrees, inclusion and consistency proofs. Hashes are computed once and kept. What the tiles say is not checked
 * here: a proof from false tiles does not verify.
 */
export class TileTree {
  readonly size: bigint
  readonly #read: ReadTile
  readonly #sha256: Sha256
  readonly #tiles = new Map<string, readonly Uint8Array[]>()
  readonly #nodes = new Map<string, Uint8Array>()

  constructor(size: bigint, read: ReadTile, sha256: Sha256) {
    this.size = size
    this.#read = read
    this.#sha256 = sha256
  }

  /** @throws FormatError TILE_MALFORMED when a tile is missing or too short; so do all methods */
  root(size = this.size): Uint8Array {
    return size === 0n ? this.#sha256(new Uint8Array(0)) : this.#hashOf({ start: 0n, end: size })
  }

  /** @throws RangeError for a leaf outside of the tree */
  inclusionProof(index: bigint, size = this.size): Uint8Array[] {
    return inclusionSubtrees(index, size).map((subtree) => this.#hashOf(subtree))
  }

  /** @throws RangeError unless `from` <= `to` */
  consistencyProof(from: bigint, to = this.size): Uint8Array[] {
    return consistencySubtrees(from, to).map((subtree) => this.#hashOf(subtree))
  }

  #hashOf({ start, end }: Subtree): Uint8Array {
    const length = end - start
    if ((length & (length - 1n)) === 0n) return this.#node(length.toString(2).length - 1, start / length)
    const middle = start + leftSize(length)
    return this.#sha256(nodeInput(this.#hashOf({ start, end: middle }), this.#hashOf({ start: middle, end })))
  }

  /** The root of the `index`-th subtree of 2^height leaves. */
  #node(height: number, index: bigint): Uint8Array {
    if (height % Number(TILE_HEIGHT) === 0) {
      const level = height / Number(TILE_HEIGHT)
      const hash = this.#tile(level, index >> TILE_HEIGHT)[Number(index & 255n)]
      if (hash === undefined) throw malformed("a tile is shorter than the tree is wide")
      return hash
    }
    const id = `${height}/${index}`
    const known = this.#nodes.get(id)
    if (known !== undefined) return known
    const hash = this.#sha256(nodeInput(this.#node(height - 1, 2n * index), this.#node(height - 1, 2n * index + 1n)))
    this.#nodes.set(id, hash)
    return hash
  }

  #tile(level: number, index: bigint): readonly Uint8Array[] {
    const id = `${level}/${index}`
    const known = this.#tiles.get(id)
    if (known !== undefined) return known
    const tile = tileOf(level, index, this.size)
    const bytes = tile && this.#read(tile)
    if (tile === undefined || bytes === undefined) throw malformed(`no tile ${id}`)
    const hashes = tileHashes(bytes.subarray(0, tile.width * TREE_HASH_BYTES), tile.width)
    this.#tiles.set(id, hashes)
    return hashes
  }
}

/** What appending to a tree makes. */
export interface Growth {
  readonly tree: TreeState
  /** hashes of every tile that is new, or wider than before; full ones and those of the new edge */
  readonly tiles: ReadonlyMap<Tile, Uint8Array>
  /** entry bundles, as `tiles` */
  readonly entries: ReadonlyMap<Pick<Tile, "index" | "width">, Uint8Array>
  /** the new tree, over the new tiles and the edge that it grew from */
  readonly proofs: TileTree
}

/**
 * Appends entries to a tree.
 * @param edge hashes of `edgeTiles(size)`, in its order; trusted only after `TileTree.root` over them gave the root that is known
 * @param lastEntries the entries of the last bundle, when it is partial
 * @throws FormatError TILE_MALFORMED, TOO_LARGE
 */
export function growTree(
  size: bigint,
  edge: readonly Uint8Array[],
  lastEntries: readonly Uint8Array[],
  appended: readonly Uint8Array[],
  sha256: Sha256,
): Growth {
  const grown = size + BigInt(appended.length)
  const levels: Uint8Array[][] = []
  edgeTiles(size).forEach(({ level, width }, i) => {
    levels[level] = tileHashes(edge[i] ?? new Uint8Array(0), width)
  })
  const made = new Map<string, { tile: Tile; hashes: Uint8Array[] }>()
  const emit = (tile: Tile, hashes: Uint8Array[]) => made.set(`${tile.level}/${tile.index}`, { tile, hashes })
  const push = (level: number, hash: Uint8Array, position: bigint) => {
    const hashes = levels[level] ?? []
    levels[level] = hashes
    hashes.push(hash)
    if (hashes.length < TILE_WIDTH) return
    const index = position >> TILE_HEIGHT
    emit({ level, index, width: TILE_WIDTH }, hashes)
    levels[level] = []
    push(level + 1, fullTileRoot(hashes, sha256), index)
  }
  appended.forEach((entry, i) => {
    push(0, sha256(leafInput(entry)), size + BigInt(i))
  })
  const before = new Set(edgeTiles(size).map(tilePath))
  for (const tile of edgeTiles(grown)) if (!before.has(tilePath(tile))) emit(tile, levels[tile.level] as Uint8Array[])
  const kept = new Map(edgeTiles(size).map((tile, i) => [`${tile.level}/${tile.index}`, edge[i] as Uint8Array]))
  const tiles = new Map([...made.values()].map(({ tile, hashes }) => [tile, concat(...hashes)]))
  for (const [tile, bytes] of tiles) kept.set(`${tile.level}/${tile.index}`, bytes)
  const proofs = new TileTree(grown, ({ level, index }) => kept.get(`${level}/${index}`), sha256)
  return {
    tree: { size: grown, root: proofs.root() },
    tiles,
    entries: bundleEntries(size, lastEntries, appended),
    proofs,
  }
}

/** The hash that stands above a full tile. */
export function fullTileRoot(hashes: readonly Uint8Array[], sha256: Sha256): Uint8Array {
  let row = hashes
  while (row.length > 1)
    row = Array.from({ length: row.length / 2 }, (_, i) =>
      sha256(nodeInput(row[2 * i] as Uint8Array, row[2 * i + 1] as Uint8Array)),
    )
  return row[0] as Uint8Array
}

function bundleEntries(
  size: bigint,
  lastEntries: readonly Uint8Array[],
  appended: readonly Uint8Array[],
): ReadonlyMap<Pick<Tile, "index" | "width">, Uint8Array> {
  if (BigInt(lastEntries.length) !== (size & 255n)) throw malformed("not the entries of the last bundle")
  const all = [...lastEntries, ...appended]
  const bundles = new Map<Pick<Tile, "index" | "width">, Uint8Array>()
  if (appended.length === 0) return bundles
  for (let at = 0; at < all.length; at += TILE_WIDTH) {
    const entries = all.slice(at, at + TILE_WIDTH)
    bundles.set(
      { index: (size >> TILE_HEIGHT) + BigInt(at / TILE_WIDTH), width: entries.length },
      encodeEntries(entries),
    )
  }
  return bundles
}

function malformed(detail: string): FormatError {
  return new FormatError("TILE_MALFORMED", detail)
}
