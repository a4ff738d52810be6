/** A disk under a process that dies: this process's own node:fs, below one folder. */
import fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"

/**
 * When the process dies: before its n-th write takes effect, or in the middle of it, for bytes, copies and removals of whole folders. What it leaves after
 * the n-th is what it leaves before the next.
 */
export interface Death {
  readonly at: number
  readonly moment: "before" | "within"
}

export interface DiskWrite {
  /** the call and what its file is part of */
  readonly name: string
  /** whether it can be half done */
  readonly divisible: boolean
}

export interface RunOnDisk {
  readonly writes: readonly DiskWrite[]
  readonly died: boolean
  /** what the run threw; a dead one has thrown at nobody */
  readonly error: unknown
}

class Died extends Error {}

type Call = (...args: unknown[]) => unknown
const CALLS = [
  "mkdirSync",
  "openSync",
  "writeSync",
  "ftruncateSync",
  "renameSync",
  "rmSync",
  "linkSync",
  "copyFileSync",
  "fsyncSync",
] as const
type Name = (typeof CALLS)[number]

/**
 * Runs something that writes to the disk with node:fs's synchronous calls; from its death on nothing that it does takes effect, `finally` included. Its
 * output is dropped. One run at a time.
 * @param below writes elsewhere are none of its own
 */
export async function onDisk(below: string, run: () => Promise<unknown>, death?: Death): Promise<RunOnDisk> {
  const real = Object.fromEntries(CALLS.map((name) => [name, fs[name]])) as unknown as Record<Name, Call>
  const files = new Map<unknown, string>()
  const writes: DiskWrite[] = []
  let died = false
  const placeOf = (target: unknown) => {
    const path = typeof target === "string" ? target : files.get(target)
    return path?.startsWith(below) === true ? path.slice(below.length) : undefined
  }
  const around = (name: Name): Call => {
    return (...args) => {
      const [target, second] = args
      if (name === "writeSync" && (target === 1 || target === 2)) return lengthOf(second)
      const place = placeOf(target)
      if (place === undefined || changesNothing(name, target, second)) return real[name](...args)
      if (died) throw new Died(name)
      // What is written outlives a process; for the power to fail is another matter.
      if (name === "fsyncSync") return undefined
      const half = halfOf(name, args)
      writes.push({ name: `${name} ${generalised(place)}`, divisible: half !== undefined })
      if (death?.at === writes.length - 1) {
        died = true
        if (death.moment === "within") half?.(real)
        throw new Died(name)
      }
      const result = real[name](...args)
      if (name === "openSync") files.set(result, target as string)
      return result
    }
  }
  patch(Object.fromEntries(CALLS.map((name) => [name, around(name)])))
  try {
    await run()
    return { writes, died, error: undefined }
  } catch (error) {
    return { writes, died, error }
  } finally {
    patch(real)
  }
}

function patch(calls: Readonly<Record<string, Call>>): void {
  Object.assign(fs, calls)
  syncBuiltinESMExports()
}

function changesNothing(name: Name, target: unknown, second: unknown): boolean {
  if (name === "openSync") return typeof second !== "string" || second === "r"
  if (name === "mkdirSync")
    return (second as { recursive?: boolean } | undefined)?.recursive === true && fs.existsSync(target as string)
  return name === "rmSync" && !fs.existsSync(target as string)
}

/** A file by what it is part of: the first two names of its path, without numbers and digests. */
function generalised(place: string): string {
  const names = place.split("/").slice(1, 3)
  return names.join("/").replace(/[0-9a-f]{8,}|\d+/g, "#")
}

function lengthOf(bytes: unknown): number {
  return typeof bytes === "string" ? Buffer.byteLength(bytes) : (bytes as Uint8Array).length
}

/** @returns undefined for a call that the file system does whole or not at all */
function halfOf(name: Name, args: unknown[]): ((real: Record<Name, Call>) => void) | undefined {
  if (name === "writeSync") {
    const [file, bytes, offset = 0, length = lengthOf(bytes) - Number(offset), position = null] = args
    const half = Math.floor(Number(length) / 2)
    return half === 0 || typeof bytes === "string"
      ? undefined
      : (real) => real.writeSync(file, bytes, offset, half, position)
  }
  if (name === "copyFileSync") return (real) => writeHalf(real, args[0] as string, args[1] as string)
  if (name !== "rmSync") return undefined
  const folder = args[0] as string
  const stats = fs.lstatSync(folder, { throwIfNoEntry: false })
  const [first] = stats?.isDirectory() === true ? fs.readdirSync(folder) : []
  return first === undefined ? undefined : (real) => real.rmSync(`${folder}/${first}`, { recursive: true })
}

function writeHalf(real: Record<Name, Call>, from: string, to: string): void {
  const bytes = fs.readFileSync(from)
  const file = real.openSync(to, "w")
  real.writeSync(file, bytes, 0, Math.floor(bytes.length / 2))
  fs.closeSync(file as number)
}
