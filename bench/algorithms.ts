import { createIssuer } from "@sealwright/core/admin/ceremony"
import { addRoot } from "@sealwright/core/admin/roots"
import { readDeployment } from "@sealwright/core/ledger/trust"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifyNotaryEnvelope } from "@sealwright/verifier/notary"
import { ADMIN, createService, signRequest } from "../test/support/service.ts"
import type { Figure } from "./measure.ts"

const ROUNDS = 8
const PER_ROUND = 25

/** What a second signature under ML-DSA-65 costs, in this process over memory: the flow's own work, with the key service's signature among it. */
export async function algorithmFigures(): Promise<Figure[]> {
  const service = createService()
  await service.setUp()
  await addRoot(service.ports, { algorithm: "ml-dsa-65", generation: 1, rootYears: 10 }, ADMIN)
  await createIssuer(service.ports, { name: "pq", algorithm: "ml-dsa-65", days: 1000 }, ADMIN)
  await service.profile("once")
  await service.profile("twice", { extraIssuer: "pq" })
  const sign = service.signer()
  let act = 0
  const once = async (profile: "once" | "twice") => {
    const [settled] = await sign(signRequest([`act-${act++}`], { profile }))
    if (settled === undefined || !("signed" in settled)) throw new Error("not signed")
    return settled.signed.envelopes.map(({ bytes }) => bytes)
  }
  const { root, extraRoots } = await readDeployment(service.ports.table)
  const trusted = [root, ...extraRoots].map(({ certificate }) => certificate)
  const check = (envelopes: readonly Uint8Array[]) => {
    for (const bytes of envelopes)
      if (!runSync(verifyNotaryEnvelope(bytes, { trusted, now: service.ports.clock() })).ok)
        throw new Error("a good envelope was refused")
  }
  const times = { once: [] as number[], twice: [] as number[], checkOnce: [] as number[], checkTwice: [] as number[] }
  let envelopes: readonly Uint8Array[] = []
  for (let round = 0; round < ROUNDS; round++)
    for (const profile of ["once", "twice"] as const) {
      times[profile].push(
        await millisecondsOf(async () => {
          envelopes = await once(profile)
        }),
      )
      times[profile === "once" ? "checkOnce" : "checkTwice"].push(await millisecondsOf(() => check(envelopes)))
    }
  const [first, extra] = envelopes.map(({ length }) => length)
  const ms = (name: keyof typeof times) => Math.round(median(times[name]) * 1000) / 1000
  return [
    { figure: "ML-DSA: one act, signed once (P-256)", value: ms("once"), unit: "ms", note: "CPU" },
    { figure: "ML-DSA: one act, signed twice (P-256 and ML-DSA-65)", value: ms("twice"), unit: "ms", note: "CPU" },
    { figure: "ML-DSA: verify the first signature, chain never seen", value: ms("checkOnce"), unit: "ms", note: "CPU" },
    { figure: "ML-DSA: verify both, chains never seen", value: ms("checkTwice"), unit: "ms", note: "CPU" },
    { figure: "ML-DSA: size of the first envelope", value: first ?? 0, unit: "bytes" },
    { figure: "ML-DSA: size of the extra envelope", value: extra ?? 0, unit: "bytes" },
  ]
}

/** CPU time of this process for one of many. */
async function millisecondsOf(work: () => void | Promise<void>): Promise<number> {
  const before = process.cpuUsage()
  for (let i = 0; i < PER_ROUND; i++) await work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000 / PER_ROUND
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}
