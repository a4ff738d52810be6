import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import { parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import { NOTE_TYPE } from "@sealwright/formats/signed-note"
import { logEntryOf } from "@sealwright/verifier/log-proof"
import { runSync } from "@sealwright/verifier/node-crypto"
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import { NOW, sha256 } from "../support/chains.ts"
import { Deployment, REFERENCE } from "../support/deployment.ts"
import { NoteSigner, TestLog } from "../support/log.ts"

const MAIN = join(import.meta.dirname, "../../packages/cli/src/main.ts")
const work = mkdtempSync(join(tmpdir(), "sealwright-log-"))
const ours = new Deployment()
const CONTENT = utf8("the tool")
const digestHex = Buffer.from(sha256(CONTENT)).toString("hex")
const target = { mediaType: "application/octet-stream", digest: `sha256:${digestHex}`, size: CONTENT.length }
const envelope = ours.sign({ target })
const jws = parseNotaryJws(envelope)
const entry = runSync(logEntryOf(jws, parseX5c(jws.x5c[0] as string))) as Uint8Array

const witness = new NoteSigner("w1.example", NOTE_TYPE.cosignature)
const cosigned = [{ by: witness, at: new Date(NOW.getTime() - 30_000) }]
const log = new TestLog().fill(300).append(entry)
const events = new TestLog("events.example.test").fill(3)
const policy = `log ${events.signer.vkey}\n${log.policy([witness])}`
const published = ours.publish({
  change: (targets) => {
    const json = JSON.parse(utf8Decode(targets.get("trust-bundle.json") as Uint8Array))
    json.log = { signatures: log.origin, events: events.origin, policy }
    targets.set("trust-bundle.json", utf8(JSON.stringify(json)))
  },
})

let run = 0
let here: string
const put = (path: string, bytes: Uint8Array) => {
  mkdirSync(dirname(join(here, path)), { recursive: true })
  writeFileSync(join(here, path), bytes)
}
const putLog = (tree: string, shown: TestLog, checkpoint = shown.checkpoint(cosigned)) => {
  put(`bundle/log/${tree}/checkpoint`, checkpoint)
  for (const [path, bytes] of shown.files) put(`bundle/log/${tree}/${path}`, bytes)
}

beforeEach(() => {
  here = join(work, `${run++}`)
  for (const [path, bytes] of published) put(`bundle/${path}`, bytes)
  put("root.json", ours.pinnedRoot)
  put("tool", CONTENT)
  const trustPolicy = {
    trustStore: [{ trustedRoots: [{ root: ours.rootPem }] }],
    trustedIdentities: ["web@sign.example.test"],
    requireLog: true,
  }
  put("policy.json", utf8(JSON.stringify({ trustPolicy })))
})
afterAll(() => rmSync(work, { recursive: true, force: true }))

interface Answer {
  readonly checks?: readonly unknown[]
  readonly logs?: readonly unknown[]
}

function sealwright(...args: readonly string[]): Promise<{ readonly status: number; readonly json: Answer }> {
  const common = [
    "--bundle",
    join(here, "bundle"),
    "--root",
    join(here, "root.json"),
    "--state",
    join(here, "state.json"),
  ]
  const argv = [MAIN, ...args, ...common, "--now", "2026-06-01T12:00:00Z", "--json"]
  // The command's modules are compiled once for all calls.
  const env = { ...process.env, NODE_COMPILE_CACHE: join(work, "compiled") }
  return new Promise((resolve, reject) => {
    execFile(process.execPath, argv, { env }, (error, stdout, stderr) => {
      const status = error === null ? 0 : error.code
      if (typeof status !== "number" || stdout === "") reject(new Error(`${status}: ${stderr}`))
      else resolve({ status, json: JSON.parse(stdout) })
    })
  })
}

const verify = (...more: readonly string[]) =>
  sealwright("verify", join(here, "tool"), "--reference", REFERENCE, "--policy", join(here, "policy.json"), ...more)
const check = (...more: readonly string[]) => sealwright("log", "check", ...more)
const seenHere = () => JSON.parse(readFileSync(join(here, "state.json"), "utf8")).logs

test("verify takes proofs from the bundle, from beside the file and from --proof (R30)", async () => {
  const below = `bundle/signatures/sha256/${digestHex}`
  put(`${below}/A.jws`, envelope)
  expect(await verify()).toMatchObject({ status: 1, json: { code: "LOG_PROOF_MISSING" } })
  const proof = log.proofFile(300, log.checkpoint(cosigned))
  put(`${below}/A.jws.tlog-proof`, proof)
  expect(await verify()).toMatchObject({
    status: 0,
    json: { code: "ACCEPTED", signatures: [{ log: { index: "300" } }] },
  })
  expect(seenHere()).toMatchObject({ [log.origin]: { size: "301" } })
  rmSync(join(here, below), { recursive: true })
  put("tool.jws.sig", envelope)
  put("given", proof)
  expect(await verify("--proof", join(here, "given"))).toMatchObject({ status: 0 })
  put("tool.jws.sig.tlog-proof", proof)
  expect(await verify()).toMatchObject({ status: 0 })
}, 30_000)

test("log check proves from a bundle's tiles that a log only grew, and remembers (R28)", async () => {
  expect(await check()).toMatchObject({ status: 3, json: { error: { code: "CHECKPOINT_MISSING" } } })
  putLog("signatures", new TestLog(log.origin, log.signer).append(...log.entries.slice(0, 200)))
  expect(await check()).toMatchObject({ status: 0, json: { logs: [{ size: "200", history: "first", ageSec: 30 }] } })
  putLog("signatures", log)
  putLog("events", events)
  const { status, json } = await check()
  expect(status).toBe(0)
  expect(json.logs).toMatchObject([
    { origin: log.origin, size: "301", history: "proven", witnesses: [{ name: "w1", time: "2026-06-01T11:59:30Z" }] },
    { origin: events.origin, size: "3", history: "first" },
  ])
  expect(seenHere()).toMatchObject({ [log.origin]: { size: "301" }, [events.origin]: { size: "3" } })

  putLog("signatures", new TestLog(log.origin, log.signer).append(...log.entries.slice(0, 250)))
  expect(await check()).toMatchObject({ status: 3, json: { error: { code: "LOG_ROLLBACK" } } })
  putLog("signatures", new TestLog(log.origin, log.signer).fill(301, "other"))
  expect(await check()).toMatchObject({ status: 1, json: { error: { code: "LOG_FORKED" } } })
  putLog("signatures", new TestLog(log.origin, log.signer).fill(700, "other"))
  expect(await check()).toMatchObject({ status: 3, json: { error: { code: "LOG_INCONSISTENT" } } })
  rmSync(join(here, "bundle/log/signatures/tile"), { recursive: true })
  put("tool.jws.sig", envelope)
  put("tool.jws.sig.tlog-proof", log.proofFile(300, log.checkpoint(cosigned)))
  const verdict = await verify()
  expect(verdict.json.checks).toContainEqual(expect.objectContaining({ check: "log history", outcome: "warn" }))
  putLog("signatures", log, new TestLog(log.origin).checkpoint(cosigned, log.head))
  expect(await verify()).toMatchObject({ status: 1, json: { code: "LOG_UNKNOWN" } })
}, 60_000)

let server: Server
let address: string
const requests: string[] = []
let served = log
beforeAll(async () => {
  server = createServer((request, reply) => {
    const path = (request.url ?? "").slice(1)
    requests.push(path)
    const bytes = path === "checkpoint" ? served.checkpoint(cosigned) : served.files.get(path)
    reply.writeHead(bytes === undefined ? 404 : 200).end(bytes)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => new Promise<void>((resolve) => void server.close(() => resolve())))

test("log check --from fetches a log's checkpoint, and tiles for what it saw before", async () => {
  served = new TestLog(log.origin, log.signer).append(...log.entries.slice(0, 260))
  expect(await check("--from", address)).toMatchObject({
    status: 0,
    json: { logs: [{ size: "260", history: "first" }] },
  })
  expect(requests).toEqual(["checkpoint"])
  served = log
  expect(await check("--from", address)).toMatchObject({ json: { logs: [{ size: "301", history: "proven" }] } })
  expect(requests).toContain("tile/0/001.p/45")
  expect(await check("--from", address, "--log", "events")).toMatchObject({
    status: 1,
    json: { error: { code: "LOG_UNKNOWN" } },
  })
}, 30_000)

test("log check by the deployer's own policy", async () => {
  putLog("signatures", log)
  put("own.policy", utf8(log.policy([witness, new NoteSigner("w2.example", NOTE_TYPE.cosignature)])))
  const own = ["--log", "signatures", "--log-policy", join(here, "own.policy")]
  expect(await check(...own)).toMatchObject({ status: 3, json: { error: { code: "LOG_WITNESSES_MISSING" } } })
  put("own.policy", utf8("quorum\n"))
  expect(await check(...own)).toMatchObject({ status: 3, json: { error: { code: "LOG_POLICY_MALFORMED" } } })
  expect(await check("--log", "else")).toMatchObject({ status: 2, json: { error: { code: "USAGE" } } })
}, 30_000)
