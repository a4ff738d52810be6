import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { findLogged, requireLogCommit } from "@sealwright/core/ledger/log"
import { findRecord } from "@sealwright/core/ledger/records"
import { readDeployment } from "@sealwright/core/ledger/trust"
import { logPolicyText, logSigners } from "@sealwright/core/log/origin"
import { makeTimestampAuthority } from "@sealwright/core/timestamp/authority"
import { base64Encode, hexDecode, utf8 } from "@sealwright/formats/bytes"
import { parseNotaryJws } from "@sealwright/formats/notary-jws"
import { encodeVkey, noteKeyIdInput } from "@sealwright/formats/signed-note"
import { timestampRequest } from "@sealwright/formats/timestamp"
import { parseEntries } from "@sealwright/formats/tlog-tiles"
import { afterAll, beforeAll, expect, test } from "vitest"
import type { LogSource } from "../../packages/cli/src/bundles/log-tree.ts"
import { stageLogs } from "../../packages/cli/src/bundles/logs.ts"
import { readFiles } from "../support/bundles.ts"
import { run, runOffline, withClients } from "../support/clients.ts"
import { ADMIN, NAMES } from "../support/service.ts"
import { hashOf } from "../support/timestamps.ts"
import { flip, logFiles, loggedService, type Service, withRoot } from "./logged.ts"
import { type StaticRepository, serve } from "./repositories.ts"

/** One entry of a bundle, as far as it is changed here. */
interface TlogEntry {
  readonly [member: string]: unknown
  logIndex: string
  readonly inclusionProof: { logIndex: string; hashes: string[]; checkpoint: { envelope: string } }
}

withClients("R30: Tessera's checker follows the whole log", ["tessera"], (fsck) => {
  const work = mkdtempSync(join(tmpdir(), "sealwright-log-"))
  let files: Map<string, Uint8Array>
  let repository: StaticRepository
  let service: Service

  beforeAll(async () => {
    service = (await loggedService()).service
    const { log } = await readDeployment(service.ports.table)
    if (log === undefined) throw new Error("no log")
    const [signer] = logSigners(service.ports.digest, log.signatures)
    writeFileSync(join(work, "log.pub"), encodeVkey((signer as NonNullable<typeof signer>).note))
    files = logFiles(service)
    repository = await serve(files)
  }, 120_000)

  afterAll(async () => {
    await repository?.close()
    rmSync(work, { recursive: true, force: true })
  })

  /** The checker says what it found and ends with 0 in any case; some findings it tries to mend by asking for ever. */
  const check = async (changed: readonly [string, Uint8Array][] = []) => {
    repository.files = new Map([...files, ...changed])
    const address = ["--storage_url", `${repository.url}/`, "--public_key", join(work, "log.pub"), "--ui=false"]
    const { stderr } = await run("timeout", ["5", fsck, ...address], { HOME: work })
    return stderr
  }
  const sound = /Successfully fsck'd log with size 301 /
  const file = (name: string) => files.get(name) as Uint8Array

  test("checkpoint, tiles and entries are one tree", async () => {
    expect([...files.keys()]).toEqual(
      expect.arrayContaining(["tile/entries/000", "tile/entries/001.p/45", "tile/1/000.p/1"]),
    )
    expect(await check()).toMatch(sound)
  })

  test("a mirrored folder behind a plain web server is the log as well (R26)", async () => {
    const folder = join(work, "mirrored")
    const { table } = service.ports
    const { log } = await readDeployment(table)
    if (log === undefined) throw new Error("no log")
    const trees = { signatures: files, events: logFiles(service, "log/events/") }
    const [signatures, events] = [log.signatures.origin, log.events.origin]
    const policy = logPolicyText(service.ports.digest, log, undefined)
    const bundle = { trustBundle: { log: { signatures, events, policy } }, floors: {} }
    mkdirSync(folder)
    const source: LogSource = async (tree, path) => trees[tree].get(path)
    await stageLogs(folder, bundle, { source, copy: "entries", now: service.ports.clock(), required: false })
    const mirrored = readFiles(join(folder, "log/signatures"))
    repository.files = new Map([...mirrored].map(([path, text]) => [path, new Uint8Array(Buffer.from(text, "latin1"))]))
    const address = ["--storage_url", `${repository.url}/`, "--public_key", join(work, "log.pub"), "--ui=false"]
    expect((await run("timeout", ["5", fsck, ...address], { HOME: work })).stderr).toMatch(sound)
  })

  test.each([
    ["a changed entry", () => [["tile/entries/000", flip(file("tile/entries/000"), 500)]]],
    ["a changed hash", () => [["tile/0/000", flip(file("tile/0/000"), 40)]]],
    ["a changed hash above", () => [["tile/1/000.p/1", flip(file("tile/1/000.p/1"), 0)]]],
    ["a changed root", () => [["checkpoint", withRoot(file("checkpoint"))]]],
    ["entries cut off", () => [["tile/entries/001.p/45", file("tile/entries/001.p/45").subarray(0, -3)]]],
  ] as const)("is not content with %s", async (_, changed) => {
    const said = await check(changed() as [string, Uint8Array][])
    expect(said).toMatch(/checking log|checkpoint/i)
    expect(said).not.toMatch(sound)
  })
})

withClients("R30, R32: cosign checks our log's proof, offline", ["cosign"], (cosign) => {
  const folder = mkdtempSync(join(tmpdir(), "sealwright-cosign-log-"))
  const at = (name: string) => join(folder, name)
  let bundle: { verificationMaterial: { tlogEntries: TlogEntry[] } }
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  /** What Sigstore calls a bundle, of a signature's own parts: the signed bytes are those of the JWS (RFC 7515 §5.1). */
  beforeAll(async () => {
    const { service, ids } = await loggedService()
    const { table, digest, timestamper } = service.ports
    const [id = ""] = ids.slice(100)
    const record = await findRecordOf(service, id)
    const logged = await findLogged(table, id)
    const { log } = await readDeployment(table)
    if (logged === undefined || log === undefined) throw new Error("not logged")
    const { note } = await requireLogCommit(table, "signatures", logged.epoch)
    const envelope = parseNotaryJws(record)
    const [leaf = "", ...above] = envelope.x5c
    const token = await timestamper.timestamp(
      timestampRequest({ hash: "sha256", digest: hashOf("sha256", envelope.signature), certReq: true }),
    )
    const authority = await makeTimestampAuthority(service.ports, { algorithm: "ecdsa-p256-sha256", days: 365 }, ADMIN)
    const key = logSigners(digest, log.signatures)[0]?.note as ReturnType<typeof logSigners>[number]["note"]
    const keyId = base64Encode(digest("sha256", noteKeyIdInput(key.name, key.type, key.publicKey)))
    const logIndex = String(logged.index)
    const bundleNumber = Number(logged.index >> 8n)
    const width =
      bundleNumber === 0 ? 256 : Number((await requireLogCommit(table, "signatures", logged.epoch)).size & 255n)
    const files = logFiles(service)
    const entries = files.get(`tile/entries/00${bundleNumber}${width === 256 ? "" : `.p/${width}`}`) as Uint8Array
    const body = parseEntries(entries, width)[Number(logged.index & 255n)] as Uint8Array
    writeFileSync(at("blob"), envelope.signingInput)
    writeFileSync(at("other"), "something else")
    bundle = {
      mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
      verificationMaterial: {
        certificate: { rawBytes: leaf },
        tlogEntries: [
          {
            logIndex,
            logId: { keyId },
            kindVersion: { kind: "hashedrekord", version: "0.0.2" },
            canonicalizedBody: base64Encode(body),
            inclusionProof: {
              logIndex,
              hashes: (logged.proofs[0] ?? []).map(base64Encode),
              checkpoint: { envelope: Buffer.from(note as Uint8Array).toString("utf8") },
            },
          },
        ],
        timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp: base64Encode(token) }] },
      },
      messageSignature: {
        messageDigest: { algorithm: "SHA2_256", digest: base64Encode(hashOf("sha256", envelope.signingInput)) },
        signature: base64Encode(envelope.signature),
      },
    } as typeof bundle
    const trusted = (spki: Uint8Array, logId: string) => ({
      mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
      tlogs: [
        {
          baseUrl: `https://${log.signatures.origin}`,
          hashAlgorithm: "SHA2_256",
          publicKey: {
            rawBytes: base64Encode(spki),
            keyDetails: "PKIX_ED25519",
            validFor: { start: "2020-01-01T00:00:00Z" },
          },
          logId: { keyId: logId },
        },
      ],
      certificateAuthorities: [chain("https://ca.example", above)],
      timestampAuthorities: [
        chain("https://tsa.example", [authority.certificate, ...authority.chain].map(base64Encode)),
      ],
    })
    const strange = createHash("sha256").update("another key").digest()
    const strangeSpki = Buffer.concat([hexDecode("302a300506032b6570032100"), strange])
    writeFileSync(at("trusted.json"), JSON.stringify(trusted(log.signatures.key.spki, keyId)))
    writeFileSync(at("strange.json"), JSON.stringify(trusted(new Uint8Array(strangeSpki), keyId)))
  }, 120_000)

  const verify = (content: unknown, { blob = "blob", root = "trusted.json" } = {}) => {
    writeFileSync(at("bundle.json"), JSON.stringify(content))
    const identity = ["--certificate-identity", `release@${NAMES.identityHost}`]
    const who = [...identity, "--certificate-oidc-issuer", `https://${NAMES.identityHost}`, "--insecure-ignore-sct"]
    const what = ["--bundle", at("bundle.json"), "--trusted-root", at(root), "--use-signed-timestamps", at(blob)]
    return runOffline(cosign, ["verify-blob", ...who, ...what], { HOME: folder })
  }
  const entryWith = (change: (entry: TlogEntry) => void) => {
    const copy = structuredClone(bundle)
    for (const entry of copy.verificationMaterial.tlogEntries) change(entry)
    return copy
  }

  test("accepts a logged signature, without a switch that turns the log off", async () => {
    const outcome = await verify(bundle)
    expect(outcome, outcome.stderr).toMatchObject({ status: 0 })
  })

  test("refuses it for other bytes, without its entry, with another place, hash or checkpoint, and under another log's key", async () => {
    expect(await verify(bundle, { blob: "other" })).toMatchObject({ status: 1 })
    expect(await verify(bundle, { root: "strange.json" })).toMatchObject({ status: 1 })
    const without = structuredClone(bundle)
    without.verificationMaterial.tlogEntries = []
    expect(await verify(without)).toMatchObject({ status: 1 })
    for (const change of [
      (entry: TlogEntry) => {
        entry.logIndex = entry.inclusionProof.logIndex = String(Number(entry.logIndex) + 1)
      },
      (entry: TlogEntry) => {
        entry.inclusionProof.hashes[0] = base64Encode(new Uint8Array(32))
      },
      (entry: TlogEntry) => {
        entry.inclusionProof.checkpoint.envelope = Buffer.from(
          withRoot(utf8(entry.inclusionProof.checkpoint.envelope)),
        ).toString()
      },
    ])
      expect(await verify(entryWith(change))).toMatchObject({ status: 1 })
  })
})

function chain(uri: string, certificates: readonly string[]) {
  return {
    subject: { organization: NAMES.organisation, commonName: "test" },
    uri,
    certChain: { certificates: certificates.map((rawBytes) => ({ rawBytes })) },
    validFor: { start: "2020-01-01T00:00:00Z" },
  }
}

async function findRecordOf(service: Service, id: string): Promise<Uint8Array> {
  const record = await findRecord(service.ports.table, id)
  const bytes = record?.envelopes[0]?.bytes
  if (bytes === undefined) throw new Error(`no record ${id}`)
  return bytes
}
