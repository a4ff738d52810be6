import { DatabaseSync, type StatementSync } from "node:sqlite"

/** One SQLite file with prepared statements and whole transactions; what embedded stores stand on. Synchronous. */
export class SqliteFile {
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  /** @param path a file, or ":memory:" */
  constructor(path: string, setup: string) {
    this.#db = new DatabaseSync(path)
    this.#db.exec(setup)
  }

  close(): void {
    this.#statements.clear()
    this.#db.close()
  }

  /** Runs `work` in one SQLite transaction: all of its writes last, or none. */
  transaction<T>(work: () => T): T {
    this.#db.exec("BEGIN IMMEDIATE")
    try {
      const result = work()
      this.#db.exec("COMMIT")
      return result
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK")
      throw error
    }
  }

  /** A statement of its own, for reading rows one by one while others run. */
  protected prepareAnew(sql: string): StatementSync {
    return this.#db.prepare(sql)
  }

  protected prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql)
    if (known !== undefined) return known
    const statement = this.#db.prepare(sql)
    this.#statements.set(sql, statement)
    return statement
  }
}
