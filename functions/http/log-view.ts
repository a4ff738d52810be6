import type { LoggedSignature } from "@sealwright/core/ledger/log"
import type { EnvelopeProof } from "@sealwright/core/log/proof"

/** What a record's view says of the log. */
export function logState(logged: LoggedSignature | undefined) {
  return logged === undefined
    ? { state: "recorded" }
    : { state: "logged", log: { epoch: logged.epoch, index: String(logged.index) } }
}

export function proofView({ format, index, text }: EnvelopeProof) {
  return { format, index: String(index), proof: text }
}
