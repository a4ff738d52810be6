import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { functionRole } from "../localstack/people.ts"
import { STACK } from "../localstack/service.ts"
import { startCountingProxy } from "./counting-proxy.ts"
import { type Deployment, VARIANTS, type Variant } from "./deployment.ts"
import { type Figure, median } from "./measure.ts"
import type { Order, Round } from "./sign-loop.ts"

const ROUNDS = 15
/** The compilers of V8 are at work for some thousand signatures: before, both programs cost twice as much, and not by the same factor. */
const WARM_UP = 2500
const LOOP = fileURLToPath(new URL("./sign-loop.ts", import.meta.url))

/**
 * What one signature costs through the function's bundle, beside an SDK program that makes the same calls and waits as long for their answers: CPU of
 * processes that are warm, all threads of each; the median of the rounds' ratios, as both sides of a round meet the same load of the machine.
 */
export async function signFigures(deployment: Deployment, variant: Variant): Promise<Figure[]> {
  const { endpoints } = deployment.service
  // A fresh RSA key takes a quarter of a second and more, so few have to do.
  const [warmUp, perRound] = variant === "rsa" ? [2, 2] : [WARM_UP, 100]
  const kms = await startCountingProxy(endpoints.kms)
  const dynamodb = await startCountingProxy(endpoints.dynamodb)
  const handler = startLoop(environment(deployment, kms.url, dynamodb.url))
  try {
    const order = orderOf(deployment, variant)
    await runRound(handler, warmUp, order)
    kms.clear()
    dynamodb.clear()
    await runRound(handler, perRound, order)
    const signs = kms.calls.filter(({ operation }) => operation === "Sign")
    const leases = dynamodb.calls.filter(({ body, operation }) => isLease(body) && operation === "TransactWriteItems")
    const others = dynamodb.calls.filter(({ body }) => !isLease(body))
    const strange = [...kms.calls, ...others].filter(
      ({ operation }) => operation !== "Sign" && operation !== "TransactWriteItems",
    )
    const held = VARIANTS[variant].keyMode === "held"

    const transaction = others.findLast(({ operation }) => operation === "TransactWriteItems")?.body ?? ""
    const sign = signs.slice(-Math.round(signs.length / perRound)).map(({ body }) => body)
    const answer = new Map([["TransactWriteItems", "{}"]])
    const plainTable = await startCountingProxy(endpoints.dynamodb, answer)
    const sdk = startLoop(environment(deployment, kms.url, plainTable.url))
    const sdkOrder: Order = { kind: "sdk", sign, transaction }
    const ratios: number[] = []
    const cpu: number[] = []
    try {
      await runRound(sdk, WARM_UP, sdkOrder)
      for (let round = 0; round < ROUNDS; round++) {
        const ours = await runRound(handler, perRound, order)
        const theirs = await runRound(sdk, perRound, sdkOrder)
        cpu.push(ours / perRound)
        ratios.push(ours / theirs)
      }
    } finally {
      sdk.kill()
      plainTable.close()
    }
    const name = `sign ${variant}`
    return [
      {
        figure: `${name}: KMS calls a signature`,
        value: signs.length / perRound,
        unit: "calls",
        atMost: held ? 2 : 1,
      },
      {
        figure: `${name}: transactions a signature`,
        value: others.filter(({ operation }) => operation === "TransactWriteItems").length / perRound,
        unit: "calls",
        atMost: 1,
        note: `${leases.length} lease(s) in ${perRound} signatures beside them`,
      },
      { figure: `${name}: other calls`, value: strange.length, unit: "calls", atMost: 0 },
      { figure: `${name}: CPU of one signature`, value: median(cpu), unit: "ms" },
      {
        figure: `${name}: CPU against the SDK program`,
        value: median(ratios),
        unit: "x",
        ...(variant === "p256" && { atMost: 1.3 }),
      },
    ]
  } finally {
    handler.kill()
    kms.close()
    dynamodb.close()
  }
}

/** Taking a lease happens once for many signatures: it reads the next free number and writes an open lease, which signing itself never does. */
function isLease(body: string): boolean {
  return body.includes('"open-leases"') || body.includes('"numbers#')
}

export function environment(
  { service }: Deployment,
  kms = service.endpoints.kms,
  dynamodb = service.endpoints.dynamodb,
): Record<string, string> {
  const keys = service.keys[functionRole("sign")]
  return {
    AWS_REGION: "us-east-1",
    AWS_ACCESS_KEY_ID: keys?.accessKeyId ?? "",
    AWS_SECRET_ACCESS_KEY: keys?.secretAccessKey ?? "",
    AWS_ENDPOINT_URL_KMS: kms,
    AWS_ENDPOINT_URL_DYNAMODB: dynamodb,
    SEALWRIGHT_TABLE: service.table,
    SEALWRIGHT_STACK: STACK,
    SEALWRIGHT_TIMESTAMP_FUNCTION: "timestamp",
    SEALWRIGHT_RELAY_FUNCTION: "relay",
    SEALWRIGHT_BATCH_FUNCTION: "batch",
  }
}

export function bundleOf({ folder }: Deployment): string {
  return join(folder, "service", "functions", "sign", "index.js")
}

function orderOf(deployment: Deployment, profile: Variant): Order {
  return {
    kind: "handler",
    bundle: bundleOf(deployment),
    event: {
      version: "2.0",
      routeKey: "POST /v1/profiles/{profile}/signatures",
      rawPath: `/v1/profiles/${profile}/signatures`,
      headers: {},
      pathParameters: { profile },
      isBase64Encoded: false,
      requestContext: {
        requestId: "bench",
        authorizer: { iam: { userArn: "arn:aws:sts::000000000000:assumed-role/pipeline/bench" } },
      },
    },
  }
}

function startLoop(env: Record<string, string>): ChildProcess {
  return fork(LOOP, { env: { PATH: process.env.PATH, ...env }, stdio: ["ignore", "ignore", "inherit", "ipc"] })
}

/** @returns CPU milliseconds of the process during the round */
async function runRound(loop: ChildProcess, count: number, order: Order): Promise<number> {
  const round: Round = { count, order }
  loop.send(round)
  const done = new AbortController()
  const { signal } = done
  const ended = once(loop, "exit", { signal }).then(([code]) => {
    throw new Error(`the signing process ended with ${code}`)
  })
  ended.catch(() => undefined)
  const [{ cpuMs }] = (await Promise.race([once(loop, "message", { signal }), ended])) as [{ cpuMs: number }]
  done.abort()
  return cpuMs
}
