import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { roleArn } from "../../localstack/people.ts"
import type { LocalService } from "../../localstack/service.ts"
import { environmentOf, type Outcome, runCli, startLocal, temporaryFolder } from "../e2e/local.ts"
import { readFiles } from "../support/bundles.ts"

/** Bundles on their way, by the command: packed, split, signed, carried, rolled back, tampered with, mirrored. */

const FILES = "downloads.wabbit-networks.io/tool"
const folder = temporaryFolder()
const work = join(folder.path, "work")
const ROOT = ["--root", "tuf-root.json"]
const SITE = ["--state", "site-state.json"]
const KEY = ["--key", "local:bundles", "--home", "keys", "--password-source", "env:KEY_PASSWORD"]
let service: LocalService
let server: Server
let served = ""

beforeAll(async () => {
  mkdirSync(work)
  service = await startLocal(folder.path)
  server = createServer((request, response) => {
    const path = join(work, "carried", decodeURIComponent((request.url ?? "/").slice(1)))
    if (!existsSync(path)) response.writeHead(404).end()
    else response.writeHead(200).end(readFileSync(path))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  served = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const names = ["--country", "US", "--state", "Washington", "--organisation", "Wabbit Networks"]
  const hosts = ["--identity-host", "trust.wabbit-networks.io", "--crl-host", new URL(service.trustUrl).host]
  await done(
    as("admin", "ceremony", ...names, ...hosts, "--tuf-url", `${service.trustUrl}/tuf`, "--root-out", "tuf-root.json"),
  )
  await done(as("admin", "issuer", "create", "ci"))
  const profile = ["--issuer", "ci", "--principal", roleArn("pipeline"), "--repository", FILES]
  await done(as("admin", "profile", "create", "files", ...profile))
  writeFileSync(join(work, "tool.bin"), "the tool")
  await done(as("pipeline", "sign", "tool.bin", "--profile", "files", "--reference", `${FILES}:1.0`))
  await done(as("admin", "publish"))
  await done(as("nobody", "key", "generate", "bundles", ...KEY.slice(2)))
  await done(as("nobody", "key", "export", "local:bundles", "--output", "bundles.pem", ...KEY.slice(2)))
}, 120_000)

afterAll(async () => {
  server?.closeAllConnections()
  server?.close()
  await service?.close()
  folder.remove()
})

function as(role: string, ...args: readonly string[]): Promise<Outcome> {
  const env = role === "nobody" ? {} : environmentOf(service, role)
  return runCli(work, { ...env, KEY_PASSWORD: "correct horse battery" }, [...args, "--json"])
}

async function done(outcome: Promise<Outcome>): Promise<Outcome> {
  const { status, stdout, stderr } = await outcome
  if (status !== 0) throw new Error(`exit ${status}: ${stdout}${stderr}`)
  return await outcome
}

const site = (...args: readonly string[]) => as("nobody", ...args, ...ROOT, ...SITE)
const demand = ["--bundle-key", "bundles.pem"]
const verify = () =>
  site(
    "verify",
    "tool.bin",
    "--reference",
    `${FILES}:1.0`,
    "--policy",
    "site/policy/trustpolicy.json",
    "--bundle",
    "site",
    ...demand,
  )

test("one command makes parts that are signed; a site without network unpacks and verifies (R26)", async () => {
  const made = await done(
    as("auditor", "export", "bundle.tar", "--format", "tar", "--split", "16k", ...KEY, ...ROOT, "--no-state"),
  )
  const parts: string[] = made.json.packed.packed.map(({ path }: { path: string }) => path)
  expect(parts.length).toBeGreaterThan(1)
  expect(made.json.packed.signatures).toHaveLength(1)
  const some = await site("bundle", "unpack", ...parts.slice(1), "--to", "site", ...demand)
  expect(some).toMatchObject({ status: 1, json: { error: { code: "BUNDLE_PART_MISSING" } } })
  expect(readdirSync(work)).not.toContain("site")
  await done(site("bundle", "check", ...parts, ...demand))
  const unpacked = await done(site("bundle", "unpack", ...[...parts].reverse(), "--to", "site", ...demand))
  expect(unpacked.json).toMatchObject({ index: made.json.packed.index, epoch: made.json.epoch })
  expect(await verify()).toMatchObject({ status: 0, json: { verdict: "accepted" } })
  cpSync(join(work, "site"), join(work, "old-stick"), { recursive: true })
}, 120_000)

test("a stick whose policy or trust store was changed is refused where the key is demanded", async () => {
  cpSync(join(work, "site"), join(work, "changed"), { recursive: true })
  writeFileSync(join(work, "changed/policy/trustpolicy.json"), "{}")
  const before = readFiles(join(work, "site"))
  expect(await site("bundle", "unpack", "changed", "--to", "site", ...demand)).toMatchObject({
    status: 1,
    json: { error: { code: "BUNDLE_FILE_MISMATCH" } },
  })
  const repacked = await done(as("nobody", "bundle", "pack", "changed", "--to", "changed.tar", ...ROOT))
  expect(repacked.json.signatures).toEqual([])
  for (const command of ["check", "unpack"]) {
    const to = command === "unpack" ? ["--to", "site"] : []
    expect(await site("bundle", command, "changed.tar", ...to, ...demand)).toMatchObject({
      status: 1,
      json: { error: { code: "BUNDLE_NOT_SIGNED" } },
    })
  }
  expect(readFiles(join(work, "site"))).toEqual(before)
}, 120_000)

test("a newer layout is taken over; then the old stick is refused by every command, and floors are what tells (R26, R28)", async () => {
  const { json } = await done(as("auditor", "list", "--profile", "files"))
  await done(as("revoker", "revoke", "--signature", json.signatures[0].id, "--reason", "keyCompromise", "--wait"))
  await done(as("auditor", "export", "oci", "--format", "oci", ...KEY, ...ROOT, "--no-state"))
  await done(site("bundle", "unpack", "oci", "--to", "site", ...demand))
  expect(await verify()).toMatchObject({ status: 1, json: { verdict: "rejected" } })
  const before = readFiles(join(work, "site"))
  const rolledBack = { error: { code: "TUF_ROLLBACK" } }
  for (const command of [
    ["bundle", "check", "old-stick"],
    ["bundle", "unpack", "old-stick", "--to", "site"],
  ])
    expect(await site(...command, ...demand)).toMatchObject({ status: 1, json: rolledBack })
  cpSync(join(work, "old-stick"), join(work, "carried"), { recursive: true })
  expect(await site("mirror", "site", "--from-bundle", served, ...demand)).toMatchObject({
    status: 1,
    json: rolledBack,
  })
  expect(await site("mirror", "site", "--from", `${served}/tuf`)).toMatchObject({ status: 1, json: rolledBack })
  expect(readFiles(join(work, "site"))).toEqual(before)
  const stick = ["--policy", "old-stick/policy/trustpolicy.json", "--bundle", "old-stick"]
  const old = await site("verify", "tool.bin", "--reference", `${FILES}:1.0`, ...stick)
  expect(old).toMatchObject({ status: 3, json: { code: "TUF_ROLLBACK" } })
  const floors = JSON.parse(readFileSync(join(work, "site-state.json"), "utf8"))
  expect(floors.tuf.timestamp).toBeGreaterThan(1)
  expect(floors.list.epoch).toBe(floors.tuf.timestamp)
  rmSync(join(work, "carried"), { recursive: true })
}, 120_000)

test("a mirror of a bundle takes what differs, signed, and says what it cost (R26)", async () => {
  cpSync(join(work, "site"), join(work, "carried"), { recursive: true })
  const first = await done(site("mirror", "copy", "--from-bundle", served, ...demand))
  expect(first.json.bytesFetched).toBeGreaterThan(first.json.bytesOfFullCopy / 2)
  expect(readFiles(join(work, "copy"))).toEqual(readFiles(join(work, "carried")))
  await done(as("admin", "publish"))
  await done(as("auditor", "export", "carried", ...KEY, ...ROOT, "--no-state"))
  const next = await done(site("mirror", "copy", "--from-bundle", served, ...demand))
  expect(next.json.bytesFetched).toBeLessThan(next.json.bytesOfFullCopy)
  expect(readFiles(join(work, "copy"))).toEqual(readFiles(join(work, "carried")))
  await done(as("auditor", "export", "carried", ...ROOT, "--no-state"))
  await done(as("nobody", "mirror", "copy", "--from", `${service.trustUrl}/tuf`, ...ROOT, ...SITE))
  const usage = await site("mirror", "copy", "--from", `${service.trustUrl}/tuf`, ...demand)
  expect(usage).toMatchObject({ status: 2, json: { error: { code: "USAGE" } } })
}, 120_000)
