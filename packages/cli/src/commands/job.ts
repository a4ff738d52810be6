import { type Arguments, type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient, type ServiceClient } from "../client.ts"
import { EXIT, usage } from "../exit.ts"
import {
  allResults,
  fetchEnvelopes,
  type JobAnswer,
  jobsPath,
  readJobAnswer,
  readJobsAnswer,
  waitForJob,
} from "../job-client.ts"
import { onlyProfile } from "../only-profile.ts"
import { print, table } from "../output.ts"

const OPTIONS = { ...SERVICE_OPTIONS, profile: { type: "string" } } as const

export const jobList: Command = {
  name: "job list",
  summary: "list a profile's batch jobs",
  help: `
Usage: sealwright job list [--profile NAME] [--newest] [--limit 50] [--after ID]

Example:
  sealwright job list --profile release --newest
`,
  options: { ...OPTIONS, newest: { type: "boolean" }, limit: { type: "string" }, after: { type: "string" } },
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const client = openClient(args)
    const answer = await client.get(jobsPath(args.text("profile") ?? (await onlyProfile(client))), {
      limit: args.text("limit"),
      after: args.text("after"),
      order: args.flag("newest") ? "newest" : undefined,
    })
    const { jobs, next } = readJobsAnswer(answer)
    print(args.flag("json"), answer, () => [
      ...table([
        ["ID", "ACCEPTED", "STATE", "SIGNED", "REFUSED", "TOTAL"],
        ...jobs.map((job) => [
          job.id,
          job.acceptedAt,
          job.state,
          String(job.signed),
          String(job.refused),
          String(job.total),
        ]),
      ]),
      ...(next === undefined ? [] : [`More: --after ${next}`]),
    ])
    return EXIT.done
  },
}

export const jobShow: Command = {
  name: "job show",
  summary: "show how far a job is",
  help: "Usage: sealwright job show JOB-ID [--profile NAME] [--json]",
  options: OPTIONS,
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const { client, path } = await named(args)
    const answer = await client.get(path)
    print(args.flag("json"), answer, () => describe(readJobAnswer(answer)))
    return EXIT.done
  },
}

export const jobWait: Command = {
  name: "job wait",
  summary: "wait until a job is done",
  help: `
Usage: sealwright job wait JOB-ID [--profile NAME] [--timeout DURATION]

Exit status 0 when every subject was signed, 1 when one was not, 3 when --timeout (such as 90s or 15m) passed first; the job goes on.
`,
  options: { ...OPTIONS, timeout: { type: "string" } },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const { client, path } = await named(args)
    const json = args.flag("json")
    const begun = readJobAnswer(await client.get(path))
    const job = await waitForJob(client, begun, { timeoutSec: args.duration("timeout"), json })
    print(json, { job }, () => describe(job))
    return job.refused === 0 ? EXIT.done : EXIT.rejected
  },
}

export const jobResults: Command = {
  name: "job results",
  summary: "list what became of a job's subjects",
  help: `
Usage: sealwright job results JOB-ID [--profile NAME] [--envelopes FOLDER]

One line a subject, in the order of the request: its digest, then the signature's id, or the code that refused it, or pending. With --envelopes
each signature's envelope is written into the folder, under its subject's digest.

Example:
  sealwright job results 01KAJ4M8Y2E5Q0Z7R3T6V9W1XC --profile release --envelopes signatures
`,
  options: { ...OPTIONS, envelopes: { type: "string" } },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const { client, path, profile } = await named(args)
    const job = readJobAnswer(await client.get(path))
    const results = await allResults(client, job)
    const folder = args.text("envelopes")
    const written = folder === undefined ? undefined : await fetchEnvelopes(client, profile, results, folder)
    print(args.flag("json"), { job, results, ...(written !== undefined && { written }) }, () => [
      ...results.map(({ digest, signature, code }) => `${digest}  ${signature ?? code ?? "pending"}`),
      ...(written === undefined ? [] : [`${written} envelopes written to ${folder}`]),
    ])
    return EXIT.done
  },
}

export const jobCancel: Command = {
  name: "job cancel",
  summary: "sign nothing more of a job",
  help: `
Usage: sealwright job cancel JOB-ID [--profile NAME]

What is recorded stays; what is being signed at this moment is finished. Repeating it changes nothing.
`,
  options: OPTIONS,
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const { client, path } = await named(args)
    const answer = await client.send("POST", `${path}/cancel`, {})
    print(args.flag("json"), answer, () => describe(readJobAnswer(answer)))
    return EXIT.done
  },
}

async function named(
  args: Arguments,
): Promise<{ readonly client: ServiceClient; readonly profile: string; readonly path: string }> {
  const [id = ""] = args.positionals
  if (!/^[0-9A-Z]{26}$/.test(id)) throw usage(`${id} is no job's id`)
  const client = openClient(args)
  const profile = args.text("profile") ?? (await onlyProfile(client))
  return { client, profile, path: jobsPath(profile, id) }
}

function describe(job: JobAnswer): string[] {
  return [
    `Job ${job.id} of ${job.profile}: ${job.state}`,
    `  subjects   ${job.signed} signed, ${job.refused} refused of ${job.total}`,
    `  accepted   ${job.acceptedAt}`,
    ...(typeof job.ratePerSec === "number" ? [`  rate       ${job.ratePerSec} a second`] : []),
    ...(job.estimatedEnd === undefined ? [] : [`  estimated  ${job.estimatedEnd}`]),
    ...(job.finishedAt === undefined ? [] : [`  finished   ${job.finishedAt}`]),
    ...(job.stop === undefined ? [] : [`  stopped    ${job.stop}`]),
  ]
}
