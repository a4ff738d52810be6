/**
 * What fsck reads: every item of the table and every published object, and nothing that the service's own code computed.
 * The names of items are written down here a second time on purpose: a checker that shares the writer's code shares its mistakes.
 */

export type StoredValue =
  | string
  | number
  | boolean
  | Uint8Array
  | ReadonlySet<string>
  | readonly StoredValue[]
  | { readonly [name: string]: StoredValue }

export type StoredItem = { readonly pk: string; readonly sk: string } & { readonly [name: string]: StoredValue }

export interface Dump {
  readonly items: readonly StoredItem[]
  /** by key in the bucket */
  readonly objects: ReadonlyMap<string, Uint8Array>
}

/** Codes of what fsck finds; public API. Each names the promise that is broken (docs/invariants.md). */
export const FSCK_CODES = {
  TABLE_DAMAGED: "an item lacks an attribute or has one of another type",
  LEASES_OVERLAP: "two leases of an issuer share numbers, or numbers were given out without a lease",
  NUMBER_WITHOUT_RECORD: "a lease says that a number has a record, and there is none (I1)",
  RECORD_WITHOUT_NUMBER: "a record's number is not given to it by its lease (I4)",
  VOIDS_WRONG: "the void numbers of a settled lease are not its range without its records",
  LEASE_UNSETTLED: "a closed lease was settled and is still marked as open, or the reverse",
  RECORD_ENVELOPE_INVALID: "a recorded envelope does not verify or is not what its record says (I1)",
  ARTIFACT_LIST_WRONG: "an artifact's item does not list exactly its records",
  INBOX_MISSING: "a record is neither logged nor waits for the log (I6)",
  LOG_WRONG: "a transparency log's entries, tiles, checkpoint and head contradict each other (R30)",
  LOG_PLACE_WRONG: "a signature is not where the log is said to have it, or twice (I6)",
  IDEMPOTENCY_WRONG: "an idempotency key names no record, or one of another request (I5)",
  JOB_WRONG: "a job's counts, its subjects, their outcomes and what was signed for it contradict each other (I5)",
  DENIAL_MISSING: "an artifact is revoked and could still be signed",
  HEAD_WRONG: "the publication head contradicts itself or what is published (I3)",
  PUBLICATION_INVALID: "what is published does not verify together (I3)",
  REVOCATION_UNPUBLISHED: "a published list lacks a revocation that was acknowledged for it (I2)",
  REVOCATION_WITHDRAWN: "a published list lacks what an earlier one had (I7)",
  LIST_UNFOUNDED: "a published list revokes or covers what the table does not",
  CRL_WRONG: "a published CRL is not the one of its epoch, or contradicts the list",
} as const

export type FsckCode = keyof typeof FSCK_CODES

export interface Finding {
  readonly code: FsckCode
  readonly subject: string
  readonly detail: string
}

/** Items of a table, by partition. */
export class Items {
  readonly #byPartition = new Map<string, StoredItem[]>()
  readonly #report: (finding: Finding) => void

  constructor(items: readonly StoredItem[], report: (finding: Finding) => void) {
    this.#report = report
    for (const item of items) {
      const partition = this.#byPartition.get(item.pk)
      if (partition === undefined) this.#byPartition.set(item.pk, [item])
      else partition.push(item)
    }
    for (const partition of this.#byPartition.values()) partition.sort((a, b) => (a.sk < b.sk ? -1 : 1))
  }

  partition(pk: string): readonly StoredItem[] {
    return this.#byPartition.get(pk) ?? []
  }

  one(pk: string, sk: string): StoredItem | undefined {
    return this.partition(pk).find((item) => item.sk === sk)
  }

  /** Partitions whose key starts with `prefix`, with what follows it. */
  *partitions(prefix: string): Generator<readonly [string, readonly StoredItem[]]> {
    for (const [pk, items] of this.#byPartition) if (pk.startsWith(prefix)) yield [pk.slice(prefix.length), items]
  }

  text(item: StoredItem, name: string): string {
    const value = item[name]
    return typeof value === "string" ? value : this.#damaged(item, name, "")
  }

  number(item: StoredItem, name: string): number {
    const value = item[name]
    return typeof value === "number" ? value : this.#damaged(item, name, 0)
  }

  bytes(item: StoredItem, name: string): Uint8Array {
    const value = item[name]
    return value instanceof Uint8Array ? value : this.#damaged(item, name, new Uint8Array(0))
  }

  map(item: StoredItem, name: string): { readonly [key: string]: StoredValue } {
    const value = item[name]
    const isMap =
      typeof value === "object" && !(value instanceof Uint8Array) && !(value instanceof Set) && !Array.isArray(value)
    return isMap ? (value as { readonly [key: string]: StoredValue }) : this.#damaged(item, name, {})
  }

  #damaged<T>(item: StoredItem, name: string, instead: T): T {
    this.#report({ code: "TABLE_DAMAGED", subject: `${item.pk} ${item.sk}`, detail: name })
    return instead
  }
}
