/**
 * Private keys in AWS KMS. IAM of `createKmsKeys`: kms:Sign. IAM of `createKmsKeyMaker`: kms:CreateKey and kms:TagResource
 * (both conditioned on the tags `sealwright:purpose` and `sealwright:stack`), kms:CreateAlias, kms:GetPublicKey. IAM of `findKmsKey`: kms:GetPublicKey.
 */
import { createHash } from "node:crypto"
import {
  AlreadyExistsException,
  CreateAliasCommand,
  CreateKeyCommand,
  GetPublicKeyCommand,
  type GetPublicKeyResponse,
  type KeySpec,
  type KeyUsageType,
  KMSClient,
  NotFoundException,
  SignCommand,
  type SigningAlgorithmSpec,
} from "@aws-sdk/client-kms"
import { ServiceError } from "@sealwright/core/errors"
import type { KeyMaker, KeyPurpose, KeyReference, SigningKeys } from "@sealwright/core/ports"
import { type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"
import { preferredScheme } from "./key-pair.ts"
import type { OpenedKey } from "./opened-key.ts"
import { digest } from "./platform.ts"
import { backOff, type ClientSettings, clientOptions, errorName, isRefusal } from "./sdk.ts"

const MAX_RAW_BYTES = 4096

export function createKmsKeys(client: KMSClient): SigningKeys {
  return {
    async sign({ keyId, scheme, spki }, message, note) {
      const { kms } = schemeRow(scheme)
      const answer = await client
        .send(
          new SignCommand({
            KeyId: keyId,
            ...inputOf(scheme, spki, message),
            SigningAlgorithm: kms as SigningAlgorithmSpec,
          }),
        )
        .catch(rethrow)
      if (answer.$metadata.requestId !== undefined) note?.(answer.$metadata.requestId)
      if (answer.Signature === undefined) throw new ServiceError("SIGNER_UNAVAILABLE", "KMS answered no signature")
      return answer.Signature
    },
  }
}

/**
 * What is sent of a message: its digest; the message itself where the scheme hashes inside; for ML-DSA, where it is too long for that, µ.
 * @throws RangeError for a message that Ed25519 can't sign in KMS
 */
function inputOf(scheme: SignatureScheme, spki: Uint8Array, message: Uint8Array) {
  const { hash, keyType } = schemeRow(scheme)
  if (hash !== undefined) return { Message: digest(hash, message), MessageType: "DIGEST" } as const
  if (message.length <= MAX_RAW_BYTES) return { Message: message, MessageType: "RAW" } as const
  if (keyType === "ml-dsa-65") return { Message: externalMu(spki, message), MessageType: "EXTERNAL_MU" } as const
  throw new RangeError(`KMS signs at most ${MAX_RAW_BYTES} bytes of a message that it hashes itself`)
}

const MU_BYTES = 64
const ML_DSA_65_KEY_BYTES = 1952

/**
 * The message representative of ML-DSA (FIPS 204, algorithm 7, line 6, and algorithm 2: no pre-hash, an empty context).
 * @param spki SubjectPublicKeyInfo, which ends with the public key (RFC 9881 §4)
 */
function externalMu(spki: Uint8Array, message: Uint8Array): Uint8Array {
  const shake256 = () => createHash("shake256", { outputLength: MU_BYTES })
  const tr = shake256().update(spki.subarray(-ML_DSA_65_KEY_BYTES)).digest()
  return shake256().update(tr).update(Uint8Array.of(0, 0)).update(message).digest()
}

export interface KmsKeyMakerSettings {
  /** name of the deployment: tag of its keys, and first part of their aliases */
  readonly stack: string
  /** key policy of every new key, JSON; default: KMS's own, which leaves the decision to IAM */
  readonly policy?: string
}

/** RSA as Notary ties sizes to hashes: 2048, 3072 and 4096 bits to SHA-256, 384 and 512. */
const KEY_SPECS: Record<SignatureScheme, KeySpec> = {
  "ecdsa-p256-sha256": "ECC_NIST_P256",
  "ecdsa-p384-sha384": "ECC_NIST_P384",
  "ecdsa-p521-sha512": "ECC_NIST_P521",
  "rsa-pss-sha256": "RSA_2048",
  "rsa-pss-sha384": "RSA_3072",
  "rsa-pss-sha512": "RSA_4096",
  "rsa-pkcs1-sha256": "RSA_2048",
  "rsa-pkcs1-sha384": "RSA_3072",
  "rsa-pkcs1-sha512": "RSA_4096",
  ed25519: "ECC_NIST_EDWARDS25519",
  "ml-dsa-44": "ML_DSA_44",
  "ml-dsa-65": "ML_DSA_65",
}

/** KMS shows new keys and aliases a moment later. */
const LOOK_ATTEMPTS = 8

/** A key that stands under `alias/{stack}/{name}`, and what is made when it doesn't. */
export interface NamedKmsKey {
  readonly name: string
  readonly purpose: KeyPurpose
  readonly spec: KeySpec
  readonly usage: KeyUsageType
}

/**
 * Makes keys under aliases `alias/{stack}/{name}`: create, then name. A crash between the two leaves a key without alias,
 * which nothing uses; a repeat makes another. Of two that run at once the first alias counts.
 */
export function createKmsKeyMaker(client: KMSClient, settings: KmsKeyMakerSettings): KeyMaker {
  const look = (keyId: string) => client.send(new GetPublicKeyCommand({ KeyId: keyId }))
  return {
    async create(name, purpose, scheme) {
      const wanted = { name, purpose, spec: KEY_SPECS[scheme], usage: "SIGN_VERIFY" } as const
      return keyReference(await findOrMakeKey(client, settings, wanted, look), name, scheme)
    },
  }
}

/**
 * @param look what KMS says of a key, by ARN or alias
 * @throws ServiceError SIGNER_UNAVAILABLE, KEY_NOT_USABLE
 */
export async function findOrMakeKey<Found>(
  client: KMSClient,
  settings: KmsKeyMakerSettings,
  wanted: NamedKmsKey,
  look: (keyId: string) => Promise<Found>,
): Promise<Found> {
  const find = async (keyId: string): Promise<Found | undefined> => {
    try {
      return await look(keyId)
    } catch (error) {
      if (error instanceof NotFoundException) return undefined
      throw signerError(error)
    }
  }
  const alias = `alias/${settings.stack}/${wanted.name}`
  const standing = await find(alias)
  if (standing !== undefined) return standing
  const keyId = await makeKey(client, settings, wanted, alias)
  for (let attempt = 0; attempt < LOOK_ATTEMPTS; attempt++) {
    if (attempt > 0) await backOff(attempt + 1)
    const found = await find(keyId)
    if (found !== undefined) return found
  }
  throw new ServiceError("SIGNER_UNAVAILABLE", `KMS does not show the new key ${keyId} yet`)
}

/** @returns the new key's ARN, or the alias when another one had it first */
async function makeKey(
  client: KMSClient,
  { stack, policy }: KmsKeyMakerSettings,
  { purpose, spec, usage }: NamedKmsKey,
  alias: string,
): Promise<string> {
  const { KeyMetadata } = await client
    .send(
      new CreateKeyCommand({
        KeySpec: spec,
        KeyUsage: usage,
        Description: `Sealwright ${stack}: ${purpose}`,
        Tags: [
          { TagKey: "sealwright:purpose", TagValue: purpose },
          { TagKey: "sealwright:stack", TagValue: stack },
        ],
        ...(policy !== undefined && { Policy: policy }),
      }),
    )
    .catch(rethrow)
  const keyId = KeyMetadata?.Arn
  if (keyId === undefined) throw new ServiceError("SIGNER_UNAVAILABLE", "KMS answered no key")
  try {
    await client.send(new CreateAliasCommand({ AliasName: alias, TargetKeyId: keyId }))
    return keyId
  } catch (error) {
    if (error instanceof AlreadyExistsException) return alias
    throw signerError(error)
  }
}

function keyReference(found: GetPublicKeyResponse, name: string, scheme: SignatureScheme): KeyReference {
  if (found.KeySpec !== KEY_SPECS[scheme])
    throw new ServiceError("ALREADY_EXISTS", `the key ${name} has another algorithm: ${found.KeySpec}`)
  if (found.KeyId === undefined || found.PublicKey === undefined)
    throw new ServiceError("SIGNER_UNAVAILABLE", "KMS answered no public key")
  return { keyId: found.KeyId, scheme, spki: new Uint8Array(found.PublicKey) }
}

/**
 * A key that stands in KMS already, under the scheme that its kind prefers.
 * @param identifier ARN or id of a key, or ARN or name of an alias (`alias/…`); the answer names the key itself
 * @throws ServiceError KEY_NOT_USABLE (missing, disabled, not for signing), KEY_ALGORITHM_UNSUPPORTED, SIGNER_UNAVAILABLE
 */
export async function findKmsKey(client: KMSClient, identifier: string): Promise<KeyReference> {
  const found = await client.send(new GetPublicKeyCommand({ KeyId: identifier })).catch(rethrow)
  if (found.KeyUsage !== "SIGN_VERIFY") throw new ServiceError("KEY_NOT_USABLE", `${identifier} is no key for signing`)
  if (found.KeyId === undefined || found.PublicKey === undefined)
    throw new ServiceError("SIGNER_UNAVAILABLE", "KMS answered no public key")
  const spki = new Uint8Array(found.PublicKey)
  return { keyId: found.KeyId, scheme: preferredScheme(spki), spki }
}

const NOT_USABLE = new Set([
  "DisabledException",
  "IncorrectKeyException",
  "InvalidCiphertextException",
  "InvalidKeyUsageException",
  "KMSInvalidStateException",
  "NotFoundException",
])

/** KMS's error in the service's words. */
export function signerError(error: unknown): unknown {
  const name = errorName(error)
  if (NOT_USABLE.has(name)) return new ServiceError("KEY_NOT_USABLE", `KMS refuses the key: ${name}`, { cause: error })
  if (isRefusal(error)) return error
  return new ServiceError("SIGNER_UNAVAILABLE", `KMS did not answer: ${name}`, { cause: error })
}

function rethrow(error: unknown): never {
  throw signerError(error)
}

/** Keys behind a client of their own, as functions open them. */
export function openKmsKeys(settings: ClientSettings = {}): SigningKeys {
  return createKmsKeys(new KMSClient(clientOptions(settings)))
}

export function openKmsKeyMaker(maker: KmsKeyMakerSettings, settings: ClientSettings = {}): KeyMaker {
  return createKmsKeyMaker(new KMSClient(clientOptions(settings)), maker)
}

/** One standing key behind a client of its own, as the command opens it. @throws as `findKmsKey` */
export async function openKmsKey(identifier: string, settings: ClientSettings = {}): Promise<OpenedKey> {
  const client = new KMSClient(clientOptions(settings))
  try {
    const key = await findKmsKey(client, identifier)
    return { key, keys: createKmsKeys(client), close: async () => client.destroy() }
  } catch (error) {
    client.destroy()
    throw error
  }
}
