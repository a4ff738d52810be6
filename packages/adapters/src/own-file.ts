/** Files with secrets: for the eyes of their owner alone. */
import { constants } from "node:fs"
import { type FileHandle, link, open, unlink } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { ServiceError } from "@sealwright/core/errors"
import { hexEncode } from "@sealwright/formats/bytes"
import { randomBytes } from "./platform.ts"

/** Permissions beyond the owner's. */
const OTHERS = 0o077
/** Windows has neither permission bits nor O_NOFOLLOW. */
const POSIX = process.platform !== "win32"

/**
 * The text of a file that none but its owner may read.
 * @param links whether a symbolic link is followed: mounted secrets of Kubernetes are links
 * @returns undefined when there is no such file
 * @throws ServiceError KEY_FILE_UNSAFE for a symbolic link, anything but a regular file, permissions for others, or more than `maxBytes`
 */
export async function readOwnFile(
  path: string,
  maxBytes: number,
  links: "followed" | "refused" = "refused",
): Promise<string | undefined> {
  const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants
  let file: FileHandle
  try {
    // Without O_NONBLOCK a pipe would be waited for before its kind is known.
    file = await open(path, O_RDONLY | O_NONBLOCK | (links === "refused" ? O_NOFOLLOW : 0))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "ENOENT" || code === "ENOTDIR") return undefined
    throw unsafe(path, code === "ELOOP" ? "is a symbolic link" : `cannot be opened (${code ?? "unknown"})`, error)
  }
  try {
    const stats = await file.stat()
    if (!stats.isFile()) throw unsafe(path, "is not a regular file")
    checkOwnersAlone(path, stats.mode)
    if (stats.size > maxBytes) throw unsafe(path, `has more than ${maxBytes} bytes`)
    const bytes = new Uint8Array(maxBytes + 1)
    let length = 0
    for (let read = -1; read !== 0 && length < bytes.length; length += read)
      read = (await file.read(bytes, length, bytes.length - length)).bytesRead
    if (length > maxBytes) throw unsafe(path, `has more than ${maxBytes} bytes`)
    return Buffer.from(bytes.buffer, 0, length).toString("utf8")
  } finally {
    await file.close()
  }
}

/**
 * Writes a file for its owner's eyes alone that appears whole or not at all and never replaces another: written beside its place, flushed, then linked
 * to its name.
 * @returns false when the name is taken
 */
export async function createOwnFile(path: string, text: string): Promise<boolean> {
  const folder = dirname(path)
  const beside = join(folder, `.${basename(path)}.${hexEncode(randomBytes(6))}.new`)
  const file = await open(beside, "wx", 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  try {
    await link(beside, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false
    throw error
  } finally {
    await unlink(beside)
  }
  if (POSIX) await flushFolder(folder)
  return true
}

/** The new name is durable only when its folder is. */
async function flushFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** @throws ServiceError KEY_FILE_UNSAFE for a mode that lets others in */
export function checkOwnersAlone(path: string, mode: number): void {
  if (POSIX && (mode & OTHERS) !== 0) throw unsafe(path, "may be read or written by others than its owner")
}

export function unsafe(path: string, why: string, cause?: unknown): ServiceError {
  return new ServiceError("KEY_FILE_UNSAFE", `${path} ${why}`, { cause })
}
