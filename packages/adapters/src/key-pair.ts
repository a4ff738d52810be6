import { constants, generateKeyPairSync, type KeyObject, sign } from "node:crypto"
import { ServiceError } from "@sealwright/core/errors"
import { HASH_LENGTH, type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"
import { RSA_BITS, schemesOfKey } from "@sealwright/formats/key-scheme"
import { parsePublicKey } from "@sealwright/formats/x509"

const CURVES: Partial<Record<SignatureScheme, string>> = {
  "ecdsa-p256-sha256": "prime256v1",
  "ecdsa-p384-sha384": "secp384r1",
  "ecdsa-p521-sha512": "secp521r1",
}

export interface KeyPair {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

/** A new key pair of this process, of the size that belongs to the scheme. */
export function makeKeyPair(scheme: SignatureScheme): KeyPair {
  const namedCurve = CURVES[scheme]
  if (namedCurve !== undefined) return generateKeyPairSync("ec", { namedCurve })
  const { keyType, hash } = schemeRow(scheme)
  if (keyType === "rsa" && hash !== undefined) return generateKeyPairSync("rsa", { modulusLength: RSA_BITS[hash] })
  if (keyType === "ml-dsa-44" || keyType === "ml-dsa-65") return generateKeyPairSync(keyType)
  return generateKeyPairSync("ed25519")
}

/** SubjectPublicKeyInfo, DER. */
export function spkiOf(publicKey: KeyObject): Uint8Array {
  return new Uint8Array(publicKey.export({ type: "spki", format: "der" }))
}

/**
 * Signs with a key that fits the scheme; RSA-PSS has a salt as long as its hash.
 * @returns as `SigningKeys.sign`
 */
export function signInProcess(privateKey: KeyObject, scheme: SignatureScheme, message: Uint8Array): Uint8Array {
  const { hash, padding } = schemeRow(scheme)
  const key =
    padding === "pss" && hash !== undefined
      ? { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: HASH_LENGTH[hash] }
      : privateKey
  return new Uint8Array(sign(hash ?? null, message, key))
}

/**
 * The scheme under which a key signs unless another one is asked for.
 * @param spki SubjectPublicKeyInfo, DER
 * @throws ServiceError KEY_ALGORITHM_UNSUPPORTED
 */
export function preferredScheme(spki: Uint8Array): SignatureScheme {
  const [scheme] = schemesOfKey(parsePublicKey(spki))
  if (scheme === undefined)
    throw new ServiceError("KEY_ALGORITHM_UNSUPPORTED", "the key's kind or size is not in the table of algorithms")
  return scheme
}

/**
 * A key signs under its own schemes alone: OpenSSL would sign under any hash.
 * @throws ServiceError KEY_NOT_USABLE
 */
export function checkFits(keyId: string, spki: Uint8Array, scheme: SignatureScheme): void {
  if (!schemesOfKey(parsePublicKey(spki)).includes(scheme))
    throw new ServiceError("KEY_NOT_USABLE", `${keyId} does not sign under ${scheme}`)
}
