/**
 * A token bucket: `burst` requests at once, `ratePerSec` in the long run.
 * @returns takes one token; false when there is none
 */
export function createTokenBucket(ratePerSec: number, burst: number, clock: () => Date): () => boolean {
  let tokens = burst
  let filledMs = clock().getTime()
  return () => {
    const nowMs = clock().getTime()
    tokens = Math.min(burst, tokens + (Math.max(0, nowMs - filledMs) / 1000) * ratePerSec)
    filledMs = nowMs
    if (tokens < 1) return false
    tokens--
    return true
  }
}
