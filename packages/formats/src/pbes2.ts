import { type DerReader, TAG } from "./der.ts"
import { integer, octetString, oid, sequence } from "./der-write.ts"
import { FormatError } from "./errors.ts"

/** How a password becomes the key of the cipher. What is read obeys the limits below, so that deriving is safe to start. */
export type KeyDerivation =
  | {
      readonly name: "scrypt"
      readonly salt: Uint8Array
      /** N of RFC 7914 §2: a power of two */
      readonly cost: number
      /** r */
      readonly blockSize: number
      /** p */
      readonly parallelization: number
    }
  | {
      readonly name: "pbkdf2"
      readonly salt: Uint8Array
      readonly iterations: number
      /** of the HMAC (RFC 8018 §B.1.2) */
      readonly hash: "sha256" | "sha512"
    }

/** AES in CBC mode with PKCS #7 padding (RFC 8018 §B.2.5); also node:crypto's and OpenSSL's names. */
export type ContentCipher = keyof typeof CIPHERS

export interface Pbes2Parameters {
  readonly derivation: KeyDerivation
  readonly cipher: ContentCipher
  /** 16 bytes */
  readonly iv: Uint8Array
}

/** Above these nothing is derived: a file must not cost its reader more. */
export const DERIVATION_LIMITS = {
  memoryBytes: 512 * 1024 * 1024,
  iterations: 10_000_000,
  /** N · r · p of scrypt: eight times what N = 2^17, r = 8, p = 1 takes */
  scryptWork: 8 * 2 ** 20,
} as const

/** Fewest iterations that are written. */
export const MIN_WRITTEN_ITERATIONS = 600_000

/** Shortest salt that is written; what is read may be shorter, as the example of RFC 7914 §13 is. */
const MIN_WRITTEN_SALT_BYTES = 16
const MAX_SALT_BYTES = 64
const IV_BYTES = 16

const OID_PBES2 = "1.2.840.113549.1.5.13"
const OID_PBKDF2 = "1.2.840.113549.1.5.12"
const OID_SCRYPT = "1.3.6.1.4.1.11591.4.11"
const PRF = { sha256: "1.2.840.113549.2.9", sha512: "1.2.840.113549.2.11" } as const

/** Key length in bytes and OID (RFC 3565 §4.1). */
export const CIPHERS = {
  "aes-128-cbc": { keyBytes: 16, oid: "2.16.840.1.101.3.4.1.2" },
  "aes-192-cbc": { keyBytes: 24, oid: "2.16.840.1.101.3.4.1.22" },
  "aes-256-cbc": { keyBytes: 32, oid: "2.16.840.1.101.3.4.1.42" },
} as const

/** Memory that a derivation takes, in bytes. */
export function derivationMemory(derivation: KeyDerivation): number {
  if (derivation.name === "pbkdf2") return 0
  const { cost, blockSize, parallelization } = derivation
  return 128 * blockSize * (cost + parallelization)
}

/**
 * Reads the AlgorithmIdentifier of PBES2 (RFC 8018 §A.4) with scrypt (RFC 7914 §7) or PBKDF2 over HMAC-SHA-256 or -512.
 * @throws FormatError DER_MALFORMED, KEY_MALFORMED; ALGORITHM_UNSUPPORTED for PBES1, other hashes and ciphers; KEY_DERIVATION_COSTLY
 */
export function readPbes2(reader: DerReader): Pbes2Parameters {
  const algorithm = reader.enter(TAG.SEQUENCE)
  if (algorithm.oid() !== OID_PBES2) throw unsupported("an encryption other than PBES2")
  const parameters = algorithm.enter(TAG.SEQUENCE)
  algorithm.finish()
  const derivation = parameters.enter(TAG.SEQUENCE)
  const encryption = parameters.enter(TAG.SEQUENCE)
  parameters.finish()

  const cipherOid = encryption.oid()
  const cipher = (Object.keys(CIPHERS) as ContentCipher[]).find((name) => CIPHERS[name].oid === cipherOid)
  if (cipher === undefined) throw unsupported("a cipher other than AES-CBC")
  const iv = encryption.octets()
  encryption.finish()
  if (iv.length !== IV_BYTES) throw malformed("an IV that is not 16 bytes")
  return { derivation: readDerivation(derivation, CIPHERS[cipher].keyBytes), cipher, iv }
}

function readDerivation(algorithm: DerReader, keyBytes: number): KeyDerivation {
  const name = algorithm.oid()
  if (name !== OID_SCRYPT && name !== OID_PBKDF2) throw unsupported("a key derivation other than scrypt and PBKDF2")
  const fields = algorithm.enter(TAG.SEQUENCE)
  algorithm.finish()
  if (name === OID_PBKDF2 && !fields.is(TAG.OCTET_STRING)) throw unsupported("a PBKDF2 salt from elsewhere")
  const salt = fields.octets()
  const derivation: KeyDerivation =
    name === OID_SCRYPT
      ? { name: "scrypt", salt, cost: count(fields), blockSize: count(fields), parallelization: count(fields) }
      : { name: "pbkdf2", salt, iterations: count(fields), hash: readLengthAndHash(fields, keyBytes) }
  if (name === OID_SCRYPT) readKeyLength(fields, keyBytes)
  fields.finish()
  checkDerivation(derivation)
  return derivation
}

function readLengthAndHash(fields: DerReader, keyBytes: number): "sha256" | "sha512" {
  readKeyLength(fields, keyBytes)
  // Absent means HMAC-SHA-1 (RFC 8018 §A.2).
  if (fields.done) throw unsupported("PBKDF2 over SHA-1")
  const prf = fields.enter(TAG.SEQUENCE)
  const prfOid = prf.oid()
  prf.null()
  prf.finish()
  if (prfOid === PRF.sha256) return "sha256"
  if (prfOid === PRF.sha512) return "sha512"
  throw unsupported("PBKDF2 over another hash than SHA-256 and SHA-512")
}

function readKeyLength(fields: DerReader, keyBytes: number): void {
  if (fields.is(TAG.INTEGER) && count(fields) !== keyBytes) throw malformed("a key length that is not the cipher's")
}

/** A positive INTEGER; the limits are checked where its meaning is known. */
function count(fields: DerReader): number {
  const bytes = fields.integerBytes()
  if ((bytes[0] as number) >= 0x80 || (bytes.length === 1 && bytes[0] === 0)) throw malformed("a count below 1")
  if (bytes.length > 6) throw costly("a count above 2^47")
  let value = 0
  for (const byte of bytes) value = value * 256 + byte
  return value
}

/** @throws FormatError KEY_MALFORMED, KEY_DERIVATION_COSTLY */
function checkDerivation(derivation: KeyDerivation): void {
  const { salt } = derivation
  if (salt.length === 0 || salt.length > MAX_SALT_BYTES) throw malformed("a salt that is empty or above 64 bytes")
  if (derivation.name === "pbkdf2") {
    if (derivation.iterations > DERIVATION_LIMITS.iterations) throw costly("more than 10,000,000 iterations")
    return
  }
  const { cost, blockSize, parallelization } = derivation
  if (cost < 2 || !Number.isInteger(Math.log2(cost))) throw malformed("a scrypt cost that is not a power of two")
  if (derivationMemory(derivation) > DERIVATION_LIMITS.memoryBytes) throw costly("more than 512 MiB of memory")
  if (cost * blockSize * parallelization > DERIVATION_LIMITS.scryptWork)
    throw costly("more rounds of scrypt than allowed")
}

/**
 * AlgorithmIdentifier of PBES2, DER.
 * @throws FormatError as `readPbes2`; KEY_MALFORMED below 600,000 iterations of PBKDF2 or 16 bytes of salt
 */
export function pbes2({ derivation, cipher, iv }: Pbes2Parameters): Uint8Array {
  checkDerivation(derivation)
  if (derivation.salt.length < MIN_WRITTEN_SALT_BYTES) throw malformed("a salt below 16 bytes")
  if (derivation.name === "pbkdf2" && derivation.iterations < MIN_WRITTEN_ITERATIONS)
    throw malformed("fewer than 600,000 iterations")
  if (iv.length !== IV_BYTES) throw malformed("an IV that is not 16 bytes")
  return sequence(
    oid(OID_PBES2),
    sequence(derivationAlgorithm(derivation), sequence(oid(CIPHERS[cipher].oid), octetString(iv))),
  )
}

function derivationAlgorithm(derivation: KeyDerivation): Uint8Array {
  if (derivation.name === "pbkdf2") {
    const prf = sequence(oid(PRF[derivation.hash]), NULL)
    return sequence(
      oid(OID_PBKDF2),
      sequence(octetString(derivation.salt), integer(BigInt(derivation.iterations)), prf),
    )
  }
  const { salt, cost, blockSize, parallelization } = derivation
  const counts = [cost, blockSize, parallelization].map((each) => integer(BigInt(each)))
  return sequence(oid(OID_SCRYPT), sequence(octetString(salt), ...counts))
}

const NULL = Uint8Array.of(TAG.NULL, 0)

function malformed(detail: string): FormatError {
  return new FormatError("KEY_MALFORMED", detail)
}

function unsupported(detail: string): FormatError {
  return new FormatError("ALGORITHM_UNSUPPORTED", detail)
}

function costly(detail: string): FormatError {
  return new FormatError("KEY_DERIVATION_COSTLY", detail)
}
