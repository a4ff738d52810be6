import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto"
import { ServiceError } from "@sealwright/core/errors"
import { bytesEqual } from "@sealwright/formats/bytes"
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
import { createOwnFile, readOwnFile } from "./own-file.ts"

const MAX_FILE_BYTES = 64 * 1024

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

/** @returns false when the name is taken: nothing is replaced */
export async function createKeyFile(path: string, encrypted: EncryptedPrivateKey, spki: Uint8Array): Promise<boolean> {
  const text = pemEncode(KEY_LABEL.encrypted, encodeEncryptedPrivateKey(encrypted)) + pemEncode(KEY_LABEL.public, spki)
  return await createOwnFile(path, text)
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
