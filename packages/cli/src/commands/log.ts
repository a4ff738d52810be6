import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { hexEncode, utf8 } from "@sealwright/formats/bytes"
import { MAX_NOTE_BYTES } from "@sealwright/formats/signed-note"
import { formatTime, parseTime } from "@sealwright/formats/time"
import { MAX_LOG_POLICY_BYTES } from "@sealwright/formats/tlog-policy"
import { type OpenedBundle, openBundle } from "@sealwright/verifier/bundle"
import { checkNewest, type NewestCheckpoint, type TrustedLogs } from "@sealwright/verifier/log-check"
import { runSync } from "@sealwright/verifier/node-crypto"
import { raiseLogFloors } from "@sealwright/verifier/state"
import type { Arguments, Command } from "../arguments.ts"
import { folderReader } from "../bundle-folder.ts"
import { Fetcher } from "../bundles/fetcher.ts"
import { CommandFailure, EXIT, usage } from "../exit.ts"
import { readFileLimited } from "../files.ts"
import { consistencyFrom, LOG_TREES, type LogTree, type ReadFile, treeReader } from "../log-files.ts"
import { checkpointMissing, logRefusal, readLogs } from "../log-trust.ts"
import { print } from "../output.ts"
import { MAX_ROOT_BYTES } from "../root-file.ts"
import { openState } from "../state-file.ts"

/** Far more tiles than any consistency proof needs. */
const MAX_TILES = 1_024

export const logCheck: Command = {
  name: "log check",
  summary: "check a transparency log's newest checkpoint",
  help: `
Usage: sealwright log check --bundle BUNDLE --root tuf-root.json [--log signatures|events] [--from URL]
         [--log-policy FILE] [--now TIME] [--state FILE | --no-state]

Checks the newest checkpoints of a publisher's transparency logs: signed by the log, cosigned by enough witnesses, no smaller than this machine has seen
them before, and a continuation of what it saw, proven from tiles. Which logs and witnesses count says the trust bundle of BUNDLE, or --log-policy (C2SP
tlog-policy). Checkpoints and tiles are those of BUNDLE, or of --from: the address below which the one log of --log is served.
What was seen goes into the state file. Exit status: 0 all is well, 1 rejected, 3 inconclusive.

Examples:
  sealwright log check --bundle ./bundle --root tuf-root.json
  sealwright log check --bundle ./bundle --root tuf-root.json --log events --from https://events.example.com --json
`,
  options: {
    bundle: { type: "string" },
    root: { type: "string" },
    log: { type: "string" },
    from: { type: "string" },
    "log-policy": { type: "string" },
    now: { type: "string" },
    state: { type: "string" },
    "no-state": { type: "boolean" },
  },
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const read = folderReader(resolve(args.required("bundle")))
    const pinnedRoot = readFileLimited(args.required("root"), MAX_ROOT_BYTES)
    const now = args.text("now") === undefined ? new Date() : parseTime(args.required("now"))
    const trees = treesAsked(args)
    const state = openState(args, pinnedRoot)
    const bundle = runSync(openBundle({ read, pinnedRoot, now, ...(state.floors && { floors: state.floors }) }))
    if (!bundle.ok) throw logRefusal(bundle.code, `${bundle.subject}: ${bundle.detail}`)
    const origins = bundle.trustBundle.log
    if (origins === undefined) throw logRefusal("LOG_POLICY_MISSING", "the trust bundle names no log")
    const trusted = trustedLogs(args, origins.policy)
    const from = args.text("from")
    const found: NewestCheckpoint[] = []
    for (const tree of trees) {
      const check = (files: ReadFile) => newest(files, trusted, origins[tree], bundle, now)
      const result = from === undefined ? check(treeReader(read, tree)) : await overNetwork(from, check)
      if (result !== undefined) found.push(result)
      else if (args.text("log") !== undefined) throw checkpointMissing(tree)
    }
    if (found.length === 0) throw checkpointMissing("signatures")
    const heads = found.map(({ head: { origin, size, root } }) => ({ origin, size: `${size}`, root: hexEncode(root) }))
    state.remember(raiseLogFloors(bundle.floors, heads))
    print(args.flag("json"), { logs: found.map((each) => reported(each, now)) }, () =>
      found.flatMap((each) => described(each, now)),
    )
    return EXIT.done
  },
}

function treesAsked(args: Arguments): readonly LogTree[] {
  const name = args.text("log")
  if (name === undefined) return args.text("from") === undefined ? LOG_TREES : ["signatures"]
  const tree = LOG_TREES.find((each) => each === name)
  if (tree === undefined) throw usage(`--log takes ${LOG_TREES.join(" or ")}`)
  return [tree]
}

function trustedLogs(args: Arguments, published: string): TrustedLogs {
  const path = args.text("log-policy")
  return readLogs(path === undefined ? utf8(published) : readFileLimited(path, MAX_LOG_POLICY_BYTES))
}

/** @returns undefined when there is no checkpoint */
function newest(
  files: ReadFile,
  trusted: TrustedLogs,
  origin: string,
  { floors }: OpenedBundle,
  now: Date,
): NewestCheckpoint | undefined {
  const bytes = files("checkpoint", MAX_NOTE_BYTES)
  if (bytes === undefined) return undefined
  const consistency = (_: string, from: bigint, to: bigint) => consistencyFrom(files, to, from, to)
  const result = runSync(checkNewest(bytes, trusted, origin, floors.logs?.get(origin), consistency, now))
  if (!result.ok) throw logRefusal(result.code, result.detail)
  return result
}

class NotFetched extends Error {
  readonly path: string
  readonly maxBytes: number

  constructor(path: string, maxBytes: number) {
    super(path)
    this.path = path
    this.maxBytes = maxBytes
  }
}

/** Runs a check over files that are fetched as it asks for them. */
async function overNetwork<T>(url: string, check: (files: ReadFile) => T): Promise<T> {
  const files = new Map<string, Uint8Array | undefined>()
  const fetcher = new Fetcher(join(tmpdir(), "sealwright-log"))
  const read: ReadFile = (path, maxBytes) => {
    if (!files.has(path)) throw new NotFetched(path, maxBytes)
    return files.get(path)
  }
  for (let round = 0; round < MAX_TILES; round++) {
    try {
      return check(read)
    } catch (error) {
      if (!(error instanceof NotFetched)) throw error
      files.set(error.path, await fetcher.file(`${url.replace(/\/$/, "")}/${error.path}`, error.maxBytes))
    }
  }
  throw new CommandFailure(EXIT.unavailable, "TOO_MANY_FILES", `${url} wants more than ${MAX_TILES} files`)
}

function reported({ head, witnesses, witnessedAt, history }: NewestCheckpoint, now: Date) {
  return {
    origin: head.origin,
    size: `${head.size}`,
    root: hexEncode(head.root),
    history,
    witnesses: [...witnesses].map(([name, time]) => ({ name, time: formatTime(time) })),
    ...(witnessedAt && { witnessedAt: formatTime(witnessedAt), ageSec: ageSec(witnessedAt, now) }),
  }
}

function ageSec(time: Date, now: Date): number {
  return Math.max(0, Math.floor((now.getTime() - time.getTime()) / 1000))
}

const HISTORY = {
  first: "seen for the first time here",
  proven: "continues what was seen here",
  unchecked: "without tiles, that it continues what was seen here could not be checked",
} as const

function described({ head, witnesses, witnessedAt, history }: NewestCheckpoint, now: Date): string[] {
  const age = witnessedAt && `, ${ageSec(witnessedAt, now)} seconds old by its quorum`
  return [
    `${head.origin}: ${head.size} entries${age ?? ""}`,
    `  ${HISTORY[history]}`,
    ...[...witnesses].map(([name, time]) => `  ${name} saw it at ${formatTime(time)}`),
  ]
}
