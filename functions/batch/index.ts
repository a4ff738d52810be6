import { setTimeout as pause } from "node:timers/promises"
import { openDynamoTable } from "@sealwright/adapters/dynamodb"
import { clock, digest, randomBytes } from "@sealwright/adapters/platform"
import { serviceKeys } from "@sealwright/adapters/service-keys"
import { openOutsideTimestampers, openTimestamper } from "@sealwright/adapters/timestamper"
import { openKmsAndWrappedKeys } from "@sealwright/adapters/wrapped-keys"
import { pacedKeys } from "@sealwright/core/jobs/paced-keys"
import { type WorkOutcome, type WorkPorts, workJobs } from "@sealwright/core/jobs/work"
import { openJobs } from "@sealwright/core/ledger/jobs"
import { isWrapped, type SigningKeys } from "@sealwright/core/ports"
import { runSync } from "@sealwright/verifier/node-crypto"
import { log } from "../http/log.ts"
import { emitMetric } from "../http/metrics.ts"
import { readSettings, readTokenSettings } from "../http/settings.ts"

/** Chunks at a time. */
const LANES = 6
/** Before its time is up a worker begins nothing more, so that what is under way ends. */
const REST_MS = 90_000

const settings = readSettings(process.env, "table", "stack", "timestampFunction", "relayFunction", "batchRate")
const table = openDynamoTable(settings.table)
// The pace must see each throttled call, so the client repeats none.
const home = serviceKeys(openKmsAndWrappedKeys(settings.stack, { maxAttempts: 1 }), readTokenSettings(process.env))
const wait = async (milliseconds: number) => await pause(milliseconds)
const paced = pacedKeys({ keys: home.keys, clock, random: randomBytes, pause: wait }, Number(settings.batchRate))
// The pace shares KMS's quota out, of which wrapped keys use nothing.
const keys: SigningKeys = {
  sign: (key, message, note) => (isWrapped(key) ? home.keys : paced).sign(key, message, note),
}
const ports: WorkPorts = {
  table,
  clock,
  random: randomBytes,
  digest,
  keys,
  makeEphemeralKey: home.makeEphemeralKey,
  timestamper: openTimestamper(settings.timestampFunction),
  outsideTimestampers: openOutsideTimestampers(settings.relayFunction),
  run: runSync,
  pause: wait,
}

/** Woken by `sign`, and each minute by the schedule. What the event says is of no interest: the work stands in the table. */
export const handler = async (
  _event: unknown,
  context: { readonly getRemainingTimeInMillis: () => number },
): Promise<{ readonly signed: number; readonly refused: number }> => {
  const until = new Date(clock().getTime() + context.getRemainingTimeInMillis() - REST_MS)
  let signed = 0
  let refused = 0
  for (;;) {
    const outcome = await workJobs(ports, { lanes: LANES, until })
    signed += outcome.signed
    refused += outcome.refused
    const open = await openJobs(table)
    report(outcome, open[0] && Math.min(...open.map(({ acceptedAt }) => acceptedAt.getTime())))
    const [first] = outcome.unexpected
    if (first !== undefined) throw first
    // Who was woken for a job while this one gave its place up found the place taken.
    if (outcome.idle || outcome.failures > 0 || open.length === 0 || clock() >= until) return { signed, refused }
  }
}

function report({ idle, signed, refused, failures, unexpected }: WorkOutcome, oldest: number | undefined): void {
  const now = clock()
  emitMetric("OldestJobAge", oldest === undefined ? 0 : (now.getTime() - oldest) / 1000, "Seconds", now)
  if (idle) return
  emitMetric("BatchFailures", failures, "Count", now)
  if (signed + refused + failures > 0) log({ signed, refused, failures })
  for (const error of unexpected) log({ failure: `${error.name}: ${error.message}` })
}
