import { SCHEMES, type SignatureScheme } from "./algorithms.ts"
import { base64Decode, base64Encode, bytesEqual, concat, hexDecode, hexEncode } from "./bytes.ts"
import { canonicalJson } from "./canonical-json.ts"
import { FormatError } from "./errors.ts"
import type { TufKey } from "./tuf.ts"

export interface KeyMaterial {
  readonly scheme: SignatureScheme
  /** SubjectPublicKeyInfo, DER, in the one encoding that this reader takes for the key */
  readonly spki: Uint8Array
}

/** All of a SubjectPublicKeyInfo that comes before the raw key, for keys whose length is fixed. */
const SPKI_PREFIX: Partial<Record<SignatureScheme, { readonly prefix: Uint8Array; readonly keyBytes: number }>> = {
  "ecdsa-p256-sha256": { prefix: hexDecode("3059301306072a8648ce3d020106082a8648ce3d03010703420004"), keyBytes: 64 },
  "ecdsa-p384-sha384": { prefix: hexDecode("3076301006072a8648ce3d020106052b8104002203620004"), keyBytes: 96 },
  ed25519: { prefix: hexDecode("302a300506032b6570032100"), keyBytes: 32 },
}
const RSA_ALGORITHM = hexDecode("300d06092a864886f70d0101010500")
const EXPONENT_65537 = hexDecode("0203010001")
const PEM = /^-----BEGIN PUBLIC KEY-----\r?\n([A-Za-z0-9+/=\r\n]{1,8192})-----END PUBLIC KEY-----\s*$/

/**
 * The key behind a TUF key object, or undefined for one that this reader does not count: another keytype or scheme, or
 * an encoding other than the canonical one. One key has one encoding here, so that it can't count twice towards a
 * threshold: points uncompressed, RSA with exponent 65537 and minimal DER.
 */
export function keyMaterial(key: TufKey): KeyMaterial | undefined {
  const scheme = (Object.keys(SCHEMES) as SignatureScheme[]).find((name) => SCHEMES[name].tuf?.scheme === key.scheme)
  if (scheme === undefined) return undefined
  const keytype = SCHEMES[scheme].tuf?.keytype
  if (key.keytype !== keytype && !(keytype === "ecdsa" && key.keytype === key.scheme)) return undefined
  try {
    const spki = readSpki(scheme, key.public)
    return spki && { scheme, spki }
  } catch {
    return undefined
  }
}

function readSpki(scheme: SignatureScheme, text: string): Uint8Array | undefined {
  const pem = PEM.exec(text)?.[1]
  const form = SPKI_PREFIX[scheme]
  if (form === undefined) {
    const spki = pem === undefined ? undefined : base64Decode(pem.replace(/[\r\n]/g, ""))
    return spki !== undefined && isRsaSpki(spki) ? spki : undefined
  }
  const { prefix, keyBytes } = form
  if (pem === undefined) {
    const raw = hexDecode(text)
    const point = scheme === "ed25519" ? raw : raw.subarray(1)
    const marked = scheme === "ed25519" || raw[0] === 4
    return marked && point.length === keyBytes ? concat(prefix, point) : undefined
  }
  const spki = base64Decode(pem.replace(/[\r\n]/g, ""))
  const fits = spki.length === prefix.length + keyBytes && bytesEqual(spki.subarray(0, prefix.length), prefix)
  return fits ? spki : undefined
}

/** RFC 8017 A.1.1 in RFC 5280's SPKI, modulus of 2,048 to 8,192 bits; by rebuilding it around the modulus. */
function isRsaSpki(spki: Uint8Array): boolean {
  const modulusAt = 32
  const modulus = spki.subarray(modulusAt, spki.length - EXPONENT_65537.length)
  if (modulus.length < 257 || modulus.length > 1_025 || modulus[0] !== 0 || (modulus[1] as number) < 0x80) return false
  const publicKey = tlv(0x30, concat(tlv(0x02, modulus), EXPONENT_65537))
  return bytesEqual(spki, tlv(0x30, concat(RSA_ALGORITHM, tlv(0x03, concat(new Uint8Array(1), publicKey)))))
}

function tlv(tag: number, content: Uint8Array): Uint8Array {
  return concat(new Uint8Array([tag, 0x82, content.length >> 8, content.length & 0xff]), content)
}

/**
 * The key object for a public key, in the form that every TUF client takes.
 * @param spki SubjectPublicKeyInfo, DER
 * @throws FormatError ALGORITHM_UNSUPPORTED for a scheme that TUF has no name for, or a key that does not fit it
 */
export function tufKey(scheme: SignatureScheme, spki: Uint8Array): TufKey {
  const names = SCHEMES[scheme].tuf
  const raw = scheme === "ed25519" ? hexEncode(spki.subarray(12)) : undefined
  const key = names && { ...names, public: raw ?? publicKeyPem(spki) }
  const read = key && keyMaterial(key)
  if (key === undefined || read === undefined || !bytesEqual(read.spki, spki))
    throw new FormatError("ALGORITHM_UNSUPPORTED", `not a TUF key of ${scheme}`)
  return key
}

function publicKeyPem(spki: Uint8Array): string {
  const lines = base64Encode(spki).match(/.{1,64}/g) ?? []
  return `-----BEGIN PUBLIC KEY-----\n${lines.join("\n")}\n-----END PUBLIC KEY-----\n`
}

/** What the keyid is the SHA-256 of, in lower-case hex (§4.2.1). */
export function keyidInput(key: TufKey): Uint8Array {
  return canonicalJson(tufKeyJson(key))
}

export function tufKeyJson(key: TufKey): { keytype: string; scheme: string; keyval: { public: string } } {
  return { keytype: key.keytype, scheme: key.scheme, keyval: { public: key.public } }
}
