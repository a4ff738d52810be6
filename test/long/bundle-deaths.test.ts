import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { basename, join } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { base64Encode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import { parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import { logEntryOf } from "@sealwright/verifier/log-proof"
import { runSync } from "@sealwright/verifier/node-crypto"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { type Command, readArguments } from "../../packages/cli/src/arguments.ts"
import { besideOf } from "../../packages/cli/src/bundles/replace.ts"
import { exportBundle } from "../../packages/cli/src/commands/export.ts"
import { mirror } from "../../packages/cli/src/commands/mirror.ts"
import { readFiles, scratch } from "../support/bundles.ts"
import { TARGET } from "../support/chains.ts"
import { afterSec, Deployment } from "../support/deployment.ts"
import { type Death, type DiskWrite, onDisk } from "../support/fakes-disk.ts"
import { nameLogs, servedFiles, TestLog } from "../support/log.ts"

/**
 * Commands that change a bundle, dead at each of their writes to the disk: the bundle and what the state file has seen are then as they were, or new, and
 * the same command again ends where one that nothing befell ends.
 */

const DEAD_PROCESS = "999999999"
const ID = "01KAJ3XV5M0000000000000000"
const work = scratch()
const ours = new Deployment()
const envelope = ours.sign()
const jws = parseNotaryJws(envelope)
const log = new TestLog().fill(257).append(runSync(logEntryOf(jws, parseX5c(jws.x5c[0] as string))) as Uint8Array)
const events = new TestLog("events.example.test").fill(3)
const later = new TestLog(log.origin, log.signer).append(...log.entries).fill(255)
const root = join(work.path, "root.json")

/** What the server shows, by path; the commands see all of it change at once. */
let shown = new Map<string, Uint8Array>()
let server: Server
let site = ""
let stages: readonly Map<string, Uint8Array>[] = []
let counter = 0

beforeAll(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: afterSec(120) })
  vi.stubEnv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "example")
  writeFileSync(root, ours.pinnedRoot)
  server = createServer((request, reply) => {
    const bytes = shown.get((request.url ?? "").replace(/\?.*/, ""))
    if (bytes === undefined) reply.writeHead(404, { "content-type": "application/problem+json" }).end(NOT_THERE)
    else reply.writeHead(200, { "content-length": bytes.length }).end(bytes)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  site = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  stages = [stageOf(log, 0), stageOf(later, 60)]
})

afterAll(() => {
  vi.useRealTimers()
  vi.unstubAllEnvs()
  server.closeAllConnections()
  server.close()
  work.remove()
})

const NOT_THERE = JSON.stringify({ code: "NOT_PUBLISHED" })

/** A publication with its logs: TUF repository, logs, the service's API. */
function stageOf(signatures: TestLog, sec: number): Map<string, Uint8Array> {
  const published = ours.publish({
    date: afterSec(sec),
    change: (targets) => nameLogs(targets, { signatures, events, policy: signatures.policy() }),
  })
  const files = new Map([...published].map(([path, bytes]) => [`/${path}`, bytes]))
  const put = (path: string, value: unknown) => files.set(path, utf8(JSON.stringify(value)))
  for (const [tree, each] of Object.entries({ signatures, events }))
    for (const [path, bytes] of servedFiles(each)) {
      files.set(`/log/${tree}/${path}`, bytes)
      put(`/v1/log/${tree}/${path}`, { file: { path, content: base64Encode(bytes) } })
    }
  put("/v1/deployment", { deployment: { tufUrl: `${site}/tuf`, identityHost: "sign.example.test" } })
  put("/v1/trees/notation", treeOf())
  const envelopes = [{ format: "notary-jws", content: base64Encode(envelope) }]
  put(`/v1/signatures/${ID}`, { signature: { id: ID, subject: { digest: TARGET.digest }, envelopes } })
  const proof = utf8Decode(signatures.proofFile(257))
  put(`/v1/signatures/${ID}/proof`, { signature: ID, proofs: [{ format: "notary-jws", index: "257", proof }] })
  return files
}

function treeOf() {
  const statement = {
    name: "web",
    registryScopes: ["registry.example.test/team/app"],
    signatureVerification: { level: "strict" },
    trustStores: ["signingAuthority:sealwright"],
    trustedIdentities: ["x509.subject: C=US, ST=WA, O=Wabbit Networks, CN=web"],
  }
  const target = `lists/${ours.issuerKeyId}.crl`
  return {
    mediaType: "application/vnd.sealwright.notation-tree.v1+json",
    epoch: 1,
    trustPolicy: { version: "1.0", trustPolicies: [statement] },
    trustStore: { type: "signingAuthority", name: "sealwright", certificates: [base64Encode(ours.issuer.root)] },
    crls: [{ url: `http://crl.example.test/${ours.issuerKeyId}.crl`, target }],
  }
}

/** A place of its own for one machine: its bundle and its state file. */
interface Site {
  readonly folder: string
  readonly bundle: string
  readonly state: string
}

function newSite(from?: Site): Site {
  const folder = join(work.path, `site-${counter++}`)
  mkdirSync(folder)
  if (from !== undefined) cpSync(from.folder, folder, { recursive: true })
  return { folder, bundle: join(folder, "bundle"), state: join(folder, "state.json") }
}

type Run = (at: Site, death?: Death) => ReturnType<typeof onDisk>

function runOf(command: Command, ...options: readonly string[]): Run {
  return (at, death) => {
    const argv = [at.bundle, "--root", root, "--state", at.state, "--json", ...options]
    return onDisk(at.folder, () => command.run(readArguments(command, argv)), death)
  }
}

/** What counts: the files of the bundle, where the next run finds it, and what was seen. */
function seenAt({ bundle, state }: Site) {
  const old = besideOf(bundle, "old")
  const place = existsSync(bundle) ? bundle : existsSync(old) ? old : undefined
  return {
    files: place === undefined ? new Map<string, string>() : readFiles(place),
    state: existsSync(state) ? JSON.parse(readFileSync(state, "utf8")) : undefined,
  }
}

/** Beside them nothing stays, but what a cut left of a state file that was about to be renamed: nobody reads it. */
function namesAt({ folder }: Site): readonly string[] {
  return readdirSync(folder).filter((name) => !/^state\.json\.[0-9a-f]{12}\.new$/.test(name))
}

function release({ bundle }: Site): void {
  const lock = besideOf(bundle, "lock")
  if (existsSync(lock) && readFileSync(lock, "utf8") === String(process.pid)) writeFileSync(lock, DEAD_PROCESS)
}

async function whole(run: Run, at: Site): Promise<ReturnType<typeof seenAt>> {
  const { error, died } = await run(at)
  expect([error, died]).toEqual([undefined, false])
  return seenAt(at)
}

/** @param standing what the machine has before; undefined: nothing */
async function dieEverywhere(run: Run, standing: Site | undefined): Promise<number> {
  const first = newSite(standing)
  const before = seenAt(first)
  const { writes, error } = await run(first)
  expect(error).toBeUndefined()
  const after = seenAt(first)
  const names = namesAt(first)
  expect(after.files).not.toEqual(before.files)
  const again = await whole(run, first)
  const deaths = deathsAt(writes)
  for (const death of deaths) {
    const at = newSite(standing)
    const what = `${death.moment} write ${death.at}, ${writes[death.at]?.name}, in ${basename(at.folder)}`
    expect((await run(at, death)).died, what).toBe(true)
    release(at)
    const left = seenAt(at)
    const replaced = isDeepStrictEqual(left.files, after.files)
    expect(left.files, what).toEqual(replaced ? after.files : before.files)
    // What was seen is put down when it was taken over, not before.
    if (!replaced || !isDeepStrictEqual(left.state, after.state)) expect(left.state, what).toEqual(before.state)
    expect(await whole(run, at), what).toEqual(replaced ? again : after)
    expect(namesAt(at), what).toEqual(names)
    rmSync(at.folder, { recursive: true })
  }
  return deaths.length
}

/**
 * With SLOW every write. Else one death for each kind of call on the bundle, on what is built and fetched beside it, on the lock and on the state file; of
 * kinds that there are in several parts of a bundle, each dies in another part than the one before.
 */
function deathsAt(writes: readonly DiskWrite[]): readonly Death[] {
  const all = writes.flatMap(({ name, divisible }, at) => {
    const moments = divisible ? (["before", "within"] as const) : (["before"] as const)
    return moments.map((moment) => ({ at, moment, what: `${moment} ${name}` }))
  })
  if (process.env.SLOW) return all
  const first = all.filter(({ what }, i) => all.findIndex((one) => one.what === what) === i)
  const kinds = Map.groupBy(first, ({ what }) => what.replace(/\/.*/, "/"))
  return [...kinds.values()].map((deaths, i) => deaths[i % deaths.length] as Death)
}

function show(stage: 0 | 1): void {
  shown = new Map(stages[stage])
}

const LOGS = ["--log-entries"]
const mirroring = () => runOf(mirror, "--from", `${site}/tuf`, "--log-from", `${site}/log`, ...LOGS)
const exporting = () => runOf(exportBundle, "--endpoint", site, "--signature", ID, "--require-log", ...LOGS)
const following = () => runOf(mirror, "--from-bundle", site)

/** A bundle of the stage that is shown, made by a run that nothing befell. */
async function standingBy(run: Run): Promise<Site> {
  const at = newSite()
  await whole(run, at)
  return at
}

describe("a command that dies at a write leaves the bundle as it was or new, and run again it ends the same (R26, R28)", () => {
  test.each([
    ["mirror", mirroring],
    ["export", exporting],
  ] as const)("%s, from nothing", { timeout: 300_000 }, async (_, command) => {
    show(0)
    expect(await dieEverywhere(command(), undefined)).toBeGreaterThan(15)
  })

  test.each([
    ["mirror", mirroring],
    ["export", exporting],
  ] as const)("%s, over an older bundle, with logs that grew", { timeout: 300_000 }, async (_, command) => {
    show(0)
    const standing = await standingBy(command())
    show(1)
    expect(await dieEverywhere(command(), standing)).toBeGreaterThan(15)
  })

  test("mirror of a whole bundle, over an older one", { timeout: 300_000 }, async () => {
    show(0)
    const older = await standingBy(exporting())
    show(1)
    const newer = await standingBy(exporting())
    const showBundle = ({ bundle }: Site) => {
      const files = [...readFiles(bundle)].map(([path, text]) => [`/${path}`, Buffer.from(text, "latin1")] as const)
      shown = new Map(files)
    }
    showBundle(older)
    const standing = await standingBy(following())
    showBundle(newer)
    expect(await dieEverywhere(following(), standing)).toBeGreaterThan(15)
  })
})
