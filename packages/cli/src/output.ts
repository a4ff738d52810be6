import { writeSync } from "node:fs"

/** Prints a result: as one JSON document with `--json`, else as lines for people. */
export function print(json: boolean, value: unknown, lines: () => readonly string[]): void {
  out(json ? JSON.stringify(value) : lines().join("\n"))
}

export function out(text: string): void {
  writeAll(1, `${text}\n`)
}

/** Progress and remarks, never part of a result. */
export function note(text: string): void {
  writeAll(2, `${text}\n`)
}

/** What a bundle without a demanded signature rests on. */
export function noteUnsigned(): void {
  note(
    "sealwright: no --bundle-key: TUF and the signatures of artifacts are checked; policy and trust store in the bundle are signed by nobody",
  )
}

function writeAll(descriptor: 1 | 2, text: string): void {
  const bytes = Buffer.from(text)
  let at = 0
  while (at < bytes.length) {
    try {
      at += writeSync(descriptor, bytes, at)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error
    }
  }
}

/** Columns of equal width, two spaces apart. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const columns = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)))
  return rows.map((row) => row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join("  "))
}
