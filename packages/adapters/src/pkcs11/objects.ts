import { ServiceError } from "@sealwright/core/errors"
import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { bytesEqual, hexDecode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { CURVES, type Curve, ecSpki, ed25519Spki, OID_ED25519, rsaSpki } from "@sealwright/formats/public-key-write"
import { parsePublicKey } from "@sealwright/formats/x509"
import { type Attribute, CKA, CKK, CKO, type Cryptoki, type Handle, readUlong } from "./cryptoki.ts"
import { isAboutKey } from "./failures.ts"
import type { Session } from "./token.ts"

const FOUND_AT_ONCE = 64
/** More objects than any home of ours makes; a module that never ends its list must not fill the memory. */
const MAX_OBJECTS = 10_000
const MAX_ATTRIBUTE_BYTES = 1_100

/** @throws ServiceError KEY_NOT_USABLE: more objects than a key home may hold */
export function findObjects(cryptoki: Cryptoki, session: Session, template: readonly Attribute[]): readonly Handle[] {
  const found: Handle[] = []
  cryptoki.C_FindObjectsInit(session.handle, template)
  try {
    for (;;) {
      const more = cryptoki.C_FindObjects(session.handle, FOUND_AT_ONCE)
      found.push(...more)
      if (more.length === 0) return found
      if (found.length > MAX_OBJECTS)
        throw new ServiceError("KEY_NOT_USABLE", `the token holds more than ${MAX_OBJECTS} objects`)
    }
  } finally {
    cryptoki.C_FindObjectsFinal(session.handle)
  }
}

export function readAttributes(
  cryptoki: Cryptoki,
  session: Session,
  object: Handle,
  ...types: readonly number[]
): readonly Buffer[] {
  const values = cryptoki.C_GetAttributeValue(
    session.handle,
    object,
    types.map((type) => ({ type })),
  )
  return values.map(({ value }) => {
    if (value.length > MAX_ATTRIBUTE_BYTES) throw new FormatError("TOO_LARGE", "an attribute of a key")
    return value
  })
}

export interface PublicKeyObject {
  readonly spki: Uint8Array
  /** what such a key signs here; of RSA the PSS scheme, since the key itself does not say */
  readonly scheme: SignatureScheme
}

/** @returns undefined for a key that no scheme of ours has, such as RSA-1024 or secp256k1, and for one that lacks attributes */
export function readPublicKey(cryptoki: Cryptoki, session: Session, object: Handle): PublicKeyObject | undefined {
  try {
    const spki = readSpki(cryptoki, session, object)
    const scheme = spki && schemeOfKey(spki)
    return spki && scheme && { spki, scheme }
  } catch (error) {
    if (error instanceof FormatError || isAboutKey(error)) return undefined
    throw error
  }
}

function readSpki(cryptoki: Cryptoki, session: Session, object: Handle): Uint8Array | undefined {
  const [type] = readAttributes(cryptoki, session, object, CKA.KEY_TYPE)
  const keyType = type && readUlong(type)
  if (keyType === CKK.RSA) {
    const [modulus, exponent] = readAttributes(cryptoki, session, object, CKA.MODULUS, CKA.PUBLIC_EXPONENT)
    return modulus && exponent && rsaSpki(modulus, exponent)
  }
  if (keyType !== CKK.EC && keyType !== CKK.EC_EDWARDS) return undefined
  const [parameters, point] = readAttributes(cryptoki, session, object, CKA.EC_PARAMS, CKA.EC_POINT)
  if (parameters === undefined || point === undefined) return undefined
  if (keyType === CKK.EC_EDWARDS) return isEd25519(parameters) ? ed25519Spki(unwrapPoint(point, 32)) : undefined
  const curve = (Object.keys(CURVES) as Curve[]).find((name) => bytesEqual(CURVES[name].oid, parameters))
  return curve && ecSpki(curve, unwrapPoint(point, 1 + 2 * CURVES[curve].fieldBytes))
}

/** PrintableString edwards25519, which v3.0 has beside the OBJECT IDENTIFIER (§2.3.10) */
const CURVE_NAME_ED25519 = hexDecode("130c656477617264733235353139")

function isEd25519(parameters: Uint8Array): boolean {
  return bytesEqual(parameters, OID_ED25519) || bytesEqual(parameters, CURVE_NAME_ED25519)
}

/** CKA_EC_POINT is a DER OCTET STRING in the specification; some tokens give the point itself, or a BIT STRING for Edwards keys. */
export function unwrapPoint(value: Uint8Array, length: number): Uint8Array {
  if (value.length === length) return new Uint8Array(value)
  const header = length < 0x80 ? [length] : [0x81, length]
  const forms = [
    [0x04, ...header],
    [0x03, ...(length + 1 < 0x80 ? [length + 1] : [0x81, length + 1]), 0],
  ]
  const form = forms.find(
    (start) => start.length + length === value.length && start.every((byte, i) => value[i] === byte),
  )
  if (form === undefined) throw new FormatError("ALGORITHM_UNSUPPORTED", "a point in no known encoding")
  return new Uint8Array(value.subarray(form.length))
}

const EC_SCHEMES = {
  "P-256": "ecdsa-p256-sha256",
  "P-384": "ecdsa-p384-sha384",
  "P-521": "ecdsa-p521-sha512",
} as const
const RSA_SCHEMES: ReadonlyMap<number, SignatureScheme> = new Map([
  [2048, "rsa-pss-sha256"],
  [3072, "rsa-pss-sha384"],
  [4096, "rsa-pss-sha512"],
])

function schemeOfKey(spki: Uint8Array): SignatureScheme | undefined {
  const key = parsePublicKey(spki)
  if (key.type === "ec") return EC_SCHEMES[key.curve]
  if (key.type === "rsa") return RSA_SCHEMES.get(key.modulusBits)
  return key.type === "ed25519" ? "ed25519" : undefined
}

/** Whether a key signs under a scheme: RSA keys do under both paddings, with the hash that goes with their size. */
export function signsUnder(key: PublicKeyObject, scheme: SignatureScheme): boolean {
  return key.scheme === scheme.replace("rsa-pkcs1", "rsa-pss")
}

/** A private key, and the public key beside it under the same CKA_ID. */
export interface KeyPairObjects {
  readonly privateKey: Handle
  readonly publicKey: Handle | undefined
  /** whether the private key may sign */
  readonly signs: boolean
  readonly label: string
  readonly id: Uint8Array
}

/** Private keys of the token that have all of `by`, each with its public key; keys for one act are not among them. */
export function findKeyPairs(
  cryptoki: Cryptoki,
  session: Session,
  by: { readonly label?: string | undefined; readonly id?: Uint8Array | undefined },
): readonly KeyPairObjects[] {
  const privateKeys = findObjects(cryptoki, session, [
    { type: CKA.CLASS, value: CKO.PRIVATE_KEY },
    { type: CKA.TOKEN, value: true },
    ...(by.label === undefined ? [] : [{ type: CKA.LABEL, value: Buffer.from(by.label) }]),
    ...(by.id === undefined ? [] : [{ type: CKA.ID, value: Buffer.from(by.id) }]),
  ])
  return privateKeys.flatMap((privateKey) => {
    try {
      const attributes = readAttributes(cryptoki, session, privateKey, CKA.LABEL, CKA.ID, CKA.SIGN)
      const [label = Buffer.alloc(0), id = Buffer.alloc(0), sign] = attributes
      const publicKeys = findObjects(cryptoki, session, [
        { type: CKA.CLASS, value: CKO.PUBLIC_KEY },
        { type: CKA.TOKEN, value: true },
        { type: CKA.ID, value: id },
      ])
      const publicKey = publicKeys.length === 1 ? publicKeys[0] : undefined
      return [{ privateKey, publicKey, signs: sign?.[0] === 1, label: label.toString("utf8"), id: new Uint8Array(id) }]
    } catch (error) {
      if (isAboutKey(error)) return []
      throw error
    }
  })
}
