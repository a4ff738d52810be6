import { isServiceError } from "../errors.ts"
import type { Clock, RandomBytes, SigningKeys } from "../ports.ts"
import { jitterMs, type Pace, reserve, slowed, startPace } from "./pace.ts"

/** Waits. */
export type Pause = (milliseconds: number) => Promise<void>

export interface PacePorts {
  readonly keys: SigningKeys
  readonly clock: Clock
  readonly random: RandomBytes
  readonly pause: Pause
}

/** Repeats that may be owed at a time; ten operations that succeed earn one. */
const RETRY_BUDGET = 100
const EARNED = 0.1
const ATTEMPTS = 6

/**
 * Keys that are used no faster than a ceiling, and more slowly while their service throttles. An operation that was throttled is repeated
 * after a random wait, within a budget that all operations share: when the service is down, repeats do not make it worse.
 * @param ceiling key operations a second
 */
export function pacedKeys({ keys, clock, random, pause }: PacePorts, ceiling: number): SigningKeys {
  let pace: Pace = startPace(ceiling, clock().getTime())
  let budget = RETRY_BUDGET

  async function turn(): Promise<void> {
    const reserved = reserve(pace, clock().getTime())
    pace = reserved.pace
    if (reserved.waitMs > 0) await pause(reserved.waitMs)
  }

  return {
    sign: async (key, message, note) => {
      for (let attempt = 0; ; attempt++) {
        await turn()
        try {
          const signature = await keys.sign(key, message, note)
          budget = Math.min(RETRY_BUDGET, budget + EARNED)
          return signature
        } catch (error) {
          if (!isServiceError(error, "SIGNER_UNAVAILABLE")) throw error
          pace = slowed(pace, clock().getTime())
          if (attempt + 1 >= ATTEMPTS || budget < 1) throw error
          budget -= 1
          await pause(jitterMs(fractionOf(random), attempt))
        }
      }
    },
  }
}

/** A fraction of 0 to 1. */
export function fractionOf(random: RandomBytes): number {
  const [high = 0, low = 0] = random(2)
  return (high * 256 + low) / 65_536
}
