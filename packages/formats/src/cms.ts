import { HASH_LENGTH, type HashName, type SignatureScheme, schemeRow } from "./algorithms.ts"
import { bytesEqual, compareBytes, hexDecode, hexEncode } from "./bytes.ts"
import { DerReader, explicitTag, TAG } from "./der.ts"
import { der, explicit, integer, octetString, oid, sequence, set, time } from "./der-write.ts"
import { FormatError } from "./errors.ts"
import {
  digestAlgorithm,
  MAX_TIMESTAMP_REPLY_BYTES,
  parseTstInfo,
  readDigestAlgorithm,
  type TstInfo,
} from "./timestamp.ts"
import { type Certificate, MAX_CERTIFICATE_BYTES, parseCertificate, schemeOf } from "./x509.ts"

const OID = {
  signedData: "1.2.840.113549.1.7.2",
  tstInfo: "1.2.840.113549.1.9.16.1.4",
  contentType: "1.2.840.113549.1.9.3",
  messageDigest: "1.2.840.113549.1.9.4",
  signingTime: "1.2.840.113549.1.9.5",
  signingCertificateV2: "1.2.840.113549.1.9.16.2.47",
} as const

/** Most certificates that a token may carry. */
export const MAX_TOKEN_CERTIFICATES = 10
const MAX_ATTRIBUTES = 16

/** What the authority's key signs: signed attributes of RFC 5652 §5.3, as a SET OF, with the certificate's digest of RFC 5816. */
export interface SignedAttributesFields {
  /** digest of the TSTInfo under the hash of the signing scheme */
  readonly messageDigest: Uint8Array
  /** SHA-256 of the signing certificate, DER */
  readonly certificateSha256: Uint8Array
  readonly signingTime: Date
}

/** The SET OF whose bytes are signed; the token carries it under another tag. */
export function signedAttributes(fields: SignedAttributesFields): Uint8Array {
  const attribute = (name: keyof typeof OID, value: Uint8Array) => sequence(oid(OID[name]), set(value))
  return set(
    attribute("contentType", oid(OID.tstInfo)),
    attribute("signingTime", time(fields.signingTime)),
    attribute("messageDigest", octetString(fields.messageDigest)),
    // ESSCertIDv2: SHA-256 is the default hash and so not written (RFC 5035 §4).
    attribute("signingCertificateV2", sequence(sequence(sequence(octetString(fields.certificateSha256))))),
  )
}

export interface TokenFields {
  /** TSTInfo, DER */
  readonly tstInfo: Uint8Array
  /** what `signedAttributes` gave */
  readonly signedAttributes: Uint8Array
  readonly scheme: SignatureScheme
  /** over `signedAttributes`; ECDSA: DER Ecdsa-Sig-Value */
  readonly signature: Uint8Array
  readonly signer: Certificate
  /** the signer's first; empty when the request wants none */
  readonly certificates: readonly Uint8Array[]
}

/**
 * A TimeStampToken (RFC 3161 §2.4.2): ContentInfo with SignedData of one signer. `digestAlgorithm` is the hash of the signature's algorithm, since
 * OpenSSL verifies by it.
 * @throws FormatError ALGORITHM_UNSUPPORTED for a scheme without a hash of its own
 */
export function assembleToken(fields: TokenFields): Uint8Array {
  const { hash, x509 } = schemeRow(fields.scheme)
  if (hash === undefined) throw new FormatError("ALGORITHM_UNSUPPORTED", `no timestamps with ${fields.scheme}`)
  const attributes = new DerReader(fields.signedAttributes).content(TAG.SET)
  const { certificates, signer } = fields
  const signerInfo = sequence(
    integer(1n),
    sequence(signer.issuer.der, der(TAG.INTEGER, signer.serialBytes)),
    digestAlgorithm(hash),
    explicit(0, attributes),
    x509,
    octetString(fields.signature),
  )
  return sequence(
    oid(OID.signedData),
    explicit(
      0,
      sequence(
        integer(3n),
        set(digestAlgorithm(hash)),
        sequence(oid(OID.tstInfo), explicit(0, octetString(fields.tstInfo))),
        ...(certificates.length === 0 ? [] : [explicit(0, ...[...certificates].sort(compareBytes))]),
        set(signerInfo),
      ),
    ),
  )
}

/** A TimeStampToken of the profile that is read here; nothing of it is proven yet. */
export interface TimestampToken {
  readonly info: TstInfo
  /** the TSTInfo's bytes, whose digest the signed attributes hold */
  readonly content: Uint8Array
  readonly scheme: SignatureScheme
  /** hash of `scheme`, by which `messageDigest` was made */
  readonly hash: HashName
  readonly messageDigest: Uint8Array
  /** what the signature covers: the signed attributes as a SET OF */
  readonly signedAttributes: Uint8Array
  readonly signature: Uint8Array
  /** the signer's certificate by issuer and serial */
  readonly signerIssuer: Uint8Array
  readonly signerSerial: Uint8Array
  /** the signer's certificate by its digest (RFC 5816) */
  readonly signerDigest: { readonly hash: HashName; readonly digest: Uint8Array }
  /** all that the token carries, in its order */
  readonly certificates: readonly Certificate[]
}

/**
 * Reads a TimeStampToken by one strict profile: DER, SignedData version 3 over a TSTInfo, one signer named by issuer and serial, SHA-2, signed
 * attributes in DER order with content type, message digest and SigningCertificateV2, each once. Unsigned attributes and CRLs are passed over.
 * @throws FormatError TOO_LARGE above 64 KiB or ten certificates; DER_MALFORMED; CERTIFICATE_MALFORMED; ALGORITHM_UNSUPPORTED; VERSION_UNKNOWN;
 * TIMESTAMP_MALFORMED for all else that breaks the profile
 */
export function parseTimestampToken(bytes: Uint8Array): TimestampToken {
  if (bytes.length > MAX_TIMESTAMP_REPLY_BYTES) throw new FormatError("TOO_LARGE", "a timestamp token above 64 KiB")
  const outer = new DerReader(bytes)
  const contentInfo = outer.enter(TAG.SEQUENCE)
  outer.finish()
  if (contentInfo.oid() !== OID.signedData) throw malformed("a content type that is not SignedData")
  const wrapped = contentInfo.enter(explicitTag(0))
  contentInfo.finish()
  const fields = wrapped.enter(TAG.SEQUENCE)
  wrapped.finish()
  if (fields.smallInteger() !== 3) throw new FormatError("VERSION_UNKNOWN", "a SignedData that is not version 3")
  fields.take(TAG.SET)
  const content = readContent(fields)
  const certificates = fields.is(explicitTag(0)) ? readCertificates(fields.enter(explicitTag(0))) : []
  if (fields.is(explicitTag(1))) fields.take(explicitTag(1))
  const signers = fields.enter(TAG.SET)
  fields.finish()
  const signer = readSignerInfo(signers.enter(TAG.SEQUENCE))
  if (!signers.done) throw malformed("more than one signer")
  return { info: parseTstInfo(content), content, certificates, ...signer }
}

function readContent(fields: DerReader): Uint8Array {
  const encapsulated = fields.enter(TAG.SEQUENCE)
  if (encapsulated.oid() !== OID.tstInfo) throw malformed("a content that is not a TSTInfo")
  const wrapped = encapsulated.enter(explicitTag(0))
  encapsulated.finish()
  const content = wrapped.octets()
  wrapped.finish()
  return content
}

function readCertificates(list: DerReader): Certificate[] {
  const certificates: Certificate[] = []
  while (!list.done) {
    if (certificates.length === MAX_TOKEN_CERTIFICATES) throw new FormatError("TOO_LARGE", "more than ten certificates")
    const der = list.element(TAG.SEQUENCE)
    if (der.length > MAX_CERTIFICATE_BYTES) throw new FormatError("TOO_LARGE", "a certificate above 16 KiB")
    certificates.push(parseCertificate(der))
  }
  return certificates
}

function readSignerInfo(fields: DerReader): Omit<TimestampToken, "info" | "content" | "certificates"> {
  if (fields.smallInteger() !== 1) throw malformed("a signer that is not named by issuer and serial")
  const signer = fields.enter(TAG.SEQUENCE)
  const signerIssuer = signer.element(TAG.SEQUENCE)
  const signerSerial = signer.integerBytes()
  signer.finish()
  const hash = readDigestAlgorithm(fields)
  if (hash === undefined) throw new FormatError("ALGORITHM_UNSUPPORTED", "a digest outside SHA-2")
  const attributes = fields.content(explicitTag(0))
  const scheme = readSignatureAlgorithm(fields.element(TAG.SEQUENCE), hash)
  const signature = fields.octets()
  if (fields.is(explicitTag(1))) fields.take(explicitTag(1))
  fields.finish()
  return {
    signerIssuer,
    signerSerial,
    hash,
    scheme,
    signature,
    signedAttributes: der(TAG.SET, attributes),
    ...readAttributes(attributes, hash),
  }
}

/** rsaEncryption, as most authorities write PKCS #1 v1.5 (RFC 5754 §3.2): the hash is the digest algorithm's. */
const RSA_ENCRYPTION = hexDecode("300d06092a864886f70d0101010500")

/** The signature's algorithm and `digestAlgorithm` have one hash; OpenSSL takes nothing else. */
function readSignatureAlgorithm(algorithm: Uint8Array, hash: HashName): SignatureScheme {
  const scheme = bytesEqual(algorithm, RSA_ENCRYPTION) ? (`rsa-pkcs1-${hash}` as const) : schemeOf(algorithm)
  if (scheme === undefined)
    throw new FormatError("ALGORITHM_UNSUPPORTED", "a signature outside the table of algorithms")
  if (schemeRow(scheme).hash !== hash) throw malformed("a signature with another hash than the digest algorithm")
  return scheme
}

function readAttributes(content: Uint8Array, hash: HashName): Pick<TimestampToken, "messageDigest" | "signerDigest"> {
  const list = new DerReader(content)
  const values = new Map<string, DerReader>()
  let previous: Uint8Array | undefined
  while (!list.done) {
    const element = list.element(TAG.SEQUENCE)
    if (previous !== undefined && compareBytes(previous, element) >= 0)
      throw new FormatError("DER_MALFORMED", "a SET OF out of order")
    previous = element
    if (values.size === MAX_ATTRIBUTES) throw new FormatError("TOO_LARGE", "more than 16 signed attributes")
    const attribute = new DerReader(list.bytes, list.start, list.stop)
    const name = attribute.oid()
    const value = attribute.enter(TAG.SET)
    attribute.finish()
    if (values.has(name)) throw malformed(`signed attribute ${name} twice`)
    values.set(name, value)
  }
  const only = (name: "contentType" | "messageDigest" | "signingCertificateV2"): DerReader => {
    const value = values.get(OID[name])
    if (value === undefined) throw malformed(`no signed attribute ${name}`)
    return value
  }
  const contentType = only("contentType")
  if (contentType.oid() !== OID.tstInfo) throw malformed("a signed content type that is not a TSTInfo")
  contentType.finish()
  const digestValue = only("messageDigest")
  const messageDigest = digestValue.octets()
  digestValue.finish()
  if (messageDigest.length !== HASH_LENGTH[hash]) throw malformed("a message digest of another length")
  return { messageDigest, signerDigest: readSigningCertificate(only("signingCertificateV2")) }
}

/** SigningCertificateV2 (RFC 5035 §3): the first ESSCertIDv2 names the signer's certificate; policies and further ones are passed over. */
function readSigningCertificate(value: DerReader): TimestampToken["signerDigest"] {
  const fields = value.enter(TAG.SEQUENCE)
  value.finish()
  const first = fields.enter(TAG.SEQUENCE).enter(TAG.SEQUENCE)
  const hash = first.is(TAG.SEQUENCE) ? readDigestAlgorithm(first) : "sha256"
  if (hash === undefined) throw new FormatError("ALGORITHM_UNSUPPORTED", "a certificate's digest outside SHA-2")
  const digest = first.octets()
  if (digest.length !== HASH_LENGTH[hash]) throw malformed("a certificate's digest of another length")
  return { hash, digest }
}

/** Whether a certificate is the one that the token names by issuer and serial; its digest is another question. */
export function isNamedSigner(token: TimestampToken, certificate: Certificate): boolean {
  return (
    bytesEqual(token.signerIssuer, certificate.issuer.der) &&
    hexEncode(token.signerSerial) === hexEncode(certificate.serialBytes)
  )
}

function malformed(detail: string): FormatError {
  return new FormatError("TIMESTAMP_MALFORMED", detail)
}
