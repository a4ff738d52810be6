import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { createIssuer } from "@sealwright/core/admin/ceremony"
import { requestIssuer } from "@sealwright/core/admin/external"
import { addRoot } from "@sealwright/core/admin/roots"
import { acceptJob } from "@sealwright/core/jobs/accept"
import { auditOfDay } from "@sealwright/core/ledger/audit"
import { readDeployment, readIssuer } from "@sealwright/core/ledger/trust"
import { tufDocuments } from "@sealwright/core/ledger/tuf-documents"
import type { ForeignSignature, OcspResponder } from "@sealwright/core/model"
import { makeOcspResponders } from "@sealwright/core/ocsp/responder"
import { makeTimestampAuthority } from "@sealwright/core/timestamp/authority"
import { propose } from "@sealwright/core/tuf/flow"
import { readTuf } from "@sealwright/core/tuf/status"
import { parseBundleIndex } from "@sealwright/formats/bundle-index"
import { hexEncode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import { parseAllowList, parseRevocationList } from "@sealwright/formats/revocation-list"
import { parseRegistry, parseTrustBundle } from "@sealwright/formats/trust-bundle"
import { BUNDLE_TYPE } from "@sealwright/verifier/bundle"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifyNotaryEnvelope } from "@sealwright/verifier/notary"
import { parseState } from "@sealwright/verifier/state"
import { loadTrustPolicy } from "@sealwright/verifier/trust-policy"
import { describe, expect, test } from "vitest"
import { proofView } from "../../functions/http/log-view.ts"
import {
  auditView,
  deploymentView,
  foreignSignatureView,
  issuerView,
  jobView,
  logsView,
  ocspResponderView,
  outsideCrlView,
  profileView,
  revocationView,
  signatureView,
  timestampAuthorityView,
  tufView,
} from "../../functions/http/views.ts"
import { OCSP_ROUTES, ROUTES } from "../../functions/routes.ts"
import { parseNotationTree } from "../../packages/cli/src/bundle-folder.ts"
import { COMMAND_CODES } from "../../scripts/docs/errors.ts"
import { REQUIREMENTS, testsByRequirement } from "../../scripts/docs/requirements.ts"
import { ANSWERS, COMPONENTS } from "../../scripts/docs/responses.ts"
import { generatedDocuments, outdated, ROOT } from "../../scripts/docs.ts"
import { outsideCrl } from "../support/authority.ts"
import { ADMIN, createService, signRequest } from "../support/service.ts"
import { newPerson } from "../support/tuf-people.ts"

const AT = new Date("2026-11-21T09:00:00Z")
const FOREIGN: ForeignSignature = {
  id: `fs-${"0".repeat(32)}`,
  profile: "release",
  issuerKeyId: "ab".repeat(32),
  serialHex: "01",
  thumbprint: "cd".repeat(32),
  subject: { mediaType: "application/octet-stream", digest: `sha256:${"ef".repeat(32)}`, size: 1 },
  reference: "registry.wabbit-networks.io/net-monitor:v1",
  principal: "arn:aws:iam::111122223333:role/pipeline",
  signedAt: AT,
  certificateNotAfter: AT,
  recordedAt: AT,
  envelope: { format: "notary-jws", mediaType: "application/jose+json", bytes: new Uint8Array(1) },
}
async function makeResponder({ ports }: ReturnType<typeof createService>): Promise<OcspResponder> {
  const request = { issuer: "ci", algorithm: undefined, days: 30, generation: undefined }
  const [responder] = await makeOcspResponders(ports, request, ADMIN)
  if (responder === undefined) throw new Error("no responder")
  return responder
}

async function tufWaiting(service: ReturnType<typeof createService>) {
  await newPerson(service, "ann")
  const wish = { role: "root", keys: ["service", "ann"], threshold: 2, days: undefined } as const
  await expect(propose(service.ports, wish, ADMIN)).rejects.toMatchObject({ code: "TUF_SIGNATURES_PENDING" })
  return tufView(await readTuf(service.ports))
}
const REPAIR = "run `node scripts/node24.mjs scripts/docs.ts`"

test("what is generated from the code is what stands in docs/", async () => {
  expect(outdated(await generatedDocuments()), REPAIR).toEqual([])
}, 60_000)

describe("the API document", () => {
  test("has an answer for each route, and none beside them", () => {
    expect(Object.keys(ANSWERS).sort()).toEqual(
      [...ROUTES, ...OCSP_ROUTES].map(({ method, path }) => `${method} ${path}`).sort(),
    )
  })

  test("describes what the functions answer, member by member", async () => {
    const service = createService()
    await service.setUp()
    const held = await service.profile("held", { keyMode: "held", expirySec: 3600 })
    await addRoot(service.ports, { algorithm: "ml-dsa-65", generation: 1, rootYears: 10 }, ADMIN)
    await createIssuer(service.ports, { name: "pq", algorithm: "ml-dsa-65", days: 1000 }, ADMIN)
    const release = await service.profile("release", { expirySec: 3600, extraIssuer: "pq" })
    const pending = await requestIssuer(service.ports, { name: "corp", algorithm: "ecdsa-p256-sha256" }, ADMIN)
    const [settled] = await service.signer()(signRequest(["a"]))
    if (settled === undefined || !("signed" in settled)) throw new Error("not signed")
    const { revocation } = await service.revoke({ kind: "signature", signature: settled.signed.id })
    const { entries } = await auditOfDay(service.ports.table, "2026-11-21", { limit: 10 })
    const [entry] = entries
    if (entry === undefined) throw new Error("no audit entry")
    const views = {
      Signature: {
        ...signatureView(settled.signed, { epoch: 1, index: 0n, proofs: [[]] }),
        proofs: [proofView({ format: "notary-jws", index: 0n, text: "" })],
      },
      Logs: logsView({ logs: [], policy: "", witnesses: [] }),
      ForeignSignature: foreignSignatureView(FOREIGN),
      Profile: { ...profileView(release), ...profileView(held) },
      Issuer: { ...issuerView(pending), ...issuerView(await readIssuer(service.ports.table, "ci")) },
      TimestampAuthority: timestampAuthorityView(
        await makeTimestampAuthority(service.ports, { algorithm: "ecdsa-p256-sha256", days: 365 }, ADMIN),
      ),
      OcspResponder: ocspResponderView(await makeResponder(service)),
      OutsideCrl: outsideCrlView({
        issuerKeyId: "ab".repeat(32),
        authority: new Uint8Array(1),
        crl: outsideCrl(),
        crlNumber: 1n,
        thisUpdate: AT,
        nextUpdate: AT,
        epoch: 1,
      }),
      Deployment: deploymentView(
        await readDeployment(service.ports.table),
        await tufDocuments(service.ports.table, "root"),
      ),
      Tuf: await tufWaiting(service),
      Revocation: revocationView(revocation),
      Job: {
        ...jobView(
          {
            ...(await acceptJob(service.ports, { ...signRequest(["job"]), idempotencyKey: "job" })).job,
            expiresAt: new Date("2027-01-01T00:00:00Z"),
            signed: 1,
            total: 2,
            startedAt: new Date("2026-11-21T09:00:00Z"),
            updatedAt: new Date("2026-11-21T09:00:01Z"),
            stop: "JOB_CANCELLED",
          },
          new Date("2026-11-21T09:00:02Z"),
        ),
        finishedAt: "2026-11-21T09:00:03Z",
      },
      AuditEntry: { ...auditView(entry), code: "PROFILE_UNKNOWN" },
    }
    for (const [name, view] of Object.entries(views)) {
      const { properties } = COMPONENTS[name as keyof typeof views] as { readonly properties: object }
      expect(Object.keys(JSON.parse(JSON.stringify(view))).sort(), name).toEqual(Object.keys(properties).sort())
    }
  })
})

test("the codes of the command that are listed are those that it throws", () => {
  const sources = sourcesBelow("packages/cli/src")
  const thrown = new Set(
    sources.flatMap((source) =>
      [...source.matchAll(/new CommandFailure\(\s*(?:[\w.]+|[^"`;]{1,200}?),\s*"([A-Z_]+)"/g)].map(
        ([, code = ""]) => code,
      ),
    ),
  )
  expect(thrown.size).toBeGreaterThan(5)
  const listed = COMMAND_CODES.map(([code]) => code)
  expect([...thrown].filter((code) => !listed.includes(code))).toEqual([])
  expect(listed.filter((code) => !code.startsWith("HTTP_") && !thrown.has(code))).toEqual([])
})

test("tests name requirements that exist", () => {
  const named = [...testsByRequirement(join(ROOT, "test")).keys()]
  expect(named.length).toBeGreaterThan(10)
  expect(named.filter((id) => !REQUIREMENTS.has(id))).toEqual([])
})

describe("examples of published formats", () => {
  const example = (name: string) => new Uint8Array(readFileSync(join(ROOT, "docs/formats/examples", name)))

  test("are what today's readers read", () => {
    expect(parseRevocationList(example("revocation-list.json")).content.epoch).toBe(2)
    expect([...parseAllowList(example("allow-list.json")).content.profiles.keys()]).toEqual(["release"])
    expect(parseTrustBundle(example("trust-bundle.json")).roots).toHaveLength(1)
    expect(parseRegistry(example("registry.json")).profiles).toHaveLength(2)
    expect(parseNotationTree(example("notation-tree.json")).crls).toHaveLength(2)
    expect(parseState(example("state.json")).list.epoch).toBe(4)
    // The example is laid out for people; a bundle has it in one line.
    const index = `${JSON.stringify(JSON.parse(utf8Decode(example("bundle-index.json"))))}\n`
    expect(parseBundleIndex(utf8(index)).files).toHaveLength(2)
    expect(JSON.parse(utf8Decode(example("bundle.json")))).toEqual({ mediaType: BUNDLE_TYPE })
  })

  test("the envelope verifies under the trust bundle's root, by an issuer of the registry", () => {
    const trusted = parseTrustBundle(example("trust-bundle.json")).roots
    const result = runSync(verifyNotaryEnvelope(example("envelope.json"), { trusted, now: AT }))
    if (!result.ok) throw new Error(result.code)
    const { issuers } = parseRegistry(example("registry.json"))
    expect(issuers.map(({ issuerKeyId }) => issuerKeyId)).toContain(hexEncode(result.issuerKeyId))
  })

  test("the trust policy is loaded", () => {
    const [root = new Uint8Array(0)] = parseTrustBundle(example("trust-bundle.json")).roots
    const loaded = loadTrustPolicy(example("trust-policy.json"), () => root)
    expect(loaded).toMatchObject({ ok: true, policy: { atLeast: 2 } })
  })
})

test("links between documents lead to files", () => {
  const documents = ["README.md", ...filesBelow("docs").filter((path) => path.endsWith(".md"))]
  const links = documents.flatMap((path) =>
    [...readFileSync(join(ROOT, path), "utf8").matchAll(/\]\((?!https?:|#)([^)#\s]+)[^)]*\)/g)].map(
      ([, link = ""]) => ({
        from: path,
        to: normalize(join(dirname(path), link)),
      }),
    ),
  )
  expect(links.length).toBeGreaterThan(20)
  const present = new Set(["LICENSE", ...documents, ...filesBelow("docs")])
  const elsewhere = /^(?:docs\/(?:deployment|iam)\.md$|bench\/|localstack\/README\.md$|packages\/)/
  expect(links.filter(({ to }) => !present.has(to) && !elsewhere.test(to))).toEqual([])
})

function filesBelow(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" }).map((path) => `${folder}/${path}`)
}

function sourcesBelow(folder: string): string[] {
  return filesBelow(folder)
    .filter((path) => path.endsWith(".ts"))
    .map((path) => readFileSync(join(ROOT, path), "utf8"))
}
