/** One call of an embedded service, told to whoever injects faults. `operation` is AWS's own name, such as "PutItem". */
export interface ServiceCall {
  readonly operation: string
  readonly phase: "before" | "after"
}

/**
 * Runs before a call takes effect and again after it took effect, ahead of the answer. Throwing makes the call fail for the
 * caller: an `AwsError` is answered as it is, an error with code ECONNRESET cuts the connection, any other answers 500.
 */
export type CallHook = (call: ServiceCall) => void | Promise<void>

/** Runs `apply` between the two phases of the hook. `apply` must be synchronous, so that no other call gets between. */
export async function withFaults<T>(onCall: CallHook | undefined, operation: string, apply: () => T): Promise<T> {
  if (onCall) await onCall({ operation, phase: "before" })
  const result = apply()
  if (onCall) await onCall({ operation, phase: "after" })
  return result
}
