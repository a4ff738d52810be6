import { type SignatureScheme, schemeRow } from "./algorithms.ts"
import { utf8 } from "./bytes.ts"
import { TAG } from "./der.ts"
import {
  ascii,
  bitString,
  boolean,
  explicit,
  implicit,
  integer,
  namedBits,
  octetString,
  oid,
  printableString,
  sequence,
  set,
  time,
  utf8String,
} from "./der-write.ts"
import { FormatError } from "./errors.ts"
import { ATTRIBUTE } from "./x509.ts"
import { CERTIFICATE_POLICY, EXTENSION, KEY_PURPOSE, KEY_USAGE } from "./x509-extensions.ts"

/** @property country two capital letters (ISO 3166) */
export interface DistinguishedName {
  readonly country: string
  readonly stateOrProvince: string
  readonly organization: string
  readonly commonName: string
}

/** What every certificate of ours has. Times are cut to whole seconds. */
export interface CertificateFields {
  /** positive; bytes are the magnitude, big-endian, 20 at most */
  readonly serial: Uint8Array | bigint
  /** the algorithm of the key that will sign */
  readonly scheme: SignatureScheme
  /** Name, DER: byte for byte the subject of the issuer's certificate */
  readonly issuer: Uint8Array
  readonly notBefore: Date
  readonly notAfter: Date
  /** Name, DER */
  readonly subject: Uint8Array
  /** SubjectPublicKeyInfo, DER */
  readonly spki: Uint8Array
}

export interface LeafFields extends CertificateFields {
  /** of `subjectKeyIdentifier` */
  readonly subjectKeyId: Uint8Array
  readonly authorityKeyId: Uint8Array
  /** `profile@public-host` */
  readonly email: string
  /** URL that the Fulcio issuer extensions carry */
  readonly issuerUrl: string
  /** plain http, as stock clients fetch no other */
  readonly crlUrl: string
}

/** What differs between the leaves of one issuer and profile, and what does not. */
export type OwnLeafFields = Pick<LeafFields, "serial" | "notBefore" | "notAfter" | "spki" | "subjectKeyId">
export type SharedLeafFields = Omit<LeafFields, keyof OwnLeafFields>

export interface RootFields extends Omit<CertificateFields, "issuer"> {
  readonly subjectKeyId: Uint8Array
  readonly pathLength?: number
}

export interface IssuingCaFields extends CertificateFields {
  readonly subjectKeyId: Uint8Array
  readonly authorityKeyId: Uint8Array
  readonly pathLength: number
  readonly crlUrl: string
  /** whether signatures below count with a timestamp alone; default: false */
  readonly timestampRequired?: boolean
}

export interface TimestampAuthorityFields extends CertificateFields {
  readonly subjectKeyId: Uint8Array
  readonly authorityKeyId: Uint8Array
  readonly crlUrl: string
}

export type OcspResponderFields = Omit<TimestampAuthorityFields, "crlUrl">

/** Name of RFC 5280 §4.1.2.4 in the order C, ST, O, CN; the country is a PrintableString, the others UTF-8. */
export function distinguishedName(name: DistinguishedName): Uint8Array {
  if (!/^[A-Z]{2}$/.test(name.country)) throw unencodable("a country that is not two capital letters")
  for (const text of [name.stateOrProvince, name.organization, name.commonName])
    if (text === "" || text.length > 64) throw unencodable("an attribute that is empty or above 64 characters")
  return sequence(
    set(sequence(oid(ATTRIBUTE.country), printableString(name.country))),
    set(sequence(oid(ATTRIBUTE.stateOrProvince), utf8String(name.stateOrProvince))),
    set(sequence(oid(ATTRIBUTE.organization), utf8String(name.organization))),
    set(sequence(oid(ATTRIBUTE.commonName), utf8String(name.commonName))),
  )
}

/**
 * To-be-signed bytes of certificates for one signature each (D2): code signing, not a CA, one rfc822Name. What they have in common is encoded once.
 * @throws FormatError CERTIFICATE_MALFORMED for a name or URL that the profile forbids; the function returned: for a serial or validity
 */
export function leafTbsWriter(shared: SharedLeafFields): (own: OwnLeafFields) => Uint8Array {
  const { scheme, issuer, subject } = shared
  const before = [LEAF_KEY_USAGE, CODE_KEY_PURPOSE]
  const after = [
    authorityKeyIdExtension(shared.authorityKeyId),
    extension(EXTENSION.subjectAltName.oid, false, sequence(implicit(1, ascii(shared.email)))),
    crlUrlExtension(shared.crlUrl),
    extension(EXTENSION.fulcioIssuer.oid, false, utf8(shared.issuerUrl)),
    extension(EXTENSION.fulcioIssuerV2.oid, false, utf8String(shared.issuerUrl)),
  ]
  return ({ serial, notBefore, notAfter, spki, subjectKeyId }) =>
    certificateTbs({ serial, scheme, issuer, notBefore, notAfter, subject, spki }, [
      ...before,
      subjectKeyIdExtension(subjectKeyId),
      ...after,
    ])
}

/** One certificate's, as `leafTbsWriter` makes them. */
export function leafTbs(fields: LeafFields): Uint8Array {
  return leafTbsWriter(fields)(fields)
}

/** To-be-signed bytes of a self-signed root. */
export function rootTbs(fields: RootFields): Uint8Array {
  return certificateTbs({ ...fields, issuer: fields.subject }, [
    caExtension(fields.pathLength),
    CA_KEY_USAGE,
    subjectKeyIdExtension(fields.subjectKeyId),
    authorityKeyIdExtension(fields.subjectKeyId),
  ])
}

/**
 * To-be-signed bytes of an issuing CA's certificate. Its key purpose holds for all below it (as CAs and their clients read extKeyUsage of a CA): whoever
 * steals an issuer's key cannot make a timestamp authority with it.
 */
export function issuingCaTbs(fields: IssuingCaFields): Uint8Array {
  return certificateTbs(fields, [
    ...issuingCaRequestExtensions(fields.subjectKeyId, fields.pathLength),
    authorityKeyIdExtension(fields.authorityKeyId),
    crlUrlExtension(fields.crlUrl),
    ...(fields.timestampRequired ? [TIMESTAMP_REQUIRED_POLICY] : []),
  ])
}

/** To-be-signed bytes of a timestamp authority's certificate: extKeyUsage critical and nothing but timeStamping (RFC 3161 §2.3). */
export function timestampAuthorityTbs(fields: TimestampAuthorityFields): Uint8Array {
  return certificateTbs(fields, [
    LEAF_KEY_USAGE,
    TIMESTAMP_KEY_PURPOSE,
    subjectKeyIdExtension(fields.subjectKeyId),
    authorityKeyIdExtension(fields.authorityKeyId),
    crlUrlExtension(fields.crlUrl),
  ])
}

/**
 * To-be-signed bytes of a delegated OCSP responder's certificate (RFC 6960 §4.2.2.2): extKeyUsage critical and nothing but OCSPSigning. Clients don't
 * ask whether it is revoked (id-pkix-ocsp-nocheck, §4.2.2.2.1), so it lives for weeks.
 */
export function ocspResponderTbs(fields: OcspResponderFields): Uint8Array {
  return certificateTbs(fields, [
    LEAF_KEY_USAGE,
    extension(EXTENSION.extKeyUsage.oid, true, sequence(oid(KEY_PURPOSE.ocspSigning))),
    subjectKeyIdExtension(fields.subjectKeyId),
    authorityKeyIdExtension(fields.authorityKeyId),
    extension(OCSP_NO_CHECK, false, Uint8Array.of(TAG.NULL, 0)),
  ])
}

/** What an issuing CA asks an outside authority for (PKCS #10); the authority adds what names itself. */
export function issuingCaRequestExtensions(subjectKeyId: Uint8Array, pathLength: number): readonly Uint8Array[] {
  return [caExtension(pathLength), CA_KEY_USAGE, CODE_KEY_PURPOSE, subjectKeyIdExtension(subjectKeyId)]
}

/**
 * TBSCertificate of RFC 5280 §4.1 with these extensions, each an Extension in DER.
 * @throws FormatError CERTIFICATE_MALFORMED for a serial that is not positive or above 20 bytes and for a validity that ends before it begins
 */
export function certificateTbs(fields: CertificateFields, extensions: readonly Uint8Array[]): Uint8Array {
  const serial = integer(fields.serial)
  if (serial.length > 22 || (serial[2] as number) >= 0x80 || (serial.length === 3 && serial[2] === 0))
    throw unencodable("a serial number that is not positive or above 20 bytes")
  if (fields.notAfter.getTime() < fields.notBefore.getTime()) throw unencodable("a validity that ends before it begins")
  return sequence(
    VERSION_3,
    serial,
    schemeRow(fields.scheme).x509,
    fields.issuer,
    sequence(time(fields.notBefore), time(fields.notAfter)),
    fields.subject,
    fields.spki,
    explicit(3, sequence(...extensions)),
  )
}

/**
 * @param scheme the same as in `tbs`
 * @param signature over `tbs`; ECDSA: DER Ecdsa-Sig-Value (RFC 3279 §2.2.3)
 */
export function assembleCertificate(tbs: Uint8Array, scheme: SignatureScheme, signature: Uint8Array): Uint8Array {
  return sequence(tbs, schemeRow(scheme).x509, bitString(signature))
}

/** One Extension, DER. `value` becomes the content of extnValue. */
export function extension(dotted: string, critical: boolean, value: Uint8Array): Uint8Array {
  const id = oid(dotted)
  return critical ? sequence(id, boolean(true), octetString(value)) : sequence(id, octetString(value))
}

export function authorityKeyIdExtension(keyId: Uint8Array): Uint8Array {
  return extension(EXTENSION.authorityKeyIdentifier.oid, false, sequence(implicit(0, keyId)))
}

function subjectKeyIdExtension(keyId: Uint8Array): Uint8Array {
  return sequence(SUBJECT_KEY_ID, octetString(octetString(keyId)))
}

function caExtension(pathLength: number | undefined): Uint8Array {
  const length = pathLength === undefined ? [] : [integer(BigInt(pathLength))]
  return extension(EXTENSION.basicConstraints.oid, true, sequence(boolean(true), ...length))
}

function crlUrlExtension(url: string): Uint8Array {
  if (!/^http:\/\/[!-~]+$/.test(url)) throw unencodable("a CRL URL that is not plain http")
  return extension(
    EXTENSION.crlDistributionPoints.oid,
    false,
    sequence(sequence(explicit(0, explicit(0, implicit(6, ascii(url)))))),
  )
}

const OCSP_NO_CHECK = "1.3.6.1.5.5.7.48.1.5"
const SUBJECT_KEY_ID = oid(EXTENSION.subjectKeyIdentifier.oid)
const VERSION_3 = explicit(0, integer(2n))
const LEAF_KEY_USAGE = extension(EXTENSION.keyUsage.oid, true, namedBits([KEY_USAGE.digitalSignature]))
const CODE_KEY_PURPOSE = extension(EXTENSION.extKeyUsage.oid, false, sequence(oid(KEY_PURPOSE.codeSigning)))
const TIMESTAMP_KEY_PURPOSE = extension(EXTENSION.extKeyUsage.oid, true, sequence(oid(KEY_PURPOSE.timeStamping)))
const TIMESTAMP_REQUIRED_POLICY = extension(
  EXTENSION.certificatePolicies.oid,
  false,
  sequence(sequence(oid(CERTIFICATE_POLICY.timestampRequired))),
)
const CA_KEY_USAGE = extension(EXTENSION.keyUsage.oid, true, namedBits([KEY_USAGE.keyCertSign, KEY_USAGE.cRLSign]))

function unencodable(detail: string): FormatError {
  return new FormatError("CERTIFICATE_MALFORMED", detail)
}

/**
 * Key identifier of 20 bytes: the front of the SHA-256 of the SubjectPublicKeyInfo (RFC 7093 §2, cut as its other methods are).
 * @param digest SHA-256 of the key's SPKI, DER
 */
export function subjectKeyIdentifier(digest: Uint8Array): Uint8Array {
  if (digest.length < 20) throw unencodable("a digest below 20 bytes")
  return digest.slice(0, 20)
}
