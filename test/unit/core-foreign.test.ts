import { digest } from "@sealwright/adapters/platform"
import { ServiceError } from "@sealwright/core/errors"
import { foreignSignaturesOf } from "@sealwright/core/ledger/foreign"
import { MAX_FOREIGN_ENVELOPE_BYTES, recordForeign } from "@sealwright/core/records/foreign"
import { hexEncode, utf8 } from "@sealwright/formats/bytes"
import { assembleEnvelope, parseNotaryJws, unsignedEnvelope } from "@sealwright/formats/notary-jws"
import { pemEncode } from "@sealwright/formats/pem"
import { BUNDLE_MARKER, BUNDLE_TYPE } from "@sealwright/verifier/bundle"
import { describe, expect, test } from "vitest"
import { certificate, makeSigner, type Spec } from "../support/chains.ts"
import { ask, openFiles, policyOf } from "../support/deployment.ts"
import { createService, digestOf, PIPELINE, signRequest } from "../support/service.ts"
import { auditOf, expectSound, published, type Service, withCode } from "./core-published.ts"

const REFERENCE = "registry.wabbit-networks.io/net-monitor:v1"
const START = new Date("2026-11-21T09:00:00Z")
const SERIAL = 77n

/** A company's own root and one key that it certified. */
const CA = { signer: makeSigner("ecdsa-p256-sha256"), commonName: "Corporate Root" }
const root = certificate({ ...CA, basicConstraints: { ca: true }, keyUsage: [5, 6] })
const signer = makeSigner("ecdsa-p256-sha256")
const leafOf = (change: Partial<Spec> = {}) =>
  certificate({ signer, commonName: "release", keyUsage: [0], serial: SERIAL, ...change }, CA)
const leaf = leafOf()
const thumbprint = hexEncode(digest("sha256", leaf))

function envelopeOf(
  seed: string,
  { chain = [leaf, root], number, signedAt = START }: { chain?: Uint8Array[]; number?: number; signedAt?: Date } = {},
): Uint8Array {
  const unsigned = unsignedEnvelope({
    scheme: signer.scheme,
    signingTime: signedAt,
    target: { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: digestOf(seed), size: 528 },
    sealwright: { issuerKeyId: CA.signer.keyId, serial: Uint8Array.of(Number(SERIAL)), number },
  })
  return assembleEnvelope(unsigned, signer.sign(unsigned.signingInput), chain, "test/1")
}

async function ready() {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  const record = (envelope: Uint8Array, change: Partial<Parameters<typeof recordForeign>[1]> = {}) =>
    recordForeign(service.ports, {
      profile: "release",
      envelope,
      reference: REFERENCE,
      principal: PIPELINE,
      requestId: "test",
      ...change,
    })
  return { service, record }
}

/** What a deployer says who trusts the company's root, and has nothing but what is published. */
function verdict(service: Service, envelope: Uint8Array): string {
  const { objects } = published(service)
  const files = new Map([...objects, [BUNDLE_MARKER, utf8(JSON.stringify({ mediaType: BUNDLE_TYPE }))] as const])
  const now = service.ports.clock()
  const trusted = openFiles(files, { pinnedRoot: objects.get("tuf/1.root.json") ?? new Uint8Array(0), now })
  if (!trusted.ok) throw new Error(trusted.code)
  const policy = policyOf({ trustStore: [{ trustedRoots: [{ root: pemEncode("CERTIFICATE", root) }] }] })
  const { mediaType, digest: artifact, size } = parseNotaryJws(envelope).target
  const artifactOf = { mediaType, digest: artifact, size }
  return ask({ artifact: artifactOf, reference: REFERENCE, envelopes: [envelope], policy, trusted, now }).code
}

describe("R24: a signature made without the service", () => {
  test("is registered, its certificate revoked and published, and refused offline by whoever trusts its CA", async () => {
    const { service, record } = await ready()
    const [first, second] = [envelopeOf("a"), envelopeOf("b")]
    const { signature, recorded } = await record(first)
    expect(recorded).toBe(true)
    expect(signature).toMatchObject({
      issuerKeyId: hexEncode(CA.signer.keyId),
      serialHex: "4d",
      thumbprint,
      reference: REFERENCE,
      principal: PIPELINE,
      subject: { digest: digestOf("a") },
    })
    await record(second)
    await service.publish()
    expect(verdict(service, first)).toBe("REVOCATION_UNKNOWN")

    service.pass(60)
    await service.revoke({ kind: "certificate", thumbprint })
    await service.publish()
    const name = { issuerKeyId: hexEncode(CA.signer.keyId), serialHex: "4d" }
    expect(published(service).list().rules).toMatchObject([{ kind: "certificate", thumbprint, ...name }])
    for (const envelope of [first, second, envelopeOf("never registered")])
      expect(verdict(service, envelope)).toBe("CERTIFICATE_REVOKED")
    expectSound(service)
  })

  test("is one entry however often it is sent, with one line in the audit", async () => {
    const { service, record } = await ready()
    const envelope = envelopeOf("a")
    const [one, two, three] = await Promise.all([record(envelope), record(envelope), record(envelope)])
    expect([one, two, three].filter(({ recorded }) => recorded)).toHaveLength(1)
    expect(two?.signature).toEqual(one?.signature)
    const acts = auditOf(service).filter(({ action }) => action === "record.foreign")
    expect(acts).toMatchObject([{ principal: PIPELINE, target: one?.signature.id, outcome: "done" }])
    const { signatures, next } = await foreignSignaturesOf(service.ports.table, "release", { limit: 10 })
    expect([signatures, next]).toEqual([[one?.signature], undefined])
    await expect(record(envelope, { reference: REFERENCE.replace(":v1", ":v2") })).rejects.toThrow(
      withCode("ALREADY_EXISTS"),
    )
  })

  test.each([false, true])("is registered by the repeat when the store failed, applied: %s", async (applied) => {
    let failing = false
    const service = createService({
      table: (table) => ({
        ...table,
        async transact(writes) {
          if (!failing) return await table.transact(writes)
          failing = false
          if (applied) await table.transact(writes)
          throw new ServiceError("STORE_UNAVAILABLE", "no answer")
        },
      }),
    })
    await service.setUp()
    await service.profile("release")
    const request = { profile: "release", envelope: envelopeOf("a"), reference: REFERENCE, principal: PIPELINE }
    const record = () => recordForeign(service.ports, { ...request, requestId: "test" })
    failing = true
    await expect(record()).rejects.toThrow(withCode("STORE_UNAVAILABLE"))
    expect((await record()).recorded).toBe(!applied)
    expect(auditOf(service).filter(({ action }) => action === "record.foreign")).toHaveLength(1)
  })

  test("does not stop anyone from signing when its certificate is revoked", async () => {
    const { service, record } = await ready()
    await record(envelopeOf("a"))
    await service.revoke({ kind: "certificate", thumbprint })
    const [settled] = await service.signer()(signRequest(["b"]))
    expect(settled).toHaveProperty("signed")
  })
})

describe("nothing is registered", () => {
  const expired = leafOf({ notAfter: new Date("2026-11-21T08:59:59Z") })
  const flipped = (envelope: Uint8Array): Uint8Array => {
    const json = JSON.parse(Buffer.from(envelope).toString())
    const raw = Buffer.from(json.signature, "base64url")
    raw[0] = (raw[0] as number) ^ 1
    return utf8(JSON.stringify({ ...json, signature: raw.toString("base64url") }))
  }
  const ahead = new Date(START.getTime() + 61_000)
  test.each<[string, string, Uint8Array, Partial<Parameters<typeof recordForeign>[1]>]>([
    ["under an unknown profile", "PROFILE_UNKNOWN", envelopeOf("a"), { profile: "nobody" }],
    ["by a caller whom the profile does not list", "CALLER_NOT_LISTED", envelopeOf("a"), { principal: `${PIPELINE}2` }],
    [
      "for a repository out of scope",
      "REPOSITORY_OUT_OF_SCOPE",
      envelopeOf("a"),
      { reference: "registry.evil.io/x:v1" },
    ],
    ["for another digest", "REFERENCE_INVALID", envelopeOf("a"), { reference: `${REFERENCE}@${digestOf("b")}` }],
    ["that is too long", "REQUEST_TOO_LARGE", new Uint8Array(MAX_FOREIGN_ENVELOPE_BYTES + 1), {}],
    ["that is no envelope", "SIGNATURE_UNVERIFIED", utf8("{}"), {}],
    ["that was changed", "SIGNATURE_UNVERIFIED", flipped(envelopeOf("a")), {}],
    ["without its root", "SIGNATURE_UNVERIFIED", envelopeOf("a", { chain: [leaf] }), {}],
    ["under an expired certificate", "SIGNATURE_UNVERIFIED", envelopeOf("a", { chain: [expired, root] }), {}],
    [
      "under its sibling's certificate",
      "SIGNATURE_UNVERIFIED",
      envelopeOf("a", { chain: [leafOf({ serial: 78n }), root] }),
      {},
    ],
    ["from the future", "SIGNATURE_UNVERIFIED", envelopeOf("a", { signedAt: ahead }), {}],
    ["that another service numbered", "SIGNATURE_NOT_FOREIGN", envelopeOf("a", { number: 7 }), {}],
  ])("%s: %s", async (_, code, envelope, change) => {
    const { service, record } = await ready()
    await expect(record(envelope, change)).rejects.toThrow(withCode(code))
    expect((await foreignSignaturesOf(service.ports.table, "release", { limit: 10 })).signatures).toEqual([])
    await expect(service.revoke({ kind: "certificate", thumbprint })).rejects.toThrow(withCode("CERTIFICATE_UNKNOWN"))
  })

  test("that this service made", async () => {
    const { service, record } = await ready()
    const [settled] = await service.signer()(signRequest(["a"]))
    if (settled === undefined || !("signed" in settled)) throw new Error("not signed")
    await expect(record(settled.signed.envelopes[0]?.bytes ?? new Uint8Array(0))).rejects.toThrow(
      withCode("SIGNATURE_NOT_FOREIGN"),
    )
  })

  test("under a revoked profile", async () => {
    const { service, record } = await ready()
    await service.revoke({ kind: "profile", profile: "release", from: START })
    await expect(record(envelopeOf("a"))).rejects.toThrow(withCode("PROFILE_REVOKED"))
  })
})
