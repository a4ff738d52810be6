/**
 * Wrapped keys (D13): a key pair that AWS KMS made and whose private part stands, encrypted under a symmetric KMS key, in the key's own id. It is
 * decrypted once a process and signs here, beyond KMS's quota of signatures. Whoever may decrypt it can copy it: what that costs is told in
 * docs/key-modes.md. IAM of `createWrappedKeys`: kms:Decrypt with the encryption context of this stack. IAM of `createWrappedKeyMaker`:
 * kms:GenerateDataKeyPairWithoutPlaintext with it.
 */
import { createPrivateKey, type KeyObject } from "node:crypto"
import {
  type DataKeyPairSpec,
  DecryptCommand,
  GenerateDataKeyPairWithoutPlaintextCommand,
  type KMSClient,
} from "@aws-sdk/client-kms"
import { ServiceError } from "@sealwright/core/errors"
import type { ProfileAlgorithm } from "@sealwright/core/model"
import type { KeyReference, SigningKeys } from "@sealwright/core/ports"
import { signInProcess } from "./key-pair.ts"
import { signerError } from "./kms.ts"

const PREFIX = "wrapped:"
/** KMS's own limit of a ciphertext. */
const MAX_CIPHERTEXT_BYTES = 6144

interface WrappedKey {
  /** ARN of the symmetric key */
  readonly wrapping: string
  readonly name: string
  readonly ciphertext: Uint8Array
}

export function isWrapped({ keyId }: KeyReference): boolean {
  return keyId.startsWith(PREFIX)
}

/** The key's name is in the context, so that a ciphertext that was put under another name opens nothing. */
function contextOf(stack: string, name: string): Record<string, string> {
  return { "sealwright:stack": stack, "sealwright:key": name }
}

/** @returns keys whose id is a wrapped key's; a failed decryption is not remembered */
export function createWrappedKeys(client: KMSClient, stack: string): SigningKeys {
  const unwrapped = new Map<string, Promise<KeyObject>>()

  async function unwrap(keyId: string): Promise<KeyObject> {
    const { wrapping, name, ciphertext } = parseKeyId(keyId)
    const { Plaintext } = await client
      .send(
        new DecryptCommand({
          KeyId: wrapping,
          CiphertextBlob: ciphertext,
          EncryptionContext: contextOf(stack, name),
        }),
      )
      .catch((error: unknown) => {
        throw signerError(error)
      })
    if (Plaintext === undefined) throw new ServiceError("SIGNER_UNAVAILABLE", "KMS answered no plaintext")
    const pkcs8 = Buffer.from(Plaintext.buffer, Plaintext.byteOffset, Plaintext.length)
    try {
      return createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" })
    } finally {
      pkcs8.fill(0)
    }
  }

  function privateKey(keyId: string): Promise<KeyObject> {
    const known = unwrapped.get(keyId)
    if (known !== undefined) return known
    const key = unwrap(keyId)
    unwrapped.set(keyId, key)
    key.catch(() => unwrapped.delete(keyId))
    return key
  }

  return {
    async sign({ keyId, scheme }, message) {
      return signInProcess(await privateKey(keyId), scheme, message)
    },
  }
}

/** Makes wrapped key pairs; every call makes another. */
export interface WrappedKeyMaker {
  /** @throws ServiceError SIGNER_UNAVAILABLE, KEY_NOT_USABLE (of the wrapping key) */
  wrap(name: string, scheme: ProfileAlgorithm): Promise<KeyReference>
}

const PAIR_SPECS: Record<ProfileAlgorithm, DataKeyPairSpec> = {
  "ecdsa-p256-sha256": "ECC_NIST_P256",
  "ecdsa-p384-sha384": "ECC_NIST_P384",
  "rsa-pss-sha384": "RSA_3072",
}

/** @param wrapping ARN of the stack's symmetric key */
export function createWrappedKeyMaker(client: KMSClient, stack: string, wrapping: string): WrappedKeyMaker {
  return {
    async wrap(name, scheme) {
      const made = await client
        .send(
          new GenerateDataKeyPairWithoutPlaintextCommand({
            KeyId: wrapping,
            KeyPairSpec: PAIR_SPECS[scheme],
            EncryptionContext: contextOf(stack, name),
          }),
        )
        .catch((error: unknown) => {
          throw signerError(error)
        })
      if (made.PublicKey === undefined || made.PrivateKeyCiphertextBlob === undefined)
        throw new ServiceError("SIGNER_UNAVAILABLE", "KMS answered no key pair")
      const ciphertext = Buffer.from(made.PrivateKeyCiphertextBlob).toString("base64url")
      return { keyId: `${PREFIX}${wrapping}#${name}#${ciphertext}`, scheme, spki: new Uint8Array(made.PublicKey) }
    },
  }
}

const KEY_ID = /^wrapped:(arn:[^#]{1,200})#([^#]{1,100})#([A-Za-z0-9_-]+)$/

/** @throws ServiceError KEY_NOT_USABLE */
function parseKeyId(keyId: string): WrappedKey {
  const [, wrapping, name, text] = KEY_ID.exec(keyId) ?? []
  if (wrapping === undefined || name === undefined || text === undefined || text.length > 2 * MAX_CIPHERTEXT_BYTES)
    throw new ServiceError("KEY_NOT_USABLE", "not the id of a wrapped key")
  return { wrapping, name, ciphertext: Buffer.from(text, "base64url") }
}
