/**
 * A TUF client on the command line, in the form that tuf-conformance asks for:
 *   --metadata-dir D init ROOT
 *   --metadata-dir D --metadata-url U refresh
 *   --metadata-dir D --metadata-url U --target-name T... --target-base-url U --target-dir D download
 * Exit 0 when all was verified, 1 otherwise. It shows how an online driver works: run, fetch the file that is missing, run again.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { runSync } from "@sealwright/verifier/node-crypto"
import type { Step } from "@sealwright/verifier/requests"
import { refresh, stateOf, type TufSource, type TufState } from "@sealwright/verifier/tuf-client"
import type { TufRefusal } from "@sealwright/verifier/tuf-rules"
import { findTarget, isTarget, readTarget } from "@sealwright/verifier/tuf-targets"

const MAX_TARGET_BYTES = 100_000_000

interface Work {
  readonly state: TufState
  readonly refusal?: TufRefusal
  readonly files: ReadonlyMap<string, Uint8Array>
}

class NotFetched extends Error {
  readonly url: string
  readonly maxBytes: number

  constructor(url: string, maxBytes: number) {
    super(url)
    this.url = url
    this.maxBytes = maxBytes
  }
}

const fetched = new Map<string, Uint8Array | undefined>()

function remote(base: string): TufSource {
  return {
    read(name, maxBytes) {
      const url = `${base.replace(/\/$/, "")}/${name}`
      if (!fetched.has(url)) throw new NotFetched(url, maxBytes)
      return fetched.get(url)
    },
  }
}

async function drive(work: () => Step<Work>): Promise<Work> {
  for (;;) {
    try {
      return runSync(work())
    } catch (error) {
      if (!(error instanceof NotFetched)) throw error
      fetched.set(error.url, await download(error.url, error.maxBytes))
    }
  }
}

async function download(url: string, maxBytes: number): Promise<Uint8Array | undefined> {
  const response = await fetch(url)
  if (response.status === 404) return undefined
  if (!response.ok || response.body === null) throw new Error(`${response.status} for ${url}`)
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body) {
    chunks.push(chunk)
    length += chunk.length
    if (length > maxBytes) break
  }
  return new Uint8Array(Buffer.concat(chunks))
}

function* refreshAndDownload(options: {
  readonly state: TufState
  readonly metadata: TufSource
  readonly targets: TufSource
  readonly names: readonly string[]
  readonly cached: (name: string) => Uint8Array | undefined
  readonly now: Date
}): Step<Work> {
  const files = new Map<string, Uint8Array>()
  const outcome = yield* refresh({ source: options.metadata, state: options.state, now: options.now })
  if (!outcome.accepted) return { state: outcome.state, refusal: outcome.refusal, files }
  const { trusted } = outcome
  for (const name of options.names) {
    const found = yield* findTarget(trusted, name)
    const kept = options.cached(name)
    if (found.accepted && kept !== undefined && (yield* isTarget(found.file, kept))) continue
    const target = yield* readTarget(trusted, options.targets, name, MAX_TARGET_BYTES)
    if (!target.accepted) return { state: stateOf(outcome.state, trusted), refusal: target.refusal, files }
    files.set(name, target.bytes)
  }
  return { state: stateOf(outcome.state, trusted), files }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    "metadata-dir": { type: "string", default: "." },
    "metadata-url": { type: "string", default: "" },
    "target-name": { type: "string", multiple: true, default: [] },
    "target-base-url": { type: "string", default: "" },
    "target-dir": { type: "string", default: "." },
  },
})
const metadataDir = values["metadata-dir"]
const targetDir = values["target-dir"]

function load(path: string): Uint8Array | undefined {
  return existsSync(path) ? new Uint8Array(readFileSync(path)) : undefined
}

function loadState(): TufState {
  const roles = readdirSync(metadataDir)
    .filter((file) => file.endsWith(".json"))
    .map((file) => [file.slice(0, -".json".length), load(join(metadataDir, file)) as Uint8Array] as const)
  const { root, timestamp, snapshot } = Object.fromEntries(roles)
  const others = roles.filter(([name]) => !["root", "timestamp", "snapshot"].includes(name))
  const targets = new Map(others.map(([name, bytes]) => [decodeURIComponent(name), bytes]))
  return { root: root ?? new Uint8Array(), timestamp, snapshot, targets }
}

function saveState({ root, timestamp, snapshot, targets }: TufState): void {
  const files = { root, timestamp, snapshot }
  for (const [name, bytes] of [...Object.entries(files), ...(targets ?? [])])
    if (bytes !== undefined) writeFileSync(join(metadataDir, `${encodeURIComponent(name)}.json`), bytes)
}

if (positionals[0] === "init") {
  mkdirSync(metadataDir, { recursive: true })
  copyFileSync(positionals[1] ?? "", join(metadataDir, "root.json"))
} else {
  const state = loadState()
  const work = await drive(() =>
    refreshAndDownload({
      state,
      metadata: remote(values["metadata-url"]),
      targets: remote(values["target-base-url"]),
      names: positionals[0] === "download" ? values["target-name"] : [],
      cached: (name) => load(join(targetDir, encodeURIComponent(name))),
      now: new Date(),
    }),
  )
  saveState(work.state)
  for (const [name, bytes] of work.files) writeFileSync(join(targetDir, encodeURIComponent(name)), bytes)
  if (work.refusal !== undefined) {
    process.stderr.write(`${work.refusal.code} ${work.refusal.subject}: ${work.refusal.detail}\n`)
    process.exitCode = 1
  }
}
