import { makeEphemeralKey } from "@sealwright/adapters/ephemeral-key"
import { digest } from "@sealwright/adapters/platform"
import { createIssuer } from "@sealwright/core/admin/ceremony"
import { leafCertifier } from "@sealwright/core/admin/certificates"
import { readDeployment } from "@sealwright/core/ledger/trust"
import type { Issuer } from "@sealwright/core/model"
import { makeTimestampAuthority } from "@sealwright/core/timestamp/authority"
import { hexDecode, utf8 } from "@sealwright/formats/bytes"
import { leafSerial } from "@sealwright/formats/leaf-serial"
import { assembleEnvelope, rawSignature, unsignedEnvelope } from "@sealwright/formats/notary-jws"
import { pemEncode } from "@sealwright/formats/pem"
import { parseTimestampResponse, timestampRequest } from "@sealwright/formats/timestamp"
import { BUNDLE_MARKER, BUNDLE_TYPE, type OpenedBundle } from "@sealwright/verifier/bundle"
import { beforeAll, describe, expect, test } from "vitest"
import { ask, openFiles, policyOf } from "../support/deployment.ts"
import { ADMIN, createService, digestOf, signRequest } from "../support/service.ts"
import { published } from "./core-published.ts"

const P256 = "ecdsa-p256-sha256"
const REFERENCE = "registry.wabbit-networks.io/net-monitor:v1"
const MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"

type Token = "none" | "now"

/** A deployment with a wrapped issuer and one in KMS, and a thief who has copied both keys: the one of KMS for comparison. */
async function robbed() {
  const service = createService()
  await service.setUp()
  service.pass(5)
  await makeTimestampAuthority(service.ports, { algorithm: P256, days: 365 }, ADMIN)
  const kept = await createIssuer(service.ports, { name: "kept", algorithm: P256, days: 500 }, ADMIN)
  service.pass(60)
  await service.publish()
  const before = openPublished(service)
  const wrapped = await createIssuer(service.ports, { name: "bulk", algorithm: P256, days: 500, wrapped: true }, ADMIN)
  await service.profile("release", { issuer: "bulk", timestamp: "own" })
  await service.profile("plain", { issuer: "kept" })
  service.pass(5)
  const sign = service.signer()
  const outcomes = [...(await sign(signRequest(["a"]))), ...(await sign(signRequest(["a"], { profile: "plain" })))]
  const [stamped, plain] = outcomes.map((one) => {
    if (!("signed" in one)) throw one.refused
    return one.signed
  })
  service.pass(60)
  await service.publish()
  if (stamped === undefined || plain === undefined) throw new Error("not signed")
  return { service, before, kept, wrapped, stamped, plain, trusted: openPublished(service) }
}

function openPublished(service: ReturnType<typeof createService>): OpenedBundle {
  const { objects } = published(service)
  const files = new Map([...objects, [BUNDLE_MARKER, utf8(JSON.stringify({ mediaType: BUNDLE_TYPE }))] as const])
  const pinnedRoot = objects.get("tuf/1.root.json") ?? new Uint8Array(0)
  const opened = openFiles(files, { pinnedRoot, now: service.ports.clock() })
  if (!opened.ok) throw new Error(opened.code)
  return opened
}

describe("D13: what a thief can do who has copied a wrapped issuer's key, and nothing else", () => {
  let scene: Awaited<ReturnType<typeof robbed>>
  beforeAll(async () => {
    scene = await robbed()
  })

  /** An envelope of his own under a number that is good, on an artifact of his own, dated as he likes. */
  async function forge(issuer: Issuer, number: number, options: { at: Date; authority: boolean; token?: Token }) {
    const { service, stamped } = scene
    const deployment = await readDeployment(service.ports.table)
    const profile = issuer.name === "bulk" ? "release" : "plain"
    const key = makeEphemeralKey(P256)
    const serial = leafSerial(digest("sha256", utf8("his own nonce")), number)
    const span = {
      notBefore: new Date(options.at.getTime() - 60_000),
      notAfter: new Date(options.at.getTime() + 600_000),
    }
    const leaf = await leafCertifier(service.ports, issuer, deployment, profile)({ serial, spki: key.spki, ...span })
    const unsigned = unsignedEnvelope({
      scheme: P256,
      ...(options.authority ? { authenticSigningTime: options.at } : { signingTime: options.at }),
      target: { mediaType: MEDIA_TYPE, digest: digestOf("malware"), size: 528 },
      sealwright: { issuerKeyId: hexDecode(issuer.issuerKeyId), serial, number },
    })
    const signature = await key.sign(unsigned.signingInput)
    const token = options.token === "now" ? await tokenOver(rawSignature(P256, signature)) : undefined
    expect(stamped.issuerKeyId).toBe(scene.wrapped.issuerKeyId)
    return assembleEnvelope(unsigned, signature, [leaf, issuer.certificate, ...issuer.chain], "thief/1", token)
  }

  async function tokenOver(raw: Uint8Array): Promise<Uint8Array> {
    const nonce = Uint8Array.of(1, 2, 3, 4)
    const query = timestampRequest({ hash: "sha256", digest: digest("sha256", raw), nonce, certReq: true })
    const response = parseTimestampResponse(await scene.service.ports.timestamper.timestamp(query))
    if (!response.granted) throw new Error("no token")
    return response.token
  }

  async function verdict(
    envelope: Uint8Array,
    options: { bundle?: OpenedBundle; policy?: object; artifact?: string } = {},
  ) {
    const { root } = await readDeployment(scene.service.ports.table)
    const pem = pemEncode("CERTIFICATE", root.certificate)
    const policy = policyOf({
      trustStore: [{ trustedRoots: [{ root: pem }] }],
      timestampRoots: [pem],
      ...options.policy,
    })
    const artifact = { mediaType: MEDIA_TYPE, digest: options.artifact ?? digestOf("malware"), size: 528 }
    const now = scene.service.ports.clock()
    const trusted = options.bundle ?? scene.trusted
    return ask({ artifact, reference: REFERENCE, envelopes: [envelope], policy, trusted, now }).code
  }
  const bytesOf = (record: typeof scene.stamped) => record.envelopes[0]?.bytes ?? new Uint8Array(0)
  const anHourAgo = () => new Date(scene.service.ports.clock().getTime() - 3_600_000)
  const now = () => scene.service.ports.clock()

  test("what the service made is accepted, stamped below the wrapped issuer and plain below the other", async () => {
    expect(await verdict(bytesOf(scene.stamped), { artifact: digestOf("a") })).toBe("ACCEPTED")
    expect(await verdict(bytesOf(scene.plain), { artifact: digestOf("a") })).toBe("ACCEPTED")
  })

  test("the same thief of a key in KMS could vouch for the time himself: what the wrapped one is kept from", async () => {
    const envelope = await forge(scene.kept, scene.plain.number, { at: now(), authority: true })
    expect(await verdict(envelope)).toBe("ACCEPTED")
  })

  test.each(["now", "an hour ago"])("a signing authority's word for the time (%s) is refused", async (when) => {
    const at = when === "now" ? now() : anHourAgo()
    const envelope = await forge(scene.wrapped, scene.stamped.number, { at, authority: true })
    expect(await verdict(envelope)).toBe("TIMESTAMP_DEMANDED")
  })

  test("so is an envelope without token, whatever the policy asks for", async () => {
    const envelope = await forge(scene.wrapped, scene.stamped.number, { at: now(), authority: false })
    for (const policy of [{}, { requireTimestamp: true }, { timestampRoots: [] }])
      expect(await verdict(envelope, { policy })).toBe("TIMESTAMP_DEMANDED")
  })

  test("so it is by a bundle from before the issuer: its certificate says it, and the root's key made that", async () => {
    const { before, wrapped, stamped } = scene
    const envelope = await forge(wrapped, stamped.number, { at: now(), authority: true })
    expect(await verdict(envelope, { bundle: before })).toBe("TIMESTAMP_DEMANDED")
    const { service } = scene
    const plain = await forge({ ...wrapped, certificate: scene.kept.certificate }, stamped.number, {
      at: service.ports.clock(),
      authority: true,
    })
    expect(await verdict(plain)).toMatch(/^CHAIN_/)
  })

  test("a signature that the service stamped counts for nobody who trusts no timestamp root", async () => {
    const policy = { timestampRoots: [] }
    expect(await verdict(bytesOf(scene.stamped), { policy, artifact: digestOf("a") })).toBe("TIMESTAMP_DEMANDED")
  })

  test("with a token he gets the present and no other time", async () => {
    const backdated = await forge(scene.wrapped, scene.stamped.number, {
      at: anHourAgo(),
      authority: false,
      token: "now",
    })
    expect(await verdict(backdated)).toBe("CHAIN_EXPIRED")
    const honest = await forge(scene.wrapped, scene.stamped.number, { at: now(), authority: false, token: "now" })
    expect(await verdict(honest)).toBe("ACCEPTED")
  })

  test("revoking the issuer ends all of it", async () => {
    const { service, wrapped, stamped } = scene
    const envelope = await forge(wrapped, stamped.number, { at: now(), authority: false, token: "now" })
    await service.revoke({ kind: "issuer", issuer: "bulk" })
    service.pass(60)
    await service.publish()
    const bundle = openPublished(service)
    expect(await verdict(envelope, { bundle })).toBe("CERTIFICATE_REVOKED")
    expect(await verdict(bytesOf(stamped), { bundle, artifact: digestOf("a") })).toBe("CERTIFICATE_REVOKED")
  })
})
