import { retireRoot } from "@sealwright/core/admin/roots"
import { listOutsideAuthorities } from "@sealwright/core/ledger/outside-authorities"
import { setOutsideAuthority } from "@sealwright/core/timestamp/outside"
import { hexEncode } from "@sealwright/formats/bytes"
import { parseNotaryJws } from "@sealwright/formats/notary-jws"
import { grantedResponse, parseTimestampRequest } from "@sealwright/formats/timestamp"
import { describe, expect, test } from "vitest"
import { makeIssuer, sha256 } from "../support/chains.ts"
import { ADMIN, createService, digestOf, signRequest } from "../support/service.ts"
import { makeAuthority, type TestAuthority, tokenFor } from "../support/timestamps.ts"
import { openShown, verdictOf } from "../support/verdicts.ts"
import { auditOf, expectSound, published, withCode } from "./core-published.ts"

const URL = "http://timestamp.example.test/tsa"

function stranger(): TestAuthority {
  return makeAuthority(makeIssuer("ecdsa-p256-sha256"), "ecdsa-p256-sha256")
}

/** A service whose profile `release` is stamped by the outside authority `tsa`, which answers as `answer` does. */
async function ready(answer?: (query: Uint8Array) => Promise<Uint8Array>) {
  const authority = stranger()
  const asked: string[] = []
  const service = createService({
    outsideTimestampers: (name) => ({
      timestamp: async (query) => {
        asked.push(name)
        if (answer !== undefined) return await answer(query)
        return grantedResponse(tokenFor(authority, parseTimestampRequest(query), service.ports.clock()))
      },
    }),
  })
  await service.setUp()
  const set = (roots = [authority.root], url = URL) =>
    setOutsideAuthority(service.ports, { name: "tsa", url, roots }, ADMIN)
  await set()
  await service.profile("release", { timestamp: "outside:tsa" })
  service.pass(5)
  return { service, authority, asked, set }
}

async function signOne(service: ReturnType<typeof createService>, seed: string): Promise<Uint8Array> {
  const [outcome] = await service.signer()(signRequest([seed]))
  if (outcome !== undefined && "refused" in outcome) throw outcome.refused
  return outcome?.signed.envelopes[0]?.bytes ?? new Uint8Array(0)
}

describe("R8: a profile that an outside authority stamps", () => {
  test("has its token, checked below its own roots, and the trust bundle tells deployers of them", async () => {
    const { service, authority, asked } = await ready()
    const envelope = await signOne(service, "a")
    expect(asked).toEqual(["tsa"])
    expect(parseNotaryJws(envelope).protected.signingScheme).toBe("notary.x509")
    await service.publish()
    service.pass(5)
    expect(openShown(service).trustBundle.timestampRoots).toEqual([authority.root])
    expect(published(service).notation()).toMatchObject({
      timestampStores: [{ name: "sealwright-outside-tsa" }],
      trustPolicy: {
        trustPolicies: [{ name: "release", trustStores: ["ca:sealwright", "tsa:sealwright-outside-tsa"] }],
      },
    })
    // The authority's own CRL is not in the bundle: nothing says that it is good, so nothing is accepted.
    expect(verdictOf(service, envelope, digestOf("a"))).toMatchObject({
      verdict: "inconclusive",
      code: "REVOCATION_UNKNOWN",
    })
    expectSound(service)
  })

  test("gets no signature with another authority's token, or without one", async () => {
    const other = stranger()
    const { service } = await ready(async (query) =>
      grantedResponse(tokenFor(other, parseTimestampRequest(query), service.ports.clock())),
    )
    await expect(signOne(service, "a")).rejects.toThrow(withCode("SIGNATURE_SELF_CHECK_FAILED"))
    const { service: silent } = await ready(async () => new Uint8Array(0))
    await expect(signOne(silent, "a")).rejects.toThrow(withCode("TIMESTAMP_UNAVAILABLE"))
  })

  test("is stamped below new roots once a signer looks afresh, and old roots stay trusted", async () => {
    const { service, authority, set } = await ready()
    const next = stranger()
    await set([next.root])
    await expect(signOne(service, "a")).rejects.toThrow(withCode("SIGNATURE_SELF_CHECK_FAILED"))
    await service.publish()
    expect(openShown(service).trustBundle.timestampRoots).toEqual([authority.root, next.root])
    expect(published(service).notation().timestampStores).toMatchObject([{ certificates: [expect.any(String)] }])
    const thumbprint = (der: Uint8Array) => hexEncode(sha256(der))
    await expect(retireRoot(service.ports, thumbprint(next.root), ADMIN)).rejects.toThrow(withCode("ROOT_IN_USE"))
    await retireRoot(service.ports, thumbprint(authority.root), ADMIN)
    await service.publish()
    expect(openShown(service).trustBundle.timestampRoots).toEqual([next.root])
    expectSound(service)
  })

  test("a repeat changes nothing; another address is one entry more in the audit", async () => {
    const { service, set } = await ready()
    const [standing] = await listOutsideAuthorities(service.ports.table)
    service.pass(60)
    expect(await set()).toEqual(standing)
    expect(await set(undefined, `${URL}/other`)).toMatchObject({ url: `${URL}/other` })
    expect(auditOf(service).filter(({ action }) => action === "outside-authority.set")).toHaveLength(2)
  })

  test("must exist", async () => {
    const { service } = await ready()
    await expect(service.profile("late", { timestamp: "outside:nobody" })).rejects.toThrow(
      withCode("TIMESTAMP_AUTHORITY_UNKNOWN"),
    )
  })
})

describe("R8: what is no outside authority", () => {
  const authority = stranger()

  test.each([
    ["another scheme", "ftp://timestamp.example.test"],
    ["a password", "https://user:secret@timestamp.example.test"],
    ["a fragment", "https://timestamp.example.test/#a"],
    ["no URL", "timestamp.example.test"],
  ])("%s", async (_name, url) => {
    const { set } = await ready()
    await expect(set([authority.root], url)).rejects.toThrow(withCode("OUTSIDE_AUTHORITY_MALFORMED"))
  })

  test.each([
    ["its own certificate in place of the root", authority.certificate],
    ["no certificate", Uint8Array.of(0x30, 0)],
  ])("%s", async (_name, root) => {
    const { set } = await ready()
    await expect(set([root])).rejects.toThrow(withCode("OUTSIDE_AUTHORITY_MALFORMED"))
  })
})
