import { ServiceError } from "../errors.ts"
import type { Item, Table } from "../ports.ts"
import { Attributes } from "./attributes.ts"
import { keys, queryAll } from "./keys.ts"

/** A TUF document that only an admin's act signs. */
export interface TufDocument {
  readonly version: number
  readonly expires: Date
  readonly bytes: Uint8Array
}

/** Targets and the trust bundle that they list, in one item: who reads one reads the other that belongs to it. */
export interface TargetsDocument extends TufDocument {
  /** trust-bundle.json as it is published */
  readonly trustBundle: Uint8Array
}

export function tufDocumentItem(role: "root" | "targets", document: TufDocument): Item {
  return {
    ...keys.tufDocument(role, document.version),
    version: document.version,
    expires: document.expires.toISOString(),
    bytes: document.bytes,
  }
}

export function targetsDocumentItem(document: TargetsDocument): Item {
  return { ...tufDocumentItem("targets", document), trustBundle: document.trustBundle }
}

/** @throws ServiceError PRECONDITION_REQUIRED before the ceremony */
export async function newestTargets(table: Table): Promise<TargetsDocument> {
  const { items } = await table.query(keys.tufDocument("targets", 0).pk, { descending: true, limit: 1 })
  const [item] = items
  if (item === undefined) throw new ServiceError("PRECONDITION_REQUIRED", "the ceremony left no TUF targets")
  return targetsFrom(item)
}

/** @throws Error when there is no such version: a damaged table */
export async function readTargets(table: Table, version: number): Promise<TargetsDocument> {
  const key = keys.tufDocument("targets", version)
  const item = await table.get(key)
  if (item === undefined) throw new Error(`damaged table: no ${key.pk} ${key.sk}`)
  return targetsFrom(item)
}

/** All versions, oldest first: stale clients walk every root. */
export async function tufDocuments(table: Table, role: "root" | "targets"): Promise<TufDocument[]> {
  return (await queryAll(table, keys.tufDocument(role, 0).pk)).map(documentFrom)
}

/** The newest root and targets that belong together, and every root before. */
export interface TufDocuments {
  /** oldest first; never empty */
  readonly roots: readonly TufDocument[]
  readonly root: TufDocument
  readonly targets: TargetsDocument
}

const ATTEMPTS = 8

/**
 * Root and targets of one moment: an act that changes both changes them at once, so what stands between two equal readings of the roots belongs to them.
 * @throws ServiceError PRECONDITION_REQUIRED before the ceremony, CONTENTION
 */
export async function readTufDocuments(table: Table): Promise<TufDocuments> {
  let roots = await tufDocuments(table, "root")
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const targets = await newestTargets(table)
    const again = await tufDocuments(table, "root")
    const root = again.at(-1)
    if (root === undefined) throw new ServiceError("PRECONDITION_REQUIRED", "the ceremony left no TUF root")
    if (root.version === roots.at(-1)?.version) return { roots: again, root, targets }
    roots = again
  }
  throw new ServiceError("CONTENTION", "TUF roots kept changing")
}

function documentFrom(item: Item): TufDocument {
  const attributes = Attributes.of(item)
  return {
    version: attributes.number("version"),
    expires: attributes.date("expires"),
    bytes: attributes.bytes("bytes"),
  }
}

function targetsFrom(item: Item): TargetsDocument {
  return { ...documentFrom(item), trustBundle: Attributes.of(item).bytes("trustBundle") }
}
