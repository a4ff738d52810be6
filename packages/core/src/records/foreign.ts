import { hexEncode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import { JWS_MEDIA_TYPE } from "@sealwright/formats/oci-notary"
import { type VerifiedNotary, verifyNotaryEnvelope } from "@sealwright/verifier/notary"
import { CLOCK_TOLERANCE_MS } from "@sealwright/verifier/revocation"
import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import {
  findForeignCertificate,
  findForeignSignature,
  foreignCertificateItem,
  foreignSignatureItem,
} from "../ledger/foreign.ts"
import { listIssuers, readDeployment, readProfile, rootsOf } from "../ledger/trust.ts"
import { envelopeFormat, type ForeignSignature } from "../model.ts"
import type { Clock, Digest, RandomBytes, RunStep, Table } from "../ports.ts"
import { authorizeCaller, authorizeSubject, wholeSeconds } from "../sign/rules.ts"

export interface ForeignPorts {
  readonly table: Table
  readonly clock: Clock
  readonly random: RandomBytes
  readonly digest: Digest
  readonly run: RunStep
}

export interface ForeignRequest extends Actor {
  readonly profile: string
  /** Notary JWS envelope */
  readonly envelope: Uint8Array
  /** `registry/repository[:tag]`, within the profile's scope */
  readonly reference: string
}

/** Longest envelope that is registered, in bytes: a chain of six certificates has a tenth of it. An item holds 400 KB. */
export const MAX_FOREIGN_ENVELOPE_BYTES = 128 * 1024

const ATTEMPTS = 4

/**
 * Registers a signature that was made without the service, so that its certificate can be revoked here. It must verify now under the chain that it
 * carries; whether anybody trusts that chain's root is for deployers to say, and registering it gives it no trust. Who may sign under the
 * profile may register for its repositories. One transaction writes the signature, its certificate with its issuer's, and the audit entry.
 * @returns `recorded`: false when the same envelope stood under the profile before
 * @throws ServiceError REQUEST_TOO_LARGE, PROFILE_UNKNOWN, CALLER_NOT_LISTED, PROFILE_SUSPENDED, PROFILE_REVOKED, REPOSITORY_OUT_OF_SCOPE,
 * REFERENCE_INVALID, SIGNATURE_UNVERIFIED, SIGNATURE_NOT_FOREIGN; ALREADY_EXISTS under another reference; CONTENTION
 * @throws FormatError REFERENCE_MALFORMED
 */
export async function recordForeign(
  ports: ForeignPorts,
  request: ForeignRequest,
): Promise<{ readonly signature: ForeignSignature; readonly recorded: boolean }> {
  const { table } = ports
  if (request.envelope.length > MAX_FOREIGN_ENVELOPE_BYTES)
    throw new ServiceError("REQUEST_TOO_LARGE", `an envelope of more than ${MAX_FOREIGN_ENVELOPE_BYTES} bytes`)
  const profile = await readProfile(table, request.profile)
  authorizeCaller(profile, request.principal)
  const now = wholeSeconds(ports.clock())
  const verified = verifyForeign(ports, request.envelope, now)
  await requireForeign(table, verified)
  const signature = entryOf(ports, request, verified, now)
  authorizeSubject(profile, { ...signature.subject, reference: signature.reference })
  const issuer = verified.chain[1] ?? verified.leaf
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const standing = await findForeignSignature(table, profile.name, signature.id)
    if (standing !== undefined && standing.reference !== signature.reference)
      throw new ServiceError("ALREADY_EXISTS", `${standing.id} is registered for ${standing.reference}`)
    if (standing !== undefined) return { signature: standing, recorded: false }
    const certificate = await findForeignCertificate(table, signature.thumbprint)
    const { issuerKeyId, serialHex } = signature
    const added = foreignCertificateItem(signature.thumbprint, {
      issuerKeyId,
      serialHex,
      certificate: verified.leaf.der,
      issuerCertificate: issuer.der,
    })
    const { committed } = await table.transact([
      { put: foreignSignatureItem(signature), if: { absent: true } },
      ...(certificate === undefined ? [{ put: added, if: { absent: true } } as const] : []),
      auditWrite(ports, request, "record.foreign", signature.id),
    ])
    if (committed) return { signature, recorded: true }
  }
  throw new ServiceError("CONTENTION", "others kept registering the same certificate")
}

/** As a stranger would who trusts the root that the envelope itself brings. */
function verifyForeign(ports: ForeignPorts, envelope: Uint8Array, now: Date): VerifiedNotary {
  const verified = ports.run(verifyNotaryEnvelope(envelope, { trusted: [rootOf(envelope)], now }))
  if (!verified.ok) throw unverified(`${verified.code}: ${verified.checks.at(-1)?.text ?? ""}`)
  if (verified.signingTime.getTime() > now.getTime() + CLOCK_TOLERANCE_MS) throw unverified("SIGNING_TIME_AHEAD")
  return verified
}

function rootOf(envelope: Uint8Array): Uint8Array {
  try {
    return parseX5c(parseNotaryJws(envelope).x5c.at(-1) ?? "").der
  } catch (error) {
    if (error instanceof FormatError) throw unverified(error.message)
    throw error
  }
}

/** What a service made has a number there, and is revoked there by its id. @throws ServiceError SIGNATURE_NOT_FOREIGN */
async function requireForeign(table: Table, { number, issuerKeyId }: VerifiedNotary): Promise<void> {
  const own = [...rootsOf(await readDeployment(table)), ...(await listIssuers(table))].some(
    (issuer) => issuer.issuerKeyId === hexEncode(issuerKeyId),
  )
  if (own || number !== undefined)
    throw new ServiceError("SIGNATURE_NOT_FOREIGN", "the signature was made and numbered by a service")
}

function entryOf(
  { digest }: ForeignPorts,
  { profile, envelope, reference, principal }: ForeignRequest,
  { leaf, issuerKeyId, target, signingTime, algorithm }: VerifiedNotary,
  now: Date,
): ForeignSignature {
  const { mediaType, digest: subjectDigest, size } = target
  return {
    id: `fs-${hexEncode(digest("sha256", envelope)).slice(0, 32)}`,
    profile,
    issuerKeyId: hexEncode(issuerKeyId),
    serialHex: hexEncode(leaf.serialBytes),
    thumbprint: hexEncode(digest("sha256", leaf.der)),
    subject: { mediaType, digest: subjectDigest, size },
    reference,
    principal,
    signedAt: wholeSeconds(signingTime),
    certificateNotAfter: leaf.notAfter,
    recordedAt: now,
    envelope: { format: envelopeFormat(algorithm), mediaType: JWS_MEDIA_TYPE, bytes: envelope },
  }
}

function unverified(detail: string): ServiceError {
  return new ServiceError("SIGNATURE_UNVERIFIED", detail)
}
