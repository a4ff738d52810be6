import { bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import {
  type CertId,
  type CertIdHash,
  type OcspRequest,
  parseOcspRequest,
  publicKeyBits,
} from "@sealwright/formats/ocsp"
import { parseCertificate } from "@sealwright/formats/x509"
import type { OcspResponder } from "../model.ts"

/**
 * How long after a publication its statuses may be used, in seconds: as old as deployers let lists become by default (D14). While publications go well
 * there is a newer one every six hours.
 */
export const OCSP_LIFETIME_SEC = 86_400

/** SHA-1 or SHA-256; identifies and proves nothing. */
export type CertIdDigest = (hash: CertIdHash, bytes: Uint8Array) => Uint8Array

/** @returns undefined for what is no request of the profile that is read here */
export function readOcspRequest(bytes: Uint8Array): OcspRequest | undefined {
  try {
    return parseOcspRequest(bytes)
  } catch (error) {
    if (error instanceof FormatError) return undefined
    throw error
  }
}

/**
 * The responder of the CA that certified all the certificates asked for: one response has one signature.
 * @returns undefined: they are of several CAs, or of one that has no responder here
 */
export function responderFor(
  certIds: readonly CertId[],
  responders: readonly OcspResponder[],
  digest: CertIdDigest,
): OcspResponder | undefined {
  return responders.find(({ issuerCertificate }) => {
    const { subject, spki } = parseCertificate(issuerCertificate)
    const key = publicKeyBits(spki)
    return certIds.every(
      ({ hash, issuerNameHash, issuerKeyHash }) =>
        hash !== undefined &&
        bytesEqual(issuerNameHash, digest(hash, subject.der)) &&
        bytesEqual(issuerKeyHash, digest(hash, key)),
    )
  })
}

/** Until when a response may be used: a day after the publication, but no longer than the CRL and the responder's certificate. */
export function responseEnd(published: Date, crlNextUpdate: Date, responderNotAfter: Date): Date {
  return new Date(
    Math.min(published.getTime() + OCSP_LIFETIME_SEC * 1000, crlNextUpdate.getTime(), responderNotAfter.getTime()),
  )
}

export function hasSerial(certificate: Uint8Array, serialHex: string): boolean {
  return hexEncode(parseCertificate(certificate).serialBytes) === serialHex
}
