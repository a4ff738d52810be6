import { setTimeout as sleep } from "node:timers/promises"
import { clock } from "@sealwright/adapters/platform"
import { isServiceError } from "@sealwright/core/errors"
import { findLogged } from "@sealwright/core/ledger/log"
import { proofsAt } from "@sealwright/core/log/proof"
import type { SignatureRecord } from "@sealwright/core/model"
import type { Table } from "@sealwright/core/ports"
import { logState, proofView } from "../http/log-view.ts"

/** API Gateway waits 30 seconds from the request on; this leaves time to answer. */
export const LONGEST_WAIT_MS = 25_000
const POLL_MS = 500

/**
 * Waits until signatures are in the log; they stand in any case, so trouble of the store ends the waiting and nothing else.
 * @param until milliseconds since 1970
 * @returns by id what the answer adds to those that are logged
 */
export async function waitForLog(
  table: Table,
  records: readonly SignatureRecord[],
  until: number,
): Promise<ReadonlyMap<string, ReturnType<typeof logState> & { readonly proofs: ReturnType<typeof proofView>[] }>> {
  const done = new Map<string, ReturnType<typeof logState> & { readonly proofs: ReturnType<typeof proofView>[] }>()
  for (;;) {
    await Promise.all(
      records.map(async (record) => {
        if (done.has(record.id)) return
        const logged = await findLogged(table, record.id)
        if (logged === undefined) return
        done.set(record.id, { ...logState(logged), proofs: (await proofsAt(table, record, logged)).map(proofView) })
      }),
    ).catch((error: unknown) => {
      if (!isServiceError(error)) throw error
    })
    if (done.size === records.length || clock().getTime() + POLL_MS > until) return done
    await sleep(POLL_MS)
  }
}
