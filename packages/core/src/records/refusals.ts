import type { ErrorCode } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import type { Clock, RandomBytes, Table } from "../ports.ts"

const MAX_TARGET = 300

/** Writes down that someone was refused what, and why (R12). */
export async function recordRefusal(
  ports: { readonly table: Table; readonly clock: Clock; readonly random: RandomBytes },
  actor: Actor,
  action: string,
  target: string,
  code: ErrorCode,
): Promise<void> {
  await ports.table.transact([auditWrite(ports, actor, action, target.slice(0, MAX_TARGET), code)])
}
