import { bytesEqual } from "@sealwright/formats/bytes"
import type { TreeState } from "@sealwright/formats/merkle"
import { ServiceError } from "../errors.ts"
import type { LogHead } from "../ledger/log.ts"

/**
 * Whether the table may go on from its head, seen against the checkpoint that was published before the head was read: heads are decided before
 * checkpoints are shown, so no checkpoint is ever larger than the head that is read after it.
 * @param shown undefined: none was there
 * @throws ServiceError LOG_AHEAD when the table was set back, LOG_FORKED when one size has two roots
 */
export function checkNotAhead(head: LogHead, shown: TreeState | undefined): void {
  if (shown === undefined || shown.size < head.size) return
  if (shown.size > head.size)
    throw new ServiceError("LOG_AHEAD", `the checkpoint has ${shown.size} leaves and the table's head ${head.size}`)
  if (!bytesEqual(shown.root, head.root))
    throw new ServiceError("LOG_FORKED", `the checkpoint of size ${shown.size} has another root than the table's head`)
}

/**
 * Whether the bucket has what the table says it has. Of a head that is published the checkpoint was moved before, so one that is read after it is
 * never smaller.
 * @throws ServiceError LOG_BEHIND
 */
export function checkNotBehind(head: LogHead, shown: TreeState | undefined): void {
  if (head.size > (shown?.size ?? 0n))
    throw new ServiceError(
      "LOG_BEHIND",
      `${head.size} leaves were published and the bucket's checkpoint has ${shown?.size ?? 0}`,
    )
}
