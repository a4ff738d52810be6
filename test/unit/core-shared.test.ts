import { makeEphemeralKey } from "@sealwright/adapters/ephemeral-key"
import type { SignatureRecord } from "@sealwright/core/model"
import type { EphemeralKey, SigningKeys } from "@sealwright/core/ports"
import { createSigner } from "@sealwright/core/sign/flow"
import { SUBJECTS_PER_TRANSACTION } from "@sealwright/core/sign/rules"
import { hexDecode } from "@sealwright/formats/bytes"
import { numbersOfSerial } from "@sealwright/formats/leaf-serial"
import { parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import { describe, expect, test } from "vitest"
import { createService, digestOf, signRequest } from "../support/service.ts"
import { expectSound, published, withCode } from "./core-published.ts"

const BATCH = Array.from({ length: SUBJECTS_PER_TRANSACTION + 3 }, (_, i) => `subject ${i}`)

/** A service with a `shared` profile; counts what issuer keys sign, and keys that were made and not dropped. */
async function ready() {
  const counts = { issuer: 0, open: 0, made: 0 }
  const service = createService({
    keys: (inner: SigningKeys): SigningKeys => ({
      sign: async (key, message) => {
        if (key.keyId.includes("issuer/")) counts.issuer++
        return await inner.sign(key, message)
      },
    }),
  })
  const sign = createSigner({
    ...service.ports,
    makeEphemeralKey: (scheme): EphemeralKey => {
      const key = makeEphemeralKey(scheme)
      counts.open++
      counts.made++
      return { ...key, drop: () => void counts.open-- }
    },
  })
  await service.setUp()
  await service.profile("release", { keyMode: "shared" })
  counts.issuer = 0
  const all = async (seeds: readonly string[], options = {}): Promise<SignatureRecord[]> =>
    (await sign(signRequest(seeds, options))).map((settled) => {
      if ("refused" in settled) throw settled.refused
      return settled.signed
    })
  return { service, sign, all, counts }
}

const leafOf = ({ envelopes }: SignatureRecord) =>
  parseX5c(parseNotaryJws(envelopes[0]?.bytes ?? new Uint8Array(0)).x5c[0] ?? "")

describe("one certificate for a batch (R15)", () => {
  test("one key, one certificate, one call to the issuer's key for each transaction", async () => {
    const { service, all, counts } = await ready()
    const records = await all(BATCH)
    expect(counts).toEqual({ issuer: 2, open: 0, made: 2 })
    expect(new Set(records.map((record) => record.number)).size).toBe(BATCH.length)
    expect(new Set(records.map((record) => record.serialHex)).size).toBe(2)
    for (const record of records) {
      const { first, count } = numbersOfSerial(hexDecode(record.serialHex)) ?? { first: 0, count: 0 }
      expect(record.number).toBeGreaterThanOrEqual(first)
      expect(record.number).toBeLessThan(first + count)
    }
    await service.publish(true)
    expect(expectSound(service)).toBe(BATCH.length)
  })

  test("a key is dropped also when its batch fails", async () => {
    const { service, sign, counts } = await ready()
    service.memory.keys.disable("memory:issuer/ci")
    await expect(sign(signRequest(["a", "b"]))).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    expect(counts.open).toBe(0)
  })

  test("one signature is rescinded in our list alone: stock clients can't tell it from the others", async () => {
    const { service, all } = await ready()
    const records = await all(["a", "b", "c"])
    const [first] = records as [SignatureRecord]
    await service.revoke({ kind: "signature", signature: first.id })
    await service.revoke({ kind: "artifact", digest: digestOf("b") })
    await service.publish(true)
    const { list, crl } = published(service)
    expect([...(list().issuers.get(first.issuerKeyId)?.revoked.keys() ?? [])]).toEqual([first.number])
    expect([...list().artifacts.keys()]).toEqual([digestOf("b")])
    expect(crl(first.issuerKeyId).entries.size).toBe(0)
    expect(expectSound(service)).toBe(3)
  })

  test("the batch's certificate is revoked as a whole, and the profile goes on", async () => {
    const { service, all } = await ready()
    const [first, second] = (await all(["a", "b"])) as [SignatureRecord, SignatureRecord]
    const [other] = (await all(["c"])) as [SignatureRecord]
    const { revocation } = await service.revoke({ kind: "certificate", signature: second.id })
    expect(await service.revoke({ kind: "certificate", signature: first.id })).toMatchObject({
      changed: false,
      revocation: { id: revocation.id },
    })
    await service.publish(true)
    const { list, crl } = published(service)
    expect([...crl(first.issuerKeyId).entries.keys()]).toEqual([first.serialHex])
    expect(list().rules).toMatchObject([{ kind: "certificate" }])
    expect(other.serialHex).not.toBe(first.serialHex)
    await expect(all(["d"])).resolves.toHaveLength(1)
    await expect(service.revoke({ kind: "certificate", signature: "01JD3Y0V6ZV4Q6D8W9X4K2M7RT" })).rejects.toThrow(
      withCode("SIGNATURE_UNKNOWN"),
    )
    expect(expectSound(service)).toBe(4)
  })

  test("a profile revoked from a time on puts the batch's certificate on the CRL once", async () => {
    const { service, all } = await ready()
    const records = await all(["a", "b"])
    await service.revoke({ kind: "profile", profile: "release", from: new Date(0) })
    await service.publish(true)
    const [first] = records as [SignatureRecord]
    expect([...published(service).crl(first.issuerKeyId).entries.keys()]).toEqual([first.serialHex])
    expect(leafOf(first).serialBytes).toEqual(hexDecode(first.serialHex))
    expect(expectSound(service)).toBe(2)
  })
})
