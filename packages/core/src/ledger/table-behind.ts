import { ServiceError } from "../errors.ts"
import type { LogKind } from "../model.ts"
import type { Table, Write } from "../ports.ts"
import { Attributes } from "./attributes.ts"
import { keys, queryAll } from "./keys.ts"
import { readLogHead } from "./log.ts"
import { readHead } from "./publication.ts"

/** What may be seen published beyond what the table has decided. */
export type Tree = "publication" | LogKind

/** @param position the epoch or tree size that is shown */
export function noteBehind(tree: Tree, position: number): Write {
  return { put: { ...keys.tableBehind(tree), tree, position } }
}

/** For a publisher that finds its table in order. One write, only when something was noted. */
export async function forgetBehind(table: Table, tree: Tree): Promise<void> {
  const key = keys.tableBehind(tree)
  if ((await table.get(key)) !== undefined) await table.transact([{ delete: key }])
}

/**
 * Whether numbers may be handed out: a table that was restored to an earlier time would hand out again what others have already. What was noted counts
 * only while the table is still behind it, so a table that was restored once more, to a later time, is free by itself.
 * @throws ServiceError TABLE_BEHIND
 */
export async function checkNumbersAreNew(table: Table): Promise<void> {
  for (const item of await queryAll(table, "table-behind")) {
    const attributes = Attributes.of(item)
    const tree = attributes.text("tree") as Tree
    const seen = attributes.number("position")
    const decided =
      tree === "publication" ? ((await readHead(table))?.committed ?? 0) : Number((await readLogHead(table, tree)).size)
    if (seen > decided)
      throw new ServiceError("TABLE_BEHIND", `${tree} was shown at ${seen}, and the table has decided ${decided}`)
  }
}
