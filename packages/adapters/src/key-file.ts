import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto"
import { constants } from "node:fs"
import { type FileHandle, link, open, unlink } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { ServiceError } from "@sealwright/core/errors"
import { bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { pemBlocks, pemEncode } from "@sealwright/formats/pem"
import {
  type EncryptedPrivateKey,
  encodeEncryptedPrivateKey,
  KEY_LABEL,
  parseEncryptedPrivateKey,
} from "@sealwright/formats/pkcs8"
import { parsePublicKey } from "@sealwright/formats/x509"
import { decryptKey } from "./key-encryption.ts"
import { spkiOf } from "./key-pair.ts"
import { randomBytes } from "./platform.ts"

const MAX_FILE_BYTES = 64 * 1024
/** Permissions beyond the owner's. */
const OTHERS = 0o077
/** Windows has neither permission bits nor O_NOFOLLOW. */
const POSIX = process.platform !== "win32"

/** What a key file holds: an encrypted private key, and its public key so that reading that needs no password. */
export interface KeyFile {
  readonly encrypted: EncryptedPrivateKey
  /** SubjectPublicKeyInfo, DER; undefined in files that other tools wrote. Proven only by `unlock`. */
  readonly spki: Uint8Array | undefined
}

/**
 * Reads a key file: at most 64 KiB, a regular file, no symbolic link, for the eyes of its owner alone.
 * @returns undefined when there is no such file
 * @throws ServiceError KEY_FILE_UNSAFE, KEY_FILE_MALFORMED
 */
export async function readKeyFile(path: string): Promise<KeyFile | undefined> {
  const text = await readOwnFile(path, MAX_FILE_BYTES)
  if (text === undefined) return undefined
  try {
    const [encrypted, spki, ...more] = pemBlocks(text)
    if (encrypted?.label !== KEY_LABEL.encrypted || (spki && spki.label !== KEY_LABEL.public) || more.length > 0)
      throw new FormatError("PEM_MALFORMED", "not one encrypted private key with its public key")
    if (spki !== undefined) parsePublicKey(spki.der)
    return { encrypted: parseEncryptedPrivateKey(encrypted.der), spki: spki?.der }
  } catch (error) {
    if (error instanceof FormatError)
      throw new ServiceError("KEY_FILE_MALFORMED", `${path}: ${error.message}`, { cause: error })
    throw error
  }
}

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
    if (POSIX && (stats.mode & OTHERS) !== 0) throw unsafe(path, "may be read or written by others than its owner")
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
 * Writes a key file that appears whole or not at all and never replaces another: written beside its place, flushed, then linked to its name.
 * @returns false when the name is taken
 */
export async function createKeyFile(path: string, encrypted: EncryptedPrivateKey, spki: Uint8Array): Promise<boolean> {
  const text = pemEncode(KEY_LABEL.encrypted, encodeEncryptedPrivateKey(encrypted)) + pemEncode(KEY_LABEL.public, spki)
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

export interface UnlockedKey {
  readonly privateKey: KeyObject
  /** SubjectPublicKeyInfo, DER, computed from the private key */
  readonly spki: Uint8Array
}

/**
 * Opens a key file with its password.
 * @throws ServiceError KEY_PASSWORD_WRONG; KEY_FILE_MALFORMED for a key that can't be imported or isn't that of the file's public key
 */
export async function unlock(
  path: string,
  { encrypted, spki: claimed }: KeyFile,
  password: string,
): Promise<UnlockedKey> {
  const pkcs8 = await decryptKey(encrypted, password)
  try {
    const privateKey = createPrivateKey({
      key: Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.length),
      format: "der",
      type: "pkcs8",
    })
    const spki = spkiOf(createPublicKey(privateKey))
    if (claimed !== undefined && !bytesEqual(claimed, spki))
      throw new ServiceError("KEY_FILE_MALFORMED", `${path}: the public key is not that of the private key`)
    return { privateKey, spki }
  } catch (error) {
    if (error instanceof ServiceError) throw error
    throw new ServiceError("KEY_FILE_MALFORMED", `${path}: the private key cannot be imported`, { cause: error })
  } finally {
    pkcs8.fill(0)
  }
}

export function unsafe(path: string, why: string, cause?: unknown): ServiceError {
  return new ServiceError("KEY_FILE_UNSAFE", `${path} ${why}`, { cause })
}
