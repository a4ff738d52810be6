import { bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { type Hashing, inclusionRoot, isConsistent, leafInput } from "@sealwright/formats/merkle"
import { entriesPath, parseEntries, type Sha256, type TileTree, tileOf, tilePath } from "@sealwright/formats/tlog-tiles"
import { ServiceError } from "../errors.ts"
import { type LogCommit, loggedWrite, logPublished, requireLogCommit } from "../ledger/log.ts"
import type { Write } from "../ports.ts"
import { type Batch, decodeBatch, entriesMatch, MAX_STAGED_BYTES, treeOf } from "./batch.ts"
import { checkpointPath, openCheckpoint, readCheckpoint, signCheckpoint } from "./checkpoint.ts"
import { cosignCheckpoint } from "./cosign.ts"
import { createSame, forEach, LOG_HEADERS } from "./objects.ts"
import { logPath, logSigners } from "./origin.ts"
import type { Log, SequencePorts } from "./ports.ts"

/** Entries whose places one transaction writes down: two writes each. */
const ENTRIES_PER_TRANSACTION = 50
const MOVE_ATTEMPTS = 4

/**
 * Brings a decided epoch to every reader. Anyone may run it, again and at the same time: tiles are immutable, signatures are stored once, of two rounds
 * of witnesses the first that was stored counts, the checkpoint only moves to a larger tree, and each entry's place is the same whoever writes it.
 * @returns how many entries the epoch has
 * @throws ServiceError LOG_FORKED, LOG_BEHIND when the staged batch is gone, LOG_UNVERIFIED, CONTENTION, SIGNER_UNAVAILABLE, STORE_UNAVAILABLE
 */
export async function finishEpoch(ports: SequencePorts, log: Log, epoch: number): Promise<number> {
  const { kind } = log
  const commit = await requireLogCommit(ports.table, kind, epoch)
  const batch = await readBatch(ports, commit)
  await forEach([...batch.files], ([path, bytes]) =>
    createSame(ports.objects, logPath(kind, path), bytes, LOG_HEADERS.tile),
  )
  const note = await signCheckpoint(ports, log, commit)
  await verifyAsStranger(ports, log, commit, batch, note)
  await moveCheckpoint(ports, log, commit, await cosignCheckpoint(ports, log, commit, note))
  await settleEntries(ports, log, commit, batch)
  await ports.table.transact([logPublished(kind, epoch)])
  return batch.entries.length
}

async function readBatch({ objects, digest }: SequencePorts, commit: LogCommit): Promise<Batch> {
  const staged = await objects.get(commit.stagingKey, MAX_STAGED_BYTES)
  if (staged === undefined) throw new ServiceError("LOG_BEHIND", `${commit.stagingKey} is gone before it was published`)
  if (hexEncode(digest("sha256", staged.bytes)) !== commit.stagingDigest)
    throw new ServiceError("LOG_FORKED", `${commit.stagingKey} is not what was committed`)
  return decodeBatch(staged.bytes, commit.from, commit)
}

/**
 * Reads the new objects back from the bucket and verifies them as one would who followed the log from its last checkpoint: signatures, consistency, each
 * new entry's hash, and inclusion of some. Only then may the checkpoint move.
 * @throws ServiceError LOG_UNVERIFIED
 */
async function verifyAsStranger(
  ports: SequencePorts,
  log: Log,
  commit: LogCommit,
  batch: Batch,
  note: Uint8Array,
): Promise<void> {
  const read = async (paths: Iterable<string>): Promise<Map<string, Uint8Array>> => {
    const found = await forEach([...paths], async (path): Promise<[string, Uint8Array][]> => {
      const expected = batch.files.get(path) ?? batch.edge.get(path)
      const stored = await ports.objects.get(logPath(log.kind, path), expected?.length ?? 0)
      return stored === undefined ? [] : [[path, stored.bytes]]
    })
    return new Map(found.flat())
  }
  const files = await read(batch.files.keys())
  const edge = await read(batch.edge.keys())
  const problem = inspect(ports, log, commit, note, files, edge)
  if (problem !== undefined)
    throw new ServiceError("LOG_UNVERIFIED", `epoch ${commit.epoch} of the log of ${log.kind}: ${problem}`)
}

/** @returns what is wrong; undefined when all is sound */
function inspect(
  { digest, run }: SequencePorts,
  log: Log,
  { from, size, root }: LogCommit,
  note: Uint8Array,
  files: ReadonlyMap<string, Uint8Array>,
  edge: ReadonlyMap<string, Uint8Array>,
): string | undefined {
  const sha256: Sha256 = (bytes) => digest("sha256", bytes)
  const checkpoint = run(openCheckpoint(note, log, logSigners(digest, log.origin)))
  if (checkpoint === undefined) return "the checkpoint does not verify"
  if (checkpoint.size !== size || !bytesEqual(checkpoint.root, root)) return "the checkpoint is of another tree"
  try {
    const tree = treeOf(size, files, edge, sha256)
    if (!bytesEqual(tree.root(), checkpoint.root)) return "the tiles have another root"
    if (!hashWith(isConsistent(from, checkpoint, tree.consistencyProof(from.size)), sha256))
      return "the tree does not continue the one before"
    for (let index = from.size >> 8n; index << 8n < size; index++) {
      const tile = tileOf(0, index, size)
      const hashes = tile && files.get(tilePath(tile))
      const entries = tile && files.get(entriesPath(tile))
      if (hashes === undefined || entries === undefined) return `no tile or entries at ${index}`
      if (!entriesMatch(entries, hashes, sha256)) return `the entries at ${index} are not those of their tile`
    }
    for (const index of [from.size, (from.size + size) / 2n, size - 1n])
      if (!isIncluded(index, checkpoint.root, tree, files, sha256)) return `leaf ${index} is not included`
    return undefined
  } catch (error) {
    if (error instanceof FormatError) return error.message
    throw error
  }
}

function isIncluded(
  index: bigint,
  root: Uint8Array,
  tree: TileTree,
  files: ReadonlyMap<string, Uint8Array>,
  sha256: Sha256,
): boolean {
  const tile = tileOf(0, index >> 8n, tree.size)
  const bundle = tile && files.get(entriesPath(tile))
  const entry = tile && bundle && parseEntries(bundle, tile.width)[Number(index & 255n)]
  if (entry === undefined) return false
  const reached = hashWith(
    inclusionRoot(sha256(leafInput(entry)), index, tree.size, tree.inclusionProof(index)),
    sha256,
  )
  return reached !== undefined && bytesEqual(reached, root)
}

function hashWith<T>(hashing: Hashing<T>, sha256: Sha256): T {
  let state = hashing.next()
  while (!state.done) state = hashing.next(sha256(state.value))
  return state.value
}

/** Replaces the checkpoint, never by a smaller one: a sequencer that slept for hours changes nothing. */
async function moveCheckpoint(ports: SequencePorts, log: Log, commit: LogCommit, note: Uint8Array): Promise<void> {
  const { objects } = ports
  for (let attempt = 0; attempt < MOVE_ATTEMPTS; attempt++) {
    const standing = await readCheckpoint(ports, log)
    if (standing !== undefined && standing.size >= commit.size) return
    const key = checkpointPath(log)
    if ((await objects.replace(key, note, standing?.etag, LOG_HEADERS.checkpoint)) !== "changed") return
  }
  throw new ServiceError("CONTENTION", `${checkpointPath(log)} kept changing`)
}

/** Writes down where each signature stands, and takes it off the inbox, in one transaction: it is waiting or logged, and never both. */
async function settleEntries(ports: SequencePorts, { kind }: Log, commit: LogCommit, batch: Batch): Promise<void> {
  const sha256: Sha256 = (bytes) => ports.digest("sha256", bytes)
  const tree = treeOf(commit.size, batch.files, batch.edge, sha256)
  const chunks = Array.from({ length: Math.ceil(batch.entries.length / ENTRIES_PER_TRANSACTION) }, (_, i) =>
    batch.entries.slice(i * ENTRIES_PER_TRANSACTION, (i + 1) * ENTRIES_PER_TRANSACTION),
  )
  await forEach(chunks, async (entries) => {
    const writes = entries.flatMap(({ inbox, index, leaves }): Write[] => {
      const taken: Write = { delete: inbox }
      if (kind === "events") return [taken]
      const proofs = Array.from({ length: leaves }, (_, i) => tree.inclusionProof(index + BigInt(i)))
      return [loggedWrite(inbox.sk, { epoch: commit.epoch, index, proofs }), taken]
    })
    const result = await ports.table.transact(writes)
    if (!result.committed)
      throw new ServiceError("LOG_FORKED", `an entry of epoch ${commit.epoch} stands in another epoch of the log`)
  })
}
