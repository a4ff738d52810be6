import { utf8Decode } from "@sealwright/formats/bytes"
import { encodeLogProof } from "@sealwright/formats/tlog-proof"
import { ServiceError } from "../errors.ts"
import { findLogged, type LoggedSignature, readLogHead, requireLogCommit } from "../ledger/log.ts"
import type { EnvelopeFormat, SignatureRecord } from "../model.ts"
import type { Table } from "../ports.ts"

/** That one envelope is in the log, for who has no network (C2SP tlog-proof). */
export interface EnvelopeProof {
  readonly format: EnvelopeFormat
  readonly index: bigint
  /** text of a `.tlog-proof` file */
  readonly text: string
}

/**
 * Proofs of a signature's envelopes, in their order: two reads of the table and none of the bucket.
 * @throws ServiceError NOT_LOGGED while it waits, LOG_NOT_SET_UP when it would wait for ever
 */
export async function readProofs(
  table: Table,
  record: Pick<SignatureRecord, "id" | "envelopes">,
): Promise<readonly EnvelopeProof[]> {
  const logged = await findLogged(table, record.id)
  if (logged !== undefined) return await proofsAt(table, record, logged)
  await readLogHead(table, "signatures")
  throw new ServiceError("NOT_LOGGED", `signature ${record.id} waits for the log`)
}

/** @param logged where the signature stands */
export async function proofsAt(
  table: Table,
  { envelopes }: Pick<SignatureRecord, "envelopes">,
  logged: LoggedSignature,
): Promise<readonly EnvelopeProof[]> {
  const commit = await requireLogCommit(table, "signatures", logged.epoch)
  const note = commit.shown?.bytes ?? commit.note
  if (note === undefined) throw new ServiceError("LOG_FORKED", `epoch ${logged.epoch} has no checkpoint`)
  return envelopes.map(({ format }, i) => {
    const index = logged.index + BigInt(i)
    const proof = encodeLogProof({ index, hashes: logged.proofs[i] ?? [], checkpoint: note })
    return { format, index, text: utf8Decode(proof) }
  })
}
