import { createIssuer, holdCeremony } from "@sealwright/core/admin/ceremony"
import { changeProfile, resumeProfile, suspendProfile } from "@sealwright/core/admin/profiles"
import { unsettledLeases } from "@sealwright/core/ledger/leases"
import { readDeployment, readProfile } from "@sealwright/core/ledger/trust"
import { parseCertificate } from "@sealwright/formats/x509"
import { describe, expect, test } from "vitest"
import { ADMIN, createService, NAMES, PIPELINE, signRequest } from "../support/service.ts"
import { auditOf, expectSound, published, withCode } from "./core-published.ts"

const CEREMONY = { ...NAMES, algorithm: "ecdsa-p256-sha256", rootYears: 10 } as const

async function ready() {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  return { service, sign: service.signer() }
}

describe("the ceremony (R5, D9)", () => {
  test("a repeat with the same names answers what stands", async () => {
    const service = createService()
    const first = await holdCeremony(service.ports, CEREMONY, ADMIN)
    service.pass(60)
    expect(await holdCeremony(service.ports, CEREMONY, ADMIN)).toEqual(first)
    expect(auditOf(service).filter(({ action }) => action === "ceremony")).toHaveLength(1)
  })

  test.each(Object.keys(NAMES) as (keyof typeof NAMES)[])(
    "another %s is refused: it is in certificates",
    async (name) => {
      const service = createService()
      await holdCeremony(service.ports, CEREMONY, ADMIN)
      await expect(holdCeremony(service.ports, { ...CEREMONY, [name]: "XX" }, ADMIN)).rejects.toThrow(
        withCode("ALREADY_EXISTS"),
      )
    },
  )

  test("two at once agree on one deployment", async () => {
    const service = createService()
    const [one, two] = await Promise.all([
      holdCeremony(service.ports, CEREMONY, ADMIN),
      holdCeremony(service.ports, CEREMONY, ADMIN),
    ])
    expect(two).toEqual(one)
    expect(await readDeployment(service.ports.table)).toEqual(one)
  })

  test("one key per purpose (D13)", async () => {
    const service = createService()
    await service.setUp()
    await service.profile("held", { keyMode: "held" })
    const { root, tuf } = await readDeployment(service.ports.table)
    const held = (await readProfile(service.ports.table, "held")).held?.key.keyId ?? ""
    const ids = [root.key.keyId, held, ...Object.values(tuf).map(([key]) => key?.keyId ?? "")]
    expect(new Set(ids).size).toBe(8)
    expect(ids.map((id) => service.memory.keys.purposeOf(id))).toEqual([
      "root",
      "held",
      ...["root", "targets", "lists", "registry", "snapshot", "timestamp"].map((role) => `tuf-${role}`),
    ])
  })
})

describe("issuers", () => {
  const issuer = { name: "ci", algorithm: "ecdsa-p256-sha256", days: 1000 } as const

  test("a repeat answers the same, another algorithm is refused", async () => {
    const { service } = await ready()
    const again = await createIssuer(service.ports, issuer, ADMIN)
    expect(again.createdAt).toEqual(new Date("2026-11-21T09:00:00Z"))
    await expect(createIssuer(service.ports, { ...issuer, algorithm: "ecdsa-p384-sha384" }, ADMIN)).rejects.toThrow(
      withCode("ALREADY_EXISTS"),
    )
  })

  test("never outlives its root, and starts its numbers at random far from the edges", async () => {
    const { service } = await ready()
    const long = await createIssuer(service.ports, { ...issuer, name: "long", days: 9999 }, ADMIN)
    const { root } = await readDeployment(service.ports.table)
    expect(parseCertificate(long.certificate).notAfter).toEqual(root.notAfter)
    expect(long.firstNumber).toBeGreaterThanOrEqual(2 ** 32)
    expect(long.firstNumber).toBeLessThan(2 ** 47)
  })

  test("needs a ceremony", async () => {
    await expect(createIssuer(createService().ports, issuer, ADMIN)).rejects.toThrow(withCode("PRECONDITION_REQUIRED"))
  })
})

describe("profiles (R10)", () => {
  test("a repeat with the same settings answers what stands, lists in any order", async () => {
    const { service } = await ready()
    const alice = "arn:aws:iam::111122223333:user/alice"
    const first = await service.profile("two", { principals: [PIPELINE, alice] })
    expect(await service.profile("two", { principals: [alice, PIPELINE] })).toEqual(first)
  })

  test.each([
    { issuer: "other" },
    { keyMode: "held" },
    { algorithm: "ecdsa-p384-sha384" },
    { principals: [] },
    { repositories: ["registry.wabbit-networks.io/other"] },
    { expirySec: 60 },
    { leafLifetimeSec: 60 },
    { allowList: true },
  ] as const)("other settings are refused: %j", async (settings) => {
    const { service } = await ready()
    await expect(service.profile("release", settings)).rejects.toThrow(withCode("ALREADY_EXISTS"))
  })

  test.each([
    ["REQUEST_MALFORMED", "Release", {}],
    ["REQUEST_MALFORMED", "a".repeat(49), {}],
    ["REQUEST_MALFORMED", "new", { principals: ["*"] }],
    ["REQUEST_MALFORMED", "new", { repositories: ["*"] }],
    ["ISSUER_UNKNOWN", "new", { issuer: "nobody" }],
  ] as const)("%s for %s with %j", async (code, name, settings) => {
    const { service } = await ready()
    await expect(service.profile(name, settings)).rejects.toThrow(withCode(code))
    expectSound(service)
  })

  test("an acknowledged suspend binds a warm signer, closes its leases, and resume lets it sign again", async () => {
    const { service, sign } = await ready()
    await sign(signRequest(["a"]))
    expect(await unsettledLeases(service.ports.table)).toHaveLength(1)
    const suspended = await suspendProfile(service.ports, "release", ADMIN)
    expect(suspended).toMatchObject({ state: "suspended", generation: 2 })
    expect(await unsettledLeases(service.ports.table)).toEqual([])
    await expect(sign(signRequest(["b"]))).rejects.toThrow(withCode("PROFILE_SUSPENDED"))
    await service.publish()
    expect(published(service).registry().profiles).toMatchObject([{ name: "release", state: "suspended" }])
    await resumeProfile(service.ports, "release", ADMIN)
    await sign(signRequest(["b"]))
    await service.publish()
    expect(expectSound(service)).toBe(2)
  })

  test("an acknowledged change of scope or principals binds a warm signer", async () => {
    const { service, sign } = await ready()
    await sign(signRequest(["a"]))
    await changeProfile(service.ports, "release", { repositories: ["registry.wabbit-networks.io/other"] }, ADMIN)
    expect((await sign(signRequest(["b"])).catch((error: unknown) => [{ refused: error }]))[0]).toMatchObject({
      refused: { code: "REPOSITORY_OUT_OF_SCOPE" },
    })
    await changeProfile(service.ports, "release", { principals: [] }, ADMIN)
    await expect(sign(signRequest(["c"]))).rejects.toThrow(withCode("CALLER_NOT_LISTED"))
    expect(expectSound(service)).toBe(1)
  })

  test("a widened scope is seen by a warm signer at once", async () => {
    const { service, sign } = await ready()
    const request = signRequest(["a"])
    const subjects = request.subjects.map((one) => ({ ...one, reference: "registry.wabbit-networks.io/other" }))
    await sign(signRequest(["warm"]))
    expect((await sign({ ...request, subjects }))[0]).toMatchObject({ refused: { code: "REPOSITORY_OUT_OF_SCOPE" } })
    await changeProfile(service.ports, "release", { repositories: ["registry.wabbit-networks.io/*"] }, ADMIN)
    expect((await sign({ ...request, subjects }))[0]).toMatchObject({ replayed: false })
  })

  test("two changes at once: one wins, the other is told", async () => {
    const { service } = await ready()
    const outcomes = await Promise.allSettled([
      suspendProfile(service.ports, "release", ADMIN),
      changeProfile(service.ports, "release", { expirySec: 60 }, ADMIN),
    ])
    const codes = outcomes.map((outcome) => (outcome.status === "rejected" ? outcome.reason.code : "done"))
    expect(codes.sort()).toEqual(["PROFILE_CHANGED", "done"])
    expect(await readProfile(service.ports.table, "release")).toMatchObject({ generation: 2 })
  })

  test("every act is written down (R12)", async () => {
    const { service } = await ready()
    await suspendProfile(service.ports, "release", ADMIN)
    await resumeProfile(service.ports, "release", ADMIN)
    expect(
      auditOf(service)
        .map(({ action }) => action)
        .sort(),
    ).toEqual(["ceremony", "issuer.create", "profile.create", "profile.resume", "profile.suspend"])
  })
})
