import { openDynamoTable } from "@sealwright/adapters/dynamodb"
import { openKmsKeys } from "@sealwright/adapters/kms"
import { clock, digest, randomBytes } from "@sealwright/adapters/platform"
import { openS3Objects } from "@sealwright/adapters/s3"
import { openCosign } from "@sealwright/adapters/witness"
import { isServiceError } from "@sealwright/core/errors"
import { watchUses } from "@sealwright/core/key-uses"
import { askWitnessesAgain, sequence } from "@sealwright/core/log/flow"
import { oldestWaiting } from "@sealwright/core/log/inbox"
import type { SequencePorts } from "@sealwright/core/log/ports"
import type { WitnessCode } from "@sealwright/core/log/witness"
import { LOG_KINDS, type LogKind } from "@sealwright/core/model"
import { runSync } from "@sealwright/verifier/node-crypto"
import { log } from "../http/log.ts"
import { emitMetric } from "../http/metrics.ts"
import { isLocalRun, readSettings } from "../http/settings.ts"

const settings = readSettings(process.env, "table", "bucket")
const watch = watchUses(
  {
    table: openDynamoTable(settings.table),
    objects: openS3Objects(settings.bucket),
    keys: openKmsKeys(),
    clock,
    random: randomBytes,
    digest,
    run: runSync,
  },
  "sequence",
)
const cosign = openCosign(clock, runSync, isLocalRun(process.env))
const ports: SequencePorts = {
  ...watch.ports,
  cosign: async (policy, request) => {
    const answers = await cosign(policy, request)
    emitMetric("Cosignatures", answers.signatures.length, "Count", clock())
    emitMetric("WitnessFailures", answers.failures.length, "Count", clock())
    for (const { witness, code, detail } of answers.failures) {
      log({ witness, code, detail: detail.slice(0, 200) })
      if (DISPUTES.includes(code)) emitMetric("LogDisputed", 1, "Count", clock())
    }
    return answers
  },
}

/** A witness has seen another tree than this one. The log goes on, and a person must look who is wrong. */
const DISPUTES: readonly WitnessCode[] = ["WITNESS_INCONSISTENT", "WITNESS_AHEAD"]
/** What a person must look at: the log stands still until then (docs/log.md). */
const REFUSALS = ["LOG_AHEAD", "LOG_BEHIND", "LOG_FORKED"] as const
/** Before the ceremony there is no log, and a sequencer that lost to another one has nothing to do. */
const IDLE = ["PRECONDITION_REQUIRED", "LOG_NOT_SET_UP", "LOG_CONFLICT"] as const
/** A round of ten thousand entries takes seconds; none begins later than this before the end. */
const RESERVE_MS = 60_000

interface Context {
  readonly awsRequestId: string
  getRemainingTimeInMillis(): number
}

/**
 * A wake-up: by the stream, whose records say no more than that something waits (they may come twice, late, or never), or by the schedule. One log's
 * trouble does not keep the other waiting.
 */
export const handler = async (_event: unknown, context: Context): Promise<{ readonly logged: number }> => {
  let logged = 0
  const failures: unknown[] = []
  watch.begin(context.awsRequestId)
  for (const kind of LOG_KINDS) {
    try {
      const now = await drain(kind, context)
      logged += now
      if (now === 0) await askWitnessesAgain(ports, kind)
    } catch (error) {
      if (!isServiceError(error, ...IDLE)) failures.push(error)
      log({ log: kind, code: isServiceError(error) ? error.code : "UNEXPECTED" })
      if (isServiceError(error, ...REFUSALS)) emitMetric("LogRefused", 1, "Count", clock())
    }
    const oldest = await oldestWaiting(ports.table, kind)
    const ageSec = oldest === undefined ? 0 : (clock().getTime() - oldest.getTime()) / 1000
    emitMetric("OldestLogEntryAge", Math.max(0, ageSec), "Seconds", clock())
  }
  await watch.end()
  emitMetric("LogEntries", logged, "Count", clock())
  if (failures.length > 0) throw failures[0]
  return { logged }
}

/** Round after round, as long as there are entries and time. */
async function drain(kind: LogKind, context: Context): Promise<number> {
  let logged = 0
  for (;;) {
    const { epoch, size, logged: now, unreadable } = await sequence(ports, kind)
    logged += now
    if (unreadable.length > 0)
      log({ log: kind, code: "LOG_ENTRY_UNREADABLE", entries: unreadable.length, first: unreadable[0] })
    if (now > 0) log({ log: kind, epoch, size: String(size), entries: now })
    if (now === 0 || context.getRemainingTimeInMillis() < RESERVE_MS) return logged
  }
}
