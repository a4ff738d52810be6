import { randomBytes, randomUUID } from "node:crypto"
import { functionFailure, type Invocation, type InvokeResult } from "./events.ts"
import { type FunctionConfig, Worker } from "./worker.ts"

export interface FunctionsOptions {
  readonly region: string
  readonly accountId: string
  readonly functions: readonly FunctionConfig[]
  /** lines that the functions write, each with the function's name and its process's number in front */
  readonly log: (line: string) => void
  readonly clock: () => Date
}

export interface LocalFunctions {
  /** undefined: there is no such function */
  arnOf(name: string): string | undefined
  /**
   * @param payload the event, JSON text
   * @throws RangeError for an unknown name; TooManyInvocations when a thousand invocations wait already
   */
  invoke(name: string, payload: string): Promise<InvokeResult>
  /** Kills every process, also those that serve. */
  close(): Promise<void>
}

/** AWS Lambda would throttle here. */
export class TooManyInvocations extends Error {
  override readonly name = "TooManyInvocations"
}

const DEFAULT_CONCURRENCY = 2
const MAX_WAITING = 1000

interface Pool {
  readonly config: FunctionConfig
  readonly arn: string
  readonly idle: Worker[]
  readonly workers: Set<Worker>
  readonly waiting: ((worker: Worker | Promise<Worker>) => void)[]
  started: number
}

/** Runs bundles as Lambda does: processes start when invocations ask for them, and one that ends is replaced then. */
export function createFunctions(options: FunctionsOptions): LocalFunctions {
  const pools = new Map<string, Pool>()
  for (const config of options.functions) {
    const arn = `arn:aws:lambda:${options.region}:${options.accountId}:function:${config.name}`
    pools.set(config.name, { config, arn, idle: [], workers: new Set(), waiting: [], started: 0 })
  }
  let isClosed = false

  async function startWorker(pool: Pool): Promise<Worker> {
    const prefix = `[${pool.config.name}#${++pool.started}] `
    const worker = new Worker({
      ...options,
      config: pool.config,
      functionArn: pool.arn,
      log: (line) => options.log(prefix + line),
    })
    pool.workers.add(worker)
    const forget = () => {
      pool.workers.delete(worker)
      pool.idle.splice(0, pool.idle.length, ...pool.idle.filter((idle) => idle !== worker))
    }
    worker.exit.then(forget, forget)
    await worker.start().catch((error) => {
      forget()
      throw error
    })
    return worker
  }

  function acquire(pool: Pool): Promise<Worker> {
    const idle = pool.idle.pop()
    if (idle?.isUsable) return Promise.resolve(idle)
    const living = [...pool.workers].filter((worker) => worker.isUsable).length
    if (living < (pool.config.maxConcurrency ?? DEFAULT_CONCURRENCY)) return startWorker(pool)
    if (pool.waiting.length >= MAX_WAITING) return Promise.reject(new TooManyInvocations("Rate Exceeded."))
    return new Promise((resolve) => pool.waiting.push(resolve))
  }

  function release(pool: Pool, worker: Worker): void {
    const next = pool.waiting.shift()
    if (next !== undefined) next(worker.isUsable ? worker : startWorker(pool))
    else if (worker.isUsable) pool.idle.push(worker)
  }

  async function invoke(name: string, payload: string): Promise<InvokeResult> {
    const pool = pools.get(name)
    if (pool === undefined) throw new RangeError(`no function ${name}`)
    if (isClosed) return functionFailure("Runtime.ExitError", "The functions are closed.")
    const worker = await acquire(pool)
    const result = await worker.invoke(invocationOf(payload, options.clock()))
    if (isClosed) worker.kill()
    else release(pool, worker)
    return result
  }

  return {
    arnOf: (name) => pools.get(name)?.arn,
    invoke,
    close: async () => {
      isClosed = true
      const workers = [...pools.values()].flatMap((pool) => [...pool.workers])
      for (const worker of workers) worker.kill()
      await Promise.all(workers.map((worker) => worker.exit))
    },
  }
}

function invocationOf(payload: string, now: Date): Invocation {
  const seconds = Math.floor(now.getTime() / 1000).toString(16)
  const traceId = `Root=1-${seconds}-${randomBytes(12).toString("hex")};Parent=${randomBytes(8).toString("hex")};Sampled=0`
  return { requestId: randomUUID(), payload, traceId }
}
