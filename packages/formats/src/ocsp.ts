import { type SignatureScheme, schemeRow } from "./algorithms.ts"
import { hexDecode } from "./bytes.ts"
import { type CrlReason, REASON_CODE } from "./crl.ts"
import { DerReader, explicitTag, TAG } from "./der.ts"
import { bitString, der, explicit, generalizedTime, implicit, octetString, oid, sequence } from "./der-write.ts"
import { FormatError } from "./errors.ts"
import { readExtensionField } from "./x509.ts"
import { extension } from "./x509-write.ts"

export const OCSP_REQUEST_TYPE = "application/ocsp-request"
export const OCSP_RESPONSE_TYPE = "application/ocsp-response"
/** Longest request that is read, in bytes; one certificate takes about 80, a nonce up to 140 more. */
export const MAX_OCSP_REQUEST_BYTES = 4096
/** Certificates that one request may ask for. */
export const MAX_OCSP_CERTIFICATES = 8
/** RFC 9654 §2.1. */
const MAX_NONCE_BYTES = 128
const MAX_EXTENSIONS = 8
const MAX_SERIAL_BYTES = 20

const OID = {
  basicResponse: "1.3.6.1.5.5.7.48.1.1",
  nonce: "1.3.6.1.5.5.7.48.1.2",
} as const

/** Hashes that name an issuer in a CertID. They identify and prove nothing, so SHA-1, which stock clients use, is one of them (RFC 5019 §2.1.1). */
export type CertIdHash = "sha1" | "sha256"
const CERT_ID_HASHES: ReadonlyMap<string, readonly [CertIdHash, number]> = new Map([
  ["1.3.14.3.2.26", ["sha1", 20]],
  ["2.16.840.1.101.3.4.2.1", ["sha256", 32]],
])

/** CertID of RFC 6960 §4.1.1: whose status is asked for. */
export interface CertId {
  /** undefined: a hash that no issuer is looked up by here */
  readonly hash: CertIdHash | undefined
  /** of the issuer's Name, DER */
  readonly issuerNameHash: Uint8Array
  /** of the issuer's public key: the content of its BIT STRING */
  readonly issuerKeyHash: Uint8Array
  /** content octets of the INTEGER, 20 at most */
  readonly serial: Uint8Array
  /** the whole CertID; a response repeats it byte for byte */
  readonly der: Uint8Array
}

export interface OcspRequest {
  /** 1 to 8, in the order of the request */
  readonly certIds: readonly CertId[]
  /** 1 to 128 bytes */
  readonly nonce: Uint8Array | undefined
}

/**
 * Reads an OCSPRequest, version 1. A signature and the requester's name are passed over: every caller gets the same answer. So are extensions that
 * are not critical.
 * @throws FormatError TOO_LARGE above 4 KiB or 8 certificates; DER_MALFORMED; VERSION_UNKNOWN; OCSP_MALFORMED for a request of no certificate, a CertID
 * whose hashes or serial have a length that none has, a nonce outside 1 to 128 bytes, an extension twice, an unknown critical one
 */
export function parseOcspRequest(bytes: Uint8Array): OcspRequest {
  if (bytes.length > MAX_OCSP_REQUEST_BYTES) throw new FormatError("TOO_LARGE", "an OCSP request above 4 KiB")
  const outer = new DerReader(bytes)
  const whole = outer.enter(TAG.SEQUENCE)
  outer.finish()
  const fields = whole.enter(TAG.SEQUENCE)
  if (whole.is(explicitTag(0))) enterExplicit(whole, 0).take(TAG.SEQUENCE).finish()
  whole.finish()
  // The one version there is, 1, is the default, which DER never writes (X.690 §11.5).
  if (fields.is(explicitTag(0))) throw new FormatError("VERSION_UNKNOWN", "an OCSP request that is not version 1")
  if (fields.is(explicitTag(1))) fields.take(explicitTag(1))
  const list = fields.enter(TAG.SEQUENCE)
  const certIds: CertId[] = []
  while (!list.done) {
    if (certIds.length === MAX_OCSP_CERTIFICATES) throw new FormatError("TOO_LARGE", "more than 8 certificates")
    certIds.push(readSingleRequest(list.enter(TAG.SEQUENCE)))
  }
  if (certIds.length === 0) throw malformed("a request for no certificate")
  const extensions = fields.is(explicitTag(2)) ? readExtensions(enterExplicit(fields, 2), OID.nonce) : undefined
  fields.finish()
  return { certIds, nonce: extensions?.get(OID.nonce) }
}

function enterExplicit(fields: DerReader, n: number): DerReader {
  return fields.enter(explicitTag(n))
}

function readSingleRequest(request: DerReader): CertId {
  const whole = request.element(TAG.SEQUENCE)
  const parts = new DerReader(request.bytes, request.start, request.stop)
  const algorithm = parts.enter(TAG.SEQUENCE)
  const [hash, length] = CERT_ID_HASHES.get(algorithm.oid()) ?? [undefined, undefined]
  if (hash !== undefined && !algorithm.done) algorithm.null()
  if (hash !== undefined) algorithm.finish()
  const issuerNameHash = parts.octets()
  const issuerKeyHash = parts.octets()
  if (length !== undefined && (issuerNameHash.length !== length || issuerKeyHash.length !== length))
    throw malformed("a hash of another length than its algorithm's")
  const serial = parts.integerBytes()
  if (serial.length > MAX_SERIAL_BYTES) throw malformed("a serial number above 20 bytes")
  parts.finish()
  if (request.is(explicitTag(0))) readExtensions(enterExplicit(request, 0))
  request.finish()
  return { hash, issuerNameHash, issuerKeyHash, serial, der: whole }
}

/** @param nonce the OID of the only one that is understood; undefined: none is */
function readExtensions(explicitly: DerReader, nonce?: string): ReadonlyMap<string, Uint8Array> {
  const list = explicitly.enter(TAG.SEQUENCE)
  explicitly.finish()
  const found = new Map<string, Uint8Array>()
  do {
    if (found.size === MAX_EXTENSIONS) throw new FormatError("TOO_LARGE", "more than 8 extensions")
    const [name, { critical, value }] = readExtensionField(list)
    if (found.has(name)) throw malformed(`extension ${name} twice`)
    if (critical && name !== nonce) throw malformed(`critical extension ${name}`)
    found.set(name, name === nonce ? readNonce(value) : value)
  } while (!list.done)
  return found
}

function readNonce(value: Uint8Array): Uint8Array {
  const reader = new DerReader(value)
  const nonce = reader.octets()
  reader.finish()
  if (nonce.length === 0 || nonce.length > MAX_NONCE_BYTES) throw malformed("a nonce outside 1 to 128 bytes")
  return nonce
}

/** What CertIDs and responder ids hash of a key: the content of its BIT STRING. @param spki SubjectPublicKeyInfo, DER */
export function publicKeyBits(spki: Uint8Array): Uint8Array {
  const fields = new DerReader(spki).enter(TAG.SEQUENCE)
  fields.take(TAG.SEQUENCE)
  return fields.wholeBits()
}

/** `unknown`: no such certificate is on record (RFC 6960 §2.2). */
export type CertificateStatus =
  | { readonly status: "good" | "unknown" }
  | { readonly status: "revoked"; readonly revokedAt: Date; readonly reason: CrlReason }

export type SingleResponse = CertificateStatus & { readonly certId: CertId }

export interface OcspResponseFields {
  /** SHA-1 of the responder's public key, as RFC 6960 §4.2.1 fixes it */
  readonly responderKeyHash: Uint8Array
  readonly producedAt: Date
  readonly thisUpdate: Date
  /** after `thisUpdate`; without it clients have no end, and some refuse (RFC 5019 §2.2.4) */
  readonly nextUpdate: Date
  readonly responses: readonly SingleResponse[]
  readonly nonce: Uint8Array | undefined
}

/** ResponseData of RFC 6960 §4.2.1, which the responder's key signs; times are cut to whole seconds. @throws FormatError OCSP_MALFORMED */
export function ocspResponseData(fields: OcspResponseFields): Uint8Array {
  const { thisUpdate, nextUpdate, nonce } = fields
  if (nextUpdate.getTime() - thisUpdate.getTime() < 1000) throw malformed("nextUpdate not after thisUpdate")
  return sequence(
    explicit(2, octetString(fields.responderKeyHash)),
    generalizedTime(fields.producedAt),
    sequence(
      ...fields.responses.map((response) =>
        sequence(
          response.certId.der,
          certStatus(response),
          generalizedTime(thisUpdate),
          explicit(0, generalizedTime(nextUpdate)),
        ),
      ),
    ),
    ...(nonce === undefined ? [] : [explicit(1, sequence(extension(OID.nonce, false, octetString(nonce))))]),
  )
}

function certStatus(status: CertificateStatus): Uint8Array {
  if (status.status !== "revoked") return implicit(status.status === "good" ? 0 : 2, new Uint8Array(0))
  const { reason } = status
  const code = der(TAG.ENUMERATED, Uint8Array.of(REASON_CODE[reason]))
  // As on CRLs, `unspecified` is left out (RFC 5280 §5.3.1).
  return explicit(1, generalizedTime(status.revokedAt), ...(reason === "unspecified" ? [] : [explicit(0, code)]))
}

/**
 * OCSPResponse with a BasicOCSPResponse.
 * @param data what `ocspResponseData` gave
 * @param signature over `data`; ECDSA: DER Ecdsa-Sig-Value
 * @param certificate the responder's own, DER
 */
export function successfulOcspResponse(
  data: Uint8Array,
  scheme: SignatureScheme,
  signature: Uint8Array,
  certificate: Uint8Array,
): Uint8Array {
  const basic = sequence(data, schemeRow(scheme).x509, bitString(signature), explicit(0, sequence(certificate)))
  return sequence(statusOf(0), explicit(0, sequence(oid(OID.basicResponse), octetString(basic))))
}

/** OCSPResponseStatus of RFC 6960 §4.2.1: why there is no answer. Nobody signs it. */
export const OCSP_FAILURE = { malformedRequest: 1, internalError: 2, tryLater: 3, unauthorized: 6 } as const
export type OcspFailure = keyof typeof OCSP_FAILURE

export function failedOcspResponse(failure: OcspFailure): Uint8Array {
  return sequence(statusOf(OCSP_FAILURE[failure]))
}

function statusOf(code: number): Uint8Array {
  return der(TAG.ENUMERATED, Uint8Array.of(code))
}

const SHA1 = hexDecode("300906052b0e03021a0500")
const SHA256 = hexDecode("300d06096086480165030402010500")

/** What a client asks: OCSPRequest for one certificate, DER. */
export function ocspRequest(fields: {
  readonly hash: CertIdHash
  readonly issuerNameHash: Uint8Array
  readonly issuerKeyHash: Uint8Array
  /** content octets of the INTEGER */
  readonly serial: Uint8Array
  readonly nonce?: Uint8Array
}): Uint8Array {
  const { hash, issuerNameHash, issuerKeyHash, serial, nonce } = fields
  const certId = sequence(
    hash === "sha1" ? SHA1 : SHA256,
    octetString(issuerNameHash),
    octetString(issuerKeyHash),
    der(TAG.INTEGER, serial),
  )
  const extensions = nonce === undefined ? [] : [explicit(2, sequence(extension(OID.nonce, false, octetString(nonce))))]
  return sequence(sequence(sequence(sequence(certId)), ...extensions))
}

function malformed(detail: string): FormatError {
  return new FormatError("OCSP_MALFORMED", detail)
}
