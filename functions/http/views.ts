import { type Job, jobProgress, jobState } from "@sealwright/core/jobs/rules"
import type { LoggedSignature } from "@sealwright/core/ledger/log"
import type { TufDocument } from "@sealwright/core/ledger/tuf-documents"
import type { LogStatus, LogsStatus } from "@sealwright/core/log/status"
import type {
  AuditEntry,
  Deployment,
  ExtraSignature,
  ForeignSignature,
  Issuer,
  OcspResponder,
  OutsideAuthority,
  OutsideCrl,
  PendingIssuer,
  Profile,
  Revocation,
  SignatureRecord,
  TimestampAuthority,
} from "@sealwright/core/model"
import { isWrapped } from "@sealwright/core/ports"
import type { Status } from "@sealwright/core/publish/status"
import { readRoot } from "@sealwright/core/tuf/rules"
import type { TufStatus } from "@sealwright/core/tuf/status"
import { base64Encode } from "@sealwright/formats/bytes"
import { parseCrl } from "@sealwright/formats/crl"
import { CSR_LABEL } from "@sealwright/formats/csr"
import { pemEncode } from "@sealwright/formats/pem"
import { formatTime } from "@sealwright/formats/time"
import { encodeTufSigning } from "@sealwright/formats/tuf-signing"
import { logState } from "./log-view.ts"

/** How records look over the API: big integers as decimal strings, times as RFC 3339 in UTC (D14). */
export function signatureView(record: SignatureRecord, logged?: LoggedSignature) {
  return {
    id: record.id,
    profile: record.profile,
    issuer: record.issuer,
    issuerKeyId: record.issuerKeyId,
    wrapped: record.wrapped,
    number: String(record.number),
    serial: record.serialHex,
    keyMode: record.keyMode,
    subject: record.subject,
    reference: record.reference,
    principal: record.principal,
    signedAt: formatTime(record.signedAt),
    ...(record.expiresAt && { expiresAt: formatTime(record.expiresAt) }),
    certificateNotAfter: formatTime(record.certificateNotAfter),
    ...(record.extra && { extra: extraView(record.extra) }),
    ...logState(logged),
    envelopes: record.envelopes.map(({ format, mediaType, bytes }) => ({
      format,
      mediaType,
      content: base64Encode(bytes),
    })),
  }
}

function extraView({ issuer, issuerKeyId, number, serialHex }: ExtraSignature) {
  return { issuer, issuerKeyId, number: String(number), serial: serialHex }
}

export function foreignSignatureView(signature: ForeignSignature) {
  return {
    id: signature.id,
    profile: signature.profile,
    issuerKeyId: signature.issuerKeyId,
    serial: signature.serialHex,
    certificateSha256: signature.thumbprint,
    subject: signature.subject,
    reference: signature.reference,
    principal: signature.principal,
    signedAt: formatTime(signature.signedAt),
    certificateNotAfter: formatTime(signature.certificateNotAfter),
    recordedAt: formatTime(signature.recordedAt),
    envelope: {
      format: signature.envelope.format,
      mediaType: signature.envelope.mediaType,
      content: base64Encode(signature.envelope.bytes),
    },
  }
}

export function profileView(profile: Profile) {
  return {
    name: profile.name,
    issuer: profile.issuer,
    keyMode: profile.keyMode,
    algorithm: profile.algorithm,
    ...(profile.extraIssuer !== undefined && { extraIssuer: profile.extraIssuer }),
    principals: profile.principals,
    repositories: profile.repositories,
    ...(profile.expirySec !== undefined && { expirySec: profile.expirySec }),
    leafLifetimeSec: profile.leafLifetimeSec,
    allowList: profile.allowList,
    timestamp: profile.timestamp,
    state: profile.state,
    generation: profile.generation,
    ...(profile.held && { certificate: pemEncode("CERTIFICATE", profile.held.certificate) }),
    createdAt: formatTime(profile.createdAt),
    updatedAt: formatTime(profile.updatedAt),
  }
}

/** A pending one has its request in place of a certificate. */
export function issuerView(issuer: Issuer | PendingIssuer) {
  if (!("certificate" in issuer))
    return {
      name: issuer.name,
      generation: issuer.generation,
      issuerKeyId: issuer.issuerKeyId,
      algorithm: issuer.key.scheme,
      state: "pending",
      external: true,
      wrapped: false,
      request: pemEncode(CSR_LABEL, issuer.request),
      createdAt: formatTime(issuer.createdAt),
    }
  return {
    name: issuer.name,
    generation: issuer.generation,
    issuerKeyId: issuer.issuerKeyId,
    algorithm: issuer.key.scheme,
    state: issuer.state,
    external: issuer.external,
    wrapped: isWrapped(issuer.key),
    certificate: pemEncode("CERTIFICATE", issuer.certificate),
    notAfter: formatTime(issuer.notAfter),
    createdAt: formatTime(issuer.createdAt),
  }
}

export function timestampAuthorityView(authority: TimestampAuthority) {
  return {
    generation: authority.generation,
    algorithm: authority.key.scheme,
    wrapped: isWrapped(authority.key),
    state: authority.state,
    certificate: pemEncode("CERTIFICATE", authority.certificate),
    chain: authority.chain.map((der) => pemEncode("CERTIFICATE", der)),
    notBefore: formatTime(authority.notBefore),
    notAfter: formatTime(authority.notAfter),
  }
}

export function ocspResponderView(responder: OcspResponder) {
  return {
    issuer: responder.issuer,
    issuerGeneration: responder.issuerGeneration,
    issuerKeyId: responder.issuerKeyId,
    generation: responder.generation,
    algorithm: responder.key.scheme,
    certificate: pemEncode("CERTIFICATE", responder.certificate),
    notBefore: formatTime(responder.notBefore),
    notAfter: formatTime(responder.notAfter),
  }
}

export function outsideAuthorityView({ name, url, roots, updatedAt }: OutsideAuthority) {
  return { name, url, roots: roots.map((der) => pemEncode("CERTIFICATE", der)), updatedAt: formatTime(updatedAt) }
}

export function outsideCrlView({ issuerKeyId, crl, crlNumber, thisUpdate, nextUpdate, epoch }: OutsideCrl) {
  return {
    issuerKeyId,
    crlNumber: String(crlNumber),
    thisUpdate: formatTime(thisUpdate),
    nextUpdate: formatTime(nextUpdate),
    entries: parseCrl(crl).entryCount,
    epoch,
  }
}

/** @param roots every TUF root, oldest first: the first one is for deployers to pin, the last one says who signs now */
export function deploymentView(deployment: Deployment, roots: readonly TufDocument[]) {
  const [first, newest] = [roots[0]?.bytes ?? new Uint8Array(0), roots.at(-1)?.bytes]
  return {
    country: deployment.country,
    state: deployment.state,
    organisation: deployment.organisation,
    identityHost: deployment.identityHost,
    crlHost: deployment.crlHost,
    tufUrl: deployment.tufUrl,
    createdAt: formatTime(deployment.createdAt),
    root: issuerView(deployment.root),
    formerRoots: deployment.formerRoots.map(issuerView),
    extraRoots: deployment.extraRoots.map(issuerView),
    ...(deployment.log && {
      log: { signatures: deployment.log.signatures.origin, events: deployment.log.events.origin },
    }),
    tufThreshold: newest === undefined ? 0 : readRoot(newest).signed.roles.root.threshold,
    tufRoot: base64Encode(first),
  }
}

export function logsView({ logs, policy, witnesses }: LogsStatus) {
  return {
    logs: Object.fromEntries(logs.map((log) => [log.kind, logStatusView(log)])),
    policy,
    witnesses: witnesses.map(({ name, url = "" }) => ({
      name,
      url,
      seen: Object.fromEntries(logs.map(({ kind, witnessed }) => [kind, String(witnessed.get(url) ?? 0n)])),
    })),
  }
}

function logStatusView({ origin, epoch, size, state, waiting, oldest, cosigned }: LogStatus) {
  return {
    origin,
    epoch,
    size: String(size),
    state,
    waiting,
    ...(oldest && { oldestWaiting: formatTime(oldest) }),
    ...(cosigned && { cosignedBy: cosigned.names, quorumMet: cosigned.quorum }),
  }
}

export function statusView({ head, expiries, issuers, pending, level }: Status) {
  const { open, committed, published, changes, committedAt } = head
  return {
    open,
    committed,
    published,
    changes,
    ...(committedAt && { committedAt: formatTime(committedAt) }),
    level,
    expiries: expiries.map((expiry) => ({ ...expiry, at: formatTime(expiry.at) })),
    issuers,
    pending: pending.map(({ name, createdAt }) => ({ name, createdAt: formatTime(createdAt) })),
  }
}

/** The file that people sign is in base64, as it is to be saved. */
export function tufView({ root, targets, roles, people, waiting, warnings }: TufStatus) {
  return {
    root: { version: root.version, expires: formatTime(root.expires) },
    targets: { version: targets.version, expires: formatTime(targets.expires) },
    roles,
    people: people.map(({ name, keyid, key, registeredAt }) => {
      return { name, keyid, algorithm: key.scheme, registeredAt: formatTime(registeredAt) }
    }),
    ...(waiting && {
      proposal: {
        id: waiting.proposal.id,
        act: waiting.proposal.act,
        principal: waiting.proposal.principal,
        createdAt: formatTime(waiting.proposal.createdAt),
        overtaken: waiting.overtaken,
        ...(waiting.request && { request: base64Encode(encodeTufSigning(waiting.request)) }),
      },
    }),
    warnings,
  }
}

/** @param now for the estimate of its end */
export function jobView(job: Job, now: Date) {
  const { ratePerSec, estimatedEnd } = jobProgress(job, now)
  return {
    id: job.id,
    profile: job.profile,
    state: jobState(job),
    principal: job.principal,
    total: job.total,
    signed: job.signed,
    refused: job.refused,
    ...(job.stop !== undefined && { stop: job.stop }),
    ...(job.expiresAt && { expiresAt: formatTime(job.expiresAt) }),
    acceptedAt: formatTime(job.acceptedAt),
    ...(job.startedAt && { startedAt: formatTime(job.startedAt) }),
    updatedAt: formatTime(job.updatedAt),
    ...(job.finishedAt && { finishedAt: formatTime(job.finishedAt) }),
    ...(ratePerSec !== undefined && { ratePerSec }),
    ...(estimatedEnd && { estimatedEnd: formatTime(estimatedEnd) }),
  }
}

function targetMember(value: unknown): unknown {
  if (value instanceof Date) return formatTime(value)
  if (typeof value === "number") return String(value)
  if (typeof value !== "object" || value === null) return value
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  return Object.fromEntries(members.map(([name, member]) => [name, targetMember(member)]))
}

export function revocationView(revocation: Revocation) {
  const { target } = revocation
  return {
    id: revocation.id,
    target: Object.fromEntries(
      Object.entries(target)
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => [name, targetMember(value)]),
    ),
    reason: revocation.reason,
    comment: revocation.comment,
    principal: revocation.principal,
    acknowledgedAt: formatTime(revocation.acknowledgedAt),
    effectiveAt: formatTime(revocation.effectiveAt),
    epoch: revocation.epoch,
    released: revocation.released,
  }
}

export function auditView(entry: AuditEntry) {
  return { ...entry, at: entry.at.toISOString() }
}
