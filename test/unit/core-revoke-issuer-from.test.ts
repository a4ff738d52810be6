import { readDeployment, readIssuer } from "@sealwright/core/ledger/trust"
import { makeTimestampAuthority } from "@sealwright/core/timestamp/authority"
import { hexEncode } from "@sealwright/formats/bytes"
import { parseCertificate } from "@sealwright/formats/x509"
import type { Verdict } from "@sealwright/verifier/verdict"
import { describe, expect, test } from "vitest"
import { ADMIN, createService, digestOf, signRequest } from "../support/service.ts"
import { verdictOf } from "../support/verdicts.ts"
import { expectSound, published } from "./core-published.ts"

/** One issuer, a profile with timestamps and one without; `signs` gives what a deployer later decides of a signature made now. */
async function ready() {
  const service = createService()
  await service.setUp()
  service.pass(5)
  await makeTimestampAuthority(service.ports, { algorithm: "ecdsa-p256-sha256", days: 365 }, ADMIN)
  await service.profile("stamped", { timestamp: "own" })
  await service.profile("plain")
  service.pass(5)
  const sign = service.signer()
  const signs = async (profile: "stamped" | "plain", seed: string): Promise<() => Verdict> => {
    const [outcome] = await sign(signRequest([seed], { profile }))
    if (outcome === undefined || !("signed" in outcome)) throw new Error("not signed")
    const [envelope] = outcome.signed.envelopes
    return () => verdictOf(service, envelope?.bytes ?? new Uint8Array(0), digestOf(seed), profile)
  }
  const revokeFrom = async (from: Date | undefined) => {
    await service.revoke({ kind: "issuer", issuer: "ci", from })
    await service.publish()
    service.pass(5)
  }
  return { service, signs, revokeFrom }
}

const ACCEPTED = { verdict: "accepted" }
const REVOKED = { verdict: "rejected", code: "CERTIFICATE_REVOKED" }

describe("an issuer revoked from a time on (R8, R24, D7)", () => {
  test("spares what a timestamp proves to be older, and nothing else", async () => {
    const { service, signs, revokeFrom } = await ready()
    const [old, oldPlain] = [await signs("stamped", "a"), await signs("plain", "b")]
    service.pass(3600)
    const compromised = service.ports.clock()
    service.pass(60)
    const late = await signs("stamped", "c")
    await service.publish()
    service.pass(5)
    expect([old(), oldPlain(), late()]).toMatchObject([ACCEPTED, ACCEPTED, ACCEPTED])
    await revokeFrom(compromised)
    // The thief of the issuer's key writes any signing time he likes: a time that no authority saw spares nothing.
    expect([old(), oldPlain(), late()]).toMatchObject([ACCEPTED, REVOKED, REVOKED])
    expect(published(service).list().rules).toMatchObject([{ kind: "issuer", from: compromised }])
    expectSound(service)
  })

  test("a token whose time may reach the moment itself spares nothing", async () => {
    const { service, signs, revokeFrom } = await ready()
    const near = await signs("stamped", "a")
    await service.publish()
    service.pass(5)
    // Signed 5 s ago; the authority's accuracy is a second.
    await revokeFrom(new Date(service.ports.clock().getTime() - 4_000))
    expect(near()).toMatchObject(REVOKED)
  })

  test("the moment moves earlier, and then to all there is, never back", async () => {
    const { service, signs, revokeFrom } = await ready()
    const old = await signs("stamped", "a")
    service.pass(3600)
    await revokeFrom(service.ports.clock())
    expect(old()).toMatchObject(ACCEPTED)
    await revokeFrom(undefined)
    expect(old()).toMatchObject(REVOKED)
    await revokeFrom(service.ports.clock())
    expect(old()).toMatchObject(REVOKED)
    expectSound(service)
  })

  test("stock clients get the issuer's whole certificate revoked", async () => {
    const { service, revokeFrom } = await ready()
    service.pass(3600)
    await revokeFrom(service.ports.clock())
    const { root } = await readDeployment(service.ports.table)
    const { certificate } = await readIssuer(service.ports.table, "ci")
    const { entries } = published(service).crl(root.issuerKeyId)
    expect([...entries.keys()]).toEqual([hexEncode(parseCertificate(certificate).serialBytes)])
  })
})
