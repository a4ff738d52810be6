import { activateIssuer, requestIssuer } from "@sealwright/core/admin/external"
import { importOutsideCrl, MAX_OUTSIDE_CRL_BYTES } from "@sealwright/core/admin/outside-crls"
import { levelOf, listExpiries, nextExpiry } from "@sealwright/core/publish/expiry"
import { readStatus } from "@sealwright/core/publish/status"
import { hexEncode } from "@sealwright/formats/bytes"
import { parseCrl } from "@sealwright/formats/crl"
import { ascii, explicit, implicit, sequence } from "@sealwright/formats/der-write"
import { parseCertificate } from "@sealwright/formats/x509"
import { extension } from "@sealwright/formats/x509-write"
import { describe, expect, test } from "vitest"
import { CORPORATE_CRL_URL, certifyOutside, outsideCrl, policyCa } from "../support/authority.ts"
import { at, makeSigner, sha256 } from "../support/chains.ts"
import { ADMIN, createService, digestOf, signRequest } from "../support/service.ts"
import { openShown, verdictOf } from "../support/verdicts.ts"
import { auditOf, expectSound, published, withCode } from "./core-published.ts"

const DAY = 86_400

/** `http://…` as a certificate names it (RFC 5280 §4.2.1.13). */
const crlAt = (url: string) =>
  extension("2.5.29.31", false, sequence(sequence(explicit(0, explicit(0, implicit(6, ascii(url)))))))

/** issuingDistributionPoint, critical (RFC 5280 §5.2.5). */
const distributionPoint = (url: string) =>
  extension("2.5.29.28", true, sequence(explicit(0, explicit(0, implicit(6, ascii(url))))))

async function ready() {
  const service = createService()
  await service.setUp()
  const { key } = await requestIssuer(service.ports, { name: "corp", algorithm: "ecdsa-p256-sha256" }, ADMIN)
  const chain = certifyOutside(key.spki, { policy: { more: [crlAt(CORPORATE_CRL_URL)], serial: 78n } })
  await activateIssuer(service.ports, "corp", chain, ADMIN)
  await service.profile("release", { issuer: "corp" })
  const [issuer, policy, root] = chain.map(parseCertificate) as [Parsed, Parsed, Parsed]
  const idOf = (one: Parsed) => hexEncode(sha256(one.spki))
  const take = (der: Uint8Array) => importOutsideCrl(service.ports, der, ADMIN)
  return { service, issuer, policy, root, take, rootId: idOf(root), policyId: idOf(policy) }
}
type Parsed = ReturnType<typeof parseCertificate>

describe("CRLs of outside authorities (R24, R26)", () => {
  test("an imported list is published at its key's address, in TUF and for notation, and audited", async () => {
    const { service, take, rootId, policyId } = await ready()
    const der = outsideCrl()
    const { outsideCrl: made, revokedIssuers } = await take(der)
    expect([made.issuerKeyId, made.crlNumber, revokedIssuers]).toEqual([rootId, 1n, []])
    await take(outsideCrl({ by: policyCa(), crlNumber: 7n }))
    await service.publish()
    expect(published(service).objects.get(`crl/${rootId}.crl`)).toEqual(der)
    expect(openShown(service).crlKeyIds).toEqual(expect.arrayContaining([rootId, policyId]))
    expect(published(service).notation().crls).toContainEqual({ url: CORPORATE_CRL_URL, target: `lists/${rootId}.crl` })
    const told = { action: "outside-crl.import", target: `outside-crl/${rootId}`, outcome: "done" }
    expect(auditOf(service)).toContainEqual(expect.objectContaining(told))
    expectSound(service)
  })

  test("a repeat answers the same and writes nothing; the next takes its place", async () => {
    const { service, take, rootId } = await ready()
    const first = await take(outsideCrl())
    const entries = auditOf(service).length
    expect(await take(outsideCrl())).toEqual(first)
    expect(auditOf(service).length).toBe(entries)
    await service.publish()
    await take(outsideCrl({ crlNumber: 2n }))
    await service.publish()
    expect(published(service).crl(rootId).crlNumber).toBe(2n)
    expectSound(service)
  })

  test("R28: neither number nor date goes back", async () => {
    const { take } = await ready()
    await take(outsideCrl({ crlNumber: 5n }))
    const older = [
      { crlNumber: 4n },
      { crlNumber: 5n, nextUpdate: at("2028-01-01T00:00:00Z") },
      { crlNumber: 6n, thisUpdate: at("2026-11-19T23:59:59Z") },
    ]
    for (const change of older) await expect(take(outsideCrl(change))).rejects.toThrow(withCode("OUTSIDE_CRL_OLDER"))
    await take(outsideCrl({ crlNumber: 6n }))
  })

  test("what is refused, each with its code", async () => {
    const { service, issuer, take } = await ready()
    const stranger = { signer: makeSigner("ecdsa-p256-sha256"), commonName: "Another Root" }
    const cases: [Uint8Array, string][] = [
      [new Uint8Array(3), "OUTSIDE_CRL_MALFORMED"],
      [new Uint8Array(MAX_OUTSIDE_CRL_BYTES + 1), "OUTSIDE_CRL_MALFORMED"],
      [outsideCrl({ crlNumber: 1n << 159n }), "OUTSIDE_CRL_MALFORMED"],
      [outsideCrl({ crlNumber: -1n }), "OUTSIDE_CRL_MALFORMED"],
      [outsideCrl({ by: stranger }), "OUTSIDE_CRL_ISSUER_UNKNOWN"],
      [outsideCrl({ signedBy: makeSigner("rsa-pkcs1-sha256", 2048) }), "OUTSIDE_CRL_SIGNATURE"],
      [outsideCrl({ thisUpdate: at("2026-12-01T00:00:00Z") }), "OUTSIDE_CRL_NOT_IN_FORCE"],
      [outsideCrl({ nextUpdate: at("2026-11-21T09:00:00Z") }), "OUTSIDE_CRL_NOT_IN_FORCE"],
    ]
    for (const [der, code] of cases) await expect(take(der), code).rejects.toThrow(withCode(code))
    await service.publish()
    const own = published(service).objects.get(`crl/${hexEncode(sha256(issuer.spki))}.crl`) as Uint8Array
    await expect(take(own)).rejects.toThrow(withCode("OUTSIDE_CRL_ISSUER_UNKNOWN"))
    const none = createService()
    await none.setUp()
    await expect(importOutsideCrl(none.ports, outsideCrl(), ADMIN)).rejects.toThrow(
      withCode("OUTSIDE_CRL_ISSUER_UNKNOWN"),
    )
  })

  test("a list for another distribution point than a certificate below names", async () => {
    const { take } = await ready()
    const limitedTo = (url: string) => outsideCrl({ more: [distributionPoint(url)] })
    await expect(take(limitedTo("http://crl.corporate.example/other.crl"))).rejects.toThrow(
      withCode("OUTSIDE_CRL_LIMITED"),
    )
    await take(limitedTo(CORPORATE_CRL_URL))
  })

  test("R24: a CA above the issuer that its root revoked is refused by our verifier, by the list alone", async () => {
    const { service, policy, take } = await ready()
    const [signed] = await service.signer()(signRequest(["a"]))
    if (signed === undefined || !("signed" in signed)) throw new Error("not signed")
    const envelope = signed.signed.envelopes[0]?.bytes as Uint8Array
    await take(outsideCrl())
    service.pass(5)
    await service.publish()
    expect(verdictOf(service, envelope, digestOf("a")).verdict).toBe("accepted")
    const entries = [
      { serial: policy.serialBytes, revokedAt: at("2026-11-21T00:00:00Z"), reason: "cACompromise" as const },
    ]
    expect((await take(outsideCrl({ crlNumber: 2n, entries }))).revokedIssuers).toEqual([])
    await service.publish()
    expect(verdictOf(service, envelope, digestOf("a"))).toMatchObject({
      verdict: "rejected",
      code: "CERTIFICATE_REVOKED",
    })
    expectSound(service)
  })

  test("an issuer that the CA above it revoked is named in the answer", async () => {
    const { issuer, take } = await ready()
    const entries = [{ serial: issuer.serialBytes, revokedAt: at("2026-11-21T00:00:00Z") }]
    expect((await take(outsideCrl({ by: policyCa(), entries }))).revokedIssuers).toEqual(["corp"])
  })

  test("R18: status tells its end, by its own lifetime; publications go on past it", async () => {
    const { service, take, rootId } = await ready()
    await take(outsideCrl({ nextUpdate: at("2026-11-27T00:00:00Z") }))
    await service.publish()
    const levels = async () => {
      const now = service.ports.clock()
      const status = await readStatus(service.ports.table, now)
      return [
        status?.expiries.find(({ name }) => name === `outside-crl/${rootId.slice(0, 32)}`)?.level,
        (await nextExpiry(service.ports.table, now))?.name.startsWith("outside-crl/"),
      ]
    }
    expect(await levels()).toEqual(["ok", false])
    service.pass(4 * DAY)
    expect(await levels()).toEqual(["30", true])
    service.pass(2 * DAY)
    expect(await levels()).toEqual(["expired", true])
    await service.publish()
    expect(parseCrl(published(service).objects.get(`crl/${rootId}.crl`) as Uint8Array).crlNumber).toBe(1n)
    expectSound(service)
    expect((await listExpiries(service.ports.table)).filter(({ from }) => from !== undefined)).toHaveLength(1)
  })

  test.each([
    [180, 91, "ok"],
    [180, 90, "90"],
    [180, 30, "30"],
    [180, 7, "7"],
    [30, 16, "ok"],
    [30, 15, "90"],
    [30, 10, "30"],
    [30, 3, "7"],
    [30, 0, "expired"],
  ])("R18: of a list of %i days %i days before its end: %s", (life, left, level) => {
    const now = at("2026-11-21T09:00:00Z")
    const end = new Date(now.getTime() + left * DAY * 1000)
    expect(levelOf(end, now, new Date(end.getTime() - life * DAY * 1000))).toBe(level)
  })
})

test("fsck finds an outside CRL that is not what was imported", async () => {
  const { service, take, rootId } = await ready()
  await take(outsideCrl())
  await service.publish()
  const key = { pk: "outside-crls", sk: rootId }
  const item = await service.ports.table.get(key)
  for (const crl of [outsideCrl({ crlNumber: 2n }), outsideCrl({ signedBy: makeSigner("rsa-pkcs1-sha256", 2048) })]) {
    await service.ports.table.transact([{ put: { ...key, ...item, crl } }])
    expect(() => expectSound(service)).toThrow("CRL_WRONG")
  }
})
