import type { ErrorCode } from "../errors.ts"
import { auditItem } from "../ledger/audit.ts"
import { ulid } from "../names.ts"
import type { Clock, RandomBytes, Table } from "../ports.ts"

const MAX_TARGET = 300

/** Writes down that someone was refused what, and why (R12). */
export async function recordRefusal(
  ports: { readonly table: Table; readonly clock: Clock; readonly random: RandomBytes },
  actor: { readonly principal: string; readonly requestId: string },
  action: string,
  target: string,
  code: ErrorCode,
): Promise<void> {
  const at = ports.clock()
  const entry = {
    at,
    id: ulid(at, ports.random(10)),
    principal: actor.principal,
    action,
    target: target.slice(0, MAX_TARGET),
    outcome: "refused",
    code,
    requestId: actor.requestId,
  } as const
  await ports.table.transact([{ put: auditItem(entry) }])
}
