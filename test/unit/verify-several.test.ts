import { utf8 } from "@sealwright/formats/bytes"
import { type TrustBundle, trustBundleJson } from "@sealwright/formats/trust-bundle"
import { describe, expect, test } from "vitest"
import { ask, Deployment, policyOf, TUF_URL } from "../support/deployment.ts"

const OTHER_URL = "https://tuf.certifier.test"

/** A publisher whose trust bundle says what he likes. */
function publish(deployment: Deployment, trust: Partial<TrustBundle>, publication = {}) {
  return deployment.publish({
    ...publication,
    change: (targets) => {
      const bundle = {
        organisation: "Certifier",
        identityHost: "sign.example.test",
        crlHost: "crl.example.test",
        tufUrl: OTHER_URL,
        roots: [deployment.issuer.root],
        externalRoots: [],
        ...trust,
      }
      targets.set("trust-bundle.json", utf8(JSON.stringify(trustBundleJson(bundle))))
    },
  })
}

const policy = policyOf({
  trustStore: [{ trustedRoots: [{ root: TUF_URL }] }],
  trustedIdentities: ["web@sign.example.test"],
})

describe("no publisher speaks for another (R22, R23)", () => {
  const vendor = new Deployment()
  const certifier = new Deployment()
  const revoked = {
    list: {
      issuers: new Map([
        [
          vendor.issuerKeyId,
          { coveredBelow: 5000, revoked: new Map([[4711, { reason: "keyCompromise", at: new Date(0) }]]), void: [] },
        ],
      ]),
    },
  }
  const mine = vendor.publish()
  const honest = publish(certifier, {})

  test("a bundle is refused when it says another address than its root was taken over for", () => {
    const posing = publish(certifier, { tufUrl: TUF_URL })
    expect(certifier.open(posing, { address: OTHER_URL })).toMatchObject({ ok: false, code: "BUNDLE_OF_ANOTHER" })
    expect(certifier.open(honest, { address: OTHER_URL })).toMatchObject({ ok: true, addressChecked: true })
    expect(certifier.open(honest, { address: `${OTHER_URL}/` })).toMatchObject({ ok: true })
  })

  test("several bundles are taken only when each was opened with its address", () => {
    const unchecked = [vendor.opened(mine, { address: TUF_URL }), certifier.opened(honest)]
    const envelopes = [vendor.sign()]
    expect(() => ask({ policy, envelopes, trusted: unchecked })).toThrow(TypeError)
    const trusted = [certifier.opened(honest, { address: OTHER_URL }), vendor.opened(mine, { address: TUF_URL })]
    expect(ask({ policy, envelopes, trusted })).toMatchObject({ code: "ACCEPTED" })
    expect(ask({ policy, envelopes: [certifier.sign()], trusted })).toMatchObject({ code: "CHAIN_NOT_TRUSTED" })
  })

  test("a bundle that lists another's root hides no revocation, whichever comes first", () => {
    const own = vendor.opened(vendor.publish(revoked), { address: TUF_URL })
    const claiming = certifier.opened(
      publish(certifier, { roots: [certifier.issuer.root, vendor.issuer.root] }, { list: vendorsCovered() }),
      { address: OTHER_URL },
    )
    const envelopes = [vendor.sign()]
    expect(ask({ policy, envelopes, trusted: own })).toMatchObject({ verdict: "rejected" })
    for (const trusted of [
      [own, claiming],
      [claiming, own],
    ])
      expect(ask({ policy, envelopes, trusted })).toMatchObject({
        verdict: "inconclusive",
        code: "PUBLISHER_AMBIGUOUS",
      })
  })

  test("under a company's root, which several publishers list, the one that registers the issuer speaks", () => {
    const shared = { roots: [certifier.issuer.root], externalRoots: [vendor.issuer.root] }
    const other = certifier.opened(publish(certifier, shared), { address: OTHER_URL })
    const own = vendor.opened(vendor.publish(revoked), { address: TUF_URL })
    for (const trusted of [
      [own, other],
      [other, own],
    ])
      expect(ask({ policy, envelopes: [vendor.sign()], trusted })).toMatchObject({
        verdict: "rejected",
        code: ask({ policy, envelopes: [vendor.sign()], trusted: own }).code,
      })
  })

  function vendorsCovered() {
    return { issuers: new Map([[vendor.issuerKeyId, { coveredBelow: 5000, revoked: new Map(), void: [] }]]) }
  }
})
