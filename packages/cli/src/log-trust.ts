import { FormatError } from "@sealwright/formats/errors"
import { parseLogPolicy } from "@sealwright/formats/tlog-policy"
import { type TrustedLogs, trustLogs } from "@sealwright/verifier/log-check"
import { runSync } from "@sealwright/verifier/node-crypto"
import { VERDICT_CODES, type VerdictCode } from "@sealwright/verifier/verdict"
import { CommandFailure, EXIT } from "./exit.ts"

/**
 * The logs and witnesses of a policy (C2SP tlog-policy).
 * @throws CommandFailure LOG_POLICY_MALFORMED
 */
export function readLogs(policy: Uint8Array): TrustedLogs {
  try {
    const trusted = runSync(trustLogs(parseLogPolicy(policy)))
    if (typeof trusted !== "string") return trusted
    throw logRefusal("LOG_POLICY_MALFORMED", trusted)
  } catch (error) {
    if (error instanceof FormatError) throw logRefusal("LOG_POLICY_MALFORMED", error.message)
    throw error
  }
}

/** A verdict's code as a command's failure. */
export function logRefusal(code: VerdictCode, detail: string): CommandFailure {
  const { verdict, text, remedy } = VERDICT_CODES[code]
  const status = verdict === "rejected" ? EXIT.rejected : EXIT.inconclusive
  return new CommandFailure(status, code, detail === "" ? text : `${text}: ${detail}`, remedy)
}

export function checkpointMissing(tree: string): CommandFailure {
  return new CommandFailure(
    EXIT.inconclusive,
    "CHECKPOINT_MISSING",
    `there is no checkpoint of the log of ${tree}`,
    "Mirror a bundle that has it, or give the log's address.",
  )
}
