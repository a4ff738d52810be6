import { digest } from "@sealwright/adapters/platform"
import { listOcspResponders } from "@sealwright/core/ledger/ocsp-responders"
import { readDeployment, readIssuer } from "@sealwright/core/ledger/trust"
import type { OcspAlgorithm, OcspResponder } from "@sealwright/core/model"
import { makeOcspResponders, renewOcspResponders } from "@sealwright/core/ocsp/responder"
import { listExpiries, nextExpiries, urgencyOf } from "@sealwright/core/publish/expiry"
import { parseCertificate } from "@sealwright/formats/x509"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifyPath } from "@sealwright/verifier/x509-path"
import { describe, expect, test } from "vitest"
import { ADMIN, createService } from "../support/service.ts"
import { auditOf, withCode } from "./core-published.ts"

const DAY = 86_400

async function ready() {
  const service = createService()
  await service.setUp()
  const make = async (more: { issuer?: string; algorithm?: OcspAlgorithm; generation?: number } = {}) => {
    const request = { issuer: "ci", algorithm: undefined, days: 30, generation: undefined, ...more }
    return (await makeOcspResponders(service.ports, request, ADMIN)) as [OcspResponder, ...OcspResponder[]]
  }
  return { service, make, renew: () => renewOcspResponders(service.ports, ADMIN) }
}

describe("delegated OCSP responders (D13)", () => {
  test("a key of its own purpose, a short certificate right below the issuer that signs nothing but responses", async () => {
    const { service, make } = await ready()
    const [responder] = await make()
    const ci = await readIssuer(service.ports.table, "ci")
    expect(service.memory.keys.purposeOf(responder.key.keyId)).toBe("ocsp")
    const certificate = parseCertificate(responder.certificate)
    expect(certificate.issuer.der).toEqual(parseCertificate(ci.certificate).subject.der)
    expect(certificate.extKeyUsage).toEqual(["1.3.6.1.5.5.7.3.9"])
    expect(certificate.extensions.get("2.5.29.37")?.critical).toBe(true)
    expect(certificate.extensions.get("1.3.6.1.5.5.7.48.1.5")).toMatchObject({ critical: false })
    expect(certificate.basicConstraints).toBeUndefined()
    expect(certificate.notAfter).toEqual(new Date("2026-12-21T09:00:00Z"))
    expect(certificate.serialBytes[0]).toBeGreaterThanOrEqual(0x40)
    expect(auditOf(service).filter(({ action }) => action === "ocsp-responder.create")).toHaveLength(1)
  })

  test("its certificate signs no artifact and no timestamp", async () => {
    const { service, make } = await ready()
    const [responder] = await make()
    const ci = await readIssuer(service.ports.table, "ci")
    const { root } = await readDeployment(service.ports.table)
    const chain = [responder.certificate, ci.certificate, root.certificate].map(parseCertificate)
    const options = { trusted: [root.certificate], time: service.ports.clock() }
    expect(runSync(verifyPath(chain, options))).toMatchObject({ ok: false, code: "CHAIN_KEY_PURPOSE", at: 0 })
    expect(runSync(verifyPath(chain, { ...options, use: "timestamps" }))).toMatchObject({ code: "CHAIN_KEY_PURPOSE" })
  })

  test("a repeat answers what stands; from half of its life on it is renewed under the same key", async () => {
    const { service, make, renew } = await ready()
    const [first] = await make()
    expect(await make()).toEqual([first])
    service.pass(15 * DAY - 60)
    expect(await renew()).toBe(0)
    service.pass(61)
    expect(await renew()).toBe(1)
    expect(await renew()).toBe(0)
    const [next] = await make()
    expect(next).toMatchObject({ generation: 1, key: first.key, notAfter: new Date("2027-01-05T09:00:01Z") })
    expect(auditOf(service).map(({ action }) => action)).toContain("ocsp-responder.renew")
  })

  test("a rotation makes a new key once, whoever repeats it; a generation too far is refused", async () => {
    const { service, make } = await ready()
    const [first] = await make()
    const [second] = await make({ generation: 2 })
    expect(second.key.keyId).not.toBe(first.key.keyId)
    expect(await make({ generation: 2 })).toEqual([second])
    expect(await make()).toEqual([second])
    await expect(make({ generation: 4 })).rejects.toThrow(withCode("OCSP_GENERATION_WRONG"))
    const [third] = await make({ algorithm: "ecdsa-p384-sha384" })
    expect(third).toMatchObject({ generation: 3, key: { scheme: "ecdsa-p384-sha384" } })
    expect(auditOf(service).filter(({ action }) => action === "ocsp-responder.rotate")).toHaveLength(2)
  })

  test("two at once agree on one", async () => {
    const { make } = await ready()
    const [one, two] = await Promise.all([make(), make()])
    expect(two).toEqual(one)
  })

  test("it ends no later than its issuer, and then is not renewed each day", async () => {
    const { service, make, renew } = await ready()
    service.pass(990 * DAY)
    const [responder] = await make()
    expect(responder.notAfter).toEqual((await readIssuer(service.ports.table, "ci")).notAfter)
    service.pass(8 * DAY)
    expect(await renew()).toBe(0)
    service.pass(2 * DAY)
    expect(await renew()).toBe(0)
    await expect(make()).rejects.toThrow(withCode("ISSUER_NOT_ACTIVE"))
  })

  test("none for an issuer that is unknown or revoked, and none before the ceremony", async () => {
    const { service, make, renew } = await ready()
    await expect(make({ issuer: "other" })).rejects.toThrow(withCode("ISSUER_UNKNOWN"))
    await make()
    await service.revoke({ kind: "issuer", issuer: "ci" })
    await expect(make()).rejects.toThrow(withCode("ISSUER_NOT_ACTIVE"))
    service.pass(20 * DAY)
    expect(await renew()).toBe(0)
    const { ports } = createService()
    const request = { issuer: "ci", algorithm: undefined, days: 30, generation: undefined }
    await expect(makeOcspResponders(ports, request, ADMIN)).rejects.toThrow(withCode("PRECONDITION_REQUIRED"))
    expect(await renewOcspResponders(ports, ADMIN)).toBe(0)
  })

  test("one issuer's unusable key does not keep the others waiting", async () => {
    const { service, make, renew } = await ready()
    await make()
    await make({ issuer: "root" })
    const before = await listOcspResponders(service.ports.table)
    service.pass(16 * DAY)
    service.memory.keys.disable((await readIssuer(service.ports.table, "ci")).key.keyId)
    await expect(renew()).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    const renewed = (await listOcspResponders(service.ports.table)).filter(
      ({ notAfter }, at) => notAfter > (before[at] as OcspResponder).notAfter,
    )
    expect(renewed.map(({ issuer }) => issuer)).toEqual(["root"])
  })

  test("R18: its end is named, and urgent only once its renewal has failed for days", async () => {
    const { service, make } = await ready()
    const [{ notAfter }] = await make()
    const expiry = (await listExpiries(service.ports.table)).find(({ name }) => name === "ocsp/ci")
    expect(expiry).toEqual({ name: "ocsp/ci", at: notAfter, renewedBy: "schedule" })
    expect((await nextExpiries(service.ports.table, service.ports.clock())).schedule).toEqual(expiry)
    const urgency = (daysBefore: number) =>
      expiry && urgencyOf(expiry, undefined, new Date(notAfter.getTime() - daysBefore * DAY * 1000))
    expect([29, 8, 7, 0].map(urgency)).toEqual(["ok", "ok", "7", "expired"])
    await service.revoke({ kind: "issuer", issuer: "ci" })
    expect((await listExpiries(service.ports.table)).find(({ name }) => name === "ocsp/ci")?.renewedBy).toBe("finished")
  })
})

test("names of responders fit a certificate, of the longest issuer too", async () => {
  const { service } = await ready()
  const { createIssuer } = await import("@sealwright/core/admin/ceremony")
  const name = "a".repeat(48)
  await createIssuer(service.ports, { name, algorithm: "ecdsa-p256-sha256", days: 100 }, ADMIN)
  const request = { issuer: name, algorithm: undefined, days: 30, generation: undefined }
  const [responder] = await makeOcspResponders(service.ports, request, ADMIN)
  expect(digest("sha256", responder?.certificate as Uint8Array)).toHaveLength(32)
})
