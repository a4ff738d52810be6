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

export interface StartedProgram extends Program {
  /** of an empty Node's time */
  readonly atMost?: number
  /** name of the program that it does more than */
  readonly beyond?: string
}

/** Each program's time as a multiple of an empty Node's, and what one takes beyond another that it does more than. */
export function startFigures(programs: readonly StartedProgram[], rounds: number): Figure[] {
  const [empty = Number.NaN, ...others] = timePrograms([EMPTY, ...programs], rounds)
  return [
    { figure: "start: node -e 0", value: empty, unit: "ms" },
    ...programs.flatMap(({ name, atMost, beyond }, i): Figure[] => {
      const took = others[i] ?? Number.NaN
      const other = others[programs.findIndex((program) => program.name === beyond)]
      return [
        { figure: `start: ${name}`, value: took / empty, unit: "x", ...(atMost !== undefined && { atMost }) },
        ...(other === undefined
          ? []
          : [{ figure: `start: ${name}, beyond ${beyond}`, value: took - other, unit: "ms" } as const]),
      ]
    }),
  ]
}
