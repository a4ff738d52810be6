import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { base64Decode } from "@sealwright/formats/bytes"
import { anyJson, array, boolean, integer, openObject, type Reader, string } from "@sealwright/formats/shape"
import type { JsonObject } from "@sealwright/formats/strict-json"
import type { ServiceClient } from "./client.ts"
import { CommandFailure, EXIT } from "./exit.ts"
import { writeFileWhole } from "./files.ts"
import { note } from "./output.ts"

const jobShape = openObject(
  {
    id: string(26),
    profile: string(48),
    state: string(20),
    total: integer(0),
    signed: integer(0),
    refused: integer(0),
    acceptedAt: string(30),
  },
  { stop: string(60), finishedAt: string(30), estimatedEnd: string(30), ratePerSec: anyJson },
)
export type JobAnswer = typeof jobShape extends Reader<infer T> ? T : never

const resultShape = openObject({ digest: string(135) }, { signature: string(26), code: string(60), pending: boolean })
export type ResultAnswer = typeof resultShape extends Reader<infer T> ? T : never

const PAGE = "200"
const FIRST_PAUSE_MS = 200
const LONGEST_PAUSE_MS = 2_000
/** While it waits, a service that does not answer is asked again this often before the command gives up. */
const PATIENCE = 5
const FETCHERS = 8

export function jobsPath(profile: string, ...rest: readonly string[]): string {
  return ["/v1/profiles", profile, "jobs", ...rest]
    .map((part, i) => (i === 0 ? part : encodeURIComponent(part)))
    .join("/")
}

export function readJobAnswer(answer: JsonObject): JobAnswer {
  return openObject({ job: jobShape })(answer, "answer").job
}

export function readJobsAnswer(answer: JsonObject) {
  return openObject({ jobs: array(jobShape, 1000) }, { next: string(26) })(answer, "answer")
}

/** Every result of a job, page by page. */
export async function allResults(client: ServiceClient, job: JobAnswer): Promise<ResultAnswer[]> {
  const results: ResultAnswer[] = []
  for (let after: string | undefined = "0"; after !== undefined; ) {
    const answer = await client.get(jobsPath(job.profile, job.id, "results"), { after, limit: PAGE })
    const page = openObject({ results: array(resultShape, 1000) }, { next: string(6) })(answer, "answer")
    results.push(...page.results)
    after = page.next
  }
  return results
}

/**
 * Asks until every subject is settled. @param timeoutSec undefined: as long as it takes
 * @throws CommandFailure JOB_UNFINISHED when the time is up; as the client's when the service stays away
 */
export async function waitForJob(
  client: ServiceClient,
  job: JobAnswer,
  options: { readonly timeoutSec: number | undefined; readonly json: boolean },
): Promise<JobAnswer> {
  const until = Date.now() + (options.timeoutSec ?? Number.POSITIVE_INFINITY) * 1000
  const show = createProgress(options.json)
  let now = job
  let failures = 0
  try {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 1.5, LONGEST_PAUSE_MS)) {
      show.update(now)
      if (now.finishedAt !== undefined) return now
      if (Date.now() >= until) throw unfinished(now)
      await sleep(Math.min(pause, Math.max(0, until - Date.now())))
      try {
        now = readJobAnswer(await client.get(jobsPath(job.profile, job.id)))
        failures = 0
      } catch (error) {
        if (!(error instanceof CommandFailure) || error.status !== EXIT.unavailable || ++failures >= PATIENCE)
          throw error
      }
    }
  } finally {
    show.end()
  }
}

function unfinished({ id, profile, signed, refused, total }: JobAnswer): CommandFailure {
  return new CommandFailure(
    EXIT.inconclusive,
    "JOB_UNFINISHED",
    `job ${id} has settled ${signed + refused} of ${total} subjects`,
    `It goes on: \`sealwright job wait ${id} --profile ${profile}\`.`,
  )
}

/** On a terminal one line that changes, with `--json` an event a line, else a line whenever a tenth more is done; all on standard error. */
function createProgress(json: boolean): { update(job: JobAnswer): void; end(): void } {
  const terminal = !json && process.stderr.isTTY === true
  let shown = ""
  return {
    update(job) {
      const { id, state, total, signed, refused, estimatedEnd } = job
      const tenth = Math.floor((10 * (signed + refused)) / total)
      const mark = json || terminal ? `${state} ${signed} ${refused}` : `${state} ${tenth}`
      if (mark === shown) return
      shown = mark
      if (json)
        return note(
          JSON.stringify({
            event: "progress",
            job: id,
            state,
            total,
            signed,
            refused,
            ...(estimatedEnd && { estimatedEnd }),
          }),
        )
      const line = `job ${id}  ${state}  ${signed} signed, ${refused} refused of ${total}${rateOf(job)}`
      if (terminal) process.stderr.write(`\r\u001b[K${line}`)
      else note(line)
    },
    end() {
      if (terminal && shown !== "") process.stderr.write("\n")
    },
  }
}

function rateOf({ ratePerSec, estimatedEnd }: JobAnswer): string {
  if (typeof ratePerSec !== "number") return ""
  return `, ${Math.round(ratePerSec)}/s${estimatedEnd === undefined ? "" : `, until about ${estimatedEnd}`}`
}

const signatureShape = openObject({
  signature: openObject({ envelopes: array(openObject({ format: string(40), content: string(1_500_000) }), 16, 1) }),
})

/** Writes each signature's envelope into a folder, as `sha256-….jws.sig`. @returns how many */
export async function fetchEnvelopes(
  client: ServiceClient,
  profile: string,
  results: readonly ResultAnswer[],
  folder: string,
): Promise<number> {
  const left = results.filter(({ signature }) => signature !== undefined)
  const count = left.length
  const fetcher = async () => {
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const path = `/v1/profiles/${encodeURIComponent(profile)}/signatures/${next.signature}`
      const { signature } = signatureShape(await client.get(path), "answer")
      writeEnvelopes(folder, next.digest, signature.envelopes)
    }
  }
  await Promise.all(Array.from({ length: FETCHERS }, fetcher))
  return count
}

/** Each act's envelopes: `sha256-….jws.sig`, and beside it `sha256-….ml-dsa-65.jws.sig` where the profile signs twice. */
export function writeEnvelopes(
  folder: string,
  digest: string,
  envelopes: readonly { readonly format: string; readonly content: string }[],
): void {
  const name = envelopeName(digest)
  for (const { format, content } of envelopes) {
    const extra = format === "notary-jws-ml-dsa-65"
    if (!extra && format !== "notary-jws") continue
    writeFileWhole(join(folder, extra ? name.replace(".jws.sig", ".ml-dsa-65.jws.sig") : name), base64Decode(content))
  }
}

/** A digest of the service's answer becomes a file's name only in its own form. */
function envelopeName(digest: string): string {
  if (!/^sha(?:256|384|512):[0-9a-f]{64,128}$/.test(digest))
    throw new CommandFailure(EXIT.unavailable, "ANSWER_MALFORMED", "a result has no digest")
  return `${digest.replace(":", "-")}.jws.sig`
}
