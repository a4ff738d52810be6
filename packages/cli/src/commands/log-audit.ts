import { openDump } from "@sealwright/adapters/dump"
import { utf8 } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { MAX_LOG_POLICY_BYTES, parseLogPolicy } from "@sealwright/formats/tlog-policy"
import { parseTrustBundle } from "@sealwright/formats/trust-bundle"
import { type TrustedLogs, trustLogs } from "@sealwright/verifier/log-check"
import { runSync } from "@sealwright/verifier/node-crypto"
import { VERDICT_CODES } from "@sealwright/verifier/verdict"
import type { Command } from "../arguments.ts"
import { CommandFailure, EXIT } from "../exit.ts"
import { readFileIfThere, readFileLimited, writeFileWhole } from "../files.ts"
import { type AuditResult, audit } from "../fsck/audit/audit.ts"
import { MAX_PROGRESS_BYTES, type Progress, parseProgress } from "../fsck/audit/progress.ts"
import { AUDIT_CODES, AUDITED_LOGS, type AuditedStores } from "../fsck/audit/state.ts"
import { orUndefined } from "../fsck/audit/walk.ts"
import { note, print } from "../output.ts"

export const logAudit: Command = {
  name: "log audit",
  summary: "audit the transparency logs against table and publication",
  help: `
Usage: sealwright log audit --table NAME --bucket NAME [--log-policy FILE] [--progress FILE] [--full] [--json]

Builds the trees of both logs anew from their entries and compares every tile and the checkpoints; checks that each record's envelopes are in the log, and that
each leaf belongs to one record; replays the events, and compares the revocations that they come to with those in force, and the publications with what is
published. Shares no code with the service that writes them, and changes nothing. People may sign and revoke meanwhile.
Checkpoints must verify under --log-policy (C2SP tlog-policy): your own copy. Without it the policy of the trust bundle in the table counts, which whoever
can write the table can change.
--progress keeps how far the audit is. One that was cut goes on there; the next one reads new entries only, and notices when what it saw was rewritten. --full
reads all of them again, and notices changed entries too. Exit status: 0 all is well, 1 something was found, 5 table or bucket can't be reached.

Examples:
  sealwright log audit --table sealwright --bucket sealwright-published --log-policy log-policy.txt --progress audit.json
  sealwright log audit --table sealwright --bucket sealwright-published --progress audit.json --full --json
`,
  options: {
    table: { type: "string" },
    bucket: { type: "string" },
    "log-policy": { type: "string" },
    progress: { type: "string" },
    full: { type: "boolean" },
  },
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const path = args.text("progress")
    const progress = path === undefined ? undefined : readProgress(path)
    const policyFile = args.text("log-policy")
    const own = policyFile === undefined ? undefined : trusted(readFileLimited(policyFile, MAX_LOG_POLICY_BYTES))
    const stores = reachable(openDump(args.required("table"), args.required("bucket")) as unknown as AuditedStores)
    if (own === undefined)
      note("sealwright: no --log-policy: the keys of the logs are those that the audited table names itself")
    const policy = own === undefined ? "trust bundle" : "file"
    const { findingCount } = await audit(
      {
        ...stores,
        now: new Date(),
        run: runSync,
        save: (bytes) => {
          if (path !== undefined) writeFileWhole(path, bytes, 0o600)
        },
        note,
      },
      { trusted: own ?? (await publishedPolicy(stores)), progress, full: args.flag("full") },
      (result) => print(args.flag("json"), { policy, ...result }, () => described(result)),
    )
    return findingCount === 0 ? EXIT.done : EXIT.rejected
  },
}

/** A file that can't be read is not skipped: that would forget what was seen. */
function readProgress(path: string): Progress | undefined {
  const bytes = readFileIfThere(path, MAX_PROGRESS_BYTES)
  if (bytes === undefined) return undefined
  try {
    return parseProgress(bytes)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new CommandFailure(
      EXIT.inconclusive,
      "PROGRESS_MALFORMED",
      `${path} is not what an audit writes: ${error.message}`,
      "Restore it from a copy. Without one, name a new file: what was rewritten before then is not noticed.",
    )
  }
}

function trusted(bytes: Uint8Array): TrustedLogs {
  try {
    const logs = runSync(trustLogs(parseLogPolicy(bytes)))
    if (typeof logs !== "string") return logs
    throw new FormatError("LOG_POLICY_MALFORMED", logs)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw refusal("LOG_POLICY_MALFORMED", error.message)
  }
}

function refusal(code: "LOG_POLICY_MALFORMED" | "LOG_POLICY_MISSING", detail: string): CommandFailure {
  const { text, remedy } = VERDICT_CODES[code]
  return new CommandFailure(EXIT.inconclusive, code, `${text}: ${detail}`, remedy)
}

async function publishedPolicy(stores: AuditedStores): Promise<TrustedLogs> {
  const newest = (await stores.query("tuf-targets")).at(-1)?.trustBundle
  const policy = newest instanceof Uint8Array ? orUndefined(() => parseTrustBundle(newest).log?.policy) : undefined
  if (policy !== undefined) return trusted(utf8(policy))
  throw refusal("LOG_POLICY_MISSING", "the trust bundle in the table names no log; give --log-policy")
}

/** Whatever keeps table or bucket from answering is one code. */
function reachable(stores: AuditedStores): AuditedStores {
  const guarded =
    <A extends readonly unknown[], T>(ask: (...args: A) => Promise<T>) =>
    async (...args: A): Promise<T> => {
      try {
        return await ask(...args)
      } catch (error) {
        const why = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
        throw new CommandFailure(EXIT.unavailable, "UNREACHABLE", `table or bucket can't be read: ${why}`)
      }
    }
  const { page, get, query, read } = stores
  return { page: guarded(page), get: guarded(get), query: guarded(query), read: guarded(read) }
}

function described({ findings, findingCount, ...result }: AuditResult): string[] {
  const events = Object.entries(result.events).map(([kind, count]) => `${count} ${kind}`)
  return [
    ...AUDITED_LOGS.map((log) => {
      const { origin, size } = result.logs[log]
      return `${origin === "" ? `log of ${log}` : origin}: ${size} leaves, ${result.known[log]} of them audited before`
    }),
    `${result.records} records with ${result.envelopes} envelopes; ${result.waiting} wait for the log, ${result.later} were logged meanwhile`,
    `${result.revocations} revocations; events: ${events.length === 0 ? "none" : events.join(", ")}`,
    findingCount === 0 ? "all is well" : `${findingCount} finding(s)`,
    ...findings.map(({ code, subject, detail }) => `  ${code}  ${subject}: ${detail}\n      ${AUDIT_CODES[code]}`),
  ]
}
