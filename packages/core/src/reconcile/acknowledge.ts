import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import {
  type AcknowledgedFinding,
  acknowledgementWrites,
  findAcknowledged,
  findFinding,
  type KeyFinding,
  openFindings,
} from "../ledger/key-findings.ts"
import { type ReconciliationCursor, readCursor } from "../ledger/key-uses.ts"
import type { Clock, RandomBytes, Table } from "../ports.ts"

/** Where reconciling stands. */
export interface Reconciliation {
  /** undefined: it has not begun */
  readonly cursor: ReconciliationCursor | undefined
  /** open ones, oldest first */
  readonly findings: readonly KeyFinding[]
}

export async function readReconciliation(table: Table): Promise<Reconciliation> {
  return { cursor: await readCursor(table), findings: await openFindings(table) }
}

/**
 * Someone has looked into a finding and says what it was. It rings no more and stays, with the comment; a repeat answers what stands.
 * @throws ServiceError FINDING_UNKNOWN
 */
export async function acknowledgeFinding(
  ports: { readonly table: Table; readonly clock: Clock; readonly random: RandomBytes },
  id: string,
  comment: string,
  actor: Actor,
): Promise<AcknowledgedFinding> {
  const { table, clock } = ports
  const finding = await findFinding(table, id)
  if (finding !== undefined)
    await table.transact([
      ...acknowledgementWrites(finding, clock(), actor.principal, comment),
      auditWrite(ports, actor, "reconciliation.acknowledge", `key-finding/${id}`),
    ])
  const standing = await findAcknowledged(table, id)
  if (standing === undefined) throw new ServiceError("FINDING_UNKNOWN", `no finding ${id}`)
  return standing
}
