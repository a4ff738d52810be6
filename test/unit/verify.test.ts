import { base64urlDecode, base64urlEncode, concat, hexEncode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import { integerOf } from "@sealwright/formats/der"
import { ascii, implicit, integer, sequence } from "@sealwright/formats/der-write"
import { ecdsaDerToRaw } from "@sealwright/formats/ecdsa"
import { assembleEnvelope, unsignedEnvelope } from "@sealwright/formats/notary-jws"
import { pemEncode } from "@sealwright/formats/pem"
import type { RevocationList } from "@sealwright/formats/revocation-list"
import { parseCertificate } from "@sealwright/formats/x509"
import { EXTENSION } from "@sealwright/formats/x509-extensions"
import { assembleCertificate, extension } from "@sealwright/formats/x509-write"
import { runSync } from "@sealwright/verifier/node-crypto"
import { VERDICT_CODES } from "@sealwright/verifier/verdict"
import { type VerifyInput, verify } from "@sealwright/verifier/verify"
import { runAsync } from "@sealwright/verifier/web-crypto"
import { describe, expect, test } from "vitest"
import { certificate, makeSigner, NOW, type Signer, serialOf, sha256, TARGET } from "../support/chains.ts"
import { afterSec, ask, Deployment, policyOf, REFERENCE, SIGNED_AT, TUF_URL } from "../support/deployment.ts"

/** Order of the group, SEC 2 §2.4.2. */
const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n

const ours = new Deployment()
const other = new Deployment()
const files = ours.publish()
const trusted = ours.opened(files)
const envelope = ours.sign()
const STORE = [{ trustedRoots: [{ root: ours.rootPem }] }]
const BASE = { trustStore: STORE, trustedIdentities: ["web@sign.example.test"] }
const policy = policyOf(BASE)
const elsewhere = { ...TARGET, digest: `sha256:${"6b".repeat(32)}` }

function codeOf(input: Partial<VerifyInput> = {}): string {
  const verdict = ask({ policy, envelopes: [envelope], trusted, ...input })
  expect(verdict.verdict).toBe(VERDICT_CODES[verdict.code].verdict)
  return verdict.code
}

/** A list of the next epoch over the same deployment. */
function listing(list: Partial<RevocationList>, date = NOW) {
  return ours.opened(ours.publish({ list, date }), { now: date, address: TUF_URL })
}

/** Opened to stand beside others. */
function beside(deployment: Deployment, list: Partial<RevocationList> = {}) {
  return deployment.opened(deployment.publish({ list }), { address: TUF_URL })
}

const revoked = { reason: "keyCompromise", at: NOW }
const numbers = (
  entry: Partial<{ coveredBelow: number; revoked: Map<number, typeof revoked>; void: [number, number][] }>,
) => ({
  issuers: new Map([[ours.issuerKeyId, { coveredBelow: 5000, revoked: new Map(), void: [], ...entry }]]),
})

test("R27: a good signature is accepted, with a line for each check", () => {
  const verdict = ask({ policy, envelopes: [envelope], trusted })
  expect(verdict).toMatchObject({ verdict: "accepted", code: "ACCEPTED", artifact: TARGET.digest })
  expect(verdict.checks.map(({ check, outcome }) => `${check} ${outcome}`)).toEqual([
    "envelope pass",
    "scheme pass",
    "time pass",
    "chain pass",
    "algorithm pass",
    "signature pass",
    "certificate pass",
    "expiry pass",
    "artifact pass",
    "identity pass",
    "revocation pass",
    "allow list skip",
    "log skip",
  ])
  expect(verdict.signatures[0]?.signer).toMatchObject({ identity: "web@sign.example.test", number: 4711 })
  expect(JSON.parse(JSON.stringify(verdict))).toEqual(verdict)
})

test("D15: node:crypto and WebCrypto come to one verdict", async () => {
  const input = { artifact: TARGET, reference: REFERENCE, envelopes: [envelope], policy, trusted, now: NOW }
  expect(await runAsync(verify(input))).toEqual(runSync(verify(input)))
})

describe("binding", () => {
  test.each([
    ["another digest", elsewhere, "ARTIFACT_MISMATCH"],
    ["another size", { ...TARGET, size: 1 }, "ARTIFACT_MISMATCH"],
    ["another media type", { ...TARGET, mediaType: "application/x" }, "ARTIFACT_MISMATCH"],
    ["digest alone", { digest: TARGET.digest }, "ACCEPTED"],
    ["no digest", { digest: "latest" }, "DIGEST_MALFORMED"],
    ["a path as digest", { digest: "sha256:../../x" }, "DIGEST_MALFORMED"],
  ])("%s", (_, artifact, code) => expect(codeOf({ artifact })).toBe(code))

  test.each([
    ["of the artifact", `registry.example.test/team/app@${TARGET.digest}`, "ACCEPTED"],
    ["of another", `registry.example.test/team/app@${elsewhere.digest}`, "REFERENCE_MISMATCH"],
    ["malformed", "APP", "REFERENCE_MALFORMED"],
  ])("a reference with the digest %s", (_, reference, code) => expect(codeOf({ reference })).toBe(code))

  test("T1: only the diagonal of artifacts and signatures passes", () => {
    const targets = [1, 2, 3].map((n) => ({ ...TARGET, digest: `sha256:${`0${n}`.repeat(32)}` }))
    const envelopes = targets.map((target) => ours.sign({ target }))
    for (const [i, artifact] of targets.entries())
      for (const [j, each] of envelopes.entries())
        expect(codeOf({ artifact, envelopes: [each] })).toBe(i === j ? "ACCEPTED" : "ARTIFACT_MISMATCH")
  })
})

describe("source and identity (R20, R23)", () => {
  test("another deployment's root", () => {
    expect(codeOf({ envelopes: [other.sign()] })).toBe("CHAIN_NOT_TRUSTED")
  })
  test("another profile", () =>
    expect(codeOf({ envelopes: [ours.sign({ profile: "other" })] })).toBe("IDENTITY_NOT_TRUSTED"))
  test("no identities named: whoever the root certifies", () => {
    const open = policyOf({ trustStore: STORE })
    expect(codeOf({ policy: open, envelopes: [ours.sign({ profile: "other" })] })).toBe("ACCEPTED")
  })
  test.each([
    ["registry.example.test", "ACCEPTED"],
    ["registry.example.test/team/app", "ACCEPTED"],
    ["registry.example.test/team/app:1.0", "ACCEPTED"],
    [`registry.example.test/team/app@${TARGET.digest}`, "ACCEPTED"],
    ["registry.example.test/team", "SOURCE_NOT_TRUSTED"],
    ["registry.example.test/team/app2", "SOURCE_NOT_TRUSTED"],
    ["registry.example.test/team/app:2.0", "SOURCE_NOT_TRUSTED"],
    [`registry.example.test/team/app@${elsewhere.digest}`, "SOURCE_NOT_TRUSTED"],
    ["example.test", "SOURCE_NOT_TRUSTED"],
    ["registry.example.test:5000", "SOURCE_NOT_TRUSTED"],
  ])("a root for %s", (scope, code) => {
    const scoped = policyOf({ ...BASE, trustStore: [{ trustedRoots: [{ root: ours.rootPem, scope }] }] })
    expect(codeOf({ policy: scoped })).toBe(code)
    expect(codeOf({ policy: scoped, reference: undefined })).toBe("SOURCE_NOT_TRUSTED")
  })
  test("an empty trust store accepts nothing", () => {
    expect(codeOf({ policy: policyOf({ trustStore: [] }) })).toBe("SOURCE_NOT_TRUSTED")
  })
  test("a key repository counts when its bundle is open, and is never fetched", () => {
    const repository = policyOf({ ...BASE, trustStore: [{ trustedRoots: [{ root: TUF_URL }] }] })
    expect(codeOf({ policy: repository })).toBe("ACCEPTED")
    expect(codeOf({ policy: repository, trusted: undefined })).toBe("SOURCE_NOT_TRUSTED")
    const foreign = policyOf({ ...BASE, trustStore: [{ trustedRoots: [{ root: "https://other.example.test" }] }] })
    expect(codeOf({ policy: foreign })).toBe("SOURCE_NOT_TRUSTED")
  })
  test("D2: the certificate of a sibling with the same key does not stand in", () => {
    const { signer, assemble } = ours.signature({ number: 4712 })
    const sibling = ours.issuer.leaf({ signer, number: 4713 })
    const swapped = assemble([sibling, ours.issuer.issuing, ours.issuer.root])
    expect(codeOf({ envelopes: [swapped] })).toBe("CERTIFICATE_SWAPPED")
  })
  test("algorithms that the policy leaves out", () => {
    expect(codeOf({ policy: policyOf({ ...BASE, algorithms: ["ecdsa-p384-sha384"] }) })).toBe("ALGORITHM_NOT_ALLOWED")
  })
})

describe("expiry", () => {
  const expiring = ours.sign({ expiry: afterSec(-1) })
  test("an expired signature", () => expect(codeOf({ envelopes: [expiring] })).toBe("SIGNATURE_EXPIRED"))
  test.each([
    [-1, "ACCEPTED"],
    [0, "SIGNATURE_EXPIRED"],
    [1, "SIGNATURE_EXPIRED"],
  ])("T17: the clock at %i s of the expiry", (offset, code) => {
    expect(codeOf({ envelopes: [ours.sign({ expiry: afterSec(-offset) })] })).toBe(code)
  })
  test("signatureExpiry false is obeyed and said aloud, and overlooks nothing else", () => {
    const lax = policyOf({ ...BASE, optionalChecks: { signatureExpiry: false } })
    const verdict = ask({ policy: lax, envelopes: [expiring], trusted })
    expect(verdict.code).toBe("ACCEPTED")
    expect(verdict.checks).toContainEqual(expect.objectContaining({ check: "expiry", outcome: "warn" }))
    const foreign = ours.sign({ expiry: afterSec(-1), profile: "other" })
    expect(codeOf({ policy: lax, envelopes: [foreign] })).toBe("IDENTITY_NOT_TRUSTED")
  })
  test.each([
    [60, "ACCEPTED"],
    [61, "SIGNING_TIME_AHEAD"],
  ])("a signature dated %i s ahead", (sec, code) => {
    expect(codeOf({ envelopes: [ours.sign({ signingTime: afterSec(sec) })] })).toBe(code)
  })
})

describe("revocation (R24, R25, R26)", () => {
  const thumbprint = Buffer.from(sha256(ours.issuer.issuing)).toString("hex")
  test.each<[string, Partial<RevocationList>, string]>([
    ["this number", numbers({ revoked: new Map([[4711, revoked]]) }), "SIGNATURE_REVOKED"],
    ["the next number", numbers({ revoked: new Map([[4712, revoked]]) }), "ACCEPTED"],
    [
      "a void range with it",
      numbers({
        void: [
          [1, 2],
          [4700, 4720],
        ],
      }),
      "NUMBER_VOID",
    ],
    [
      "void ranges around it",
      numbers({
        void: [
          [4700, 4710],
          [4712, 4720],
        ],
      }),
      "ACCEPTED",
    ],
    ["the artifact", { artifacts: new Map([[TARGET.digest, revoked]]) }, "ARTIFACT_REVOKED"],
    ["the issuing certificate", { rules: [{ kind: "certificate", thumbprint, ...revoked }] }, "CERTIFICATE_REVOKED"],
    ["the issuer", { rules: [{ kind: "issuer", issuerKeyId: ours.issuerKeyId, ...revoked }] }, "CERTIFICATE_REVOKED"],
    [
      "the profile from then on",
      { rules: [{ kind: "profile", profile: "web", from: SIGNED_AT, ...revoked }] },
      "PROFILE_REVOKED",
    ],
    [
      "the profile from later on",
      { rules: [{ kind: "profile", profile: "web", from: afterSec(1, SIGNED_AT), ...revoked }] },
      "ACCEPTED",
    ],
    ["another profile", { rules: [{ kind: "profile", profile: "other", from: SIGNED_AT, ...revoked }] }, "ACCEPTED"],
    ["a number that is not settled", numbers({ coveredBelow: 4711 }), "REVOCATION_NOT_COVERED"],
    ["a number that is just settled", numbers({ coveredBelow: 4712 }), "ACCEPTED"],
  ])("a list that has %s", (_, list, code) => {
    expect(codeOf({ trusted: listing({ ...numbers({}), ...list }) })).toBe(code)
  })

  test("a revoked certificate in another encoding: (r, n - s) verifies as (r, s) does, under another thumbprint", () => {
    const signature = ours.signature()
    const leaf = parseCertificate(signature.leaf)
    const [r, s] = [0, 32].map((at) =>
      integerOf(concat(Uint8Array.of(0), ecdsaDerToRaw(leaf.signature, 32).subarray(at, at + 32))),
    )
    const twin = assembleCertificate(
      leaf.tbs,
      "ecdsa-p256-sha256",
      sequence(integer(r as bigint), integer(P256_ORDER - (s as bigint))),
    )
    const envelopes = [signature.assemble([twin, ours.issuer.issuing, ours.issuer.root])]
    expect(codeOf({ envelopes })).toBe("ACCEPTED")
    const name = { issuerKeyId: ours.issuerKeyId, serialHex: hexEncode(leaf.serialBytes) }
    const rule = { kind: "certificate", thumbprint: hexEncode(sha256(signature.leaf)), ...revoked } as const
    const listed = listing({ ...numbers({}), rules: [{ ...rule, ...name }] })
    expect(codeOf({ envelopes, trusted: listed })).toBe("CERTIFICATE_REVOKED")
    expect(codeOf({ envelopes: [signature.bytes], trusted: listed })).toBe("CERTIFICATE_REVOKED")
    const elsewhere = { ...name, issuerKeyId: "cd".repeat(32) }
    expect(codeOf({ envelopes, trusted: listing({ ...numbers({}), rules: [{ ...rule, ...elsewhere }] }) })).toBe(
      "ACCEPTED",
    )
  })

  test("a certificate of a CA that no bundle speaks for falls by any list, and stands by its own CA's CRL alone", () => {
    const signer = makeSigner("ecdsa-p256-sha256")
    const ca = { signer: makeSigner("ecdsa-p256-sha256"), commonName: "Corporate Root" }
    const root = certificate({ ...ca, basicConstraints: { ca: true }, keyUsage: [5, 6] })
    const leaf = certificate({ signer, commonName: "release", keyUsage: [0] }, ca)
    const unsigned = unsignedEnvelope({
      scheme: signer.scheme,
      signingTime: SIGNED_AT,
      target: TARGET,
      sealwright: { issuerKeyId: ca.signer.keyId, serial: Uint8Array.of(77), number: undefined },
    })
    const envelopes = [assembleEnvelope(unsigned, signer.sign(unsigned.signingInput), [leaf, root], "test/1")]
    const policy = policyOf({ trustStore: [{ trustedRoots: [{ root: pemEncode("CERTIFICATE", root) }] }] })
    const rule = (issuer: Signer) =>
      ({
        kind: "certificate",
        thumbprint: "00".repeat(32),
        issuerKeyId: hexEncode(issuer.keyId),
        serialHex: "4d",
        ...revoked,
      }) as const
    const listed = listing({ rules: [rule(ca.signer)] })
    expect(codeOf({ policy, envelopes })).toBe("REVOCATION_UNKNOWN")
    expect(codeOf({ policy, envelopes, trusted: listed })).toBe("CERTIFICATE_REVOKED")
    expect(codeOf({ policy, envelopes, trusted: [beside(other), listed] })).toBe("CERTIFICATE_REVOKED")
    expect(codeOf({ policy, envelopes, trusted: listing({ rules: [rule(signer)] }) })).toBe("REVOCATION_UNKNOWN")
  })

  test.each([
    [59, "ACCEPTED"],
    [60, "ACCEPTED"],
    [61, "REVOCATION_NOT_COVERED"],
  ])("an unsettled number signed %i s before the list", (sec, code) => {
    const date = afterSec(sec, SIGNED_AT)
    expect(codeOf({ trusted: listing(numbers({ coveredBelow: 0 }), date) })).toBe(code)
  })

  test("no bundle, a refused one, and another deployment's are inconclusive", () => {
    expect(codeOf({ trusted: undefined })).toBe("REVOCATION_UNKNOWN")
    expect(codeOf({ trusted: [] })).toBe("REVOCATION_UNKNOWN")
    const refused = ours.open(new Map())
    expect(codeOf({ trusted: refused })).toBe("BUNDLE_MISSING")
    expect(codeOf({ trusted: other.opened(other.publish()) })).toBe("REVOCATION_UNKNOWN")
  })

  test("a list of another deployment that names our issuer is not heard", () => {
    const foreign = beside(other, {
      issuers: new Map([[ours.issuerKeyId, { coveredBelow: 9999, revoked: new Map(), void: [] }]]),
    })
    expect(codeOf({ trusted: foreign })).toBe("REVOCATION_UNKNOWN")
    expect(codeOf({ trusted: [foreign, beside(ours)] })).toBe("ACCEPTED")
  })

  test("T16: stale knowledge is inconclusive, and still revokes", () => {
    expect(codeOf({ now: afterSec(86_400) })).toBe("ACCEPTED")
    expect(codeOf({ now: afterSec(86_401) })).toBe("REVOCATION_STALE")
    const strict = policyOf({ ...BASE, maxStaleSec: 10 })
    expect(codeOf({ policy: strict, now: afterSec(11) })).toBe("REVOCATION_STALE")
    const lax = policyOf({ ...BASE, maxStaleSec: 200_000 })
    expect(codeOf({ policy: lax, now: afterSec(200_000) })).toBe("ACCEPTED")
    const revoking = listing(numbers({ revoked: new Map([[4711, revoked]]) }))
    expect(codeOf({ trusted: revoking, now: afterSec(10 * 86_400) })).toBe("SIGNATURE_REVOKED")
  })

  test("signatureRescinded false is obeyed and said aloud", () => {
    const off = policyOf({ ...BASE, optionalChecks: { signatureRescinded: false } })
    const verdict = ask({
      policy: off,
      envelopes: [envelope],
      trusted: listing(numbers({ revoked: new Map([[4711, revoked]]) })),
    })
    expect(verdict.code).toBe("ACCEPTED")
    expect(verdict.checks).toContainEqual(expect.objectContaining({ check: "revocation", outcome: "warn" }))
    expect(codeOf({ policy: off, trusted: undefined })).toBe("ACCEPTED")
  })

  describe("CRLs of the bundle for an issuer that the list does not number", () => {
    const unknown = { issuers: new Map() }
    const entry = { serial: serialOf(4711), revokedAt: NOW, reason: "keyCompromise" as const }
    const open = (more: object) => ours.opened(ours.publish({ list: unknown, ...more }))
    test("good by every CRL", () => expect(codeOf({ trusted: open({}) })).toBe("ACCEPTED"))
    test("leaf revoked", () => expect(codeOf({ trusted: open({ crlEntries: [entry] }) })).toBe("CERTIFICATE_REVOKED"))
    test("issuer revoked by the root", () => {
      const rootCrlEntries = [{ ...entry, serial: Uint8Array.of(2) }]
      expect(codeOf({ trusted: open({ rootCrlEntries }) })).toBe("CERTIFICATE_REVOKED")
    })
    test("one CRL of two", () => {
      const change = (targets: Map<string, Uint8Array>) => targets.delete(`lists/${ours.issuerKeyId}.crl`)
      expect(codeOf({ trusted: open({ change }) })).toBe("REVOCATION_NOT_COVERED")
    })
    test("carried by the bundle of another publisher, fresh or stale", () => {
      const crls = [...files].filter(([path]) => path.endsWith(".crl"))
      const change = (targets: Map<string, Uint8Array>) => {
        for (const [path, bytes] of crls) targets.set(`lists/${path.split(".")[1]}.crl`, bytes)
      }
      const carrying = other.opened(other.publish({ change }))
      expect(codeOf({ trusted: carrying })).toBe("ACCEPTED")
      expect(codeOf({ trusted: carrying, now: afterSec(86_401) })).toBe("REVOCATION_UNKNOWN")
    })
    test("no CRL", () => expect(codeOf({ trusted: open({ noCrls: true }) })).toBe("REVOCATION_NOT_COVERED"))
  })
})

describe("certificates and envelopes that the service never makes", () => {
  const open = policyOf({ trustStore: STORE })
  const email = (address: string) =>
    extension(EXTENSION.subjectAltName.oid, false, sequence(implicit(1, ascii(address))))
  const issuedBy = { signer: ours.issuer.issuingSigner, commonName: "Test Issuer" }
  const { signer, assemble } = ours.signature()
  const leafWith = (more: readonly Uint8Array[]) =>
    certificate(
      { signer, commonName: "web", serial: BigInt(`0x${hexEncode(serialOf(4711))}`), keyUsage: [0], more },
      issuedBy,
    )
  const above = [ours.issuer.issuing, ours.issuer.root]
  /** Without the headers that name issuer, serial and number. */
  const unnamed = (by: Signer, chain: readonly Uint8Array[]) => {
    const { payload, protected: encoded } = JSON.parse(utf8Decode(envelope))
    const header = JSON.parse(utf8Decode(base64urlDecode(encoded)))
    for (const name of Object.keys(header)) if (name.startsWith("io.sealwright.")) delete header[name]
    const text = base64urlEncode(utf8(JSON.stringify(header)))
    const signingInput = utf8(`${text}.${payload}`)
    const unsigned = { payload, protected: text, signingInput, scheme: by.scheme }
    return assembleEnvelope(unsigned, by.sign(signingInput), chain, "test/1")
  }

  test("no identity, or one of another host, under the publisher's root", () => {
    expect(codeOf({ policy: open, envelopes: [assemble([leafWith([]), ...above])] })).toBe("IDENTITY_MALFORMED")
    const evil = leafWith([email("web@evil.example.test")])
    expect(codeOf({ policy: open, envelopes: [assemble([evil, ...above])] })).toBe("IDENTITY_MALFORMED")
    const right = leafWith([email("web@sign.example.test")])
    expect(codeOf({ policy: open, envelopes: [assemble([right, ...above])] })).toBe("ACCEPTED")
  })
  test("no number", () => {
    const leaf = leafWith([email("web@sign.example.test")])
    expect(codeOf({ policy: open, envelopes: [unnamed(signer, [leaf, ...above])] })).toBe("SIGNATURE_UNNUMBERED")
  })
  test("a self-signed signing key that is trusted itself has nobody to revoke it", () => {
    const own = makeSigner("ecdsa-p256-sha256")
    const self = certificate({ signer: own, commonName: "web", keyUsage: [0] })
    const root = pemEncode("CERTIFICATE", self)
    const direct = { trustStore: [{ trustedRoots: [{ root }] }] }
    const envelopes = [unnamed(own, [self])]
    expect(codeOf({ policy: policyOf(direct), envelopes })).toBe("REVOCATION_UNKNOWN")
    const off = policyOf({ ...direct, optionalChecks: { signatureRescinded: false } })
    const verdict = ask({ policy: off, envelopes, trusted })
    expect(verdict.code).toBe("ACCEPTED")
    expect(verdict.checks).toContainEqual(expect.objectContaining({ check: "anchor", outcome: "warn" }))
  })
})

describe("allow list (R25)", () => {
  const wanted = policyOf({ ...BASE, requireAllowList: true })
  const allowing = (profile: string, repository: string, digest: string) =>
    ours.opened(ours.publish({ allow: { profiles: new Map([[profile, new Map([[repository, [digest]]])]]) } }))
  test.each([
    ["web", "registry.example.test/team/app", TARGET.digest, "ACCEPTED"],
    ["other", "registry.example.test/team/app", TARGET.digest, "NOT_ON_ALLOW_LIST"],
    ["web", "registry.example.test/team/other", TARGET.digest, "NOT_ON_ALLOW_LIST"],
    ["web", "registry.example.test/team/app", elsewhere.digest, "NOT_ON_ALLOW_LIST"],
  ])("%s in %s", (profile, repository, digest, code) => {
    const list = allowing(profile, repository, digest)
    expect(codeOf({ policy: wanted, trusted: list })).toBe(code)
  })
  test("no allow list, a stale one, no reference", () => {
    expect(codeOf({ policy: wanted, trusted: ours.opened(ours.publish({ allow: null })) })).toBe("ALLOW_LIST_UNKNOWN")
    const list = allowing("web", "registry.example.test/team/app", TARGET.digest)
    expect(codeOf({ policy: wanted, trusted: list, now: afterSec(90_000) })).toBe("REVOCATION_STALE")
    expect(codeOf({ policy: wanted, trusted: list, reference: undefined })).toBe("NOT_ON_ALLOW_LIST")
    const unrescinded = policyOf({ ...BASE, requireAllowList: true, optionalChecks: { signatureRescinded: false } })
    expect(codeOf({ policy: unrescinded, trusted: list, now: afterSec(90_000) })).toBe("REVOCATION_STALE")
  })
})

describe("many signatures (R3)", () => {
  test("any good one is enough, whatever stands beside it", () => {
    expect(codeOf({ envelopes: [utf8("{}"), other.sign(), envelope] })).toBe("ACCEPTED")
  })
  test("T5, T29: none, 100 and 101", () => {
    expect(codeOf({ envelopes: [] })).toBe("NO_SIGNATURES")
    const junk = Array.from({ length: 100 }, () => utf8("junk"))
    expect(codeOf({ envelopes: [...junk.slice(1), envelope] })).toBe("ACCEPTED")
    expect(codeOf({ envelopes: junk })).toBe("ENVELOPE_MALFORMED")
    expect(codeOf({ envelopes: [...junk, envelope] })).toBe("TOO_MANY_SIGNATURES")
  })
  test("what could not be decided outweighs what was refused", () => {
    const late = ours.sign({ number: 6000 })
    expect(codeOf({ envelopes: [utf8("{}"), late, ours.sign({ profile: "other" })] })).toBe("REVOCATION_NOT_COVERED")
  })
})

describe("parties (R22)", () => {
  const web = { name: "web", identities: ["web@sign.example.test"] }
  const second = { name: "other", identities: ["other@sign.example.test"] }
  const company = { name: "company", trustedRoots: [{ root: other.rootPem }], identities: ["web@sign.example.test"] }
  const both = policyOf({ trustStore: STORE, parties: [web, second] })
  const signedByOther = ours.sign({ profile: "other", number: 4720 })

  test("all of them by default", () => {
    expect(codeOf({ policy: both, envelopes: [envelope, signedByOther] })).toBe("ACCEPTED")
    expect(codeOf({ policy: both, envelopes: [envelope] })).toBe("PARTIES_MISSING")
  })
  test("T12: two signatures of one party count once", () => {
    expect(codeOf({ policy: both, envelopes: [envelope, ours.sign({ number: 4721 }), envelope] })).toBe(
      "PARTIES_MISSING",
    )
  })
  test("one signer never counts for two parties", () => {
    const anyone = policyOf({
      trustStore: STORE,
      parties: [web, { name: "anyone", trustedRoots: [{ root: ours.rootPem }] }],
    })
    expect(codeOf({ policy: anyone, envelopes: [envelope, ours.sign({ number: 4722 })] })).toBe("PARTIES_MISSING")
    for (const envelopes of [
      [envelope, signedByOther],
      [signedByOther, envelope],
    ])
      expect(codeOf({ policy: anyone, envelopes })).toBe("ACCEPTED")
  })
  test("k of n, over two deployments", () => {
    const two = policyOf({ trustStore: STORE, parties: [web, second, company], require: { atLeast: 2 } })
    const both = [beside(ours), beside(other)]
    const envelopes = [envelope, other.sign()]
    expect(codeOf({ policy: two, envelopes, trusted: both })).toBe("ACCEPTED")
    expect(codeOf({ policy: two, envelopes, trusted: both.slice(0, 1) })).toBe("PARTIES_UNDECIDED")
    expect(codeOf({ policy: two, envelopes: [envelope], trusted: both })).toBe("PARTIES_MISSING")
  })
  test("three signers for two places", () => {
    const identities = ["web", "other", "third"].map((name) => `${name}@sign.example.test`)
    const places = [{ name: "a", identities }, { name: "b", identities }, company]
    const crowded = policyOf({ trustStore: STORE, parties: places })
    const envelopes = [envelope, signedByOther, ours.sign({ profile: "third", number: 4730 })]
    expect(codeOf({ policy: crowded, envelopes })).toBe("PARTIES_MISSING")
    expect(codeOf({ policy: policyOf({ trustStore: STORE, parties: places.slice(0, 2) }), envelopes })).toBe("ACCEPTED")
  })
  test("one of two is enough when one is asked for", () => {
    const one = policyOf({ trustStore: STORE, parties: [web, second], require: { atLeast: 1 } })
    expect(codeOf({ policy: one, envelopes: [signedByOther] })).toBe("ACCEPTED")
    expect(codeOf({ policy: one, envelopes: [other.sign()] })).toBe("CHAIN_NOT_TRUSTED")
  })
})

describe("without a signature (R21)", () => {
  const listed = policyOf({ ...BASE, trustedArtifacts: [TARGET.digest] })
  const unsigned = policyOf({ ...BASE, signatureCheck: false })
  test.each([
    ["a trusted artifact", listed, "TRUSTED_ARTIFACT"],
    ["a policy without signature check", unsigned, "SIGNATURE_CHECK_OFF"],
  ])("%s is accepted, and said aloud", (_, lax, code) => {
    const verdict = ask({ policy: lax, envelopes: [], trusted })
    expect(verdict.code).toBe(code)
    expect(verdict.checks).toContainEqual(expect.objectContaining({ check: "signature", outcome: "warn" }))
    const denied = listing({ artifacts: new Map([[TARGET.digest, revoked]]) })
    expect(codeOf({ policy: lax, envelopes: [], trusted: denied })).toBe("ARTIFACT_REVOKED")
    expect(codeOf({ policy: lax, envelopes: [], trusted: undefined })).toBe("REVOCATION_UNKNOWN")
    expect(codeOf({ policy: lax, envelopes: [], trusted: ours.open(new Map()) })).toBe("BUNDLE_MISSING")
    expect(codeOf({ policy: lax, envelopes: [], now: afterSec(90_000) })).toBe("REVOCATION_STALE")
  })
  test("another artifact is not trusted with it", () => {
    expect(codeOf({ policy: listed, artifact: elsewhere, envelopes: [] })).toBe("NO_SIGNATURES")
  })
  test("the narrowest scope decides which checks run", () => {
    const scoped = policyOf({
      ...BASE,
      signatureCheck: false,
      scopes: {
        "registry.example.test": { signatureCheck: false },
        "registry.example.test/team/app": { signatureCheck: true },
      },
    })
    expect(codeOf({ policy: scoped, envelopes: [] })).toBe("NO_SIGNATURES")
    expect(codeOf({ policy: scoped, envelopes: [], reference: "registry.example.test/x" })).toBe("SIGNATURE_CHECK_OFF")
  })
})

test("R34: one event for each signature and one for the verdict, with text and remedy", () => {
  const { events } = ask({ policy, envelopes: [utf8("{}"), ours.sign({ profile: "other" })], trusted })
  expect(events.map(({ event, outcome, code }) => ({ event, outcome, code }))).toEqual([
    { event: "signature", outcome: "rejected", code: "ENVELOPE_MALFORMED" },
    { event: "signature", outcome: "rejected", code: "IDENTITY_NOT_TRUSTED" },
    { event: "verdict", outcome: "rejected", code: "IDENTITY_NOT_TRUSTED" },
  ])
  for (const event of events) {
    expect(event).toMatchObject({ time: "2026-06-01T12:00:00Z", artifact: TARGET.digest, reference: REFERENCE })
    expect(event.text).not.toBe("")
    expect(event.remedy).not.toBe("")
  }
})

test("text of others reaches no terminal with control characters", () => {
  const verdict = ask({ policy, envelopes: [utf8('{"\\u001b[2J\\u202e":1}')], trusted, reference: undefined })
  expect(JSON.stringify(verdict)).not.toMatch(/\\u001b|\u202e/)
})

test("every code has a text and a remedy, and only three accept", () => {
  const rows = Object.entries(VERDICT_CODES)
  for (const [, row] of rows) expect(row.text !== "" && row.remedy !== "").toBe(true)
  expect(rows.filter(([, row]) => row.verdict === "accepted").map(([code]) => code)).toEqual([
    "ACCEPTED",
    "TRUSTED_ARTIFACT",
    "SIGNATURE_CHECK_OFF",
  ])
})

test.each([
  ["no artifact", { artifact: undefined }],
  ["text as an envelope", { envelopes: ["x"] }],
  ["a policy made by hand", { policy: {} }],
  ["no time", { now: new Date(Number.NaN) }],
  ["a bundle that was not opened", { trusted: {} }],
])("misuse is a TypeError: %s", (_, change) => {
  const input = { artifact: TARGET, envelopes: [], policy, now: NOW, ...change } as unknown as VerifyInput
  expect(() => runSync(verify(input))).toThrow(TypeError)
})
