import { utf8 } from "@sealwright/formats/bytes"
import { integer, octetString, oid, sequence } from "@sealwright/formats/der-write"
import {
  CIPHERS,
  type ContentCipher,
  derivationMemory,
  type KeyDerivation,
  MIN_WRITTEN_ITERATIONS,
} from "@sealwright/formats/pbes2"
import { pemDecode } from "@sealwright/formats/pem"
import {
  type EncryptedPrivateKey,
  encodeEncryptedPrivateKey,
  KEY_LABEL,
  parseEncryptedPrivateKey,
  parsePrivateKeyInfo,
} from "@sealwright/formats/pkcs8"
import { describe, expect, test } from "vitest"

const SCRYPT_OID = "1.3.6.1.4.1.11591.4.11"
const PBKDF2_OID = "1.2.840.113549.1.5.12"
const NULL = Uint8Array.of(5, 0)
const HMAC_SHA256 = sequence(oid("1.2.840.113549.2.9"), NULL)
const salt = new Uint8Array(16).fill(1)
const iv = new Uint8Array(16).fill(2)
const ciphertext = new Uint8Array(64).fill(3)
const scrypt: KeyDerivation = { name: "scrypt", salt, cost: 2 ** 14, blockSize: 8, parallelization: 5 }
const key: EncryptedPrivateKey = { derivation: scrypt, cipher: "aes-256-cbc", iv, ciphertext }
const code = (name: string) => expect.objectContaining({ code: name })

const counts = (...values: readonly number[]) => values.map((value) => integer(BigInt(value)))
const scryptOf = (...fields: readonly Uint8Array[]) => sequence(oid(SCRYPT_OID), sequence(octetString(salt), ...fields))
const pbkdf2Of = (...fields: readonly Uint8Array[]) => sequence(oid(PBKDF2_OID), sequence(octetString(salt), ...fields))
/** EncryptedPrivateKeyInfo of parts. */
const info = (
  derivation: Uint8Array,
  cipherOid: string = CIPHERS["aes-256-cbc"].oid,
  scheme = "1.2.840.113549.1.5.13",
) =>
  sequence(
    sequence(oid(scheme), sequence(derivation, sequence(oid(cipherOid), octetString(iv)))),
    octetString(ciphertext),
  )

describe("what is written is read back", () => {
  test.each(Object.keys(CIPHERS) as ContentCipher[])("%s", (cipher) => {
    expect(parseEncryptedPrivateKey(encodeEncryptedPrivateKey({ ...key, cipher }))).toEqual({ ...key, cipher })
  })

  test.each(["sha256", "sha512"] as const)("PBKDF2 over %s", (hash) => {
    const derivation = { name: "pbkdf2", salt, iterations: MIN_WRITTEN_ITERATIONS, hash } as const
    expect(parseEncryptedPrivateKey(encodeEncryptedPrivateKey({ ...key, derivation })).derivation).toEqual(derivation)
  })

  test("a key length that is written out is read where it is the cipher's", () => {
    expect(parseEncryptedPrivateKey(info(scryptOf(...counts(1024, 8, 1, 32)))).derivation).toMatchObject({ cost: 1024 })
    expect(parseEncryptedPrivateKey(info(pbkdf2Of(...counts(5000, 32), HMAC_SHA256))).derivation).toMatchObject({
      iterations: 5000,
    })
  })
})

describe("before anything is derived, refuses", () => {
  const cases: readonly (readonly [string, string, Uint8Array])[] = [
    ["1 GiB of scrypt", "KEY_DERIVATION_COSTLY", info(scryptOf(...counts(2 ** 20, 8, 1)))],
    ["512 MiB and a block of scrypt", "KEY_DERIVATION_COSTLY", info(scryptOf(...counts(2 ** 19, 8, 1)))],
    ["scrypt for hours in little memory", "KEY_DERIVATION_COSTLY", info(scryptOf(...counts(2 ** 14, 8, 2 ** 14)))],
    ["a cost of 2^70", "KEY_DERIVATION_COSTLY", info(scryptOf(integer(2n ** 70n), ...counts(8, 1)))],
    ["10,000,001 iterations", "KEY_DERIVATION_COSTLY", info(pbkdf2Of(...counts(10_000_001), HMAC_SHA256))],
    ["a cost that is no power of two", "KEY_MALFORMED", info(scryptOf(...counts(16_383, 8, 1)))],
    ["a cost of 1", "KEY_MALFORMED", info(scryptOf(...counts(1, 8, 1)))],
    ["no parallelization", "KEY_MALFORMED", info(scryptOf(...counts(1024, 8, 0)))],
    ["a negative block size", "KEY_MALFORMED", info(scryptOf(...counts(1024), integer(-8n), ...counts(1)))],
    ["another key length", "KEY_MALFORMED", info(scryptOf(...counts(1024, 8, 1, 16)))],
    ["more after the counts", "DER_MALFORMED", info(scryptOf(...counts(1024, 8, 1, 32, 1)))],
    ["no salt", "KEY_MALFORMED", info(sequence(oid(SCRYPT_OID), sequence(octetString(), ...counts(1024, 8, 1))))],
    ["PBKDF2 over SHA-1 by default", "ALGORITHM_UNSUPPORTED", info(pbkdf2Of(...counts(600_000)))],
    [
      "PBKDF2 over SHA-1 by name",
      "ALGORITHM_UNSUPPORTED",
      info(pbkdf2Of(...counts(600_000), sequence(oid("1.2.840.113549.2.7"), NULL))),
    ],
    ["triple DES", "ALGORITHM_UNSUPPORTED", info(scryptOf(...counts(1024, 8, 1)), "1.2.840.113549.3.7")],
    ["AES-GCM", "ALGORITHM_UNSUPPORTED", info(scryptOf(...counts(1024, 8, 1)), "2.16.840.1.101.3.4.1.46")],
    ["PBES1", "ALGORITHM_UNSUPPORTED", info(scryptOf(...counts(1024, 8, 1)), undefined, "1.2.840.113549.1.5.10")],
    ["an unknown derivation", "ALGORITHM_UNSUPPORTED", info(sequence(oid("1.2.3"), sequence()))],
    ["a long file", "TOO_LARGE", new Uint8Array(16_385)],
    ["half a block", "KEY_MALFORMED", encodeEncryptedPrivateKey({ ...key, ciphertext: ciphertext.subarray(8) })],
    ["no block", "KEY_MALFORMED", encodeEncryptedPrivateKey({ ...key, ciphertext: new Uint8Array(0) })],
    ["bytes after it", "DER_MALFORMED", Uint8Array.from([...encodeEncryptedPrivateKey(key), 0])],
  ]
  test.each(cases)("%s: %s", (_, expected, der) => {
    expect(() => parseEncryptedPrivateKey(der)).toThrow(code(expected))
  })

  test("to write what it would not read, or too few iterations", () => {
    const write = (derivation: KeyDerivation) => () => encodeEncryptedPrivateKey({ ...key, derivation })
    expect(write({ ...scrypt, cost: 2 ** 20 })).toThrow(code("KEY_DERIVATION_COSTLY"))
    expect(write({ ...scrypt, salt: salt.subarray(1) })).toThrow(code("KEY_MALFORMED"))
    expect(write({ name: "pbkdf2", salt, iterations: 599_999, hash: "sha256" })).toThrow(code("KEY_MALFORMED"))
    expect(() => encodeEncryptedPrivateKey({ ...key, iv: salt.subarray(1) })).toThrow(code("KEY_MALFORMED"))
  })
})

test("the memory of scrypt is that of its blocks", () => {
  expect(derivationMemory({ ...scrypt, cost: 2 ** 17, parallelization: 1 })).toBe(128 * 8 * (2 ** 17 + 1))
})

describe("PrivateKeyInfo", () => {
  const algorithm = sequence(oid("1.3.101.112"))
  const privateKey = octetString(utf8("key"))
  const version = (value: bigint) => sequence(integer(value), algorithm, privateKey)

  test("has its algorithm and its key, with attributes and a public key beside them", () => {
    expect(parsePrivateKeyInfo(version(0n))).toEqual({ algorithm, privateKey: utf8("key") })
    const second = sequence(integer(1n), algorithm, privateKey, Uint8Array.of(0xa0, 0), Uint8Array.of(0x81, 2, 0, 7))
    expect(parsePrivateKeyInfo(second)).toEqual({ algorithm, privateKey: utf8("key") })
  })

  test.each([
    ["a third version", version(2n), "KEY_MALFORMED"],
    [
      "a public key in the first version",
      sequence(integer(0n), algorithm, privateKey, Uint8Array.of(0x81, 2, 0, 7)),
      "DER_MALFORMED",
    ],
    ["no key", sequence(integer(0n), algorithm), "DER_MALFORMED"],
  ])("refuses %s", (_, der, expected) => {
    expect(() => parsePrivateKeyInfo(der)).toThrow(code(expected))
  })
})

/** Password "Rabbit", a P-256 key, N = 2^20: its 1 GiB is above our limit, after all of its parameters were read. */
test("RFC 7914 §13: the published example is read up to its cost", () => {
  const pem = `-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHiME0GCSqGSIb3DQEFDTBAMB8GCSsGAQQB2kcECzASBAVNb3VzZQIDEAAAAgEI
AgEBMB0GCWCGSAFlAwQBKgQQyYmguHMsOwzGMPoyObk/JgSBkJb47EWd5iAqJlyy
+ni5ftd6gZgOPaLQClL7mEZc2KQay0VhjZm/7MbBUNbqOAXNM6OGebXxVp6sHUAL
iBGY/Dls7B1TsWeGObE0sS1MXEpuREuloZjcsNVcNXWPlLdZtkSH6uwWzR0PyG/Z
+ZXfNodZtd/voKlvLOw5B3opGIFaLkbtLZQwMiGtl42AS89lZg==
-----END ENCRYPTED PRIVATE KEY-----
`
  expect(() => parseEncryptedPrivateKey(pemDecode(KEY_LABEL.encrypted, pem))).toThrow(code("KEY_DERIVATION_COSTLY"))
})
