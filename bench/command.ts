import { spawnSync } from "node:child_process"
import { type Figure, median } from "./measure.ts"

export interface Program {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
}

/**
 * Starts programs in turns and times each from start to end.
 * @returns median of each, in milliseconds
 * @throws Error when one does not end with 0
 */
export function timePrograms(programs: readonly Program[], rounds: number): number[] {
  const times = programs.map((): number[] => [])
  for (let round = -2; round < rounds; round++)
    for (const [i, { name, command, args, cwd, env }] of programs.entries()) {
      const began = performance.now()
      const { status, stdout, stderr } = spawnSync(command, args, {
        cwd,
        env: { PATH: process.env.PATH, ...env },
        encoding: "utf8",
      })
      const took = performance.now() - began
      if (status !== 0) throw new Error(`${name} ended with ${status}: ${stdout}${stderr}`)
      if (round >= 0) times[i]?.push(took)
    }
  return times.map(median)
}

export const EMPTY: Program = { name: "node -e 0", command: process.execPath, args: ["-e", "0"] }

/** Each program's time as a multiple of an empty Node's. */
export function startFigures(programs: readonly (Program & { readonly atMost?: number })[], rounds: number): Figure[] {
  const [empty = Number.NaN, ...others] = timePrograms([EMPTY, ...programs], rounds)
  return [
    { figure: "start: node -e 0", value: empty, unit: "ms" },
    ...programs.map(({ name, atMost }, i) => ({
      figure: `start: ${name}`,
      value: (others[i] ?? Number.NaN) / empty,
      unit: "x" as const,
      ...(atMost !== undefined && { atMost }),
    })),
  ]
}
