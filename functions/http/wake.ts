import type { Invoke } from "@sealwright/adapters/lambda"
import { log } from "./log.ts"

/**
 * Wakes a function without waiting for it. What woke it is durable already; when it cannot be woken, its schedule carries on (D14).
 */
export async function wake(invoke: Invoke, functionName: string): Promise<void> {
  try {
    const { outcome } = await invoke(functionName, { wake: true }, "event")
    if (outcome !== "done") log({ wake: outcome })
  } catch (error) {
    log({ wake: "refused", failure: error instanceof Error ? error.name : "unknown" })
  }
}
