import { createPrivateKey, createSecretKey, type KeyObject } from "node:crypto"
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { type AlgorithmName, type KeySpec, keySpecRow } from "./algorithms.ts"
import type { MessageType } from "./signing.ts"

export type KeyState = "Enabled" | "Disabled" | "PendingDeletion"

export interface KeyRow {
  readonly id: string
  readonly spec: KeySpec
  readonly createdMs: number
  readonly state: KeyState
  /** set while `state` is PendingDeletion */
  readonly deletionMs: number | null
  readonly description: string
  readonly policy: string
}

export interface AliasRow {
  readonly name: string
  readonly keyId: string
  readonly createdMs: number
  readonly updatedMs: number
}

/** One Sign request on a key that exists, whether it was served or refused. */
export interface SignCall {
  readonly requestId: string
  readonly time: Date
  readonly keyId: string
  readonly algorithm: AlgorithmName
  readonly messageType: MessageType
  readonly accessKeyId: string
  /** undefined: a signature was made */
  readonly errorCode: string | undefined
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, spec TEXT NOT NULL, createdMs INTEGER NOT NULL, state TEXT NOT NULL, deletionMs INTEGER,
    description TEXT NOT NULL, policy TEXT NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS tags (
    keyId TEXT NOT NULL REFERENCES keys(id) ON DELETE CASCADE, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (keyId, name)
  ) STRICT;
  CREATE TABLE IF NOT EXISTS aliases (
    name TEXT PRIMARY KEY, keyId TEXT NOT NULL REFERENCES keys(id) ON DELETE CASCADE, createdMs INTEGER NOT NULL,
    updatedMs INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS signCalls (
    sequence INTEGER PRIMARY KEY, requestId TEXT NOT NULL, timeMs INTEGER NOT NULL, keyId TEXT NOT NULL,
    algorithm TEXT NOT NULL, messageType TEXT NOT NULL, accessKeyId TEXT NOT NULL, errorCode TEXT
  ) STRICT;
`

/**
 * Keys, aliases, tags and Sign calls. Every write is committed when its call returns and survives SIGKILL; after a
 * loss of power the last Sign calls may be missing. Keys are files beside the database, mode 0600: private ones in PKCS#8, symmetric ones raw.
 */
export class KmsStore {
  readonly #database: DatabaseSync
  readonly #keyFolder: string | undefined
  readonly #secrets = new Map<string, KeyObject>()

  /** @param dataDir a folder of this emulator alone, or ":memory:" */
  constructor(dataDir: string) {
    if (dataDir !== ":memory:") {
      this.#keyFolder = join(dataDir, "keys")
      mkdirSync(this.#keyFolder, { recursive: true, mode: 0o700 })
    }
    this.#database = new DatabaseSync(dataDir === ":memory:" ? dataDir : join(dataDir, "kms.sqlite"))
    this.#database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON")
    this.#database.exec(SCHEMA)
  }

  close(): void {
    this.#database.close()
  }

  addKey(row: KeyRow, secret: KeyObject, tags: readonly (readonly [string, string])[]): void {
    if (this.#keyFolder !== undefined) writeKeyFile(this.#keyFolder, row.id, secret)
    this.#secrets.set(row.id, secret)
    this.#transaction(() => {
      this.#run(
        "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?)",
        ...[row.id, row.spec, row.createdMs, row.state, row.deletionMs, row.description, row.policy],
      )
      for (const [name, value] of tags) this.putTag(row.id, name, value)
    })
  }

  key(id: string): KeyRow | undefined {
    return this.#database.prepare("SELECT * FROM keys WHERE id = ?").get(id) as KeyRow | undefined
  }

  keys(): KeyRow[] {
    return this.#database.prepare("SELECT * FROM keys ORDER BY id").all() as unknown as KeyRow[]
  }

  changeKey(id: string, change: Pick<KeyRow, "state" | "deletionMs">): void {
    this.#run("UPDATE keys SET state = ?, deletionMs = ? WHERE id = ?", change.state, change.deletionMs, id)
  }

  changePolicy(id: string, policy: string): void {
    this.#run("UPDATE keys SET policy = ? WHERE id = ?", policy, id)
  }

  /** Drops the row first: a key file without a row is never used. */
  deleteKey(id: string): void {
    this.#run("DELETE FROM keys WHERE id = ?", id)
    this.#secrets.delete(id)
    if (this.#keyFolder !== undefined) rmSync(join(this.#keyFolder, `${id}.p8`), { force: true })
  }

  /** The private or symmetric key. */
  secret({ id, spec }: KeyRow): KeyObject {
    const known = this.#secrets.get(id)
    if (known !== undefined) return known
    if (this.#keyFolder === undefined) throw new Error(`no key material for ${id}`)
    const bytes = readFileSync(join(this.#keyFolder, `${id}.p8`))
    const key = keySpecRow(spec).symmetric
      ? createSecretKey(bytes)
      : createPrivateKey({ key: bytes, format: "der", type: "pkcs8" })
    this.#secrets.set(id, key)
    return key
  }

  tags(keyId: string): { readonly name: string; readonly value: string }[] {
    const rows = this.#database.prepare("SELECT name, value FROM tags WHERE keyId = ? ORDER BY name").all(keyId)
    return rows as unknown as { name: string; value: string }[]
  }

  putTag(keyId: string, name: string, value: string): void {
    this.#run("INSERT INTO tags VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", keyId, name, value)
  }

  deleteTag(keyId: string, name: string): void {
    this.#run("DELETE FROM tags WHERE keyId = ? AND name = ?", keyId, name)
  }

  alias(name: string): AliasRow | undefined {
    return this.#database.prepare("SELECT * FROM aliases WHERE name = ?").get(name) as AliasRow | undefined
  }

  aliases(): AliasRow[] {
    return this.#database.prepare("SELECT * FROM aliases ORDER BY name").all() as unknown as AliasRow[]
  }

  putAlias(name: string, keyId: string, nowMs: number): void {
    this.#run(
      "INSERT INTO aliases VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET keyId = excluded.keyId, updatedMs = excluded.updatedMs",
      ...[name, keyId, nowMs, nowMs],
    )
  }

  deleteAlias(name: string): void {
    this.#run("DELETE FROM aliases WHERE name = ?", name)
  }

  addSignCall(call: SignCall): void {
    this.#run(
      "INSERT INTO signCalls (requestId, timeMs, keyId, algorithm, messageType, accessKeyId, errorCode) VALUES (?, ?, ?, ?, ?, ?, ?)",
      ...[call.requestId, call.time.getTime(), call.keyId, call.algorithm, call.messageType, call.accessKeyId],
      call.errorCode ?? null,
    )
  }

  /** In the order in which they were made. */
  signCalls(): SignCall[] {
    const rows = this.#database.prepare("SELECT * FROM signCalls ORDER BY sequence").all()
    return rows.map((row) => ({
      requestId: row.requestId as string,
      time: new Date(row.timeMs as number),
      keyId: row.keyId as string,
      algorithm: row.algorithm as AlgorithmName,
      messageType: row.messageType as MessageType,
      accessKeyId: row.accessKeyId as string,
      errorCode: (row.errorCode as string | null) ?? undefined,
    }))
  }

  #run(sql: string, ...values: (string | number | null)[]): void {
    this.#database.prepare(sql).run(...values)
  }

  #transaction(work: () => void): void {
    this.#database.exec("BEGIN IMMEDIATE")
    try {
      work()
      this.#database.exec("COMMIT")
    } catch (error) {
      this.#database.exec("ROLLBACK")
      throw error
    }
  }
}

function writeKeyFile(folder: string, id: string, secret: KeyObject): void {
  const path = join(folder, `${id}.p8`)
  const file = openSync(`${path}.new`, "wx", 0o600)
  try {
    writeSync(file, secret.type === "secret" ? secret.export() : secret.export({ format: "der", type: "pkcs8" }))
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(`${path}.new`, path)
}
