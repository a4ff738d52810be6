import { digest } from "@sealwright/adapters/platform"
import { createIssuer } from "@sealwright/core/admin/ceremony"
import { rotateProfile } from "@sealwright/core/admin/profile-rotation"
import { changeProfile } from "@sealwright/core/admin/profiles"
import { addRoot, retireRoot, rotateRoot } from "@sealwright/core/admin/roots"
import { activateSuccessor, rotateIssuer } from "@sealwright/core/admin/rotation"
import { findRecord } from "@sealwright/core/ledger/records"
import { readDeployment, readIssuer } from "@sealwright/core/ledger/trust"
import type { SignatureRecord } from "@sealwright/core/model"
import { makeOcspResponders } from "@sealwright/core/ocsp/responder"
import type { Item } from "@sealwright/core/ports"
import { release } from "@sealwright/core/revoke/flow"
import { schemeRow } from "@sealwright/formats/algorithms"
import { hexEncode } from "@sealwright/formats/bytes"
import { parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import { type Certificate, parseCertificate } from "@sealwright/formats/x509"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifyNotaryEnvelope } from "@sealwright/verifier/notary"
import { verifyPath } from "@sealwright/verifier/x509-path"
import { describe, expect, test } from "vitest"
import { fsck } from "../../packages/cli/src/fsck/check.ts"
import { ADMIN, createService, digestOf, signRequest } from "../support/service.ts"

type Service = ReturnType<typeof createService>

const ROOT = { algorithm: "ml-dsa-65", generation: 1, rootYears: 10 } as const
const ISSUER = { name: "pq", algorithm: "ml-dsa-65", days: 1000 } as const
const coded = (code: string) => expect.objectContaining({ code })

async function paired(service: Service = createService()): Promise<Service> {
  await service.setUp()
  await addRoot(service.ports, ROOT, ADMIN)
  await createIssuer(service.ports, ISSUER, ADMIN)
  await service.profile("release", { extraIssuer: "pq" })
  return service
}

function fsckOf(service: Service) {
  const objects = new Map([...service.memory.objects.dump()].map(([key, { bytes }]) => [key, bytes]))
  return fsck({ items: service.memory.table.dump(), objects }, runSync).findings
}

async function signed(service: Service, ...seeds: string[]): Promise<SignatureRecord[]> {
  const settled = await service.signer()(signRequest(seeds))
  return settled.map((one) => {
    if (!("signed" in one)) throw one.refused
    return one.signed
  })
}

async function listOf(service: Service) {
  const { epoch } = await service.publish(true)
  const objects = service.memory.objects.dump()
  const role = JSON.parse(Buffer.from(objects.get(`tuf/${epoch}.lists.json`)?.bytes ?? []).toString())
  const { sha256 } = role.signed.targets["lists/revocations.json"].hashes
  const bytes = objects.get(`tuf/targets/lists/${sha256}.revocations.json`)?.bytes
  return JSON.parse(Buffer.from(bytes ?? []).toString()).signed
}

describe("one act, two signatures (R19)", () => {
  test("each has an algorithm, a key, a certificate and a number of its own, and the second names the first", async () => {
    const service = await paired()
    const [record] = await signed(service, "one")
    const [first, extra] = record?.envelopes ?? []
    expect(record?.envelopes.map(({ format }) => format)).toEqual(["notary-jws", "notary-jws-ml-dsa-65"])
    const classical = parseNotaryJws(first?.bytes as Uint8Array)
    const other = parseNotaryJws(extra?.bytes as Uint8Array)
    expect([classical.protected.alg, other.protected.alg]).toEqual(["ecdsa-p256-sha256", "ml-dsa-65"])
    expect(classical.protected.sealwright?.beside).toBeUndefined()
    expect(other.payload).toEqual(classical.payload)
    expect(other.protected.signingTime).toEqual(classical.protected.signingTime)
    const { beside } = other.protected.sealwright ?? {}
    expect(beside && [hexEncode(beside.issuerKeyId), beside.number]).toEqual([record?.issuerKeyId, record?.number])
    expect(other.protected.sealwright?.number).toBe(record?.extra?.number)
    expect(new Set([...classical.x5c, ...other.x5c]).size).toBe(6)
    const certificates = other.x5c.map(parseX5c)
    expect(certificates.map(({ key, signatureScheme }) => [key.type, signatureScheme])).toEqual(
      certificates.map(() => ["ml-dsa-65", "ml-dsa-65"]),
    )
    expect(certificates[0]?.keyUsage).toBe(1)
  })

  test("the first envelope is byte for byte of the form that it has without an extra one", async () => {
    const service = await paired()
    await service.profile("plain", {})
    const [record] = await signed(service, "one")
    const [plain] = await service.signer()(signRequest(["one"], { profile: "plain" }))
    const members = (bytes: Uint8Array | undefined) => {
      const envelope = JSON.parse(Buffer.from(bytes ?? []).toString())
      const header = JSON.parse(Buffer.from(envelope.protected, "base64url").toString())
      return [Object.keys(envelope), Object.keys(envelope.header), Object.keys(header), envelope.payload]
    }
    if (plain === undefined || !("signed" in plain)) throw new Error("not signed")
    expect(members(record?.envelopes[0]?.bytes)).toEqual(members(plain.signed.envelopes[0]?.bytes))
  })

  test("both verify under their own root, and under no other", async () => {
    const service = await paired()
    const [record] = await signed(service, "one")
    const { root, extraRoots } = await readDeployment(service.ports.table)
    const now = service.ports.clock()
    const trusting = (at: number, certificate: Uint8Array | undefined) =>
      runSync(
        verifyNotaryEnvelope(record?.envelopes[at]?.bytes as Uint8Array, {
          trusted: [certificate as Uint8Array],
          now,
        }),
      ).ok
    expect(trusting(0, root.certificate)).toBe(true)
    expect(trusting(1, extraRoots[0]?.certificate)).toBe(true)
    expect(trusting(0, extraRoots[0]?.certificate)).toBe(false)
    expect(trusting(1, root.certificate)).toBe(false)
  })

  test("a chain of two kinds of algorithm is refused, whichever stands where", async () => {
    const service = await paired()
    const [record] = await signed(service, "one")
    const chains = record?.envelopes.map(({ bytes }) => parseNotaryJws(bytes).x5c.map(parseX5c)) ?? []
    const [[leaf, , root], [extraLeaf, , extraRoot]] = chains as [Certificate[], Certificate[]]
    const time = service.ports.clock()
    for (const chain of [
      [leaf, extraRoot],
      [extraLeaf, root],
    ] as [Certificate, Certificate][])
      expect(runSync(verifyPath(chain, { trusted: [chain[1].der], time }))).toMatchObject({ code: "CHAIN_MIXED" })
  })

  test("a retry answers both, byte for byte", async () => {
    const service = await paired()
    const request = signRequest(["one"], { idempotencyKey: "same" })
    const [first] = await service.signer()(request)
    const [again] = await service.signer()(request)
    expect(again).toMatchObject({ replayed: true, signed: first && "signed" in first ? first.signed : {} })
  })

  test("each lease gives each number once, also to many at a time; what is left over is void", async () => {
    const service = await paired()
    const sign = service.signer()
    await Promise.all(["a", "b", "c", "d", "e", "f"].map((seed) => sign(signRequest([seed]))))
    const records = service.memory.table.dump().filter(({ sk }) => sk === "record")
    const numbers = records.map(({ extra }) => (extra as { number: number }).number)
    expect(new Set(numbers).size).toBe(6)
    const { issuers } = await listOf(service)
    const { issuerKeyId } = await readIssuer(service.ports.table, "pq")
    const { coveredBelow, void: voids } = issuers[issuerKeyId]
    expect(Number(coveredBelow)).toBeGreaterThan(Math.max(...numbers))
    expect(voids.length).toBeGreaterThan(0)
  })

  test("with `shared`, a batch has one certificate of each algorithm", async () => {
    const service = await paired()
    await service.profile("batches", { keyMode: "shared", extraIssuer: "pq" })
    const settled = await service.signer()(signRequest(["a", "b", "c"], { profile: "batches" }))
    const leaves = settled.flatMap((one) =>
      "signed" in one ? one.signed.envelopes.map(({ bytes }) => parseNotaryJws(bytes).x5c[0]) : [],
    )
    expect([leaves.length, new Set(leaves).size]).toEqual([6, 2])
  })

  test("twenty subjects stay within an item of 400 KB and a transaction of 4 MB (DynamoDB)", async () => {
    const service = await paired()
    const seeds = Array.from({ length: 20 }, (_, i) => `many-${i}`)
    const records = await signed(service, ...seeds)
    const bytes = records.map(({ envelopes }) => envelopes.reduce((sum, one) => sum + one.bytes.length, 0))
    expect(Math.max(...bytes)).toBeLessThan(48_000)
    expect(bytes.reduce((sum, one) => sum + one, 0) + 20 * 8_192).toBeLessThan(4 * 1024 * 1024)
    // An answer of 100 subjects in base64, within the 6 MiB that a function may answer.
    expect(5 * Math.ceil((bytes.reduce((sum, one) => sum + one, 0) * 4) / 3) + 100 * 2_048).toBeLessThan(
      6 * 1024 * 1024,
    )
  })
})

describe("revoking takes both (R24)", () => {
  const crlSerials = async (service: Service, issuerKeyId: string) => {
    const { parseCrl, revokedEntries } = await import("@sealwright/formats/crl")
    const crl = service.memory.objects.dump().get(`crl/${issuerKeyId}.crl`)
    return [...revokedEntries(parseCrl(crl?.bytes as Uint8Array))].map(({ serial }) => hexEncode(serial))
  }

  test.each(["signature", "artifact", "certificate", "principal", "profile"] as const)("%s", async (kind) => {
    const service = await paired()
    const [record] = await signed(service, "one")
    if (record?.extra === undefined) throw new Error("no extra signature")
    const from = record.signedAt
    const targets = {
      signature: { kind, signature: record.id },
      artifact: { kind, digest: digestOf("one") },
      certificate: { kind, signature: record.id },
      principal: { kind, principal: record.principal, from, until: undefined },
      profile: { kind, profile: "release", from },
    }
    await service.revoke(targets[kind] as Parameters<Service["revoke"]>[0])
    service.pass(600)
    const { issuers, rules } = await listOf(service)
    for (const { issuerKeyId, number, serialHex } of [record, record.extra]) {
      expect(await crlSerials(service, issuerKeyId)).toContain(serialHex)
      if (kind === "signature" || kind === "principal")
        expect(Object.keys(issuers[issuerKeyId].revoked)).toContain(String(number))
      if (kind === "certificate")
        expect(rules).toContainEqual(expect.objectContaining({ kind, issuer: issuerKeyId, serial: serialHex }))
    }
    expect(fsckOf(service)).toEqual([])
  })

  test("a hold and its release are told of both, so that no list looks shrunk (I7)", async () => {
    const service = await paired()
    const [record] = await signed(service, "one")
    if (record?.extra === undefined) throw new Error("no extra signature")
    const { revocation } = await service.revoke({ kind: "signature", signature: record.id }, "certificateHold")
    const held = await listOf(service)
    await release(service.ports, revocation.id, ADMIN)
    const list = await listOf(service)
    for (const { issuerKeyId, number } of [record, record.extra]) {
      expect(held.issuers[issuerKeyId].revoked).toHaveProperty(String(number))
      expect(list.issuers[issuerKeyId].revoked).toEqual({})
      expect(list.released).toContain(`signature:${issuerKeyId}:${number}`)
    }
    expect(fsckOf(service)).toEqual([])
  })

  test("revoking the extra issuer leaves the first signatures good, and stops the profile", async () => {
    const service = await paired()
    await signed(service, "one")
    await service.revoke({ kind: "issuer", issuer: "pq" })
    await expect(signed(service, "two")).rejects.toEqual(coded("ISSUER_NOT_ACTIVE"))
    await changeProfile(service.ports, "release", { extraIssuer: null }, ADMIN)
    const [record] = await signed(service, "two")
    expect(record?.envelopes.length).toBe(1)
    expect(record?.extra).toBeUndefined()
  })
})

describe("fsck proves the pair", () => {
  type Change = (item: { envelopes: unknown[]; extra: Record<string, unknown> }, other: typeof item) => void
  const wrong: Readonly<Record<string, [code: string, change: Change]>> = {
    "without its envelope": ["RECORD_ENVELOPE_INVALID", (item) => void item.envelopes.pop()],
    "with that of another act": [
      "RECORD_ENVELOPE_INVALID",
      (item, other) => void item.envelopes.splice(1, 1, other.envelopes[1]),
    ],
    "with another act's place": ["RECORD_WITHOUT_NUMBER", (item, other) => void Object.assign(item.extra, other.extra)],
    "not known to the record": ["RECORD_ENVELOPE_INVALID", (item) => void Reflect.deleteProperty(item, "extra")],
  }

  test.each(Object.entries(wrong))("an extra signature %s is found", async (_, [code, change]) => {
    const service = await paired()
    await signed(service, "one", "two")
    const items = structuredClone(service.memory.table.dump()) as Item[]
    const [item, other] = items.filter(({ sk }) => sk === "record") as unknown as Parameters<Change>
    change(item, other)
    const { findings } = fsck({ items, objects: new Map() }, runSync)
    expect(findings.map((finding) => finding.code)).toContain(code)
  })
})

describe("setting up", () => {
  test("a root of the algorithm stands beside the others, once, and is in the trust bundle", async () => {
    const service = createService()
    await service.setUp()
    await expect(createIssuer(service.ports, ISSUER, ADMIN)).rejects.toEqual(coded("ROOT_ALGORITHM_MISSING"))
    const { root, extraRoots } = await addRoot(service.ports, ROOT, ADMIN)
    const again = await addRoot(service.ports, ROOT, ADMIN)
    expect(again.extraRoots).toEqual(extraRoots)
    expect(again.root).toEqual(root)
    expect(parseCertificate(extraRoots[0]?.certificate as Uint8Array).signatureScheme).toBe("ml-dsa-65")
    await expect(addRoot(service.ports, { ...ROOT, generation: 3 }, ADMIN)).rejects.toEqual(
      coded("ISSUER_GENERATION_WRONG"),
    )
    await rotateRoot(service.ports, { generation: 2, algorithm: undefined, rootYears: 10 }, ADMIN)
    const issuer = await createIssuer(service.ports, ISSUER, ADMIN)
    expect(issuer.chain).toEqual([extraRoots[0]?.certificate])
  })

  test("a successor of it certifies from then on; the old one retires when nothing stands below it", async () => {
    const service = await paired()
    const { extraRoots } = await addRoot(service.ports, { ...ROOT, generation: 2 }, ADMIN)
    const thumbprint = hexEncode(digest("sha256", extraRoots[0]?.certificate as Uint8Array))
    await expect(retireRoot(service.ports, thumbprint, ADMIN)).rejects.toEqual(coded("ROOT_IN_USE"))
    await rotateIssuer(service.ports, { name: "pq", generation: 2, algorithm: undefined, days: 500 }, ADMIN)
    await service.publish(true)
    const successor = await activateSuccessor(service.ports, "pq", 2, ADMIN)
    expect(successor.chain).toEqual([extraRoots[1]?.certificate])
    const retired = await retireRoot(service.ports, thumbprint, ADMIN)
    expect(retired.extraRoots.map(({ state }) => state)).toEqual(["retired", "active"])
    const [record] = await signed(service, "after")
    expect(record?.extra?.issuerKeyId).toBe(successor.issuerKeyId)
  })

  test("an issuer keeps to its kind of algorithm", async () => {
    const service = await paired()
    const rotation = { generation: 2, days: 500 }
    await expect(
      rotateIssuer(service.ports, { ...rotation, name: "ci", algorithm: "ml-dsa-65" }, ADMIN),
    ).rejects.toEqual(coded("ISSUER_ALGORITHM_WRONG"))
    await expect(
      rotateIssuer(service.ports, { ...rotation, name: "pq", algorithm: "ecdsa-p256-sha256" }, ADMIN),
    ).rejects.toEqual(coded("ISSUER_ALGORITHM_WRONG"))
    await expect(service.profile("a", { issuer: "pq" })).rejects.toEqual(coded("ISSUER_ALGORITHM_WRONG"))
    await expect(service.profile("a", { extraIssuer: "ci" })).rejects.toEqual(coded("ISSUER_ALGORITHM_WRONG"))
    await expect(rotateProfile(service.ports, "release", 1, "pq", ADMIN)).rejects.toEqual(
      coded("ISSUER_ALGORITHM_WRONG"),
    )
    await expect(changeProfile(service.ports, "release", { extraIssuer: "ci" }, ADMIN)).rejects.toEqual(
      coded("ISSUER_ALGORITHM_WRONG"),
    )
    await expect(service.profile("a", { extraIssuer: "nobody" })).rejects.toEqual(coded("ISSUER_UNKNOWN"))
  })

  test.each([
    ["a held key", { keyMode: "held" }],
    ["a timestamp", { timestamp: "own" }],
  ] as const)("%s takes no extra signature", async (_, settings) => {
    const service = await paired()
    await expect(service.profile("a", { ...settings, extraIssuer: "pq" })).rejects.toEqual(
      coded("EXTRA_SIGNATURE_UNSUPPORTED"),
    )
    await service.profile("b", settings)
    await expect(changeProfile(service.ports, "b", { extraIssuer: "pq" }, ADMIN)).rejects.toEqual(
      coded("EXTRA_SIGNATURE_UNSUPPORTED"),
    )
  })

  test("its key can't be wrapped", async () => {
    const service = createService()
    await service.setUp()
    await addRoot(service.ports, ROOT, ADMIN)
    await expect(createIssuer(service.ports, { ...ISSUER, wrapped: true }, ADMIN)).rejects.toEqual(
      coded("ISSUER_ALGORITHM_WRONG"),
    )
  })

  test("no OCSP responder is made for it: its clients don't ask", async () => {
    const service = await paired()
    const request = { algorithm: undefined, days: 30, generation: undefined }
    for (const issuer of ["pq", "root-ml-dsa-65"])
      await expect(makeOcspResponders(service.ports, { ...request, issuer }, ADMIN)).rejects.toEqual(
        coded("ISSUER_ALGORITHM_WRONG"),
      )
  })

  test("a change binds once it is answered: leases of the signers before are closed", async () => {
    const service = createService()
    await service.setUp()
    await addRoot(service.ports, ROOT, ADMIN)
    await createIssuer(service.ports, ISSUER, ADMIN)
    await service.profile("release")
    const sign = service.signer()
    const [before] = await sign(signRequest(["one"]))
    await changeProfile(service.ports, "release", { extraIssuer: "pq" }, ADMIN)
    const [after] = await sign(signRequest(["two"]))
    const formats = [before, after].map((one) => one && "signed" in one && one.signed.envelopes.length)
    expect(formats).toEqual([1, 2])
    if (after === undefined || !("signed" in after)) throw new Error("not signed")
    expect(await findRecord(service.ports.table, after.signed.id)).toEqual(after.signed)
  })

  test("the JOSE name is the registered one", () => {
    expect(schemeRow("ml-dsa-65")).toMatchObject({ jose: "ML-DSA-65", cose: -49 })
  })
})
