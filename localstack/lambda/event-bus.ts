import type { TrailEvent } from "../kms/trail.ts"
import type { InvokeResult } from "./events.ts"

/** As the stack's rule has it: uses of keys that succeeded. */
function matches({ detail }: TrailEvent): boolean {
  return detail.errorCode === undefined
}

export interface EventBus {
  put(event: TrailEvent): void
  /** Delivers nothing more. */
  close(): void
  /** until all that was put has been delivered */
  idle(): Promise<void>
}

/**
 * EventBridge's part between CloudTrail and one function: in the background, one at a time. What waits when the process ends is lost.
 * @param report told of function errors, which nobody else waits for
 */
export function createEventBus(
  invoke: (name: string, payload: string) => Promise<InvokeResult>,
  target: string,
  report: (functionName: string, failure: string) => void,
): EventBus {
  let last: Promise<void> = Promise.resolve()
  let isClosed = false

  async function deliver(event: TrailEvent): Promise<void> {
    if (isClosed) return
    try {
      const result = await invoke(target, JSON.stringify(event))
      if (result.functionError !== undefined && !isClosed) report(target, result.payload)
    } catch (error) {
      if (!isClosed) report(target, String(error))
    }
  }

  return {
    put(event) {
      if (matches(event)) last = last.then(() => deliver(event))
    },
    close() {
      isClosed = true
    },
    idle: () => last,
  }
}
