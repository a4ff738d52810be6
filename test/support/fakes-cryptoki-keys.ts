import { generateKeyPairSync, type KeyObject, privateEncrypt, sign } from "node:crypto"
import { CKA, type Mechanism } from "@sealwright/adapters/pkcs11/cryptoki"
import { HASH_LENGTH, type HashName } from "@sealwright/formats/algorithms"
import { octetString, oid } from "@sealwright/formats/der-write"
import { ecdsaDerToRaw } from "@sealwright/formats/ecdsa"
import { ecdsaKey, signDigest } from "../../localstack/kms/ecdsa.ts"
import { signPss } from "../../localstack/kms/rsa.ts"

/** What a token does behind its calls, with Node's and the local KMS's cryptography. */
export const CKM = {
  RSA_GEN: 0x0,
  RSA: 0x1,
  PSS: 0xd,
  EC_GEN: 0x1040,
  ECDSA: 0x1041,
  EDWARDS_GEN: 0x1055,
  EDDSA: 0x1057,
}
const CURVE_NAMES = new Map(
  [
    ["1.2.840.10045.3.1.7", "P-256"],
    ["1.3.132.0.34", "P-384"],
    ["1.3.132.0.35", "P-521"],
  ].map(([dotted = "", name = ""]) => [Buffer.from(oid(dotted)).toString("hex"), name]),
)

/** @param publicAttributes gets the public key. @returns undefined for a curve that the token does not know */
export function newKeyPair(mechanism: number, publicAttributes: Map<number, Buffer>): KeyObject | undefined {
  const parameters = publicAttributes.get(CKA.EC_PARAMS)?.toString("hex") ?? ""
  if (mechanism === CKM.RSA_GEN) {
    const modulusLength = publicAttributes.get(CKA.MODULUS_BITS)?.readUInt32LE() ?? 0
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength })
    const { n = "", e = "" } = publicKey.export({ format: "jwk" })
    publicAttributes.set(CKA.MODULUS, Buffer.from(n, "base64url")).set(CKA.PUBLIC_EXPONENT, Buffer.from(e, "base64url"))
    return privateKey
  }
  if (mechanism === CKM.EDWARDS_GEN) {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519")
    const point = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url")
    publicAttributes.set(CKA.EC_POINT, Buffer.from(octetString(point)))
    return privateKey
  }
  const namedCurve = CURVE_NAMES.get(parameters)
  if (namedCurve === undefined) return undefined
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve })
  const { x = "", y = "" } = publicKey.export({ format: "jwk" })
  const point = Buffer.concat([Buffer.of(4), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")])
  publicAttributes.set(CKA.EC_POINT, Buffer.from(octetString(point)))
  return privateKey
}

/** @returns undefined for an input or parameters that the mechanism does not take */
export function signRaw(key: KeyObject, { mechanism, parameter }: Mechanism, input: Buffer): Uint8Array | undefined {
  if (mechanism === CKM.EDDSA) return sign(null, input, key)
  if (mechanism === CKM.RSA) return privateEncrypt(key, input)
  const hash = (Object.keys(HASH_LENGTH) as HashName[]).find((name) => HASH_LENGTH[name] === input.length)
  if (hash === undefined) return undefined
  if (mechanism === CKM.PSS) {
    if (parameter?.saltLen !== input.length) return undefined
    return signPss(key, hash, input)
  }
  return ecdsaDerToRaw(signDigest(ecdsaKey(key), input), { sha256: 32, sha384: 48, sha512: 66 }[hash])
}
