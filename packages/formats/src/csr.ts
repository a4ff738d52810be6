import { type SignatureScheme, schemeRow } from "./algorithms.ts"
import { DerReader, explicitTag, TAG } from "./der.ts"
import { bitString, explicit, integer, oid, sequence, set } from "./der-write.ts"
import { FormatError } from "./errors.ts"
import { type Name, parsePublicKey, readName, schemeOf } from "./x509.ts"

/** PEM label of a request (RFC 7468 §7). */
export const CSR_LABEL = "CERTIFICATE REQUEST"

/** extensionRequest, RFC 2985 §5.4.2 */
const EXTENSION_REQUEST_OID = "1.2.840.113549.1.9.14"
const EXTENSION_REQUEST = oid(EXTENSION_REQUEST_OID)
const MAX_CSR_BYTES = 16_384
const VERSION_1 = integer(0n)

export interface CsrFields {
  /** Name, DER */
  readonly subject: Uint8Array
  /** SubjectPublicKeyInfo, DER */
  readonly spki: Uint8Array
  /** what the certificate should have, each an Extension in DER; an authority is free to give other ones */
  readonly extensions: readonly Uint8Array[]
}

/** CertificationRequestInfo of RFC 2986 §4.1, DER: the to-be-signed bytes of a request. */
export function csrInfo({ subject, spki, extensions }: CsrFields): Uint8Array {
  const asked = extensions.length === 0 ? [] : [sequence(EXTENSION_REQUEST, set(sequence(...extensions)))]
  return sequence(VERSION_1, subject, spki, explicit(0, ...asked))
}

/**
 * CertificationRequest of RFC 2986 §4.2, DER.
 * @param scheme of the key in `info`, which proves by signing that its holder asks
 * @param signature over `info`; ECDSA: DER Ecdsa-Sig-Value (RFC 3279 §2.2.3)
 */
export function assembleCsr(info: Uint8Array, scheme: SignatureScheme, signature: Uint8Array): Uint8Array {
  return sequence(info, schemeRow(scheme).x509, bitString(signature))
}

/** A request as it was read; whether its signature is right is for the reader to check. Byte arrays are views of the request. */
export interface Csr {
  /** CertificationRequestInfo, DER: what `signature` is over */
  readonly info: Uint8Array
  readonly subject: Name
  /** SubjectPublicKeyInfo, DER */
  readonly spki: Uint8Array
  /** the Extensions that are asked for, SEQUENCE OF in DER; undefined when none are */
  readonly extensions: Uint8Array | undefined
  /** undefined: an algorithm outside the table of algorithms */
  readonly signatureScheme: SignatureScheme | undefined
  readonly signature: Uint8Array
}

/**
 * Reads one CertificationRequest (RFC 2986 §4.2) whose only attribute, if any, is one extensionRequest.
 * @throws FormatError TOO_LARGE above 16 KiB; DER_MALFORMED; CERTIFICATE_MALFORMED for another version, another attribute, a malformed key
 */
export function parseCsr(der: Uint8Array): Csr {
  if (der.length > MAX_CSR_BYTES) throw new FormatError("TOO_LARGE", "a request above 16 KiB")
  const outer = new DerReader(der)
  const request = outer.enter(TAG.SEQUENCE)
  outer.finish()
  const info = request.element(TAG.SEQUENCE)
  const algorithm = request.element(TAG.SEQUENCE)
  const signature = request.wholeBits()
  request.finish()

  const fields = new DerReader(info).enter(TAG.SEQUENCE)
  if (fields.smallInteger() !== 0) throw malformed("a request of a version other than 1")
  const subject = readName(fields)
  const spki = fields.element(TAG.SEQUENCE)
  parsePublicKey(spki)
  const extensions = readExtensionRequest(fields.enter(explicitTag(0)))
  fields.finish()
  return { info, subject, spki, extensions, signatureScheme: schemeOf(algorithm), signature }
}

function readExtensionRequest(attributes: DerReader): Uint8Array | undefined {
  if (attributes.done) return undefined
  const attribute = attributes.enter(TAG.SEQUENCE)
  attributes.finish()
  if (attribute.oid() !== EXTENSION_REQUEST_OID) throw malformed("a request with another attribute than its extensions")
  const values = attribute.enter(TAG.SET)
  attribute.finish()
  const extensions = values.element(TAG.SEQUENCE)
  values.finish()
  return extensions
}

function malformed(detail: string): FormatError {
  return new FormatError("CERTIFICATE_MALFORMED", detail)
}
