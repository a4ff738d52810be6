import { type SignatureScheme, schemeRow } from "./algorithms.ts"
import { bitString, explicit, integer, oid, sequence, set } from "./der-write.ts"

/** extensionRequest, an attribute of PKCS #9 (RFC 2985 §5.4.2). */
const OID_EXTENSION_REQUEST = "1.2.840.113549.1.9.14"

export interface CsrFields {
  /** Name, DER */
  readonly subject: Uint8Array
  /** SubjectPublicKeyInfo, DER */
  readonly spki: Uint8Array
  /** each an Extension, DER; what the issuer is asked to put into the certificate */
  readonly extensions: readonly Uint8Array[]
}

/** CertificationRequestInfo of RFC 2986 §4.1, DER: what the key itself signs. */
export function csrInfo({ subject, spki, extensions }: CsrFields): Uint8Array {
  const attributes = extensions.length === 0 ? [] : [sequence(oid(OID_EXTENSION_REQUEST), set(sequence(...extensions)))]
  return sequence(integer(0n), subject, spki, explicit(0, ...attributes))
}

/**
 * CertificationRequest of RFC 2986 §4.2, DER.
 * @param info what `csrInfo` made
 * @param signature over `info` under `scheme`; ECDSA: DER Ecdsa-Sig-Value (RFC 3279 §2.2.3)
 */
export function assembleCsr(info: Uint8Array, scheme: SignatureScheme, signature: Uint8Array): Uint8Array {
  return sequence(info, schemeRow(scheme).x509, bitString(signature))
}
