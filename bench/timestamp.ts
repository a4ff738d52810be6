import { createHash } from "node:crypto"
import { Agent, request } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import { createMemoryKeys } from "@sealwright/adapters/memory-keys"
import { createMemoryTable } from "@sealwright/adapters/memory-table"
import { clock, digest, randomBytes } from "@sealwright/adapters/platform"
import { holdCeremony } from "@sealwright/core/admin/ceremony"
import { makeTimestampAuthority } from "@sealwright/core/timestamp/authority"
import { createTimestampAuthority } from "@sealwright/core/timestamp/flow"
import { DEFAULT_TIMESTAMP_POLICY } from "@sealwright/core/timestamp/rules"
import { parseTimestampResponse, TIMESTAMP_QUERY_TYPE, timestampRequest } from "@sealwright/formats/timestamp"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifyTimestampToken } from "@sealwright/verifier/timestamp"
import type { Deployment } from "./deployment.ts"
import { type Figure, interleave, median } from "./measure.ts"

const STAMPED = new TextEncoder().encode("what is stamped")
const QUERY = timestampRequest({
  hash: "sha256",
  digest: new Uint8Array(createHash("sha256").update(STAMPED).digest()),
  nonce: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
  certReq: true,
})
const ROUNDS = 8
const PER_ROUND = 50
const AT_ONCE = 4

/** Timestamps through the service on this machine, and what one token costs its maker and its verifier alone. */
export async function timestampFigures(deployment: Deployment): Promise<Figure[]> {
  await deployment.run("admin", "timestamp", "authority")
  return [
    {
      figure: "timestamp: tokens through the service",
      value: await servedPerSec(deployment.service.timestampUrl),
      unit: "/s",
      note: `${AT_ONCE} at once, two workers, stand-ins for KMS and DynamoDB on the same machine`,
    },
    ...(await aloneFigures()),
  ]
}

async function servedPerSec(url: string): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, () => ask(url, agent)))
    const rates: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const began = performance.now()
      await Promise.all(
        Array.from({ length: AT_ONCE }, async () => {
          for (let i = 0; i < PER_ROUND / AT_ONCE; i++) await ask(url, agent)
        }),
      )
      rates.push((Math.ceil(PER_ROUND / AT_ONCE) * AT_ONCE * 1000) / (performance.now() - began))
    }
    return median(rates)
  } finally {
    agent.destroy()
  }
}

/** @throws Error unless a token comes */
function ask(url: string, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      { method: "POST", agent, headers: { "content-type": TIMESTAMP_QUERY_TYPE, "content-length": QUERY.length } },
      (incoming) => {
        const chunks: Buffer[] = []
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
        incoming.on("error", reject)
        incoming.on("end", () => {
          const granted = incoming.statusCode === 200 && parseTimestampResponse(Buffer.concat(chunks)).granted
          if (granted) resolve()
          else reject(new Error(`no token: HTTP ${incoming.statusCode}`))
        })
      },
    )
    outgoing.on("error", reject)
    outgoing.end(QUERY)
  })
}

/** Without network and stores: the key is in this process, so its signature is part of the cost. */
async function aloneFigures(): Promise<Figure[]> {
  const keys = createMemoryKeys()
  const ports = {
    table: createMemoryTable(),
    keys,
    maker: keys,
    wrapper: keys,
    clock,
    random: randomBytes,
    digest,
    run: runSync,
  }
  const actor = { principal: "arn:aws:iam::111122223333:role/admin", requestId: "bench" }
  const names = { country: "US", state: "Washington", organisation: "Wabbit Networks", identityHost: "a.example" }
  const hosts = { crlHost: "b.example", tufUrl: "https://a.example/tuf" }
  const ceremony = { ...names, ...hosts, algorithm: "ecdsa-p256-sha256", rootYears: 1 } as const
  const { root } = await holdCeremony(ports, ceremony, actor)
  await makeTimestampAuthority(ports, { algorithm: "ecdsa-p256-sha256", days: 30 }, actor)
  // A token reaches back by its accuracy, and the root must be in force then.
  await sleep(2_000)
  const answer = createTimestampAuthority(ports, DEFAULT_TIMESTAMP_POLICY)
  const times: number[] = []
  for (let i = 0; i < ROUNDS * PER_ROUND; i++) {
    const began = performance.now()
    await answer(QUERY)
    if (i >= PER_ROUND) times.push((performance.now() - began) * 1000)
  }
  const response = parseTimestampResponse((await answer(QUERY)).response)
  if (!response.granted) throw new Error(`no token: ${response.failure}`)
  const { token } = response
  const trusted = { trusted: [root.certificate] }
  const { verify } = interleave(
    { verify: () => void runSync(verifyTimestampToken(token, STAMPED, trusted)) },
    { rounds: ROUNDS, perRound: PER_ROUND, warmUp: 1 },
  )
  return [
    { figure: "timestamp: one token, its own signature and check included", value: median(times), unit: "us" },
    { figure: "timestamp: one token verified, its chain included", value: verify, unit: "us" },
  ]
}
