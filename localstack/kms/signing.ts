import { createHash, createPublicKey, type KeyObject, sign as nodeSign, verify as nodeVerify } from "node:crypto"
import { HASH_LENGTH } from "@sealwright/formats/algorithms"
import { type AlgorithmName, algorithmRow } from "./algorithms.ts"
import { type EcdsaKey, ecdsaKey, signDigest, verifyDigest } from "./ecdsa.ts"
import { KmsError } from "./errors.ts"
import { signPkcs1, signPss, verifyPkcs1, verifyPss } from "./rsa.ts"

export type MessageType = "RAW" | "DIGEST" | "EXTERNAL_MU"

/**
 * What the algorithm works on: the digest, or the message for Ed25519 and ML-DSA.
 * @throws KmsError ValidationException when a DIGEST has another length than the hash, or the algorithm takes RAW alone. EXTERNAL_MU is refused
 * also for ML-DSA, where AWS takes it: OpenSSL offers it to nobody
 */
export function toBeSigned(algorithm: AlgorithmName, messageType: MessageType, message: Uint8Array): Uint8Array {
  const { hash } = algorithmRow(algorithm)
  if (hash === undefined) {
    if (messageType === "RAW") return message
    throw new KmsError("ValidationException", `Algorithm ${algorithm} takes MessageType RAW only.`)
  }
  if (messageType === "EXTERNAL_MU")
    throw new KmsError("ValidationException", `Algorithm ${algorithm} takes no MessageType EXTERNAL_MU.`)
  if (messageType === "RAW") return createHash(hash).update(message).digest()
  if (message.length === HASH_LENGTH[hash]) return message
  throw new KmsError("ValidationException", `Digest is invalid length for algorithm ${algorithm}.`)
}

/**
 * @param input as `toBeSigned` returns it
 * @returns ECDSA: DER Ecdsa-Sig-Value; RSA: as long as the modulus; Ed25519: 64 bytes; ML-DSA-44, 65, 87: 2,420, 3,309, 4,627 bytes
 */
export function signWith(privateKey: KeyObject, algorithm: AlgorithmName, input: Uint8Array): Uint8Array {
  const { form, hash } = algorithmRow(algorithm)
  if (form === "ecdsa") return signDigest(cachedEcdsaKey(privateKey), input)
  if (hash === undefined) return nodeSign(null, input, privateKey)
  return form === "pss" ? signPss(privateKey, hash, input) : signPkcs1(privateKey, hash, input)
}

/** @param input as `toBeSigned` returns it */
export function verifyWith(
  privateKey: KeyObject,
  algorithm: AlgorithmName,
  input: Uint8Array,
  signature: Uint8Array,
): boolean {
  const { form, hash } = algorithmRow(algorithm)
  if (form === "ecdsa") return verifyDigest(cachedEcdsaKey(privateKey), input, signature)
  const publicKey = createPublicKey(privateKey)
  if (hash === undefined) return nodeVerify(null, input, publicKey, signature)
  return form === "pss" ? verifyPss(publicKey, hash, input, signature) : verifyPkcs1(publicKey, hash, input, signature)
}

const ecdsaKeys = new WeakMap<KeyObject, EcdsaKey>()

function cachedEcdsaKey(privateKey: KeyObject): EcdsaKey {
  const known = ecdsaKeys.get(privateKey)
  if (known !== undefined) return known
  const key = ecdsaKey(privateKey)
  ecdsaKeys.set(privateKey, key)
  return key
}
