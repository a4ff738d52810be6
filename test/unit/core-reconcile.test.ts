import { createIssuer } from "@sealwright/core/admin/ceremony"
import { rotateProfile } from "@sealwright/core/admin/profile-rotation"
import { addRoot } from "@sealwright/core/admin/roots"
import { ServiceError } from "@sealwright/core/errors"
import { auditOfDay } from "@sealwright/core/ledger/audit"
import { openFindings } from "@sealwright/core/ledger/key-findings"
import type { KeyUse } from "@sealwright/core/ledger/key-uses"
import { settleLeases } from "@sealwright/core/ledger/leases"
import { readIssuer, readProfile } from "@sealwright/core/ledger/trust"
import { acknowledgeFinding, readReconciliation } from "@sealwright/core/reconcile/acknowledge"
import { createReceiver } from "@sealwright/core/reconcile/receive"
import { makeTimestampAuthority } from "@sealwright/core/timestamp/authority"
import { describe, expect, test } from "vitest"
import { createWatchedService, roleOf } from "../support/reconciliation.ts"
import { ADMIN, signRequest } from "../support/service.ts"

const NONE = { UnexplainedKeyUses: 0, KeyUsesWithoutEvent: 0 }

/** Begins to count, as the first run of the schedule does. */
async function begun(wrap: Parameters<typeof createWatchedService>[0] = {}) {
  const service = createWatchedService(wrap)
  await service.settle(0)
  await service.prepare()
  return service
}

describe("reconciling uses of keys with records (R12, R29, D13)", () => {
  test("an ordinary day: every use is told by an act, in whatever order and however often events come", async () => {
    const service = await begun()
    await service.addProfile("held", { keyMode: "held" })
    await service.addProfile("shared", { keyMode: "shared" })
    const sign = service.signer()
    const many = Array.from({ length: 45 }, (_, i) => `s${i}`)
    await sign(signRequest(["one"], { idempotencyKey: "a" }))
    service.pass(40)
    await sign(signRequest(["one"], { idempotencyKey: "a" }))
    await sign(signRequest(many))
    await sign({ ...signRequest(["two", "three"]), profile: "held" })
    await sign({ ...signRequest(["two", "three"]), profile: "shared" })
    await service.publishNow()
    service.pass(700)
    await sign(signRequest(["four"]))
    const twice = [...service.events, ...service.events].sort((a, b) => (a.eventId < b.eventId ? 1 : -1))
    await service.deliver(twice)
    const { explained, open } = await service.settle()
    expect(open).toEqual(NONE)
    expect(explained).toBe(service.events.length)
    expect(service.events.length).toBeGreaterThan(60)
  })

  test("acts that sign twice, under two issuers", async () => {
    const service = await begun()
    await service.as("admin", async () => {
      await addRoot(service.adminPorts, { algorithm: "ml-dsa-65", generation: 1, rootYears: 10 }, ADMIN)
      await createIssuer(service.adminPorts, { name: "pq", algorithm: "ml-dsa-65", days: 1000 }, ADMIN)
      await service.endAdmin()
    })
    await service.addProfile("paired", { extraIssuer: "pq" })
    await service.signer()({ ...signRequest(["one", "two"]), profile: "paired" })
    await service.deliver()
    expect((await service.settle()).open).toEqual(NONE)
  })

  test("a direct signature with a stolen role is found, with what is known of it", async () => {
    const service = await begun()
    await service.signer()(signRequest(["one"]))
    const { key } = await readIssuer(service.ports.table, "ci")
    service.pass(5)
    const stolen = await service.steal("sign", key)
    await service.deliver()
    expect((await service.settle()).open).toEqual({ UnexplainedKeyUses: 1, KeyUsesWithoutEvent: 0 })
    const [finding] = await openFindings(service.ports.table)
    expect(finding).toMatchObject({
      id: stolen.requestId,
      kind: "unexplained",
      key: "issuer/ci",
      purpose: "issuer",
      keyId: key.keyId,
      principal: roleOf("sign"),
      sourceIp: "192.0.2.1",
      eventId: stolen.eventId,
      leases: 1,
      voids: 3,
    })
    expect(finding?.at).toEqual(stolen.at)
    // It rings until someone says what it was.
    expect((await service.settle(300)).open.UnexplainedKeyUses).toBe(1)
  })

  test("a key that the ledger does not know is no hiding place for a role of the service", async () => {
    const service = await begun()
    const key = await service.memory.keys.create("issuer/nobody", "issuer", "ecdsa-p256-sha256")
    await service.steal("sign", key)
    await service.deliver()
    expect((await service.settle()).open.UnexplainedKeyUses).toBe(1)
    expect((await openFindings(service.ports.table))[0]).toMatchObject({ key: undefined, purpose: undefined })
  })

  test.each([
    ["sign", "root", "memory:root"],
    ["publish", "issuer", "memory:issuer/ci"],
    ["somebody", "issuer", "memory:issuer/ci"],
    ["sign", "tuf-timestamp", "memory:tuf/timestamp"],
    ["sign", "log", "memory:log/signatures"],
  ])("%s has no business with a key for %s: found at once, and once", async (name, purpose, keyId) => {
    const service = await begun()
    const use = {
      requestId: "thief",
      eventId: "e",
      at: service.ports.clock(),
      keyId,
      principal: roleOf(name),
      sourceIp: "192.0.2.9",
    }
    const receive = createReceiver(service.reconcilePorts)
    expect(await receive(use)).toBe("wrong-role")
    expect(await receive(use)).toBe("wrong-role")
    expect(await openFindings(service.ports.table)).toMatchObject([{ id: "thief", kind: "wrong-role", purpose }])
    await service.deliver()
    expect((await service.settle()).open).toEqual({ UnexplainedKeyUses: 1, KeyUsesWithoutEvent: 0 })
  })

  test("keys and roles of others are none of its business", async () => {
    const service = await begun()
    const use = { requestId: "r", eventId: "e", at: service.ports.clock(), sourceIp: "192.0.2.9" }
    const receive = createReceiver(service.reconcilePorts)
    expect(await receive({ ...use, keyId: "arn:other", principal: roleOf("payroll") })).toBe("foreign")
    await service.deliver()
    expect((await service.settle()).open).toEqual(NONE)
  })

  test("timestamps are not counted; who uses their key is checked", async () => {
    const service = await begun()
    const { key } = await service.as("admin", () =>
      makeTimestampAuthority(service.adminPorts, { algorithm: "ecdsa-p256-sha256", days: 100 }, ADMIN),
    )
    await service.endAdmin()
    await service.steal("timestamp", key)
    await service.deliver()
    expect((await service.settle()).open).toEqual(NONE)
    await service.deliver([await service.steal("sign", key)])
    expect((await service.settle(300)).open.UnexplainedKeyUses).toBe(1)
  })

  test("without events the silence is found, and taken back when they come after all", async () => {
    const service = await begun()
    await service.signer()(signRequest(["one", "two"]))
    expect((await service.settle()).open).toEqual({ UnexplainedKeyUses: 0, KeyUsesWithoutEvent: 1 })
    const [finding] = await openFindings(service.ports.table)
    expect(finding).toMatchObject({ kind: "missing", count: service.events.length })
    await service.deliver()
    expect((await service.settle(300)).open).toEqual(NONE)
    expect((await service.settle(300)).open).toEqual(NONE)
  })

  test("one event that is missing among many is found", async () => {
    const service = await begun()
    await service.signer()(signRequest(["one", "two", "three"]))
    await service.deliver(service.events.slice(0, -1))
    expect((await service.settle()).open).toEqual({ UnexplainedKeyUses: 0, KeyUsesWithoutEvent: 1 })
    expect((await openFindings(service.ports.table))[0]).toMatchObject({ uses: [service.events.at(-1)?.requestId] })
  })

  test("a thief's event that comes after its minute was reconciled is found still", async () => {
    const service = await begun()
    await service.signer()(signRequest(["one"]))
    const { key } = await readIssuer(service.ports.table, "ci")
    const stolen = await service.steal("sign", key)
    await service.deliver(service.events.filter((use) => use !== stolen))
    expect((await service.settle()).open).toEqual(NONE)
    await service.deliver([stolen])
    expect((await service.settle(300)).open).toEqual({ UnexplainedKeyUses: 1, KeyUsesWithoutEvent: 0 })
  })

  test("a use and its act may stand minutes apart", async () => {
    const service = await begun()
    service.pass(900)
    await service.signer()(signRequest(["one"]))
    const late = service.events.pop() as KeyUse
    // As if the function had taken two minutes and more from its use of the key to its transaction.
    service.events.push({ ...late, at: new Date(late.at.getTime() - 150_000) })
    await service.deliver()
    expect((await service.settle()).open).toEqual(NONE)
  })

  test("a crash between signing and recording rings, and the finding shows the void number", async () => {
    let crash = false
    const service = await begun({
      table: (table) => ({
        ...table,
        transact: async (writes) => {
          if (crash && writes.some((write) => "put" in write && /^(?:audit|key-notes)#/.test(write.put.pk)))
            return await new Promise<never>(() => undefined)
          return await table.transact(writes)
        },
      }),
    })
    crash = true
    service
      .signer()(signRequest(["one"]))
      .catch(() => undefined)
    await new Promise((resolve) => setTimeout(resolve, 50))
    crash = false
    await settleLeases(service.ports.table)
    await service.deliver()
    expect((await service.settle()).open).toEqual({ UnexplainedKeyUses: 1, KeyUsesWithoutEvent: 0 })
    expect((await openFindings(service.ports.table))[0]).toMatchObject({ leases: 1, voids: 4 })
  })

  test("uses that came to nothing are told: a lease that was closed, a key that another request had, a part that failed", async () => {
    let fail = false
    const service = await begun({
      keys: (keys) => ({
        sign: async (key, message, note) => {
          if (fail && key.keyId.includes("issuer/")) {
            fail = false
            throw new ServiceError("SIGNER_UNAVAILABLE", "throttled")
          }
          // The others of the batch end after the one that failed.
          await new Promise((resolve) => setTimeout(resolve, 5))
          return await keys.sign(key, message, note)
        },
      }),
    })
    const sign = service.signer()
    await sign(signRequest(["one"]))
    await settleLeases(service.ports.table)
    const before = service.events.length
    await sign(signRequest(["two"]))
    expect(service.events.length).toBe(before + 2)
    const [first, second] = [service.signer(), service.signer()]
    const same = signRequest(["three"], { idempotencyKey: "k" })
    await Promise.all([first(same), second(same)])
    fail = true
    await expect(sign(signRequest(["four", "five", "six"]))).rejects.toMatchObject({ code: "SIGNER_UNAVAILABLE" })
    await service.deliver()
    const { explained, open } = await service.settle()
    expect(open).toEqual(NONE)
    expect(explained).toBe(service.events.length)
  })

  test("the audit entry of an act tells its uses, and the hot path writes no item more for it", async () => {
    const written: string[][] = []
    const service = await begun({
      table: (table) => ({
        ...table,
        transact: (writes) => {
          written.push(writes.map((write) => ("put" in write ? write.put.pk : "")))
          return table.transact(writes)
        },
      }),
    })
    const sign = service.signer()
    await sign(signRequest(["one"]))
    written.length = 0
    await sign(signRequest(["two"]))
    expect(written).toHaveLength(1)
    expect(written.flat().some((pk) => pk.startsWith("key-"))).toBe(false)
    const day = service.ports.clock().toISOString().slice(0, 10)
    const { entries } = await auditOfDay(service.ports.table, day, { limit: 100 })
    const signed = entries.filter(({ action }) => action === "sign").map(({ uses }) => uses)
    expect(signed.sort()).toEqual(service.events.slice(-2).map(({ requestId }) => [requestId]))
  })

  test("what was used before counting began is not counted", async () => {
    const service = createWatchedService()
    await service.prepare()
    const { key } = await readIssuer(service.ports.table, "ci")
    const before = await service.steal("sign", key)
    service.pass(600)
    await service.settle(0)
    await service.deliver([before])
    expect((await service.settle()).open).toEqual(NONE)
  })

  test("events that come before the first run count once their minute is due", async () => {
    const service = createWatchedService()
    await service.prepare()
    const { key } = await readIssuer(service.ports.table, "ci")
    await service.steal("sign", key)
    await service.deliver()
    await service.settle(0)
    expect((await service.settle()).open.UnexplainedKeyUses).toBe(1)
  })

  test("a held key that was replaced is known for what it was", async () => {
    const service = await begun()
    await service.addProfile("held", { keyMode: "held" })
    const { held } = await readProfile(service.ports.table, "held")
    await service.deliver()
    await service.settle()
    await service.as("admin", async () => {
      await rotateProfile(service.adminPorts, "held", 1, undefined, ADMIN)
      await service.endAdmin()
    })
    if (held === undefined) throw new Error("no key")
    expect((await readProfile(service.ports.table, "held")).held?.key.keyId).not.toBe(held.key.keyId)
    await service.deliver([await service.steal("somebody", held.key)])
    expect(await openFindings(service.ports.table)).toMatchObject([{ kind: "wrong-role", key: "held/held" }])
  })
})

describe("what was found is acknowledged (R12)", () => {
  const unexplained = async () => {
    const service = await begun()
    const { key } = await readIssuer(service.ports.table, "ci")
    const stolen = await service.steal("sign", key)
    await service.deliver()
    await service.settle()
    return { service, stolen }
  }

  test("with a reason, in the audit trail; it rings no more and is not found again", async () => {
    const { service, stolen } = await unexplained()
    const { ports } = service
    const done = await acknowledgeFinding(ports, stolen.requestId, "a drill of ours", ADMIN)
    expect(done).toMatchObject({ acknowledgedBy: ADMIN.principal, comment: "a drill of ours", kind: "unexplained" })
    const again = await acknowledgeFinding(ports, stolen.requestId, "another reason", ADMIN)
    expect(again.comment).toBe("a drill of ours")
    expect(await readReconciliation(ports.table)).toMatchObject({ findings: [] })
    await service.deliver()
    expect((await service.settle(300)).open).toEqual(NONE)
    const day = ports.clock().toISOString().slice(0, 10)
    const { entries } = await auditOfDay(ports.table, day, { limit: 100 })
    const acts = entries.filter(({ action }) => action === "reconciliation.acknowledge")
    expect(acts).toMatchObject([{ target: `key-finding/${stolen.requestId}`, principal: ADMIN.principal }])
  })

  test("nothing of that id: FINDING_UNKNOWN", async () => {
    const { service } = await unexplained()
    await expect(acknowledgeFinding(service.ports, "no-such", "x", ADMIN)).rejects.toMatchObject({
      code: "FINDING_UNKNOWN",
    })
  })
})
