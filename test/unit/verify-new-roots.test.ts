import { hexEncode, utf8 } from "@sealwright/formats/bytes"
import { type Registry, trustBundleJson } from "@sealwright/formats/trust-bundle"
import { encodeState, parseState } from "@sealwright/verifier/state"
import { describe, expect, test } from "vitest"
import { sha256 } from "../support/chains.ts"
import { afterSec, ask, Deployment, policyOf, TUF_URL } from "../support/deployment.ts"

const BASE = { trustedIdentities: ["web@sign.example.test"] }
const BY_ADDRESS = { ...BASE, trustStore: [{ trustedRoots: [{ root: TUF_URL }] }] }

/** The deployment's second root, with an issuer of its own. */
const next = new Deployment()
const thumbprint = hexEncode(sha256(next.issuer.root))
const envelope = next.sign()
const now = afterSec(1)

/** A bundle of the old root, then one that adds the new root. */
function added() {
  const ours = new Deployment()
  const { floors } = ours.opened(ours.publish())
  const files = ours.publish({ date: now, ...withRoots(ours, [ours.issuer.root, next.issuer.root]) })
  return { ours, floors, files }
}

function withRoots(ours: Deployment, roots: readonly Uint8Array[], registry: Partial<Registry> = {}) {
  const { trustBundle } = ours.opened(ours.publish({ date: now }), { now })
  return {
    registry,
    list: {
      issuers: new Map(
        [ours, next].map(({ issuerKeyId }) => [issuerKeyId, { coveredBelow: 5000, revoked: new Map(), void: [] }]),
      ),
    },
    change: (targets: Map<string, Uint8Array>) => {
      targets.set("trust-bundle.json", utf8(JSON.stringify(trustBundleJson({ ...trustBundle, roots }))))
    },
  }
}

const code = (trusted: ReturnType<Deployment["open"]>, policy: unknown = BY_ADDRESS) =>
  ask({ policy: policyOf(policy), envelopes: [envelope], trusted, now }).code

describe("R17: a root that a publisher adds to its trust bundle", () => {
  test("counts for nothing where the bundle was seen before, until somebody accepts it", () => {
    const { ours, floors, files } = added()
    const seen = ours.opened(files, { floors, now })
    expect(seen.newRoots).toEqual([next.issuer.root])
    const verdict = ask({ policy: policyOf(BY_ADDRESS), envelopes: [envelope], trusted: seen, now })
    expect(verdict).toMatchObject({ verdict: "inconclusive", code: "ROOT_NOT_ACCEPTED" })
    expect(verdict.checks.map(({ text }) => text).join()).toContain(thumbprint)
    expect(code(ours.opened(files, { floors: seen.floors, now }))).toBe("ROOT_NOT_ACCEPTED")
    const accepted = ours.opened(files, { floors: seen.floors, acceptRoots: [thumbprint], now })
    expect(code(accepted)).toBe("ACCEPTED")
    const remembered = parseState(encodeState(accepted.floors))
    expect(code(ours.opened(files, { floors: remembered, now }))).toBe("ACCEPTED")
  })

  test("counts at once for those who say so, with a warning, and for those who take the bundle over now", () => {
    const { ours, floors, files } = added()
    expect(code(ours.opened(files, { floors, now }), { ...BY_ADDRESS, acceptNewRoots: true })).toBe("ACCEPTED")
    expect(code(ours.opened(files, { now }))).toBe("ACCEPTED")
  })

  test("is nothing to those who pinned their roots themselves", () => {
    const { ours, floors, files } = added()
    const pinned = { ...BASE, trustStore: [{ trustedRoots: [{ root: ours.rootPem }] }] }
    expect(code(ours.opened(files, { floors, now }), pinned)).toBe("CHAIN_NOT_TRUSTED")
    const both = { ...BASE, trustStore: [{ trustedRoots: [{ root: ours.rootPem }, { root: next.rootPem }] }] }
    expect(code(ours.opened(files, { floors, now }), both)).toBe("ACCEPTED")
  })

  test("what the old root certified goes on as before", () => {
    const { ours, floors, files } = added()
    const trusted = ours.opened(files, { floors, now })
    const old = ask({ policy: policyOf(BY_ADDRESS), envelopes: [ours.sign({ signingTime: now })], trusted, now })
    expect(old.code).toBe("ACCEPTED")
    expect(old.checks.some(({ outcome, check }) => outcome === "warn" && check === "bundle")).toBe(true)
  })

  test("a root that left and comes back waits again", () => {
    const { ours, floors, files } = added()
    const accepted = ours.opened(files, { floors, acceptRoots: [thumbprint], now })
    const without = ours.opened(ours.publish({ date: now, ...withRoots(ours, [ours.issuer.root]) }), {
      floors: accepted.floors,
      now,
    })
    expect(without.newRoots).toEqual([])
    const back = ours.publish({ date: now, ...withRoots(ours, [ours.issuer.root, next.issuer.root]) })
    expect(code(ours.opened(back, { floors: without.floors, now }))).toBe("ROOT_NOT_ACCEPTED")
  })
})
