import { existsSync, readFileSync } from "node:fs"
import { utf8 } from "@sealwright/formats/bytes"
import { parseReference } from "@sealwright/formats/oci-reference"
import { pemEncode } from "@sealwright/formats/pem"
import { parseCertificate } from "@sealwright/formats/x509"
import { importNotationPolicy, policyForReference } from "@sealwright/verifier/notation-policy"
import { identityMatches, loadTrustPolicy, parseIdentity } from "@sealwright/verifier/trust-policy"
import { loadTrustStore, parseScope, scopeMatches } from "@sealwright/verifier/trust-store"
import { describe, expect, test } from "vitest"
import { makeSigner, NOW, TARGET } from "../support/chains.ts"
import { ask, Deployment } from "../support/deployment.ts"

const ours = new Deployment()
const leaf = ours.signature().leaf
const nothing = () => undefined
const VECTORS = "../shared/vectors/notary-v2"

function load(trustPolicy: unknown, readFile: (name: string) => Uint8Array | undefined = nothing) {
  return loadTrustPolicy(utf8(JSON.stringify({ trustPolicy })), readFile)
}

function codeOf(trustPolicy: unknown): string {
  const outcome = load(trustPolicy)
  return outcome.ok ? "ok" : outcome.code
}

const stores = (...roots: unknown[]) => ({ trustStore: [{ trustedRoots: roots }] })

describe("the samples of the Notary v2 requirements (R20, R21)", () => {
  const there = existsSync(VECTORS)
  test.runIf(there)("the policy with its two stores loads as it is printed", () => {
    const store = readFileSync(`${VECTORS}/truststore.json`)
    const names: string[] = []
    const readFile = (name: string) => {
      names.push(name)
      return name === "truststore.json" ? store : utf8(ours.rootPem)
    }
    const outcome = loadTrustPolicy(readFileSync(`${VECTORS}/trustpolicy.json`), readFile)
    expect(names).toEqual(["truststore.json", "test.crt"])
    expect(outcome).toMatchObject({
      ok: true,
      policy: { checks: { signature: true, expiry: true, rescinded: false }, trustedArtifacts: [], atLeast: 1 },
    })
    if (!outcome.ok) return
    expect(outcome.policy.parties[0]?.entities.map(({ kind, scope }) => [kind, scope.kind])).toEqual([
      ["root", "any"],
      ["root", "registry"],
      ["root", "any"],
    ])
    expect(outcome.warnings.some((text) => text.includes("signatureRescinded"))).toBe(true)
    process.stdout.write("notary-v2: 2 sample files\n")
  })
  test.runIf(!there)("samples missing", () => {
    process.stdout.write(`notary-v2: ${VECTORS} is not there\n`)
  })
})

describe("trust store", () => {
  const signer = makeSigner("ecdsa-p256-sha256")
  test("R20: roots, intermediates, signing keys and key repositories are told apart", () => {
    const own = pemEncode("CERTIFICATE", ours.issuer.leaf({ signer, number: 1 }))
    const roots = [ours.rootPem, pemEncode("CERTIFICATE", ours.issuer.issuing), own, "https://tuf.example.test"]
    const outcome = load(stores(...roots.map((root) => ({ root }))))
    expect(outcome.ok && outcome.policy.parties[0]?.entities.map(({ kind }) => kind)).toEqual([
      "root",
      "intermediate",
      "signing key",
      "key repository",
    ])
    expect(outcome.ok && outcome.warnings.filter((text) => text.includes("rotation")).length).toBe(1)
  })
  test("DER and PEM files", () => {
    for (const bytes of [ours.issuer.root, utf8(ours.rootPem), utf8(`  ${ours.rootPem.replaceAll("\n", "\r\n   ")}`)])
      expect(load(stores({ root: "root.crt" }), () => bytes).ok).toBe(true)
  })
  test.each([
    ["a file that is not there", stores({ root: "gone.crt" }), "STORE_MISSING"],
    ["a store that is not there", { trustStore: ["gone.json"] }, "STORE_MISSING"],
    ["an empty name", stores({ root: " " }), "POLICY_MALFORMED"],
    [
      "PEM of another label",
      stores({ root: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----" }),
      "POLICY_MALFORMED",
    ],
    [
      "PEM that is no certificate",
      stores({ root: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----" }),
      "STORE_MALFORMED",
    ],
    ["a scope outside the grammar", stores({ root: "https://t.example", scope: "Registry/App" }), "POLICY_MALFORMED"],
    ["an unknown member", stores({ root: "https://t.example", scpe: "x" }), "POLICY_MALFORMED"],
  ])("%s", (_, policy, code) => expect(codeOf(policy)).toBe(code))
  test("a store alone", () => {
    const bytes = (value: unknown) => utf8(JSON.stringify(value))
    expect(loadTrustStore(bytes({ trustedRoots: [{ root: ours.rootPem }] }), nothing).ok).toBe(true)
    expect(loadTrustStore(bytes({}), nothing)).toMatchObject({ ok: false, code: "STORE_MALFORMED" })
    expect(loadTrustStore(utf8("{"), nothing)).toMatchObject({ ok: false, code: "STORE_MALFORMED" })
  })
})

describe("scopes", () => {
  test.each([
    ["r.example", "r.example/a", true],
    ["r.example", "r.example:5000/a", false],
    ["r.example", "xr.example/a", false],
    ["r.example:5000", "r.example:5000/a", true],
    ["r.example/a", "r.example/a:1", true],
    ["r.example/a", "r.example/a/b", false],
    ["r.example/a", "r.example/ab", false],
    ["r.example/a", "x.example/a", false],
    ["r.example/a:1", "r.example/a:1", true],
    ["r.example/a:1", "r.example/a:10", false],
    ["r.example/a:1", "r.example/a", false],
    [`r.example/a@${TARGET.digest}`, "r.example/a", true],
    [`r.example/a:1@${TARGET.digest}`, "r.example/a:2", false],
  ])("%s covers %s: %s", (scope, reference, covers) => {
    expect(scopeMatches(parseScope(scope), parseReference(reference), TARGET.digest)).toBe(covers)
  })
  test("nothing but any source covers an artifact without a name", () => {
    expect(scopeMatches({ kind: "any" }, undefined, TARGET.digest)).toBe(true)
    expect(scopeMatches(parseScope("r.example"), undefined, TARGET.digest)).toBe(false)
  })
})

describe("policy members", () => {
  const root = { root: ours.rootPem }
  const web = { name: "web", identities: ["web@sign.example.test"] }
  test.each([
    ["no trust store", {}, "POLICY_MALFORMED"],
    ["an unknown member", { ...stores(root), signatureChek: true }, "POLICY_MALFORMED"],
    ["a check that is text", { ...stores(root), signatureCheck: "false" }, "POLICY_MALFORMED"],
    ["an artifact that is no digest", { ...stores(root), trustedArtifacts: ["app:1"] }, "POLICY_MALFORMED"],
    ["an unknown algorithm", { ...stores(root), algorithms: ["none"] }, "POLICY_MALFORMED"],
    ["no algorithm", { ...stores(root), algorithms: [] }, "POLICY_MALFORMED"],
    ["no identity", { ...stores(root), trustedIdentities: [] }, "POLICY_MALFORMED"],
    ["a negative age", { ...stores(root), maxStaleSec: -1 }, "POLICY_MALFORMED"],
    ["no party", { ...stores(root), parties: [] }, "POLICY_MALFORMED"],
    ["a party twice", { ...stores(root), parties: [web, web] }, "POLICY_MALFORMED"],
    ["a party of nobody", { ...stores(root), parties: [{ name: "x" }] }, "POLICY_MALFORMED"],
    ["T13: no party required", { ...stores(root), parties: [web], require: { atLeast: 0 } }, "POLICY_MALFORMED"],
    ["T13: more than there are", { ...stores(root), parties: [web], require: { atLeast: 2 } }, "POLICY_MALFORMED"],
    ["a requirement without parties", { ...stores(root), require: "all" }, "POLICY_MALFORMED"],
    [
      "identities beside parties",
      { ...stores(root), parties: [web], trustedIdentities: ["a@b.c"] },
      "POLICY_MALFORMED",
    ],
    ["a scope outside the grammar", { ...stores(root), scopes: { "*": {} } }, "POLICY_MALFORMED"],
    [
      "all members",
      {
        ...stores(root),
        signatureCheck: true,
        optionalChecks: { signatureExpiry: true, signatureRescinded: true },
        trustedArtifacts: [TARGET.digest],
        parties: [web],
        require: "all",
        scopes: { "r.example": { optionalChecks: { signatureExpiry: false } } },
        algorithms: ["ecdsa-p256-sha256"],
        maxStaleSec: 3600,
        requireAllowList: true,
        requireLog: true,
        logPolicy: "quorum none\n",
      },
      "ok",
    ],
  ])("%s", (_, policy, code) => expect(codeOf(policy)).toBe(code))

  test("raw line breaks stand inside PEM and nowhere else", () => {
    const raw = (root: string) => utf8(`{"trustPolicy":{"trustStore":[{"trustedRoots":[{"root":"${root}"}]}]}}`)
    expect(loadTrustPolicy(raw(ours.rootPem), nothing).ok).toBe(true)
    expect(loadTrustPolicy(raw("test\n.crt"), nothing)).toMatchObject({ ok: false, code: "POLICY_MALFORMED" })
  })
  test("a failure of the caller's reader passes through", () => {
    const read = () => {
      throw new RangeError("disk")
    }
    expect(() => load({ trustStore: ["x"] }, read)).toThrow(RangeError)
  })
})

describe("identities", () => {
  const certificate = parseCertificate(leaf)
  test.each([
    ["web@sign.example.test", true],
    ["other@sign.example.test", false],
    ["WEB@sign.example.test", false],
    ["x509.subject: C=DE, ST=Berlin, O=Wabbit Networks", true],
    ["x509.subject:CN=web,O=Wabbit Networks,S=Berlin,C=DE", true],
    ["x509.subject: C=DE, ST=Berlin, O=Wabbit", false],
    ["x509.subject: C=DE, ST=Berlin, O=Wabbit Networks, CN=other", false],
    ["x509.subject: C=DE, ST=Berlin, O=Wabbit Networks, OU=x", false],
  ])("%s: %s", (text, matches) => expect(identityMatches(parseIdentity(text), certificate)).toBe(matches))
  test.each([
    "web",
    "*",
    "web@Sign.example.test",
    "a b@c.d",
    "x509.subject: C=DE, ST=Berlin",
    "x509.subject: C=DE, C=FR, ST=a, O=b",
    "x509.subject: C=DE, ST=a, O=#04",
    "x509.subject: C=DE, ST=a+L=b, O=c",
    "x509.subject: C=DE, ST=a, O=c, XX=d",
    "x509.subject: C=DE, ST=a, O=",
  ])("%s is refused", (text) => {
    expect(() => parseIdentity(text)).toThrow(expect.objectContaining({ code: "SHAPE_MISMATCH" }))
  })
  test("a subject with a multi-valued or repeated attribute matches nothing", () => {
    const wanted = parseIdentity("x509.subject: C=DE, ST=Berlin, O=Wabbit Networks")
    const { rdns } = certificate.subject
    const [country = [], ...rest] = rdns
    const second = { oid: "2.5.4.11", value: "x" }
    for (const changed of [
      [[...country, second], ...rest],
      [...rdns, country],
    ])
      expect(identityMatches(wanted, { ...certificate, subject: { ...certificate.subject, rdns: changed } })).toBe(
        false,
      )
  })
  test("an escaped comma belongs to the value", () => {
    const identity = parseIdentity("x509.subject: C=DE, ST=a, O=b\\, Inc.")
    expect(identity.kind === "subject" && [...identity.attributes.values()]).toEqual(["DE", "a", "b, Inc."])
  })
})

describe("notation's trustpolicy.json", () => {
  const statement = {
    name: "images",
    registryScopes: ["registry.example.test/team/app"],
    signatureVerification: { level: "strict" },
    trustStores: ["signingAuthority:wabbit"],
    trustedIdentities: ["x509.subject: C=DE, ST=Berlin, O=Wabbit Networks, CN=web"],
  }
  const types: string[] = []
  const readStore = (type: string, name: string) => {
    types.push(type)
    return name === "wabbit" ? [utf8(ours.rootPem)] : undefined
  }
  const take = (...statements: unknown[]) =>
    importNotationPolicy(utf8(JSON.stringify({ version: "1.0", trustPolicies: statements })), readStore)
  const verify = (change: object, reference = "registry.example.test/team/app:1.0") => {
    const outcome = take({ ...statement, ...change })
    if (!outcome.ok) return outcome.code
    const policy = policyForReference(outcome.statements, parseReference(reference))
    const trusted = ours.opened(ours.publish())
    return policy === undefined ? "none" : ask({ policy, envelopes: [ours.sign()], trusted, reference, now: NOW }).code
  }
  const level = (level: string, override?: object) => ({
    signatureVerification: { level, ...(override && { override }) },
  })

  test.each<[string, object, string]>([
    ["strict", {}, "ACCEPTED"],
    [
      "another identity",
      { trustedIdentities: ["x509.subject: C=DE, ST=Berlin, O=Wabbit Networks, CN=other"] },
      "IDENTITY_NOT_TRUSTED",
    ],
    ["any identity", { trustedIdentities: ["*"] }, "ACCEPTED"],
    ["a store of the other scheme", { trustStores: ["ca:wabbit"] }, "IDENTITY_NOT_TRUSTED"],
    ["both stores", { trustStores: ["ca:wabbit", "signingAuthority:wabbit"] }, "ACCEPTED"],
    ["all repositories", { registryScopes: ["*"] }, "ACCEPTED"],
    ["other repositories", { registryScopes: ["registry.example.test/other"] }, "none"],
    ["permissive", level("permissive"), "POLICY_UNSUPPORTED"],
    ["permissive with timestamps enforced", level("permissive", { authenticTimestamp: "enforce" }), "ACCEPTED"],
    ["audit", level("audit"), "POLICY_UNSUPPORTED"],
    ["strict without revocation", level("strict", { revocation: "skip" }), "ACCEPTED"],
    ["integrity overridden", level("strict", { integrity: "log" }), "POLICY_MALFORMED"],
    ["expiry skipped", level("strict", { expiry: "skip" }), "POLICY_MALFORMED"],
    ["a timestamp store", { trustStores: ["signingAuthority:wabbit", "tsa:wabbit"] }, "ACCEPTED"],
    ["a store that is not there", { trustStores: ["ca:gone"] }, "STORE_MISSING"],
    ["a store that leaves its folder", { trustStores: ["ca:.."] }, "POLICY_MALFORMED"],
    ["a store with a path", { trustStores: ["ca:a/b"] }, "POLICY_MALFORMED"],
    ["a wildcard among repositories", { registryScopes: ["*", "r.example/a"] }, "POLICY_MALFORMED"],
    ["a wildcard within a repository", { registryScopes: ["r.example/*"] }, "POLICY_MALFORMED"],
    [
      "overlapping identities",
      { trustedIdentities: ["x509.subject: C=DE, ST=Berlin, O=a", "x509.subject: C=DE, ST=Berlin, O=a, CN=b"] },
      "POLICY_MALFORMED",
    ],
    ["an identity of another kind", { trustedIdentities: ["did:web:x"] }, "POLICY_UNSUPPORTED"],
    ["no identities", { trustedIdentities: undefined }, "POLICY_MALFORMED"],
    ["a policy for blobs", { globalPolicy: true }, "POLICY_UNSUPPORTED"],
    ["skip with stores", level("skip"), "POLICY_MALFORMED"],
    ["skip", { ...level("skip"), trustStores: undefined, trustedIdentities: undefined }, "SIGNATURE_CHECK_OFF"],
    [
      "skip for everything",
      { ...level("skip"), registryScopes: ["*"], trustStores: undefined, trustedIdentities: undefined },
      "POLICY_MALFORMED",
    ],
  ])("%s", (_, change, code) => expect(verify(change)).toBe(code))

  test("stores are asked for by their type", () =>
    expect(new Set(types)).toEqual(new Set(["ca", "signingAuthority", "tsa"])))
  test("log-only revocation is off and said aloud", () => {
    const outcome = take({ ...statement, ...level("strict", { revocation: "log", expiry: "log" }) })
    expect(outcome.ok && outcome.statements[0]?.policy.checks).toEqual({
      signature: true,
      expiry: false,
      rescinded: false,
    })
  })
  test("the repository's own statement beats the one for all; names and scopes are unique", () => {
    const all = { ...statement, name: "all", registryScopes: ["*"] }
    const outcome = take(all, statement)
    const policy =
      outcome.ok && policyForReference(outcome.statements, parseReference("registry.example.test/team/app"))
    expect(outcome.ok && policy === outcome.statements[1]?.policy).toBe(true)
    expect(take(statement, { ...statement, name: "again" })).toMatchObject({ code: "POLICY_MALFORMED" })
    expect(take(statement, { ...statement, registryScopes: ["*"] })).toMatchObject({ code: "POLICY_MALFORMED" })
  })
  test("another version", () => {
    const outcome = importNotationPolicy(
      utf8(JSON.stringify({ version: "2.0", trustPolicies: [statement] })),
      readStore,
    )
    expect(outcome).toMatchObject({ ok: false, code: "POLICY_MALFORMED" })
  })
})
