import { bytesEqual } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { type Certificate, parseCertificate } from "@sealwright/formats/x509"
import { KEY_USAGE } from "@sealwright/formats/x509-extensions"
import type { Step } from "@sealwright/verifier/requests"
import { type ChainCode, verifyCaPath } from "@sealwright/verifier/x509-path"
import { type ErrorCode, ServiceError } from "../errors.ts"

/** Issuer, and root at least; five at most, so that a leaf fits below (MAX_PATH of the verifier). */
const SHORTEST = 2

/** What deployers' verifiers would say of a signature under the chain, as the one thing that its authority has to mend. */
const REFUSALS = {
  CHAIN_LENGTH: "ISSUER_CHAIN_MALFORMED",
  CHAIN_NOT_TRUSTED: "ISSUER_CHAIN_MALFORMED",
  CHAIN_LEAF_INVALID: "ISSUER_NOT_CA",
  CHAIN_NAME_MISMATCH: "ISSUER_CHAIN_ORDER",
  CHAIN_KEY_ID_MISMATCH: "ISSUER_CHAIN_ORDER",
  CHAIN_ALGORITHM: "ISSUER_CHAIN_ALGORITHM",
  CHAIN_MIXED: "ISSUER_CHAIN_ALGORITHM",
  CHAIN_EXTENSION_UNKNOWN: "ISSUER_CHAIN_CONSTRAINED",
  CHAIN_CA_INVALID: "ISSUER_NOT_CA",
  CHAIN_PATH_LENGTH: "ISSUER_PATH_LENGTH",
  CHAIN_KEY_USAGE: "ISSUER_KEY_USAGE",
  CHAIN_KEY_PURPOSE: "ISSUER_KEY_PURPOSE",
  CHAIN_NOT_YET_VALID: "ISSUER_NOT_YET_VALID",
  CHAIN_EXPIRED: "ISSUER_EXPIRED",
  CHAIN_SIGNATURE_INVALID: "ISSUER_CHAIN_SIGNATURE",
} as const satisfies Record<ChainCode, ErrorCode>

/**
 * Checks the certificate that an outside authority gave to an issuer's key, and all above it, by the profile that deployers' verifiers keep to:
 * what passes here can be verified there. A CRL distribution point may be missing: the issuer's own certificate is then one that nobody can
 * look up, and revoking the issuer here is what counts.
 * @param chain DER, the issuer's certificate first, the self-signed root last
 * @param spki the issuer's key
 * @returns the issuer's certificate
 * @throws ServiceError ISSUER_CHAIN_MALFORMED, ISSUER_KEY_MISMATCH, ISSUER_ROOT_MISSING, ISSUER_OUTLIVES_CA and what `REFUSALS` names
 */
export function* checkIssuerChain(chain: readonly Uint8Array[], spki: Uint8Array, now: Date): Step<Certificate> {
  const certificates = chain.map(readCertificate)
  const [issuer, above] = certificates
  const root = certificates.at(-1)
  if (issuer === undefined || above === undefined || root === undefined)
    throw refusal("ISSUER_CHAIN_MALFORMED", `${chain.length} certificates; at least ${SHORTEST} are needed`)
  if (!bytesEqual(issuer.spki, spki))
    throw refusal("ISSUER_KEY_MISMATCH", "the first certificate is not for the key of the request")
  if (issuer.subject.rdns.length === 0) throw refusal("ISSUER_CHAIN_MALFORMED", "the issuer's certificate has no name")
  if (!bytesEqual(root.issuer.der, root.subject.der))
    throw refusal("ISSUER_ROOT_MISSING", "the last certificate is not its own issuer")
  // The first one as the anchor: then every signature is checked, the root's over itself too.
  const result = yield* verifyCaPath(certificates, { trusted: [issuer.der], time: now })
  if (!result.ok)
    throw refusal(REFUSALS[result.code], `certificate ${result.at + 1} of ${chain.length}: ${result.code}`)
  if (((issuer.keyUsage ?? 0) & (1 << KEY_USAGE.cRLSign)) === 0)
    throw refusal("ISSUER_KEY_USAGE", "certificate 1: cRLSign is missing, and stock clients want a list by this key")
  for (const [at, certificate] of certificates.entries())
    refuseOutliving(certificate.notAfter, certificates[at + 1]?.notAfter, `certificate ${at + 1}`)
  return issuer
}

/**
 * No certificate ends after the one that certifies it (R18).
 * @param end of the authority above; undefined for a root
 * @throws ServiceError ISSUER_OUTLIVES_CA
 */
export function refuseOutliving(notAfter: Date, end: Date | undefined, what: string): void {
  if (end !== undefined && notAfter.getTime() > end.getTime())
    throw refusal("ISSUER_OUTLIVES_CA", `${what} ends ${notAfter.toISOString()}, its authority ${end.toISOString()}`)
}

function readCertificate(der: Uint8Array, at: number): Certificate {
  try {
    return parseCertificate(der)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw refusal("ISSUER_CHAIN_MALFORMED", `certificate ${at + 1}: ${error.message}`)
  }
}

function refusal(code: ErrorCode, detail: string): ServiceError {
  return new ServiceError(code, detail)
}
