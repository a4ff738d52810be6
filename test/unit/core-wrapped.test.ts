import { createIssuer } from "@sealwright/core/admin/ceremony"
import { rotateProfile } from "@sealwright/core/admin/profile-rotation"
import { activateSuccessor, rotateIssuer } from "@sealwright/core/admin/rotation"
import { findGeneration, findIssuer } from "@sealwright/core/ledger/trust"
import type { Issuer } from "@sealwright/core/model"
import { makeOcspResponders } from "@sealwright/core/ocsp/responder"
import { isWrapped } from "@sealwright/core/ports"
import { readStatus } from "@sealwright/core/publish/status"
import { makeTimestampAuthority } from "@sealwright/core/timestamp/authority"
import { base64Encode } from "@sealwright/formats/bytes"
import { parseCertificate } from "@sealwright/formats/x509"
import { CERTIFICATE_POLICY, EXTENSION, readExtension } from "@sealwright/formats/x509-extensions"
import { describe, expect, test } from "vitest"
import { ADMIN, createService, PROFILE, signRequest } from "../support/service.ts"
import { expectSound, published, withCode } from "./core-published.ts"

const P256 = "ecdsa-p256-sha256"
const BULK = { name: "bulk", algorithm: P256, days: 500, wrapped: true } as const
const STAMPED = { issuer: "bulk", timestamp: "own" } as const

async function ready() {
  const service = createService()
  await service.setUp()
  service.pass(5)
  await makeTimestampAuthority(service.ports, { algorithm: P256, days: 365 }, ADMIN)
  service.pass(5)
  return service
}
type Service = Awaited<ReturnType<typeof ready>>

const policiesOf = ({ certificate }: Issuer) =>
  readExtension(parseCertificate(certificate).extensions, EXTENSION.certificatePolicies)

/** The successor of an issuer, published. */
async function rotated(service: Service, name: string, wrapped: boolean | undefined): Promise<void> {
  await rotateIssuer(service.ports, { name, generation: 2, algorithm: undefined, days: 400, wrapped }, ADMIN)
  service.pass(60)
  await service.publish()
}

describe("D13: an issuer whose key is wrapped", () => {
  test("R1: certifies, signs its CRL, and says in its certificate that timestamps are demanded; another says nothing", async () => {
    const service = await ready()
    const issuer = await createIssuer(service.ports, BULK, ADMIN)
    expect(isWrapped(issuer.key)).toBe(true)
    expect(policiesOf(issuer)).toEqual([CERTIFICATE_POLICY.timestampRequired])
    expect(policiesOf((await findIssuer(service.ports.table, "ci")) as Issuer)).toBeUndefined()
    await service.profile("release", STAMPED)
    service.pass(5)
    const [made] = await service.signer()(signRequest(["a"]))
    expect(made).toMatchObject({ signed: { issuer: "bulk", wrapped: true } })
    service.pass(60)
    await service.publish()
    expect(published(service).crl(issuer.issuerKeyId).crlNumber).toBe(1n)
    expect(expectSound(service)).toBe(1)
    const status = await readStatus(service.ports.table, service.ports.clock())
    expect(status?.issuers.map(({ name, wrapped }) => [name, wrapped])).toEqual([
      ["bulk", true],
      ["ci", false],
    ])
  })

  test("is made once: repeats and racers come to one key, and other settings are refused", async () => {
    const service = await ready()
    const racers = await Promise.all([1, 2, 3].map(() => createIssuer(service.ports, BULK, ADMIN)))
    const again = await createIssuer(service.ports, BULK, ADMIN)
    expect(new Set([...racers, again].map(({ key }) => key.keyId)).size).toBe(1)
    const refused = withCode("ALREADY_EXISTS")
    await expect(createIssuer(service.ports, { ...BULK, wrapped: false }, ADMIN)).rejects.toThrow(refused)
    await expect(createIssuer(service.ports, { ...BULK, algorithm: "rsa-pss-sha384" }, ADMIN)).rejects.toThrow(refused)
    await expect(createIssuer(service.ports, { ...BULK, name: "ci" }, ADMIN)).rejects.toThrow(refused)
  })

  test("what was put down before a crash is what a repeat certifies; another algorithm under that name is refused", async () => {
    const service = await ready()
    const { keys } = service.ports
    const broken = { ...service.ports, keys: { sign: () => Promise.reject(new Error("crash")) } }
    await expect(createIssuer(broken, BULK, ADMIN)).rejects.toThrow("crash")
    const standing = await service.memory.table.get({ pk: "wrapped-keys", sk: "issuer/bulk" })
    await expect(
      createIssuer({ ...service.ports, keys }, { ...BULK, algorithm: "ecdsa-p384-sha384" }, ADMIN),
    ).rejects.toThrow(withCode("ALREADY_EXISTS"))
    const issuer = await createIssuer({ ...service.ports, keys }, BULK, ADMIN)
    expect(issuer.key.keyId).toBe(standing?.keyId)
  })

  test("a successor is wrapped as the one before, unless another kind is asked for", async () => {
    const service = await ready()
    await createIssuer(service.ports, BULK, ADMIN)
    await rotated(service, "bulk", undefined)
    await rotated(service, "ci", true)
    const keyOf = async (name: string) => (await findGeneration(service.ports.table, name, 2))?.key
    expect(isWrapped((await keyOf("bulk")) ?? { keyId: "" })).toBe(true)
    expect(isWrapped((await keyOf("ci")) ?? { keyId: "" })).toBe(true)
    await activateSuccessor(service.ports, "bulk", 2, ADMIN)
    const third = { name: "bulk", generation: 3, algorithm: undefined, days: 400, wrapped: false }
    await rotateIssuer(service.ports, third, ADMIN)
    const next = await findGeneration(service.ports.table, "bulk", 3)
    expect(next && [isWrapped(next.key), policiesOf(next)]).toEqual([false, undefined])
  })

  test("certifies no OCSP responder, which its maker couldn't have it do; a generation in KMS does", async () => {
    const service = await ready()
    await createIssuer(service.ports, BULK, ADMIN)
    const request = { algorithm: undefined, days: 30, generation: undefined }
    const ofBulk = makeOcspResponders(service.ports, { ...request, issuer: "bulk" }, ADMIN)
    await expect(ofBulk).rejects.toThrow(withCode("OCSP_BELOW_WRAPPED"))
    await rotated(service, "ci", true)
    await activateSuccessor(service.ports, "ci", 2, ADMIN)
    const made = await makeOcspResponders(service.ports, { ...request, issuer: "ci" }, ADMIN)
    const first = await findGeneration(service.ports.table, "ci", 1)
    expect(made.map(({ issuerKeyId }) => issuerKeyId)).toEqual([first?.issuerKeyId])
  })

  test("R8: the timestamp authority's key may be wrapped too, and a change of kind makes a successor", async () => {
    const service = await ready()
    const request = { algorithm: P256, days: 365, wrapped: true } as const
    const authority = await makeTimestampAuthority(service.ports, request, ADMIN)
    expect([authority.generation, isWrapped(authority.key)]).toEqual([2, true])
    expect(await makeTimestampAuthority(service.ports, request, ADMIN)).toEqual(authority)
    service.pass(5)
    await service.profile("release", { timestamp: "own" })
    await service.signer()(signRequest(["a"]))
    expect(expectSound(service)).toBe(1)
  })
})

describe("D13: below a wrapped issuer every signature is stamped", () => {
  const demanded = withCode("ISSUER_DEMANDS_TIMESTAMPS")

  test("no profile is made, or rotated there, without; nor one with a held key", async () => {
    const service = await ready()
    await createIssuer(service.ports, BULK, ADMIN)
    await expect(service.profile("plain", { issuer: "bulk" })).rejects.toThrow(demanded)
    await service.profile("plain")
    await expect(rotateProfile(service.ports, "plain", 1, "bulk", ADMIN)).rejects.toThrow(demanded)
    const held = withCode("HELD_BELOW_WRAPPED")
    await expect(service.profile("held", { ...STAMPED, keyMode: "held" })).rejects.toThrow(held)
    await service.profile("held", { timestamp: "own", keyMode: "held" })
    await expect(rotateProfile(service.ports, "held", 1, "bulk", ADMIN)).rejects.toThrow(held)
    await service.profile("stamped", { timestamp: "own" })
    expect((await rotateProfile(service.ports, "stamped", 1, "bulk", ADMIN)).issuer).toBe("bulk")
  })

  test("an issuer of profiles without gets no wrapped successor, and none takes over later; held keys stay with theirs", async () => {
    const service = await ready()
    await service.profile("held", { keyMode: "held" })
    await rotated(service, "ci", true)
    await service.profile("plain")
    await expect(activateSuccessor(service.ports, "ci", 2, ADMIN)).rejects.toThrow(demanded)
    const stranded = await createIssuer(service.ports, { ...BULK, name: "other", wrapped: false }, ADMIN)
    await service.profile("plain-other", { issuer: stranded.name })
    const successor = { name: "other", generation: 2, algorithm: undefined, days: 9, wrapped: true }
    await expect(rotateIssuer(service.ports, successor, ADMIN)).rejects.toThrow(demanded)
    await rotateProfile(service.ports, "plain", 1, "other", ADMIN)
    await activateSuccessor(service.ports, "ci", 2, ADMIN)
    const [made] = await service.signer()(signRequest(["a"], { profile: "held" }))
    expect(made).toMatchObject({ signed: { wrapped: false } })
  })

  test("an unstamped profile that came there all the same signs nothing", async () => {
    const service = await ready()
    await createIssuer(service.ports, BULK, ADMIN)
    await service.profile("release", STAMPED)
    const key = { pk: "profiles", sk: "release" }
    const item = await service.memory.table.get(key)
    await service.memory.table.transact([{ put: { ...item, ...key, timestamp: "none" } }])
    await expect(service.signer()(signRequest(["a"]))).rejects.toThrow(demanded)
  })

  test("D9: no exported store of signing authorities has what a wrapped issuer stands below", async () => {
    const service = await ready()
    await service.profile("plain", { repositories: ["registry.example/plain"] })
    await service.profile("beside", { repositories: ["registry.example/both"] })
    await createIssuer(service.ports, BULK, ADMIN)
    await service.profile("release", { ...STAMPED, repositories: [...PROFILE.repositories, "registry.example/both"] })
    service.pass(60)
    await service.publish()
    const { trustPolicy, trustStore, externalStores, timestampStores } = published(service).notation()
    const stores = Object.fromEntries(
      trustPolicy.trustPolicies.map((one: { name: string; trustStores: string[] }) => [one.name, one.trustStores]),
    )
    expect(stores).toEqual({
      plain: ["signingAuthority:sealwright-issuers"],
      release: ["ca:sealwright", "tsa:sealwright"],
      "beside+release": ["signingAuthority:sealwright-issuers", "ca:sealwright", "tsa:sealwright"],
    })
    expect(trustStore.type).toBe("ca")
    expect(timestampStores[0].certificates).toEqual(trustStore.certificates)
    const ci = await findIssuer(service.ports.table, "ci")
    expect(externalStores).toEqual([
      {
        type: "signingAuthority",
        name: "sealwright-issuers",
        certificates: [base64Encode((ci as Issuer).certificate)],
      },
    ])
  })
})
