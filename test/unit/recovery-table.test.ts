/** The table is restored to an earlier time while the bucket stays (docs/recovery.md). */
import { readDeployment } from "@sealwright/core/ledger/trust"
import { sequence } from "@sealwright/core/log/flow"
import type { KeyReference } from "@sealwright/core/ports"
import { namedKey } from "@sealwright/core/publish/tuf"
import { rotateTufKey } from "@sealwright/core/tuf/flow"
import { utf8 } from "@sealwright/formats/bytes"
import { decodeMetadata } from "@sealwright/formats/tuf"
import { encodeMetadata, signedBytes } from "@sealwright/formats/tuf-encode"
import { describe, expect, test } from "vitest"
import { deployer, inService, type Service, signNow, stateOf } from "../support/recovery.ts"
import { ADMIN, digestOf, signRequest } from "../support/service.ts"
import { expectSound, published, withCode } from "./core-published.ts"

const TIMESTAMP = "tuf/timestamp.json"
const PRIVATE = { contentType: "application/json", cacheControl: "no-store" }

/** Published once more after `earlier`, so that the bucket is ahead of it. */
async function bucketAhead() {
  const service = await inService()
  const earlier = service.memory.table.dump()
  await signNow(service, "later")
  await service.revoke({ kind: "artifact", digest: digestOf("denied later") })
  await service.publish()
  service.pass(60)
  const later = service.memory.table.dump()
  return { service, earlier, later }
}

const withoutNote = (service: Service) => service.memory.table.dump().filter(({ pk }) => pk !== "table-behind")

describe("the bucket is ahead of the table (R29)", () => {
  test("publish stops before it changes anything but a note of it, forced or not", async () => {
    const { service, earlier } = await bucketAhead()
    const objects = service.memory.objects.dump()
    service.memory.table.restore(earlier)
    for (const force of [false, true]) await expect(service.publish(force)).rejects.toThrow(withCode("TABLE_BEHIND"))
    expect(withoutNote(service)).toEqual(earlier)
    expect(service.memory.objects.dump()).toEqual(objects)
    expect(deployer(service)).toMatchObject({ ok: true })
  })

  test("signing stops as well: no number is handed out again, and what was revoked stays so", async () => {
    const { service, earlier } = await bucketAhead()
    const warm = service.signer()
    await warm(signRequest(["warm"]))
    service.memory.table.restore(earlier)
    await expect(service.publish()).rejects.toThrow(withCode("TABLE_BEHIND"))
    await expect(signNow(service, "again")).rejects.toThrow(withCode("TABLE_BEHIND"))
    await expect(warm(signRequest(["again"]))).rejects.toThrow(withCode("TABLE_BEHIND"))
    expect(withoutNote(service).filter(({ pk }) => pk.startsWith("leases#"))).toEqual(
      earlier.filter(({ pk }) => pk.startsWith("leases#")),
    )
  })

  test("revoking goes on: it takes nothing back", async () => {
    const { service, earlier } = await bucketAhead()
    service.memory.table.restore(earlier)
    await expect(service.publish()).rejects.toThrow(withCode("TABLE_BEHIND"))
    await service.revoke({ kind: "artifact", digest: digestOf("denied again") })
  })

  test("restored once more, to a time after the last publication, all go on by themselves", async () => {
    const { service, earlier, later } = await bucketAhead()
    const state = stateOf(service)
    service.memory.table.restore(earlier)
    await expect(service.publish()).rejects.toThrow(withCode("TABLE_BEHIND"))
    const note = service.memory.table.dump().filter(({ pk }) => pk === "table-behind")
    service.memory.table.restore([...later, ...note])
    await signNow(service, "after")
    expect(await service.publish(true)).toMatchObject({ epoch: 3, published: true })
    expect(service.memory.table.dump().some(({ pk }) => pk === "table-behind")).toBe(false)
    expect(deployer(service, state)).toMatchObject({ ok: true })
    expectSound(service)
  })

  test("damaged items are put back into the table that stands, from one restored beside it", async () => {
    const { service, earlier } = await bucketAhead()
    const state = stateOf(service)
    const profile = earlier.find(({ pk }) => pk === "profiles")
    if (profile === undefined) throw new Error("no profile")
    await service.ports.table.transact([{ delete: { pk: profile.pk, sk: profile.sk } }])
    await expect(signNow(service, "x")).rejects.toThrow(withCode("PROFILE_UNKNOWN"))
    await service.ports.table.transact([{ put: profile, if: { absent: true } }])
    await signNow(service, "x")
    await service.publish(true)
    expect(deployer(service, state)).toMatchObject({ ok: true })
    expectSound(service)
  })
})

describe("the log is ahead of the table (R29, R30)", () => {
  test("nothing is logged, and signing stops, though nothing was published since", async () => {
    const service = await inService()
    const earlier = service.memory.table.dump()
    await signNow(service, "later")
    await sequence(service.ports, "signatures")
    const later = service.memory.table.dump()
    service.memory.table.restore(earlier)
    await expect(sequence(service.ports, "signatures")).rejects.toThrow(withCode("LOG_AHEAD"))
    await expect(signNow(service, "again")).rejects.toThrow(withCode("TABLE_BEHIND"))
    service.memory.table.restore([...later, ...service.memory.table.dump().filter(({ pk }) => pk === "table-behind")])
    await signNow(service, "after")
    expect(await sequence(service.ports, "signatures")).toMatchObject({ size: 4n })
    expectSound(service)
  })
})

describe("what only looks like it (R29)", () => {
  /** Shows a timestamp of this version. @param by who signs it; undefined: nobody */
  async function show(service: Service, version: number, by: KeyReference | undefined) {
    const stored = await service.ports.objects.get(TIMESTAMP, 16_384)
    if (stored === undefined) throw new Error("nothing is shown")
    const { signed } = decodeMetadata(stored.bytes, "timestamp", 16_384)
    const next = { ...signed, version }
    const signatures = by && [
      {
        keyid: namedKey(service.ports.digest, by).keyid,
        signature: await service.memory.keys.sign(by, signedBytes(next)),
      },
    ]
    await service.ports.objects.replace(TIMESTAMP, encodeMetadata(next, signatures ?? []), stored.etag, PRIVATE)
  }

  test("a timestamp that no key of ours signed stops nobody, and gives way", async () => {
    const service = await inService()
    const other = await service.memory.keys.create("stranger", "tuf-timestamp", "ecdsa-p256-sha256")
    await show(service, 1000, other)
    await signNow(service, "still")
    expect(await service.publish(true)).toMatchObject({ published: true })
    expect(published(service).epoch).toBe(2)
    expect(deployer(service)).toMatchObject({ ok: true })
  })

  test("rubbish in its place gives way too", async () => {
    const service = await inService()
    const stored = await service.ports.objects.get(TIMESTAMP, 16_384)
    await service.ports.objects.replace(TIMESTAMP, utf8("rubbish"), stored?.etag, PRIVATE)
    await service.publish(true)
    expect(deployer(service)).toMatchObject({ ok: true })
  })

  test("a thief of the timestamp's key who drives it up stops publishing and signing, until the key is rotated", async () => {
    const service = await inService()
    const state = stateOf(service)
    const { tuf } = await readDeployment(service.ports.table)
    await show(service, 1000, tuf.timestamp.at(-1))
    await expect(service.publish()).rejects.toThrow(withCode("TABLE_BEHIND"))
    await expect(signNow(service, "now")).rejects.toThrow(withCode("TABLE_BEHIND"))
    await rotateTufKey(service.ports, "timestamp", 2, ADMIN)
    expect(await service.publish()).toMatchObject({ epoch: 2, published: true })
    expect(published(service).epoch).toBe(2)
    await signNow(service, "now")
    expect(deployer(service, state)).toMatchObject({ ok: true })
    expectSound(service)
  })

  test("restored to between an epoch's decision and its showing: the next run ends it", async () => {
    const { service, later } = await bucketAhead()
    const state = stateOf(service)
    const between = later.map((item) => (item.pk === "publication" ? { ...item, published: 1 } : item))
    service.memory.table.restore(between)
    expect(await service.publish()).toMatchObject({ idle: true })
    expect(deployer(service, state)).toMatchObject({ ok: true })
    expectSound(service)
  })
})
