import { changeProfile } from "@sealwright/core/admin/profiles"
import { readDeployment, readIssuer, readProfile } from "@sealwright/core/ledger/trust"
import type { SignatureRecord } from "@sealwright/core/model"
import { release } from "@sealwright/core/revoke/flow"
import { hexEncode } from "@sealwright/formats/bytes"
import { parseCertificate } from "@sealwright/formats/x509"
import { describe, expect, test } from "vitest"
import { digest } from "../../packages/adapters/src/platform.ts"
import { ADMIN, createService, digestOf, PIPELINE, signRequest } from "../support/service.ts"
import { auditOf, expectSound, published, type Service, withCode } from "./core-published.ts"

const START = new Date("2026-11-21T09:00:00Z")
const at = (seconds: number) => new Date(START.getTime() + seconds * 1000)

async function ready() {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  await service.profile("held", { keyMode: "held" })
  const sign = service.signer()
  const signOne = async (seed: string, profile = "release"): Promise<SignatureRecord> => {
    const [one] = await sign(signRequest([seed], { profile }))
    if (one === undefined || !("signed" in one)) throw new Error("not signed")
    return one.signed
  }
  const { issuerKeyId, certificate } = await readIssuer(service.ports.table, "ci")
  const { root } = await readDeployment(service.ports.table)
  return { service, sign, signOne, issuerKeyId, certificate, root }
}

const thumbprint = (der: Uint8Array) => hexEncode(digest("sha256", der))

function revokedNumbers(service: Service, issuerKeyId: string): number[] {
  return [...(published(service).list().issuers.get(issuerKeyId)?.revoked.keys() ?? [])]
}

describe("one signature (R24, R25)", () => {
  test("its number and its serial are listed, its siblings are not", async () => {
    const { service, signOne, issuerKeyId } = await ready()
    const bad = await signOne("bad")
    const good = await signOne("good")
    const { revocation, changed } = await service.revoke({ kind: "signature", signature: bad.id }, "superseded")
    expect(changed).toBe(true)
    expect((await service.publish()).epoch).toBe(revocation.epoch)

    const shown = published(service)
    const numbers = shown.list().issuers.get(issuerKeyId)
    expect(numbers?.revoked).toEqual(new Map([[bad.number, { reason: "superseded", at: START }]]))
    const crl = shown.crl(issuerKeyId)
    expect([...crl.entries.keys()]).toEqual([bad.serialHex])
    expect(crl.entries.get(bad.serialHex)).toMatchObject({ reason: "superseded", revokedAt: START })
    expect(crl.entries.has(good.serialHex)).toBe(false)
    expect(crl.entries.get(bad.serialHex)?.invalidityDate).toBeUndefined()
    expectSound(service)
  })

  test("under a held key only our list tells it: the shared certificate stays off the CRL (D2)", async () => {
    const { service, signOne, issuerKeyId } = await ready()
    const record = await signOne("a", "held")
    await service.revoke({ kind: "signature", signature: record.id })
    await service.publish()
    expect(revokedNumbers(service, issuerKeyId)).toEqual([record.number])
    expect(published(service).crl(issuerKeyId).entryCount).toBe(0)
    expectSound(service)
  })

  test("an unknown one is refused", async () => {
    const { service } = await ready()
    await expect(service.revoke({ kind: "signature", signature: "01JD3Y0V6ZV4Q6D8W9X4K2M7RT" })).rejects.toThrow(
      withCode("SIGNATURE_UNKNOWN"),
    )
  })

  test("asking again answers what stands, with its first epoch, and changes nothing", async () => {
    const { service, signOne } = await ready()
    const { id } = await signOne("a")
    const first = await service.revoke({ kind: "signature", signature: id })
    await service.publish()
    service.pass(60)
    const again = await service.revoke({ kind: "signature", signature: id }, "superseded")
    expect(again).toEqual({ revocation: first.revocation, changed: false })
    expect((await service.publish()).idle).toBe(true)
    await expect(service.revoke({ kind: "signature", signature: id }, "certificateHold")).rejects.toThrow(
      withCode("REVOCATION_FINAL"),
    )
    expectSound(service)
  })

  test("every later list has it (I7)", async () => {
    const { service, signOne, issuerKeyId } = await ready()
    const { id, number, serialHex } = await signOne("a")
    await service.revoke({ kind: "signature", signature: id })
    for (let i = 0; i < 3; i++) {
      await service.publish(true)
      service.pass(3600)
      expect(revokedNumbers(service, issuerKeyId)).toEqual([number])
      expect(published(service).crl(issuerKeyId).entries.has(serialHex)).toBe(true)
    }
    expectSound(service)
  })
})

describe("an artifact (R24)", () => {
  test("all of its signatures go, of every profile, and no new one comes", async () => {
    const { service, sign, signOne, issuerKeyId } = await ready()
    const serials = [(await signOne("bad")).serialHex, (await signOne("bad")).serialHex]
    await signOne("bad", "held")
    const good = await signOne("good")
    await service.revoke({ kind: "artifact", digest: digestOf("bad") })
    expect((await sign(signRequest(["bad"])))[0]).toMatchObject({ refused: { code: "DIGEST_DENIED" } })
    await service.publish()

    expect([...published(service).list().artifacts.keys()]).toEqual([digestOf("bad")])
    const { entries } = published(service).crl(issuerKeyId)
    expect([...entries.keys()].sort()).toEqual(serials.sort())
    expect(entries.has(good.serialHex)).toBe(false)
    expectSound(service)
  })

  test("one that was never signed may be denied before anyone tries", async () => {
    const { service, sign } = await ready()
    await service.revoke({ kind: "artifact", digest: digestOf("never") })
    expect((await sign(signRequest(["never"])))[0]).toMatchObject({ refused: { code: "DIGEST_DENIED" } })
    await service.publish()
    expectSound(service)
  })

  test("a hold is listed, released, signed again, and may be placed anew", async () => {
    const { service, sign, signOne, issuerKeyId } = await ready()
    const record = await signOne("a")
    const held = await service.revoke({ kind: "artifact", digest: digestOf("a") }, "certificateHold")
    await service.publish()
    expect(published(service).crl(issuerKeyId).entries.get(record.serialHex)?.reason).toBe("certificateHold")

    service.pass(60)
    const released = await release(service.ports, held.revocation.id, ADMIN)
    expect(released).toMatchObject({ changed: true, revocation: { released: true } })
    expect(await release(service.ports, held.revocation.id, ADMIN)).toMatchObject({ changed: false })
    await service.publish()
    const list = published(service).list()
    expect(list.artifacts.size).toBe(0)
    expect(list.released).toEqual([`artifact:${digestOf("a")}`])
    expect(published(service).crl(issuerKeyId).entryCount).toBe(0)
    expect((await sign(signRequest(["a"])))[0]).toMatchObject({ replayed: false })
    expectSound(service)

    service.pass(60)
    const again = await service.revoke({ kind: "artifact", digest: digestOf("a") })
    expect(again).toMatchObject({ changed: true, revocation: { id: held.revocation.id, released: false } })
    await service.publish()
    expect(published(service).list()).toMatchObject({ released: [] })
    expect(published(service).crl(issuerKeyId).entryCount).toBe(2)
    await expect(release(service.ports, held.revocation.id, ADMIN)).rejects.toThrow(withCode("REVOCATION_FINAL"))
    expectSound(service)
  })

  test("a release of what nobody revoked is refused", async () => {
    const { service } = await ready()
    await expect(release(service.ports, `rev-${"0".repeat(32)}`, ADMIN)).rejects.toThrow(withCode("REVOCATION_UNKNOWN"))
  })
})

describe("a profile from a time on (R24)", () => {
  test("earlier signatures live, later ones go, and the profile never signs again", async () => {
    const { service, sign, signOne, issuerKeyId } = await ready()
    const early = await signOne("early")
    service.pass(100)
    const late = await signOne("late")
    const other = await signOne("other", "held")
    service.pass(100)
    await service.revoke({ kind: "profile", profile: "release", from: at(50) })
    await expect(sign(signRequest(["x"]))).rejects.toThrow(withCode("PROFILE_REVOKED"))
    await expect(changeProfile(service.ports, "release", { expirySec: 60 }, ADMIN)).rejects.toThrow(
      withCode("PROFILE_REVOKED"),
    )
    await service.publish()

    expect(published(service).list().rules).toEqual([
      { kind: "profile", profile: "release", from: at(50), reason: "keyCompromise", at: at(200) },
    ])
    const { entries } = published(service).crl(issuerKeyId)
    expect([...entries.keys()]).toEqual([late.serialHex])
    expect(entries.has(early.serialHex) || entries.has(other.serialHex)).toBe(false)
    expect(published(service).registry().profiles).toContainEqual(
      expect.objectContaining({ name: "release", state: "revoked" }),
    )
    expectSound(service)

    await service.revoke({ kind: "profile", profile: "release", from: START })
    await service.publish()
    expect([...published(service).crl(issuerKeyId).entries.keys()].sort()).toEqual(
      [early.serialHex, late.serialHex].sort(),
    )
    expect(await service.revoke({ kind: "profile", profile: "release", from: at(60) })).toMatchObject({
      changed: false,
    })
    expectSound(service)
  })
})

describe("an issuer and certificates (R24)", () => {
  test("a revoked issuer stands on the root's CRL, and none of its profiles signs", async () => {
    const { service, sign, signOne, certificate, issuerKeyId, root } = await ready()
    await signOne("a")
    await service.revoke({ kind: "issuer", issuer: "ci" })
    await expect(sign(signRequest(["b"]))).rejects.toThrow(withCode("ISSUER_NOT_ACTIVE"))
    await expect(service.profile("late")).rejects.toThrow(withCode("ISSUER_NOT_ACTIVE"))
    await service.publish()
    const shown = published(service)
    expect(shown.list().rules).toEqual([{ kind: "issuer", issuerKeyId, reason: "keyCompromise", at: START }])
    expect([...shown.crl(root.issuerKeyId).entries.keys()]).toEqual([
      hexEncode(parseCertificate(certificate).serialBytes),
    ])
    expect(shown.registry().issuers).toMatchObject([{ name: "ci", state: "revoked" }])
    expectSound(service)
  })

  test("an issuer's certificate by thumbprint is the same revocation as the issuer", async () => {
    const { service, certificate } = await ready()
    const byName = await service.revoke({ kind: "issuer", issuer: "ci" })
    const byThumbprint = await service.revoke({ kind: "certificate", thumbprint: thumbprint(certificate) })
    expect(byThumbprint).toEqual({ revocation: byName.revocation, changed: false })
    await service.publish()
    expectSound(service)
  })

  test("a held key's certificate is listed for every client, and its profile stops", async () => {
    const { service, sign, signOne, issuerKeyId } = await ready()
    await signOne("a", "held")
    const held = (await readProfile(service.ports.table, "held")).held?.certificate ?? new Uint8Array(0)
    await service.revoke({ kind: "certificate", thumbprint: thumbprint(held) })
    await expect(sign(signRequest(["b"], { profile: "held" }))).rejects.toThrow(withCode("PROFILE_REVOKED"))
    await service.publish()
    expect(published(service).list().rules).toMatchObject([{ kind: "certificate", thumbprint: thumbprint(held) }])
    expect([...published(service).crl(issuerKeyId).entries.keys()]).toEqual([
      hexEncode(parseCertificate(held).serialBytes),
    ])
    await signOne("the other profile signs on")
    await service.publish()
    expectSound(service)
  })

  test.each([
    ["CERTIFICATE_UNKNOWN", { kind: "certificate", thumbprint: "ab".repeat(32) }],
    ["ISSUER_UNKNOWN", { kind: "issuer", issuer: "nobody" }],
    ["PROFILE_UNKNOWN", { kind: "profile", profile: "nobody", from: START }],
  ] as const)("%s", async (code, target) => {
    const { service } = await ready()
    await expect(service.revoke(target)).rejects.toThrow(withCode(code))
  })
})

describe("a principal (R24)", () => {
  test("in a window that is over: its signatures of that time go, and it signs on", async () => {
    const { service, signOne, issuerKeyId } = await ready()
    const before = await signOne("before")
    service.pass(100)
    const inside = [await signOne("inside"), await signOne("inside held", "held")]
    service.pass(100)
    const behind = await signOne("behind")
    await service.revoke({ kind: "principal", principal: PIPELINE, from: at(50), until: at(150) })
    await service.publish()
    expect(revokedNumbers(service, issuerKeyId).sort()).toEqual(inside.map(({ number }) => number).sort())
    const { entries } = published(service).crl(issuerKeyId)
    expect([...entries.keys()]).toEqual([inside[0]?.serialHex])
    expect(entries.has(before.serialHex) || entries.has(behind.serialHex)).toBe(false)
    await signOne("signs on")
    await service.publish()
    expectSound(service)
  })

  test("without an end: it is taken out of every profile", async () => {
    const { service, sign, signOne, issuerKeyId } = await ready()
    const alice = "arn:aws:iam::111122223333:user/alice"
    await service.profile("shared", { principals: [PIPELINE, alice] })
    const mine = await signOne("mine", "shared")
    await sign(signRequest(["hers"], { profile: "shared", principal: alice }))
    service.pass(10)
    await service.revoke({ kind: "principal", principal: PIPELINE, from: START, until: undefined })
    for (const profile of ["release", "held", "shared"])
      await expect(sign(signRequest(["x"], { profile }))).rejects.toThrow(withCode("CALLER_NOT_LISTED"))
    await sign(signRequest(["hers too"], { profile: "shared", principal: alice }))
    await service.publish()
    expect(revokedNumbers(service, issuerKeyId)).toEqual([mine.number])
    expectSound(service)
  })
})

test("a principal that was listed again is taken out again, with what it signed since (R24)", async () => {
  const { service, signOne, issuerKeyId } = await ready()
  const target = { kind: "principal", principal: PIPELINE, from: START, until: undefined } as const
  const first = await signOne("first")
  await service.revoke(target)
  await service.publish()
  expect(await service.revoke(target)).toMatchObject({ changed: false })

  service.pass(600)
  await changeProfile(service.ports, "release", { principals: [PIPELINE] }, ADMIN)
  const second = await signOne("second")
  service.pass(10)
  expect(await service.revoke(target)).toMatchObject({ changed: true, revocation: { epoch: 2 } })
  await service.publish()
  expect(revokedNumbers(service, issuerKeyId).sort()).toEqual([first.number, second.number].sort())
  expectSound(service)
})

describe("void numbers (D3)", () => {
  test("are in our list, below its coverage, and never on a CRL", async () => {
    const { service, signOne, issuerKeyId } = await ready()
    const first = await signOne("a")
    await service.publish()
    const numbers = published(service).list().issuers.get(issuerKeyId)
    expect(numbers).toEqual({
      coveredBelow: first.number + 4,
      revoked: new Map(),
      void: [[first.number + 1, first.number + 3]],
    })
    expect(published(service).crl(issuerKeyId).entryCount).toBe(0)

    const second = await signOne("b")
    expect(second.number).toBe(first.number + 4)
    await service.publish(true)
    expect(published(service).list().issuers.get(issuerKeyId)).toMatchObject({
      coveredBelow: second.number + 4,
      void: [
        [first.number + 1, first.number + 3],
        [second.number + 1, second.number + 3],
      ],
    })
    expectSound(service)
  })
})

test("each act is written down with who asked (R12)", async () => {
  const { service, signOne } = await ready()
  const { id } = await signOne("a")
  const { revocation } = await service.revoke({ kind: "signature", signature: id }, "certificateHold")
  await release(service.ports, revocation.id, ADMIN)
  const acts = auditOf(service).filter(({ target }) => target === revocation.id)
  expect(acts.map(({ action }) => action).sort()).toEqual(["revoke.release", "revoke.signature"])
  expect(acts.every(({ principal, outcome }) => principal === ADMIN.principal && outcome === "done")).toBe(true)
})
