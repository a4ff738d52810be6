import type { Step } from "@sealwright/verifier/requests"
import type { StoredItem } from "../state.ts"

/** The two logs; also the folders of their objects below `log/`. */
export const AUDITED_LOGS = ["signatures", "events"] as const
export type AuditedLog = (typeof AUDITED_LOGS)[number]

/** Codes of what `log audit` finds; public API. */
export const AUDIT_CODES = {
  AUDIT_CHECKPOINT_UNVERIFIED: "a log's checkpoint is missing, or does not verify under the policy",
  AUDIT_ROLLED_BACK: "a log's checkpoint has fewer leaves than an earlier audit saw",
  AUDIT_REWRITTEN: "a log's past is another one than an earlier audit saw",
  AUDIT_ENTRIES_CHANGED: "entries of a log are missing, or are not those that its checkpoint is over",
  AUDIT_TILE_CHANGED: "a tile of a log is missing, or holds other hashes than the tree that its checkpoint is over",
  AUDIT_ROOT_WRONG: "the tree over a log's entries has another root than its checkpoint",
  AUDIT_RECORD_NOT_LOGGED: "a record is neither in the log nor waits for it",
  AUDIT_RECORD_CHANGED: "the leaf at a record's place is not that of its envelope",
  AUDIT_LEAF_TAKEN_TWICE: "two envelopes claim one leaf",
  AUDIT_LEAF_WITHOUT_RECORD: "a leaf of the log of signatures belongs to no record",
  AUDIT_WAITS_TOO_LONG: "an entry waits for a log for more than an hour",
  AUDIT_EVENT_UNREADABLE: "a leaf of the log of events is no event of a version that this release reads",
  AUDIT_REVOCATION_WITHOUT_EVENT: "a revocation in the table was never logged",
  AUDIT_REVOCATION_MISSING: "a revocation that was logged is not in the table",
  AUDIT_REVOCATION_DIFFERS: "a revocation in the table is not what its newest event says",
  AUDIT_PUBLICATION_UNLOGGED: "an epoch was published and never logged",
  AUDIT_PUBLICATION_REPEATED: "an epoch was logged as published twice, or was never published",
  AUDIT_PUBLICATION_DIFFERS: "what is published is not what the newest publication's event says",
  AUDIT_TABLE_DAMAGED: "an item that the audit needs lacks an attribute or has one of another type",
} as const

export type AuditCode = keyof typeof AUDIT_CODES

export interface AuditFinding {
  readonly code: AuditCode
  readonly subject: string
  readonly detail: string
}

export type AuditReport = (code: AuditCode, subject: string, detail: string) => void

export interface ItemKey {
  readonly pk: string
  readonly sk: string
}

/** Table and bucket as the audit reads them; nothing of either is trusted. Reads of the table are strongly consistent. */
export interface AuditedStores {
  /**
   * One page of the whole table. Every item that stood before the first page was asked for is in some page.
   * @param after `next` of the page before; opaque, at most 4,096 characters
   */
  page(after: string | undefined): Promise<{ readonly items: readonly StoredItem[]; readonly next: string | undefined }>
  /** those that are there, in any order; any number of keys */
  get(keys: readonly ItemKey[]): Promise<readonly StoredItem[]>
  /** a partition, by sort key */
  query(pk: string): Promise<readonly StoredItem[]>
  /** @returns undefined when there is no such object, or it is longer than `maxBytes` */
  read(key: string, maxBytes: number): Promise<Uint8Array | undefined>
}

export interface AuditPorts extends AuditedStores {
  readonly now: Date
  readonly run: <T>(step: Step<T>) => T
  /** keeps how far the audit is, whole or not at all */
  readonly save: (progress: Uint8Array) => void
  /** a line for people */
  readonly note: (line: string) => void
}

/** Findings beyond it are counted only. */
export const MAX_FINDINGS = 1_000
