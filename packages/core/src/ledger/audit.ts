import type { ErrorCode } from "../errors.ts"
import type { AuditEntry } from "../model.ts"
import { ulid } from "../names.ts"
import type { Clock, Item, RandomBytes, Table, Write } from "../ports.ts"
import { Attributes, present } from "./attributes.ts"
import { keys } from "./keys.ts"

/** Who acts, in which request. */
export interface Actor {
  readonly principal: string
  readonly requestId: string
}

/**
 * The write that records an act (R12), for the act's own transaction: both last, or neither.
 * @param refusal why it was refused; left out when it was done
 * @param uses ids of the uses of keys that the act made (D13)
 */
export function auditWrite(
  ports: { readonly clock: Clock; readonly random: RandomBytes },
  actor: Actor,
  action: string,
  target: string,
  refusal?: ErrorCode,
  uses: readonly string[] = [],
): Write {
  const at = ports.clock()
  const entry: AuditEntry = {
    at,
    id: ulid(at, ports.random(10)),
    principal: actor.principal,
    action,
    target,
    outcome: refusal === undefined ? "done" : "refused",
    code: refusal,
    requestId: actor.requestId,
    uses,
  }
  return { put: auditItem(entry) }
}

function auditItem(entry: AuditEntry): Item {
  return {
    ...keys.audit(entry.at.toISOString().slice(0, 10), entry.id),
    ...present({
      id: entry.id,
      at: entry.at.toISOString(),
      principal: entry.principal,
      action: entry.action,
      target: entry.target,
      outcome: entry.outcome,
      code: entry.code,
      requestId: entry.requestId,
      uses: entry.uses.length > 0 ? [...entry.uses] : undefined,
    }),
  }
}

/** @param day UTC, `YYYY-MM-DD` */
export async function auditOfDay(
  table: Table,
  day: string,
  range: { readonly after?: string; readonly limit: number },
): Promise<{ readonly entries: readonly AuditEntry[]; readonly next: string | undefined }> {
  const page = await table.query(`audit#${day}`, range)
  return { entries: page.items.map(auditFrom), next: page.next }
}

function auditFrom(item: Item): AuditEntry {
  const attributes = Attributes.of(item)
  return {
    id: attributes.text("id"),
    at: attributes.date("at"),
    principal: attributes.text("principal"),
    action: attributes.text("action"),
    target: attributes.text("target"),
    outcome: attributes.text("outcome") as AuditEntry["outcome"],
    code: attributes.optionalText("code"),
    requestId: attributes.text("requestId"),
    uses: attributes.has("uses") ? attributes.texts("uses") : [],
  }
}
