import { ServiceError } from "../errors.ts"
import { findJob, type OpenJob, openJobs, pendingChunks } from "../ledger/jobs.ts"
import { keys } from "../ledger/keys.ts"
import type { Table } from "../ports.ts"
import { createSigner, type Signer, type SignPorts } from "../sign/flow.ts"
import { SlotLost, settleChunk } from "./chunk.ts"
import { jitterMs } from "./pace.ts"
import { fractionOf, type Pause } from "./paced-keys.ts"
import { type Claim, claimSlot, holdSlot, releaseSlot } from "./slot.ts"

/** `keys` are paced already. */
export type WorkPorts = SignPorts & { readonly pause: Pause }

export interface WorkLimits {
  /** chunks at a time; each lane has leases of its own, so that they don't wait for each other's */
  readonly lanes: number
  /** no chunk is begun from then on */
  readonly until: Date
}

export interface WorkOutcome {
  /** another worker has the place: nothing was done here */
  readonly idle: boolean
  readonly signed: number
  readonly refused: number
  /** chunks that could not be settled, each try */
  readonly failures: number
  /** what nobody foresaw, for the log; such a job is left to the next worker */
  readonly unexpected: readonly Error[]
}

/** Chunks of one job in a round, for each lane: then the others have their turn, and new jobs are seen. */
const CHUNKS_PER_LANE = 2
/** Tries in a row that failed before the worker leaves the rest to the next one. */
const PATIENCE = 8

interface Task {
  readonly profile: string
  readonly id: string
  readonly index: number
}

/**
 * Signs what jobs ask for until there is none left, time is up, or the stores and keys fail again and again. One worker at a time, so that the
 * deployment has one pace; any number may be started. Jobs take turns. Whoever is killed is followed by another after `SLOT_SEC`,
 * who repeats nothing that is recorded.
 */
export async function workJobs(ports: WorkPorts, limits: WorkLimits): Promise<WorkOutcome> {
  const claim = await claimSlot(ports.table, ports.clock())
  if (claim === undefined) return { idle: true, signed: 0, refused: 0, failures: 0, unexpected: [] }
  const worker = new Worker(ports, limits, claim)
  try {
    await worker.run()
  } catch (error) {
    if (!(error instanceof SlotLost)) throw error
  } finally {
    await releaseSlot(ports.table, claim)
  }
  return { idle: false, ...worker.outcome() }
}

class Worker {
  readonly #ports: WorkPorts
  readonly #limits: WorkLimits
  readonly #claim: Claim
  readonly #signers: readonly Signer[]
  /** chunks to be settled, of every job that was looked into */
  readonly #pending = new Map<string, Set<number>>()
  readonly #givenUp = new Set<string>()
  readonly #unexpected: Error[] = []
  #signed = 0
  #refused = 0
  #failures = 0
  #inARow = 0
  #lost = false

  constructor(ports: WorkPorts, limits: WorkLimits, claim: Claim) {
    this.#ports = ports
    this.#limits = limits
    this.#claim = claim
    this.#signers = Array.from({ length: limits.lanes }, () => createSigner(ports))
  }

  outcome(): Omit<WorkOutcome, "idle"> {
    return {
      signed: this.#signed,
      refused: this.#refused,
      failures: this.#failures,
      unexpected: this.#unexpected,
    }
  }

  async run(): Promise<void> {
    while (this.#mayGoOn()) {
      const jobs = (await openJobs(this.#ports.table)).filter(({ id }) => !this.#givenUp.has(id))
      if (jobs.length === 0) return
      const tasks = await this.#plan(jobs)
      const lanes = await Promise.allSettled(this.#signers.map((sign) => this.#lane(sign, tasks)))
      const ended = lanes.find((lane) => lane.status === "rejected")
      if (ended !== undefined) throw ended.reason
      for (const job of jobs)
        if (this.#pending.get(job.id)?.size === 0)
          await this.#guard(job.id, () => finishJob(this.#ports.table, this.#claim, job, this.#ports.clock()))
    }
  }

  #mayGoOn(): boolean {
    return !this.#lost && this.#inARow < PATIENCE && this.#ports.clock().getTime() < this.#limits.until.getTime()
  }

  /** The next chunks of every job, one of each in turn. */
  async #plan(jobs: readonly OpenJob[]): Promise<Task[]> {
    const share = CHUNKS_PER_LANE * this.#signers.length
    const rows: Task[][] = []
    for (const job of jobs) {
      if (!this.#pending.has(job.id)) await this.#guard(job.id, () => this.#begin(job))
      rows.push([...(this.#pending.get(job.id) ?? [])].slice(0, share).map((index) => ({ ...job, index })))
    }
    return Array.from({ length: share }, (_, at) => rows.flatMap((row) => row.slice(at, at + 1))).flat()
  }

  async #begin({ profile, id }: OpenJob): Promise<void> {
    const { table, clock } = this.#ports
    const pending = await pendingChunks(table, id)
    const now = clock()
    const at = now.toISOString()
    const begun = await table.transact([
      holdSlot(this.#claim, now),
      {
        update: keys.job(profile, id),
        set: { startedAt: at, updatedAt: at },
        if: { exists: true, lacks: ["startedAt"] },
      },
    ])
    const [held, header] = begun.committed ? [] : begun.outcomes
    if (held?.failed) throw new SlotLost(`job ${id}`)
    const dropped = header?.failed && header.item === undefined
    this.#pending.set(id, new Set(dropped ? [] : pending))
  }

  async #lane(sign: Signer, tasks: Task[]): Promise<void> {
    while (this.#mayGoOn()) {
      const task = tasks.shift()
      if (task === undefined) return
      if (this.#givenUp.has(task.id)) continue
      await this.#guard(task.id, async () => {
        const settled = await settleChunk(this.#ports, sign, this.#claim, task)
        this.#signed += settled?.signed ?? 0
        this.#refused += settled?.refused ?? 0
        this.#inARow = 0
        this.#pending.get(task.id)?.delete(task.index)
      })
    }
  }

  /** What may pass is tried again in a later round; a job that fails otherwise does not keep the others from being signed. */
  async #guard(id: string, act: () => Promise<void>): Promise<void> {
    try {
      await act()
    } catch (error) {
      this.#lost ||= error instanceof SlotLost
      if (error instanceof SlotLost) throw error
      this.#failures += 1
      if (!(error instanceof ServiceError)) {
        this.#givenUp.add(id)
        this.#unexpected.push(error instanceof Error ? error : new Error(String(error)))
        return
      }
      this.#inARow += 1
      await this.#ports.pause(jitterMs(fractionOf(this.#ports.random), this.#inARow))
    }
  }
}

/** A job whose every chunk is settled ends; the mark of one whose header was dropped goes too. */
async function finishJob(table: Table, claim: Claim, { profile, id }: OpenJob, now: Date): Promise<void> {
  const job = await findJob(table, profile, id)
  const at = now.toISOString()
  const result = await table.transact([
    holdSlot(claim, now),
    job === undefined
      ? { check: keys.job(profile, id), if: { absent: true } }
      : {
          update: keys.job(profile, id),
          set: { finishedAt: at, updatedAt: at },
          if: { equals: { settled: job.chunks }, lacks: ["finishedAt"] },
        },
    { delete: keys.openJob(profile, id) },
  ])
  if (result.committed) return
  if (result.outcomes[0]?.failed) throw new SlotLost(`job ${id}`)
  throw new Error(`damaged job: ${profile} ${id}: every chunk is settled, and its counts say otherwise`)
}
