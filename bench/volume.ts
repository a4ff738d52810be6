import { fork } from "node:child_process"
import { randomBytes as randomText } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { makeEphemeralKey } from "@sealwright/adapters/ephemeral-key"
import { openKmsKeyMaker } from "@sealwright/adapters/kms"
import { createMemoryTable } from "@sealwright/adapters/memory-table"
import { clock, digest, randomBytes } from "@sealwright/adapters/platform"
import { createTimestamper } from "@sealwright/adapters/timestamper"
import { openKeyWrapper, openKmsAndWrappedKeys } from "@sealwright/adapters/wrapped-keys"
import { createIssuer, holdCeremony } from "@sealwright/core/admin/ceremony"
import { createProfile } from "@sealwright/core/admin/profiles"
import type { KeyMode, TimestampMode } from "@sealwright/core/model"
import { createSigner, type Signer } from "@sealwright/core/sign/flow"
import { makeTimestampAuthority } from "@sealwright/core/timestamp/authority"
import type { JsonValue } from "@sealwright/formats/strict-json"
import { runSync } from "@sealwright/verifier/node-crypto"
import { type Figure, median } from "./measure.ts"
import { type Answer, LATENCY_MS, type Question, SIGNATURES_PER_SEC, STACK } from "./volume-terms.ts"

const P256 = "ecdsa-p256-sha256"
const REFERENCE = "registry.wabbit-networks.io/net-monitor"
const PIPELINE = "arn:aws:iam::111122223333:role/pipeline"
const ACTOR = { principal: "arn:aws:iam::111122223333:role/admin", requestId: "bench" }
const ROUND_MS = 1_500
const ROUNDS = 3
/** Requests at once, each a batch of 100: enough to keep a quota of 1,000 a second busy behind 15 ms. */
const AT_ONCE = 8
const BATCH = 100

interface Shape {
  readonly keyMode: KeyMode
  readonly timestamp: TimestampMode
  readonly wrapped: boolean
}

const SHAPES = {
  held: { keyMode: "held", timestamp: "none", wrapped: false },
  ephemeral: { keyMode: "ephemeral", timestamp: "none", wrapped: false },
  "ephemeral, stamped": { keyMode: "ephemeral", timestamp: "own", wrapped: false },
  shared: { keyMode: "shared", timestamp: "none", wrapped: false },
  "wrapped, ephemeral": { keyMode: "ephemeral", timestamp: "own", wrapped: true },
  "wrapped, shared": { keyMode: "shared", timestamp: "own", wrapped: true },
} as const satisfies Record<string, Shape>
type Name = keyof typeof SHAPES

interface Backends {
  ask(question: Question): Promise<unknown>
}

interface Measured {
  readonly perSec: number
  /** milliseconds of CPU in the signing process, for each signature */
  readonly cpuMs: number
  readonly kmsCalls: number
}

/** Signatures a second of one process beyond KMS's quota, mode by mode: KMS and the timestamp authority are another process, the ledger is in memory. */
export async function volumeFigures(): Promise<Figure[]> {
  const backends = await startBackends()
  try {
    const table = createMemoryTable()
    await setUp(table)
    await backends.ask({ kind: "authority", items: table.dump() })
    const measured = new Map<Name, Measured[]>()
    for (let round = 0; round < ROUNDS; round++)
      for (const name of Object.keys(SHAPES) as Name[])
        measured.set(name, [...(measured.get(name) ?? []), await measure(name, signerOf(table, backends), backends)])
    return figuresOf(measured)
  } finally {
    await backends.ask({ kind: "end" })
  }
}

/** @returns once the embedded KMS answers; the environment names it then */
async function startBackends(): Promise<Backends> {
  const keys = { AWS_ACCESS_KEY_ID: "AKIABENCH", AWS_SECRET_ACCESS_KEY: randomText(20).toString("hex") }
  Object.assign(process.env, keys, { AWS_REGION: "us-east-1" })
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = keys
  const child = fork(fileURLToPath(new URL("volume-backends.ts", import.meta.url)), [id, secret, "us-east-1"], {
    serialization: "advanced",
  })
  const waiting = new Map<number, (value: unknown) => void>()
  const url = new Promise<unknown>((resolve) => waiting.set(0, resolve))
  child.on("message", ({ id: answered, value }: Answer) => {
    waiting.get(answered)?.(value)
    waiting.delete(answered)
  })
  child.on("exit", () => {
    for (const resolve of waiting.values()) resolve(undefined)
  })
  process.env.AWS_ENDPOINT_URL_KMS = String(await url)
  let last = 0
  return {
    ask: (question) =>
      new Promise((resolve) => {
        waiting.set(++last, resolve)
        child.send({ id: last, question })
      }),
  }
}

async function setUp(table: ReturnType<typeof createMemoryTable>): Promise<void> {
  const ports = {
    table,
    keys: openKmsAndWrappedKeys(STACK),
    maker: openKmsKeyMaker({ stack: STACK }),
    wrapper: openKeyWrapper({ stack: STACK, purposes: new Set(["issuer", "timestamp"]) }),
    clock,
    random: randomBytes,
    digest,
    run: runSync,
  }
  const names = { country: "US", state: "Washington", organisation: "Wabbit Networks", identityHost: "a.example" }
  const hosts = { crlHost: "b.example", tufUrl: "https://a.example/tuf" }
  await holdCeremony(ports, { ...names, ...hosts, algorithm: P256, rootYears: 1 }, ACTOR)
  await makeTimestampAuthority(ports, { algorithm: P256, days: 30, wrapped: true }, ACTOR)
  for (const wrapped of [false, true])
    await createIssuer(ports, { name: issuerOf(wrapped), algorithm: P256, days: 30, wrapped }, ACTOR)
  for (const [at, { keyMode, timestamp, wrapped }] of Object.values(SHAPES).entries()) {
    const limits = { expirySec: undefined, leafLifetimeSec: 600, allowList: false }
    const who = { principals: [PIPELINE], repositories: [REFERENCE] }
    const settings = { issuer: issuerOf(wrapped), keyMode, timestamp, algorithm: P256, ...limits, ...who } as const
    await createProfile(ports, profileOf(at), settings, ACTOR)
  }
  // A token reaches back by its accuracy, and root and issuers must be in force then.
  await sleep(2_000)
}

const issuerOf = (wrapped: boolean) => (wrapped ? "bulk" : "ci")
const profileOf = (at: number) => `volume-${at}`

function signerOf(table: ReturnType<typeof createMemoryTable>, backends: Backends): Signer {
  const invoke = async (_name: string, payload: JsonValue) => {
    const { timestampQueries } = payload as { readonly timestampQueries: readonly string[] }
    const replies = await backends.ask({ kind: "timestamps", queries: timestampQueries })
    return { outcome: "done", answer: { timestampReplies: replies as JsonValue } } as const
  }
  const timestamper = createTimestamper(async () => invoke, "timestamp")
  return createSigner({
    table,
    keys: openKmsAndWrappedKeys(STACK),
    makeEphemeralKey,
    timestamper,
    outsideTimestampers: () => timestamper,
    clock,
    random: randomBytes,
    digest,
    run: runSync,
  })
}

async function measure(name: Name, sign: Signer, backends: Backends): Promise<Measured> {
  const profile = profileOf(Object.keys(SHAPES).indexOf(name))
  await signBatch(sign, profile)
  await backends.ask({ kind: "count" })
  const cpu = process.cpuUsage()
  const began = performance.now()
  let signed = 0
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (performance.now() - began < ROUND_MS) {
        const more = await signBatch(sign, profile)
        signed += more
      }
    }),
  )
  const tookMs = performance.now() - began
  const { user, system } = process.cpuUsage(cpu)
  const calls = (await backends.ask({ kind: "count" })) as { readonly [operation: string]: number }
  const kmsCalls = Object.values(calls).reduce((sum, count) => sum + count, 0) / signed
  return { perSec: (signed * 1000) / tookMs, cpuMs: (user + system) / 1000 / signed, kmsCalls }
}

/** @throws Error unless all are signed */
async function signBatch(sign: Signer, profile: string): Promise<number> {
  const subjects = Array.from({ length: BATCH }, () => ({
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    digest: `sha256:${randomText(32).toString("hex")}`,
    size: 528,
    reference: `${REFERENCE}:v1`,
  }))
  const request = { profile, principal: PIPELINE, requestId: "bench", requestDigest: randomText(32).toString("hex") }
  const outcomes = await sign({ ...request, subjects, expiresAt: undefined, idempotencyKey: undefined })
  for (const outcome of outcomes) if ("refused" in outcome) throw outcome.refused
  return outcomes.length
}

function figuresOf(measured: ReadonlyMap<Name, readonly Measured[]>): Figure[] {
  const of = (name: Name, member: keyof Measured) => median((measured.get(name) ?? []).map((one) => one[member]))
  const each = (Object.keys(SHAPES) as Name[]).flatMap((name): Figure[] => [
    {
      figure: `volume: ${name}`,
      value: of(name, "perSec"),
      unit: "/s",
      ...(name === "wrapped, ephemeral" && { atLeast: 5_000 }),
      note: `one process, ${AT_ONCE} batches of ${BATCH} at once`,
    },
    { figure: `volume: ${name}, calls to KMS a signature`, value: of(name, "kmsCalls"), unit: "calls" },
    { figure: `volume: ${name}, CPU of the signing process a signature`, value: of(name, "cpuMs") * 1000, unit: "us" },
  ])
  const against = (name: Name): Figure => ({
    figure: `volume: wrapped against ${name}`,
    value: of("wrapped, ephemeral", "perSec") / of(name, "perSec"),
    unit: "x",
    ...(name === "ephemeral" && { atLeast: 5 }),
    note: `KMS answers after ${LATENCY_MS} ms and signs ${SIGNATURES_PER_SEC} a second`,
  })
  return [...each, against("ephemeral"), against("ephemeral, stamped")]
}
