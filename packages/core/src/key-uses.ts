import { keyNoteWrite } from "./ledger/key-uses.ts"
import type { Clock, NoteUse, RandomBytes, SigningKeys, Table, Write } from "./ports.ts"

/** Uses of keys that one act has made and no stored item tells yet. */
export class UseLog {
  #pending: string[] = []

  readonly note: NoteUse = (use) => void this.#pending.push(use)

  pending(): readonly string[] {
    return [...this.#pending]
  }

  /** These stand in the ledger now. */
  recorded(uses: readonly string[]): void {
    this.#pending = this.#pending.filter((use) => !uses.includes(use))
  }
}

interface NotePorts {
  readonly table: Table
  readonly clock: Clock
  readonly random: RandomBytes
}

/**
 * Writes down the uses that no transaction of the act took along: it failed, or another writer was first. Never throws, since the act's own
 * outcome counts; a use that is told nowhere rings (docs/reconciliation.md).
 * @param by name of the function
 */
export async function leaveUses(ports: NotePorts, log: UseLog, by: string, requestId: string): Promise<void> {
  const uses = log.pending()
  if (uses.length === 0) return
  try {
    const { committed } = await ports.table.transact([keyNoteWrite(ports, { by, requestId, uses })])
    if (committed) log.recorded(uses)
  } catch {
    return
  }
}

/** Ports whose uses of keys are told in the ledger, and what to call when an act has ended, however it did. */
export interface WatchedUses<Ports> {
  readonly ports: Omit<Ports, "keys" | "table"> & { readonly keys: SigningKeys; readonly table: Table }
  /** From now on acts belong to this request. */
  begin(requestId: string): void
  end(): Promise<void>
}

/** Of writes that DynamoDB applies at once. */
const MAX_WRITES = 100

/**
 * For functions that are off the hot path and do one act at a time: whatever a key was used for stands in the ledger with the next transaction, which
 * is the one that stores what the key made. A transaction that fails takes nothing along, and the next one does.
 * @param by name of the function
 */
export function watchUses<Ports extends NotePorts & { readonly keys: SigningKeys }>(
  ports: Ports,
  by: string,
): WatchedUses<Ports> {
  const { keys, table } = ports
  const log = new UseLog()
  let requestId = ""

  const transact: Table["transact"] = async (writes) => {
    const uses = log.pending()
    if (uses.length === 0) return await table.transact(writes)
    if (writes.length >= MAX_WRITES) {
      await leaveUses(ports, log, by, requestId)
      return await table.transact(writes)
    }
    const note: Write = keyNoteWrite(ports, { by, requestId, uses })
    const result = await table.transact([...writes, note])
    if (!result.committed) return { committed: false, outcomes: result.outcomes.slice(0, -1) }
    log.recorded(uses)
    return result
  }

  const sign: SigningKeys["sign"] = (key, message, note) =>
    keys.sign(key, message, (use) => {
      log.note(use)
      note?.(use)
    })

  return {
    ports: { ...ports, table: { ...table, transact }, keys: { sign } },
    begin: (id) => {
      requestId = id
    },
    end: () => leaveUses(ports, log, by, requestId),
  }
}
