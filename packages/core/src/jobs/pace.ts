/**
 * The pace of key operations: an even rate below a ceiling, halved when the key service throttles, and raised again step by step while
 * it does not (additive increase, multiplicative decrease). Pure: the clock's milliseconds come in.
 */
export interface Pace {
  /** key operations a second at most */
  readonly ceiling: number
  readonly ratePerSec: number
  /** when the next operation is due, ms */
  readonly nextAt: number
  /** when the rate last changed, ms */
  readonly changedAt: number
}

/** Below this the numbers of a lease would end before they are used. */
export const SLOWEST_PER_SEC = 5
/** What was not used may be caught up to this extent. */
const BURST_MS = 100
/** From the slowest rate to the ceiling. */
const RECOVERY_SEC = 30
/** One wave of throttling answers many operations, and halves the rate once. */
const HALVING_MS = 1_000

export function startPace(ceiling: number, nowMs: number): Pace {
  return { ceiling, ratePerSec: ceiling, nextAt: nowMs, changedAt: nowMs }
}

/** @returns the pace with one operation more under way, and how long that one has to wait */
export function reserve(pace: Pace, nowMs: number): { readonly pace: Pace; readonly waitMs: number } {
  const risen = raised(pace, nowMs)
  const dueMs = Math.max(risen.nextAt, nowMs - BURST_MS)
  return {
    pace: { ...risen, nextAt: dueMs + 1000 / risen.ratePerSec },
    waitMs: Math.max(0, dueMs - nowMs),
  }
}

/** The key service throttled. */
export function slowed(pace: Pace, nowMs: number): Pace {
  if (pace.ratePerSec < pace.ceiling && nowMs - pace.changedAt < HALVING_MS) return pace
  return {
    ...pace,
    ratePerSec: Math.max(Math.min(SLOWEST_PER_SEC, pace.ceiling), pace.ratePerSec / 2),
    nextAt: Math.max(pace.nextAt, nowMs),
    changedAt: nowMs,
  }
}

/** Whole seconds without throttling raise the rate by a thirtieth of the ceiling each. */
function raised(pace: Pace, nowMs: number): Pace {
  const seconds = Math.floor((nowMs - pace.changedAt) / 1000)
  if (seconds < 1 || pace.ratePerSec >= pace.ceiling) return pace
  const ratePerSec = Math.min(pace.ceiling, pace.ratePerSec + (seconds * pace.ceiling) / RECOVERY_SEC)
  return { ...pace, ratePerSec, changedAt: pace.changedAt + seconds * 1000 }
}

/** "Full jitter": anything between nothing and a bound that doubles. @param fraction of 0 to 1 @param attempt from 0 */
export function jitterMs(fraction: number, attempt: number): number {
  return fraction * Math.min(100 * 2 ** attempt, 5_000)
}
