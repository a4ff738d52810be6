import {
  closeSync,
  copyFileSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs"
import { basename, dirname, join, resolve } from "node:path"
import { BUNDLE_MARKER } from "@sealwright/verifier/bundle"
import { CommandFailure, EXIT } from "../exit.ts"

/** Folders beside a bundle, on the same file system, that belong to it while it changes. */
export function besideOf(target: string, suffix: "new" | "old" | "lock" | "partial"): string {
  return join(dirname(target), `.${basename(target)}.sealwright-${suffix}`)
}

/** The folder itself, where the path leads through a link. */
export function targetFolder(path: string): string {
  const target = resolve(path)
  const stats = lstatSync(target, { throwIfNoEntry: false })
  return stats?.isSymbolicLink() === true ? realpathSync(target) : target
}

export interface ReplaceOptions<T> {
  /** the file that a standing folder must have to be replaced, unless it is empty; default: a bundle's */
  readonly marker?: string
  /** whether what was built is to take the old one's place; default: always */
  readonly changed?: (result: T) => boolean
}

/**
 * Makes a folder anew and puts it in the old one's place in one step: `build` fills an empty folder beside it, and unless that throws, the old folder is
 * renamed away and the new one to its name. A cut at any moment leaves the old or the new one whole: between the two renames the name is
 * missing, which reads as no bundle, and the next run puts the old one back. One command at a time changes a folder.
 * @throws CommandFailure BUNDLE_BUSY, FOLDER_OCCUPIED; and whatever `build` throws, with the old folder as it was
 */
export async function replaceFolder<T>(
  target: string,
  build: (staging: string) => Promise<T>,
  { marker = BUNDLE_MARKER, changed = () => true }: ReplaceOptions<T> = {},
): Promise<T> {
  mkdirSync(dirname(target), { recursive: true })
  const unlock = lock(target)
  try {
    settle(target)
    requireOwn(target, marker)
    const staging = besideOf(target, "new")
    mkdirSync(staging)
    try {
      const result = await build(staging)
      if (changed(result)) swap(target, staging)
      return result
    } finally {
      rmSync(staging, { recursive: true, force: true })
    }
  } finally {
    unlock()
  }
}

/** Puts a cut run in order: what was renamed away comes back when nothing took its place, and goes when something did. */
function settle(target: string): void {
  const old = besideOf(target, "old")
  if (exists(old) && !exists(target)) renameSync(old, target)
  for (const left of [old, besideOf(target, "new")]) rmSync(left, { recursive: true, force: true })
}

function swap(target: string, staging: string): void {
  const old = besideOf(target, "old")
  flushFolder(staging)
  const standing = exists(target)
  if (standing) renameSync(target, old)
  try {
    renameSync(staging, target)
  } catch (error) {
    if (standing) renameSync(old, target)
    throw error
  }
  flushFolder(dirname(target))
  rmSync(old, { recursive: true, force: true })
}

/** A folder that is no bundle is somebody's: it is not replaced. */
function requireOwn(target: string, marker: string): void {
  const stats = lstatSync(target, { throwIfNoEntry: false })
  if (stats === undefined) return
  if (stats.isDirectory() && (readdirSync(target).length === 0 || exists(join(target, marker)))) return
  throw new CommandFailure(
    EXIT.usage,
    "FOLDER_OCCUPIED",
    `${target} is there and is no bundle`,
    "Name a folder that is not there yet, or a bundle.",
  )
}

/**
 * Copies a folder's plain files, as links to the same bytes where the file system has them: a file of a bundle is replaced, never written into.
 * Whatever is no plain file stays behind.
 */
export function linkFiles(from: string, to: string): void {
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, copy] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) {
      mkdirSync(copy)
      linkFiles(source, copy)
    } else if (entry.isFile()) linkOrCopy(source, copy)
  }
}

/** @throws Error of the file system when neither is possible */
export function linkOrCopy(source: string, copy: string): void {
  try {
    linkSync(source, copy)
  } catch {
    copyFileSync(source, copy)
  }
}

/** Holds a folder for this process; one that a dead process held is taken over. */
function lock(target: string): () => void {
  const path = besideOf(target, "lock")
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      const file = openSync(path, "wx", 0o600)
      writeSync(file, String(process.pid))
      closeSync(file)
      return () => rmSync(path, { force: true })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
      if (isHeld(path)) break
      rmSync(path, { force: true })
    }
  }
  throw new CommandFailure(
    EXIT.unavailable,
    "BUNDLE_BUSY",
    `another command is changing ${target}`,
    `Wait for it; if there is none, remove ${path}.`,
  )
}

function isHeld(path: string): boolean {
  try {
    const holder = Number(readFileSync(path, "utf8"))
    if (!Number.isSafeInteger(holder) || holder <= 0) return false
    process.kill(holder, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

/** Not every file system flushes folders; those that do keep a rename through a power cut then. */
function flushFolder(folder: string): void {
  try {
    const file = openSync(folder, "r")
    try {
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
  } catch {
    return
  }
}
