/** Offline-verifiable proofs of logging (C2SP tlog-proof@v1). */
import { base64Decode, base64Encode, concat, utf8, utf8Decode } from "./bytes.ts"
import { parseTreeSize, TREE_HASH_BYTES } from "./checkpoint.ts"
import { FormatError } from "./errors.ts"
import { MAX_PROOF_HASHES } from "./merkle.ts"
import { MAX_NOTE_BYTES } from "./signed-note.ts"

export const LOG_PROOF_SUFFIX = ".tlog-proof"
const FIRST_LINE = "c2sp.org/tlog-proof@v1"
const MAX_EXTRA_TEXT = 65_536
export const MAX_LOG_PROOF_BYTES = MAX_NOTE_BYTES + MAX_EXTRA_TEXT + 4_096

export interface LogProof {
  /** covered by no signature; undefined when there is none */
  readonly extra?: Uint8Array | undefined
  readonly index: bigint
  /** inclusion proof (RFC 6962 §2.1.1), from the leaf's sibling up */
  readonly hashes: readonly Uint8Array[]
  /** signed note */
  readonly checkpoint: Uint8Array
}

export function encodeLogProof({ extra, index, hashes, checkpoint }: LogProof): Uint8Array {
  const lines = [
    FIRST_LINE,
    ...(extra === undefined ? [] : [`extra ${base64Encode(extra)}`]),
    `index ${index}`,
    ...hashes.map(base64Encode),
  ]
  return concat(utf8(`${lines.join("\n")}\n\n`), checkpoint)
}

/** @throws FormatError TOO_LARGE, TEXT_MALFORMED, LOG_PROOF_MALFORMED, CHECKPOINT_MALFORMED for an index that is no decimal */
export function parseLogProof(bytes: Uint8Array): LogProof {
  if (bytes.length > MAX_LOG_PROOF_BYTES) throw new FormatError("TOO_LARGE", "a proof beyond its limit")
  const text = utf8Decode(bytes)
  const end = text.indexOf("\n\n")
  if (end < 0) throw malformed("no empty line before the checkpoint")
  const [first, ...lines] = text.slice(0, end).split("\n")
  if (first !== FIRST_LINE) throw malformed(`does not begin with ${FIRST_LINE}`)
  const extra = lines[0]?.startsWith("extra ") ? base64Decode(lines.shift()?.slice(6) ?? "") : undefined
  const index = lines.shift()
  if (index === undefined || !index.startsWith("index ")) throw malformed("no index")
  if (lines.length > MAX_PROOF_HASHES) throw new FormatError("TOO_LARGE", "more hashes than any tree's proof has")
  const hashes = lines.map(base64Decode)
  if (hashes.some(({ length }) => length !== TREE_HASH_BYTES)) throw malformed("a hash that is not 32 bytes")
  return {
    ...(extra && { extra }),
    index: parseTreeSize(index.slice(6)),
    hashes,
    checkpoint: utf8(text.slice(end + 2)),
  }
}

function malformed(detail: string): FormatError {
  return new FormatError("LOG_PROOF_MALFORMED", detail)
}
