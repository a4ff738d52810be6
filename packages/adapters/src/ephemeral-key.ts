import { constants, generateKeyPairSync, type KeyObject, sign } from "node:crypto"
import type { EphemeralKey } from "@sealwright/core/ports"
import { HASH_LENGTH, type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"

const CURVES: Partial<Record<SignatureScheme, string>> = {
  "ecdsa-p256-sha256": "prime256v1",
  "ecdsa-p384-sha384": "secp384r1",
  "ecdsa-p521-sha512": "secp521r1",
}
/** RSA as Notary ties sizes to hashes. */
export const RSA_BITS = { sha256: 2048, sha384: 3072, sha512: 4096 } as const

/** Signs in this process, so it has no need to wait. */
export interface ProcessKey extends EphemeralKey {
  sign(message: Uint8Array): Uint8Array
}

/** A key pair of this process, for one act (D2). RSA-PSS has a salt as long as its hash. */
export function makeEphemeralKey(scheme: SignatureScheme): ProcessKey {
  const { privateKey, publicKey } = keyPair(scheme)
  const spki = new Uint8Array(publicKey.export({ type: "spki", format: "der" }))
  const { hash, padding } = schemeRow(scheme)
  const key =
    padding === "pss" && hash !== undefined
      ? { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: HASH_LENGTH[hash] }
      : privateKey
  return { scheme, spki, sign: (message) => new Uint8Array(sign(hash ?? null, message, key)), drop: () => undefined }
}

function keyPair(scheme: SignatureScheme): { privateKey: KeyObject; publicKey: KeyObject } {
  const namedCurve = CURVES[scheme]
  if (namedCurve !== undefined) return generateKeyPairSync("ec", { namedCurve })
  const { keyType, hash } = schemeRow(scheme)
  if (keyType === "rsa" && hash !== undefined) return generateKeyPairSync("rsa", { modulusLength: RSA_BITS[hash] })
  return keyType === "ml-dsa-65" ? generateKeyPairSync("ml-dsa-65") : generateKeyPairSync("ed25519")
}
