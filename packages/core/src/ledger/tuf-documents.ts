import type { Item, Table } from "../ports.ts"
import { Attributes } from "./attributes.ts"
import { keys, queryAll } from "./keys.ts"

/** A TUF document that only a ceremony signs. */
export interface TufDocument {
  readonly version: number
  readonly expires: Date
  readonly bytes: Uint8Array
}

export function tufDocumentItem(role: "root" | "targets", document: TufDocument): Item {
  return {
    ...keys.tufDocument(role, document.version),
    version: document.version,
    expires: document.expires.toISOString(),
    bytes: document.bytes,
  }
}

/** All versions, oldest first: stale clients walk every root. */
export async function tufDocuments(table: Table, role: "root" | "targets"): Promise<TufDocument[]> {
  return (await queryAll(table, keys.tufDocument(role, 0).pk)).map((item) => {
    const attributes = Attributes.of(item)
    return {
      version: attributes.number("version"),
      expires: attributes.date("expires"),
      bytes: attributes.bytes("bytes"),
    }
  })
}
