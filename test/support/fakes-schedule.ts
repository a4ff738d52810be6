import { type Around, type PortCall, unavailable } from "./fakes-faults.ts"

/** Numbers in [0, 1) from a seed (mulberry32): equal seeds, equal schedules. */
export function randomFrom(seed: number): () => number {
  let state = (seed * 0x9e3779b1) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x = (x + Math.imul(x ^ (x >>> 7), x | 61)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296
  }
}

/** A call after which its actor sleeps, and for how many calls of others at most. */
const PAUSE_SHARE = 0.02
const LONGEST_PAUSE = 200

/** What happens to a call when its turn comes. `late`: it is reported as failed, and applied at some later moment all the same. */
type Fate = "done" | "fails-before" | "fails-after" | "late" | "crash-before" | "crash-after"

interface Parked {
  readonly actor: Actor
  readonly call: PortCall
  readonly go: (fate: Fate) => Promise<void>
}

interface Actor {
  readonly name: string
  /** runs until it ends or crashes; after a crash it is called again, as a new process */
  readonly life: (around: Around) => Promise<void>
  generation: number
  pausedUntil: number
  /** how often it is picked, against others: in each run some are fast and some slow */
  pace: number
  ended: boolean
}

/** Until no promise has anything left to do: Node runs a next tick when the queue of microtasks is empty, and the fakes wait for nothing else. */
const quiet = () => new Promise<void>((resolve) => process.nextTick(resolve))

export interface ScheduleOptions {
  readonly random: () => number
  readonly actors: readonly { readonly name: string; readonly life: (around: Around) => Promise<void> }[]
  /** shares of all calls; the rest goes well */
  readonly faultShare: number
  readonly crashShare: number
  readonly maxSteps: number
  readonly onStep: (step: number) => void
}

/**
 * Runs actors one port call at a time: each call is parked, and the random source picks who goes next, who fails, who crashes and
 * who sleeps. @returns the errors that actors ended with, and the number of calls
 */
export async function runSchedule(
  options: ScheduleOptions,
): Promise<{ readonly errors: unknown[]; readonly steps: number }> {
  const { random, maxSteps } = options
  const actors = options.actors.map(
    (actor): Actor => ({
      ...actor,
      generation: 0,
      pausedUntil: 0,
      pace: 4 ** Math.floor(random() * 3),
      ended: false,
    }),
  )
  const errors: unknown[] = []
  let parked: Parked[] = []

  function around(actor: Actor): Around {
    const { generation } = actor
    return (call, apply) =>
      new Promise((resolve, reject) => {
        const alive = () => actor.generation === generation
        parked.push({
          actor,
          call,
          async go(fate) {
            if (fate === "crash-before") return crash(actor)
            if (fate === "fails-before") return reject(unavailable(call))
            if (fate === "late") {
              parked.push({ actor: ghost, call, go: async () => void (await apply().catch(() => undefined)) })
              return reject(unavailable(call))
            }
            const answer = await apply().then(
              (value) => () => resolve(value),
              (error: unknown) => () => reject(error),
            )
            if (fate === "crash-after") crash(actor)
            else if (alive()) fate === "fails-after" ? reject(unavailable(call)) : answer()
          },
        })
      })
  }

  /** Requests that are on their way though nobody waits for them. */
  const ghost: Actor = {
    name: "late",
    life: async () => undefined,
    generation: 0,
    pausedUntil: 0,
    pace: 1,
    ended: true,
  }

  function crash(actor: Actor): void {
    actor.generation++
    parked = parked.filter((entry) => entry.actor !== actor)
    start(actor)
  }

  function start(actor: Actor): void {
    const { generation } = actor
    const ifCurrent = (then: () => void) => () => {
      if (actor.generation === generation) then()
    }
    actor.life(around(actor)).then(
      ifCurrent(() => {
        actor.ended = true
      }),
      (error: unknown) =>
        ifCurrent(() => {
          actor.ended = true
          errors.push(error)
        })(),
    )
  }

  function pick(from: readonly Parked[]): Parked {
    let left = random() * from.reduce((sum, { actor }) => sum + actor.pace, 0)
    for (const entry of from) {
      left -= entry.actor.pace
      if (left < 0) return entry
    }
    return from.at(-1) as Parked
  }

  function fateOf(call: PortCall, calm: boolean): Fate {
    const draw = random()
    if (calm || draw >= options.faultShare + options.crashShare) return "done"
    if (draw < options.crashShare) return random() < 0.5 ? "crash-before" : "crash-after"
    const kind = random()
    return kind < 0.4 || !call.writes ? "fails-before" : kind < 0.8 ? "fails-after" : "late"
  }

  for (const actor of actors) start(actor)
  for (let step = 0; ; step++) {
    await quiet()
    if (parked.length === 0) return { errors, steps: step }
    options.onStep(step)
    const awake = parked.filter(({ actor }) => actor.pausedUntil <= step)
    const from = awake.length > 0 ? awake : parked
    const next = pick(from)
    parked.splice(parked.indexOf(next), 1)
    if (random() < PAUSE_SHARE) next.actor.pausedUntil = step + Math.floor(random() * LONGEST_PAUSE)
    await next.go(fateOf(next.call, step > maxSteps))
  }
}
