import { type ParseArgsOptionsConfig, parseArgs } from "node:util"
import { usage } from "./exit.ts"

/** One command: what it takes, what it prints with `--help`, what it does. */
export interface Command {
  /** after `sealwright`, e.g. `profile create` */
  readonly name: string
  readonly summary: string
  /** lines of the synopsis and examples, without indentation */
  readonly help: string
  readonly options: ParseArgsOptionsConfig
  /** how many positional arguments */
  readonly positionals: { readonly min: number; readonly max: number }
  readonly run: (args: Arguments) => Promise<number>
}

export const COMMON_OPTIONS = {
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const satisfies ParseArgsOptionsConfig

export const SERVICE_OPTIONS = {
  endpoint: { type: "string" },
  region: { type: "string" },
} as const satisfies ParseArgsOptionsConfig

/** What was given on the command line, read by name. */
export class Arguments {
  readonly positionals: readonly string[]
  readonly #values: { readonly [name: string]: unknown }

  constructor(values: { readonly [name: string]: unknown }, positionals: readonly string[]) {
    this.#values = values
    this.positionals = positionals
  }

  text(name: string): string | undefined {
    const value = this.#values[name]
    return typeof value === "string" ? value : undefined
  }

  /** @throws CommandFailure when it is missing */
  required(name: string): string {
    const value = this.text(name)
    if (value === undefined || value === "") throw usage(`--${name} is missing`)
    return value
  }

  texts(name: string): readonly string[] {
    const value = this.#values[name]
    return Array.isArray(value) ? (value as readonly string[]) : []
  }

  flag(name: string): boolean {
    return this.#values[name] === true
  }

  /** A whole number, or undefined. @throws CommandFailure for anything else */
  whole(name: string): number | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    if (!/^\d{1,15}$/.test(text)) throw usage(`--${name} takes a whole number`)
    return Number(text)
  }

  /** Bytes, or with k, M, G: thousands, millions, thousands of millions. @throws CommandFailure for anything else */
  bytes(name: string): number | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const found = /^([1-9][0-9]{0,11})([kMG]?)$/.exec(text)
    if (found === null) throw usage(`--${name} takes a number of bytes such as 4700000000, 650M or 4G`)
    return Number(found[1]) * { "": 1, k: 1e3, M: 1e6, G: 1e9 }[found[2] as "" | "k" | "M" | "G"]
  }

  /** `90s`, `15m`, `24h`, `7d`; in seconds. @throws CommandFailure for anything else */
  duration(name: string): number | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const found = /^(\d{1,9})(s|m|h|d)$/.exec(text)
    if (found === null) throw usage(`--${name} takes a duration such as 90s, 15m, 24h or 7d`)
    return Number(found[1]) * { s: 1, m: 60, h: 3600, d: 86_400 }[found[2] as "s" | "m" | "h" | "d"]
  }
}

/** @throws CommandFailure USAGE naming what does not fit */
export function readArguments(command: Command, argv: readonly string[]): Arguments {
  let parsed: { values: { readonly [name: string]: unknown }; positionals: string[] }
  try {
    parsed = parseArgs({
      args: [...argv],
      options: { ...COMMON_OPTIONS, ...command.options },
      allowPositionals: true,
      strict: true,
    })
  } catch (error) {
    throw usage(
      error instanceof Error ? error.message : "unreadable arguments",
      `Run \`sealwright ${command.name} --help\`.`,
    )
  }
  const { values, positionals } = parsed
  const { min, max } = command.positionals
  if (values.help !== true && (positionals.length < min || positionals.length > max))
    throw usage(
      `${command.name} takes ${min === max ? min : `${min} to ${max}`} argument(s)`,
      `Run \`sealwright ${command.name} --help\`.`,
    )
  return new Arguments(values, positionals)
}
