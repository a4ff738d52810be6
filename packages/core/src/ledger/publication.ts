import type { Item, Table, Write } from "../ports.ts"
import { Attributes } from "./attributes.ts"
import { keys } from "./keys.ts"

/**
 * Where publication stands. `open` is the epoch that takes revocations now; `committed` the last one whose content is
 * decided; `published` the last one that every head shows. published <= committed < open.
 */
export interface PublicationHead {
  readonly open: number
  readonly committed: number
  readonly published: number
  /** acts since `open` was opened that the next publication must show */
  readonly changes: number
  /** date of the last committed epoch */
  readonly committedAt: Date | undefined
}

export function firstPublicationHead(): Item {
  return { ...keys.publication, open: 1, committed: 0, published: 0, changes: 1 }
}

export async function readHead(table: Table): Promise<PublicationHead | undefined> {
  const item = await table.get(keys.publication)
  if (item === undefined) return undefined
  const attributes = Attributes.of(item)
  return {
    open: attributes.number("open"),
    committed: attributes.number("committed"),
    published: attributes.number("published"),
    changes: attributes.number("changes"),
    committedAt: attributes.optionalDate("committedAt"),
  }
}

/** Ties a change to the open epoch: holds only while that epoch is open, so the epoch's snapshot has the change (D4). */
export function noteChange(open: number): Write {
  return { update: keys.publication, add: { changes: 1 }, if: { equals: { open } } }
}
