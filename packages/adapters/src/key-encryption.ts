import { createCipheriv, createDecipheriv, pbkdf2, scrypt } from "node:crypto"
import { promisify } from "node:util"
import { ServiceError } from "@sealwright/core/errors"
import type { RandomBytes } from "@sealwright/core/ports"
import { CIPHERS, derivationMemory, type KeyDerivation } from "@sealwright/formats/pbes2"
import { type EncryptedPrivateKey, parsePrivateKeyInfo } from "@sealwright/formats/pkcs8"

const deriveScrypt = promisify(
  scrypt as (
    password: string,
    salt: Uint8Array,
    length: number,
    options: { N: number; r: number; p: number; maxmem: number },
    done: (error: Error | null, key: Buffer) => void,
  ) => void,
)
const derivePbkdf2 = promisify(pbkdf2)

const WRITTEN_CIPHER = "aes-256-cbc"
const SALT_BYTES = 16
const IV_BYTES = 16

/**
 * What a new file's password goes through. `scrypt` takes 16 MiB five times over, the most memory a pass that OpenSSL's readers allow;
 * `scrypt-128m` takes 128 MiB (RFC 7914's N = 2^17, r = 8, p = 1), which OpenSSL refuses to read; `pbkdf2` is for readers without scrypt.
 */
export const DERIVATIONS = {
  scrypt: { name: "scrypt", cost: 2 ** 14, blockSize: 8, parallelization: 5 },
  "scrypt-128m": { name: "scrypt", cost: 2 ** 17, blockSize: 8, parallelization: 1 },
  pbkdf2: { name: "pbkdf2", iterations: 1_000_000, hash: "sha256" },
} as const
export type DerivationName = keyof typeof DERIVATIONS

/**
 * Encrypts a PrivateKeyInfo, DER, under a password (PBES2, AES-256-CBC) with a fresh salt and IV.
 * @param pkcs8 is left as it is: the caller wipes it
 */
export async function encryptKey(
  pkcs8: Uint8Array,
  password: string,
  derivationName: DerivationName,
  random: RandomBytes,
): Promise<EncryptedPrivateKey> {
  const derivation: KeyDerivation = { ...DERIVATIONS[derivationName], salt: random(SALT_BYTES) }
  const iv = random(IV_BYTES)
  const key = await derive(password, derivation, CIPHERS[WRITTEN_CIPHER].keyBytes)
  try {
    const cipher = createCipheriv(WRITTEN_CIPHER, key, iv)
    const ciphertext = new Uint8Array(Buffer.concat([cipher.update(pkcs8), cipher.final()]))
    return { derivation, cipher: WRITTEN_CIPHER, iv, ciphertext }
  } finally {
    key.fill(0)
  }
}

/**
 * Decrypts to a PrivateKeyInfo, DER, which the caller wipes. Nothing in this encryption tells a wrong password from a damaged file.
 * @throws ServiceError KEY_PASSWORD_WRONG
 */
export async function decryptKey(encrypted: EncryptedPrivateKey, password: string): Promise<Uint8Array> {
  const key = await derive(password, encrypted.derivation, CIPHERS[encrypted.cipher].keyBytes)
  const decipher = createDecipheriv(encrypted.cipher, key, encrypted.iv)
  key.fill(0)
  const front = decipher.update(encrypted.ciphertext)
  let plain: Buffer = front
  try {
    const back = decipher.final()
    plain = Buffer.concat([front, back])
    front.fill(0)
    back.fill(0)
    parsePrivateKeyInfo(plain)
    return plain
  } catch (cause) {
    plain.fill(0)
    front.fill(0)
    throw new ServiceError("KEY_PASSWORD_WRONG", "the password does not open the key", { cause })
  }
}

async function derive(password: string, derivation: KeyDerivation, keyBytes: number): Promise<Buffer> {
  if (derivation.name === "pbkdf2")
    return await derivePbkdf2(password, derivation.salt, derivation.iterations, keyBytes, derivation.hash)
  const { salt, cost, blockSize, parallelization } = derivation
  // OpenSSL counts a little beside the blocks themselves.
  const maxmem = derivationMemory(derivation) + 1024 * 1024
  return await deriveScrypt(password, salt, keyBytes, { N: cost, r: blockSize, p: parallelization, maxmem })
}
