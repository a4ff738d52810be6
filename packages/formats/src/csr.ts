import { type SignatureScheme, schemeRow } from "./algorithms.ts"
import { bitString, explicit, integer, oid, sequence, set } from "./der-write.ts"

/** PEM label of a request (RFC 7468 §7). */
export const CSR_LABEL = "CERTIFICATE REQUEST"

/** extensionRequest, RFC 2985 §5.4.2 */
const EXTENSION_REQUEST = oid("1.2.840.113549.1.9.14")
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
