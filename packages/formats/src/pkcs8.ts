import { contextTag, DerReader, explicitTag, TAG } from "./der.ts"
import { octetString, sequence } from "./der-write.ts"
import { FormatError } from "./errors.ts"
import { type Pbes2Parameters, pbes2, readPbes2 } from "./pbes2.ts"

/** PEM labels of RFC 7468 §10 and §11, and the older forms of RFC 5915 §4 and RFC 8017 §A.1.2. */
export const KEY_LABEL = {
  encrypted: "ENCRYPTED PRIVATE KEY",
  pkcs8: "PRIVATE KEY",
  sec1: "EC PRIVATE KEY",
  pkcs1: "RSA PRIVATE KEY",
  public: "PUBLIC KEY",
} as const

/** Longest private key that is read, in bytes of DER. */
export const MAX_KEY_BYTES = 16_384

/** EncryptedPrivateKeyInfo of RFC 5958 §3. The ciphertext decrypts to what `parsePrivateKeyInfo` reads. */
export interface EncryptedPrivateKey extends Pbes2Parameters {
  /** whole AES blocks */
  readonly ciphertext: Uint8Array
}

/**
 * Reads an EncryptedPrivateKeyInfo, DER.
 * @throws FormatError TOO_LARGE above 16 KiB; DER_MALFORMED, KEY_MALFORMED; ALGORITHM_UNSUPPORTED, KEY_DERIVATION_COSTLY as `readPbes2`
 */
export function parseEncryptedPrivateKey(der: Uint8Array): EncryptedPrivateKey {
  const fields = enter(der)
  const parameters = readPbes2(fields)
  const ciphertext = fields.octets()
  fields.finish()
  if (ciphertext.length === 0 || ciphertext.length % 16 !== 0) throw malformed("a ciphertext that is not whole blocks")
  return { ...parameters, ciphertext }
}

/** @throws FormatError as `pbes2` */
export function encodeEncryptedPrivateKey(key: EncryptedPrivateKey): Uint8Array {
  return sequence(pbes2(key), octetString(key.ciphertext))
}

/** OneAsymmetricKey of RFC 5958 §2, as far as it is the same for every algorithm. */
export interface PrivateKeyInfo {
  /** AlgorithmIdentifier, DER */
  readonly algorithm: Uint8Array
  /** form by algorithm, e.g. ECPrivateKey of RFC 5915 */
  readonly privateKey: Uint8Array
}

/**
 * Reads a PrivateKeyInfo, DER, without looking into the key.
 * @throws FormatError TOO_LARGE above 16 KiB; DER_MALFORMED; KEY_MALFORMED for a version other than 1 and 2 (0 and 1 in the encoding)
 */
export function parsePrivateKeyInfo(der: Uint8Array): PrivateKeyInfo {
  const fields = enter(der)
  const version = fields.smallInteger()
  if (version > 1) throw malformed("a version of PrivateKeyInfo other than 1 and 2")
  const algorithm = fields.element(TAG.SEQUENCE)
  const privateKey = fields.octets()
  if (fields.is(explicitTag(0))) fields.take(explicitTag(0))
  if (version === 1 && fields.is(contextTag(1))) fields.bits(contextTag(1))
  fields.finish()
  return { algorithm, privateKey }
}

function enter(der: Uint8Array): DerReader {
  if (der.length > MAX_KEY_BYTES) throw new FormatError("TOO_LARGE", "a private key above 16 KiB")
  const outer = new DerReader(der)
  const fields = outer.enter(TAG.SEQUENCE)
  outer.finish()
  return fields
}

function malformed(detail: string): FormatError {
  return new FormatError("KEY_MALFORMED", detail)
}
