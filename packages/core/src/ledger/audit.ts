import type { AuditEntry } from "../model.ts"
import type { Item, Table } from "../ports.ts"
import { Attributes, present } from "./attributes.ts"
import { keys } from "./keys.ts"

export function auditItem(entry: AuditEntry): Item {
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
  }
}
