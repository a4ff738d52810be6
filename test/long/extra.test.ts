import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { roleArn } from "../../localstack/people.ts"
import type { LocalService } from "../../localstack/service.ts"
import {
  callApi,
  environmentOf,
  fsckLocal,
  keysOf,
  type Outcome,
  REPOSITORY,
  runCli,
  startLocal,
  temporaryFolder,
} from "../e2e/local.ts"

/** A profile that signs twice, from the ceremony to an offline verdict by either algorithm, and the revocation of both (R19). */

const REFERENCE = `${REPOSITORY}:v1`
const folder = temporaryFolder()
const work = join(folder.path, "work")
let service: LocalService

async function as(role: string, ...args: readonly string[]): Promise<Outcome> {
  return await runCli(work, environmentOf(service, role), [...args, "--json"])
}

async function done(outcome: Promise<Outcome>): Promise<Outcome["json"]> {
  const { status, stdout, stderr, json } = await outcome
  if (status !== 0) throw new Error(`exit ${status}: ${stdout}${stderr}`)
  return json
}

async function verdict(file: string, policy: object): Promise<string> {
  const exported = JSON.parse(readFileSync(join(work, "bundle/policy/trustpolicy.json"), "utf8"))
  const text = JSON.stringify({ trustPolicy: { ...exported.trustPolicy, ...policy } })
  writeFileSync(join(work, "bundle/policy/mine.json"), text)
  const kept = ["--policy", "bundle/policy/mine.json", "--bundle", "bundle", "--root", "tuf-root.json", "--no-state"]
  const { json } = await runCli(work, {}, ["verify", file, "--reference", REFERENCE, ...kept, "--json"])
  return `${json.verdict} ${json.code}`
}

async function publish(): Promise<void> {
  await done(as("admin", "publish"))
  await done(as("auditor", "export", "bundle", "--root", "tuf-root.json", "--no-state"))
}

beforeAll(async () => {
  mkdirSync(work)
  service = await startLocal(folder.path)
  const names = ["--country", "US", "--state", "Washington", "--organisation", "Wabbit Networks"]
  const hosts = ["--identity-host", "trust.wabbit-networks.io", "--crl-host", new URL(service.trustUrl).host]
  const tuf = ["--tuf-url", `${service.trustUrl}/tuf`, "--root-out", "tuf-root.json"]
  await done(as("admin", "ceremony", ...names, ...hosts, ...tuf))
  await done(as("admin", "issuer", "create", "ci"))
  const who = ["--issuer", "ci", "--principal", roleArn("pipeline"), "--repository", REPOSITORY]
  await done(as("admin", "profile", "create", "release", ...who))
}, 60_000)

afterAll(async () => {
  await service?.close()
  folder.remove()
})

test("classical, both, then ML-DSA alone: no step breaks what was accepted before it", async () => {
  writeFileSync(join(work, "before.bin"), "before")
  await done(as("pipeline", "sign", "before.bin", "--reference", REFERENCE))
  expect((await as("admin", "issuer", "create", "pq", "--algorithm", "ml-dsa-65")).stdout).toContain(
    "ROOT_ALGORITHM_MISSING",
  )
  const { deployment } = await done(as("admin", "root", "create", "--algorithm", "ml-dsa-65"))
  expect(deployment.extraRoots).toHaveLength(1)
  await done(as("admin", "issuer", "create", "pq", "--algorithm", "ml-dsa-65"))
  const { profile } = await done(as("admin", "profile", "change", "release", "--extra-issuer", "pq"))
  expect(profile.extraIssuer).toBe("pq")
  writeFileSync(join(work, "tool.bin"), "the tool")
  const made = await done(as("pipeline", "sign", "tool.bin", "--reference", REFERENCE))
  expect([made.output, made.extraOutput]).toEqual(["tool.bin.jws.sig", "tool.bin.ml-dsa-65.jws.sig"])
  await publish()

  const both = { requiredAlgorithms: ["ecdsa-p256-sha256", "ml-dsa-65"] }
  expect(await verdict("before.bin", {})).toBe("accepted ACCEPTED")
  expect(await verdict("tool.bin", {})).toBe("accepted ACCEPTED")
  expect(await verdict("tool.bin", both)).toBe("accepted ACCEPTED")
  expect(await verdict("tool.bin", { algorithms: ["ml-dsa-65"] })).toBe("accepted ACCEPTED")
  expect(await verdict("before.bin", both)).toBe("rejected ALGORITHMS_MISSING")
  expect(await verdict("before.bin", { algorithms: ["ml-dsa-65"] })).toBe("rejected ALGORITHM_NOT_ALLOWED")
  writeFileSync(join(work, "copy.bin"), "the tool")
  writeFileSync(join(work, "copy.bin.jws.sig"), readFileSync(join(work, "tool.bin.jws.sig")))
  expect(await verdict("copy.bin", both)).toBe("rejected ALGORITHMS_MISSING")
}, 120_000)

test("one revocation takes both, and the bundle carries both envelopes", async () => {
  writeFileSync(join(work, "bad.bin"), "bad")
  const { signature } = await done(as("pipeline", "sign", "bad.bin", "--reference", REFERENCE))
  await done(as("revoker", "revoke", "--signature", signature.id))
  await publish()
  await done(as("auditor", "export", "bundle", "--root", "tuf-root.json", "--no-state", "--signature", signature.id))
  const { digest } = signature.subject
  const carried = readdirSync(join(work, "bundle/signatures/sha256", digest.slice(7)))
  const envelopes = [`${signature.id}.jws`, `${signature.id}.ml-dsa-65.jws`]
  expect(carried.filter((name) => !name.endsWith(".tlog-proof")).sort()).toEqual(envelopes)
  for (const policy of [{}, { algorithms: ["ml-dsa-65"] }])
    expect(await verdict("bad.bin", policy)).toBe("rejected SIGNATURE_REVOKED")
}, 120_000)

test("a batch of the command line writes both envelopes of each act", async () => {
  const digest = `sha256:${"ab".repeat(32)}`
  writeFileSync(join(work, "subjects.txt"), `${digest} 528 ${REFERENCE}\n`)
  await done(as("pipeline", "sign", "--batch", "subjects.txt", "--profile", "release", "--envelopes", "written"))
  const name = digest.replace(":", "-")
  expect(readdirSync(join(work, "written")).sort()).toEqual([`${name}.jws.sig`, `${name}.ml-dsa-65.jws.sig`])
}, 120_000)

test("a batch of 100 fits the answer, and all that was written is sound", async () => {
  const subjects = Array.from({ length: 100 }, (_, i) => ({
    subject: { mediaType: "application/octet-stream", digest: `sha256:${i.toString(16).padStart(64, "0")}`, size: 1 },
    reference: REFERENCE,
  }))
  const answer = await callApi(service.apiUrl, keysOf(service, "pipeline"), "POST", "/v1/profiles/release/signatures", {
    body: { subjects },
  })
  expect(answer.status).toBe(200)
  const lengths = answer.json.results.map(
    (one: { signature: { envelopes: unknown[] } }) => one.signature.envelopes.length,
  )
  expect(lengths).toEqual(subjects.map(() => 2))
  expect(JSON.stringify(answer.json).length).toBeLessThan(6_000_000)
  await publish()
  expect((await fsckLocal(service)).findings).toEqual([])
}, 120_000)
