import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from "node:crypto"
import { KmsError } from "./errors.ts"
import type { Input } from "./input.ts"

/** Form 1, the key's id as a UUID, the nonce, AES-256-GCM's ciphertext and tag. */
const FORM = 1
const ID_BYTES = 16
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEAD_BYTES = 1 + ID_BYTES + NONCE_BYTES

/**
 * The encryption context in one form: pairs sorted by name, so that the same map always gives the same bytes.
 * @throws KmsError ValidationException
 */
export function encryptionContext(input: Input): Uint8Array {
  const context = input.EncryptionContext ?? {}
  if (typeof context !== "object" || context === null || Array.isArray(context)) throw notAMap()
  const pairs = Object.entries(context).sort(([a], [b]) => (a < b ? -1 : 1))
  if (!pairs.every(([, value]) => typeof value === "string")) throw notAMap()
  return Buffer.from(JSON.stringify(pairs))
}

export function sealBlob(key: KeyObject, keyId: string, plaintext: Uint8Array, context: Uint8Array): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv("aes-256-gcm", key, nonce)
  cipher.setAAD(context)
  const sealed = Buffer.concat([cipher.update(plaintext), cipher.final()])
  const id = Buffer.from(keyId.replaceAll("-", ""), "hex")
  return Buffer.concat([Uint8Array.of(FORM), id, nonce, sealed, cipher.getAuthTag()])
}

/** @throws KmsError InvalidCiphertextException */
export function keyIdIn(blob: Uint8Array): string {
  if (blob[0] !== FORM || blob.length < HEAD_BYTES + TAG_BYTES) throw invalid()
  const hex = Buffer.from(blob.subarray(1, 1 + ID_BYTES)).toString("hex")
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5")
}

/** @throws KmsError InvalidCiphertextException, also for another encryption context than it was sealed with */
export function openBlob(key: KeyObject, blob: Uint8Array, context: Uint8Array): Uint8Array {
  const decipher = createDecipheriv("aes-256-gcm", key, blob.subarray(1 + ID_BYTES, HEAD_BYTES))
  decipher.setAAD(context)
  decipher.setAuthTag(blob.subarray(blob.length - TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(blob.subarray(HEAD_BYTES, blob.length - TAG_BYTES)), decipher.final()])
  } catch {
    throw invalid()
  }
}

function invalid(): KmsError {
  return new KmsError("InvalidCiphertextException", "The ciphertext or its encryption context is not what was sealed.")
}

function notAMap(): KmsError {
  return new KmsError("SerializationException", "EncryptionContext must be a map of strings.")
}
