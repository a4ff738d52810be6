/** The stack is deleted and deployed again, on what it left behind or on parts of it (docs/recovery.md). */
import { createIssuer, holdCeremony } from "@sealwright/core/admin/ceremony"
import { readDeployment } from "@sealwright/core/ledger/trust"
import { publish } from "@sealwright/core/publish/flow"
import { describe, expect, test } from "vitest"
import { deployer, inService, signNow, stateOf } from "../support/recovery.ts"
import { ADMIN, NAMES } from "../support/service.ts"
import { expectSound, withCode } from "./core-published.ts"

const CEREMONY = { ...NAMES, algorithm: "ecdsa-p256-sha256", rootYears: 10 } as const
const ISSUER = { name: "ci", algorithm: "ecdsa-p256-sha256", days: 1000 } as const

describe("deployed again on table, bucket and keys (R29)", () => {
  test("ceremony and issuer answer what stands, and deployers notice nothing", async () => {
    const service = await inService()
    const state = stateOf(service)
    const before = await readDeployment(service.ports.table)
    expect(await holdCeremony(service.ports, CEREMONY, ADMIN)).toEqual(before)
    const { issuerKeyId } = await createIssuer(service.ports, ISSUER, ADMIN)
    expect(service.memory.table.dump().filter(({ pk }) => pk === "issuers")).toMatchObject([{ issuerKeyId }])
    await signNow(service, "after")
    expect(await service.publish(true)).toMatchObject({ epoch: 2, published: true })
    expect(deployer(service, state)).toMatchObject({ ok: true })
    expectSound(service)
  })

  test("under other names the ceremony is refused", async () => {
    const service = await inService()
    const other = { ...CEREMONY, tufUrl: "https://other.wabbit-networks.io/tuf" }
    await expect(holdCeremony(service.ports, other, ADMIN)).rejects.toThrow(withCode("ALREADY_EXISTS"))
  })
})

describe("deployed again, and the table is gone (R29)", () => {
  /** A ceremony over an empty table finds the keys of the old deployment by their names. */
  async function anew() {
    const service = await inService()
    await service.publish(true)
    const pinnedRoot = service.memory.table.dump().find(({ pk }) => pk === "tuf-root")?.bytes as Uint8Array
    const state = stateOf(service)
    service.memory.table.restore([])
    service.pass(60)
    await service.setUp()
    await service.profile("release")
    return { service, state, pinnedRoot }
  }

  test("on the old bucket nothing is published, so no list is replaced by an empty one, and signing stops", async () => {
    const { service, state, pinnedRoot } = await anew()
    await expect(service.publish()).rejects.toThrow(withCode("TABLE_BEHIND"))
    await expect(signNow(service, "after")).rejects.toThrow(withCode("TABLE_BEHIND"))
    expect(deployer(service, state, pinnedRoot)).toMatchObject({ ok: true })
  })

  test("in a new bucket it is another deployment: who has state refuses it, who has none can't tell", async () => {
    const { service, state, pinnedRoot } = await anew()
    service.memory.objects.lose(() => true)
    await publish(service.ports, true)
    expect(deployer(service, state, pinnedRoot)).toMatchObject({ ok: false })
    expect(deployer(service, undefined, pinnedRoot)).toMatchObject({ ok: true })
  })
})
