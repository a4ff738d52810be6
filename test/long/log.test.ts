import { hash } from "node:crypto"
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { leavesOfRecord } from "@sealwright/core/log/entry"
import { base64Decode, bytesEqual, utf8 } from "@sealwright/formats/bytes"
import { checkpointSignature, parseCheckpoint } from "@sealwright/formats/checkpoint"
import { inclusionRoot, leafInput } from "@sealwright/formats/merkle"
import { NOTE_TYPE, parseNote } from "@sealwright/formats/signed-note"
import { parseLogPolicy } from "@sealwright/formats/tlog-policy"
import { parseLogProof } from "@sealwright/formats/tlog-proof"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest"
import { functionRole } from "../../localstack/people.ts"
import { type LocalService, startService } from "../../localstack/service.ts"
import {
  callApi,
  environmentOf,
  fsckLocal,
  keysOf,
  REPOSITORY,
  runCli,
  storeEnvironment,
  temporaryFolder,
} from "../e2e/local.ts"
import { readFiles } from "../support/bundles.ts"
import { NoteSigner } from "../support/log.ts"
import { FakeWitness } from "../support/witness.ts"

const ROOT_OUT = ["--root-out", "tuf-root.json"]
const sha256 = (bytes: Uint8Array) => new Uint8Array(hash("sha256", bytes, "buffer"))

/** Node's crypto and the policy of the trust bundle: nothing of the service's own. */
function check(proof: Uint8Array, envelope: Uint8Array, policy: string): bigint {
  const { index, hashes, checkpoint } = parseLogProof(proof)
  const note = parseNote(checkpoint)
  const { origin, size, root } = parseCheckpoint(note.text)
  const key = parseLogPolicy(utf8(policy)).logs.find(({ key: { name } }) => name === origin)?.key
  const line = note.signatures.find(({ keyId }) => keyId === key?.keyId)
  const signature = key && line && checkpointSignature(key, note.text, line.signature)
  if (signature === undefined) throw new Error("the log did not sign")
  const { scheme, spki, message, signature: bytes } = signature
  expect(runSync(verifySignature(scheme, spki, message, bytes))).toBe(true)
  const [leaf] = leavesOfRecord((name, input) => new Uint8Array(hash(name, input, "buffer")), {
    envelopes: [{ format: "notary-jws", mediaType: "application/jose+json", bytes: envelope }],
  })
  const hashing = inclusionRoot(sha256(leafInput(leaf as Uint8Array)), index, size, hashes)
  let state = hashing.next()
  while (!state.done) state = hashing.next(sha256(state.value))
  expect(bytesEqual(state.value ?? new Uint8Array(0), root)).toBe(true)
  return index
}

describe("the transparency log on one machine (R30)", () => {
  const folder = temporaryFolder()
  let service: LocalService

  beforeAll(async () => {
    service = await startService({
      folder: join(folder.path, "service"),
      apiPort: 0,
      trustPort: 0,
      log: () => undefined,
      schedule: false,
      bundles: inject("built").functions,
      logWindowMs: 100,
    })
    const admin = environmentOf(service, "admin")
    const run = async (...args: readonly string[]) => {
      const outcome = await runCli(folder.path, admin, args)
      expect(outcome.status, outcome.stderr).toBe(0)
    }
    const names = ["--country", "US", "--state", "Washington", "--organisation", "Wabbit Networks"]
    const hosts = ["--identity-host", "trust.wabbit-networks.io", "--crl-host", "127.0.0.1:8481"]
    await run("ceremony", ...names, ...hosts, "--tuf-url", `${service.trustUrl}/tuf`, "--log-cosigner", ...ROOT_OUT)
    await run("issuer", "create", "ci")
    const pipeline = "arn:aws:iam::000000000000:role/pipeline"
    await run("profile", "create", "release", "--issuer", "ci", "--principal", pipeline, "--repository", REPOSITORY)
    writeFileSync(join(folder.path, "tool.bin"), "a tool")
  }, 120_000)

  afterAll(async () => {
    await service.close()
    folder.remove()
  })

  test("sign --wait logged writes a proof beside the signature, which verifies offline", {
    timeout: 60_000,
  }, async () => {
    const args = [
      "sign",
      "tool.bin",
      "--profile",
      "release",
      "--reference",
      `${REPOSITORY}:v1`,
      "--wait",
      "logged",
      "--json",
    ]
    const signed = await runCli(folder.path, environmentOf(service, "pipeline"), args)
    expect(signed.status, signed.stderr).toBe(0)
    expect(signed.json.proofs).toEqual(["tool.bin.jws.sig.tlog-proof"])
    const read = (name: string) => new Uint8Array(readFileSync(join(folder.path, name)))
    const status = await runCli(folder.path, environmentOf(service, "auditor"), ["log", "status", "--json"])
    const index = check(read("tool.bin.jws.sig.tlog-proof"), read("tool.bin.jws.sig"), status.json.policy)
    expect(status.json.logs.signatures).toMatchObject({ origin: "sig.trust.wabbit-networks.io", waiting: 0 })
    const { id } = signed.json.signature
    const shown = await runCli(folder.path, environmentOf(service, "auditor"), ["show", id])
    expect(shown.stdout).toContain(`leaf ${index}`)
    const proof = await runCli(folder.path, environmentOf(service, "auditor"), [
      "log",
      "proof",
      id,
      "--output",
      "again",
    ])
    expect(proof.status, proof.stderr).toBe(0)
    expect(read("again")).toEqual(read("tool.bin.jws.sig.tlog-proof"))
  })

  test("a batch is woken for by the stream alone, and each proof is there later", { timeout: 60_000 }, async () => {
    const pipeline = keysOf(service, "pipeline")
    const subjects = Array.from({ length: 5 }, (_, i) => ({
      subject: {
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        digest: `sha256:${hash("sha256", `image ${i}`)}`,
        size: 528,
      },
      reference: `${REPOSITORY}:v${i}`,
    }))
    const path = "/v1/profiles/release/signatures"
    const answer = await callApi(service.apiUrl, pipeline, "POST", path, { body: { subjects } })
    expect(answer.status).toBe(200)
    const { policy } = (await callApi(service.apiUrl, keysOf(service, "auditor"), "GET", "/v1/log")).json
    for (const { signature } of answer.json.results) {
      let proof = await callApi(service.apiUrl, pipeline, "GET", `${path}/${signature.id}/proof`)
      for (let attempt = 0; attempt < 100 && proof.status === 404; attempt++) {
        expect(proof.json).toMatchObject({ code: "NOT_LOGGED", retry: true })
        await sleep(200)
        proof = await callApi(service.apiUrl, pipeline, "GET", `${path}/${signature.id}/proof`)
      }
      expect(proof.status).toBe(200)
      check(utf8(proof.json.proofs[0].proof), base64Decode(signature.envelopes[0].content), policy)
    }
    const unknown = await callApi(service.apiUrl, pipeline, "GET", `${path}/01KAJ3XV5M0000000000000000/proof`)
    expect([unknown.status, unknown.json.code]).toEqual([404, "SIGNATURE_UNKNOWN"])
  })

  test("export carries proofs, checkpoints and tiles; a site demands the log from them alone, mirrored too (R26, R28, R30)", {
    timeout: 120_000,
  }, async () => {
    const [pipeline, auditor] = [environmentOf(service, "pipeline"), environmentOf(service, "auditor")]
    const done = async (env: Record<string, string>, ...args: readonly string[]) => {
      const outcome = await runCli(folder.path, env, [...args, "--json"])
      expect(outcome.status, outcome.stdout + outcome.stderr).toBe(0)
      return outcome.json
    }
    const at = (path: string) => join(folder.path, path)
    const root = ["--root", "tuf-root.json"]
    const sign = async (name: string) => {
      writeFileSync(at(name), name)
      const signing = ["--profile", "release", "--reference", `${REPOSITORY}:v1`, "--wait", "logged"]
      return (await done(pipeline, "sign", name, ...signing)).signature.id as string
    }
    const id = await sign("carried.bin")
    await done(environmentOf(service, "admin"), "publish")
    const made = await done(auditor, "export", "bundle", ...root, "--signature", id, "--require-log", "--no-state")
    expect(made).toMatchObject({ signatures: [id], unlogged: [] })
    const hex = hash("sha256", "carried.bin")
    expect(readdirSync(at(`bundle/signatures/sha256/${hex}`))).toEqual([`${id}.jws`, `${id}.jws.tlog-proof`])
    cpSync(at("bundle/policy"), at("policy"), { recursive: true })
    const { trustPolicy } = JSON.parse(readFileSync(at("policy/trustpolicy.json"), "utf8"))
    writeFileSync(at("policy/trustpolicy.json"), JSON.stringify({ trustPolicy: { ...trustPolicy, requireLog: true } }))
    rmSync(at("carried.bin.jws.sig"))
    rmSync(at("carried.bin.jws.sig.tlog-proof"))
    const verify = (bundle: string) => {
      const where = ["--policy", "policy/trustpolicy.json", "--bundle", bundle, ...root, "--state", "site.json"]
      return done({}, "verify", "carried.bin", "--reference", `${REPOSITORY}:v1`, ...where)
    }
    const unproven = ({ checks }: { checks: { check: string }[] }) =>
      checks.filter(({ check }) => check === "log history")
    expect(unproven(await verify("bundle"))).toEqual([])
    const seen = JSON.parse(readFileSync(at("site.json"), "utf8")).logs
    expect(seen["sig.trust.wabbit-networks.io"].size).toBe(made.logs[0].size)

    const server = createServer((request, response) => {
      const path = at(`bundle${request.url}`)
      if (existsSync(path)) response.end(readFileSync(path))
      else response.writeHead(404).end()
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    try {
      await sign("later.bin")
      const again = await done(auditor, "export", "bundle", ...root, "--no-state", "--log-entries")
      expect(BigInt(again.logs[0].size)).toBeGreaterThan(BigInt(made.logs[0].size))
      const site = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const from = ["--from", `${site}/tuf`, "--log-from", `${site}/log`, "--log-entries"]
      cpSync(at("bundle"), at("mirrored"), { recursive: true })
      rmSync(at("mirrored/log"), { recursive: true })
      await done({}, "mirror", "mirrored", ...root, ...from, "--state", "mirror.json")
      const served = readFiles(at("bundle/log"))
      for (const [path, bytes] of readFiles(at("mirrored/log"))) expect(served.get(path) === bytes, path).toBe(true)
      expect(unproven(await verify("mirrored"))).toEqual([])
      expect(JSON.parse(readFileSync(at("mirror.json"), "utf8")).logs).toEqual(
        JSON.parse(readFileSync(at("site.json"), "utf8")).logs,
      )
      await done({}, "mirror", "whole", ...root, "--from-bundle", site, "--state", "mirror.json")
      expect(readFiles(at("whole"))).toEqual(readFiles(at("bundle")))
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  test("the API shows what a log has and no other object, to who may read the records (R30)", async () => {
    const get = (role: string, path: string) => callApi(service.apiUrl, keysOf(service, role), "GET", path)
    const { json } = await get("auditor", "/v1/log/signatures/checkpoint")
    expect(json.file.path).toBe("checkpoint")
    expect(parseCheckpoint(parseNote(base64Decode(json.file.content)).text).origin).toBe("sig.trust.wabbit-networks.io")
    for (const path of [
      "signatures/tile/0/x000/000",
      "signatures/trees/notation.json",
      "signatures/tile/0",
      "other/checkpoint",
    ])
      expect((await get("auditor", `/v1/log/${path}`)).json, path).toMatchObject({ code: "REQUEST_MALFORMED" })
    for (const path of ["signatures/tile/3/000", "events/tile/entries/999"])
      expect((await get("auditor", `/v1/log/${path}`)).json, path).toMatchObject({ code: "NOT_PUBLISHED" })
    expect((await get("pipeline", "/v1/log/signatures/checkpoint")).status).toBe(403)
  })

  test("witnesses that are named cosign the next checkpoint; deployers demand and see them (R28, R30)", {
    timeout: 120_000,
  }, async () => {
    const signer = new NoteSigner("w1.example", NOTE_TYPE.cosignature)
    const witness = new FakeWitness(signer)
    const address = await witness.listen()
    const [admin, pipeline, auditor] = ["admin", "pipeline", "auditor"].map((role) => environmentOf(service, role))
    const run = async (env: Record<string, string> | undefined, ...args: readonly string[]) => {
      const outcome = await runCli(folder.path, env ?? {}, args)
      expect(outcome.status, outcome.stderr).toBe(0)
      return outcome
    }
    try {
      const { policy } = (await run(auditor, "log", "status", "--json")).json
      for (const { key } of parseLogPolicy(utf8(policy)).logs)
        if (!witness.logs.has(key.name)) witness.logs.set(key.name, key.publicKey)
      writeFileSync(join(folder.path, "witnesses.policy"), `witness one ${signer.vkey} ${address}\nquorum one\n`)
      const refused = await runCli(folder.path, pipeline ?? {}, ["log", "witnesses", "witnesses.policy"])
      expect(refused.status).toBe(4)
      await run(admin, "log", "witnesses", "witnesses.policy")
      await run(admin, "log", "witnesses", "witnesses.policy")
      writeFileSync(join(folder.path, "second.bin"), "another tool")
      const signing = ["--profile", "release", "--reference", `${REPOSITORY}:v2`, "--wait", "logged"]
      await run(pipeline, "sign", "second.bin", ...signing)
      const status = await run(auditor, "log", "status")
      expect(status.stdout).toMatch(/sig\.trust\S+ .* 1 of 1\n/)
      expect(status.stdout).toMatch(/one +http:\/\/127\.0\.0\.1:\d+\/prefix +[1-9]/)
      await run(admin, "publish")
      await run(auditor, "export", "bundle", "--root", "tuf-root.json")
      const trusting = ["--bundle", "bundle", "--root", "tuf-root.json", "--json"]
      const trustPolicy = {
        trustStore: [{ trustedRoots: [{ root: `${service.trustUrl}/tuf` }] }],
        trustedIdentities: ["release@trust.wabbit-networks.io"],
        requireLog: true,
      }
      writeFileSync(join(folder.path, "policy.json"), JSON.stringify({ trustPolicy }))
      const verify = (file: string, tag: string) =>
        runCli(folder.path, {}, [
          ...["verify", file, "--reference", `${REPOSITORY}:${tag}`, "--policy", "policy.json"],
          ...["--proof", `${file}.jws.sig.tlog-proof`, ...trusting],
        ])
      const accepted = await verify("second.bin", "v2")
      expect([accepted.status, accepted.json.code], accepted.stdout).toEqual([0, "ACCEPTED"])
      const before = await verify("tool.bin", "v1")
      expect([before.status, before.json.code], before.stdout).toEqual([3, "LOG_WITNESSES_MISSING"])
      const checked = await run({}, "log", "check", "--log", "signatures", ...trusting)
      expect(checked.json.logs).toMatchObject([
        { witnesses: [{ name: "one", time: expect.stringMatching(/Z$/) }], witnessedAt: expect.stringMatching(/Z$/) },
      ])
    } finally {
      await witness.close()
    }
  })

  test("nobody reads the log's objects without asking the API, and the state is sound", {
    timeout: 60_000,
  }, async () => {
    expect((await fetch(`${service.trustUrl}/log/signatures/checkpoint`)).status).toBe(404)
    expect((await fsckLocal(service)).findings).toEqual([])
    expect(functionRole("sequence")).toBe("function-sequence")
  })

  test("an auditor rebuilds the logs from table and bucket, and again from where that ended (R12)", {
    timeout: 60_000,
  }, async () => {
    const { json } = await runCli(folder.path, environmentOf(service, "auditor"), ["log", "status", "--json"])
    writeFileSync(join(folder.path, "log-policy.txt"), json.policy)
    const stores = ["--table", service.table, "--bucket", service.bucket, "--progress", "audit.json"]
    const audit = (...more: readonly string[]) =>
      runCli(folder.path, storeEnvironment(service), ["log", "audit", ...stores, ...more, "--json"])
    const first = await audit("--log-policy", "log-policy.txt")
    expect(first.status, first.stderr).toBe(0)
    expect(first.json).toMatchObject({ policy: "file", findings: [], known: { signatures: "0" } })
    const again = await audit("--full")
    expect(again.json).toMatchObject({ policy: "trust bundle", records: first.json.records, findingCount: 0 })
    expect(again.json.known.signatures).toBe(first.json.logs.signatures.size)
    expect(again.stderr).toContain("no --log-policy")
    const kept = readFileSync(join(folder.path, "audit.json"))
    const other = JSON.parse(kept.toString())
    other.known.events.last = Buffer.from(other.known.events.last, "base64").fill(0, 0, 32).toString("base64")
    writeFileSync(join(folder.path, "audit.json"), JSON.stringify(other))
    const forked = await audit("--log-policy", "log-policy.txt")
    expect(forked).toMatchObject({ status: 1, json: { findingCount: 1, findings: [{ code: "AUDIT_REWRITTEN" }] } })
    writeFileSync(join(folder.path, "audit.json"), kept.subarray(0, 99))
    expect(await audit()).toMatchObject({ status: 3, json: { error: { code: "PROGRESS_MALFORMED" } } })
    const elsewhere = await runCli(folder.path, storeEnvironment(service), [
      "log",
      "audit",
      "--table",
      "another",
      "--bucket",
      service.bucket,
      "--json",
    ])
    expect(elsewhere).toMatchObject({ status: 5, json: { error: { code: "UNREACHABLE" } } })
  })
})
