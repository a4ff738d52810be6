import { ServiceError } from "../errors.ts"
import { noteChange, readHead } from "../ledger/publication.ts"
import type { Table, TransactResult, Write } from "../ports.ts"

const ATTEMPTS = 8

/**
 * Commits writes together with a note to the open epoch, so that the publication of that epoch has them (D4).
 * When the epoch closes meanwhile, the next one takes them.
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
    const result = await table.transact([noteChange(epoch), ...(typeof writes === "function" ? writes(epoch) : writes)])
    if (result.committed) return { ...result, epoch }
    const [note, ...rest] = result.outcomes
    if (rest.some((outcome) => outcome.failed) || note === undefined || !note.failed)
      return { committed: false, outcomes: rest, epoch }
  }
  throw new ServiceError("CONTENTION", "epochs kept closing")
}
