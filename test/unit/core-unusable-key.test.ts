import { createIssuer } from "@sealwright/core/admin/ceremony"
import { readIssuer } from "@sealwright/core/ledger/trust"
import { parseCrl, revokedEntries } from "@sealwright/formats/crl"
import { describe, expect, test } from "vitest"
import { ADMIN, createService, signRequest } from "../support/service.ts"

const DAY = 86_400

async function twoIssuers() {
  const service = createService()
  await service.setUp()
  await createIssuer(service.ports, { name: "other", algorithm: "ecdsa-p256-sha256", days: 1000 }, ADMIN)
  await service.profile("release")
  await service.profile("elsewhere", { issuer: "other", repositories: ["registry.wabbit-networks.io/elsewhere"] })
  await service.publish()
  return service
}

describe("an issuer whose key can't be used any more", () => {
  test("does not keep the others from publishing while it has nothing new to say (R29)", async () => {
    const service = await twoIssuers()
    service.memory.keys.disable("memory:issuer/other")
    const [outcome] = await service.signer()(signRequest(["one"]))
    if (outcome === undefined || !("signed" in outcome)) throw new Error("not signed")
    service.pass(3 * DAY)
    await service.revoke({ kind: "signature", signature: outcome.signed.id })
    expect(await service.publish()).toMatchObject({ epoch: 2, published: true })
    expect(serials(service, outcome.signed.issuerKeyId)).toEqual([outcome.signed.serialHex])
  })

  test("keeps its last list once it is revoked", async () => {
    const service = await twoIssuers()
    const { issuerKeyId } = await readIssuer(service.ports.table, "other")
    service.memory.keys.disable("memory:issuer/other")
    await service.revoke({ kind: "issuer", issuer: "other" })
    service.pass(10 * DAY)
    expect(await service.publish()).toMatchObject({ published: true })
    expect(crl(service, issuerKeyId).crlNumber).toBe(1n)
  })

  test("stops the publication that owes its signatures' revocation to stock clients (I2)", async () => {
    const service = await twoIssuers()
    const [outcome] = await service.signer()(signRequest(["one"]))
    if (outcome === undefined || !("signed" in outcome)) throw new Error("not signed")
    service.memory.keys.disable("memory:issuer/ci")
    await service.revoke({ kind: "signature", signature: outcome.signed.id })
    await expect(service.publish()).rejects.toMatchObject({ code: "KEY_NOT_USABLE" })
  })
})

function crl(service: ReturnType<typeof createService>, issuerKeyId: string) {
  return parseCrl(service.memory.objects.dump().get(`crl/${issuerKeyId}.crl`)?.bytes ?? new Uint8Array(0))
}

function serials(service: ReturnType<typeof createService>, issuerKeyId: string): string[] {
  return [...revokedEntries(crl(service, issuerKeyId))].map(({ serial }) => Buffer.from(serial).toString("hex"))
}
