import { createHash } from "node:crypto"
import { parseCheckpoint } from "@sealwright/formats/checkpoint"
import { FormatError } from "@sealwright/formats/errors"
import { MAX_NOTE_BYTES, parseNote } from "@sealwright/formats/signed-note"
import { MAX_TILE_BYTES, TILE_WIDTH, type Tile, TileTree, tileOf, tilePath } from "@sealwright/formats/tlog-tiles"
import type { Consistency } from "@sealwright/verifier/log-check"

export const LOG_TREES = ["signatures", "events"] as const
export type LogTree = (typeof LOG_TREES)[number]

/** @returns undefined when there is no such file; of a longer file more than `maxBytes` */
export type ReadFile = (path: string, maxBytes: number) => Uint8Array | undefined

const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash("sha256").update(bytes).digest())

/** Where a tree's files stand in a bundle: `checkpoint` and `tile/`, as its log serves them. */
export function treeReader(read: ReadFile, tree: LogTree): ReadFile {
  return (path, maxBytes) => read(`log/${tree}/${path}`, maxBytes)
}

/** The newest checkpoints that a bundle has, and how its tiles prove their history. Nothing of it is verified. */
export function logsIn(read: ReadFile): { readonly checkpoints: Uint8Array[]; readonly consistency: Consistency } {
  const trees = LOG_TREES.flatMap((tree) => {
    const files = treeReader(read, tree)
    const checkpoint = files("checkpoint", MAX_NOTE_BYTES)
    return checkpoint === undefined ? [] : [{ checkpoint, files, head: headOf(checkpoint) }]
  })
  return {
    checkpoints: trees.map(({ checkpoint }) => checkpoint),
    consistency: (origin, from, to) => {
      const tree = trees.find(({ head }) => head?.origin === origin)
      return tree?.head && consistencyFrom(tree.files, tree.head.size, from, to)
    },
  }
}

function headOf(checkpoint: Uint8Array) {
  return orUndefined(() => parseCheckpoint(parseNote(checkpoint).text))
}

/**
 * A consistency proof out of tiles. They are not verified: neither is a proof from false ones.
 * @param size of the tree that the tiles are of: those of its right edge are as wide as it makes them
 * @returns undefined when a tile is missing
 */
export function consistencyFrom(
  read: ReadFile,
  size: bigint,
  from: bigint,
  to: bigint,
): readonly Uint8Array[] | undefined {
  const tile = (wanted: Tile) => {
    const present = tileOf(wanted.level, wanted.index, size)
    const widths = new Set([wanted.width, present?.width ?? TILE_WIDTH, TILE_WIDTH])
    for (const width of widths) {
      const bytes = width < wanted.width ? undefined : read(tilePath({ ...wanted, width }), MAX_TILE_BYTES)
      if (bytes !== undefined) return bytes
    }
    return undefined
  }
  return orUndefined(() => new TileTree(to, tile, sha256).consistencyProof(from, to))
}

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof FormatError) return undefined
    throw error
  }
}
