/** One line of the results. Ratios and counts carry the judgement; times are there to be read with the machine in mind. */
export interface Figure {
  readonly figure: string
  readonly value: number
  readonly unit: "x" | "bytes" | "calls" | "items" | "/s" | "ms" | "us"
  /** the target; neither: reported without one */
  readonly atMost?: number
  readonly atLeast?: number
  readonly note?: string
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** @param at from 0 to 1; the nearest rank */
export function quantile(values: readonly number[], at: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(at * sorted.length))] ?? Number.NaN
}

export function passes({ value, atMost, atLeast }: Figure): boolean | undefined {
  if (atMost === undefined && atLeast === undefined) return undefined
  return value <= (atMost ?? Number.POSITIVE_INFINITY) && value >= (atLeast ?? Number.NEGATIVE_INFINITY)
}

/**
 * Runs all shapes in turns, so that a busy moment of the machine meets all of them. Each call is timed for itself: a call is much shorter than a
 * time slice, so the median hardly sees the other processes.
 * @returns median of each shape, in microseconds
 */
export function interleave<Name extends string>(
  shapes: Readonly<Record<Name, () => void>>,
  { rounds, perRound, warmUp }: { readonly rounds: number; readonly perRound: number; readonly warmUp: number },
): Record<Name, number> {
  const names = Object.keys(shapes) as Name[]
  const times = new Map<Name, number[]>(names.map((name) => [name, []]))
  for (let round = -warmUp; round < rounds; round++)
    for (const name of names)
      for (let i = 0; i < perRound; i++) {
        const began = performance.now()
        shapes[name]()
        const took = performance.now() - began
        if (round >= 0) times.get(name)?.push(took * 1000)
      }
  return Object.fromEntries(names.map((name) => [name, median(times.get(name) ?? [])])) as Record<Name, number>
}
