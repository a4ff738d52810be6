import { bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import { parseCertificate } from "@sealwright/formats/x509"
import { closeLeases, nextGeneration } from "../admin/profiles.ts"
import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { findForeignCertificate } from "../ledger/foreign.ts"
import { keys } from "../ledger/keys.ts"
import { findRecord } from "../ledger/records.ts"
import { findRevocation, revocationItem } from "../ledger/revocations.ts"
import { listTimestampAuthorities, revokeTimestampAuthority } from "../ledger/timestamp-authorities.ts"
import {
  listIssuers,
  listProfiles,
  readDeployment,
  readIssuer,
  readProfile,
  replaceProfile,
  rootsOf,
} from "../ledger/trust.ts"
import type { CrlReason, Envelope, ExtraSignature, KeyMode, Profile, Revocation, RevocationTarget } from "../model.ts"
import { ROOT_NAME } from "../names.ts"
import type { Clock, Digest, RandomBytes, Table, Write } from "../ports.ts"
import { noteChangeNow } from "../publish/changes.ts"
import { wholeSeconds } from "../sign/rules.ts"
import {
  checkReason,
  checkWindow,
  effectiveTime,
  mergeRevocation,
  type RevocationRequestTarget,
  releaseHold,
  revocationId,
} from "./rules.ts"

export interface RevokePorts {
  readonly table: Table
  readonly clock: Clock
  readonly random: RandomBytes
  readonly digest: Digest
}

export interface RevokeRequest {
  readonly target: RevocationRequestTarget
  readonly reason: CrlReason
  readonly comment: string
  readonly effectiveAt: Date | undefined
  readonly principal: string
  readonly requestId: string
}

/** What stands now. `revocation.epoch` names the publication that carries it, and every later one does too (I2). */
export interface Acknowledgement {
  readonly revocation: Revocation
  /** false: the same revocation stood before */
  readonly changed: boolean
}

const ATTEMPTS = 4

/**
 * Revokes (D4). One transaction writes the revocation, what it forbids from now on (the artifact, the profile, the issuer, the principal) and the
 * note to the open epoch; it holds only while that epoch is open. Then the leases that could still record what is forbidden are closed, and
 * only then is it acknowledged. A crash in between leaves a durable revocation; asking again ends the work.
 * @throws ServiceError REQUEST_MALFORMED, SIGNATURE_UNKNOWN, CERTIFICATE_UNKNOWN, ISSUER_UNKNOWN, PROFILE_UNKNOWN, REVOCATION_FINAL, CONTENTION
 */
export async function revoke(ports: RevokePorts, request: RevokeRequest): Promise<Acknowledgement> {
  const now = wholeSeconds(ports.clock())
  checkWindow(request.target, now)
  checkReason(request.target, request.reason)
  const target = await resolve(ports, request.target)
  if (target.kind === "issuer" && target.issuer === ROOT_NAME)
    throw new ServiceError("REQUEST_MALFORMED", "no root revokes itself: revoke the profiles and issuers below it")
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const standing = await findRevocation(ports.table, revocationId(ports.digest, target))
    const asked: Revocation = {
      id: revocationId(ports.digest, target),
      target,
      reason: request.reason,
      comment: request.comment,
      principal: request.principal,
      acknowledgedAt: now,
      effectiveAt: effectiveTime(request.effectiveAt, now),
      epoch: 0,
      firstEpoch: 0,
      released: false,
    }
    const merged = mergeRevocation(standing, asked)
    const forbidding = await forbid(ports, merged ?? standing ?? asked, now)
    const listedAgain = target.kind === "principal" && forbidding.length > 0
    if (merged === undefined && standing !== undefined && !listedAgain) {
      await closeForbidden(ports.table, target)
      return { revocation: standing, changed: false }
    }
    const next = merged ?? {
      ...asked,
      reason: standing?.reason ?? asked.reason,
      effectiveAt: standing?.effectiveAt ?? now,
    }
    const result = await noteChangeNow(ports.table, (epoch) => [
      writeRevocation({ ...next, epoch, firstEpoch: standing?.firstEpoch ?? epoch }, standing),
      ...forbidding,
      auditWrite(ports, request, `revoke.${target.kind}`, next.id),
    ])
    if (!result.committed) continue
    await closeForbidden(ports.table, target)
    const { epoch } = result
    return { revocation: { ...next, epoch, firstEpoch: standing?.firstEpoch ?? epoch }, changed: true }
  }
  throw new ServiceError("CONTENTION", "others kept changing what is to be revoked")
}

/** Lets a certificateHold go; the next publications say so (I7). @throws ServiceError REVOCATION_UNKNOWN, REVOCATION_FINAL, CONTENTION */
export async function release(ports: RevokePorts, id: string, actor: Actor): Promise<Acknowledgement> {
  const now = wholeSeconds(ports.clock())
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const standing = await findRevocation(ports.table, id)
    if (standing === undefined) throw new ServiceError("REVOCATION_UNKNOWN", `no revocation ${id}`)
    if (standing.released) return { revocation: standing, changed: false }
    const result = await noteChangeNow(ports.table, (epoch) => [
      writeRevocation(releaseHold(standing, actor.principal, epoch, now), standing),
      ...(standing.target.kind === "artifact"
        ? [{ update: keys.artifact(standing.target.digest), remove: ["deniedBy"] } as const]
        : []),
      auditWrite(ports, actor, "revoke.release", id),
    ])
    if (result.committed)
      return { revocation: releaseHold(standing, actor.principal, result.epoch, now), changed: true }
  }
  throw new ServiceError("CONTENTION", "others kept changing the revocation")
}

function writeRevocation(next: Revocation, standing: Revocation | undefined): Write {
  const put = revocationItem(next)
  if (standing === undefined) return { put, if: { absent: true } }
  return { put, if: { equals: { epoch: standing.epoch, reason: standing.reason, released: standing.released } } }
}

async function resolve(ports: RevokePorts, target: RevocationRequestTarget): Promise<RevocationTarget> {
  switch (target.kind) {
    case "signature": {
      const record = await findRecord(ports.table, target.signature)
      if (record === undefined) throw new ServiceError("SIGNATURE_UNKNOWN", `no signature ${target.signature}`)
      const serialHex = record.keyMode === "ephemeral" ? record.serialHex : undefined
      const { issuerKeyId, number, extra } = record
      return { ...target, issuerKeyId, number, serialHex, ...(extra && { extra: extraTarget(record.keyMode, extra) }) }
    }
    case "certificate":
      return "signature" in target
        ? await certificateOfSignature(ports, target.signature)
        : await resolveCertificate(ports, target.thumbprint)
    case "issuer": {
      const issuer = await readIssuer(ports.table, target.issuer)
      return { ...target, issuerKeyId: issuer.issuerKeyId, from: target.from }
    }
    case "profile":
      await readProfile(ports.table, target.profile)
      return target
    default:
      return target
  }
}

async function certificateOfSignature(ports: RevokePorts, id: string): Promise<RevocationTarget> {
  const record = await findRecord(ports.table, id)
  const [envelope, extraEnvelope] = record?.envelopes ?? []
  if (record === undefined || envelope === undefined) throw new ServiceError("SIGNATURE_UNKNOWN", `no signature ${id}`)
  const certified = ({ issuerKeyId, serialHex }: Pick<ExtraSignature, "issuerKeyId" | "serialHex">, of: Envelope) => {
    const [x5c = ""] = parseNotaryJws(of.bytes).x5c
    return { thumbprint: hexEncode(ports.digest("sha256", parseX5c(x5c).der)), issuerKeyId, serialHex }
  }
  return {
    kind: "certificate",
    ...certified(record, envelope),
    ...(record.extra && extraEnvelope && { extra: certified(record.extra, extraEnvelope) }),
  }
}

/** Both signatures of an act fall together. */
function extraTarget(keyMode: KeyMode, { issuerKeyId, number, serialHex }: ExtraSignature) {
  return { issuerKeyId, number, serialHex: keyMode === "ephemeral" ? serialHex : undefined }
}

/** Certificates that are revoked by thumbprint: issuing CAs, timestamp authorities, the certificates of held keys, and those whose signatures were registered. */
async function resolveCertificate(ports: RevokePorts, thumbprint: string): Promise<RevocationTarget> {
  const deployment = await readDeployment(ports.table)
  const { root } = deployment
  const issuers = await listIssuers(ports.table)
  const matches = (der: Uint8Array) => hexEncode(ports.digest("sha256", der)) === thumbprint
  const issuer = issuers.find(({ certificate }) => matches(certificate))
  if (issuer !== undefined)
    return { kind: "issuer", issuer: issuer.name, issuerKeyId: issuer.issuerKeyId, from: undefined }
  const certified = (certificate: Uint8Array, issuerKeyId: string): RevocationTarget => ({
    kind: "certificate",
    thumbprint,
    issuerKeyId,
    serialHex: hexEncode(parseCertificate(certificate).serialBytes),
  })
  const authority = (await listTimestampAuthorities(ports.table)).find(({ certificate }) => matches(certificate))
  if (authority !== undefined) {
    const above = authority.chain.at(-1) ?? root.certificate
    const by = rootsOf(deployment).find(({ certificate }) => bytesEqual(certificate, above))
    return certified(authority.certificate, (by ?? root).issuerKeyId)
  }
  for (const { held, former, issuer: name } of await listProfiles(ports.table)) {
    const earlier = former.certificates.find(({ certificate }) => matches(certificate))
    if (earlier !== undefined) return certified(earlier.certificate, earlier.issuerKeyId)
    if (held === undefined || !matches(held.certificate)) continue
    const by = issuers.find((one) => one.name === name && one.generation === held.issuerGeneration)
    return certified(held.certificate, by?.issuerKeyId ?? root.issuerKeyId)
  }
  const foreign = await findForeignCertificate(ports.table, thumbprint)
  if (foreign !== undefined) return { kind: "certificate", thumbprint, ...foreign }
  throw new ServiceError("CERTIFICATE_UNKNOWN", `no certificate with thumbprint ${thumbprint}`)
}

/** What no one may do from now on, written with the revocation itself. */
async function forbid(ports: RevokePorts, revocation: Revocation, now: Date): Promise<Write[]> {
  const { table } = ports
  const { target } = revocation
  switch (target.kind) {
    case "signature":
      return []
    case "artifact":
      return [{ update: keys.artifact(target.digest), set: { deniedBy: revocation.id } }]
    case "issuer": {
      const generation = (await listIssuers(table)).find(
        ({ issuerKeyId }) => issuerKeyId === target.issuerKeyId,
      )?.generation
      if (generation === undefined) throw new ServiceError("ISSUER_UNKNOWN", `no issuer key ${target.issuerKeyId}`)
      return [{ update: keys.issuer(target.issuer, generation), set: { state: "revoked" }, if: { exists: true } }]
    }
    case "profile":
      return changeState(await readProfile(table, target.profile), "revoked", now)
    case "certificate": {
      const isTarget = (der: Uint8Array) => hexEncode(ports.digest("sha256", der)) === target.thumbprint
      const authority = (await listTimestampAuthorities(table)).find(({ certificate }) => isTarget(certificate))
      if (authority !== undefined) return [revokeTimestampAuthority(authority)]
      const holder = (await listProfiles(table)).find(({ held }) => held !== undefined && isTarget(held.certificate))
      return holder === undefined ? [] : changeState(holder, "revoked", now)
    }
    case "principal":
      if (target.until !== undefined) return []
      return (await listProfiles(table))
        .filter((profile) => profile.principals.includes(target.principal))
        .flatMap((profile) =>
          replace(
            profile,
            { principals: profile.principals.filter((principal) => principal !== target.principal) },
            now,
          ),
        )
  }
}

function changeState(profile: Profile, state: Profile["state"], now: Date): Write[] {
  return profile.state === state ? [] : replace(profile, { state }, now)
}

function replace(profile: Profile, change: Partial<Profile>, now: Date): Write[] {
  return [replaceProfile({ ...nextGeneration(profile, now), ...change }, profile.generation)]
}

async function closeForbidden(table: Table, target: RevocationTarget): Promise<void> {
  switch (target.kind) {
    case "signature":
    case "artifact":
      return
    case "issuer":
      return await closeLeases(table, (lease) => lease.issuerKeyId === target.issuerKeyId)
    case "profile":
      return await closeLeases(table, (lease) => lease.profile === target.profile)
    case "certificate":
    case "principal":
      return await closeLeases(table, () => true)
  }
}
