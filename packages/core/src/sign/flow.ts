import { hexDecode } from "@sealwright/formats/bytes"
import { ServiceError } from "../errors.ts"
import { leaveUses, UseLog } from "../key-uses.ts"
import { auditWrite } from "../ledger/audit.ts"
import { type Envelope, type ExtraSignature, isWrappedIssuer, type SignatureRecord } from "../model.ts"
import { ulid } from "../names.ts"
import type {
  Clock,
  Digest,
  MakeEphemeralKey,
  OutsideTimestampers,
  RandomBytes,
  RunStep,
  SigningKeys,
  Table,
  Timestamper,
} from "../ports.ts"
import { commitSignatures, earlierSignatures, idempotencyHash, type Settled } from "./commit.ts"
import { createSignatureMaker } from "./envelope.ts"
import { createLeasePool, type Grant, type Standing } from "./leases.ts"
import {
  authorizeCaller,
  authorizeSubject,
  checkSubjects,
  planExpiry,
  requireFitIssuer,
  SUBJECTS_PER_TRANSACTION,
  type SubjectRequest,
  wholeSeconds,
} from "./rules.ts"

/** How often a chunk starts over when its lease was closed under it. */
const LEASE_ATTEMPTS = 4

export interface SignPorts {
  readonly table: Table
  readonly keys: SigningKeys
  readonly makeEphemeralKey: MakeEphemeralKey
  readonly timestamper: Timestamper
  readonly outsideTimestampers: OutsideTimestampers
  readonly clock: Clock
  readonly random: RandomBytes
  readonly digest: Digest
  readonly run: RunStep
}

export interface SignRequest {
  readonly profile: string
  readonly principal: string
  readonly requestId: string
  readonly subjects: readonly SubjectRequest[]
  readonly expiresAt: Date | undefined
  /** the caller's; counts per principal and profile (D14) */
  readonly idempotencyKey: string | undefined
  /** lower-case hex SHA-256 of the whole request; what the idempotency key is bound to */
  readonly requestDigest: string
}

export type Signer = (request: SignRequest) => Promise<readonly Settled[]>

/**
 * Signs subjects under a profile (D4). For each chunk: lease -> policy -> sign -> verify our own signature -> record, idempotency
 * key, artifact's list, log inbox and audit entry in one transaction -> answer. Nothing leaves that is not recorded: a crash
 * before the transaction leaves void numbers, a crash after it leaves a record that a retry with the same key returns.
 * A batch is not atomic: each chunk commits for itself, and a retry with the same key fills the gaps. What a key has recorded whole is answered
 * also when nothing new may be signed any more. The uses of keys stand in the audit entry of the transaction; those that came to nothing in a note of their own (D13).
 * @returns one outcome a subject, in the order of the request
 * @throws ServiceError when nothing of the request may be signed, or a chunk could not be finished
 */
export function createSigner(ports: SignPorts): Signer {
  const { table, clock, random } = ports
  const pool = createLeasePool(ports)
  const makeSignature = createSignatureMaker(ports)

  return async function sign(request) {
    checkSubjects(request.subjects)
    const keyHash =
      request.idempotencyKey === undefined
        ? undefined
        : idempotencyHash(ports.digest, request.principal, request.profile, request.idempotencyKey)
    const batch = request.subjects.length > 1
    const outcomes = new Map<string, Settled>()
    const settle = (settled: readonly Settled[]) => settled.forEach((one) => void outcomes.set(one.digest, one))
    const inOrder = () => request.subjects.map(({ digest }) => outcomes.get(digest) as Settled)

    const standing = await admit(request).catch(async (refusal: unknown) => {
      if (keyHash === undefined || !(refusal instanceof ServiceError) || refusal.code === "CALLER_NOT_LISTED")
        throw refusal
      settle(await earlierSignatures(table, keyHash, request.requestDigest))
      if (outcomes.size < request.subjects.length) throw refusal
      return undefined
    })
    if (standing === undefined) return inOrder()
    const uses = new UseLog()
    if (batch && keyHash !== undefined) settle(await earlierSignatures(table, keyHash, request.requestDigest))
    settle(outOfScope(standing, request.subjects))
    const pending = request.subjects.filter(({ digest }) => !outcomes.has(digest))
    try {
      for (let at = 0; at < pending.length; at += SUBJECTS_PER_TRANSACTION)
        settle(await signChunk(request, pending.slice(at, at + SUBJECTS_PER_TRANSACTION), keyHash, batch, uses))
    } finally {
      await leaveUses(ports, uses, "sign", request.requestId)
    }
    return inOrder()
  }

  /** A refusal by what is remembered counts only after a fresh look. */
  async function admit(request: SignRequest): Promise<Standing> {
    const now = wholeSeconds(clock())
    const check = (standing: Standing) => {
      const { profile } = standing
      authorizeCaller(profile, request.principal)
      requireFitIssuers(standing)
      planExpiry(profile, request.expiresAt, now)
    }
    const known = await pool.standing(request.profile, false)
    if (refusalOf(() => check(known)) === undefined && outOfScope(known, request.subjects).length === 0) return known
    const fresh = await pool.standing(request.profile, true)
    check(fresh)
    return fresh
  }

  async function signChunk(
    request: SignRequest,
    chunk: readonly SubjectRequest[],
    keyHash: string | undefined,
    batch: boolean,
    uses: UseLog,
  ): Promise<readonly Settled[]> {
    const settled: Settled[] = []
    let pending = chunk
    for (let attempt = 0; attempt < LEASE_ATTEMPTS; attempt++) {
      const standing = await pool.standing(request.profile, attempt > 0)
      authorizeCaller(standing.profile, request.principal)
      requireFitIssuers(standing)
      for (const subject of pending) authorizeSubject(standing.profile, subject)
      const grant = await pool.take(standing, pending.length, uses.note)
      if (grant === undefined) continue
      const records = await signAll(request, grant, pending)
      const { requestDigest } = request
      const ids = records.map((record) => record.id).join(" ")
      const noted = uses.pending()
      const audit = auditWrite(ports, request, "sign", `profile/${request.profile} ${ids}`, undefined, noted)
      const result = await commitSignatures(table, {
        lease: grant.lease,
        extraLease: grant.extra?.lease,
        records,
        audit,
        keyHash,
        requestDigest,
        batch,
      })
      if (result.committed) uses.recorded(noted)
      settled.push(...result.settled)
      pending = pending.filter((subject) => result.again.has(subject.digest))
      if (pending.length === 0) return settled
      if (result.leaseClosed) pool.forget(request.profile)
    }
    throw new ServiceError(
      "LEASE_UNAVAILABLE",
      `the numbers of profile ${request.profile} were closed ${LEASE_ATTEMPTS} times`,
    )
  }

  /** The act once more under the other algorithm, with a key, a certificate and a number of its own (R19). */
  async function makeExtra(
    { standing, extra, numbers }: Grant,
    at: number,
    subject: SubjectRequest,
    signedAt: Date,
    expiresAt: Date | undefined,
  ): Promise<{ readonly envelope: Envelope; readonly signature: ExtraSignature } | undefined> {
    if (extra === undefined) return undefined
    const number = extra.numbers[at] as number
    const beside = { issuerKeyId: hexDecode(standing.issuer.issuerKeyId), number: numbers[at] as number }
    const { envelope, serialHex } = await makeSignature(extra, number, subject, signedAt, expiresAt, beside)
    const { name: issuer, issuerKeyId } = extra.standing.issuer
    return { envelope, signature: { issuer, issuerKeyId, number, leaseFirst: extra.lease.first, serialHex } }
  }

  function signAll(
    request: SignRequest,
    grant: Grant,
    subjects: readonly SubjectRequest[],
  ): Promise<SignatureRecord[]> {
    const signedAt = wholeSeconds(clock())
    const { profile, issuer } = grant.standing
    const expiresAt = planExpiry(profile, request.expiresAt, signedAt)
    return allDone(
      subjects.map(async (subject, i): Promise<SignatureRecord> => {
        const number = grant.numbers[i] as number
        const [made, extra] = await allDone([
          makeSignature(grant, number, subject, signedAt, expiresAt),
          makeExtra(grant, i, subject, signedAt, expiresAt),
        ])
        return {
          id: ulid(signedAt, random(10)),
          profile: profile.name,
          issuer: issuer.name,
          issuerKeyId: issuer.issuerKeyId,
          wrapped: isWrappedIssuer(issuer),
          number,
          leaseFirst: grant.lease.first,
          serialHex: made.serialHex,
          keyMode: profile.keyMode,
          subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.size },
          reference: subject.reference,
          principal: request.principal,
          signedAt,
          expiresAt,
          certificateNotAfter: made.certificateNotAfter,
          envelopes: extra === undefined ? [made.envelope] : [made.envelope, extra.envelope],
          extra: extra?.signature,
          requestDigest: request.requestDigest,
        }
      }),
    )
  }
}

/** As `Promise.all`, but nothing is under way any more when it fails: every use of a key has been told by then. */
async function allDone<const Parts extends readonly Promise<unknown>[]>(parts: Parts): Promise<AllOf<Parts>> {
  await Promise.allSettled(parts)
  return (await Promise.all(parts)) as AllOf<Parts>
}
type AllOf<Parts extends readonly Promise<unknown>[]> = { -readonly [At in keyof Parts]: Awaited<Parts[At]> }

function requireFitIssuers({ issuer, profile, extra }: Standing): void {
  requireFitIssuer(issuer, profile)
  if (extra !== undefined) requireFitIssuer(extra.issuer, profile)
}

function outOfScope(standing: Standing, subjects: readonly SubjectRequest[]): Settled[] {
  return subjects.flatMap((subject) => {
    const refused = refusalOf(() => authorizeSubject(standing.profile, subject))
    return refused === undefined ? [] : [{ digest: subject.digest, refused }]
  })
}

function refusalOf(check: () => void): ServiceError | undefined {
  try {
    check()
    return undefined
  } catch (error) {
    if (error instanceof ServiceError) return error
    throw error
  }
}
