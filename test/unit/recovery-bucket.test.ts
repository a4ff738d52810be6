/** The published bucket is emptied, in part or whole, at any moment (docs/recovery.md). */
import { readCommit } from "@sealwright/core/ledger/epochs"
import { keys } from "@sealwright/core/ledger/keys"
import { readHead } from "@sealwright/core/ledger/publication"
import { readDeployment, readIssuer } from "@sealwright/core/ledger/trust"
import { sequence } from "@sealwright/core/log/flow"
import { rotateTufKey } from "@sealwright/core/tuf/flow"
import { describe, expect, test } from "vitest"
import { deployer, inService, type Service, signNow, stateOf } from "../support/recovery.ts"
import { ADMIN, createService, digestOf } from "../support/service.ts"
import { expectSound, published, withCode } from "./core-published.ts"

const everything = () => true
const notLogs = (key: string) => !key.startsWith("log/") && !key.startsWith("staging/log/")

/** A service that dies once, between deciding an epoch and showing it. */
async function diesBeforeShowing() {
  let dying = false
  const service = await inService(
    createService({
      objects: (objects) => ({
        ...objects,
        replace: async (...args) => {
          if (dying) throw new Error("died")
          return await objects.replace(...args)
        },
      }),
    }),
  )
  const state = stateOf(service)
  await service.revoke({ kind: "artifact", digest: digestOf("late") })
  dying = true
  await expect(service.publish()).rejects.toThrow("died")
  dying = false
  return { service, state }
}

const namesLate = (service: Service) => published(service).list().artifacts.has(digestOf("late"))

describe("an emptied bucket without versions (R29)", () => {
  test("is filled by the next run, though nothing changed, and who has state accepts it", async () => {
    const service = await inService()
    const state = stateOf(service)
    const before = published(service).list()
    service.memory.objects.lose(everything)
    expect(deployer(service)).toMatchObject({ ok: false })
    expect(await service.publish()).toMatchObject({ epoch: 2, published: true })
    expect(deployer(service, state)).toMatchObject({ ok: true })
    expect(deployer(service)).toMatchObject({ ok: true })
    const { artifacts, issuers } = published(service).list()
    expect(artifacts).toEqual(before.artifacts)
    expect([...issuers.values()].map(({ revoked }) => revoked)).toEqual(
      [...before.issuers.values()].map(({ revoked }) => revoked),
    )
    expect(await service.publish()).toMatchObject({ idle: true })
  })

  test("gets every root back, CRLs under higher numbers, and notation's tree", async () => {
    const service = await inService()
    await rotateTufKey(service.ports, "root", 2, ADMIN)
    await rotateTufKey(service.ports, "timestamp", 2, ADMIN)
    await service.publish()
    const state = stateOf(service)
    const { issuerKeyId } = await readIssuer(service.ports.table, "ci")
    const { root } = await readDeployment(service.ports.table)
    const numbers = [issuerKeyId, root.issuerKeyId].map((id) => published(service).crl(id).crlNumber ?? 0n)
    service.pass(60)
    service.memory.objects.lose(everything)
    await service.publish()
    const after = published(service)
    expect(after.objects.has("tuf/1.root.json") && after.objects.has("tuf/3.root.json")).toBe(true)
    for (const [i, id] of [issuerKeyId, root.issuerKeyId].entries())
      expect(after.crl(id).crlNumber).toBeGreaterThan(numbers[i] as bigint)
    expect(after.crl(issuerKeyId).entries.size).toBe(1)
    expect(after.notation().trustPolicy.trustPolicies).toHaveLength(1)
    expect(deployer(service, state)).toMatchObject({ ok: true })
  })

  test("signing and revoking go on meanwhile, and what they did is in the next list", async () => {
    const service = await inService()
    service.memory.objects.lose(everything)
    const [id] = await signNow(service, "meanwhile")
    await service.revoke({ kind: "signature", signature: id as string })
    await service.publish()
    expect([...published(service).list().issuers.values()].map(({ revoked }) => revoked.size)).toContain(2)
  })

  test("an issuer that is revoked and can't sign has no CRL to keep: KEY_NOT_USABLE until its key is enabled", async () => {
    const service = await inService()
    await service.revoke({ kind: "issuer", issuer: "ci", from: undefined })
    await service.publish()
    const state = stateOf(service)
    const { key } = await readIssuer(service.ports.table, "ci")
    service.pass(60)
    service.memory.keys.disable(key.keyId)
    service.memory.objects.lose(everything)
    await expect(service.publish()).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    service.memory.keys.enable(key.keyId)
    expect(await service.publish()).toMatchObject({ published: true })
    expect(deployer(service, state)).toMatchObject({ ok: true })
  })
})

describe("what was staged for a decided epoch is lost (R29)", () => {
  test.each([
    ["its plan", (key: string) => key.startsWith("staging/plan/2-")],
    ["its CRLs", (key: string) => key.startsWith("staging/crl/")],
    ["everything", everything],
  ])("%s: the epoch is left out, the next one has what it had, and no epoch has two lists", async (_, matches) => {
    const { service, state } = await diesBeforeShowing()
    const decided = await readCommit(service.ports.table, 2)
    service.memory.objects.lose(matches)
    expect(await service.publish()).toMatchObject({ epoch: 3, published: true })
    expect(namesLate(service)).toBe(true)
    expect(published(service).list().previous).toBe(decided?.listDigest)
    expect(deployer(service, state)).toMatchObject({ ok: true })
    expect(await readHead(service.ports.table)).toMatchObject({ open: 4, committed: 3, published: 3 })
    expect(service.memory.table.dump().find(({ epoch, pk }) => pk === "epochs" && epoch === 2)).toMatchObject({
      skipped: true,
    })
    await service.publish(true)
    expect(deployer(service, stateOf(service))).toMatchObject({ ok: true })
  })

  test("who saw the epoch that is left out accepts the next one", async () => {
    const { service, state } = await diesBeforeShowing()
    await service.publish()
    const seen = stateOf(service, state)
    expect(seen.list.epoch).toBe(2)
    await service.ports.table.transact([{ update: keys.publication, set: { published: 1 } }])
    service.memory.objects.lose(everything)
    expect(await service.publish()).toMatchObject({ epoch: 3 })
    expect(deployer(service, seen)).toMatchObject({ ok: true })
  })

  test("fsck finds nothing wrong with an epoch that was left out", async () => {
    const { service } = await diesBeforeShowing()
    service.memory.objects.lose((key) => key.startsWith("staging/plan/2-"))
    await service.publish()
    expectSound(service)
  })

  test("two publishers at once: one goes on, and one list stands", async () => {
    const { service, state } = await diesBeforeShowing()
    service.memory.objects.lose((key) => key.startsWith("staging/plan/2-"))
    const outcomes = await Promise.allSettled([service.publish(), service.publish()])
    for (const outcome of outcomes)
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "EPOCH_CONFLICT" })
    await service.publish()
    expect(deployer(service, state)).toMatchObject({ ok: true })
    expectSound(service)
  })

  test("a CRL that was to be kept is lost alone: STAGING_LOST, and the run after makes a new one", async () => {
    const service = await inService()
    service.memory.objects.lose((key) => key.startsWith("staging/crl/"))
    await expect(service.publish(true)).rejects.toThrow(withCode("STAGING_LOST"))
    expect(await service.publish()).toMatchObject({ epoch: 3, published: true })
    expectSound(service)
  })

  test("other bytes in its place are nobody's loss: the publisher stops", async () => {
    const { service } = await diesBeforeShowing()
    const [found] = service.memory.objects.lose((name) => name.startsWith("staging/plan/2-"))
    if (found === undefined) throw new Error("no plan was staged")
    const [key, object] = found
    await service.ports.objects.create(key, new Uint8Array([123, 125]), object)
    await expect(service.publish()).rejects.toThrow(withCode("PUBLICATION_MISMATCH"))
  })
})

describe("logs in an emptied bucket (R29, R30)", () => {
  test("LOG_BEHIND until the objects' versions are restored; signing and publishing go on, and nothing is forked", async () => {
    const service = await inService()
    await sequence(service.ports, "signatures")
    const lost = service.memory.objects.lose((key) => !notLogs(key))
    await signNow(service, "after")
    await expect(sequence(service.ports, "signatures")).rejects.toThrow(withCode("LOG_BEHIND"))
    expect(await service.publish(true)).toMatchObject({ published: true })
    for (const [key, object] of lost)
      if (key.endsWith("/checkpoint")) await service.ports.objects.replace(key, object.bytes, undefined, object)
      else await service.ports.objects.create(key, object.bytes, object)
    expect(await sequence(service.ports, "signatures")).toMatchObject({ size: 3n, logged: 1 })
    expectSound(service)
  })
})
