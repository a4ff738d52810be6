import { randomBytes } from "node:crypto"
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs"
import { dirname, resolve } from "node:path"
import { CommandFailure, EXIT } from "./exit.ts"

/** Replaces a file whole or not at all: written beside it, flushed, renamed over it. */
export function writeFileWhole(path: string, bytes: Uint8Array, mode = 0o644): void {
  writeChunksWhole(path, [bytes], mode)
}

/**
 * The same for what does not fit into memory. What `chunks` throws leaves nothing behind.
 * @returns bytes written
 */
export function writeChunksWhole(path: string, chunks: Iterable<Uint8Array>, mode = 0o644): number {
  const target = resolve(path)
  mkdirSync(dirname(target), { recursive: true })
  const beside = `${target}.${randomBytes(6).toString("hex")}.new`
  const file = openSync(beside, "wx", mode)
  let written = 0
  try {
    for (const bytes of chunks) {
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
      written += bytes.length
    }
    fsyncSync(file)
  } catch (error) {
    closeSync(file)
    rmSync(beside, { force: true })
    throw error
  }
  closeSync(file)
  renameSync(beside, target)
  return written
}

/** @throws CommandFailure USAGE when there is no such file or it is larger than `maxBytes` */
export function readFileLimited(path: string, maxBytes: number): Uint8Array {
  const bytes = readFileIfThere(path, maxBytes)
  if (bytes === undefined) throw new CommandFailure(EXIT.usage, "FILE_UNREADABLE", `there is no file ${path}`)
  return bytes
}

/** @returns undefined when there is no such file */
export function readFileIfThere(path: string, maxBytes: number): Uint8Array | undefined {
  try {
    const { size } = statSync(path)
    if (size > maxBytes)
      throw new CommandFailure(EXIT.usage, "FILE_TOO_LARGE", `${path} has ${size} bytes, more than ${maxBytes}`)
    return new Uint8Array(readFileSync(path))
  } catch (error) {
    if (error instanceof CommandFailure) throw error
    const { code } = error as NodeJS.ErrnoException
    if (code === "ENOENT" || code === "ENOTDIR") return undefined
    throw new CommandFailure(EXIT.usage, "FILE_UNREADABLE", `${path}: ${code ?? "unreadable"}`)
  }
}
