import { bytesEqual, utf8 } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import type { NoteSignature } from "@sealwright/formats/signed-note"
import { parseLogPolicy } from "@sealwright/formats/tlog-policy"
import { MAX_TILE_BYTES, type Tile, TileTree, tilePath } from "@sealwright/formats/tlog-tiles"
import { isServiceError, ServiceError } from "../errors.ts"
import { type LogCommit, readWitnessed, recordShownNote, rememberWitnessed, requireLogCommit } from "../ledger/log.ts"
import { checkpointPath, openCheckpoint, type ShownCheckpoint } from "./checkpoint.ts"
import { cosignersOf } from "./cosigners.ts"
import { LOG_HEADERS } from "./objects.ts"
import { logPath, logSigners } from "./origin.ts"
import type { Log, SequencePorts } from "./ports.ts"
import { withCosignatures } from "./witness.ts"

/** Tiles that one consistency proof may take: a tree of 2^53 leaves has seven levels, and a proof two paths through them. */
const MAX_PROOF_TILES = 32

/**
 * The checkpoint of a decided epoch as readers get it: with what its witnesses answer within a second. It fails open: whatever they do, a checkpoint
 * comes back. The first round that was stored counts, so everyone who finishes the epoch shows the same bytes.
 * @param note signed and verified
 * @throws ServiceError LOG_CONFLICT, LOG_UNVERIFIED, STORE_UNAVAILABLE
 */
export async function cosignCheckpoint(
  ports: SequencePorts,
  log: Log,
  commit: LogCommit,
  note: Uint8Array,
): Promise<Uint8Array> {
  if (commit.shown !== undefined) return verified(ports, log, commit, commit.shown.bytes)
  if (log.witnesses === undefined) return note
  const next = withCosignatures(note, await ask(ports, log, log.witnesses, commit, note))
  return verified(ports, log, commit, await recordShownNote(ports.table, log.kind, commit.epoch, undefined, next))
}

/**
 * Has the standing checkpoint cosigned where its quorum is not met, and shows what was added. Nothing of it is ever taken back: what is stored next has
 * every line of what stood (and is stored only over that), of the same tree; and the object is replaced only as it was read before the stored note was
 * read, which therefore has every line of it. So no reader sees a smaller tree, another one, or a cosignature less.
 * @param shown read before `epoch`
 * @throws ServiceError LOG_CONFLICT, LOG_FORKED, LOG_UNVERIFIED, STORE_UNAVAILABLE
 */
export async function cosignStanding(
  ports: SequencePorts,
  log: Log,
  shown: ShownCheckpoint,
  epoch: number,
): Promise<void> {
  if (log.witnesses === undefined || epoch === 0) return
  const commit = await requireLogCommit(ports.table, log.kind, epoch)
  let note = commit.shown?.bytes ?? commit.note
  if (note === undefined || shown.size !== commit.size) return
  if (needsMore(note, log.witnesses)) {
    const next = withCosignatures(note, await ask(ports, log, log.witnesses, commit, note))
    if (next.length > note.length) note = await recordShownNote(ports.table, log.kind, epoch, commit.shown, next)
  }
  if (!bytesEqual(note, shown.bytes))
    await ports.objects.replace(
      checkpointPath(log),
      verified(ports, log, commit, note),
      shown.etag,
      LOG_HEADERS.checkpoint,
    )
}

/** What the table says is shown is not taken on trust. @throws ServiceError LOG_UNVERIFIED unless the log signed it, of this tree */
function verified({ digest, run }: SequencePorts, log: Log, { size, root, epoch }: LogCommit, note: Uint8Array) {
  const checkpoint = run(openCheckpoint(note, log, logSigners(digest, log.origin)))
  if (checkpoint === undefined || checkpoint.size !== size || !bytesEqual(checkpoint.root, root))
    throw new ServiceError("LOG_UNVERIFIED", `the cosigned checkpoint of epoch ${epoch} is not one that the log signed`)
  return note
}

/** One that can't be read asks nobody again: its failure was told when it was asked first. */
function needsMore(note: Uint8Array, witnesses: string): boolean {
  try {
    return !cosignersOf(note, parseLogPolicy(utf8(witnesses))).quorum
  } catch (error) {
    if (error instanceof FormatError) return false
    throw error
  }
}

async function ask(
  ports: SequencePorts,
  log: Log,
  witnesses: string,
  commit: LogCommit,
  note: Uint8Array,
): Promise<readonly NoteSignature[]> {
  const known = await readWitnessed(ports.table, log.kind)
  const proveFrom = prover(ports, log, commit.size)
  const { signatures, seen } = await ports.cosign(witnesses, { note, known, proveFrom })
  // What a witness says to have seen beyond the tree is its own affair: it is asked again.
  const sizes = new Map([...seen].filter(([, size]) => size <= commit.size))
  if (!sameSizes(known, sizes)) await remember(ports, log, sizes)
  return signatures
}

/** A loss costs each witness one more round trip, so nothing waits for it. */
async function remember({ table }: SequencePorts, { kind }: Log, sizes: ReadonlyMap<string, bigint>): Promise<void> {
  try {
    await rememberWitnessed(table, kind, sizes)
  } catch (error) {
    if (!isServiceError(error)) throw error
  }
}

function sameSizes(a: ReadonlyMap<string, bigint>, b: ReadonlyMap<string, bigint>): boolean {
  return a.size === b.size && [...a].every(([address, size]) => b.get(address) === size)
}

/** Consistency proofs up to `size` over the tiles of the bucket, which are read as they are needed, each once. */
function prover(ports: SequencePorts, { kind }: Log, size: bigint): (from: bigint) => Promise<readonly Uint8Array[]> {
  const tiles = new Map<string, Uint8Array>()
  return async (from) => {
    for (let read = 0; ; read++) {
      const missing: Tile[] = []
      const tree = new TileTree(
        size,
        (tile) => {
          const bytes = tiles.get(tilePath(tile))
          if (bytes === undefined) missing.push(tile)
          return bytes
        },
        (bytes) => ports.digest("sha256", bytes),
      )
      try {
        return tree.consistencyProof(from)
      } catch (error) {
        const [tile] = missing
        if (tile === undefined || read >= MAX_PROOF_TILES) throw error
        const stored = await ports.objects.get(logPath(kind, tilePath(tile)), MAX_TILE_BYTES)
        if (stored === undefined) throw error
        tiles.set(tilePath(tile), stored.bytes)
      }
    }
  }
}
