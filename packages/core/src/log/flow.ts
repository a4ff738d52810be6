import { bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import {
  edgeTiles,
  entriesPath,
  MAX_ENTRIES_BYTES,
  MAX_TILE_BYTES,
  parseEntries,
  type Sha256,
  TileTree,
  tilePath,
} from "@sealwright/formats/tlog-tiles"
import { ServiceError } from "../errors.ts"
import { commitLogEpoch, type LogHead, readLogHead } from "../ledger/log.ts"
import { noteBehind } from "../ledger/table-behind.ts"
import { readDeployment } from "../ledger/trust.ts"
import type { LogKind } from "../model.ts"
import { type Edge, encodeBatch, makeBatch, stagingKey } from "./batch.ts"
import { readCheckpoint } from "./checkpoint.ts"
import { cosignStanding } from "./cosign.ts"
import { finishEpoch } from "./finish.ts"
import { ROUND_LIMITS, type RoundLimits, readWaiting, type WaitingEntry } from "./inbox.ts"
import { createSame, LOG_HEADERS } from "./objects.ts"
import { logLines, logPath, originOf } from "./origin.ts"
import type { Log, SequencePorts } from "./ports.ts"
import { checkNotAhead, checkNotBehind } from "./rules.ts"

export interface SequenceOutcome {
  /** the epoch that stands published */
  readonly epoch: number
  readonly size: bigint
  /** entries that this run took into the log, what another one had left unfinished among them */
  readonly logged: number
  /** when the oldest was made of what waited as this run began; undefined: nothing waited */
  readonly oldest: Date | undefined
  /** ids of what waits and can't be logged */
  readonly unreadable: readonly string[]
}

/**
 * Takes what waits into a log (D5). Order: finish what a crash left; check the head against the published checkpoint; read what waits; rebuild the right
 * edge and check it against the head's root; stage the batch; decide it by compare-and-swap; then, as `finishEpoch`, write tiles, sign the decided head,
 * store the signature where the first wins, read back and verify as a stranger would, have witnesses cosign within a second or go without (the first
 * round that is stored wins), move the checkpoint, write down where each entry stands. Anyone may crash anywhere, and any number may run at once: no key
 * signs a head that was not decided, and one epoch has one content.
 * @returns after one round; more may wait
 * @throws ServiceError LOG_NOT_SET_UP, LOG_AHEAD, LOG_BEHIND, LOG_FORKED, LOG_CONFLICT (another one was first), LOG_UNVERIFIED, SIGNER_UNAVAILABLE,
 * STORE_UNAVAILABLE
 */
export async function sequence(
  ports: SequencePorts,
  kind: LogKind,
  limits: RoundLimits = ROUND_LIMITS,
): Promise<SequenceOutcome> {
  const log = await openLog(ports, kind)
  const shown = await readCheckpoint(ports, log)
  let head = await readLogHead(ports.table, kind)
  if (shown !== undefined && shown.size > head.size) await ports.table.transact([noteBehind(kind, Number(shown.size))])
  checkNotAhead(head, shown)
  let logged = 0
  if (head.state === "committed") {
    logged += await finishEpoch(ports, log, head.epoch)
    head = await readLogHead(ports.table, kind)
    if (head.state === "committed") throw lost(kind, head.epoch)
  }
  if (head.size > (shown?.size ?? 0n)) checkNotBehind(head, await readCheckpoint(ports, log))
  const waiting = await readWaiting(ports, kind, limits)
  const { oldest, unreadable } = waiting
  if (waiting.entries.length === 0) return { epoch: head.epoch, size: head.size, logged, oldest, unreadable }
  const { epoch, size } = await decide(ports, log, head, waiting.entries)
  logged += await finishEpoch(ports, log, epoch)
  return { epoch, size, logged, oldest, unreadable }
}

/** @throws ServiceError LOG_NOT_SET_UP */
async function openLog({ table, digest }: SequencePorts, kind: LogKind): Promise<Log> {
  const deployment = await readDeployment(table)
  const { log, witnesses } = deployment
  return {
    kind,
    origin: originOf(deployment, kind),
    witnesses: log && witnesses && `${logLines(digest, log)}${witnesses}`,
  }
}

/**
 * Asks the witnesses of the standing checkpoint again where too few have cosigned it (see `cosignStanding`).
 * @throws ServiceError as `sequence`
 */
export async function askWitnessesAgain(ports: SequencePorts, kind: LogKind): Promise<void> {
  const log = await openLog(ports, kind)
  if (log.witnesses === undefined) return
  const shown = await readCheckpoint(ports, log)
  const { epoch, state } = await readLogHead(ports.table, kind)
  if (shown !== undefined && state === "published") await cosignStanding(ports, log, shown, epoch)
}

/** Stages what the next epoch adds, and decides it. @throws ServiceError LOG_CONFLICT */
async function decide(
  ports: SequencePorts,
  { kind }: Log,
  head: LogHead,
  waiting: readonly WaitingEntry[],
): Promise<{ readonly epoch: number; readonly size: bigint }> {
  const { table, objects, digest } = ports
  const sha256: Sha256 = (bytes) => digest("sha256", bytes)
  const batch = makeBatch(head, await readEdge(ports, kind, head, sha256), waiting, sha256)
  const epoch = head.epoch + 1
  const bytes = encodeBatch(batch)
  const key = stagingKey(kind, epoch, batch.tree)
  await createSame(objects, key, bytes, LOG_HEADERS.staging)
  const decided = await commitLogEpoch(table, kind, {
    epoch,
    ...batch.tree,
    from: { size: head.size, root: head.root },
    stagingKey: key,
    stagingDigest: hexEncode(sha256(bytes)),
  })
  if (!decided) throw lost(kind, epoch)
  return { epoch, size: batch.tree.size }
}

/**
 * The tree's right edge from the bucket, which is not trusted: its root must be the head's.
 * @throws ServiceError LOG_BEHIND for a missing tile, LOG_FORKED for one with other hashes
 */
async function readEdge(ports: SequencePorts, kind: LogKind, head: LogHead, sha256: Sha256): Promise<Edge> {
  const { size } = head
  const read = async (path: string, maxBytes: number): Promise<Uint8Array> => {
    const stored = await ports.objects.get(logPath(kind, path), maxBytes)
    if (stored === undefined) throw new ServiceError("LOG_BEHIND", `the bucket lacks ${logPath(kind, path)}`)
    return stored.bytes
  }
  const places = edgeTiles(size)
  const tiles = await Promise.all(places.map((tile) => read(tilePath(tile), MAX_TILE_BYTES)))
  const width = Number(size & 255n)
  const bundle = width === 0 ? undefined : await read(entriesPath({ index: size >> 8n, width }), MAX_ENTRIES_BYTES)
  try {
    const byPath = new Map(places.map((tile, i) => [tilePath(tile), tiles[i] as Uint8Array]))
    const root = new TileTree(size, (tile) => byPath.get(tilePath(tile)), sha256).root()
    if (!bytesEqual(root, head.root)) throw new FormatError("TILE_MALFORMED", "another root than the head's")
    return { tiles, lastEntries: bundle === undefined ? [] : parseEntries(bundle, width) }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new ServiceError("LOG_FORKED", `the tiles at size ${size} are not the head's: ${error.message}`)
  }
}

function lost(kind: LogKind, epoch: number): ServiceError {
  return new ServiceError("LOG_CONFLICT", `epoch ${epoch} of the log of ${kind} was decided by another sequencer`)
}
