import type { Invoke } from "@sealwright/adapters/lambda"
import { log } from "./log.ts"

/**
 * Wakes the publisher without waiting for it. What woke it is durable already; when it can't be woken, its schedule carries on (D14).
 */
export async function wakePublisher(invoke: Invoke, publishFunction: string): Promise<void> {
  try {
    const { outcome } = await invoke(publishFunction, { wake: true }, "event")
    if (outcome !== "done") log({ wake: outcome })
  } catch (error) {
    log({ wake: "refused", failure: error instanceof Error ? error.name : "unknown" })
  }
}
