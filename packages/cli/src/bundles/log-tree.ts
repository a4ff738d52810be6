import { createHash } from "node:crypto"
import { mkdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { MAX_BUNDLE_FILES } from "@sealwright/formats/bundle-index"
import { bytesEqual } from "@sealwright/formats/bytes"
import { type Checkpoint, TREE_HASH_BYTES } from "@sealwright/formats/checkpoint"
import { FormatError } from "@sealwright/formats/errors"
import { leafInput } from "@sealwright/formats/merkle"
import {
  allTiles,
  edgeTiles,
  entriesPath,
  fullTileRoot,
  MAX_ENTRIES_BYTES,
  MAX_TILE_BYTES,
  parseEntries,
  parseLogPath,
  pathTiles,
  TILE_WIDTH,
  type Tile,
  TileTree,
  tileHashes,
  tileOf,
  tilePath,
} from "@sealwright/formats/tlog-tiles"
import { folderReader } from "../bundle-folder.ts"
import { CommandFailure, EXIT } from "../exit.ts"
import { writeFileWhole } from "../files.ts"
import { type LogTree, type ReadFile, treeReader } from "../log-files.ts"
import { listBundleFiles } from "./folder.ts"

const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash("sha256").update(bytes).digest())

/**
 * How much of a log a bundle has. `seen`: what proves that the newest tree continues those that the bundle and this machine have seen; `tiles`: every
 * hash, so that it is proven from any size; `entries`: the whole log.
 */
export type LogCopy = "seen" | "tiles" | "entries"

/**
 * A file of one of the logs, from wherever; it is not trusted.
 * @returns undefined when there is none
 * @throws CommandFailure FILE_TOO_LARGE beyond `maxBytes`
 */
export type LogSource = (tree: LogTree, path: string, maxBytes: number) => Promise<Uint8Array | undefined>

/** Copies one tree's files, from its top down: a tile counts when the hash above it is its root, the topmost when they make the checkpoint's root. */
export class TreeCopier {
  written = 0
  /** of all files that were wanted */
  bytes = 0
  readonly read: ReadFile
  readonly #folder: string
  readonly #tree: LogTree
  readonly #head: Checkpoint
  readonly #source: LogSource
  readonly #wanted = new Set<string>()

  constructor(folder: string, tree: LogTree, head: Checkpoint, source: LogSource) {
    this.read = treeReader(folderReader(folder), tree)
    this.#folder = join(folder, "log", tree)
    this.#tree = tree
    this.#head = head
    this.#source = source
  }

  /** @param seen sizes of earlier trees, none above this one's */
  async copy(copy: LogCopy, seen: readonly bigint[]): Promise<void> {
    const { size } = this.#head
    const bundles = copy === "seen" ? 0n : (size >> 8n) * (copy === "entries" ? 2n : 1n)
    if (bundles > MAX_BUNDLE_FILES)
      throw new CommandFailure(
        EXIT.rejected,
        "BUNDLE_TOO_LARGE",
        `a log of ${size} entries has more files than a bundle can`,
        "Take the tiles of what was seen alone.",
      )
    await this.#copyEdge()
    for (const tile of copy === "seen" ? tilesOf([...seen, size], size) : allTiles(size))
      if (tile.width === TILE_WIDTH) await this.#take(tilePath(tile), MAX_TILE_BYTES, this.#isOfTree(tile))
    if (copy === "entries")
      for (let index = 0n, tile = tileOf(0, index, size); tile !== undefined; tile = tileOf(0, ++index, size))
        await this.#take(entriesPath(tile), MAX_ENTRIES_BYTES, this.#areOfTile(tile))
  }

  /**
   * The checkpoint, once all that it wants is there. Of edges that are no longer the tree's, those stay that its clients may still ask for: with all tiles
   * each until its tile is full (C2SP tlog-tiles, partial tiles); always those of the tree that stood.
   * @param before size of the tree that stood
   */
  finish(copy: LogCopy, checkpoint: Uint8Array, before: bigint | undefined): void {
    mkdirSync(this.#folder, { recursive: true })
    for (const path of listBundleFiles(this.#folder)) {
      const file = parseLogPath(path)
      if (file === undefined || file.kind === "checkpoint" || file.tile.width === TILE_WIDTH) continue
      if (this.#wanted.has(path)) continue
      const level = file.kind === "tile" ? file.tile.level : 0
      const now = tileOf(level, file.tile.index, this.#head.size)
      const stood = before !== undefined && tileOf(level, file.tile.index, before)?.width === file.tile.width
      const stays = stood || (copy !== "seen" && now !== undefined && now.width < TILE_WIDTH)
      const pathNow = now && (file.kind === "tile" ? tilePath(now) : entriesPath(now))
      if (!(stays && pathNow !== undefined && this.#begins(pathNow, path))) rmSync(join(this.#folder, path))
    }
    this.#write("checkpoint", checkpoint)
  }

  /** An append-only log's older edge is the beginning of the newer. */
  #begins(path: string, older: string): boolean {
    const [bytes, beginning] = [this.read(path, MAX_ENTRIES_BYTES), this.read(older, MAX_ENTRIES_BYTES)]
    return bytes !== undefined && beginning !== undefined && bytesEqual(bytes.subarray(0, beginning.length), beginning)
  }

  /** The partial tiles at the right edge are as good as the root that they make, together. */
  async #copyEdge(): Promise<void> {
    const { size, root } = this.#head
    const tiles = edgeTiles(size)
    const makesRoot = (files: ReadonlyMap<string, Uint8Array | undefined>) => {
      const tree = new TileTree(size, (tile) => files.get(tilePath(tile)), sha256)
      return attempt(() => bytesEqual(tree.root(), root)) === true
    }
    let files = new Map(tiles.map((tile) => [tilePath(tile), this.read(tilePath(tile), tile.width * TREE_HASH_BYTES)]))
    if (!makesRoot(files)) {
      files = new Map()
      for (const tile of tiles)
        files.set(tilePath(tile), await this.#fetch(tilePath(tile), tile.width * TREE_HASH_BYTES))
      if (!makesRoot(files)) throw otherBytes(this.#tree, "the tiles at its edge")
    }
    for (const [path, bytes] of files) if (bytes !== undefined) this.#write(path, bytes)
  }

  #isOfTree({ level, index }: Tile): (bytes: Uint8Array) => boolean {
    const above = tileOf(level + 1, index >> 8n, this.#head.size)
    const hashes = above && this.read(tilePath(above), above.width * TREE_HASH_BYTES)
    const at = Number(index & 255n) * TREE_HASH_BYTES
    const wanted = hashes?.subarray(at, at + TREE_HASH_BYTES) ?? new Uint8Array(0)
    return (bytes) => bytesEqual(fullTileRoot(tileHashes(bytes, TILE_WIDTH), sha256), wanted)
  }

  #areOfTile(tile: Tile): (bytes: Uint8Array) => boolean {
    const wanted = this.read(tilePath(tile), tile.width * TREE_HASH_BYTES) ?? new Uint8Array(0)
    return (bytes) => {
      const leaves = parseEntries(bytes, tile.width).map((entry) => sha256(leafInput(entry)))
      return bytesEqual(new Uint8Array(Buffer.concat(leaves)), wanted)
    }
  }

  async #take(path: string, maxBytes: number, isGood: (bytes: Uint8Array) => boolean): Promise<void> {
    const good = (bytes: Uint8Array | undefined) => bytes !== undefined && attempt(() => isGood(bytes)) === true
    const standing = this.read(path, maxBytes)
    if (standing !== undefined && good(standing)) {
      this.#note(path, standing)
      return
    }
    const bytes = await this.#fetch(path, maxBytes)
    if (!good(bytes)) throw otherBytes(this.#tree, path)
    this.#write(path, bytes)
  }

  async #fetch(path: string, maxBytes: number): Promise<Uint8Array> {
    const bytes = await this.#source(this.#tree, path, maxBytes)
    if (bytes === undefined) throw otherBytes(this.#tree, path)
    return bytes
  }

  #note(path: string, bytes: Uint8Array): void {
    if (!this.#wanted.has(path)) this.bytes += bytes.length
    this.#wanted.add(path)
  }

  #write(path: string, bytes: Uint8Array): void {
    this.#note(path, bytes)
    const standing = this.read(path, bytes.length)
    if (standing !== undefined && bytesEqual(standing, bytes)) return
    writeFileWhole(join(this.#folder, path), bytes)
    this.written += 1
  }
}

/** Of several trees, each tile once, the highest level first. */
function tilesOf(sizes: readonly bigint[], size: bigint): readonly Tile[] {
  const tiles = new Map<string, Tile>()
  for (const each of new Set(sizes)) for (const tile of pathTiles(each, size)) tiles.set(tilePath(tile), tile)
  return [...tiles.values()].sort((a, b) => b.level - a.level)
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof FormatError) return undefined
    throw error
  }
}

function otherBytes(tree: LogTree, what: string): CommandFailure {
  return new CommandFailure(
    EXIT.rejected,
    "FETCHED_OTHER_BYTES",
    `the log of ${tree}: ${what} is missing or not of the tree that its checkpoint signs`,
    "Ask again; if it stays so, the source is damaged or worse. Nothing was taken over.",
  )
}
