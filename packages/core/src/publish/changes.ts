import { ServiceError } from "../errors.ts"
import { eventWrites } from "../ledger/events.ts"
import { noteChange, readHead } from "../ledger/publication.ts"
import type { Table, TransactResult, Write } from "../ports.ts"

const ATTEMPTS = 8

/**
 * Commits writes together with a note to the open epoch, so that the publication of that epoch has them (D4).
 * When the epoch closes meanwhile, the next one takes them. What they change is put down for the log of events in the same transaction (R30).
 * @param writes a list, or what makes it for the epoch that will carry the change
 * @returns the outcomes of `writes` alone, and the epoch
 * @throws ServiceError PRECONDITION_REQUIRED, CONTENTION, STORE_UNAVAILABLE
 */
export async function noteChangeNow(
  table: Table,
  writes: readonly Write[] | ((epoch: number) => readonly Write[]),
): Promise<TransactResult & { readonly epoch: number }> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const head = await readHead(table)
    if (head === undefined) throw new ServiceError("PRECONDITION_REQUIRED", "nothing is set up yet")
    const epoch = head.open
    const made = typeof writes === "function" ? writes(epoch) : writes
    const result = await table.transact([noteChange(epoch), ...made, ...eventWrites(made)])
    if (result.committed) return { ...result, epoch }
    const [note, ...all] = result.outcomes
    const rest = all.slice(0, made.length)
    if (rest.some((outcome) => outcome.failed) || note === undefined || !note.failed)
      return { committed: false, outcomes: rest, epoch }
  }
  throw new ServiceError("CONTENTION", "epochs kept closing")
}
