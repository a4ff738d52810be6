/** What logs and witnesses say to each other (C2SP tlog-witness, `add-checkpoint`). */
import { base64Encode, concat, utf8, utf8Decode } from "./bytes.ts"
import { parseTreeSize } from "./checkpoint.ts"
import { FormatError } from "./errors.ts"
import { MAX_PROOF_HASHES } from "./merkle.ts"
import { type NoteSignature, parseSignatureLines } from "./signed-note.ts"

export const ADD_CHECKPOINT = "add-checkpoint"
export const TREE_SIZE_TYPE = "text/x.tlog.size"
export const MAX_WITNESS_ANSWER_BYTES = 65_536

export interface AddCheckpoint {
  /** of the latest tree that the witness cosigned; 0 for none */
  readonly old: bigint
  /** consistency proof from `old` to the checkpoint (RFC 6962 §2.1.2) */
  readonly proof: readonly Uint8Array[]
  /** signed note */
  readonly checkpoint: Uint8Array
}

/** @throws FormatError TOO_LARGE for a proof of more than 63 hashes */
export function encodeAddCheckpoint({ old, proof, checkpoint }: AddCheckpoint): Uint8Array {
  if (proof.length > MAX_PROOF_HASHES) throw new FormatError("TOO_LARGE", "more hashes than any tree's proof has")
  return concat(utf8([`old ${old}`, ...proof.map(base64Encode), "", ""].join("\n")), checkpoint)
}

/**
 * A witness's cosignatures: one signature line or more.
 * @throws FormatError TOO_LARGE, TEXT_MALFORMED, NOTE_MALFORMED
 */
export function parseCosignatures(answer: Uint8Array): NoteSignature[] {
  if (answer.length > MAX_WITNESS_ANSWER_BYTES) throw new FormatError("TOO_LARGE", "an answer beyond its limit")
  const lines = utf8Decode(answer).split("\n")
  if (lines.pop() !== "" || lines.length === 0) throw new FormatError("NOTE_MALFORMED", "no whole signature line")
  return parseSignatureLines(lines)
}

/**
 * The size that a witness has, from the body of a conflict.
 * @throws FormatError CHECKPOINT_MALFORMED, TEXT_MALFORMED
 */
export function parseWitnessedSize(answer: Uint8Array): bigint {
  const text = utf8Decode(answer.subarray(0, 32))
  if (!text.endsWith("\n")) throw new FormatError("CHECKPOINT_MALFORMED", "a size without its line end")
  return parseTreeSize(text.slice(0, -1))
}
