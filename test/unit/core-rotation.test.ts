import { activateIssuer, requestIssuer } from "@sealwright/core/admin/external"
import { rotateProfile } from "@sealwright/core/admin/profile-rotation"
import { activateSuccessor, rotateIssuer } from "@sealwright/core/admin/rotation"
import { unsettledLeases } from "@sealwright/core/ledger/leases"
import { listIssuers, readIssuer, readProfile } from "@sealwright/core/ledger/trust"
import type { SignatureRecord } from "@sealwright/core/model"
import { hexEncode } from "@sealwright/formats/bytes"
import { describe, expect, test } from "vitest"
import { certifyOutside } from "../support/authority.ts"
import { sha256 } from "../support/chains.ts"
import { ADMIN, createService, signRequest } from "../support/service.ts"
import { verdictOf } from "../support/verdicts.ts"
import { auditOf, expectSound, published, withCode } from "./core-published.ts"

type Service = ReturnType<typeof createService>

const SECOND = { name: "ci", generation: 2, algorithm: undefined, days: 500 } as const

async function ready() {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  await service.profile("held", { keyMode: "held" })
  await service.publish()
  return { service, sign: signerOf(service) }
}

function signerOf(service: Service) {
  const sign = service.signer()
  return async (seed: string, profile = "release"): Promise<SignatureRecord> => {
    const [outcome] = await sign(signRequest([seed], { profile }))
    if (outcome === undefined || !("signed" in outcome)) throw outcome?.refused
    return outcome.signed
  }
}

const codeOf = (service: Service, { envelopes, subject, profile }: SignatureRecord) =>
  verdictOf(service, envelopes[0]?.bytes as Uint8Array, subject.digest, profile).code

const states = async (service: Service) =>
  (await listIssuers(service.ports.table)).map(({ name, generation, state }) => `${name}@${generation} ${state}`)

describe("R16: an issuer's successor", () => {
  test("is certified and published before it signs, and takes over when it is told to", async () => {
    const { service, sign } = await ready()
    const before = await sign("before")
    const successor = await rotateIssuer(service.ports, SECOND, ADMIN)
    expect(successor).toMatchObject({ generation: 2, state: "standby" })
    await expect(activateSuccessor(service.ports, "ci", 2, ADMIN)).rejects.toThrow(withCode("ISSUER_NOT_PUBLISHED"))
    const between = await sign("between")
    expect(between.issuerKeyId).toBe(before.issuerKeyId)
    await service.publish()
    expect(published(service).crl(successor.issuerKeyId).entries.size).toBe(0)
    const shown = published(service).registry().issuers
    expect(shown.map(({ name, state }) => [name, state])).toEqual([
      ["ci", "active"],
      ["ci", "standby"],
    ])
    expect(await activateSuccessor(service.ports, "ci", 2, ADMIN)).toMatchObject({ state: "active" })
    expect(await states(service)).toEqual(["ci@1 retired", "ci@2 active"])
    const after = await sign("after")
    expect(after.issuerKeyId).toBe(successor.issuerKeyId)
    await service.publish()
    for (const signed of [before, between, after]) expect(codeOf(service, signed)).toBe("ACCEPTED")
    expect(expectSound(service)).toBe(3)
  })

  test("an acknowledged take-over binds a warm signer, and closes the leases of the one before", async () => {
    const { service, sign } = await ready()
    await sign("warm")
    await rotateIssuer(service.ports, SECOND, ADMIN)
    await service.publish()
    await sign("warm again")
    expect(await unsettledLeases(service.ports.table)).toHaveLength(1)
    await activateSuccessor(service.ports, "ci", 2, ADMIN)
    expect(await unsettledLeases(service.ports.table)).toEqual([])
    const { issuerKeyId } = await readIssuer(service.ports.table, "ci")
    expect((await sign("after")).issuerKeyId).toBe(issuerKeyId)
  })

  test("what a retired issuer signed can still be revoked, one by one and as a whole (R24)", async () => {
    const { service, sign } = await ready()
    const [one, two] = [await sign("one"), await sign("two")]
    await rotateIssuer(service.ports, SECOND, ADMIN)
    await service.publish()
    await activateSuccessor(service.ports, "ci", 2, ADMIN)
    const three = await sign("three")
    await service.revoke({ kind: "signature", signature: one.id })
    await service.publish()
    expect([one, two, three].map((signed) => codeOf(service, signed))).toEqual([
      "SIGNATURE_REVOKED",
      "ACCEPTED",
      "ACCEPTED",
    ])
    expect([...published(service).crl(one.issuerKeyId).entries.keys()]).toEqual([one.serialHex])
    const [first] = await listIssuers(service.ports.table)
    const thumbprint = hexEncode(sha256(first?.certificate ?? new Uint8Array(0)))
    await service.revoke({ kind: "certificate", thumbprint })
    await service.publish()
    expect([two, three].map((signed) => codeOf(service, signed))).toEqual(["CERTIFICATE_REVOKED", "ACCEPTED"])
    expect(await states(service)).toEqual(["ci@1 revoked", "ci@2 active"])
    await sign("four")
    expectSound(service)
  })

  test("every act may be repeated, and is written down once", async () => {
    const { service } = await ready()
    const first = await rotateIssuer(service.ports, SECOND, ADMIN)
    expect(await rotateIssuer(service.ports, SECOND, ADMIN)).toEqual(first)
    await service.publish()
    const active = await activateSuccessor(service.ports, "ci", 2, ADMIN)
    expect(await activateSuccessor(service.ports, "ci", 2, ADMIN)).toEqual(active)
    expect(await rotateIssuer(service.ports, SECOND, ADMIN)).toEqual(active)
    const acts = auditOf(service).map(({ action }) => action)
    expect(acts.filter((action) => action === "issuer.rotate")).toHaveLength(1)
    expect(acts.filter((action) => action === "issuer.take-over")).toHaveLength(1)
  })

  test("two rotations at once make one successor", async () => {
    const { service } = await ready()
    const [one, two] = await Promise.all([
      rotateIssuer(service.ports, SECOND, ADMIN),
      rotateIssuer(service.ports, SECOND, ADMIN),
    ])
    expect(one).toEqual(two)
  })

  test.each([
    ["ISSUER_GENERATION_WRONG", { ...SECOND, generation: 3 }],
    ["ISSUER_UNKNOWN", { ...SECOND, name: "nobody" }],
    ["REQUEST_MALFORMED", { ...SECOND, name: "root" }],
  ] as const)("%s for %j", async (code, rotation) => {
    const { service } = await ready()
    await expect(rotateIssuer(service.ports, rotation, ADMIN)).rejects.toThrow(withCode(code))
  })

  test("a third follows the second, with another algorithm (R19)", async () => {
    const { service, sign } = await ready()
    for (const generation of [2, 3]) {
      const algorithm = generation === 3 ? "ecdsa-p384-sha384" : undefined
      await rotateIssuer(service.ports, { ...SECOND, generation, algorithm }, ADMIN)
      await service.publish()
      await activateSuccessor(service.ports, "ci", generation, ADMIN)
    }
    expect(await states(service)).toEqual(["ci@1 retired", "ci@2 retired", "ci@3 active"])
    const signed = await sign("third")
    await service.publish()
    expect(codeOf(service, signed)).toBe("ACCEPTED")
    expect(published(service).notation().crls).toHaveLength(4)
  })

  test("of a revoked issuer lets its profiles sign again", async () => {
    const { service, sign } = await ready()
    const lost = await sign("lost")
    await service.revoke({ kind: "issuer", issuer: "ci" })
    await expect(sign("no")).rejects.toThrow(withCode("ISSUER_NOT_ACTIVE"))
    await rotateIssuer(service.ports, SECOND, ADMIN)
    await service.publish()
    await activateSuccessor(service.ports, "ci", 2, ADMIN)
    const signed = await sign("yes")
    await service.publish()
    expect([lost, signed].map((one) => codeOf(service, one))).toEqual(["CERTIFICATE_REVOKED", "ACCEPTED"])
    expect(await states(service)).toEqual(["ci@1 revoked", "ci@2 active"])
  })

  test("of an issuer below an outside root waits for its certificate", async () => {
    const service = createService()
    await service.setUp()
    const first = await requestIssuer(service.ports, { name: "corp", algorithm: "ecdsa-p256-sha256" }, ADMIN)
    await activateIssuer(service.ports, "corp", certifyOutside(first.key.spki), ADMIN)
    await service.profile("release", { issuer: "corp" })
    const sign = signerOf(service)
    const before = await sign("before")
    const rotation = { ...SECOND, name: "corp" }
    const pending = await rotateIssuer(service.ports, rotation, ADMIN)
    expect(await rotateIssuer(service.ports, rotation, ADMIN)).toEqual(pending)
    await expect(activateSuccessor(service.ports, "corp", 2, ADMIN)).rejects.toThrow(withCode("ISSUER_PENDING"))
    const chain = certifyOutside(pending.key.spki, { issuer: { commonName: "Corporate Signing CA 2" } })
    const standby = await activateIssuer(service.ports, "corp", chain, ADMIN)
    expect(standby).toMatchObject({ generation: 2, state: "standby", external: true })
    expect(await activateIssuer(service.ports, "corp", chain, ADMIN)).toMatchObject({ generation: 2 })
    await service.publish()
    await activateSuccessor(service.ports, "corp", 2, ADMIN)
    const after = await sign("after")
    await service.publish()
    expect([before, after].map((one) => codeOf(service, one))).toEqual(["ACCEPTED", "ACCEPTED"])
    expect(published(service).notation().externalStores).toHaveLength(1)
    expectSound(service)
  })
})

describe("R16: a profile's rotation", () => {
  const rotate = async (service: Service, name: string, issuer?: string) => {
    const { generation } = await readProfile(service.ports.table, name)
    return await rotateProfile(service.ports, name, generation, issuer, ADMIN)
  }

  test("a held key outlives the take-over of its issuer, and gives way to a new one", async () => {
    const { service, sign } = await ready()
    const before = await sign("before", "held")
    await rotateIssuer(service.ports, SECOND, ADMIN)
    await service.publish()
    await activateSuccessor(service.ports, "ci", 2, ADMIN)
    const between = await sign("between", "held")
    expect([between.issuerKeyId, between.serialHex]).toEqual([before.issuerKeyId, before.serialHex])
    await rotate(service, "held")
    expect(await unsettledLeases(service.ports.table)).toEqual([])
    const after = await sign("after", "held")
    expect(after.issuerKeyId).toBe((await readIssuer(service.ports.table, "ci")).issuerKeyId)
    expect(after.serialHex).not.toBe(before.serialHex)
    await service.publish()
    for (const signed of [before, between, after]) expect(codeOf(service, signed)).toBe("ACCEPTED")
    expect(expectSound(service)).toBe(3)
  })

  test("its old certificate can still be revoked, and the profile goes on signing (R24)", async () => {
    const { service, sign } = await ready()
    const before = await sign("before", "held")
    const old = (await readProfile(service.ports.table, "held")).held?.certificate ?? new Uint8Array(0)
    await rotate(service, "held")
    const after = await sign("after", "held")
    await service.revoke({ kind: "certificate", thumbprint: hexEncode(sha256(old)) })
    await service.publish()
    expect([before, after].map((one) => codeOf(service, one))).toEqual(["CERTIFICATE_REVOKED", "ACCEPTED"])
    expect([...published(service).crl(before.issuerKeyId).entries.keys()]).toEqual([before.serialHex])
    await sign("more", "held")
    expectSound(service)
  })

  test("moves to another issuer, and notation keeps the root of the one before", async () => {
    const { service, sign } = await ready()
    const before = await sign("before")
    const { key } = await requestIssuer(service.ports, { name: "corp", algorithm: "ecdsa-p256-sha256" }, ADMIN)
    await activateIssuer(service.ports, "corp", certifyOutside(key.spki), ADMIN)
    await rotate(service, "release", "corp")
    const after = await sign("after")
    expect(after.issuer).toBe("corp")
    await service.publish()
    expect([before, after].map((one) => codeOf(service, one))).toEqual(["ACCEPTED", "ACCEPTED"])
    const statements = published(service).notation().trustPolicy.trustPolicies
    expect(statements[0].trustStores).toEqual([
      "signingAuthority:sealwright",
      "signingAuthority:sealwright-issuer-corp",
    ])
    expect(
      published(service)
        .registry()
        .profiles.find(({ name }) => name === "release")?.issuer,
    ).toBe("corp")
  })

  test("may be repeated, and is refused once the profile has changed otherwise", async () => {
    const { service } = await ready()
    const first = await rotateProfile(service.ports, "held", 1, undefined, ADMIN)
    expect(first.generation).toBe(2)
    expect(await rotateProfile(service.ports, "held", 1, undefined, ADMIN)).toEqual(first)
    await expect(rotateProfile(service.ports, "held", 9, undefined, ADMIN)).rejects.toThrow(withCode("PROFILE_CHANGED"))
  })

  test.each([
    ["REQUEST_MALFORMED", "release", undefined],
    ["REQUEST_MALFORMED", "release", "ci"],
    ["ROOT_ISSUER_REFUSED", "release", "root"],
    ["ISSUER_UNKNOWN", "release", "nobody"],
    ["PROFILE_UNKNOWN", "nobody", undefined],
  ] as const)("%s for %s to %s", async (code, name, issuer) => {
    const { service } = await ready()
    await expect(rotateProfile(service.ports, name, 1, issuer, ADMIN)).rejects.toThrow(withCode(code))
  })
})
