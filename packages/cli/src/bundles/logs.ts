import { base64Decode, bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { type Checkpoint, parseCheckpoint } from "@sealwright/formats/checkpoint"
import { FormatError } from "@sealwright/formats/errors"
import { openObject, string } from "@sealwright/formats/shape"
import { MAX_NOTE_BYTES, parseNote } from "@sealwright/formats/signed-note"
import { LOG_PROOF_SUFFIX, MAX_LOG_PROOF_BYTES, parseLogProof } from "@sealwright/formats/tlog-proof"
import type { OpenedBundle } from "@sealwright/verifier/bundle"
import {
  checkCheckpoint,
  checkNewest,
  type RefusedCheckpoint,
  relateTrees,
  type TrustedLogs,
} from "@sealwright/verifier/log-check"
import { runSync } from "@sealwright/verifier/node-crypto"
import { raiseLogFloors } from "@sealwright/verifier/state"
import type { ProvenHead } from "@sealwright/verifier/verdict"
import { folderReader } from "../bundle-folder.ts"
import type { ServiceClient } from "../client.ts"
import { CommandFailure, EXIT } from "../exit.ts"
import { consistencyFrom, LOG_TREES, type ReadFile, treeReader } from "../log-files.ts"
import { checkpointMissing, logRefusal, readLogs } from "../log-trust.ts"
import { note } from "../output.ts"
import type { Fetcher } from "./fetcher.ts"
import { listBundleFiles } from "./folder.ts"
import { type LogCopy, type LogSource, TreeCopier } from "./log-tree.ts"

/** @param url below which `signatures/` and `events/` stand, as a bundle has them */
export function logsAt(url: string, fetcher: Fetcher): LogSource {
  const base = url.replace(/\/$/, "")
  return async (tree, path, maxBytes) => {
    const address = `${base}/${tree}/${path}`
    return path === "checkpoint" ? await fetcher.head(address, maxBytes) : await fetcher.file(address, maxBytes)
  }
}

const fileShape = openObject({ file: openObject({ content: string(6_000_000) }) })

/** The logs that the service shows to whoever may read its records. */
export function logsOfService(client: ServiceClient): LogSource {
  return async (tree, path, maxBytes) => {
    try {
      const bytes = base64Decode(fileShape(await client.get(`/v1/log/${tree}/${path}`), "answer").file.content)
      if (bytes.length > maxBytes)
        throw new CommandFailure(EXIT.rejected, "FILE_TOO_LARGE", `${path} is longer than ${maxBytes} bytes`)
      return bytes
    } catch (error) {
      if (error instanceof CommandFailure && error.code === "NOT_PUBLISHED") return undefined
      throw error
    }
  }
}

export interface LogsInput {
  readonly source: LogSource
  readonly copy: LogCopy
  readonly now: Date
  /** whether there has to be a log */
  readonly required: boolean
}

/** What a verified bundle says of its logs. */
export interface LogsOfBundle {
  readonly trustBundle: Pick<OpenedBundle["trustBundle"], "log">
  readonly floors: Pick<OpenedBundle["floors"], "logs">
}

export interface StagedLogs {
  readonly heads: readonly ProvenHead[]
  readonly filesWritten: number
  /** of the files that they consist of here */
  readonly bytes: number
}

/**
 * Brings a folder's logs up to date: a checkpoint that the trust bundle's policy accepts, tiles that were found to be its tree's, and the proof that it
 * continues what the folder and the state file have. Tiles are written first, the checkpoint last.
 * @throws CommandFailure with the verifier's code; FETCHED_OTHER_BYTES for a tile or entries that are missing, cut or not the tree's; CHECKPOINT_MISSING
 */
export async function stageLogs(folder: string, bundle: LogsOfBundle, input: LogsInput): Promise<StagedLogs> {
  const { log } = bundle.trustBundle
  if (log === undefined) {
    if (input.required) throw logRefusal("LOG_POLICY_MISSING", "the trust bundle names no log")
    return { heads: [], filesWritten: 0, bytes: 0 }
  }
  const trusted = readLogs(new TextEncoder().encode(log.policy))
  const heads: ProvenHead[] = []
  let filesWritten = 0
  let total = 0
  let found = 0
  for (const tree of LOG_TREES) {
    const origin = log[tree]
    const before = treeReader(folderReader(folder), tree)("checkpoint", MAX_NOTE_BYTES)
    const floor = bundle.floors.logs?.get(origin)
    const bytes = await input.source(tree, "checkpoint", MAX_NOTE_BYTES)
    if (bytes === undefined) {
      // Young logs have none; one that was seen has.
      if (before !== undefined || floor !== undefined) throw checkpointMissing(tree)
      note(`sealwright: the log of ${tree} has no checkpoint yet`)
      continue
    }
    found += 1
    const result = runSync(checkCheckpoint(bytes, trusted, [origin], input.now))
    if (!result.ok) {
      refuseOrNote(origin, result)
      continue
    }
    const { head } = result
    const standing = verifiedHead(before, trusted, origin, input.now)
    const known = [floor, standing].filter((each) => each !== undefined)
    // Before anything is fetched for a checkpoint that can't be.
    for (const { size, root } of known) {
      if (head.size < size) throw logRefusal("LOG_ROLLBACK", `${origin}: ${head.size} after ${size}`)
      if (head.size === size && !bytesEqual(head.root, root)) throw logRefusal("LOG_FORKED", `${origin}, size ${size}`)
    }
    const proven = proofHeads(folder, trusted, origin, input.now).filter(({ size }) => size <= head.size)
    const copier = new TreeCopier(folder, tree, head, input.source)
    await copier.copy(
      input.copy,
      [...known, ...proven].map(({ size }) => size),
    )
    for (const before of [...known, ...proven]) {
      const consistency = (_: string, from: bigint, to: bigint) => consistencyFrom(copier.read, head.size, from, to)
      const related = runSync(relateTrees(origin, before, head, consistency))
      if (!related.ok) throw logRefusal(related.code, related.detail)
      if (!related.checked) throw logRefusal("LOG_INCONSISTENT", `${origin}, from ${before.size} to ${head.size}`)
    }
    copier.finish(input.copy, bytes, standing?.size)
    filesWritten += copier.written
    total += copier.bytes
    heads.push(provenHead(head))
  }
  if (input.required && found === 0) throw checkpointMissing("signatures")
  return { heads, filesWritten, bytes: total }
}

/** The floors of a bundle with the trees that were proven. */
export function withHeads(bundle: OpenedBundle, heads: readonly ProvenHead[]): OpenedBundle {
  return { ...bundle, floors: raiseLogFloors(bundle.floors, heads) }
}

/**
 * Checks the newest checkpoints that a bundle brings: under its trust bundle's policy, and as continuing what the state file and the bundle before have.
 * @param standing the bundle that it is to replace
 * @throws CommandFailure with the verifier's code
 */
export function checkLogs(read: ReadFile, bundle: OpenedBundle, now: Date, standing?: ReadFile): OpenedBundle {
  const { log } = bundle.trustBundle
  if (log === undefined) return bundle
  const trusted = readLogs(new TextEncoder().encode(log.policy))
  const heads: ProvenHead[] = []
  for (const tree of LOG_TREES) {
    const files = treeReader(read, tree)
    const bytes = files("checkpoint", MAX_NOTE_BYTES)
    if (bytes === undefined) continue
    const origin = log[tree]
    const before =
      standing && verifiedHead(treeReader(standing, tree)("checkpoint", MAX_NOTE_BYTES), trusted, origin, now)
    const consistency = (_: string, from: bigint, to: bigint) => consistencyFrom(files, to, from, to)
    const results = [bundle.floors.logs?.get(origin), before].map((known) =>
      runSync(checkNewest(bytes, trusted, origin, known, consistency, now)),
    )
    const refused = results.find((result) => !result.ok)
    const [first] = results
    if (refused !== undefined && !refused.ok) refuseOrNote(origin, refused)
    else if (results.some((result) => result.ok && result.history === "unchecked"))
      note(`sealwright: without its tiles, that ${origin} only grew since it was last seen could not be checked`)
    else if (first?.ok) heads.push(provenHead(first.head))
  }
  return withHeads(bundle, heads)
}

/** What is nobody's fault leaves the log as it stands, and stops nothing else: lists must arrive. */
function refuseOrNote(origin: string, { code, detail }: RefusedCheckpoint): void {
  if (code !== "LOG_WITNESSES_MISSING" && code !== "CLOCK_BEHIND" && code !== "ALGORITHM_UNAVAILABLE")
    throw logRefusal(code, detail)
  note(`sealwright: the newest checkpoint of ${origin} does not count: ${code}${detail === "" ? "" : `: ${detail}`}`)
}

function provenHead({ origin, size, root }: Checkpoint): ProvenHead {
  return { origin, size: `${size}`, root: hexEncode(root) }
}

function verifiedHead(
  bytes: Uint8Array | undefined,
  trusted: TrustedLogs,
  origin: string,
  now: Date,
): Checkpoint | undefined {
  const result = bytes && runSync(checkCheckpoint(bytes, trusted, [origin], now))
  return result?.ok === true ? result.head : undefined
}

/** Trees that the proofs beside a bundle's signatures are of, each once. */
function proofHeads(folder: string, trusted: TrustedLogs, origin: string, now: Date): readonly Checkpoint[] {
  const read = folderReader(folder)
  const heads = new Map<string, Checkpoint>()
  for (const path of listBundleFiles(folder)) {
    const bytes =
      path.startsWith("signatures/") && path.endsWith(LOG_PROOF_SUFFIX) ? read(path, MAX_LOG_PROOF_BYTES) : undefined
    const checkpoint = bytes && checkpointOf(bytes)
    if (checkpoint === undefined || checkpoint.head.origin !== origin) continue
    const head = verifiedHead(checkpoint.bytes, trusted, origin, now)
    if (head !== undefined) heads.set(`${head.size} ${hexEncode(head.root)}`, head)
  }
  return [...heads.values()]
}

function checkpointOf(proof: Uint8Array) {
  try {
    const { checkpoint: bytes } = parseLogProof(proof)
    return { bytes, head: parseCheckpoint(parseNote(bytes).text) }
  } catch (error) {
    if (error instanceof FormatError) return undefined
    throw error
  }
}
