import { bytesEqual } from "@sealwright/formats/bytes"
import { parseCheckpoint } from "@sealwright/formats/checkpoint"
import { FormatError } from "@sealwright/formats/errors"
import { inclusionRoot, leafInput } from "@sealwright/formats/merkle"
import { parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import { array, openObject, string } from "@sealwright/formats/shape"
import { parseNote } from "@sealwright/formats/signed-note"
import type { JsonObject } from "@sealwright/formats/strict-json"
import { parseLogProof } from "@sealwright/formats/tlog-proof"
import { hashing } from "@sealwright/verifier/log-check"
import { logEntryOf } from "@sealwright/verifier/log-proof"
import { runSync } from "@sealwright/verifier/node-crypto"
import { digest } from "@sealwright/verifier/requests"
import { logRefusal } from "./log-trust.ts"

const proofsShape = array(openObject({ format: string(40), index: string(16), proof: string(200_000) }), 16)
const answerShape = openObject({}, { proofs: proofsShape })

export type LogProofs = ReturnType<typeof proofsShape>

/** The proofs that an answer has, or a signature in it; none while it waits for the log. */
export function logProofs(answer: JsonObject): LogProofs {
  return answerShape(answer, "answer").proofs ?? []
}

/** What goes where: text by path. @param extra of the signature under ML-DSA-65 */
export function proofPaths(proofs: LogProofs, first: string, extra: string): [path: string, text: string][] {
  return proofs.map(({ format, proof }) => [format === "notary-jws" ? first : extra, proof])
}

/**
 * Whether a proof leads from an envelope's entry to the root that its checkpoint names; who signed that is another question.
 * @throws CommandFailure LOG_PROOF_INVALID
 */
export function requireProofOf(proof: Uint8Array, envelope: Uint8Array): void {
  try {
    const { index, hashes, checkpoint } = parseLogProof(proof)
    const { size, root } = parseCheckpoint(parseNote(checkpoint).text)
    const jws = parseNotaryJws(envelope)
    const entry = runSync(logEntryOf(jws, parseX5c(jws.x5c[0] ?? "")))
    const leaf = entry && runSync(digest("sha256", leafInput(entry)))
    const found = leaf && runSync(hashing(inclusionRoot(leaf, index, size, hashes)))
    if (found !== undefined && bytesEqual(found, root)) return
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw logRefusal("LOG_PROOF_INVALID", error.message)
  }
  throw logRefusal("LOG_PROOF_INVALID", "it is not of the signature that it came with")
}
