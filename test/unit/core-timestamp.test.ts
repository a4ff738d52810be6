import { listTimestampAuthorities } from "@sealwright/core/ledger/timestamp-authorities"
import type { TimestampAlgorithm } from "@sealwright/core/model"
import { nextExpiry } from "@sealwright/core/publish/expiry"
import { makeTimestampAuthority } from "@sealwright/core/timestamp/authority"
import { createTimestampAuthority } from "@sealwright/core/timestamp/flow"
import { DEFAULT_TIMESTAMP_POLICY, isTimestampPolicy } from "@sealwright/core/timestamp/rules"
import { bytesEqual, hexDecode, hexEncode, utf8 } from "@sealwright/formats/bytes"
import { parseTimestampToken } from "@sealwright/formats/cms"
import { der, explicit, integer, octetString, oid, sequence } from "@sealwright/formats/der-write"
import { parseTimestampRequest, parseTimestampResponse, timestampRequest } from "@sealwright/formats/timestamp"
import { parseCertificate } from "@sealwright/formats/x509"
import { extension } from "@sealwright/formats/x509-write"
import { checkCrl } from "@sealwright/verifier/crl-check"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifyTimestampToken } from "@sealwright/verifier/timestamp"
import { describe, expect, test } from "vitest"
import { ADMIN, createService } from "../support/service.ts"
import { hashOf } from "../support/timestamps.ts"
import { auditOf, withCode } from "./core-published.ts"

const DAY = 86_400
const STAMPED = utf8("bytes that want a time")
const NONCE = hexDecode("0badcafe")
const REQUEST = timestampRequest({ hash: "sha256", digest: hashOf("sha256", STAMPED), nonce: NONCE, certReq: true })

async function ready(algorithm: TimestampAlgorithm = "ecdsa-p256-sha256") {
  const service = createService()
  await service.setUp()
  service.pass(5)
  const make = (asked: TimestampAlgorithm = algorithm) =>
    makeTimestampAuthority(service.ports, { algorithm: asked, days: 365 }, ADMIN)
  const authority = await make()
  const answer = createTimestampAuthority(service.ports, DEFAULT_TIMESTAMP_POLICY)
  return { service, make, authority, answer, root: authority.chain[0] as Uint8Array }
}

function tokenOf(response: Uint8Array): Uint8Array {
  const parsed = parseTimestampResponse(response)
  if (!parsed.granted) throw new Error(`rejected: ${parsed.failure} ${parsed.text}`)
  return parsed.token
}

describe("R8: the authority's own key and certificate (D13)", () => {
  test("a key of its own purpose, a certificate directly below the root, with the root's CRL", async () => {
    const { service, authority } = await ready()
    expect(service.memory.keys.purposeOf(authority.key.keyId)).toBe("timestamp")
    const certificate = parseCertificate(authority.certificate)
    expect(certificate.extKeyUsage).toEqual(["1.3.6.1.5.5.7.3.8"])
    expect(certificate.extensions.get("2.5.29.37")?.critical).toBe(true)
    expect(authority.notAfter).toEqual(new Date("2027-11-21T09:00:05Z"))
    expect(auditOf(service).filter(({ action }) => action === "timestamp-authority.create")).toHaveLength(1)
  })

  test("a repeat answers what stands; its last quarter and another algorithm make a successor", async () => {
    const { service, make, authority } = await ready()
    service.pass(270 * DAY)
    expect(await make()).toEqual(authority)
    service.pass(5 * DAY)
    expect(await make()).toMatchObject({ generation: 2 })
    expect(await make()).toMatchObject({ generation: 2 })
    expect(await make("ecdsa-p384-sha384")).toMatchObject({ generation: 3, key: { scheme: "ecdsa-p384-sha384" } })
    const keys = (await listTimestampAuthorities(service.ports.table)).map(({ key }) => key.keyId)
    expect(new Set(keys).size).toBe(3)
  })

  test("two at once agree on one", async () => {
    const service = createService()
    await service.setUp()
    const make = () => makeTimestampAuthority(service.ports, { algorithm: "ecdsa-p256-sha256", days: 365 }, ADMIN)
    const [one, two] = await Promise.all([make(), make()])
    expect(two).toEqual(one)
  })

  test("R18: its end is among those that are named", async () => {
    const { service } = await ready()
    service.pass(360 * DAY)
    expect((await nextExpiry(service.ports.table, service.ports.clock()))?.name).toMatch(/^(tuf|timestamp-authority)/)
  })

  test("needs a ceremony", async () => {
    const { ports } = createService()
    await expect(makeTimestampAuthority(ports, { algorithm: "ecdsa-p256-sha256", days: 1 }, ADMIN)).rejects.toThrow(
      withCode("PRECONDITION_REQUIRED"),
    )
  })
})

describe("R8: tokens", () => {
  test.each(["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pkcs1-sha384"] as const)("%s", async (algorithm) => {
    const { answer, root } = await ready(algorithm)
    const { response, outcome } = await answer(REQUEST)
    expect(outcome).toBe("granted")
    const proven = runSync(verifyTimestampToken(tokenOf(response), STAMPED, { trusted: [root] }))
    expect(proven).toMatchObject({
      ok: true,
      genTime: new Date("2026-11-21T09:00:05Z"),
      policy: DEFAULT_TIMESTAMP_POLICY,
    })
    const { info } = parseTimestampToken(tokenOf(response))
    expect(info).toMatchObject({ accuracyMs: 1000, nonce: NONCE })
    expect(bytesEqual(info.imprint.der, parseTimestampRequest(REQUEST).imprint.der)).toBe(true)
  })

  test("serial numbers never repeat; the certificates come only when asked for", async () => {
    const { answer } = await ready()
    const silent = timestampRequest({ hash: "sha512", digest: hashOf("sha512", STAMPED), certReq: false })
    const tokens = [await answer(silent), await answer(silent)].map(({ response }) =>
      parseTimestampToken(tokenOf(response)),
    )
    expect(new Set(tokens.map(({ info }) => hexEncode(info.serial))).size).toBe(2)
    expect(tokens.map(({ certificates }) => certificates)).toEqual([[], []])
    expect(tokens[0]?.info.nonce).toBeUndefined()
  })

  const imprint = sequence(sequence(oid("2.16.840.1.101.3.4.2.1")), octetString(hashOf("sha256", STAMPED)))
  const sha1 = sequence(sequence(oid("1.3.14.3.2.26"), der(5)), octetString(new Uint8Array(20)))
  test.each([
    ["badAlg", sequence(integer(1n), sha1)],
    ["badRequest", sequence(integer(2n), imprint)],
    ["badDataFormat", Uint8Array.of(0x30)],
    ["badDataFormat", new Uint8Array(9000)],
    ["unacceptedPolicy", sequence(integer(1n), imprint, oid("1.2.3"))],
    ["unacceptedExtension", sequence(integer(1n), imprint, explicit(0, extension("1.2.3", false, integer(1n))))],
  ] as const)("%s, without the key", async (failure, request) => {
    const { answer, service, authority } = await ready()
    service.memory.keys.disable(authority.key.keyId)
    const { response, outcome } = await answer(request)
    expect(outcome).toBe(failure)
    expect(parseTimestampResponse(response)).toMatchObject({ granted: false, failure })
  })

  test("timeNotAvailable while the clock is behind the last token's, and not after", async () => {
    const { answer, service } = await ready()
    service.pass(10)
    expect((await answer(REQUEST)).outcome).toBe("granted")
    service.pass(-1)
    expect((await answer(REQUEST)).outcome).toBe("timeNotAvailable")
    service.pass(1)
    expect((await answer(REQUEST)).outcome).toBe("granted")
  })

  test("systemFailure, and nothing of the inside, when the key can't be used or no authority is in force", async () => {
    const { answer, service, authority } = await ready()
    service.memory.keys.disable(authority.key.keyId)
    const failed = await answer(REQUEST)
    expect(failed).toMatchObject({ outcome: "systemFailure", cause: { code: "KEY_NOT_USABLE" } })
    expect(parseTimestampResponse(failed.response)).toMatchObject({ text: "no token could be made" })
    service.pass(366 * DAY)
    expect(await answer(REQUEST)).toMatchObject({ cause: { code: "TIMESTAMP_AUTHORITY_MISSING" } })
  })

  test("the newest generation signs as soon as it is made, and is looked for when the old one ends", async () => {
    const { answer, service, make } = await ready()
    await answer(REQUEST)
    service.pass(300 * DAY)
    const successor = await make()
    const { certificates } = parseTimestampToken(tokenOf((await answer(REQUEST)).response))
    expect(certificates.some((each) => bytesEqual(each.der, successor.certificate))).toBe(true)
  })

  test("what is signed and does not verify never leaves", async () => {
    const good = createService()
    await good.setUp()
    await makeTimestampAuthority(good.ports, { algorithm: "ecdsa-p256-sha256", days: 365 }, ADMIN)
    good.pass(5)
    const answer = createTimestampAuthority(
      {
        ...good.ports,
        keys: {
          sign: async (key, message) =>
            (await good.ports.keys.sign(key, message)).map((byte, at) => (at === 12 ? byte ^ 1 : byte)),
        },
      },
      DEFAULT_TIMESTAMP_POLICY,
    )
    expect(await answer(REQUEST)).toMatchObject({
      outcome: "systemFailure",
      cause: { code: "SIGNATURE_SELF_CHECK_FAILED" },
    })
  })
})

test("R24: a revoked authority signs no more, is on the root's CRL, and a repeat makes a successor", async () => {
  const { service, answer, authority, make, root } = await ready()
  await service.publish()
  const thumbprint = hexEncode(hashOf("sha256", authority.certificate))
  await service.revoke({ kind: "certificate", thumbprint })
  service.pass(61)
  expect(await answer(REQUEST)).toMatchObject({ cause: { code: "TIMESTAMP_AUTHORITY_MISSING" } })
  await service.publish()
  const list = service.memory.objects.dump().get(`crl/${hexEncode(hashOf("sha256", parseCertificate(root).spki))}.crl`)
  const check = checkCrl(
    parseCertificate(authority.certificate),
    parseCertificate(root),
    list?.bytes ?? new Uint8Array(0),
    service.ports.clock(),
  )
  expect(runSync(check)).toMatchObject({ status: "revoked", reason: "keyCompromise" })
  expect(await make()).toMatchObject({ generation: 2 })
  expect((await answer(REQUEST)).outcome).toBe("granted")
})

test("a policy of one's own is an OID that stock clients can hold", () => {
  expect(isTimestampPolicy(DEFAULT_TIMESTAMP_POLICY)).toBe(true)
  for (const bad of [
    "",
    "1",
    "1.40.1",
    "3.1",
    "1.2.03",
    "2.25.329800735698586629295641978511506172918",
    "1.2.2147483648",
  ])
    expect(isTimestampPolicy(bad)).toBe(false)
})
