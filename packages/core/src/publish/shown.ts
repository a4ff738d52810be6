import { FormatError } from "@sealwright/formats/errors"
import { decodeMetadata, type Metadata, type Timestamp } from "@sealwright/formats/tuf"
import { meetsThreshold, TUF_LIMITS } from "@sealwright/verifier/tuf-rules"
import { ServiceError } from "../errors.ts"
import { forgetBehind, noteBehind } from "../ledger/table-behind.ts"
import { tufDocuments } from "../ledger/tuf-documents.ts"
import { readRoot } from "../tuf/rules.ts"
import type { PublishPorts } from "./edition.ts"

export const TIMESTAMP_KEY = "tuf/timestamp.json"

/** What readers of the bucket see. */
export interface Shown {
  /** of the timestamp that counts; 0 when there is none */
  readonly epoch: number
  /** nothing is there at all */
  readonly missing: boolean
}

/**
 * The timestamp in the bucket, which is not trusted: it counts when a key of the newest root signed it, so that what a thief of earlier keys left there
 * is in nobody's way.
 */
export async function readShown(ports: PublishPorts): Promise<Shown> {
  const stored = await ports.objects.get(TIMESTAMP_KEY, TUF_LIMITS.maxBytes.timestamp)
  if (stored === undefined) return { epoch: 0, missing: true }
  const [newest] = (await tufDocuments(ports.table, "root")).slice(-1)
  const counts = await timestampCounts(ports, newest?.version ?? 1)
  return { epoch: counts(stored.bytes), missing: false }
}

/**
 * How far a timestamp is, by the keys of these roots.
 * @param fromRoot the first root version whose keys count: what is signed by later ones is never older
 * @returns 0 for bytes that none of them signed
 */
export async function timestampCounts(
  ports: PublishPorts,
  fromRoot: number,
): Promise<(timestamp: Uint8Array) => number> {
  const roots = (await tufDocuments(ports.table, "root"))
    .filter(({ version }) => version >= fromRoot)
    .map(({ bytes }) => readRoot(bytes).signed)
  return (bytes) => {
    const timestamp = readTimestamp(bytes)
    if (timestamp === undefined) return 0
    const signed = roots.some(({ roles, keys }) => ports.run(meetsThreshold(timestamp, roles.timestamp, keys)))
    return signed ? timestamp.signed.version : 0
  }
}

function readTimestamp(bytes: Uint8Array): Metadata<Timestamp> | undefined {
  try {
    return decodeMetadata(bytes, "timestamp", TUF_LIMITS.maxBytes.timestamp)
  } catch (error) {
    if (error instanceof FormatError) return undefined
    throw error
  }
}

/**
 * Stops a publisher whose table was restored to an earlier time, and notes it, so that no numbers are handed out again. Epochs are committed before they
 * are shown, so what is shown was committed to every table that is read later.
 * @param committed read after `shown`
 * @throws ServiceError TABLE_BEHIND
 */
export async function checkNotAhead(ports: PublishPorts, shown: Shown, committed: number): Promise<void> {
  if (shown.epoch <= committed) return await forgetBehind(ports.table, "publication")
  await ports.table.transact([noteBehind("publication", shown.epoch)])
  throw new ServiceError(
    "TABLE_BEHIND",
    `epoch ${shown.epoch} is published, and the table has committed ${committed}: it was restored to an earlier time`,
  )
}
