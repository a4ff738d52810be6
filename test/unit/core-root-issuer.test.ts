import { createIssuer } from "@sealwright/core/admin/ceremony"
import { requestIssuer } from "@sealwright/core/admin/external"
import { createProfile } from "@sealwright/core/admin/profiles"
import { readDeployment } from "@sealwright/core/ledger/trust"
import { base64Decode } from "@sealwright/formats/bytes"
import { parseNotaryJws } from "@sealwright/formats/notary-jws"
import { describe, expect, test } from "vitest"
import { ADMIN, createService, PROFILE, signRequest } from "../support/service.ts"
import { auditOf, expectSound, published, withCode } from "./core-published.ts"

const BELOW_ROOT = { ...PROFILE, issuer: "root" }

async function ready() {
  const service = createService()
  await service.setUp()
  return service
}

describe("signing right below the root (R5)", () => {
  test("is refused unless it is asked for, and then nothing is made", async () => {
    const service = await ready()
    await expect(service.profile("release", { issuer: "root" })).rejects.toThrow(withCode("ROOT_ISSUER_REFUSED"))
    await service.publish()
    expect(
      published(service)
        .registry()
        .issuers.map(({ name }) => name),
    ).toEqual(["ci"])
  })

  test("no issuer takes the root's name", async () => {
    const service = await ready()
    const named = { name: "root", algorithm: "ecdsa-p256-sha256", days: 10 } as const
    await expect(createIssuer(service.ports, named, ADMIN)).rejects.toThrow(withCode("REQUEST_MALFORMED"))
    await expect(requestIssuer(service.ports, named, ADMIN)).rejects.toThrow(withCode("REQUEST_MALFORMED"))
  })

  test("once asked for, signatures stand right below the root, and each can be revoked for stock clients too (R24)", async () => {
    const service = await ready()
    const create = () => createProfile(service.ports, "release", BELOW_ROOT, ADMIN, true)
    expect(await create()).toEqual(await create())
    const { root } = await readDeployment(service.ports.table)
    const [one, two] = await service.signer()(signRequest(["a", "b"]))
    if (one === undefined || !("signed" in one) || two === undefined || !("signed" in two))
      throw new Error("not signed")
    const { x5c } = parseNotaryJws(one.signed.envelopes[0]?.bytes as Uint8Array)
    expect(x5c.slice(1).map(base64Decode)).toEqual([root.certificate])
    await service.publish()
    await service.revoke({ kind: "signature", signature: one.signed.id })
    await service.revoke({ kind: "issuer", issuer: "ci" })
    await service.publish()
    const shown = published(service)
    const serials = [...shown.crl(root.issuerKeyId).entries.keys()]
    expect(serials).toHaveLength(2)
    expect(serials).toContain(one.signed.serialHex)
    expect(serials).not.toContain(two.signed.serialHex)
    expect(shown.notation().crls).toHaveLength(2)
    expect(expectSound(service)).toBe(2)
    const acts = auditOf(service).map(({ action }) => action)
    expect(acts.filter((action) => action === "profile.create.below-root")).toHaveLength(1)
  })

  test("a root does not revoke itself", async () => {
    const service = await ready()
    await createProfile(service.ports, "release", BELOW_ROOT, ADMIN, true)
    await expect(service.revoke({ kind: "issuer", issuer: "root" })).rejects.toThrow(withCode("REQUEST_MALFORMED"))
  })
})
