/**
 * Wrapped keys (D13): a key pair that AWS KMS made and whose private part stands, encrypted under a symmetric KMS key, in the key's own id. It is
 * decrypted once a process and signs here, beyond KMS's quota of signatures. Whoever may decrypt it can copy it: what that costs is told in
 * docs/key-modes.md. IAM of `createWrappedKeys`: kms:Decrypt with the encryption context of this stack. IAM of `createKeyWrapper`:
 * kms:GenerateDataKeyPairWithoutPlaintext with it, kms:DescribeKey, and as `createKmsKeyMaker` for the wrapping keys.
 */
import { createPrivateKey, type KeyObject } from "node:crypto"
import {
  type DataKeyPairSpec,
  DecryptCommand,
  DescribeKeyCommand,
  GenerateDataKeyPairWithoutPlaintextCommand,
  KMSClient,
} from "@aws-sdk/client-kms"
import { ServiceError } from "@sealwright/core/errors"
import {
  isWrapped,
  type KeyPurpose,
  type KeyReference,
  type KeyWrapper,
  type SigningKeys,
  WRAPPED_KEY,
  type WrappedPurpose,
} from "@sealwright/core/ports"
import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { signInProcess } from "./key-pair.ts"
import { createKmsKeys, findOrMakeKey, type KmsKeyMakerSettings, signerError } from "./kms.ts"
import { type ClientSettings, clientOptions } from "./sdk.ts"

/** KMS's own limit of a ciphertext. */
const MAX_CIPHERTEXT_BYTES = 6144

interface WrappedKey {
  /** ARN of the symmetric key */
  readonly wrapping: string
  readonly name: string
  readonly ciphertext: Uint8Array
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

/** Keys in KMS and wrapped ones behind one client, as the functions open them that may unwrap. */
export function openKmsAndWrappedKeys(stack: string, settings: ClientSettings = {}): SigningKeys {
  const client = new KMSClient(clientOptions(settings))
  const kms = createKmsKeys(client)
  const wrapped = createWrappedKeys(client, stack)
  return { sign: (key, message, note) => (isWrapped(key) ? wrapped : kms).sign(key, message, note) }
}

export interface KeyWrapperSettings extends KmsKeyMakerSettings {
  /** what the deployment makes wrapped keys for */
  readonly purposes: ReadonlySet<WrappedPurpose>
}

/** The wrapping key's name is its purpose too: one for each kind of reader, so that no role unwraps another's keys. */
const WRAPPING_KEYS = { issuer: "wrapping", timestamp: "wrapping-timestamp" } as const satisfies Record<
  WrappedPurpose,
  KeyPurpose
>
const SWITCHES = { issuer: "wrappedIssuers", timestamp: "wrappedTimestamps" } as const

const PAIR_SPECS: Partial<Record<SignatureScheme, DataKeyPairSpec>> = {
  "ecdsa-p256-sha256": "ECC_NIST_P256",
  "ecdsa-p384-sha384": "ECC_NIST_P384",
  "rsa-pss-sha384": "RSA_3072",
  "rsa-pkcs1-sha384": "RSA_3072",
}

/** Makes wrapped keys under the deployment's wrapping keys, and these when they are first needed. */
export function createKeyWrapper(client: KMSClient, settings: KeyWrapperSettings): KeyWrapper {
  const look = (keyId: string) => client.send(new DescribeKeyCommand({ KeyId: keyId }))

  async function wrappingKey(purpose: WrappedPurpose): Promise<string> {
    const name = WRAPPING_KEYS[purpose]
    const wanted = { name, purpose: name, spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT" } as const
    const { KeyMetadata } = await findOrMakeKey(client, settings, wanted, look)
    if (KeyMetadata?.Arn === undefined) throw new ServiceError("SIGNER_UNAVAILABLE", "KMS answered no key")
    return KeyMetadata.Arn
  }

  return {
    async wrap(name, purpose, scheme) {
      if (!settings.purposes.has(purpose))
        throw new ServiceError("WRAPPING_NOT_ENABLED", `this stack is deployed without ${SWITCHES[purpose]}`)
      const spec = PAIR_SPECS[scheme]
      if (spec === undefined) throw new ServiceError("KEY_NOT_USABLE", `no wrapped keys of ${scheme}`)
      return await wrapPair(client, settings.stack, await wrappingKey(purpose), name, scheme, spec)
    },
  }
}

async function wrapPair(
  client: KMSClient,
  stack: string,
  wrapping: string,
  name: string,
  scheme: SignatureScheme,
  spec: DataKeyPairSpec,
): Promise<KeyReference> {
  const made = await client
    .send(
      new GenerateDataKeyPairWithoutPlaintextCommand({
        KeyId: wrapping,
        KeyPairSpec: spec,
        EncryptionContext: contextOf(stack, name),
      }),
    )
    .catch((error: unknown) => {
      throw signerError(error)
    })
  if (made.PublicKey === undefined || made.PrivateKeyCiphertextBlob === undefined)
    throw new ServiceError("SIGNER_UNAVAILABLE", "KMS answered no key pair")
  const ciphertext = Buffer.from(made.PrivateKeyCiphertextBlob).toString("base64url")
  return { keyId: `${WRAPPED_KEY}${wrapping}#${name}#${ciphertext}`, scheme, spki: new Uint8Array(made.PublicKey) }
}

export function openKeyWrapper(wrapper: KeyWrapperSettings, settings: ClientSettings = {}): KeyWrapper {
  return createKeyWrapper(new KMSClient(clientOptions(settings)), wrapper)
}

const KEY_ID = /^wrapped:(arn:[^#]{1,200})#([^#]{1,100})#([A-Za-z0-9_-]+)$/

/** @throws ServiceError KEY_NOT_USABLE */
function parseKeyId(keyId: string): WrappedKey {
  const [, wrapping, name, text] = KEY_ID.exec(keyId) ?? []
  if (wrapping === undefined || name === undefined || text === undefined || text.length > 2 * MAX_CIPHERTEXT_BYTES)
    throw new ServiceError("KEY_NOT_USABLE", "not the id of a wrapped key")
  return { wrapping, name, ciphertext: Buffer.from(text, "base64url") }
}
