import type { InvokeResult } from "./events.ts"

export interface Schedule {
  /**
   * Invokes a function again and again, first after one period. A run that is still going on is not doubled.
   * @param payload the event, JSON text
   * @returns stops this entry
   */
  every(seconds: number, functionName: string, payload: string): () => void
  close(): void
}

/** @param report told of function errors, which nobody else waits for */
export function createSchedule(
  invoke: (name: string, payload: string) => Promise<InvokeResult>,
  report: (functionName: string, failure: string) => void,
): Schedule {
  const timers = new Set<NodeJS.Timeout>()
  return {
    every(seconds, functionName, payload) {
      let isRunning = false
      const run = async () => {
        if (isRunning) return
        isRunning = true
        try {
          const result = await invoke(functionName, payload)
          if (result.functionError !== undefined) report(functionName, result.payload)
        } catch (error) {
          report(functionName, String(error))
        } finally {
          isRunning = false
        }
      }
      const timer = setInterval(run, seconds * 1000)
      timers.add(timer)
      return () => {
        clearInterval(timer)
        timers.delete(timer)
      }
    },
    close() {
      for (const timer of timers) clearInterval(timer)
      timers.clear()
    },
  }
}
