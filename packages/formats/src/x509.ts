import { SCHEMES, type SignatureScheme, schemeRow } from "./algorithms.ts"
import { bytesEqual, compareBytes, hexEncode } from "./bytes.ts"
import { contextTag, DerReader, explicitTag, TAG } from "./der.ts"
import { FormatError } from "./errors.ts"
import { type AuthorityKeyIdentifier, type BasicConstraints, EXTENSION, readExtension } from "./x509-extensions.ts"

/** Longest certificate that is read, in bytes. */
export const MAX_CERTIFICATE_BYTES = 16_384
const MAX_EXTENSIONS = 32
const MAX_RDNS = 32
const MAX_SERIAL_BYTES = 20

/** One AttributeTypeAndValue. `value` is undefined for a string type that is neither UTF-8 nor ASCII. */
export interface NameAttribute {
  readonly oid: string
  readonly value: string | undefined
}

/** A distinguished name. Equality is equality of `der`. */
export interface Name {
  readonly der: Uint8Array
  /** in the order of the encoding; a multi-valued RDN has several attributes */
  readonly rdns: readonly (readonly NameAttribute[])[]
}

export type PublicKey =
  | { readonly type: "ec"; readonly curve: "P-256" | "P-384" | "P-521" }
  | { readonly type: "rsa"; readonly modulusBits: number }
  | { readonly type: "ed25519" }
  | { readonly type: "ml-dsa-44" | "ml-dsa-65" }
  | { readonly type: "other"; readonly oid: string }

export interface Extension {
  readonly critical: boolean
  /** content of extnValue, DER */
  readonly value: Uint8Array
}

/** A certificate of RFC 5280's profile; every byte array is a view of `der`. */
export interface Certificate {
  readonly der: Uint8Array
  readonly tbs: Uint8Array
  readonly serial: bigint
  /** content octets of the serial's INTEGER */
  readonly serialBytes: Uint8Array
  /** undefined: an algorithm outside the table of algorithms, so nothing can be said about the signature */
  readonly signatureScheme: SignatureScheme | undefined
  readonly signature: Uint8Array
  readonly issuer: Name
  readonly subject: Name
  readonly notBefore: Date
  readonly notAfter: Date
  /** SubjectPublicKeyInfo, DER */
  readonly spki: Uint8Array
  readonly key: PublicKey
  readonly extensions: ReadonlyMap<string, Extension>
  readonly basicConstraints: BasicConstraints | undefined
  /** bits of RFC 5280 §4.2.1.3 as a mask: bit n of the standard is `1 << n` */
  readonly keyUsage: number | undefined
  readonly extKeyUsage: readonly string[] | undefined
  readonly subjectKeyIdentifier: Uint8Array | undefined
  readonly authorityKeyIdentifier: AuthorityKeyIdentifier | undefined
  /** critical extensions that this reader does not interpret */
  readonly unknownCritical: readonly string[]
}

/**
 * Reads one DER certificate, version 3.
 * @throws FormatError TOO_LARGE above 16 KiB; DER_MALFORMED; CERTIFICATE_MALFORMED for DER that breaks RFC 5280 §4.1 and §4.2: another
 * version, two different signature algorithms, a serial that is not positive or above 20 bytes, a repeated extension, an extension value that is not of its type
 */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_CERTIFICATE_BYTES) throw new FormatError("TOO_LARGE", "a certificate above 16 KiB")
  const outer = new DerReader(der)
  const certificate = outer.enter(TAG.SEQUENCE)
  outer.finish()
  const tbs = certificate.element(TAG.SEQUENCE)
  const inner = new DerReader(der, certificate.start, certificate.stop)
  const outerAlgorithm = certificate.element(TAG.SEQUENCE)
  const signature = certificate.wholeBits()
  certificate.finish()

  const version = inner.enter(explicitTag(0))
  if (version.smallInteger() !== 2) throw malformed("a version other than 3")
  version.finish()
  const serialBytes = inner.integerBytes()
  if (serialBytes.length > MAX_SERIAL_BYTES || (serialBytes[0] as number) >= 0x80 || isZero(serialBytes))
    throw malformed("a serial number that is not positive or above 20 bytes")
  const innerAlgorithm = inner.element(TAG.SEQUENCE)
  if (!bytesEqual(innerAlgorithm, outerAlgorithm)) throw malformed("two different signature algorithms")
  const issuer = readName(inner)
  const validity = inner.enter(TAG.SEQUENCE)
  const notBefore = validity.time()
  const notAfter = validity.time()
  validity.finish()
  const subject = readName(inner)
  const spki = inner.element(TAG.SEQUENCE)
  const key = parsePublicKey(spki)
  if (inner.is(contextTag(1)) || inner.is(contextTag(2))) throw malformed("a unique identifier")
  const extensions = readExtensions(inner)
  inner.finish()

  const unknownCritical: string[] = []
  for (const [oid, extension] of extensions)
    if (extension.critical && !KNOWN_EXTENSIONS.has(oid)) unknownCritical.push(oid)
  return {
    der,
    tbs,
    serialBytes,
    get serial() {
      return BigInt(`0x${hexEncode(serialBytes)}`)
    },
    signatureScheme: schemeOf(outerAlgorithm),
    signature,
    issuer,
    subject,
    notBefore,
    notAfter,
    spki,
    key,
    extensions,
    basicConstraints: readExtension(extensions, EXTENSION.basicConstraints),
    keyUsage: readExtension(extensions, EXTENSION.keyUsage),
    extKeyUsage: readExtension(extensions, EXTENSION.extKeyUsage),
    subjectKeyIdentifier: readExtension(extensions, EXTENSION.subjectKeyIdentifier),
    authorityKeyIdentifier: readExtension(extensions, EXTENSION.authorityKeyIdentifier),
    unknownCritical,
  }
}

/** Extensions whose meaning this package and the verifier's path check know. */
const KNOWN_EXTENSIONS: ReadonlySet<string> = new Set([
  EXTENSION.basicConstraints.oid,
  EXTENSION.keyUsage.oid,
  EXTENSION.extKeyUsage.oid,
  EXTENSION.subjectAltName.oid,
])

function readExtensions(tbs: DerReader): ReadonlyMap<string, Extension> {
  const extensions = new Map<string, Extension>()
  if (tbs.done) return extensions
  const explicit = tbs.enter(explicitTag(3))
  const list = explicit.enter(TAG.SEQUENCE)
  explicit.finish()
  if (list.done) throw malformed("an empty list of extensions")
  while (!list.done) {
    const [oid, extension] = readExtensionField(list)
    if (extensions.has(oid)) throw malformed(`extension ${oid} twice`)
    if (extensions.size === MAX_EXTENSIONS) throw new FormatError("TOO_LARGE", "more than 32 extensions")
    extensions.set(oid, extension)
  }
  return extensions
}

/** One Extension of RFC 5280 §4.1, as certificates and CRLs have it: a FALSE that is written out is refused (X.690 §11.5). */
export function readExtensionField(list: DerReader): readonly [string, Extension] {
  const field = list.enter(TAG.SEQUENCE)
  const oid = field.oid()
  const critical = field.is(TAG.BOOLEAN)
  if (critical && !field.boolean()) throw new FormatError("DER_MALFORMED", "a default value that is written out")
  const value = field.octets()
  field.finish()
  return [oid, { critical, value }]
}

/**
 * Reads a Name (RFC 5280 §4.1.2.4).
 * @throws FormatError DER_MALFORMED, TOO_LARGE above 32 RDNs
 */
export function readName(reader: DerReader): Name {
  const der = reader.element(TAG.SEQUENCE)
  const list = new DerReader(reader.bytes, reader.start, reader.stop)
  const rdns: (readonly NameAttribute[])[] = []
  while (!list.done) {
    const rdn = list.enter(TAG.SET)
    const attributes: NameAttribute[] = []
    let previous: Uint8Array | undefined
    do {
      const element = rdn.element(TAG.SEQUENCE)
      if (previous !== undefined && compareBytes(previous, element) >= 0)
        throw new FormatError("DER_MALFORMED", "a SET OF out of order")
      previous = element
      const attribute = new DerReader(rdn.bytes, rdn.start, rdn.stop)
      attributes.push({ oid: attribute.oid(), value: readAttributeValue(attribute) })
      attribute.finish()
    } while (!rdn.done)
    if (rdns.length === MAX_RDNS) throw new FormatError("TOO_LARGE", "more than 32 RDNs")
    rdns.push(attributes)
  }
  return { der, rdns }
}

function readAttributeValue(attribute: DerReader): string | undefined {
  if (attribute.is(TAG.UTF8_STRING) || attribute.is(TAG.PRINTABLE_STRING) || attribute.is(TAG.IA5_STRING))
    return attribute.text()
  attribute.next()
  return undefined
}

const OID_EC = "1.2.840.10045.2.1"
const OID_RSA = "1.2.840.113549.1.1.1"
const OID_ED25519 = "1.3.101.112"
/** RFC 9881 §2, and the lengths of FIPS 204, table 2 */
const ML_DSA: Readonly<Record<string, { readonly type: "ml-dsa-44" | "ml-dsa-65"; readonly keyBytes: number }>> = {
  "2.16.840.1.101.3.4.3.17": { type: "ml-dsa-44", keyBytes: 1312 },
  "2.16.840.1.101.3.4.3.18": { type: "ml-dsa-65", keyBytes: 1952 },
}
const CURVES: Record<string, { readonly curve: "P-256" | "P-384" | "P-521"; readonly fieldBytes: number }> = {
  "1.2.840.10045.3.1.7": { curve: "P-256", fieldBytes: 32 },
  "1.3.132.0.34": { curve: "P-384", fieldBytes: 48 },
  "1.3.132.0.35": { curve: "P-521", fieldBytes: 66 },
}

/**
 * The kind of key in a SubjectPublicKeyInfo. Points are uncompressed and RSA exponents odd and above 1.
 * @throws FormatError DER_MALFORMED, CERTIFICATE_MALFORMED
 */
export function parsePublicKey(spki: Uint8Array): PublicKey {
  const outer = new DerReader(spki)
  const fields = outer.enter(TAG.SEQUENCE)
  outer.finish()
  const algorithm = fields.enter(TAG.SEQUENCE)
  const bits = fields.wholeBits()
  fields.finish()
  const oid = algorithm.oid()
  if (oid === OID_EC) {
    if (!algorithm.is(TAG.OID)) throw malformed("an elliptic curve that is not named")
    const curveOid = algorithm.oid()
    algorithm.finish()
    const known = CURVES[curveOid]
    if (known === undefined) return { type: "other", oid: curveOid }
    if (bits.length !== 1 + 2 * known.fieldBytes || bits[0] !== 4) throw malformed("a point that is not uncompressed")
    return { type: "ec", curve: known.curve }
  }
  if (oid === OID_RSA) {
    algorithm.null()
    algorithm.finish()
    return { type: "rsa", modulusBits: rsaModulusBits(bits) }
  }
  if (oid === OID_ED25519) {
    algorithm.finish()
    if (bits.length !== 32) throw malformed("an Ed25519 key that is not 32 bytes")
    return { type: "ed25519" }
  }
  const mlDsa = ML_DSA[oid]
  if (mlDsa !== undefined) {
    algorithm.finish()
    if (bits.length !== mlDsa.keyBytes) throw malformed(`an ML-DSA key that is not ${mlDsa.keyBytes} bytes`)
    return { type: mlDsa.type }
  }
  return { type: "other", oid }
}

function rsaModulusBits(bits: Uint8Array): number {
  const outer = new DerReader(bits)
  const fields = outer.enter(TAG.SEQUENCE)
  outer.finish()
  const modulus = fields.integer()
  const exponent = fields.integer()
  fields.finish()
  if (modulus <= 0n || (modulus & 1n) === 0n || exponent < 3n || (exponent & 1n) === 0n)
    throw malformed("an RSA key with an even or negative number")
  return modulus.toString(2).length
}

/** RFC 4055 §2.1 lets the parameters of a hash be absent where the table has NULL. */
const SCHEMES_BY_ALGORITHM: ReadonlyMap<string, SignatureScheme> = new Map(
  (Object.keys(SCHEMES) as SignatureScheme[]).flatMap((scheme) => {
    const hex = hexEncode(schemeRow(scheme).x509)
    const found: [string, SignatureScheme][] = [[hex, scheme]]
    if (scheme.startsWith("rsa-pss")) found.push([withoutNulls(hex), scheme])
    return found
  }),
)

function withoutNulls(pssHex: string): string {
  return pssHex
    .replaceAll(/300d(0609608648016503040\w{3})0500/g, "300b$1")
    .replace("301a06092a", "301806092a")
    .replace("a00f", "a00d")
    .replace("a11c", "a11a")
    .replace("3034a0", "3030a0")
    .replace(/^3041/, "303d")
}

/** The scheme of an AlgorithmIdentifier, DER; undefined when it is not in the table of algorithms. */
export function schemeOf(algorithm: Uint8Array): SignatureScheme | undefined {
  return SCHEMES_BY_ALGORITHM.get(hexEncode(algorithm))
}

/** Attribute of a name that has it exactly once and only in single-valued RDNs; undefined otherwise. */
export function nameAttribute(name: Name, oid: string): string | undefined {
  let found: string | undefined
  for (const rdn of name.rdns)
    for (const attribute of rdn) {
      if (attribute.oid !== oid) continue
      if (found !== undefined || rdn.length !== 1 || attribute.value === undefined) return undefined
      found = attribute.value
    }
  return found
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.length === 1 && bytes[0] === 0
}

function malformed(detail: string): FormatError {
  return new FormatError("CERTIFICATE_MALFORMED", detail)
}

export const ATTRIBUTE = {
  commonName: "2.5.4.3",
  country: "2.5.4.6",
  stateOrProvince: "2.5.4.8",
  organization: "2.5.4.10",
} as const
