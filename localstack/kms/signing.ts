import { createHash, createPublicKey, type KeyObject, sign as nodeSign, verify as nodeVerify } from "node:crypto"
import { HASH_LENGTH } from "@sealwright/formats/algorithms"
import { type AlgorithmName, algorithmRow } from "./algorithms.ts"
import { type EcdsaKey, ecdsaKey, signDigest, verifyDigest } from "./ecdsa.ts"
import { KmsError } from "./errors.ts"
import { MU_LENGTH, signMu, verifyMu } from "./ml-dsa.ts"
import { signPkcs1, signPss, verifyPkcs1, verifyPss } from "./rsa.ts"

export type MessageType = "RAW" | "DIGEST" | "EXTERNAL_MU"

/**
 * What the algorithm works on: the digest, the message for Ed25519 and ML-DSA, or for ML-DSA what it makes of the message.
 * @throws KmsError ValidationException when a DIGEST has another length than the hash, µ not 64 bytes, or the algorithm does not take the type
 */
export function toBeSigned(algorithm: AlgorithmName, messageType: MessageType, message: Uint8Array): Uint8Array {
  const { hash, form } = algorithmRow(algorithm)
  if (hash === undefined) {
    const mu = form === "ml-dsa" && messageType === "EXTERNAL_MU" && message.length === MU_LENGTH
    if (messageType === "RAW" || mu) return message
    throw new KmsError("ValidationException", `Algorithm ${algorithm} does not take this MessageType and length.`)
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
export function signWith(
  privateKey: KeyObject,
  algorithm: AlgorithmName,
  messageType: MessageType,
  input: Uint8Array,
): Uint8Array {
  if (messageType === "EXTERNAL_MU") return signMu(privateKey, input)
  const { form, hash } = algorithmRow(algorithm)
  if (form === "ecdsa") return signDigest(cachedEcdsaKey(privateKey), input)
  if (hash === undefined) return nodeSign(null, input, privateKey)
  return form === "pss" ? signPss(privateKey, hash, input) : signPkcs1(privateKey, hash, input)
}

/** @param input as `toBeSigned` returns it */
export function verifyWith(
  privateKey: KeyObject,
  algorithm: AlgorithmName,
  messageType: MessageType,
  input: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (messageType === "EXTERNAL_MU") return verifyMu(privateKey, input, signature)
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
