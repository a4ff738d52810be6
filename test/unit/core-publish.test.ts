import { createMemoryTable } from "@sealwright/adapters/memory-table"
import { allowDigests } from "@sealwright/core/admin/profiles"
import { keys } from "@sealwright/core/ledger/keys"
import { readHead } from "@sealwright/core/ledger/publication"
import { readDeployment, readIssuer } from "@sealwright/core/ledger/trust"
import type { Objects, SigningKeys, Table } from "@sealwright/core/ports"
import { hexEncode } from "@sealwright/formats/bytes"
import { describe, expect, test } from "vitest"
import { fsck } from "../../packages/cli/src/fsck/check.ts"
import { ADMIN, createService, digestOf, signRequest } from "../support/service.ts"
import { dumpOf, expectSound, published, withCode } from "./core-published.ts"

const DAY = 86_400

/** Runs something before or after each call that changes a store or uses a key. */
function hooked() {
  const hook = {
    calls: 0,
    /** writes that took effect */
    changes: 0,
    before: async (_call: number): Promise<void> => undefined,
    after: async (_call: number): Promise<void> => undefined,
  }
  const around = async <T>(act: () => Promise<T>): Promise<T> => {
    const call = ++hook.calls
    await hook.before(call)
    const result = await act()
    await hook.after(call)
    return result
  }
  const writing = <T>(act: () => Promise<T>, changed: (result: T) => boolean): Promise<T> =>
    around(async () => {
      const result = await act()
      if (changed(result)) hook.changes++
      return result
    })
  return {
    hook,
    table: (table: Table): Table => ({
      ...table,
      transact: (writes) =>
        writing(
          () => table.transact(writes),
          ({ committed }) => committed,
        ),
    }),
    objects: (objects: Objects): Objects => ({
      ...objects,
      create: (...args) =>
        writing(
          () => objects.create(...args),
          (result) => result !== "exists",
        ),
      replace: (...args) =>
        writing(
          () => objects.replace(...args),
          (result) => result !== "changed",
        ),
    }),
    keys: (keys: SigningKeys): SigningKeys => ({ sign: (...args) => around(() => keys.sign(...args)) }),
    stop: () => {
      hook.before = hook.after = async () => undefined
    },
  }
}

/** One publication, and a revocation and an open lease that wait for the next. */
async function prepare() {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  const sign = service.signer()
  const [one] = await sign(signRequest(["one"], { idempotencyKey: "k" }))
  await service.publish()
  service.pass(60)
  if (one === undefined || !("signed" in one)) throw new Error("not signed")
  await sign(signRequest(["two"]))
  await service.revoke({ kind: "signature", signature: one.signed.id })
  return { ...service.memory, items: service.memory.table.dump(), revoked: one.signed }
}
const prepared = prepare()

/** A service of its own that stands where `prepare` ended. */
async function waiting() {
  const { hook, stop, ...wrap } = hooked()
  const { items, objects, keys, revoked } = await prepared
  const service = createService(wrap, { table: createMemoryTable(items), objects: objects.fork(), keys })
  service.pass(60)
  return { service, hook, stop, revoked }
}

function expectPublished(
  service: Awaited<ReturnType<typeof waiting>>["service"],
  revoked: { number: number; issuerKeyId: string; serialHex: string },
) {
  const shown = published(service)
  expect(shown.list().issuers.get(revoked.issuerKeyId)?.revoked.has(revoked.number)).toBe(true)
  expect(shown.crl(revoked.issuerKeyId).entries.has(revoked.serialHex)).toBe(true)
  expect(expectSound(service)).toBe(2)
}

describe("a publisher that dies (D5, I3)", () => {
  test.each(["before", "after"] as const)(
    "%s any of its calls leaves a sound state, and the next run ends the work",
    async (when) => {
      const faultFree = await waiting()
      await faultFree.service.publish()
      const calls = faultFree.hook.calls
      expect(calls).toBeGreaterThan(25)
      // Who dies while nothing is written leaves what the one before it left: the next run goes on from each state once.
      const left = new Set<number>()
      for (let at = 1; at <= calls; at++) {
        const { service, hook, stop, revoked } = await waiting()
        hook[when] = async (call) => {
          if (call >= at) throw new Error("killed")
        }
        await expect(service.publish()).rejects.toThrow("killed")
        stop()
        if (left.has(hook.changes)) continue
        left.add(hook.changes)
        expectSound(service)
        await service.publish()
        expectPublished(service, revoked)
      }
      expect(left.size).toBeGreaterThan(15)
    },
    60_000,
  )

  test("and one that stood still while others went on changes nothing when it wakes (R28)", async () => {
    const { service: probe, hook: probed } = await waiting()
    await probe.publish()
    for (let at = 1; at <= probed.calls; at++) {
      const { service, hook, stop, revoked } = await waiting()
      let epoch = 0
      hook.before = async (call) => {
        if (call !== at) return
        stop()
        await service.publish(true)
        service.pass(60)
        epoch = (await service.publish(true)).epoch
      }
      await service.publish().catch((error: unknown) => expect(error).toMatchObject({ code: "EPOCH_CONFLICT" }))
      expect(published(service).epoch).toBeGreaterThanOrEqual(epoch)
      expectPublished(service, revoked)
      await service.publish(true)
      expectPublished(service, revoked)
    }
  }, 60_000)

  test("two at once: one publishes, the other joins or yields", async () => {
    const { service, revoked } = await waiting()
    const outcomes = await Promise.allSettled([service.publish(), service.publish(), service.publish()])
    expect(outcomes.some(({ status }) => status === "fulfilled")).toBe(true)
    for (const outcome of outcomes)
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "EPOCH_CONFLICT" })
    await service.publish()
    expectPublished(service, revoked)
  })
})

describe("when to publish", () => {
  test("nothing is published before the ceremony", async () => {
    await expect(createService().publish()).rejects.toThrow(withCode("PRECONDITION_REQUIRED"))
  })

  test("a run without changes is idle until six hours are over, unless it is forced", async () => {
    const service = createService()
    await service.setUp()
    expect(await service.publish()).toMatchObject({ epoch: 1, published: true, idle: false })
    expect(await service.publish()).toMatchObject({ epoch: 1, published: false, idle: true })
    expect((await service.publish(true)).epoch).toBe(2)
    service.pass(6 * 3600 - 1)
    expect((await service.publish()).idle).toBe(true)
    service.pass(1)
    expect((await service.publish()).epoch).toBe(3)
    expectSound(service)
  })

  test("a clock that went back stops publishing, and nothing moves", async () => {
    const service = createService()
    await service.setUp()
    await service.publish()
    const before = published(service).objects
    service.pass(-3600)
    await expect(service.publish(true)).rejects.toThrow(withCode("CLOCK_WENT_BACK"))
    expect(published(service).objects).toEqual(before)
    service.pass(3600)
    expect((await service.publish(true)).published).toBe(true)
    expectSound(service)
  })
})

describe("the published set is checked before it moves (D5)", () => {
  test("an object that does not hold what was committed stops the publication", async () => {
    let spoil = false
    const service = createService({
      objects: (objects) => ({
        ...objects,
        create: (key, bytes, headers) => {
          const stored = new Uint8Array(bytes)
          if (spoil && key.endsWith(".revocations.json")) stored[stored.length - 1] = 32
          return objects.create(key, stored, headers)
        },
      }),
    })
    await service.setUp()
    await service.publish()
    const { epoch } = published(service)
    service.pass(60)
    spoil = true
    await expect(service.publish(true)).rejects.toThrow(withCode("PUBLICATION_UNVERIFIED"))
    expect(published(service).epoch).toBe(epoch)
    spoil = false
    await expect(service.publish(true)).rejects.toThrow(withCode("PUBLICATION_MISMATCH"))
    expect(published(service).epoch).toBe(epoch)
  })

  test("a disabled TUF key stops it, with everything as before", async () => {
    const service = createService()
    await service.setUp()
    await service.publish()
    const { epoch } = published(service)
    service.memory.keys.disable("memory:tuf/timestamp")
    await expect(service.publish(true)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    expect(published(service).epoch).toBe(epoch)
    expectSound(service)
  })
})

describe("CRLs (D7, D14)", () => {
  async function withCrls() {
    const service = createService()
    await service.setUp()
    await service.profile("release")
    const { issuerKeyId } = await readIssuer(service.ports.table, "ci")
    const { root } = await readDeployment(service.ports.table)
    await service.publish()
    const bytes = (id: string) => hexEncode(published(service).crl(id).der)
    return { service, issuer: issuerKeyId, root: root.issuerKeyId, bytes }
  }

  test("an unchanged one is kept while most of its life lies ahead, then renewed", async () => {
    const { service, issuer, root, bytes } = await withCrls()
    const first = { issuer: bytes(issuer), root: bytes(root) }
    service.pass(2 * DAY)
    await service.publish(true)
    expect({ issuer: bytes(issuer), root: bytes(root) }).toEqual(first)
    service.pass(DAY)
    await service.publish(true)
    expect(bytes(issuer)).not.toBe(first.issuer)
    expect(bytes(root)).toBe(first.root)
    service.pass(8 * DAY)
    await service.publish(true)
    expect(bytes(root)).not.toBe(first.root)
    expectSound(service)
  })

  test("a changed one is new at once, under a higher number; the other issuer's stays", async () => {
    const { service, issuer, root, bytes } = await withCrls()
    const before = { number: published(service).crl(issuer).crlNumber ?? 0n, root: bytes(root) }
    const [one] = await service.signer()(signRequest(["a"]))
    if (one === undefined || !("signed" in one)) throw new Error("not signed")
    await service.revoke({ kind: "signature", signature: one.signed.id })
    await service.publish()
    const crl = published(service).crl(issuer)
    expect(crl.crlNumber).toBeGreaterThan(before.number)
    expect(crl.nextUpdate.getTime() - crl.thisUpdate.getTime()).toBe(7 * DAY * 1000)
    const rootCrl = published(service).crl(root)
    expect(rootCrl.nextUpdate.getTime() - rootCrl.thisUpdate.getTime()).toBe(30 * DAY * 1000)
    expect(bytes(root)).toBe(before.root)
    expectSound(service)
  })

  test("fsck names one that is older than what is shown", async () => {
    const { service, issuer } = await withCrls()
    const older = published(service).crl(issuer).der
    service.pass(3 * DAY)
    await service.publish(true)
    const { items, objects } = dumpOf(service)
    objects.set(`crl/${issuer}.crl`, older)
    expect(fsck({ items, objects }).findings.map(({ code }) => code)).toEqual(["CRL_WRONG"])
  })

  test("is asked for by epoch alone, and only a committed one is answered (D13)", async () => {
    const { service, issuer } = await withCrls()
    await expect(service.ports.requestCrl(2, issuer)).rejects.toThrow(withCode("EPOCH_CONFLICT"))
    await expect(service.ports.requestCrl(1, "ab".repeat(32))).rejects.toThrow(withCode("ISSUER_UNKNOWN"))
  })
})

describe("allow list, registry and dialects (R25, D9)", () => {
  const SCOPE = "registry.wabbit-networks.io/net-monitor"

  test("explicit digests stand under profile and repository, and stay there", async () => {
    const service = createService()
    await service.setUp()
    await service.profile("listed", { allowList: true })
    await allowDigests(service.ports, "listed", SCOPE, [digestOf("b"), digestOf("a")], ADMIN)
    await service.publish()
    await allowDigests(service.ports, "listed", SCOPE, [digestOf("a"), digestOf("c")], ADMIN)
    await service.publish()
    const digests = ["a", "b", "c"].map(digestOf).sort()
    expect(published(service).allow().profiles).toEqual(new Map([["listed", new Map([[SCOPE, digests]])]]))
    expectSound(service)
  })

  test.each([
    ["REQUEST_MALFORMED", "release", SCOPE],
    ["REQUEST_MALFORMED", "listed", "registry.wabbit-networks.io/*"],
    ["REQUEST_MALFORMED", "listed", "net-monitor"],
    ["PROFILE_UNKNOWN", "nobody", SCOPE],
  ])("%s for profile %s and scope %s", async (code, profile, scope) => {
    const service = createService()
    await service.setUp()
    await service.profile("release")
    await service.profile("listed", { allowList: true })
    await expect(allowDigests(service.ports, profile, scope, [digestOf("a")], ADMIN)).rejects.toThrow(withCode(code))
  })

  test("the registry names identities, and notation's tree exactly the listed repositories", async () => {
    const service = createService()
    await service.setUp()
    await service.profile("release", { repositories: [SCOPE, "registry.wabbit-networks.io/team/*"] })
    await service.profile("twin", { repositories: [SCOPE], keyMode: "held" })
    await service.publish()
    const registry = published(service).registry()
    expect(registry.profiles).toMatchObject([
      { name: "release", identity: "release@trust.wabbit-networks.io", keyMode: "ephemeral", state: "active" },
      { name: "twin", identity: "twin@trust.wabbit-networks.io", keyMode: "held" },
    ])
    expect(JSON.stringify([...published(service).objects.keys()])).not.toContain("net-monitor")
    expect(published(service).notation().trustPolicy.trustPolicies).toEqual([
      {
        name: "release+twin",
        registryScopes: [SCOPE],
        signatureVerification: { level: "strict" },
        trustStores: ["signingAuthority:sealwright"],
        trustedIdentities: ["release", "twin"].map(
          (name) => `x509.subject: C=US, ST=Washington, O=Wabbit Networks, CN=${name}`,
        ),
      },
    ])
    expectSound(service)
  })
})

test("a run that finds a closed epoch publishes it, and what changed since then (D5)", async () => {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  await service.publish(true)
  const { table } = service.ports
  const closed = (await readHead(table))?.open as number
  await table.transact([{ update: keys.publication, set: { open: closed + 1, changes: 0 } }])
  await service.revoke({ kind: "artifact", digest: digestOf("late") })
  expect(await service.publish()).toMatchObject({ epoch: closed + 1, published: true })
  expect(published(service).epoch).toBe(closed + 1)

  await table.transact([{ update: keys.publication, set: { open: closed + 3, changes: 0 } }])
  expect(await service.publish()).toMatchObject({ epoch: closed + 2, published: true })
  expect(await service.publish()).toMatchObject({ idle: true })
  expectSound(service)
})
