import { ServiceError } from "@sealwright/core/errors"
import { HASH_LENGTH, type HashName, type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"
import { ecdsaRawToDer } from "@sealwright/formats/ecdsa"
import { FormatError } from "@sealwright/formats/errors"
import { RSA_BITS } from "@sealwright/formats/key-scheme"
import { CURVES, type Curve, digestInfo, OID_ED25519 } from "@sealwright/formats/public-key-write"
import { digest } from "../platform.ts"
import { type Attribute, CKA, CKK, type Mechanism } from "./cryptoki.ts"

/** CKM_* of making key pairs */
const GENERATE = { rsa: 0x0, ec: 0x1040, ed25519: 0x1055 } as const
/** CK_RSA_PKCS_PSS_PARAMS (PKCS #11 v2.40 Mechanisms §2.1.8): CKM_SHA* and CKG_MGF1_SHA* */
const PSS: Record<HashName, { readonly hashAlg: number; readonly mgf: number }> = {
  sha256: { hashAlg: 0x250, mgf: 2 },
  sha384: { hashAlg: 0x260, mgf: 3 },
  sha512: { hashAlg: 0x270, mgf: 4 },
}
/** pkcs11js's name of that structure */
const PARAMETER_RSA_PSS = 5
const RSA_EXPONENT = Buffer.from([1, 0, 1])

const CURVE_OF: Partial<Record<SignatureScheme, Curve>> = {
  "ecdsa-p256-sha256": "P-256",
  "ecdsa-p384-sha384": "P-384",
  "ecdsa-p521-sha512": "P-521",
}

/** How a token makes a key pair of one scheme. */
export interface KeyKind {
  readonly mechanism: number
  readonly keyType: number
  readonly publicAttributes: readonly Attribute[]
  /** uses that the private key must not have, beside signing */
  readonly denied: readonly number[]
}

/** @throws ServiceError ALGORITHM_UNSUPPORTED */
export function keyKind(scheme: SignatureScheme): KeyKind {
  const { keyType, hash } = schemeRow(scheme)
  const curve = CURVE_OF[scheme]
  if (keyType === "rsa" && hash !== undefined)
    return {
      mechanism: GENERATE.rsa,
      keyType: CKK.RSA,
      publicAttributes: [
        { type: CKA.MODULUS_BITS, value: RSA_BITS[hash] },
        { type: CKA.PUBLIC_EXPONENT, value: RSA_EXPONENT },
      ],
      denied: [CKA.DECRYPT, CKA.UNWRAP],
    }
  if (curve !== undefined)
    return {
      mechanism: GENERATE.ec,
      keyType: CKK.EC,
      publicAttributes: [{ type: CKA.EC_PARAMS, value: Buffer.from(CURVES[curve].oid) }],
      denied: [CKA.DERIVE],
    }
  if (keyType === "ed25519")
    return {
      mechanism: GENERATE.ed25519,
      keyType: CKK.EC_EDWARDS,
      publicAttributes: [{ type: CKA.EC_PARAMS, value: Buffer.from(OID_ED25519) }],
      denied: [CKA.DERIVE],
    }
  throw unsupported(scheme)
}

/** @throws ServiceError ALGORITHM_UNSUPPORTED unless the token makes such keys and signs with them */
export function requireMechanisms(available: readonly number[], scheme: SignatureScheme): void {
  if (![keyKind(scheme).mechanism, schemeRow(scheme).pkcs11].every((mechanism) => available.includes(mechanism)))
    throw unsupported(scheme)
}

export function signMechanism(scheme: SignatureScheme): Mechanism {
  const { hash, padding, pkcs11: mechanism } = schemeRow(scheme)
  if (padding !== "pss" || hash === undefined) return { mechanism }
  return { mechanism, parameter: { type: PARAMETER_RSA_PSS, ...PSS[hash], saltLen: HASH_LENGTH[hash] } }
}

/** What C_Sign is given: the digest, for PKCS #1 v1.5 within its DigestInfo; the message itself for Ed25519. Always a copy. */
export function signInput(scheme: SignatureScheme, message: Uint8Array): Buffer {
  const { hash, padding } = schemeRow(scheme)
  if (hash === undefined) return Buffer.from(message)
  const value = digest(hash, message)
  return Buffer.from(padding === "pkcs1" ? digestInfo(hash, value) : value)
}

/**
 * @param raw of ECDSA r‖s, each as long as the curve's numbers (PKCS #11 v2.40 Mechanisms §2.3.1)
 * @throws ServiceError SIGNER_UNAVAILABLE when it has another form
 */
export function signatureOf(scheme: SignatureScheme, raw: Uint8Array): Uint8Array {
  const { fieldBytes } = schemeRow(scheme)
  if (fieldBytes === undefined) return new Uint8Array(raw)
  try {
    return ecdsaRawToDer(new Uint8Array(raw), fieldBytes)
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause
    throw new ServiceError("SIGNER_UNAVAILABLE", `the token gave ${raw.length} bytes as a signature`, { cause })
  }
}

function unsupported(scheme: SignatureScheme): ServiceError {
  return new ServiceError("ALGORITHM_UNSUPPORTED", `this token has no keys of ${scheme}`)
}
