import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { readRoot } from "@sealwright/core/tuf/rules"
import { afterAll, beforeAll, expect, test } from "vitest"
import type { LocalService } from "../../localstack/service.ts"
import { environmentOf, type Outcome, runCli, startLocal, temporaryFolder } from "../e2e/local.ts"

let service: LocalService
const folder = temporaryFolder()
const work = join(folder.path, "work")
const PASSWORD = ["--password-source", "env:KEY_PASSWORD"]

async function as(role: string, ...args: readonly string[]): Promise<Outcome> {
  return await runCli(work, environmentOf(service, role), [...args, "--json"])
}

async function done(outcome: Promise<Outcome>): Promise<Outcome["json"]> {
  const { status, stdout, stderr, json } = await outcome
  if (status !== 0) throw new Error(`exit ${status}: ${stdout}${stderr}`)
  return json
}

/** Without endpoint and credentials. */
function alone(...args: readonly string[]): Promise<Outcome> {
  return runCli(work, { KEY_PASSWORD: "correct horse battery" }, [...args, "--json"])
}

beforeAll(async () => {
  mkdirSync(work)
  service = await startLocal(folder.path)
  const names = ["--country", "US", "--state", "Washington", "--organisation", "Wabbit Networks"]
  const hosts = ["--identity-host", "trust.wabbit-networks.io", "--crl-host", new URL(service.trustUrl).host]
  const tuf = ["--tuf-url", `${service.trustUrl}/tuf`, "--root-out", "tuf-root.json"]
  await done(as("admin", "ceremony", ...names, ...hosts, ...tuf))
  for (const name of ["ann", "bob", "eve"]) {
    await done(alone("key", "generate", name, ...PASSWORD))
    writeFileSync(join(work, `${name}.pem`), (await done(alone("key", "export", `local:${name}`))).publicKey)
  }
}, 60_000)

afterAll(async () => {
  await service?.close()
  folder.remove()
})

test("R29: a root of the service and two people: the file goes round, and the next publication has it", async () => {
  for (const name of ["ann", "bob"]) await done(as("admin", "tuf", "key", "add", name, "--public-key", `${name}.pem`))
  const wish = ["--keys", "service,ann,bob", "--threshold", "2", "--out", "root-2.json"]
  const { tuf } = await done(as("admin", "tuf", "propose", "root", ...wish))
  expect(tuf.proposal).toMatchObject({ act: "tuf propose root", overtaken: false })
  expect(tuf.warnings).toContain("One key alone can sign a root.")
  expect(await alone("tuf", "show", "root-2.json")).toMatchObject({ status: 3, json: { complete: false } })
  const sign = (name: string, ...more: string[]) =>
    alone(
      "tuf",
      "sign",
      "root-2.json",
      "--key",
      `local:${name}`,
      "--previous-root",
      "tuf-root.json",
      ...PASSWORD,
      ...more,
    )
  expect(await sign("ann")).toMatchObject({ json: { error: { code: "CEREMONY_NOT_CONFIRMED" } } })
  expect(await sign("eve", "--yes")).toMatchObject({ status: 1, json: { error: { code: "TUF_KEY_NOT_COUNTED" } } })
  expect(await done(sign("ann", "--yes"))).toMatchObject({ signed: true, complete: true })
  const once = readFileSync(join(work, "root-2.json"))
  expect(await done(sign("ann", "--yes"))).toMatchObject({ signed: false, complete: true })
  expect(readFileSync(join(work, "root-2.json"))).toEqual(once)
  expect(await alone("tuf", "show", "root-2.json")).toMatchObject({ status: 0 })
  expect(await as("auditor", "tuf", "submit", "root-2.json")).toMatchObject({ status: 4 })
  const submitted = await done(as("admin", "tuf", "submit", "root-2.json"))
  expect(submitted.tuf).toMatchObject({ root: { version: 2 } })
  expect(submitted.tuf).not.toHaveProperty("proposal")
  expect(await as("admin", "tuf", "submit", "root-2.json")).toMatchObject({
    json: { error: { code: "TUF_PROPOSAL_UNKNOWN" } },
  })
  await done(as("admin", "publish"))
  const response = await fetch(`${service.trustUrl}/tuf/2.root.json`)
  const root = readRoot(new Uint8Array(await response.arrayBuffer()))
  expect(root.signed.roles.root).toMatchObject({ threshold: 2, keyids: expect.objectContaining({ length: 3 }) })
  await done(as("auditor", "export", "bundle", "--root", "tuf-root.json", "--no-state"))
}, 60_000)

test("a file of another root, or of other words, is not signed", async () => {
  await done(as("admin", "tuf", "rotate", "timestamp", "--out", "root-3.json"))
  const sign = (file: string, own: string) =>
    alone("tuf", "sign", file, "--key", "local:bob", "--previous-root", own, "--yes", ...PASSWORD)
  expect(await sign("root-3.json", "tuf-root.json")).toMatchObject({ status: 2 })
  const request = JSON.parse(readFileSync(join(work, "root-3.json"), "utf8"))
  writeFileSync(join(work, "lie.json"), JSON.stringify({ ...request, changes: ["root: nothing of note"] }))
  expect(await alone("tuf", "sign", "lie.json", "--key", "local:bob", "--yes", ...PASSWORD)).toMatchObject({
    status: 1,
    json: { error: { code: "TUF_REQUEST_WRONG" } },
  })
  expect(await as("admin", "tuf", "rotate", "snapshot")).toMatchObject({
    json: { error: { code: "TUF_PROPOSAL_STANDS" } },
  })
  const { tuf } = await done(as("admin", "tuf", "withdraw"))
  expect(tuf).not.toHaveProperty("proposal")
  expect((await done(as("auditor", "tuf", "show"))).tuf.root.version).toBe(2)
}, 60_000)
