import { type ChildProcess, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { parseRevocationList } from "@sealwright/formats/revocation-list"
import { decodeMetadata } from "@sealwright/formats/tuf"
import { afterAll, expect, inject, test } from "vitest"
import { type Keys, roleArn } from "../../localstack/people.ts"
import {
  type Answer,
  type CallOptions,
  callApi,
  fsckLocal,
  REPOSITORY,
  root,
  startLocal,
  temporaryFolder,
  unlogged,
} from "../e2e/local.ts"

/**
 * The service as a process of its own, killed at random moments while two signers, a revoker and a publisher work (I1, I2, I5, I7). What was
 * acknowledged before a kill is there after it. SEED repeats a run's moments.
 */

const KILLS = process.env.SLOW ? 8 : 3
const LONGEST_LIFE_MS = process.env.SLOW ? 2000 : 1500
const SIGN = "/v1/profiles/release/signatures"
const folder = temporaryFolder()
const data = join(folder.path, "service")

interface Process {
  readonly child: ChildProcess
  readonly apiUrl: string
}

interface Signed {
  readonly key: string
  readonly body: object
  readonly signature: { readonly id: string; readonly issuerKeyId: string; readonly number: string }
}

interface Revoked {
  readonly issuerKeyId: string
  readonly number: number
  readonly epoch: number
}

let running: Process | undefined

afterAll(async () => {
  await kill()
  folder.remove()
})

/** A small generator with a seed (mulberry32), so that a failing run can be repeated. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

async function start(): Promise<void> {
  const functions = dirname(inject("built").functions[0]?.folder ?? "")
  const ports = ["--port", "0", "--trust-port", "0", "--timestamp-port", "0"]
  const args = [join(root, "localstack/start.ts"), "--data", data, ...ports, "--functions", functions, "--quiet"]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] })
  const apiUrl = await new Promise<string>((resolve, reject) => {
    let text = ""
    const read = (chunk: Buffer) => {
      text += chunk.toString()
      const found = /^ {2}API {4}(\S+)$/m.exec(text)
      if (found?.[1] !== undefined) resolve(found[1])
    }
    child.stdout.on("data", read)
    child.stderr.on("data", read)
    child.once("exit", (code) => reject(new Error(`the service ended with ${code}: ${text}`)))
  })
  running = { child, apiUrl }
}

async function kill(): Promise<void> {
  const child = running?.child
  running = undefined
  if (child === undefined || child.exitCode !== null) return
  const ended = new Promise((resolve) => child.once("exit", resolve))
  child.kill("SIGKILL")
  await ended
}

/** One try. @returns undefined when nobody answered: what was asked may or may not have happened */
async function attempt(role: string, method: string, path: string, options: CallOptions): Promise<Answer | undefined> {
  const apiUrl = running?.apiUrl
  if (apiUrl === undefined) return undefined
  const keys = JSON.parse(readFileSync(join(data, "credentials.json"), "utf8"))[role] as Keys
  return await callApi(apiUrl, keys, method, path, options).catch(() => undefined)
}

/** Tries until the service says yes. @throws Error for a refusal that trying again does not mend */
async function insist(role: string, method: string, path: string, options: CallOptions = {}): Promise<Answer> {
  for (;;) {
    const answer = await attempt(role, method, path, options)
    if (answer !== undefined && answer.status < 300) return answer
    const passing = answer === undefined || answer.json?.retry === true || answer.status === 503
    if (!passing) throw new Error(`${method} ${path}: HTTP ${answer.status} ${JSON.stringify(answer.json)}`)
    await sleep(30)
  }
}

const startedAt = Date.now()
const seed = Number(process.env.SEED ?? startedAt % 1_000_000)
const random = seeded(seed)

test("what was acknowledged survives SIGKILL, and fsck finds nothing", async () => {
  process.stdout.write(`sigkill: SEED=${seed}\n`)
  await start()
  await insist("admin", "POST", "/v1/ceremony", {
    body: {
      country: "US",
      state: "Washington",
      organisation: "Wabbit Networks",
      identityHost: "trust.wabbit-networks.io",
      crlHost: "crl.wabbit-networks.io",
      tufUrl: "https://trust.wabbit-networks.io/tuf",
    },
  })
  await insist("admin", "POST", "/v1/issuers", { body: { name: "ci" } })
  await insist("admin", "POST", "/v1/profiles", {
    body: { name: "release", issuer: "ci", principals: [roleArn("pipeline")], repositories: [REPOSITORY] },
  })

  const signed: Signed[] = []
  const revoked: Revoked[] = []
  let stop = false

  const signer = async (name: string) => {
    for (let i = 0; !stop; i++) {
      const key = `${name}-${i}`
      const digest = `sha256:${createHash("sha256").update(key).digest("hex")}`
      const subject = { mediaType: "application/octet-stream", digest, size: i }
      const body = { subject, reference: `${REPOSITORY}:v${i}` }
      const { json } = await insist("pipeline", "POST", SIGN, { body, headers: { "idempotency-key": key } })
      signed.push({ key, body, signature: json.signature })
      await sleep(25)
    }
  }
  const revoker = async () => {
    for (let i = 0; !stop; i++) {
      while (signed.length <= i * 3 && !stop) await sleep(20)
      const one = signed[i * 3]?.signature
      if (one === undefined) return
      const target = { kind: "signature", signature: one.id }
      const { json } = await insist("revoker", "POST", "/v1/revocations", { body: { target } })
      revoked.push({ issuerKeyId: one.issuerKeyId, number: Number(one.number), epoch: json.epoch })
      await sleep(500)
    }
  }
  const publisher = async () => {
    while (!stop) {
      await insist("admin", "POST", "/v1/publications")
      await sleep(300)
    }
  }
  const actors = Promise.all([signer("a"), signer("b"), revoker(), publisher()])
  const failed = actors.then(() => undefined)
  let checked = 0

  /** Every signature acknowledged since the last look, and a few of before, by id and by key. */
  const checkAcknowledged = async (all: readonly Signed[]) => {
    for (const { signature, key, body } of all) {
      const shown = await insist("auditor", "GET", `/v1/signatures/${signature.id}`)
      expect(unlogged(shown.json.signature)).toEqual(unlogged(signature))
      const again = await insist("pipeline", "POST", SIGN, { body, headers: { "idempotency-key": key } })
      expect(unlogged(again.json.signature)).toEqual(unlogged(signature))
    }
  }

  // From here on the functions run, so that each life has something to lose.
  while (signed.length < 4) await Promise.race([sleep(50), failed])
  for (let i = 0; i < KILLS; i++) {
    await Promise.race([sleep(50 + random() * LONGEST_LIFE_MS), failed])
    const acknowledged = signed.slice()
    await kill()
    await start()
    const fresh = acknowledged.slice(checked).slice(-3)
    checked = acknowledged.length
    const old = acknowledged[Math.floor(random() * acknowledged.length)]
    await checkAcknowledged(old === undefined ? fresh : [...fresh, old])
  }
  while (signed.length < 20 || revoked.length < 4) await Promise.race([sleep(50), failed])
  stop = true
  await actors
  await checkAcknowledged(signed.slice(-3))
  await kill()

  const service = await startLocal(folder.path)
  try {
    const keys = service.keys.admin as Keys
    expect((await callApi(service.apiUrl, keys, "POST", "/v1/publications")).status).toBe(200)
    const { findings, items, objects } = await fsckLocal(service)
    expect(findings).toEqual([])

    const records = new Map(items.filter(({ sk }) => sk === "record").map((item) => [item.id, item]))
    expect(records.size).toBe(signed.length)
    for (const { signature } of signed) expect(records.get(signature.id)?.number).toBe(Number(signature.number))
    expect(new Set(signed.map(({ signature }) => signature.number)).size).toBe(signed.length)

    const timestamp = objects.get("tuf/timestamp.json") ?? new Uint8Array(0)
    const last = decodeMetadata(timestamp, "timestamp", timestamp.length).signed.version
    expect(Math.max(...revoked.map(({ epoch }) => epoch))).toBeLessThanOrEqual(last)
    for (let epoch = 1; epoch <= last; epoch++) {
      const metadata = objects.get(`tuf/${epoch}.lists.json`) ?? new Uint8Array(0)
      const { targets } = decodeMetadata(metadata, "targets", metadata.length).signed
      const hash = targets.get("lists/revocations.json")?.hashes.get("sha256")
      const list = objects.get(`tuf/targets/lists/${hash}.revocations.json`) ?? new Uint8Array(0)
      const { issuers } = parseRevocationList(list).content
      for (const one of revoked)
        if (one.epoch <= epoch) expect(issuers.get(one.issuerKeyId)?.revoked.has(one.number)).toBe(true)
    }
    const seconds = ((Date.now() - startedAt) / 1000).toFixed(0)
    process.stdout.write(
      `sigkill: ${KILLS} kills, ${signed.length} signatures, ${revoked.length} revocations, ${last} publications, ${seconds} s\n`,
    )
  } finally {
    await service.close()
  }
}, 300_000)
