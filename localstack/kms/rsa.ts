import { constants, createHash, type KeyObject, privateEncrypt, publicDecrypt, randomBytes } from "node:crypto"
import { HASH_LENGTH, type HashName } from "@sealwright/formats/algorithms"
import { bytesEqual, concat, hexDecode } from "@sealwright/formats/bytes"

/** DigestInfo without the digest (RFC 8017 §9.2, note 1). */
const DIGEST_INFO = {
  sha256: hexDecode("3031300d060960864801650304020105000420"),
  sha384: hexDecode("3041300d060960864801650304020205000430"),
  sha512: hexDecode("3051300d060960864801650304020305000440"),
} as const satisfies Record<HashName, Uint8Array>

/** RSASSA-PKCS1-v1_5 over a computed digest (RFC 8017 §8.2). */
export function signPkcs1(key: KeyObject, hash: HashName, digest: Uint8Array): Uint8Array {
  return privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, concat(DIGEST_INFO[hash], digest))
}

/** @param key the public key */
export function verifyPkcs1(key: KeyObject, hash: HashName, digest: Uint8Array, signature: Uint8Array): boolean {
  const encoded = publicOperation(key, signature)
  if (encoded === undefined) return false
  const tail = concat(Uint8Array.of(0), DIGEST_INFO[hash], digest)
  const padding = new Uint8Array(encoded.length - tail.length - 2).fill(0xff)
  return bytesEqual(encoded, concat(Uint8Array.of(0, 1), padding, tail))
}

/** RSASSA-PSS over a computed digest, MGF1 with the same hash, salt as long as the hash (RFC 8017 §8.1 and §9.1.1). */
export function signPss(key: KeyObject, hash: HashName, digest: Uint8Array): Uint8Array {
  const salt = randomBytes(HASH_LENGTH[hash])
  const encoded = encodePss(hash, digest, salt, modulusBytes(key))
  return privateEncrypt({ key, padding: constants.RSA_NO_PADDING }, encoded)
}

/** @param key the public key */
export function verifyPss(key: KeyObject, hash: HashName, digest: Uint8Array, signature: Uint8Array): boolean {
  const encoded = publicOperation(key, signature)
  if (encoded === undefined) return false
  const length = HASH_LENGTH[hash]
  const dbLength = encoded.length - length - 1
  const db = unmask(hash, encoded.subarray(0, dbLength), encoded.subarray(dbLength, dbLength + length))
  return bytesEqual(encoded, encodePss(hash, digest, db.subarray(dbLength - length), encoded.length))
}

/** EMSA-PSS for a modulus whose bit length is a multiple of 8, so that emBits = 8 * emLength - 1. */
function encodePss(hash: HashName, digest: Uint8Array, salt: Uint8Array, emLength: number): Uint8Array {
  const inner = createHash(hash).update(new Uint8Array(8)).update(digest).update(salt).digest()
  const db = new Uint8Array(emLength - inner.length - 1)
  db[db.length - salt.length - 1] = 0x01
  db.set(salt, db.length - salt.length)
  return concat(unmask(hash, db, inner), inner, Uint8Array.of(0xbc))
}

/** XOR with MGF1(seed), top bit cleared; masks and unmasks alike. */
function unmask(hash: HashName, db: Uint8Array, seed: Uint8Array): Uint8Array {
  const masked = new Uint8Array(db)
  for (let at = 0, counter = 0; at < masked.length; counter++) {
    const counterBytes = Uint8Array.of(counter >>> 24, counter >>> 16, counter >>> 8, counter)
    for (const byte of createHash(hash).update(seed).update(counterBytes).digest()) {
      if (at === masked.length) break
      masked[at] = (masked[at] as number) ^ byte
      at++
    }
  }
  masked[0] = (masked[0] as number) & 0x7f
  return masked
}

function publicOperation(key: KeyObject, signature: Uint8Array): Uint8Array | undefined {
  if (signature.length !== modulusBytes(key)) return undefined
  try {
    return publicDecrypt({ key, padding: constants.RSA_NO_PADDING }, signature)
  } catch {
    return undefined
  }
}

function modulusBytes(key: KeyObject): number {
  return Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8)
}
