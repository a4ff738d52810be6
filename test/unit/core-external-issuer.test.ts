import { createIssuer } from "@sealwright/core/admin/ceremony"
import { subjectName } from "@sealwright/core/admin/certificates"
import { activateIssuer, requestIssuer } from "@sealwright/core/admin/external"
import { findPendingIssuer, listPendingIssuers, readDeployment, readIssuer } from "@sealwright/core/ledger/trust"
import { newestTargets } from "@sealwright/core/ledger/tuf-documents"
import { integer, sequence } from "@sealwright/formats/der-write"
import { assembleEnvelope, unsignedEnvelope } from "@sealwright/formats/notary-jws"
import { parseTrustBundle } from "@sealwright/formats/trust-bundle"
import { parseCertificate } from "@sealwright/formats/x509"
import { KEY_PURPOSE, KEY_USAGE } from "@sealwright/formats/x509-extensions"
import {
  assembleCertificate,
  distinguishedName,
  extension,
  leafTbs,
  subjectKeyIdentifier,
} from "@sealwright/formats/x509-write"
import { describe, expect, test } from "vitest"
import { type AuthorityChange, certifyOutside } from "../support/authority.ts"
import { at, makeSigner, serialOf } from "../support/chains.ts"
import { ADMIN, createService, NAMES, signRequest } from "../support/service.ts"
import { verdictOf } from "../support/verdicts.ts"
import { auditOf, expectSound, published, withCode } from "./core-published.ts"

const CORP = { name: "corp", algorithm: "ecdsa-p256-sha256" } as const

async function requested() {
  const service = createService()
  await service.setUp()
  const pending = await requestIssuer(service.ports, CORP, ADMIN)
  const activate = (change: AuthorityChange = {}, chain = certifyOutside(pending.key.spki, change)) =>
    activateIssuer(service.ports, "corp", chain, ADMIN)
  return { service, pending, activate }
}

async function activated() {
  const { service, pending, activate } = await requested()
  await activate()
  await service.profile("release", { issuer: "corp" })
  return { service, pending, activate }
}

describe("an issuer that an outside authority certifies (R5, R31)", () => {
  test("a repeat answers the same request, and nothing can be signed before the certificate is there", async () => {
    const { service, pending } = await requested()
    service.pass(60)
    expect(await requestIssuer(service.ports, CORP, ADMIN)).toEqual(pending)
    expect(await listPendingIssuers(service.ports.table)).toEqual([pending])
    await expect(service.profile("release", { issuer: "corp" })).rejects.toThrow(withCode("ISSUER_PENDING"))
    await service.publish()
    expect(
      published(service)
        .registry()
        .issuers.map(({ name }) => name),
    ).toEqual(["ci"])
    expectSound(service)
  })

  test("a name is one issuer's, whoever certifies it", async () => {
    const { service } = await requested()
    const refused = withCode("ALREADY_EXISTS")
    await expect(createIssuer(service.ports, { ...CORP, days: 10 }, ADMIN)).rejects.toThrow(refused)
    await expect(requestIssuer(service.ports, { ...CORP, name: "ci" }, ADMIN)).rejects.toThrow(refused)
    await expect(requestIssuer(service.ports, { ...CORP, algorithm: "rsa-pss-sha384" }, ADMIN)).rejects.toThrow(refused)
  })

  test("signs under its chain, which deployers verify up to the outside root (R6)", async () => {
    const { service, pending } = await activated()
    const [outcome] = await service.signer()(signRequest(["a"]))
    if (outcome === undefined || !("signed" in outcome)) throw new Error("not signed")
    await service.publish()
    const { signed } = outcome
    expect(signed.issuerKeyId).toBe(pending.issuerKeyId)
    const envelope = signed.envelopes[0]?.bytes as Uint8Array
    expect(verdictOf(service, envelope, signed.subject.digest)).toMatchObject({ verdict: "accepted", code: "ACCEPTED" })
    await service.revoke({ kind: "issuer", issuer: "corp" })
    await service.publish()
    expect(verdictOf(service, envelope, signed.subject.digest)).toMatchObject({ code: "CERTIFICATE_REVOKED" })
    const { root } = await readDeployment(service.ports.table)
    expect(published(service).crl(root.issuerKeyId).entries.size).toBe(0)
    expect(expectSound(service)).toBe(1)
  })

  test("a namesake that another CA below the outside root certified does not count (R23)", async () => {
    const { service } = await activated()
    await service.publish()
    const thief = makeSigner("ecdsa-p256-sha256")
    const leafKey = makeSigner("ecdsa-p256-sha256")
    const [sibling, ...above] = certifyOutside(thief.spki, { issuer: { signer: thief, commonName: "Other CA" } })
    const now = service.ports.clock()
    const tbs = leafTbs({
      serial: serialOf(7),
      scheme: thief.scheme,
      issuer: parseCertificate(sibling as Uint8Array).subject.der,
      notBefore: now,
      notAfter: new Date(now.getTime() + 600_000),
      subject: distinguishedName({
        country: NAMES.country,
        stateOrProvince: NAMES.state,
        organization: NAMES.organisation,
        commonName: "release",
      }),
      spki: leafKey.spki,
      subjectKeyId: subjectKeyIdentifier(leafKey.keyId),
      authorityKeyId: subjectKeyIdentifier(thief.keyId),
      email: `release@${NAMES.identityHost}`,
      issuerUrl: `https://${NAMES.identityHost}`,
      crlUrl: `http://${NAMES.crlHost}/crl/x.crl`,
    })
    const target = signRequest(["a"]).subjects[0]
    if (target === undefined) throw new Error("no subject")
    const unsigned = unsignedEnvelope({
      scheme: leafKey.scheme,
      authenticSigningTime: now,
      target: { mediaType: target.mediaType, digest: target.digest, size: target.size },
      sealwright: { issuerKeyId: thief.keyId, serial: serialOf(7), number: 7 },
    })
    const leaf = assembleCertificate(tbs, thief.scheme, thief.sign(tbs))
    const chain = [leaf, sibling as Uint8Array, ...above]
    const forged = assembleEnvelope(unsigned, leafKey.sign(unsigned.signingInput), chain, "x/1")
    expect(verdictOf(service, forged, target.digest)).toMatchObject({
      verdict: "inconclusive",
      code: "ISSUER_NOT_REGISTERED",
    })
  })

  test("its root joins the trust bundle under a new version of targets, and notation's own store for its profiles", async () => {
    const { service } = await activated()
    await service.profile("own", { repositories: ["registry.wabbit-networks.io/own"] })
    await service.publish()
    const { root } = await readDeployment(service.ports.table)
    const { chain } = await readIssuer(service.ports.table, "corp")
    const targets = await newestTargets(service.ports.table)
    expect(targets.version).toBe(2)
    expect(parseTrustBundle(targets.trustBundle)).toMatchObject({
      roots: [root.certificate],
      externalRoots: chain.slice(-1),
    })
    const tree = published(service).notation()
    expect(
      tree.trustPolicy.trustPolicies.map(({ name, trustStores }: Record<string, unknown>) => [name, trustStores]),
    ).toEqual([
      ["own", ["signingAuthority:sealwright"]],
      ["release", ["signingAuthority:sealwright-issuer-corp"]],
    ])
    expect(tree.externalStores).toEqual([
      {
        type: "signingAuthority",
        name: "sealwright-issuer-corp",
        certificates: chain.slice(-1).map((der) => Buffer.from(der).toString("base64")),
      },
    ])
  })

  test("a repeat answers the issuer, another chain is refused, and each act is written down once (R12)", async () => {
    const { service, pending, activate } = await requested()
    const chain = certifyOutside(pending.key.spki)
    const issuer = await activate({}, chain)
    service.pass(60)
    expect(await activate({}, chain)).toEqual(issuer)
    expect(await requestIssuer(service.ports, CORP, ADMIN)).toEqual(issuer)
    expect(await findPendingIssuer(service.ports.table, "corp")).toBeUndefined()
    await expect(activate({ issuer: { serial: 78n } })).rejects.toThrow(withCode("ALREADY_EXISTS"))
    await expect(activateIssuer(service.ports, "nobody", chain, ADMIN)).rejects.toThrow(withCode("ISSUER_UNKNOWN"))
    const acts = auditOf(service).map(({ action }) => action)
    expect(acts.filter((action) => String(action).startsWith("issuer.")).sort()).toEqual([
      "issuer.activate",
      "issuer.create",
      "issuer.request",
    ])
  })

  test("a profile may be called as its issuer is, unless the authority gave the issuer that very name", async () => {
    const { service, activate } = await requested()
    await activate({ issuer: { subject: subjectName(NAMES, "release") } })
    await expect(service.profile("release", { issuer: "corp" })).rejects.toThrow(withCode("ALREADY_EXISTS"))
    for (const [name, issuer] of [
      ["corp", "corp"],
      ["ci", "ci"],
    ] as const) {
      await service.profile(name, { issuer })
      const [outcome] = await service.signer()(signRequest(["a"], { profile: name }))
      if (outcome === undefined || !("signed" in outcome)) throw new Error("not signed")
      await service.publish()
      const bytes = outcome.signed.envelopes[0]?.bytes as Uint8Array
      expect(verdictOf(service, bytes, outcome.signed.subject.digest, name).code).toBe("ACCEPTED")
    }
  })

  test("two that are activated at once both stand in the trust bundle", async () => {
    const { service, activate } = await requested()
    const other = await requestIssuer(service.ports, { ...CORP, name: "other" }, ADMIN)
    const elsewhere = makeSigner("ecdsa-p256-sha256")
    const root = { signer: elsewhere, commonName: "Elsewhere Root" }
    await Promise.all([
      activate(),
      activateIssuer(service.ports, "other", certifyOutside(other.key.spki, { root }), ADMIN),
    ])
    await service.publish()
    expect(parseTrustBundle((await newestTargets(service.ports.table)).trustBundle).externalRoots).toHaveLength(2)
    expectSound(service)
  })
})

const CA = [KEY_USAGE.keyCertSign, KEY_USAGE.cRLSign]
const past = { notAfter: at("2026-11-20T00:00:00Z") }
const future = { notBefore: at("2026-12-01T00:00:00Z") }
const constraint = (oid: string) => [extension(oid, true, sequence(integer(1n)))]

describe("a chain that deployers' verifiers would refuse is refused here, with what to mend (R5, R18)", () => {
  test.each<[string, string, AuthorityChange]>([
    ["an issuer that has expired", "ISSUER_EXPIRED", { issuer: past }],
    ["a policy CA that has expired", "ISSUER_EXPIRED", { policy: past }],
    ["an issuer that is not valid yet", "ISSUER_NOT_YET_VALID", { issuer: future }],
    ["an issuer without cA", "ISSUER_NOT_CA", { issuer: { basicConstraints: { ca: false } } }],
    ["an issuer without basicConstraints", "ISSUER_NOT_CA", { issuer: { basicConstraints: null } }],
    [
      "basicConstraints that are not critical",
      "ISSUER_NOT_CA",
      { issuer: { basicConstraints: { ca: true, critical: false } } },
    ],
    [
      "a policy CA with room for leaves alone",
      "ISSUER_PATH_LENGTH",
      { policy: { basicConstraints: { ca: true, pathLength: 0 } } },
    ],
    ["a root with room for one CA", "ISSUER_PATH_LENGTH", { root: { basicConstraints: { ca: true, pathLength: 0 } } }],
    ["an issuer without keyCertSign", "ISSUER_KEY_USAGE", { issuer: { keyUsage: [KEY_USAGE.cRLSign] } }],
    ["an issuer without cRLSign", "ISSUER_KEY_USAGE", { issuer: { keyUsage: [KEY_USAGE.keyCertSign] } }],
    ["an issuer without keyUsage", "ISSUER_KEY_USAGE", { issuer: { keyUsage: null } }],
    ["keyUsage that is not critical", "ISSUER_KEY_USAGE", { issuer: { keyUsage: CA, keyUsageCritical: false } }],
    ["an issuer for servers", "ISSUER_KEY_PURPOSE", { issuer: { extKeyUsage: [KEY_PURPOSE.serverAuth] } }],
    ["a policy CA for e-mail", "ISSUER_KEY_PURPOSE", { policy: { extKeyUsage: [KEY_PURPOSE.emailProtection] } }],
    ["name constraints", "ISSUER_CHAIN_CONSTRAINED", { policy: { more: constraint("2.5.29.30") } }],
    ["an unknown critical extension", "ISSUER_CHAIN_CONSTRAINED", { issuer: { more: constraint("1.2.3.4") } }],
    ["an issuer that outlives its CA", "ISSUER_OUTLIVES_CA", { issuer: { notAfter: at("2042-01-01T00:00:00Z") } }],
    ["a policy CA that outlives the root", "ISSUER_OUTLIVES_CA", { policy: { notAfter: at("2047-01-01T00:00:00Z") } }],
    ["a weak RSA key", "ISSUER_CHAIN_ALGORITHM", { root: { signer: makeSigner("rsa-pkcs1-sha256", 1024) } }],
    [
      "another signer of the same name",
      "ISSUER_CHAIN_SIGNATURE",
      { by: { signer: makeSigner("ecdsa-p256-sha256"), commonName: "Corporate Policy CA" } },
    ],
  ])("%s: %s", async (_, code, change) => {
    const { service, pending, activate } = await requested()
    await expect(activate(change)).rejects.toThrow(withCode(code))
    expect(await findPendingIssuer(service.ports.table, "corp")).toEqual(pending)
    expect((await newestTargets(service.ports.table)).version).toBe(1)
  })

  test.each<[string, string, (chain: readonly Uint8Array[]) => readonly Uint8Array[]]>([
    ["another key's certificate", "ISSUER_KEY_MISMATCH", () => certifyOutside(makeSigner("ecdsa-p256-sha256").spki)],
    ["the root first", "ISSUER_KEY_MISMATCH", (chain) => [...chain].reverse()],
    ["a chain out of order", "ISSUER_ROOT_MISSING", ([a, b, c]) => [a, c, b] as Uint8Array[]],
    ["a gap in the chain", "ISSUER_CHAIN_ORDER", ([a, , c]) => [a, c] as Uint8Array[]],
    ["a certificate twice", "ISSUER_CHAIN_ORDER", ([a, b, c]) => [a, b, b, c] as Uint8Array[]],
    ["a chain without its root", "ISSUER_ROOT_MISSING", (chain) => chain.slice(0, 2)],
    ["the issuer alone", "ISSUER_CHAIN_MALFORMED", (chain) => chain.slice(0, 1)],
    ["nothing", "ISSUER_CHAIN_MALFORMED", () => []],
    [
      "bytes that are no certificate",
      "ISSUER_CHAIN_MALFORMED",
      ([a, , c]) => [a, new Uint8Array([48, 0]), c] as Uint8Array[],
    ],
    ["a root that did not sign itself", "ISSUER_CHAIN_SIGNATURE", ([a, b]) => [a, b, forgedRoot()] as Uint8Array[]],
    ["a chain of six", "ISSUER_CHAIN_MALFORMED", ([a, b, c]) => [a, b, b, b, b, c] as Uint8Array[]],
  ])("%s: %s", async (_, code, change) => {
    const { pending, activate } = await requested()
    await expect(activate({}, change(certifyOutside(pending.key.spki)))).rejects.toThrow(withCode(code))
  })

  /** The root's key and name, with the signature of another. */
  function forgedRoot(): Uint8Array {
    const [, , root] = certifyOutside(makeSigner("ecdsa-p256-sha256").spki)
    const der = new Uint8Array(root as Uint8Array)
    der[der.length - 1] = (der.at(-1) as number) ^ 1
    return der
  }

  test("the deployment's own certificates end no later than their authority either", async () => {
    const { service } = await requested()
    const { root } = await readDeployment(service.ports.table)
    const issuer = await createIssuer(service.ports, { ...CORP, name: "long", days: 3660 }, ADMIN)
    expect(issuer.notAfter.getTime()).toBeLessThanOrEqual(root.notAfter.getTime())
    const held = await service.profile("held", { issuer: "long", keyMode: "held" })
    const { notAfter } = parseCertificate(held.held?.certificate ?? new Uint8Array(0))
    expect(notAfter.getTime()).toBeLessThanOrEqual(issuer.notAfter.getTime())
  })
})
