import { sequence } from "@sealwright/core/log/flow"
import type { SignatureRecord } from "@sealwright/core/model"
import { type Calls, counted, type Latency } from "./counted.ts"
import { type Figure, median, quantile } from "./measure.ts"
import { readyService, type Service, signMany, waitAgain } from "./memory-log.ts"

const WAITING = [100, 1_000, 10_000]
/** Leaves that stand before: an edge of several tiles is read. */
const STANDING = 1_500
const SIGNED = 1_000
const ROUNDS = 5
const FEW_ROUNDS = 3
const ALONE = 50
const PER_SEC = 100
const PERIODS_SEC = [10, 1]
const ROUNDS_OF_PERIOD = 8
/** What calls from a function in the same region take, about. */
const LATENCY: Latency = { s3: 20, dynamodb: 5, kms: 15 }
const SAID = `S3 answers after ${LATENCY.s3} ms, DynamoDB after ${LATENCY.dynamodb}, KMS after ${LATENCY.kms}`

interface Round extends Calls {
  readonly entries: number
  readonly tookMs: number
}

/** What one round of the sequencer takes and asks for, by how many signatures wait, beside a round for each; and how long a signature waits for its proof. */
export async function logFigures(): Promise<Figure[]> {
  const service = await readyService()
  const records = await signMany(service, SIGNED, "logged")
  await sequence(service.ports, "signatures")
  await waitAgain(service, records, STANDING - SIGNED)
  await sequence(service.ports, "signatures")
  const alone = await roundOfEach(service, records)
  const rounds: Round[] = []
  for (const entries of WAITING) rounds.push(await rounded(service, records, entries))
  return [...workFigures(alone, rounds), ...(await latencyFigures(service, records))]
}

function workFigures(alone: Round, rounds: readonly Round[]): Figure[] {
  const note = `stores and keys in memory, ${STANDING.toLocaleString("en")} leaves and more before`
  const perSec = ({ entries, tookMs }: Round) => (entries * 1000) / tookMs
  const name = ({ entries }: Round) =>
    entries === 1 ? "log: a round of each entry" : `log: a round of ${entries.toLocaleString("en")}`
  const calls = (round: Round, store: keyof Latency) => (round[store] * 1000) / round.entries
  return [alone, ...rounds].flatMap((round): Figure[] => [
    { figure: `${name(round)}: entries`, value: perSec(round), unit: "/s", note },
    ...(round === alone
      ? []
      : [
          {
            figure: `${name(round)} against a round of each`,
            value: perSec(round) / perSec(alone),
            unit: "x",
          } as const,
        ]),
    { figure: `${name(round)}: S3 calls for 1,000`, value: calls(round, "s3"), unit: "calls" },
    { figure: `${name(round)}: DynamoDB calls for 1,000`, value: calls(round, "dynamodb"), unit: "calls" },
    { figure: `${name(round)}: KMS calls for 1,000`, value: calls(round, "kms"), unit: "calls" },
  ])
}

async function rounded(service: Service, records: readonly SignatureRecord[], entries: number): Promise<Round> {
  const found: Round[] = []
  for (let round = -1; round < (entries > 1_000 ? FEW_ROUNDS : ROUNDS); round++) {
    await waitAgain(service, records, entries)
    const one = await timed(service, entries)
    if (round >= 0) found.push(one)
  }
  return middle(found)
}

async function roundOfEach(service: Service, records: readonly SignatureRecord[]): Promise<Round> {
  const found: Round[] = []
  for (let round = 0; round < ALONE; round++) {
    await waitAgain(service, records, 1)
    found.push(await timed(service, 1))
  }
  return middle(found)
}

async function timed(service: Service, entries: number, latency?: Latency): Promise<Round> {
  const { ports, take } = counted(service.ports, latency)
  const began = performance.now()
  const { logged } = await sequence(ports, "signatures")
  const tookMs = performance.now() - began
  if (logged !== entries) throw new Error(`${logged} entries were logged, and ${entries} waited`)
  return { entries, tookMs, ...take() }
}

/** Median time; calls are a mean, since a new tile is begun at some rounds and not at others. */
function middle(rounds: readonly Round[]): Round {
  const mean = (of: keyof Calls) => rounds.reduce((sum, round) => sum + round[of], 0) / rounds.length
  return {
    entries: rounds[0]?.entries ?? 0,
    tookMs: median(rounds.map(({ tookMs }) => tookMs)),
    s3: mean("s3"),
    dynamodb: mean("dynamodb"),
    kms: mean("kms"),
    items: mean("items"),
  }
}

/**
 * From signing to a proof that can be fetched. Arrivals and the waiting for a round are computed; each round is run, with as many entries as have
 * arrived and calls that wait, and lasts as long as it did.
 */
async function latencyFigures(service: Service, records: readonly SignatureRecord[]): Promise<Figure[]> {
  const figures: Figure[] = []
  const note = `${PER_SEC} signatures a second; ${SAID}`
  for (const periodSec of PERIODS_SEC) {
    const waits: number[] = []
    let taken = 0
    let freeMs = 0
    for (let round = 1; round <= ROUNDS_OF_PERIOD; round++) {
      const beginMs = Math.max(round * periodSec * 1000, freeMs)
      const arrived = Math.floor((beginMs / 1000) * PER_SEC)
      await waitAgain(service, records, arrived - taken)
      const { tookMs } = await timed(service, arrived - taken, LATENCY)
      freeMs = beginMs + tookMs
      for (; taken < arrived; taken++) waits.push(freeMs - (taken * 1000) / PER_SEC)
    }
    for (const at of [0.5, 0.99])
      figures.push({
        figure: `log: signed to proven, a round every ${periodSec} s, p${at * 100}`,
        value: quantile(waits, at),
        unit: "ms",
        note,
      })
  }
  return [...figures, ...(await sustained(service, records))]
}

/** How many a second each way could log for ever, when calls take their time. */
async function sustained(service: Service, records: readonly SignatureRecord[]): Promise<Figure[]> {
  const perSec: number[] = []
  for (const entries of [1, 1_000]) {
    const times: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      await waitAgain(service, records, entries)
      times.push((await timed(service, entries, LATENCY)).tookMs)
    }
    perSec.push((entries * 1000) / median(times))
  }
  const [each = Number.NaN, together = Number.NaN] = perSec
  return [
    { figure: "log: entries at most, a round of each", value: each, unit: "/s", note: SAID },
    { figure: "log: entries at most, rounds of 1,000", value: together, unit: "/s", note: SAID },
    { figure: "log: entries at most, rounds of 1,000 against a round of each", value: together / each, unit: "x" },
  ]
}
