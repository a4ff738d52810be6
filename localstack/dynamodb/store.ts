import type { SQLInputValue } from "node:sqlite"
import { SqliteFile } from "../sqlite-file.ts"
import { type IndexSchema, indexPosition, type Position, type TableSchema } from "./schema.ts"
import { type Item, parseItem, writeItem } from "./values.ts"

/** A table as it is kept: what DescribeTable answers, and what items need. */
export interface StoredTable {
  readonly schema: TableSchema
  readonly description: Readonly<Record<string, unknown>>
}

/** One row of a query or scan. */
export interface Row {
  readonly item: Item
  readonly position: Position
}

/** Part of a table or index, in key order. Bounds are compared bytewise. */
export interface Extent {
  readonly table: TableSchema
  readonly index?: IndexSchema
  /** one partition; without it the whole table, or the partitions from `pkFrom` up to before `pkBefore` */
  readonly pk?: Uint8Array
  readonly pkFrom?: Uint8Array
  readonly pkBefore?: Uint8Array
  readonly lower?: { readonly sk: Uint8Array; readonly inclusive: boolean }
  readonly upper?: { readonly sk: Uint8Array; readonly inclusive: boolean }
  /** start right after this position; of an index also the position of the item itself */
  readonly after?: readonly Position[]
  readonly forward: boolean
}

// WAL with synchronous=NORMAL: a commit is in the page cache when it returns, so it survives the death of the process.
// Only a power failure can take the newest commits back, and even then whole transactions at a time.
const SETUP = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  PRAGMA foreign_keys = ON;
  PRAGMA busy_timeout = 5000;
  CREATE TABLE IF NOT EXISTS tables (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, schema TEXT NOT NULL, description TEXT NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS items (
    table_id INTEGER NOT NULL REFERENCES tables(id) ON DELETE CASCADE,
    pk BLOB NOT NULL, sk BLOB NOT NULL, expires_at INTEGER, body TEXT NOT NULL,
    PRIMARY KEY (table_id, pk, sk)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS items_by_expiry ON items(expires_at) WHERE expires_at IS NOT NULL;
  CREATE TABLE IF NOT EXISTS entries (
    table_id INTEGER NOT NULL, index_id INTEGER NOT NULL, pk BLOB NOT NULL, sk BLOB NOT NULL, item_pk BLOB NOT NULL, item_sk BLOB NOT NULL,
    PRIMARY KEY (table_id, index_id, pk, sk, item_pk, item_sk),
    FOREIGN KEY (table_id, item_pk, item_sk) REFERENCES items(table_id, pk, sk) ON DELETE CASCADE
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS entries_by_item ON entries(table_id, item_pk, item_sk);
  CREATE TABLE IF NOT EXISTS tokens (
    token TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, expires_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
`

/** Tables, items and index entries in one SQLite file. Every method is synchronous; writes belong inside `transaction`. */
export class Store extends SqliteFile {
  readonly #tables = new Map<string, StoredTable>()

  /** @param path a file, or ":memory:" */
  constructor(path: string) {
    super(path, SETUP)
    for (const row of this.prepare("SELECT name, schema, description FROM tables").all()) {
      this.#tables.set(row.name as string, {
        schema: JSON.parse(row.schema as string),
        description: JSON.parse(row.description as string),
      })
    }
  }

  tableNames(): string[] {
    return [...this.#tables.keys()].sort()
  }

  table(name: string): StoredTable | undefined {
    return this.#tables.get(name)
  }

  /** @param make gets the id that the table's rows will carry */
  createTable(name: string, make: (id: number) => StoredTable): StoredTable {
    const { lastInsertRowid } = this.prepare("INSERT INTO tables (name, schema, description) VALUES (?, '', '')").run(
      name,
    )
    const table = make(Number(lastInsertRowid))
    this.changeTable(table)
    return table
  }

  changeTable(table: StoredTable): void {
    const { name, id } = table.schema
    this.prepare("UPDATE tables SET schema = ?, description = ? WHERE id = ?").run(
      JSON.stringify(table.schema),
      JSON.stringify(table.description),
      id,
    )
    this.#tables.set(name, table)
  }

  deleteTable({ id, name }: TableSchema): void {
    this.prepare("DELETE FROM tables WHERE id = ?").run(id)
    this.#tables.delete(name)
  }

  countItems({ id }: TableSchema): number {
    return this.prepare("SELECT count(*) AS n FROM items WHERE table_id = ?").get(id)?.n as number
  }

  getItem({ id }: TableSchema, { pk, sk }: Position): Item | undefined {
    const row = this.prepare("SELECT body FROM items WHERE table_id = ? AND pk = ? AND sk = ?").get(id, pk, sk)
    return row && readBody(row.body)
  }

  /** Writes the item and its index entries. @throws ValidationException if the item does not fit an index */
  putItem(table: TableSchema, position: Position, item: Item): void {
    const { pk, sk } = position
    const entries = table.indexes.map((index) => [index.id, indexPosition(index, item)] as const)
    this.prepare("DELETE FROM entries WHERE table_id = ? AND item_pk = ? AND item_sk = ?").run(table.id, pk, sk)
    this.prepare(
      `INSERT INTO items (table_id, pk, sk, expires_at, body) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET expires_at = excluded.expires_at, body = excluded.body`,
    ).run(table.id, pk, sk, expiryOf(table, item), JSON.stringify(writeItem(item)))
    const insert = this.prepare(
      "INSERT INTO entries (table_id, index_id, pk, sk, item_pk, item_sk) VALUES (?, ?, ?, ?, ?, ?)",
    )
    for (const [indexId, entry] of entries) if (entry) insert.run(table.id, indexId, entry.pk, entry.sk, pk, sk)
  }

  deleteItem({ id }: TableSchema, { pk, sk }: Position): void {
    this.prepare("DELETE FROM items WHERE table_id = ? AND pk = ? AND sk = ?").run(id, pk, sk)
  }

  /** Recomputes the expiry of every item after time to live was switched on or off. */
  refreshExpiry(table: TableSchema): void {
    const update = this.prepare("UPDATE items SET expires_at = ? WHERE table_id = ? AND pk = ? AND sk = ?")
    for (const { item, position } of [...this.rows({ table, forward: true })]) {
      update.run(expiryOf(table, item), table.id, position.pk, position.sk)
    }
  }

  /** Deletes items whose expiry lies before `nowSec` but less than five years ago, and tokens that have run out. */
  sweep(nowSec: number): number {
    this.prepare("DELETE FROM tokens WHERE expires_at <= ?").run(nowSec)
    const { changes } = this.prepare("DELETE FROM items WHERE expires_at < ? AND expires_at > ?").run(
      nowSec,
      nowSec - FIVE_YEARS_SEC,
    )
    return Number(changes)
  }

  /** @returns the fingerprint under which the token was last used, unless it has run out */
  tokenFingerprint(token: string, nowSec: number): string | undefined {
    const row = this.prepare("SELECT fingerprint FROM tokens WHERE token = ? AND expires_at > ?").get(token, nowSec)
    return row?.fingerprint as string | undefined
  }

  putToken(token: string, fingerprint: string, expiresAtSec: number): void {
    this.prepare("INSERT OR REPLACE INTO tokens (token, fingerprint, expires_at) VALUES (?, ?, ?)").run(
      token,
      fingerprint,
      expiresAtSec,
    )
  }

  /** Reads an extent row by row; nothing may be written while it is being read. */
  *rows(extent: Extent): Generator<Row> {
    const { sql, values } = extentQuery(extent)
    for (const row of this.prepareAnew(sql).iterate(...values)) {
      yield { item: readBody(row.body), position: { pk: row.pk as Uint8Array, sk: row.sk as Uint8Array } }
    }
  }
}

const FIVE_YEARS_SEC = 5 * 365 * 24 * 3600

function readBody(body: unknown): Item {
  return parseItem(JSON.parse(body as string))
}

function expiryOf({ ttlAttribute }: TableSchema, item: Item): number | null {
  const value = ttlAttribute === undefined ? undefined : item.get(ttlAttribute)
  const seconds = value?.type === "N" ? Math.floor(Number(value.value)) : Number.NaN
  return Number.isSafeInteger(seconds) ? seconds : null
}

function extentQuery(extent: Extent): { sql: string; values: SQLInputValue[] } {
  const { table, index, pk, pkFrom, pkBefore, lower, upper, after, forward } = extent
  const source = index
    ? "entries e JOIN items i ON i.table_id = e.table_id AND i.pk = e.item_pk AND i.sk = e.item_sk"
    : "items e"
  const order = index ? ["e.pk", "e.sk", "e.item_pk", "e.item_sk"] : ["e.pk", "e.sk"]
  const where = ["e.table_id = ?"]
  const values: SQLInputValue[] = [table.id]
  const restrict = (clause: string, ...bound: SQLInputValue[]) => {
    where.push(clause)
    values.push(...bound)
  }
  if (index) restrict("e.index_id = ?", index.id)
  if (pk) restrict("e.pk = ?", pk)
  if (pkFrom) restrict("e.pk >= ?", pkFrom)
  if (pkBefore) restrict("e.pk < ?", pkBefore)
  if (lower) restrict(`e.sk ${lower.inclusive ? ">=" : ">"} ?`, lower.sk)
  if (upper) restrict(`e.sk ${upper.inclusive ? "<=" : "<"} ?`, upper.sk)
  if (after) {
    const marks = order.map(() => "?").join(", ")
    restrict(`(${order.join(", ")}) ${forward ? ">" : "<"} (${marks})`, ...after.flatMap((at) => [at.pk, at.sk]))
  }
  const direction = forward ? "ASC" : "DESC"
  return {
    sql: `SELECT ${index ? "i" : "e"}.body AS body, ${index ? "e.item_pk" : "e.pk"} AS pk, ${index ? "e.item_sk" : "e.sk"} AS sk
      FROM ${source} WHERE ${where.join(" AND ")} ORDER BY ${order.map((column) => `${column} ${direction}`).join(", ")}`,
    values,
  }
}
