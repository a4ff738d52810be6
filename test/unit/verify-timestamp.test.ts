import { utf8 } from "@sealwright/formats/bytes"
import { pemEncode } from "@sealwright/formats/pem"
import { parseCertificate } from "@sealwright/formats/x509"
import { importNotationPolicy } from "@sealwright/verifier/notation-policy"
import { loadTrustPolicy, type TrustPolicy } from "@sealwright/verifier/trust-policy"
import type { Verdict } from "@sealwright/verifier/verdict"
import { describe, expect, test } from "vitest"
import { at, makeIssuer } from "../support/chains.ts"
import { afterSec, ask, Deployment, type Publication, policyOf, SIGNED_AT } from "../support/deployment.ts"
import { makeAuthority, makeToken, type TestAuthority, type TokenOptions } from "../support/timestamps.ts"

const ours = new Deployment()
const authority = makeAuthority(ours.issuer, "ecdsa-p256-sha256")
const strange = makeAuthority(makeIssuer("ecdsa-p256-sha256"), "ecdsa-p256-sha256")
/** The leaf ends eight minutes after it signed. */
const LATER = afterSec(3600)

const stamp =
  (by: TestAuthority = authority, options: TokenOptions = {}) =>
  (raw: Uint8Array) =>
    makeToken(by, raw, { genTime: SIGNED_AT, ...options })
const signed = (timestamp: (raw: Uint8Array) => Uint8Array | undefined = stamp()) => ours.sign({ timestamp })
const trusting = (more: object = {}) =>
  policyOf({
    trustStore: [{ trustedRoots: [{ root: ours.rootPem }] }],
    timestampRoots: [ours.rootPem],
    ...more,
  })

function verdictOf(envelope: Uint8Array, policy: TrustPolicy = trusting(), publication: Publication = {}): Verdict {
  const trusted = ours.opened(ours.publish({ date: LATER, ...publication }), { now: LATER })
  return ask({ policy, envelopes: [envelope], trusted, now: LATER })
}
const line = ({ signatures }: Verdict, check: string) => signatures[0]?.checks.find((each) => each.check === check)

describe("R8: a timestamp keeps a signature after its certificate's end", () => {
  test("with a trusted timestamp it is accepted, and its time is named", () => {
    const verdict = verdictOf(signed())
    expect(verdict).toMatchObject({ verdict: "accepted" })
    expect(line(verdict, "time")?.text).toBe("timestamp of 2026-06-01T11:58:00.000Z")
    expect(line(verdict, "timestamp authority")?.outcome).toBe("pass")
  })

  test("without one, or without trust in one, the present counts", () => {
    expect(verdictOf(signed(() => undefined))).toMatchObject({ code: "CHAIN_EXPIRED" })
    expect(verdictOf(signed(), trusting({ timestampRoots: [] }))).toMatchObject({ code: "CHAIN_EXPIRED" })
  })

  const forged = makeAuthority(ours.issuer, "ecdsa-p256-sha256", { below: "issuer" })
  const certificate = ours.issuer.leaf({ signer: authority.signer, number: 9, notBefore: at("2026-05-01T00:00:00Z") })
  const refusals: readonly (readonly [what: string, envelope: Uint8Array, code: string])[] = [
    ["over other bytes", signed(() => makeToken(authority, utf8("other"))), "TIMESTAMP_IMPRINT_MISMATCH"],
    ["of an untrusted authority", signed(stamp(strange)), "TIMESTAMP_NOT_TRUSTED"],
    ["that was tampered with", signed((raw) => stamp()(raw).with(-3, 7)), "TIMESTAMP_SIGNATURE_INVALID"],
    ["that is rubbish", signed(() => utf8("rubbish")), "TIMESTAMP_MALFORMED"],
    [
      "of an authority whose certificate had ended",
      signed(stamp(makeAuthority(ours.issuer, "ecdsa-p256-sha256", { notAfter: at("2026-06-01T11:57:00Z") }))),
      "TIMESTAMP_CHAIN_INVALID",
    ],
    [
      "by an authority that a stolen issuer key made",
      signed(stamp(forged, { certificates: [forged.certificate, ours.issuer.issuing] })),
      "TIMESTAMP_CHAIN_INVALID",
    ],
    [
      "by a signing certificate",
      signed(stamp({ ...authority, certificate }, { certificates: [certificate, ours.issuer.issuing] })),
      "TIMESTAMP_CHAIN_INVALID",
    ],
    ["after the leaf's end", signed(stamp(authority, { genTime: afterSec(600, SIGNED_AT) })), "CHAIN_EXPIRED"],
    [
      "whose accuracy reaches beyond the leaf",
      signed(stamp(authority, { info: { accuracySec: 130 } })),
      "CHAIN_NOT_YET_VALID",
    ],
    [
      "from the future",
      signed(stamp(authority, { genTime: afterSec(7200), info: { accuracySec: 1 } })),
      "CHAIN_EXPIRED",
    ],
  ]
  test.each(refusals)("a timestamp %s is refused", (_what, envelope, code) => {
    expect(verdictOf(envelope)).toMatchObject({ verdict: "rejected", code })
  })

  test("a bad timestamp is refused while the leaf is still in force, too", () => {
    const trusted = ours.opened(ours.publish())
    expect(ask({ policy: trusting(), envelopes: [signed(stamp(strange))], trusted })).toMatchObject({
      code: "TIMESTAMP_NOT_TRUSTED",
    })
  })

  test("requireTimestamp refuses a signature without one; the signing authority needs none", () => {
    const policy = trusting({ requireTimestamp: true })
    expect(
      verdictOf(
        signed(() => undefined),
        policy,
      ),
    ).toMatchObject({ code: "TIMESTAMP_MISSING" })
    expect(verdictOf(ours.sign(), policy)).toMatchObject({ verdict: "accepted" })
    expect(
      loadTrustPolicy(utf8('{"trustPolicy":{"trustStore":[],"requireTimestamp":true}}'), () => undefined),
    ).toMatchObject({
      code: "POLICY_MALFORMED",
    })
  })

  test("timestampRoots are roots", () => {
    for (const bad of [pemEncode("CERTIFICATE", ours.issuer.issuing), "https://tuf.example.test"])
      expect(() => trusting({ timestampRoots: [bad] })).toThrow("is not a root")
  })
})

describe("R24: revocation and proven time (D7)", () => {
  const from = (sec: number) => ({
    list: {
      rules: [
        { kind: "profile", profile: "web", from: afterSec(sec, SIGNED_AT), reason: "superseded", at: LATER } as const,
      ],
    },
  })

  test("a profile that is revoked from a time on: earlier signatures survive on their timestamp", () => {
    expect(verdictOf(signed(), trusting(), from(2))).toMatchObject({ verdict: "accepted" })
    expect(verdictOf(signed(), trusting(), from(1))).toMatchObject({ code: "PROFILE_REVOKED" })
    const inForce = ours.opened(ours.publish(from(2)))
    const claimed = ask({ policy: trusting(), envelopes: [signed(() => undefined)], trusted: inForce })
    expect(claimed).toMatchObject({ code: "PROFILE_REVOKED" })
  })

  test("a revoked authority proves nothing, not even a time before its revocation", () => {
    const { serialBytes } = parseCertificate(authority.certificate)
    const revoked = { rootCrlEntries: [{ serial: serialBytes, revokedAt: LATER, reason: "keyCompromise" as const }] }
    expect(verdictOf(signed(), trusting(), revoked)).toMatchObject({
      verdict: "rejected",
      code: "TIMESTAMP_AUTHORITY_REVOKED",
    })
  })

  test("whether it was revoked must be known, unless the policy does not ask", () => {
    const unknown = { noCrls: true }
    expect(verdictOf(signed(), trusting(), unknown)).toMatchObject({
      verdict: "inconclusive",
      code: "REVOCATION_UNKNOWN",
    })
    const lenient = trusting({ optionalChecks: { signatureRescinded: false } })
    expect(verdictOf(signed(), lenient, unknown)).toMatchObject({ verdict: "accepted" })
  })

  test("a signature that no list has settled is newer than the list by its timestamp alone", () => {
    const fresh = { date: afterSec(-100, SIGNED_AT) }
    const trusted = ours.opened(ours.publish(fresh))
    const envelope = (timestamp: (raw: Uint8Array) => Uint8Array | undefined) => ours.sign({ timestamp, number: 6000 })
    expect(ask({ policy: trusting(), envelopes: [envelope(stamp())], trusted })).toMatchObject({ verdict: "accepted" })
    expect(ask({ policy: trusting(), envelopes: [envelope(() => undefined)], trusted })).toMatchObject({
      code: "REVOCATION_NOT_COVERED",
    })
  })
})

describe("notation's timestamp stores", () => {
  const statement = (verifyTimestamp?: string) => {
    const outcome = importNotationPolicy(
      utf8(
        JSON.stringify({
          version: "1.0",
          trustPolicies: [
            {
              name: "all",
              registryScopes: ["*"],
              signatureVerification: { level: "strict", ...(verifyTimestamp && { verifyTimestamp }) },
              trustStores: ["ca:wabbit", "tsa:wabbit"],
              trustedIdentities: ["*"],
            },
          ],
        }),
      ),
      (type) => [utf8(type === "tsa" ? pemEncode("CERTIFICATE", strange.root) : ours.rootPem)],
    )
    if (!outcome.ok) throw new Error(outcome.detail)
    return outcome.statements[0]?.policy as TrustPolicy
  }

  test("as notation does: always by default, or once a certificate has ended", () => {
    const trusted = ours.opened(ours.publish())
    const now = (policy: TrustPolicy, envelope: Uint8Array) => ask({ policy, envelopes: [envelope], trusted }).code
    expect(
      now(
        statement(),
        signed(() => undefined),
      ),
    ).toBe("TIMESTAMP_MISSING")
    expect(now(statement(), signed(stamp()))).toBe("TIMESTAMP_NOT_TRUSTED")
    expect(
      now(
        statement("afterCertExpiry"),
        signed(() => undefined),
      ),
    ).toBe("ACCEPTED")
    expect(
      verdictOf(
        signed(() => undefined),
        statement("afterCertExpiry"),
      ).code,
    ).toBe("TIMESTAMP_MISSING")
  })

  test("a store holds roots alone", () => {
    const policy = (der: Uint8Array) =>
      importNotationPolicy(
        utf8(
          '{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["*"],"signatureVerification":{"level":"strict"},"trustStores":["ca:a","tsa:a"],"trustedIdentities":["*"]}]}',
        ),
        (type) => [type === "tsa" ? der : ours.issuer.root],
      )
    expect(policy(ours.issuer.root)).toMatchObject({ ok: true })
    expect(policy(ours.issuer.issuing)).toMatchObject({ ok: false })
  })
})
