import { ServiceError } from "@sealwright/core/errors"
import { openFindings } from "@sealwright/core/ledger/key-findings"
import { readIssuer } from "@sealwright/core/ledger/trust"
import type { Table } from "@sealwright/core/ports"
import { acknowledgeFinding } from "@sealwright/core/reconcile/acknowledge"
import { describe, expect, test } from "vitest"
import { createWatchedService } from "../support/reconciliation.ts"
import { ADMIN, signRequest } from "../support/service.ts"

/** Fails the write of this number, before or after it took effect; none with -1. */
function faulty() {
  const state = { armed: false, writes: 0, failAt: -1, after: false }
  const wrap = (table: Table): Table => ({
    ...table,
    transact: async (writes) => {
      if (!state.armed) return await table.transact(writes)
      const fails = state.writes++ === state.failAt
      if (fails && !state.after) throw new ServiceError("STORE_UNAVAILABLE", "fault")
      const result = await table.transact(writes)
      if (fails) throw new ServiceError("STORE_UNAVAILABLE", "fault")
      return result
    },
  })
  return { state, wrap }
}

/** One stolen use, one lost event, one that comes late; then all of it acknowledged. @returns what was found */
async function scene(failAt: number, after: boolean) {
  const { state, wrap } = faulty()
  const service = createWatchedService({ table: wrap })
  const { table } = service.ports
  await service.settle(0)
  await service.prepare()
  await service.signer()(signRequest(["one", "two", "three"]))
  const { key } = await readIssuer(table, "ci")
  const stolen = await service.steal("sign", key)
  const [lost, late, ...rest] = service.events.filter((use) => use !== stolen).slice(-3)
  const early = service.events.filter((use) => use !== lost && use !== late && use !== stolen)
  Object.assign(state, { armed: true, failAt, after })

  /** As Lambda and the schedule do with what failed. */
  const again = async <T>(act: () => Promise<T>): Promise<T> => {
    try {
      return await act()
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      return await act()
    }
  }
  for (const use of [...early, stolen]) await again(() => service.deliver([use]))
  await again(() => service.settle())
  await again(() => service.deliver([late ?? stolen]))
  await again(() => service.settle(300))
  const found = await openFindings(table)
  for (const { id } of found) await again(() => acknowledgeFinding(service.ports, id, "seen", ADMIN))
  const { open } = await again(() => service.settle(300))
  state.armed = false
  expect(rest).toHaveLength(1)
  return { found: found.map(({ kind, id, uses }) => ({ kind, id, uses })), open, writes: state.writes, stolen, lost }
}

describe("reconciling, every write failing (R12, D13)", { timeout: 60_000 }, () => {
  test.each([
    ["before it took effect", false],
    ["after it took effect", true],
  ])("%s", async (_, after) => {
    const calm = await scene(-1, after)
    expect(calm.found).toMatchObject([
      { kind: "missing", uses: [calm.lost?.requestId] },
      { kind: "unexplained", id: calm.stolen.requestId },
    ])
    expect(calm.writes).toBeGreaterThan(10)
    for (let at = 0; at < calm.writes; at++) {
      const { found, open } = await scene(at, after)
      expect(found, `write ${at}`).toEqual(calm.found)
      expect(open, `write ${at}`).toEqual({ UnexplainedKeyUses: 0, KeyUsesWithoutEvent: 0 })
    }
  })
})
