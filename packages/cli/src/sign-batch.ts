import { createHash } from "node:crypto"
import { canonicalJson } from "@sealwright/formats/canonical-json"
import { array, openObject, string } from "@sealwright/formats/shape"
import type { JsonObject } from "@sealwright/formats/strict-json"
import type { Arguments } from "./arguments.ts"
import { readBatch } from "./batch-file.ts"
import { openClient, type ServiceClient } from "./client.ts"
import { EXIT, usage } from "./exit.ts"
import {
  allResults,
  fetchEnvelopes,
  type JobAnswer,
  type ResultAnswer,
  readJobAnswer,
  waitForJob,
  writeEnvelopes,
} from "./job-client.ts"
import { onlyProfile } from "./only-profile.ts"
import { print } from "./output.ts"

/** What the service answers at once. */
const MAX_AT_ONCE = 100
const SHOWN = 20
const NOT_FOR_BATCHES = ["reference", "tag", "output", "extra-output", "no-attach", "key", "certificate"] as const

interface Outcome {
  readonly profile: string
  readonly idempotencyKey: string
  readonly job?: JobAnswer
  readonly results: readonly ResultAnswer[]
}

/** Signs what a file names: at once when it is short, else as a job that is waited for. Run again, it finds what it began. */
export async function signBatch(args: Arguments): Promise<number> {
  const odd = NOT_FOR_BATCHES.find((name) => args.text(name) !== undefined || args.flag(name))
  if (odd !== undefined) throw usage(`--${odd} is for one subject`)
  const entries = readBatch(args.required("batch"))
  const client = openClient(args)
  const profile = args.text("profile") ?? (await onlyProfile(client))
  const expiresAt = args.text("expires")
  const body = {
    subjects: entries.map(({ subject, reference }) => ({
      subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.size },
      reference,
    })),
    ...(expiresAt !== undefined && { expiresAt }),
  }
  const idempotencyKey = args.text("idempotency-key") ?? keyOf(profile, body)
  if (entries.length <= MAX_AT_ONCE && !args.flag("async"))
    return await signAtOnce(args, client, profile, body, idempotencyKey)

  const accepted = readJobAnswer(
    await client.send("POST", `/v1/profiles/${encodeURIComponent(profile)}/signatures`, body, undefined, {
      "idempotency-key": idempotencyKey,
      prefer: "respond-async",
    }),
  )
  if (args.flag("no-wait")) {
    print(args.flag("json"), { idempotencyKey, job: accepted }, () => [
      `Accepted job ${accepted.id} with ${accepted.total} subjects`,
      `  wait with  sealwright job wait ${accepted.id} --profile ${profile}`,
    ])
    return EXIT.done
  }
  const job = await waitForJob(client, accepted, { timeoutSec: args.duration("timeout"), json: args.flag("json") })
  const results = await allResults(client, job)
  const folder = args.text("envelopes")
  if (folder !== undefined) await fetchEnvelopes(client, profile, results, folder)
  return tell(args, { profile, idempotencyKey, job, results })
}

const answerShape = openObject({
  results: array(
    openObject(
      { digest: string(135) },
      {
        signature: openObject({
          id: string(26),
          envelopes: array(openObject({ format: string(40), content: string(1_500_000) }), 16, 1),
        }),
        problem: openObject({ code: string(60) }),
      },
    ),
    MAX_AT_ONCE,
  ),
})

async function signAtOnce(
  args: Arguments,
  client: ServiceClient,
  profile: string,
  body: JsonObject,
  idempotencyKey: string,
): Promise<number> {
  const path = `/v1/profiles/${encodeURIComponent(profile)}/signatures`
  const answer = await client.send("POST", path, body, undefined, { "idempotency-key": idempotencyKey })
  const { results } = answerShape(answer, "answer")
  const folder = args.text("envelopes")
  if (folder !== undefined)
    for (const { digest, signature } of results) writeEnvelopes(folder, digest, signature?.envelopes ?? [])
  return tell(args, {
    profile,
    idempotencyKey,
    results: results.map(({ digest, signature, problem }) => ({
      digest,
      ...(signature && { signature: signature.id }),
      ...(problem && { code: problem.code }),
    })),
  })
}

/** The same subjects under the same profile have the same key, so that a second run converges with the first. */
function keyOf(profile: string, body: JsonObject): string {
  return `batch-${createHash("sha256").update(canonicalJson({ profile, body })).digest("hex")}`
}

function tell(args: Arguments, outcome: Outcome): number {
  const { results, job } = outcome
  const refused = results.filter(({ signature }) => signature === undefined)
  print(args.flag("json"), outcome, () => [
    `Signed ${results.length - refused.length} of ${results.length} subjects under ${outcome.profile}`,
    ...(job === undefined ? [] : [`  job        ${job.id}, ${job.state}`]),
    ...refused.slice(0, SHOWN).map(({ digest, code }) => `  refused    ${digest}: ${code}`),
    ...(refused.length > SHOWN ? [`  and ${refused.length - SHOWN} more`] : []),
  ])
  return refused.length === 0 ? EXIT.done : EXIT.rejected
}
