import { holdCeremony } from "@sealwright/core/admin/ceremony"
import { activateIssuer, requestIssuer } from "@sealwright/core/admin/external"
import { retireRoot, rotateRoot } from "@sealwright/core/admin/roots"
import { activateSuccessor, rotateIssuer } from "@sealwright/core/admin/rotation"
import { listIssuers, readDeployment } from "@sealwright/core/ledger/trust"
import { newestTargets, tufDocuments } from "@sealwright/core/ledger/tuf-documents"
import type { SignatureRecord } from "@sealwright/core/model"
import { hexEncode } from "@sealwright/formats/bytes"
import { parseTrustBundle } from "@sealwright/formats/trust-bundle"
import { decodeMetadata } from "@sealwright/formats/tuf"
import type { BundleFloors } from "@sealwright/verifier/state"
import { describe, expect, test } from "vitest"
import { certifyOutside } from "../support/authority.ts"
import { sha256 } from "../support/chains.ts"
import { ADMIN, createService, NAMES, signRequest } from "../support/service.ts"
import { openShown, verdictOf } from "../support/verdicts.ts"
import { auditOf, expectSound, published, withCode } from "./core-published.ts"

type Service = ReturnType<typeof createService>

const DAY = 86_400
const SECOND = { generation: 2, algorithm: undefined, rootYears: 10 } as const

async function ready() {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  await service.publish()
  const sign = service.signer()
  return {
    service,
    sign: async (seed: string): Promise<SignatureRecord> => {
      const [outcome] = await sign(signRequest([seed]))
      if (outcome === undefined || !("signed" in outcome)) throw outcome?.refused
      return outcome.signed
    },
  }
}

async function moveIssuer(service: Service, generation: number): Promise<void> {
  await rotateIssuer(service.ports, { name: "ci", generation, algorithm: undefined, days: 500 }, ADMIN)
  await service.publish()
  await activateSuccessor(service.ports, "ci", generation, ADMIN)
}

const thumbprint = (der: Uint8Array | undefined) => hexEncode(sha256(der ?? new Uint8Array(0)))

function codeOf(
  service: Service,
  { envelopes, subject }: SignatureRecord,
  floors?: BundleFloors,
  ...acceptRoots: string[]
) {
  const opened = openShown(service, { floors, acceptRoots })
  return verdictOf(service, envelopes[0]?.bytes as Uint8Array, subject.digest, "release", opened).code
}

describe("R17: a new root", () => {
  test("stands beside the old one; the TUF root changes its key in the same act, signed by both", async () => {
    const { service, sign } = await ready()
    const before = await sign("before")
    const { root, formerRoots } = await rotateRoot(service.ports, SECOND, ADMIN)
    const [old] = formerRoots
    expect([old?.generation, root.generation]).toEqual([1, 2])
    await service.publish()
    expect(parseTrustBundle((await newestTargets(service.ports.table)).trustBundle).roots).toEqual([
      old?.certificate,
      root.certificate,
    ])
    const shown = published(service)
    expect(shown.crl(old?.issuerKeyId ?? "").entries.size + shown.crl(root.issuerKeyId).entries.size).toBe(0)
    expect(shown.notation().trustStore.certificates).toHaveLength(2)
    const documents = (await tufDocuments(service.ports.table, "root")).map(({ bytes }) =>
      decodeMetadata(bytes, "root", bytes.length),
    )
    const [[first = ""] = [], [second = ""] = []] = documents.map(({ signed }) => signed.roles.root.keyids)
    expect(first).not.toBe(second)
    expect([...(documents[1]?.signatures.keys() ?? [])]).toEqual([first, second])
    expect(codeOf(service, before)).toBe("ACCEPTED")
    expect(expectSound(service)).toBe(1)
  })

  test("counts for deployers who saw the bundle before once they accept it, and old signatures stay good", async () => {
    const { service, sign } = await ready()
    const before = await sign("before")
    await service.publish()
    const { floors } = openShown(service)
    const { root } = await rotateRoot(service.ports, SECOND, ADMIN)
    await moveIssuer(service, 2)
    const after = await sign("after")
    await service.publish()
    expect(codeOf(service, before, floors)).toBe("ACCEPTED")
    expect(codeOf(service, after, floors)).toBe("ROOT_NOT_ACCEPTED")
    expect(codeOf(service, after, floors, thumbprint(root.certificate))).toBe("ACCEPTED")
    const { chain } = (await listIssuers(service.ports.table)).find(({ generation }) => generation === 2) ?? {}
    expect(chain).toEqual([root.certificate])
    expectSound(service)
  })

  test("may be asked for again; a generation that is not the next is refused; each act is written down once", async () => {
    const { service } = await ready()
    const first = await rotateRoot(service.ports, SECOND, ADMIN)
    expect(await rotateRoot(service.ports, SECOND, ADMIN)).toEqual(first)
    const [two, three] = await Promise.all([
      rotateRoot(service.ports, { ...SECOND, generation: 3 }, ADMIN),
      rotateRoot(service.ports, { ...SECOND, generation: 3 }, ADMIN),
    ])
    expect(two).toEqual(three)
    const wrong = rotateRoot(service.ports, { ...SECOND, generation: 9 }, ADMIN)
    await expect(wrong).rejects.toThrow(withCode("ISSUER_GENERATION_WRONG"))
    expect(auditOf(service).filter(({ action }) => action === "root.rotate")).toHaveLength(2)
    await service.publish()
    expect(parseTrustBundle((await newestTargets(service.ports.table)).trustBundle).roots).toHaveLength(3)
    expectSound(service)
  })

  test("does not stop the renewal of TUF root and targets (R18)", async () => {
    const { service } = await ready()
    await rotateRoot(service.ports, SECOND, ADMIN)
    service.pass(200 * DAY)
    await holdCeremony(service.ports, { ...NAMES, algorithm: "ecdsa-p256-sha256", rootYears: 10 }, ADMIN)
    await service.publish()
    expect(await tufDocuments(service.ports.table, "root")).toHaveLength(3)
    expect(openShown(service).trustBundle.roots).toHaveLength(2)
  })
})

describe("R17: an old root", () => {
  test("retires once nothing that signs stands below it, and then counts no more", async () => {
    const { service, sign } = await ready()
    const before = await sign("before")
    const { root, formerRoots } = await rotateRoot(service.ports, SECOND, ADMIN)
    const old = thumbprint(formerRoots[0]?.certificate)
    await expect(retireRoot(service.ports, old, ADMIN)).rejects.toThrow(withCode("ROOT_IN_USE"))
    await expect(retireRoot(service.ports, thumbprint(root.certificate), ADMIN)).rejects.toThrow(
      withCode("ROOT_IN_USE"),
    )
    await moveIssuer(service, 2)
    const retired = await retireRoot(service.ports, old, ADMIN)
    expect(retired.formerRoots.map(({ state }) => state)).toEqual(["retired"])
    expect(await retireRoot(service.ports, old, ADMIN)).toEqual(retired)
    const after = await sign("after")
    await service.publish()
    expect(openShown(service).trustBundle.roots).toEqual([root.certificate])
    expect([before, after].map((one) => codeOf(service, one))).toEqual(["CHAIN_NOT_TRUSTED", "ACCEPTED"])
    expect(published(service).notation().trustStore.certificates).toHaveLength(1)
    expect(await readDeployment(service.ports.table)).toEqual(retired)
    expect(auditOf(service).filter(({ action }) => action === "root.retire")).toHaveLength(1)
    expectSound(service)
  })

  test("an outside root retires too, and its profiles leave notation's policy", async () => {
    const { service } = await ready()
    const { key } = await requestIssuer(service.ports, { name: "corp", algorithm: "ecdsa-p256-sha256" }, ADMIN)
    const { chain } = await activateIssuer(service.ports, "corp", certifyOutside(key.spki), ADMIN)
    await service.profile("corp", { issuer: "corp", repositories: ["registry.wabbit-networks.io/corp"] })
    const outside = thumbprint(chain.at(-1))
    await expect(retireRoot(service.ports, outside, ADMIN)).rejects.toThrow(withCode("ROOT_IN_USE"))
    await service.revoke({ kind: "issuer", issuer: "corp" })
    await retireRoot(service.ports, outside, ADMIN)
    await retireRoot(service.ports, outside, ADMIN)
    await service.publish()
    expect(openShown(service).trustBundle.externalRoots).toEqual([])
    const tree = published(service).notation()
    expect(tree.externalStores).toBeUndefined()
    expect(tree.trustPolicy.trustPolicies.map(({ name }: { name: string }) => name)).toEqual(["release"])
    expectSound(service)
  })

  test("that nobody knows is refused", async () => {
    const { service } = await ready()
    await expect(retireRoot(service.ports, "0".repeat(64), ADMIN)).rejects.toThrow(withCode("CERTIFICATE_UNKNOWN"))
  })
})
