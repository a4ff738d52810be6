import { findRecord } from "@sealwright/core/ledger/records"
import { readDeployment } from "@sealwright/core/ledger/trust"
import type { SignatureRecord } from "@sealwright/core/model"
import { createSigner } from "@sealwright/core/sign/flow"
import { makeTimestampAuthority } from "@sealwright/core/timestamp/authority"
import { createTimestampAuthority } from "@sealwright/core/timestamp/flow"
import { DEFAULT_TIMESTAMP_POLICY } from "@sealwright/core/timestamp/rules"
import { parseNotaryJws } from "@sealwright/formats/notary-jws"
import { grantedResponse, parseTimestampResponse, rejectedResponse } from "@sealwright/formats/timestamp"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifyNotaryEnvelope } from "@sealwright/verifier/notary"
import { describe, expect, test } from "vitest"
import { fsck } from "../../packages/cli/src/fsck/check.ts"
import { ADMIN, createService, digestOf, signRequest } from "../support/service.ts"
import { dumpOf, expectSound, published, withCode } from "./core-published.ts"

const YEAR = 366 * 86_400

async function ready(settings: Parameters<ReturnType<typeof createService>["profile"]>[1] = {}) {
  const service = createService()
  await service.setUp()
  service.pass(5)
  await makeTimestampAuthority(service.ports, { algorithm: "ecdsa-p256-sha256", days: 365 }, ADMIN)
  await service.profile("release", { timestamp: "own", ...settings })
  service.pass(5)
  const { root } = await readDeployment(service.ports.table)
  const trusted = [root.certificate]
  const verify = (bytes: Uint8Array, now: Date, roots: readonly Uint8Array[] = trusted) =>
    runSync(verifyNotaryEnvelope(bytes, { trusted, timestamps: { roots, required: "none" }, now }))
  return { service, verify }
}

function recorded(outcomes: Awaited<ReturnType<ReturnType<typeof createSigner>>>): SignatureRecord {
  const [only] = outcomes
  if (only === undefined || !("signed" in only)) throw new Error("not signed")
  return only.signed
}
const envelopeOf = (record: SignatureRecord) => record.envelopes[0]?.bytes ?? new Uint8Array(0)

describe("R8: a profile whose signatures carry a timestamp", () => {
  test.each([
    { algorithm: "ecdsa-p256-sha256", keyMode: "ephemeral" },
    { algorithm: "ecdsa-p384-sha384", keyMode: "ephemeral" },
    { algorithm: "rsa-pss-sha384", keyMode: "held" },
  ] as const)("$algorithm, $keyMode: verifies years later by its timestamp alone", async (settings) => {
    const { service, verify } = await ready(settings)
    const record = recorded(await service.signer()(signRequest(["a"])))
    const envelope = parseNotaryJws(envelopeOf(record))
    expect(envelope.protected).toMatchObject({ signingScheme: "notary.x509", signingTime: record.signedAt })
    const later = new Date(record.signedAt.getTime() + 5 * YEAR * 1000)
    expect(verify(envelopeOf(record), later)).toMatchObject({
      ok: true,
      proven: { timestamp: { genTime: record.signedAt } },
    })
    expect(verify(envelopeOf(record), later, [])).toMatchObject({ ok: false, code: "CHAIN_EXPIRED" })
    expect(expectSound(service)).toBe(1)
  })

  test("the record holds the bytes that left, token included, and a retry gets them (D4)", async () => {
    const { service } = await ready()
    const sign = service.signer()
    const once = recorded(await sign(signRequest(["a"], { idempotencyKey: "k" })))
    const again = recorded(await sign(signRequest(["a"], { idempotencyKey: "k" })))
    expect(envelopeOf(again)).toEqual(envelopeOf(once))
    const stored = await findRecord(service.ports.table, once.id)
    expect(parseNotaryJws(stored === undefined ? new Uint8Array(0) : envelopeOf(stored)).timestampToken).toBeDefined()
  })

  test("a batch has a token each; another profile has none, and its own scheme", async () => {
    const { service } = await ready()
    await service.profile("plain")
    const outcomes = await service.signer()(signRequest(["a", "b", "c"]))
    const tokens = outcomes.map((one) => "signed" in one && parseNotaryJws(envelopeOf(one.signed)).timestampToken)
    expect(new Set(tokens.map((token) => token && Buffer.from(token).toString("hex"))).size).toBe(3)
    const plain = parseNotaryJws(envelopeOf(recorded(await service.signer()(signRequest(["a"], { profile: "plain" })))))
    expect(plain.protected.signingScheme).toBe("notary.x509.signingAuthority")
    expect(plain.timestampToken).toBeUndefined()
  })

  test("the ledger's check finds an envelope whose token was taken away", async () => {
    const { service } = await ready()
    const record = recorded(await service.signer()(signRequest(["a"])))
    const { header, ...rest } = JSON.parse(Buffer.from(envelopeOf(record)).toString("utf8"))
    const { "io.cncf.notary.timestampSignature": _, ...without } = header
    const bytes = Buffer.from(JSON.stringify({ ...rest, header: without }))
    const key = { pk: `signature#${record.id}`, sk: "record" }
    const item = await service.memory.table.get(key)
    if (item === undefined) throw new Error("not recorded")
    const envelopes = (item.envelopes as { [name: string]: string }[]).map((one) => ({
      ...one,
      bytes: new Uint8Array(bytes),
    }))
    await service.memory.table.transact([{ put: { ...item, envelopes } }])
    const codes = fsck(dumpOf(service)).findings.map(({ code }) => code)
    expect(codes).toContain("RECORD_ENVELOPE_INVALID")
  })

  test("notation's tree names the stores of a profile's own scheme alone: nothing that stamps is believed without", async () => {
    const { service } = await ready()
    await service.profile("plain", { repositories: ["registry.wabbit-networks.io/other"] })
    await service.publish()
    const tree = published(service).notation()
    const stores = Object.fromEntries(
      tree.trustPolicy.trustPolicies.map((one: { name: string; trustStores: string[] }) => [one.name, one.trustStores]),
    )
    expect(stores).toEqual({
      plain: ["signingAuthority:sealwright"],
      release: ["ca:sealwright", "tsa:sealwright"],
    })
    expect(tree.timestampStores).toEqual([{ name: "sealwright", certificates: tree.trustStore.certificates }])
  })
})

describe("R8: without a good token no signature leaves, and none is recorded", () => {
  type Service = Awaited<ReturnType<typeof ready>>["service"]
  const cases: readonly (readonly [
    what: string,
    timestamp: (service: Service) => (query: Uint8Array) => Promise<Uint8Array>,
    code: string,
  ])[] = [
    ["a refusal", () => async () => rejectedResponse("systemFailure", "no"), "TIMESTAMP_UNAVAILABLE"],
    ["rubbish", () => async () => new Uint8Array(7), "TIMESTAMP_UNAVAILABLE"],
    [
      "the token of another request",
      (service) => {
        const first = new Map<string, Uint8Array>()
        return async (query) => {
          const answer = first.get("") ?? (await service.ports.timestamper.timestamp(query))
          first.set("", answer)
          return answer
        }
      },
      "SIGNATURE_SELF_CHECK_FAILED",
    ],
    [
      "a token by an authority of another deployment",
      () => {
        const other = ready()
        return async (query) => await (await other).service.ports.timestamper.timestamp(query)
      },
      "SIGNATURE_SELF_CHECK_FAILED",
    ],
    [
      "a changed token",
      (service) => async (query) => {
        const parsed = parseTimestampResponse(await service.ports.timestamper.timestamp(query))
        return grantedResponse(parsed.granted ? parsed.token.with(-3, 0x55).with(-4, 0x55) : new Uint8Array(0))
      },
      "SIGNATURE_SELF_CHECK_FAILED",
    ],
    [
      "a token from a clock that is far off",
      (service) => {
        const clock = () => new Date(service.ports.clock().getTime() + 3_600_000)
        const answer = createTimestampAuthority({ ...service.ports, clock }, DEFAULT_TIMESTAMP_POLICY)
        return async (query) => (await answer(query)).response
      },
      "SIGNATURE_SELF_CHECK_FAILED",
    ],
  ]
  test.each(cases)("%s", async (what, make, code) => {
    const { service } = await ready()
    const sign = createSigner({ ...service.ports, timestamper: { timestamp: make(service) } })
    if (what.startsWith("the token of another")) await sign(signRequest(["first"]))
    await expect(sign(signRequest(["a"]))).rejects.toThrow(withCode(code))
    const artifact = { pk: `artifact#${digestOf("a")}`, sk: "artifact" }
    expect(await service.memory.table.get(artifact)).toBeUndefined()
  })

  test("no authority at all", async () => {
    const service = createService()
    await service.setUp()
    await service.profile("release", { timestamp: "own" })
    await expect(service.signer()(signRequest(["a"]))).rejects.toThrow(withCode("TIMESTAMP_UNAVAILABLE"))
  })
})
