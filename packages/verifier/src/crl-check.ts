import { bytesEqual } from "@sealwright/formats/bytes"
import { type Crl, type CrlReason, findRevoked, parseCrl } from "@sealwright/formats/crl"
import { FormatError } from "@sealwright/formats/errors"
import type { Certificate } from "@sealwright/formats/x509"
import { EXTENSION, KEY_USAGE, readExtension } from "@sealwright/formats/x509-extensions"
import { type Step, verifySignature } from "./requests.ts"

/** Why a list says nothing. */
export const CRL_CODES = {
  CRL_MALFORMED: "the list is not a complete, direct CRL of RFC 5280's profile",
  CRL_ISSUER_MISMATCH: "the list is from another issuer than the certificate",
  CRL_ISSUER_KEY_USAGE: "the issuer's certificate does not allow its key to sign lists",
  CRL_SIGNATURE_INVALID: "the list was not signed by the certificate's issuer",
  CRL_NOT_YET_VALID: "thisUpdate is in the future",
  CRL_STALE: "nextUpdate has passed",
  CRL_OUT_OF_SCOPE: "the list is for another distribution point than the certificate's",
} as const

export type CrlCode = keyof typeof CRL_CODES

export type CrlAnswer =
  | { readonly status: "good"; readonly crl: Crl }
  | {
      readonly status: "revoked"
      readonly reason: CrlReason
      /** revocationDate of the entry */
      readonly at: Date
      readonly invalidityDate: Date | undefined
      readonly crl: Crl
    }
  | { readonly status: "unknown"; readonly why: CrlCode }

export interface OpenedCrl {
  readonly crl: Crl
  readonly issuer: Certificate
}

/**
 * Reads a list and checks that `issuer` signed it and that it counts at `now`. One opened list answers for all certificates of that issuer.
 * @param issuer the next certificate in an already verified chain: the one whose key signed the certificates to be checked
 */
export function* openCrl(
  bytes: Uint8Array,
  issuer: Certificate,
  now: Date,
): Step<OpenedCrl | { readonly status: "unknown"; readonly why: CrlCode }> {
  const crl = parseOrUndefined(bytes)
  if (crl === undefined) return unknown("CRL_MALFORMED")
  if (!bytesEqual(crl.issuer.der, issuer.subject.der)) return unknown("CRL_ISSUER_MISMATCH")
  const keyId = crl.authorityKeyIdentifier?.keyIdentifier
  if (
    keyId !== undefined &&
    issuer.subjectKeyIdentifier !== undefined &&
    !bytesEqual(keyId, issuer.subjectKeyIdentifier)
  )
    return unknown("CRL_ISSUER_MISMATCH")
  if (((issuer.keyUsage ?? 0) & (1 << KEY_USAGE.cRLSign)) === 0) return unknown("CRL_ISSUER_KEY_USAGE")
  if (now.getTime() < crl.thisUpdate.getTime()) return unknown("CRL_NOT_YET_VALID")
  if (now.getTime() >= crl.nextUpdate.getTime()) return unknown("CRL_STALE")
  const { signatureScheme, tbs, signature } = crl
  if (signatureScheme === undefined || !(yield* verifySignature(signatureScheme, issuer.spki, tbs, signature)))
    return unknown("CRL_SIGNATURE_INVALID")
  return { crl, issuer }
}

/** Looks one certificate up. `good` means: not on a list that covers it. */
export function lookUp(certificate: Certificate, { crl, issuer }: OpenedCrl): CrlAnswer {
  if (!bytesEqual(certificate.issuer.der, issuer.subject.der)) return unknown("CRL_ISSUER_MISMATCH")
  if (crl.distributionPoints !== undefined) {
    const points = distributionPoints(certificate)
    if (!crl.distributionPoints.some((uri) => points.includes(uri))) return unknown("CRL_OUT_OF_SCOPE")
  }
  const entry = findRevoked(crl, certificate.serialBytes)
  if (entry === undefined) return { status: "good", crl }
  const { reason, revokedAt, invalidityDate } = entry
  return { status: "revoked", reason, at: revokedAt, invalidityDate, crl }
}

/**
 * Checks one certificate against the list of its issuer.
 * @param issuer the next certificate in an already verified chain
 */
export function* checkCrl(
  certificate: Certificate,
  issuer: Certificate,
  bytes: Uint8Array,
  now: Date,
): Step<CrlAnswer> {
  const opened = yield* openCrl(bytes, issuer, now)
  return "status" in opened ? opened : lookUp(certificate, opened)
}

function distributionPoints(certificate: Certificate): readonly string[] {
  try {
    return readExtension(certificate.extensions, EXTENSION.crlDistributionPoints) ?? []
  } catch (error) {
    if (error instanceof FormatError) return []
    throw error
  }
}

function parseOrUndefined(bytes: Uint8Array): Crl | undefined {
  try {
    return parseCrl(bytes)
  } catch (error) {
    if (error instanceof FormatError) return undefined
    throw error
  }
}

function unknown(why: CrlCode): { readonly status: "unknown"; readonly why: CrlCode } {
  return { status: "unknown", why }
}
