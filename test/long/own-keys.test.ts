import { createPublicKey, hash } from "node:crypto"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pemEncode } from "@sealwright/formats/pem"
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
import { certificate, makeSigner } from "../support/chains.ts"

/** A key of this machine under a company's own CA: signed without the service, registered there, revoked there, refused offline. */

const REFERENCE = `${REPOSITORY}:v1`
const PASSWORD = ["--password-source", "env:KEY_PASSWORD"]
const folder = temporaryFolder()
const work = join(folder.path, "work")
let service: LocalService
let certificateSha256 = ""

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

async function verify(): Promise<Outcome> {
  await done(as("admin", "publish"))
  await done(as("auditor", "export", "bundle", "--root", "tuf-root.json", "--no-state"))
  const kept = ["--policy", "policy.json", "--bundle", "bundle", "--root", "tuf-root.json", "--no-state"]
  return await alone("verify", "tool.bin", "--reference", REFERENCE, ...kept)
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

  writeFileSync(join(work, "tool.bin"), "the tool")
  await done(alone("key", "generate", "release", ...PASSWORD))
  const { publicKey } = await done(alone("key", "export", "local:release"))
  const spki = new Uint8Array(createPublicKey(publicKey).export({ type: "spki", format: "der" }))
  const held = { ...makeSigner("ecdsa-p256-sha256"), spki, keyId: hash("sha256", spki, "buffer") }
  const ca = { signer: makeSigner("ecdsa-p256-sha256"), commonName: "Corporate Root" }
  const [notBefore, notAfter] = [-1, 24].map((hours) => new Date(Date.now() + hours * 3_600_000)) as [Date, Date]
  const root = certificate({ ...ca, notBefore, notAfter, basicConstraints: { ca: true }, keyUsage: [5, 6] })
  const leaf = certificate({ signer: held, commonName: "release", notBefore, notAfter, keyUsage: [0] }, ca)
  writeFileSync(join(work, "chain.pem"), [leaf, root].map((der) => pemEncode("CERTIFICATE", der)).join(""))
  const trustPolicy = { trustStore: [{ trustedRoots: [{ root: pemEncode("CERTIFICATE", root) }] }] }
  writeFileSync(join(work, "policy.json"), JSON.stringify({ trustPolicy }))
}, 60_000)

afterAll(async () => {
  await service?.close()
  folder.remove()
})

test("R2: signed without the service, and inconclusive while nothing speaks for the certificate", async () => {
  const by = ["--key", "local:release", "--certificate", "chain.pem", ...PASSWORD]
  const made = await done(alone("sign", "tool.bin", "--reference", REFERENCE, ...by))
  certificateSha256 = made.certificateSha256
  expect(made).toMatchObject({ output: "tool.bin.jws.sig", key: { keyId: "local:release" }, serialHex: "4d" })
  expect(await verify()).toMatchObject({ status: 3, json: { code: "REVOCATION_UNKNOWN" } })
}, 60_000)

test("R12: registered once by whom the profile lists, readable by auditors, refused to others", async () => {
  const record = ["record", "tool.bin.jws.sig", "--profile", "release", "--reference", REFERENCE]
  expect(await as("auditor", ...record)).toMatchObject({ status: 4, json: { error: { code: "HTTP_403" } } })
  expect(await as("admin", ...record)).toMatchObject({ status: 4, json: { error: { code: "CALLER_NOT_LISTED" } } })
  for (const recorded of [true, false])
    expect(await done(as("pipeline", ...record))).toMatchObject({
      results: [{ recorded, signature: { certificateSha256 } }],
    })
  const path = "/v1/profiles/release/foreign-signatures"
  const { json } = await callApi(service.apiUrl, keysOf(service, "auditor"), "GET", path)
  const content = readFileSync(join(work, "tool.bin.jws.sig")).toString("base64")
  expect(json.signatures).toMatchObject([{ certificateSha256, serial: "4d", envelope: { content } }])
  const { entries } = await done(as("auditor", "audit"))
  expect(entries).toContainEqual(expect.objectContaining({ action: "record.foreign", outcome: "done" }))
}, 60_000)

test("a request that is none is refused with a code of ours", async () => {
  const path = "/v1/profiles/release/foreign-signatures"
  for (const [envelope, code] of [
    ["not base64", "REQUEST_MALFORMED"],
    ["QQ=", "REQUEST_MALFORMED"],
    ["QR==", "REQUEST_MALFORMED"],
    ["e30=", "SIGNATURE_UNVERIFIED"],
    ["A".repeat(200_000), "REQUEST_MALFORMED"],
  ]) {
    const body = { envelope, reference: REFERENCE }
    const { status, json } = await callApi(service.apiUrl, keysOf(service, "pipeline"), "POST", path, { body })
    expect([json.code, status]).toEqual([code, 400])
  }
}, 60_000)

test("R24, R26: its certificate revoked, it is rejected offline", async () => {
  await done(as("revoker", "revoke", "--certificate", certificateSha256, "--reason", "keyCompromise"))
  expect(await verify()).toMatchObject({ status: 1, json: { code: "CERTIFICATE_REVOKED" } })
  expect((await fsckLocal(service)).findings).toEqual([])
}, 60_000)
