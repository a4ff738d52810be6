/** Our writer against tuf-js, @tufjs/models' writer against our client, and our client over HTTP. */
import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import type { Targets } from "@sealwright/formats/tuf"
import { runSync } from "@sealwright/verifier/node-crypto"
import { refresh } from "@sealwright/verifier/tuf-client"
import { readTarget } from "@sealwright/verifier/tuf-targets"
import {
  Key,
  Metadata,
  MetaFile,
  Root,
  Signature,
  Snapshot,
  TargetFile,
  Targets as TheirTargets,
  Timestamp,
} from "@tufjs/models"
import { Updater } from "tuf-js"
import { afterEach, describe, expect, it, test } from "vitest"
import { DAY_SEC, later, NOW, newSigner, type Signer, TufSimulator } from "../support/tuf-simulator.ts"

/** tuf-js and the command-line client read the clock themselves. */
const FAR = new Date("2100-01-01T00:00:00Z")

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanUp.splice(0)) await step()
})

/** A repository with all four key schemes, a threshold of 2 of 3 at the root, and one terminating delegation. */
function repositoryOfAllKinds(): TufSimulator {
  const repository = new TufSimulator()
  repository.withHashes = true
  repository.addKey("root", newSigner("rsa-pss-sha256"))
  repository.addKey("root", newSigner("ed25519"))
  repository.authorise("root", repository.root.roles.root.keyids, 2)
  repository.addKey("timestamp", newSigner("ecdsa-p384-sha384"))
  repository.authorise("timestamp", repository.root.roles.timestamp.keyids, 2)
  repository.addArtifact("targets", "trust/root é.json", utf8("trust root"))
  repository.delegate("targets", "lists", { paths: ["lists/*"], terminating: true })
  repository.addArtifact("lists", "lists/deny", utf8("entries"))
  for (const role of ["root", "timestamp", "snapshot", "targets", "lists"]) repository.role(role).expires = FAR
  ;(repository.role("targets") as { targets: Targets["targets"] }).targets = new Map(
    [...repository.targets.targets].map(([path, file]) => [
      path,
      { ...file, custom: { text: 'é "quoted" \\ 😀', list: [1, null] } },
    ]),
  )
  repository.publish("root", "lists", "targets", "snapshot", "timestamp")
  return repository
}

async function serve(repository: TufSimulator): Promise<string> {
  const server = createServer((request, response) => {
    const [, folder, ...rest] = new URL(request.url ?? "", "http://localhost").pathname.split("/")
    const name = rest.join("/")
    const bytes =
      folder === "metadata" ? repository.source.read(name, 0) : repository.targetSource.read(decodeURI(name), 0)
    response.writeHead(bytes === undefined ? 404 : 200).end(bytes)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  cleanUp.push(
    () => new Promise((resolve) => server.close(resolve)),
    () => server.closeAllConnections(),
  )
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function folder(name: string): string {
  const path = mkdtempSync(join(tmpdir(), `sealwright-${name}-`))
  cleanUp.push(() => rmSync(path, { recursive: true }))
  return path
}

describe("tuf-js reads what we write", () => {
  async function updater(repository: TufSimulator) {
    const base = await serve(repository)
    const [metadataDir, targetDir] = [folder("metadata"), folder("targets")]
    writeFileSync(join(metadataDir, "root.json"), repository.files.get("root")?.[0] as Uint8Array)
    const options = { metadataDir, targetDir, metadataBaseUrl: `${base}/metadata`, targetBaseUrl: `${base}/targets` }
    return { metadataDir, create: () => new Updater({ ...options, config: { fetchRetry: false } as never }) }
  }

  it("refreshes, and finds targets of the top level and of a delegated role", async () => {
    const repository = repositoryOfAllKinds()
    const { create, metadataDir } = await updater(repository)
    const client = create()
    await client.refresh()
    for (const [path, text] of [
      ["trust/root é.json", "trust root"],
      ["lists/deny", "entries"],
    ] as const) {
      const found = await client.getTargetInfo(path)
      if (found === undefined) throw new Error(`${path} not found`)
      expect(readFileSync(await client.downloadTarget(found), "utf8")).toBe(text)
    }
    expect(await client.getTargetInfo("lists/none")).toBeUndefined()
    for (const role of ["root", "timestamp", "snapshot", "targets", "lists"])
      expect(new Uint8Array(readFileSync(join(metadataDir, `${role}.json`)))).toEqual(repository.newest(role))
  })

  test.each(["timestamp", "snapshot", "targets"])("and refuses %s when a signed value was changed", async (role) => {
    const repository = repositoryOfAllKinds()
    repository.withHashes = false
    repository.publish("targets", "snapshot", "timestamp")
    const { create } = await updater(repository)
    repository.rewrite(role, (file) => {
      file.signed["x-changed"] = true
    })
    await expect(create().refresh()).rejects.toThrow()
  })

  it("and refuses the same rollback as ours", async () => {
    const repository = repositoryOfAllKinds()
    const { create } = await updater(repository)
    await create().refresh()
    repository.files.set("timestamp", repository.files.get("timestamp")?.slice(0, 1) ?? [])
    repository.files.get("root")?.splice(2)
    await expect(create().refresh()).rejects.toThrow()
  })
})

describe("we read what @tufjs/models writes", () => {
  const theirKey = ({ keyid, key }: Signer) =>
    new Key({ keyID: keyid, keyType: key.keytype, scheme: key.scheme, keyVal: { public: key.public } })

  function write(signers: readonly Signer[], expires: Date) {
    const common = { version: 1, specVersion: "1.0.31", expires: expires.toISOString().replace(".000Z", "Z") }
    const root = new Root({ ...common, consistentSnapshot: true })
    for (const role of ["root", "timestamp", "snapshot", "targets"])
      for (const signer of signers) root.addKey(theirKey(signer), role)
    for (const role of Object.values(root.roles)) Object.assign(role, { threshold: signers.length })
    const content = Buffer.from("content")
    const targets = new TheirTargets({ ...common, unrecognizedFields: { "x-note": "é" } })
    const digest = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    targets.addTarget(new TargetFile({ path: "file", length: content.length, hashes: { sha256: digest } }))
    const meta = { "targets.json": new MetaFile({ version: 1 }) }
    const documents = [root, targets, new Snapshot({ ...common, meta }), new Timestamp({ ...common })]
    return new Map(
      documents.map((signed) => {
        const metadata = new Metadata(signed)
        for (const { keyid, sign } of signers)
          metadata.sign((data) => new Signature({ keyID: keyid, sig: Buffer.from(sign(data)).toString("hex") }))
        const name = signed.type === "timestamp" ? "timestamp.json" : `1.${signed.type}.json`
        return [name, utf8(JSON.stringify(metadata.toJSON()))] as const
      }),
    )
  }

  it("under every scheme that both know", () => {
    const signers = (["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha256", "ed25519"] as const).map((s) =>
      newSigner(s),
    )
    const files = write(signers, later(DAY_SEC))
    const source = { read: (name: string) => files.get(name) }
    const outcome = runSync(refresh({ source, state: { root: files.get("1.root.json") as Uint8Array }, now: NOW }))
    if (!outcome.accepted) throw new Error(`${outcome.refusal.code} ${outcome.refusal.detail}`)
    const target = runSync(readTarget(outcome.trusted, { read: () => utf8("content") }, "file", 100))
    expect(target).toMatchObject({ accepted: true, role: "targets", bytes: utf8("content") })
  })
})

describe("the client on the command line", () => {
  const node = process.execPath
  const run = (...args: readonly string[]) =>
    new Promise<{ code: number; stderr: string }>((resolve) =>
      execFile(node, [join("test", "support", "tuf-client.ts"), ...args], (error, _, stderr) =>
        resolve({ code: typeof error?.code === "number" ? error.code : error ? -1 : 0, stderr }),
      ),
    )

  it("fetches what the client workflow asks for, each file once, and keeps it", async () => {
    const repository = repositoryOfAllKinds()
    const base = await serve(repository)
    const [metadata, targets] = [join(folder("cli"), "metadata"), folder("cli-targets")]
    mkdirSync(metadata)
    const first = join(folder("cli-root"), "root.json")
    writeFileSync(first, repository.files.get("root")?.[0] as Uint8Array)
    const where = ["--metadata-dir", metadata, "--metadata-url", `${base}/metadata`]
    const download = [...where, "--target-base-url", `${base}/targets`, "--target-dir", targets, "--target-name"]

    expect(await run("--metadata-dir", metadata, "init", first)).toMatchObject({ code: 0 })
    expect(await run(...download, "lists/deny", "download")).toMatchObject({ code: 0 })
    expect(repository.requests).toEqual([
      "2.root.json",
      "3.root.json",
      "timestamp.json",
      "2.snapshot.json",
      "2.targets.json",
      "1.lists.json",
    ])
    expect(readdirSync(metadata).sort()).toEqual([
      "lists.json",
      "root.json",
      "snapshot.json",
      "targets.json",
      "timestamp.json",
    ])
    expect(utf8Decode(new Uint8Array(readFileSync(join(targets, "lists%2Fdeny"))))).toBe("entries")

    expect(await run(...download, "lists/deny", "download")).toMatchObject({ code: 0 })
    expect(repository.targetRequests).toHaveLength(1)

    repository.files.set("timestamp", repository.files.get("timestamp")?.slice(0, 1) ?? [])
    const refused = await run(...where, "refresh")
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain("TUF_SIGNATURES_MISSING timestamp")
    expect(new Uint8Array(readFileSync(join(metadata, "timestamp.json")))).not.toEqual(repository.newest("timestamp"))
  })
})
