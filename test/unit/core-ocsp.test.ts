import { certIdDigest } from "@sealwright/adapters/platform"
import { rotateProfile } from "@sealwright/core/admin/profile-rotation"
import { activateSuccessor, rotateIssuer } from "@sealwright/core/admin/rotation"
import { readDeployment, readIssuer, readProfile } from "@sealwright/core/ledger/trust"
import type { SignatureRecord } from "@sealwright/core/model"
import { createOcspResponder } from "@sealwright/core/ocsp/flow"
import { makeOcspResponders } from "@sealwright/core/ocsp/responder"
import type { Objects, SigningKeys, Table } from "@sealwright/core/ports"
import { publish } from "@sealwright/core/publish/flow"
import { revoke } from "@sealwright/core/revoke/flow"
import { hexDecode, hexEncode, utf8 } from "@sealwright/formats/bytes"
import { batchSerial, leafSerial } from "@sealwright/formats/leaf-serial"
import { publicKeyBits } from "@sealwright/formats/ocsp"
import { parseCertificate } from "@sealwright/formats/x509"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { describe, expect, test } from "vitest"
import { manyRequests, readOcspResponse, requestFor } from "../support/ocsp.ts"
import { ADMIN, createService, digestOf, signRequest } from "../support/service.ts"

type Wrap = NonNullable<Parameters<typeof createService>[0]>

async function ready(wrap: Wrap = {}) {
  const service = createService(wrap)
  await service.setUp()
  await service.profile("release")
  const make = (issuer = "ci", generation?: number) =>
    makeOcspResponders(service.ports, { issuer, algorithm: undefined, days: 30, generation }, ADMIN)
  await make()
  const sign = async (...seeds: readonly string[]) =>
    (await service.signer()(signRequest(seeds))).map((one) => {
      if (!("signed" in one)) throw one.refused
      return one.signed
    })
  const answer = createOcspResponder({ ...service.ports, certIdDigest })
  const ci = await readIssuer(service.ports.table, "ci")
  const ask = async (serialHex: string, ca = ci.certificate) => {
    const outcome = await answer(requestFor(ca, hexDecode(serialHex)))
    return { ...outcome, ...readOcspResponse(outcome.response) }
  }
  const statusOf = async ({ serialHex }: Pick<SignatureRecord, "serialHex">) => (await ask(serialHex)).singles[0]
  return { service, make, sign, answer, ask, statusOf, ci }
}

const SECOND = hexEncode(leafSerial(new Uint8Array(32), 2 ** 41))
const NEVER = hexEncode(leafSerial(new Uint8Array(32), 2 ** 40))

describe("status of certificates for stock clients (R24, R26)", () => {
  test("good is what is on record; revoked is what the published CRL says; the rest is unknown", async () => {
    const { service, sign, statusOf } = await ready()
    const [one, two] = (await sign("a", "b")) as [SignatureRecord, SignatureRecord]
    await service.publish()
    expect(await statusOf(one)).toMatchObject({ status: "good" })
    await service.revoke({ kind: "signature", signature: one.id }, "superseded")
    // Acknowledged, and not published yet: the CRL and the responder say the same.
    expect(await statusOf(one)).toMatchObject({ status: "good" })
    service.pass(60)
    await service.publish()
    expect(await statusOf(one)).toEqual(
      expect.objectContaining({
        status: "revoked",
        reason: "superseded",
        revokedAt: new Date("2026-11-21T09:00:00Z"),
        thisUpdate: new Date("2026-11-21T09:01:00Z"),
        nextUpdate: new Date("2026-11-22T09:01:00Z"),
      }),
    )
    expect(await statusOf(two)).toMatchObject({ status: "good" })
    expect(await statusOf({ serialHex: NEVER })).toMatchObject({ status: "unknown" })
  })

  test("the response is signed by the delegated key, names it by its hash, and repeats CertID and nonce", async () => {
    const { service, sign, answer, ci } = await ready()
    const [{ serialHex }] = (await sign("a")) as [SignatureRecord]
    await service.publish()
    for (const hash of ["sha1", "sha256"] as const) {
      const nonce = new Uint8Array(32).fill(7)
      const request = requestFor(ci.certificate, hexDecode(serialHex), { hash, nonce })
      const { response, freshness } = await answer(request)
      const read = readOcspResponse(response)
      expect(read).toMatchObject({ code: 0, nonce, producedAt: new Date("2026-11-21T09:00:00Z") })
      expect(freshness?.hasNonce).toBe(true)
      expect(hexEncode(request)).toContain(hexEncode(read.singles[0]?.certId as Uint8Array))
      const { spki } = parseCertificate(read.certificate as Uint8Array)
      expect(read.keyHash).toEqual(certIdDigest("sha1", publicKeyBits(spki)))
      const { data, signature } = read as { data: Uint8Array; signature: Uint8Array }
      expect(runSync(verifySignature("ecdsa-p256-sha256", spki, data, signature))).toBe(true)
    }
  })

  test("every kind of certificate on record: of a batch, of held keys before and after a rotation", async () => {
    const { service, statusOf } = await ready()
    await service.profile("many", { keyMode: "shared" })
    await service.profile("held", { keyMode: "held" })
    const [one, two] = await service.signer()({ ...signRequest(["a", "b"]), profile: "many" })
    if (!one || !("signed" in one) || !two || !("signed" in two)) throw new Error("not signed")
    const before = (await readProfile(service.ports.table, "held")).held?.certificate as Uint8Array
    await rotateProfile(service.ports, "held", 1, undefined, ADMIN)
    const after = (await readProfile(service.ports.table, "held")).held?.certificate as Uint8Array
    await service.publish()
    expect(two.signed.serialHex).toBe(one.signed.serialHex)
    const serials = [before, after].map((der) => hexEncode(parseCertificate(der).serialBytes))
    expect(new Set(serials).size).toBe(2)
    for (const serialHex of [one.signed.serialHex, ...serials])
      expect(await statusOf({ serialHex })).toMatchObject({ status: "good" })
    const thumbprint = hexEncode(service.ports.digest("sha256", after))
    await service.revoke({ kind: "certificate", thumbprint })
    await service.publish()
    expect((await Promise.all(serials.map((serialHex) => statusOf({ serialHex })))).map((s) => s?.status)).toEqual([
      "good",
      "revoked",
    ])
    const forged = batchSerial(new Uint8Array(32), one.signed.number, 2)
    expect(await statusOf({ serialHex: hexEncode(forged) })).toMatchObject({ status: "unknown" })
  })

  test("a number without a record is never good, nor is a serial that another lease could not have made", async () => {
    const { service, sign, statusOf } = await ready()
    const [signed] = (await sign("a")) as [SignatureRecord]
    await service.publish()
    const serial = hexDecode(signed.serialHex)
    const next = serial.slice()
    next[14] = (next[14] as number) ^ 1
    const nonce = serial.slice()
    nonce[3] = (nonce[3] as number) ^ 1
    for (const forged of [next, nonce, Uint8Array.of(0), Uint8Array.of(0xff), new Uint8Array(20).fill(0x7f)])
      expect(await statusOf({ serialHex: hexEncode(forged) })).toMatchObject({ status: "unknown" })
  })

  test("a number that a held key signed under is no certificate of its own", async () => {
    const { service, statusOf } = await ready()
    await service.profile("held", { keyMode: "held" })
    const [one] = await service.signer()({ ...signRequest(["a"]), profile: "held" })
    if (!one || !("signed" in one)) throw new Error("not signed")
    await service.publish()
    const { number, leaseFirst, issuerKeyId } = one.signed
    const lease = await service.ports.table.query(`leases#${issuerKeyId}`, { limit: 1 })
    const nonce = lease.items[0]?.nonce as Uint8Array
    expect(lease.items[0]?.first).toBe(leaseFirst)
    const { leafSerialInput } = await import("@sealwright/formats/leaf-serial")
    const serial = leafSerial(service.ports.digest("sha256", leafSerialInput(nonce, number)), number)
    expect(await statusOf({ serialHex: hexEncode(serial) })).toMatchObject({ status: "unknown" })
  })

  test("a hold shows while it stands, and never good while one of two lists says revoked", async () => {
    const { service, sign, statusOf } = await ready()
    const [signed] = (await sign("a")) as [SignatureRecord]
    await service.revoke({ kind: "signature", signature: signed.id }, "certificateHold")
    await service.publish()
    expect(await statusOf(signed)).toMatchObject({ status: "revoked", reason: "certificateHold" })
    const { release } = await import("@sealwright/core/revoke/flow")
    const { listRevocations } = await import("@sealwright/core/ledger/revocations")
    const [revocation] = await listRevocations(service.ports.table)
    await release(service.ports, revocation?.id ?? "", ADMIN)
    // The heads can't be moved: the next epoch is committed, its list is made, and the old one is still out.
    const stuck: Objects = { ...service.ports.objects, replace: () => Promise.reject(new Error("stuck")) }
    await expect(publish({ ...service.ports, objects: stuck }, false)).rejects.toThrow("stuck")
    expect(await statusOf(signed)).toMatchObject({ status: "revoked", reason: "certificateHold" })
    await service.publish()
    expect(await statusOf(signed)).toMatchObject({ status: "good" })
  })

  test("what the next list says is revoked before every head has moved", async () => {
    const { service, sign, statusOf } = await ready()
    const [signed] = (await sign("a")) as [SignatureRecord]
    await service.publish()
    await service.revoke({ kind: "signature", signature: signed.id })
    const replace: Objects["replace"] = async (key, ...rest) => {
      if (key.startsWith("tuf/")) throw new Error("stuck")
      return await service.ports.objects.replace(key, ...rest)
    }
    await expect(publish({ ...service.ports, objects: { ...service.ports.objects, replace } }, false)).rejects.toThrow(
      "stuck",
    )
    expect(await statusOf(signed)).toMatchObject({ status: "revoked", reason: "keyCompromise" })
  })

  test("under a revoked CA nothing is good; a retired one still answers", async () => {
    const { service, make, sign, statusOf, ask, ci } = await ready()
    const [signed] = (await sign("a")) as [SignatureRecord]
    await rotateIssuer(service.ports, { name: "ci", generation: 2, algorithm: undefined, days: 500 }, ADMIN)
    await service.publish()
    await activateSuccessor(service.ports, "ci", 2, ADMIN)
    await service.publish()
    service.pass(11)
    const responders = await make()
    expect(responders.map(({ issuerGeneration }) => issuerGeneration)).toEqual([1, 2])
    expect(await statusOf(signed)).toMatchObject({ status: "good" })
    const second = await readIssuer(service.ports.table, "ci")
    service.pass(11)
    expect((await ask(signed.serialHex, second.certificate)).singles[0]).toMatchObject({ status: "unknown" })
    const { target } = (await service.revoke({ kind: "issuer", issuer: "ci" })).revocation
    expect(target).toMatchObject({ issuerKeyId: second.issuerKeyId })
    await service.publish()
    expect((await ask(NEVER, second.certificate)).singles[0]).toMatchObject({
      status: "revoked",
      reason: "keyCompromise",
    })
    expect((await ask(signed.serialHex, ci.certificate)).singles[0]).toMatchObject({ status: "good" })
  })

  test("the root's responder knows the CAs that it certified", async () => {
    const { service, make, ask, ci } = await ready()
    const { root } = await readDeployment(service.ports.table)
    await make("root")
    await service.publish()
    const serialHex = hexEncode(parseCertificate(ci.certificate).serialBytes)
    expect((await ask(serialHex, root.certificate)).singles[0]).toMatchObject({ status: "good" })
    await service.revoke({ kind: "issuer", issuer: "ci" })
    await service.publish()
    expect((await ask(serialHex, root.certificate)).singles[0]).toMatchObject({ status: "revoked" })
    expect((await ask(NEVER, root.certificate)).singles[0]).toMatchObject({ status: "unknown" })
  })
})

describe("no answer (RFC 6960 §2.3)", () => {
  test("malformedRequest, without a look at any store", async () => {
    const never = () => Promise.reject(new Error("asked"))
    const table = { get: never, query: never, queryIndex: never, transact: never } as Table
    const { ports } = createService()
    const answer = createOcspResponder({ ...ports, table, certIdDigest })
    for (const bytes of [new Uint8Array(0), utf8("hello"), new Uint8Array(5000), Uint8Array.of(0x30, 0)])
      expect(await answer(bytes)).toMatchObject({ outcome: "malformedRequest", response: hexDecode("30030a0101") })
  })

  test("unauthorized for another CA, for none at all, and for certificates of two", async () => {
    const { service, make, answer, ask, ci } = await ready()
    const { root } = await readDeployment(service.ports.table)
    await service.publish()
    expect((await ask(NEVER, root.certificate)).code).toBe(6)
    service.pass(11)
    await make("root")
    expect((await ask(NEVER, root.certificate)).code).toBe(0)
    const both = manyRequests([ci.certificate, root.certificate].map((ca) => requestFor(ca, hexDecode(NEVER))))
    expect(await answer(both)).toMatchObject({ outcome: "unauthorized" })
    const twice = manyRequests([NEVER, SECOND].map((serial) => requestFor(ci.certificate, hexDecode(serial))))
    const { singles } = readOcspResponse((await answer(twice)).response)
    expect(singles.map(({ status }) => status)).toEqual(["unknown", "unknown"])
    const bare = createService()
    await bare.setUp()
    const strange = createOcspResponder({ ...bare.ports, certIdDigest })
    expect(await strange(requestFor(root.certificate, hexDecode(NEVER)))).toMatchObject({ outcome: "unauthorized" })
    expect(await answer(new Uint8Array(0))).toMatchObject({ outcome: "malformedRequest" })
  })

  test("tryLater before the first publication, when the last is too old, and before the clock has come to it", async () => {
    const { service, ask } = await ready()
    expect(await ask(NEVER)).toMatchObject({ code: 3, cause: { code: "NOT_PUBLISHED" } })
    await service.publish()
    expect((await ask(NEVER)).code).toBe(0)
    service.pass(86_399)
    expect((await ask(NEVER)).code).toBe(0)
    service.pass(1)
    expect(await ask(NEVER)).toMatchObject({ code: 3, cause: { code: "NOT_PUBLISHED" } })
    service.pass(-86_401)
    expect((await ask(NEVER)).code).toBe(3)
  })

  test("a response ends with its CRL and its responder's certificate at the latest; then tryLater", async () => {
    const { service, ask } = await ready()
    service.pass(30 * 86_400 - 3600)
    await service.publish(true)
    expect((await ask(NEVER)).singles[0]?.nextUpdate).toEqual(new Date("2026-12-21T09:00:00Z"))
    service.pass(3600)
    expect(await ask(NEVER)).toMatchObject({ code: 3, cause: { code: "OCSP_RESPONDER_MISSING" } })
  })

  test("an object with other bytes, a signature that does not verify and a key that can't be used: no answer leaves", async () => {
    const { service, answer, ci } = await ready()
    await service.publish()
    const request = requestFor(ci.certificate, hexDecode(NEVER))
    const responder = (await service.ports.table.query("ocsp-responders")).items[0]
    const ports = { ...service.ports, certIdDigest }
    const swapped: Pick<Objects, "get"> = {
      get: async (key, max) => {
        const stored = await service.ports.objects.get(key, max)
        return stored && { ...stored, bytes: stored.bytes.with(stored.bytes.length - 1, 0x5a) }
      },
    }
    expect(await createOcspResponder({ ...ports, objects: swapped })(request)).toMatchObject({
      outcome: "internalError",
      cause: { code: "PUBLICATION_MISMATCH" },
    })
    const gone = { get: () => Promise.resolve(undefined) }
    expect(await createOcspResponder({ ...ports, objects: gone })(request)).toMatchObject({ outcome: "internalError" })
    const keys: SigningKeys = {
      sign: async (key, message) =>
        (await service.ports.keys.sign(key, message)).map((b, at) => (at === 12 ? b ^ 1 : b)),
    }
    expect(await createOcspResponder({ ...ports, keys })(request)).toMatchObject({
      outcome: "tryLater",
      cause: { code: "SIGNATURE_SELF_CHECK_FAILED" },
    })
    service.memory.keys.disable(responder?.keyId as string)
    expect(await answer(request)).toMatchObject({ outcome: "internalError", cause: { code: "KEY_NOT_USABLE" } })
  })

  test("nothing is written, whatever is asked", async () => {
    const { service, sign, ask } = await ready()
    const [signed] = (await sign("a")) as [SignatureRecord]
    await service.publish()
    await revoke(service.ports, {
      target: { kind: "artifact", digest: digestOf("a") },
      reason: "keyCompromise",
      comment: "",
      effectiveAt: undefined,
      ...ADMIN,
    })
    await service.publish()
    const before = JSON.stringify(service.memory.table.dump())
    expect((await ask(signed.serialHex)).singles[0]?.status).toBe("revoked")
    await ask(NEVER)
    expect(JSON.stringify(service.memory.table.dump())).toBe(before)
  })
})
