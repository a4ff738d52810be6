import { createMemoryObjects } from "@sealwright/adapters/memory-objects"
import { createMemoryTable } from "@sealwright/adapters/memory-table"
import type { RoundLimits } from "@sealwright/core/log/inbox"
import type { LogKind, SignatureRecord } from "@sealwright/core/model"
import type { Item } from "@sealwright/core/ports"
import { createSigner } from "@sealwright/core/sign/flow"
import { NOTE_TYPE } from "@sealwright/formats/signed-note"
import type { FaultyPorts } from "../support/fakes-faults.ts"
import { randomFrom, runSchedule } from "../support/fakes-schedule.ts"
import { NoteSigner } from "../support/log.ts"
import { signRequest } from "../support/service.ts"
import { cosignAlways } from "../support/witness.ts"
import { type LogStores, LogWorld, recordsOf, storesFrom } from "./log-world.ts"
import { preparedItems, World } from "./world.ts"

const WITNESSES = ["w1.example", "w2.example"].map((name) => new NoteSigner(name, NOTE_TYPE.cosignature))
const WORKERS = 4
const MAX_STEPS = 1500
const ROUNDS = 3

/** What logs of the seeds begin with. */
export interface Prepared {
  /** the deployment with empty logs */
  readonly items: readonly Item[]
  /** a log of events, close to the end of its first tile */
  readonly grown: {
    readonly items: readonly Item[]
    readonly objects: ReadonlyMap<string, Uint8Array>
    readonly leaves: LogWorld["expected"]
  }
  readonly records: readonly { readonly item: Item; readonly record: SignatureRecord }[]
}

const calm = <T>(_: unknown, apply: () => Promise<T>) => apply()

export async function prepareLogs(): Promise<Prepared> {
  const items = (await preparedItems()).filter(({ pk }) => pk === "deployment" || pk === "log")
  const table = createMemoryTable(items)
  const objects = createMemoryObjects()
  const world = new LogWorld(randomFrom(1), "events", { table, objects })
  const ports = world.portsOf(calm, "before")
  for (let i = 0; i < 251; i++) await world.submit(ports, `before-${i}`)
  await world.run(ports, { entries: 1000, bytes: 2 ** 20 })
  const signing = new World(randomFrom(2), await preparedItems())
  const seeds = Array.from({ length: 15 }, (_, i) => `logged-${i}`)
  await createSigner(signing.portsOf(calm, "signer"))(signRequest(seeds))
  await createSigner(signing.portsOf(calm, "signer"))({ ...signRequest(seeds.slice(0, 5)), profile: "paired" })
  return {
    items,
    grown: {
      items: table.dump(),
      objects: new Map([...objects.dump()].map(([key, { bytes }]) => [key, bytes])),
      leaves: world.expected,
    },
    records: await recordsOf(signing.table, signing.table.dump()),
  }
}

export interface LogSeed {
  readonly violations: readonly string[]
  readonly steps: number
  readonly logged: number
  /** checkpoints to which cosignatures were added later */
  readonly replaced: number
}

export interface LogOptions {
  readonly mutant?: (ports: FaultyPorts, actor: string) => FaultyPorts
  /** where the seed's log lives; default: memory */
  readonly stores?: LogStores
  readonly faultShare?: number
}

/** Four sequencers at once on one log, and who feeds it, in an order and with faults that the seed decides. */
export async function runLogSeed(seed: number, prepared: Prepared, options: LogOptions = {}): Promise<LogSeed> {
  const random = randomFrom(seed)
  const draw = Math.floor(random() * 10)
  const kind: LogKind = draw < 2 ? "signatures" : "events"
  const grown = draw >= 6 && options.stores === undefined
  const { items, objects } = grown ? prepared.grown : { items: prepared.items, objects: new Map<string, Uint8Array>() }
  const witnessed = options.stores === undefined && seed % 2 === 1
  const world = new LogWorld(
    random,
    kind,
    options.stores ?? storesFrom(witnessed ? items.map(withWitnesses) : items, objects),
  )
  if (witnessed) world.cosign = moody(random, world)
  if (grown) {
    for (const [id, leaves] of prepared.grown.leaves) world.expected.set(id, leaves)
    world.shown = 251n
  }
  if (options.mutant !== undefined) world.mutate = options.mutant
  const limits: RoundLimits = { entries: kind === "signatures" ? 40 : 2 + Math.floor(random() * 8), bytes: 2 ** 20 }
  const faultShare = options.faultShare ?? 0.03
  const { errors, steps } = await runSchedule({
    random,
    faultShare,
    crashShare: faultShare / 3,
    maxSteps: MAX_STEPS,
    actors: [
      // Who feeds the log writes each thing once: what an act does when its store fails is tested with the acts.
      { name: "feeder", life: feeder(world, prepared) },
      ...Array.from({ length: WORKERS }, (_, i) => ({
        name: `sequencer-${i}`,
        life: async (around: Parameters<LogWorld["portsOf"]>[0]) => {
          const ports = world.portsOf(around, `sequencer-${i}`)
          for (let round = 0; round < ROUNDS; round++) await world.run(ports, limits)
        },
      })),
    ],
    onStep: () => {
      if (random() < 0.01) world.pass(1 + Math.floor(random() * 20))
    },
  })
  for (const error of errors) world.fail(`an actor ended with ${String(error)}`)
  await world.settle(limits)
  return { violations: world.violations, steps, logged: world.expected.size, replaced: world.replaced }
}

function withWitnesses(item: Item): Item {
  const lines = WITNESSES.map(({ key, vkey }) => `witness ${key.name} ${vkey} https://${key.name}/\n`)
  const group = `group both all ${WITNESSES.map(({ key }) => key.name).join(" ")}\nquorum both\n`
  return item.pk === "deployment" ? { ...item, witnesses: lines.join("") + group } : item
}

/** Each witness answers half of the time; asking takes as long as the seed's order says. */
function moody(random: () => number, world: LogWorld): LogWorld["cosign"] {
  return (around) => async (policy, request) => {
    const awake = WITNESSES.filter(() => random() < 0.5)
    const answer = cosignAlways(awake, () => new Date(world.now))
    await around({ port: "objects", name: "cosign", writes: false }, async () => undefined).catch(() => undefined)
    return await answer(policy, request)
  }
}

function feeder(world: LogWorld, { records }: Prepared) {
  let at = 0
  return async (around: Parameters<LogWorld["portsOf"]>[0]) => {
    // Its own calls are parked, and applied once whatever fate they draw.
    const ports = world.portsOf(calm, "feeder")
    for (; at < 12; ) {
      const submitted = at++
      await around({ port: "table", name: "wait", writes: false }, async () => undefined).catch(() => undefined)
      const one = records[submitted]
      if (world.kind === "events") await world.submit(ports, `event-${submitted}`)
      else if (one !== undefined) await world.submitRecord(ports, one.item, one.record)
    }
  }
}
