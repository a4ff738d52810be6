import { constants, generateKeyPairSync, type KeyObject, sign } from "node:crypto"
import type { EphemeralKey } from "@sealwright/core/ports"
import { HASH_LENGTH, type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"

const CURVES: Partial<Record<SignatureScheme, string>> = {
  "ecdsa-p256-sha256": "prime256v1",
  "ecdsa-p384-sha384": "secp384r1",
  "ecdsa-p521-sha512": "secp521r1",
}
export const RSA_BITS = 3072

/** A key pair of this process, for one act (D2). ECDSA, Ed25519, or RSA of 3072 bits with PSS and a salt as long as the hash. */
export function makeEphemeralKey(scheme: SignatureScheme): EphemeralKey {
  const { privateKey, publicKey } = keyPair(scheme)
  const spki = new Uint8Array(publicKey.export({ type: "spki", format: "der" }))
  const { hash, keyType } = schemeRow(scheme)
  const key =
    keyType === "rsa" && hash !== undefined
      ? { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: HASH_LENGTH[hash] }
      : privateKey
  return { scheme, spki, sign: (message) => new Uint8Array(sign(hash ?? null, message, key)) }
}

function keyPair(scheme: SignatureScheme): { privateKey: KeyObject; publicKey: KeyObject } {
  const namedCurve = CURVES[scheme]
  if (namedCurve !== undefined) return generateKeyPairSync("ec", { namedCurve })
  if (scheme === "ed25519") return generateKeyPairSync("ed25519")
  return generateKeyPairSync("rsa", { modulusLength: RSA_BITS })
}
