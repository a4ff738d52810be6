import { createHash } from "node:crypto"
import { mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { roleArn } from "../../localstack/people.ts"
import type { LocalService } from "../../localstack/service.ts"
import {
  callApi,
  environmentOf,
  fsckLocal,
  keysOf,
  type Outcome,
  REPOSITORY,
  runCli,
  startLocal,
  temporaryFolder,
} from "../e2e/local.ts"

/** Batches through the command and the API against the service on this machine. JOB_SUBJECTS makes the large one larger. */

const SUBJECTS = Number(process.env.JOB_SUBJECTS ?? 240)
const SIGN = "/v1/profiles/release/signatures"
const ASYNC = { prefer: "respond-async" }
const folder = temporaryFolder()
const work = join(folder.path, "work")
let service: LocalService

function as(role: string, ...args: readonly string[]): Promise<Outcome> {
  return runCli(work, environmentOf(service, role), [...args, "--json"])
}

async function done(outcome: Promise<Outcome>): Promise<Outcome> {
  const { status, stdout, stderr } = await outcome
  if (status !== 0) throw new Error(`exit ${status}: ${stdout}${stderr}`)
  return await outcome
}

const digest = (seed: string) => `sha256:${createHash("sha256").update(seed).digest("hex")}`
const lines = (seeds: readonly string[]) => seeds.map((seed) => `${digest(seed)} 528 ${REPOSITORY}:v1`)
const names = (count: number, prefix: string) => Array.from({ length: count }, (_, i) => `${prefix}${i}`)
const bodyOf = (seeds: readonly string[]) => ({
  subjects: seeds.map((seed) => ({
    subject: { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: digest(seed), size: 528 },
    reference: `${REPOSITORY}:v1`,
  })),
})

function call(method: string, path: string, options: Parameters<typeof callApi>[4] = {}) {
  return callApi(service.apiUrl, keysOf(service, "pipeline"), method, path, options)
}

beforeAll(async () => {
  mkdirSync(work)
  service = await startLocal(folder.path)
  const hosts = ["--identity-host", "trust.wabbit-networks.io", "--crl-host", new URL(service.trustUrl).host]
  const place = ["--country", "US", "--state", "Washington", "--organisation", "Wabbit Networks"]
  await done(as("admin", "ceremony", ...place, ...hosts, "--tuf-url", `${service.trustUrl}/tuf`))
  await done(as("admin", "issuer", "create", "ci"))
  const profile = ["--issuer", "ci", "--principal", roleArn("pipeline"), "--repository", REPOSITORY]
  await done(as("admin", "profile", "create", "release", ...profile))
}, 60_000)

afterAll(async () => {
  await service?.close()
  folder.remove()
})

describe("a batch in a file (R11, R15)", () => {
  test("becomes a job, is signed, and its envelopes are written; run again it is the same job", async () => {
    writeFileSync(join(work, "large.txt"), `# release\n\n${lines(names(SUBJECTS, "large")).join("\n")}\n`)
    const begun = performance.now()
    const first = await done(as("pipeline", "sign", "--batch", "large.txt", "--profile", "release", "--async"))
    const seconds = (performance.now() - begun) / 1000
    process.stdout.write(
      `${SUBJECTS} subjects in ${seconds.toFixed(1)} s with the command; the job alone ${first.json.job.ratePerSec}/s\n`,
    )
    expect(first.json.job).toMatchObject({ state: "done", total: SUBJECTS, signed: SUBJECTS, refused: 0 })
    expect(first.json.results.map((one: { digest: string }) => one.digest)).toEqual(
      names(SUBJECTS, "large").map(digest),
    )
    const events = first.stderr
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    expect(events.at(-1)).toMatchObject({ event: "progress", state: "done", signed: SUBJECTS })
    const again = await done(
      as("pipeline", "sign", "--batch", "large.txt", "--profile", "release", "--async", "--envelopes", "signatures"),
    )
    expect(again.json.job.id).toBe(first.json.job.id)
    expect(again.json.results).toEqual(first.json.results)
    expect(readdirSync(join(work, "signatures"))).toHaveLength(SUBJECTS)
  }, 300_000)

  test("of 100 or fewer is answered at once; files and standard forms may be mixed", async () => {
    writeFileSync(join(work, "tool"), "tool")
    const reference = `${REPOSITORY}:tool`
    const json = JSON.stringify({ ...bodyOf(["json"]).subjects[0] })
    writeFileSync(join(work, "small.txt"), `tool ${reference}\n${json}\n${lines(["plain"])[0]} text/plain\n`)
    const small = await done(as("pipeline", "sign", "--batch", "small.txt", "--envelopes", "small"))
    expect(small.json.job).toBeUndefined()
    expect(small.json.results.map((one: { digest: string }) => one.digest)).toEqual(
      ["tool", "json", "plain"].map(digest),
    )
    expect(readdirSync(join(work, "small"))).toHaveLength(3)
  })

  test.each([
    ["twice", `${lines(["a"])[0]}\n${lines(["a"])[0]}`],
    ["words", "one two three four five"],
    ["no digest", `sha256:zz 5 ${REPOSITORY}:v1`],
    ["empty", "# nothing\n"],
    ["too many", lines(names(10_001, "m")).join("\n")],
  ])("%s is a usage error, and nothing is asked of the service", async (_, text) => {
    writeFileSync(join(work, "bad.txt"), text)
    const { status, json } = await as("pipeline", "sign", "--batch", "bad.txt", "--profile", "release")
    expect([status, json.error.code]).toEqual([2, "USAGE"])
  })

  test("a refused subject is told with its code, with exit status 1", async () => {
    writeFileSync(
      join(work, "mixed.txt"),
      `${lines(["good"])[0]}\n${digest("bad")} 528 registry.wabbit-networks.io/other:v1\n`,
    )
    const { status, json } = await as("pipeline", "sign", "--batch", "mixed.txt", "--profile", "release", "--async")
    expect(status).toBe(1)
    expect(json.results[1]).toEqual({ digest: digest("bad"), code: "REPOSITORY_OUT_OF_SCOPE" })
  })
})

describe("jobs over the API (D10, D14)", () => {
  const key = (name: string) => ({ "idempotency-key": name })

  test("202 names the job's place; the same key finds it, another body under it is a 409", async () => {
    const body = bodyOf(["api-1", "api-2"])
    const accepted = await call("POST", SIGN, { body, headers: { ...ASYNC, ...key("api") } })
    expect(accepted.status).toBe(202)
    const { id } = accepted.json.job
    const again = await call("POST", SIGN, { body, headers: { prefer: "wait=5, Respond-Async;x=1", ...key("api") } })
    expect([again.status, again.json.job.id]).toEqual([202, id])
    const other = await call("POST", SIGN, { body: bodyOf(["api-3"]), headers: { ...ASYNC, ...key("api") } })
    expect([other.status, other.json.code]).toEqual([409, "IDEMPOTENCY_CONFLICT"])
    const { json } = await done(as("pipeline", "job", "wait", id, "--timeout", "60s"))
    expect(json.job).toMatchObject({ state: "done", signed: 2 })
    const cancelled = await call("POST", `/v1/profiles/release/jobs/${id}/cancel`, { body: {} })
    expect([cancelled.status, cancelled.json.code]).toEqual([409, "JOB_FINISHED"])
    const listed = await done(as("pipeline", "job", "list", "--newest", "--limit", "1"))
    expect(listed.json.jobs).toEqual([expect.objectContaining({ id })])
    expect((await done(as("pipeline", "job", "show", id))).json.job.id).toBe(id)
    expect((await done(as("pipeline", "job", "results", id))).json.results).toHaveLength(2)
  })

  test.each([
    ["IDEMPOTENCY_KEY_REQUIRED", { body: bodyOf(["x"]), headers: ASYNC }],
    ["REQUEST_MALFORMED", { body: bodyOf([]), headers: { ...ASYNC, ...key("m") } }],
    ["REQUEST_MALFORMED", { body: bodyOf(["x"]).subjects[0], headers: { ...ASYNC, ...key("m") } }],
    ["REQUEST_MALFORMED", { body: bodyOf(names(10_001, "x")), headers: { ...ASYNC, ...key("m") } }],
    ["SUBJECT_REPEATED", { body: bodyOf(["x", "x"]), headers: { ...ASYNC, ...key("m") } }],
    ["REQUEST_TOO_LARGE", { raw: `"${"x".repeat(4 * 1024 * 1024)}"`, headers: { ...ASYNC, ...key("m") } }],
    ["REQUEST_TOO_LARGE", { raw: `"${"x".repeat(256 * 1024)}"`, headers: key("m") }],
  ] as const)("%s is a 400", async (code, options) => {
    const { status, json } = await call("POST", SIGN, options)
    expect([status, json.code]).toEqual([400, code])
  })

  test.each([
    ["JOB_UNKNOWN", 404, "/v1/profiles/release/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV"],
    ["JOB_UNKNOWN", 404, "/v1/profiles/release/jobs/none/results"],
    ["REQUEST_MALFORMED", 400, "/v1/profiles/release/jobs?after=none"],
  ])("%s is a %d", async (code, expected, path) => {
    const [place = "", after] = path.split("?after=")
    const answer = await call("GET", place, after === undefined ? {} : { query: { after } })
    expect([answer.status, answer.json.code]).toEqual([expected, code])
  })

  test("who may not sign may not cancel: IAM refuses", async () => {
    const path = "/v1/profiles/release/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV/cancel"
    const { status } = await callApi(service.apiUrl, keysOf(service, "auditor"), "POST", path, { body: {} })
    expect(status).toBe(403)
  })

  test("in the end table and bucket agree", async () => {
    expect((await fsckLocal(service)).findings).toEqual([])
  })
})
