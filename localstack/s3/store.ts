import { randomBytes } from "node:crypto"
import type { SQLOutputValue } from "node:sqlite"
import { SqliteFile } from "../sqlite-file.ts"
import type { Checksums } from "./checksums.ts"

export type Versioning = "Unversioned" | "Enabled" | "Suspended"

export interface Bucket {
  readonly name: string
  readonly created: Date
  readonly versioning: Versioning
}

/** What is kept with the bytes of an object. */
export interface ObjectHead {
  /** with its quotes */
  readonly etag: string
  readonly size: number
  /** answer headers by lower-case name: content-type, cache-control, …, x-amz-meta-* */
  readonly headers: Readonly<Record<string, string>>
  readonly checksums: Checksums
}

/** One version of a key; without a head it is a delete marker. Version "null" is the unversioned one. */
export interface Version {
  readonly seq: number
  readonly key: string
  readonly versionId: string
  readonly modified: Date
  readonly isLatest: boolean
  readonly head: ObjectHead | undefined
}

export const NULL_VERSION = "null"
const VERSION_ID_BYTES = 16

// WAL with synchronous=NORMAL: a commit is in the page cache when it returns, so it survives the death of the process.
const SETUP = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  PRAGMA foreign_keys = ON;
  PRAGMA busy_timeout = 5000;
  CREATE TABLE IF NOT EXISTS buckets (name TEXT PRIMARY KEY, created INTEGER NOT NULL, versioning TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS versions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket TEXT NOT NULL REFERENCES buckets(name),
    key TEXT NOT NULL, version_id TEXT NOT NULL, modified INTEGER NOT NULL, head TEXT,
    UNIQUE (bucket, key, version_id)
  ) STRICT;
  CREATE INDEX IF NOT EXISTS versions_by_key ON versions(bucket, key, seq DESC);
  CREATE TABLE IF NOT EXISTS bodies (
    seq INTEGER PRIMARY KEY REFERENCES versions(seq) ON DELETE CASCADE, body BLOB NOT NULL
  ) STRICT;
`

const SELECT = `SELECT v.seq, v.key, v.version_id, v.modified, v.head,
  v.seq = (SELECT max(w.seq) FROM versions w WHERE w.bucket = v.bucket AND w.key = v.key) AS is_latest FROM versions v`

/** Buckets and object versions in one SQLite file. Every method is synchronous; writes belong inside `transaction`. */
export class ObjectStore extends SqliteFile {
  /** @param path a file, or ":memory:" */
  constructor(path: string) {
    super(path, SETUP)
  }

  buckets(): Bucket[] {
    return this.prepare("SELECT * FROM buckets ORDER BY name").all().map(readBucket)
  }

  bucket(name: string): Bucket | undefined {
    const row = this.prepare("SELECT * FROM buckets WHERE name = ?").get(name)
    return row && readBucket(row)
  }

  createBucket(name: string, created: Date): void {
    this.prepare("INSERT INTO buckets (name, created, versioning) VALUES (?, ?, 'Unversioned')").run(
      name,
      created.getTime(),
    )
  }

  setVersioning(name: string, versioning: Versioning): void {
    this.prepare("UPDATE buckets SET versioning = ? WHERE name = ?").run(versioning, name)
  }

  deleteBucket(name: string): void {
    this.prepare("DELETE FROM buckets WHERE name = ?").run(name)
  }

  isEmpty(bucket: string): boolean {
    return this.prepare("SELECT 1 FROM versions WHERE bucket = ? LIMIT 1").get(bucket) === undefined
  }

  /** The newest version of a key, which may be a delete marker. */
  latest(bucket: string, key: string): Version | undefined {
    const row = this.prepare(`${SELECT} WHERE v.bucket = ? AND v.key = ? ORDER BY v.seq DESC LIMIT 1`).get(bucket, key)
    return row && readVersion(row)
  }

  version(bucket: string, key: string, versionId: string): Version | undefined {
    const row = this.prepare(`${SELECT} WHERE v.bucket = ? AND v.key = ? AND v.version_id = ?`).get(
      bucket,
      key,
      versionId,
    )
    return row && readVersion(row)
  }

  /** Empty for a body without bytes, which SQLite may give as NULL. @param start offset of the first byte, @param length how many */
  body(seq: number, start: number, length: number): Buffer {
    const row = this.prepare("SELECT substr(body, ?, ?) AS part FROM bodies WHERE seq = ?").get(start + 1, length, seq)
    return Buffer.from((row?.part as Uint8Array | null | undefined) ?? [])
  }

  /**
   * Adds a version on top: a delete marker without `content`. Unless versioning is enabled it replaces version "null".
   * @returns the version id
   */
  add(
    bucket: Bucket,
    key: string,
    modified: Date,
    content?: { readonly head: ObjectHead; readonly body: Uint8Array },
  ): string {
    const versionId = bucket.versioning === "Enabled" ? randomBytes(VERSION_ID_BYTES).toString("hex") : NULL_VERSION
    if (versionId === NULL_VERSION) {
      this.prepare("DELETE FROM versions WHERE bucket = ? AND key = ? AND version_id = ?").run(
        bucket.name,
        key,
        versionId,
      )
    }
    const { lastInsertRowid } = this.prepare(
      "INSERT INTO versions (bucket, key, version_id, modified, head) VALUES (?, ?, ?, ?, ?)",
    ).run(bucket.name, key, versionId, modified.getTime(), content ? JSON.stringify(content.head) : null)
    if (content)
      this.prepare("INSERT INTO bodies (seq, body) VALUES (?, coalesce(?, x''))").run(lastInsertRowid, content.body)
    return versionId
  }

  remove({ seq }: Version): void {
    this.prepare("DELETE FROM versions WHERE seq = ?").run(seq)
  }

  /** Versions from key `from` on: by key (UTF-8 order), the newest first. Nothing may be written while it is being read. */
  *versions(bucket: string, from: string): Generator<Version> {
    const rows = this.prepareAnew(`${SELECT} WHERE v.bucket = ? AND v.key >= ? ORDER BY v.key, v.seq DESC`)
    for (const row of rows.iterate(bucket, from)) yield readVersion(row)
  }
}

type Row = Record<string, SQLOutputValue>

function readBucket(row: Row): Bucket {
  return {
    name: row.name as string,
    created: new Date(row.created as number),
    versioning: row.versioning as Versioning,
  }
}

function readVersion(row: Row): Version {
  return {
    seq: row.seq as number,
    key: row.key as string,
    versionId: row.version_id as string,
    modified: new Date(row.modified as number),
    isLatest: row.is_latest === 1,
    head: row.head === null ? undefined : JSON.parse(row.head as string),
  }
}
