import type { PutKey } from "../dynamodb/stream.ts"
import type { InvokeResult } from "./events.ts"

export interface StreamMapping {
  /** told of what was put into the table */
  readonly onPuts: (puts: readonly PutKey[]) => void
  close(): void
}

export interface StreamMappingOptions {
  readonly functionName: string
  /** records of other partitions are left out */
  readonly partitionPrefix: string
  /** how long records are gathered */
  readonly windowMs: number
  readonly invoke: (name: string, payload: string) => Promise<InvokeResult>
  readonly report: (functionName: string, failure: string) => void
}

/** A table's stream that wakes a function, as an event source mapping of AWS Lambda does: one batch at a time, no retries. */
export function createStreamMapping(options: StreamMappingOptions): StreamMapping {
  const { functionName, partitionPrefix, windowMs, invoke, report } = options
  let gathered: PutKey[] = []
  let timer: NodeJS.Timeout | undefined
  let isRunning = false
  let isClosed = false

  const arm = () => {
    if (timer === undefined && !isRunning && !isClosed && gathered.length > 0) timer = setTimeout(run, windowMs)
  }
  const run = async () => {
    timer = undefined
    isRunning = true
    const records = gathered
    gathered = []
    try {
      const result = await invoke(functionName, JSON.stringify({ Records: records.map(recordOf) }))
      if (result.functionError !== undefined) report(functionName, result.payload)
    } catch (error) {
      report(functionName, String(error))
    } finally {
      isRunning = false
      arm()
    }
  }
  return {
    onPuts(puts) {
      gathered.push(...puts.filter(({ pk }) => pk.startsWith(partitionPrefix)))
      arm()
    },
    close() {
      isClosed = true
      clearTimeout(timer)
    },
  }
}

function recordOf({ pk, sk }: PutKey) {
  return {
    eventName: "INSERT",
    eventSource: "aws:dynamodb",
    dynamodb: { Keys: { pk: { S: pk }, sk: { S: sk } }, StreamViewType: "KEYS_ONLY" },
  }
}
