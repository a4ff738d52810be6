import { array, openObject, string } from "@sealwright/formats/shape"
import type { JsonObject } from "@sealwright/formats/strict-json"

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
