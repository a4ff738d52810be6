import { ServiceError } from "../errors.ts"
import type { OutsideAuthority } from "../model.ts"
import type { Item, Table, Write } from "../ports.ts"
import { Attributes } from "./attributes.ts"
import { keys, queryAll } from "./keys.ts"

/** Holds only while what was read stands; undefined: while there is none. */
export function replaceOutsideAuthority(next: OutsideAuthority, standing: OutsideAuthority | undefined): Write {
  return {
    put: {
      ...keys.outsideAuthority(next.name),
      name: next.name,
      url: next.url,
      roots: [...next.roots],
      updatedAt: next.updatedAt.toISOString(),
    },
    if: standing === undefined ? { absent: true } : { equals: { updatedAt: standing.updatedAt.toISOString() } },
  }
}

function outsideAuthorityFrom(item: Item): OutsideAuthority {
  const attributes = Attributes.of(item)
  return {
    name: attributes.text("name"),
    url: attributes.text("url"),
    roots: attributes.list("roots") as readonly Uint8Array[],
    updatedAt: attributes.date("updatedAt"),
  }
}

/** @throws ServiceError TIMESTAMP_AUTHORITY_UNKNOWN */
export async function readOutsideAuthority(table: Table, name: string): Promise<OutsideAuthority> {
  const found = await findOutsideAuthority(table, name)
  if (found === undefined)
    throw new ServiceError("TIMESTAMP_AUTHORITY_UNKNOWN", `no outside authority is named ${name}`)
  return found
}

export async function findOutsideAuthority(table: Table, name: string): Promise<OutsideAuthority | undefined> {
  const item = await table.get(keys.outsideAuthority(name))
  return item && outsideAuthorityFrom(item)
}

/** By name. */
export async function listOutsideAuthorities(table: Table): Promise<OutsideAuthority[]> {
  return (await queryAll(table, "outside-authorities")).map(outsideAuthorityFrom)
}
