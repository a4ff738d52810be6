import { bytesEqual, hexDecode, hexEncode, utf8 } from "@sealwright/formats/bytes"
import type { CrlReason } from "@sealwright/formats/crl"
import { assembleCrl, type CrlEntry, compareSerials, crlTbs } from "@sealwright/formats/crl-write"
import { parseCertificate } from "@sealwright/formats/x509"
import { authorityKeyId } from "../admin/certificates.ts"
import { isServiceError, ServiceError } from "../errors.ts"
import { type CommittedCrl, readCommit, recordCrl } from "../ledger/epochs.ts"
import { listRevocations } from "../ledger/revocations.ts"
import { listIssuers, readDeployment, rootsOf } from "../ledger/trust.ts"
import type { Issuer, Revocation } from "../model.ts"
import type { Digest, Objects, SigningKeys, Table } from "../ports.ts"
import { MAX_EXPIRY_SEC } from "../sign/rules.ts"
import { coveredSignatures } from "./expand.ts"

export interface CrlPorts {
  readonly table: Table
  readonly objects: Objects
  readonly keys: SigningKeys
  readonly digest: Digest
}

/** The freshness promised to stock clients (D14): seven days for issuers, thirty for the root, whose key is used seldom. */
export const ISSUER_CRL_LIFETIME_SEC = 7 * 86_400
export const ROOT_CRL_LIFETIME_SEC = 30 * 86_400

/**
 * How long after its issuer's end a list is still made: signatures outlive their certificates (R7, R8), and stock clients want a list in force
 * for each. After that the last one stays.
 */
export const CRL_RETENTION_SEC = MAX_EXPIRY_SEC

/** An unchanged list is signed anew once less than this part of its life remains. */
const RENEW_BELOW = 2 / 3
const STAGING_HEADERS = { contentType: "application/pkix-crl", cacheControl: "no-store" }

/** Where a CRL waits until a publication shows it. */
export function stagedCrlKey(digestHex: string): string {
  return `staging/crl/${digestHex}.crl`
}

/**
 * The CRL of one issuer key (or the root's) for a committed epoch, built from the table alone (D13): callers name an epoch, never bytes. First wins: whoever
 * records it in the epoch's commit item decides the bytes, and a repeat answers the same. A list that would say what the last one says,
 * and has most of its life before it, is kept.
 * @throws ServiceError EPOCH_CONFLICT if the epoch is not committed; ISSUER_UNKNOWN, SIGNER_UNAVAILABLE
 */
export async function makeCrl(ports: CrlPorts, epoch: number, issuerKeyId: string): Promise<CommittedCrl> {
  const commit = await readCommit(ports.table, epoch)
  if (commit === undefined) throw new ServiceError("EPOCH_CONFLICT", `epoch ${epoch} is not committed`)
  const standing = commit.crls.get(issuerKeyId)
  if (standing !== undefined) return standing

  const roots = rootsOf(await readDeployment(ports.table))
  const issuers = await listIssuers(ports.table)
  const issuer = [...roots, ...issuers].find((candidate) => candidate.issuerKeyId === issuerKeyId)
  if (issuer === undefined) throw new ServiceError("ISSUER_UNKNOWN", `no issuer key ${issuerKeyId}`)
  const revocations = (await listRevocations(ports.table)).filter(
    ({ firstEpoch, released }) => firstEpoch <= epoch && !released,
  )
  const entries = await crlEntries(ports.table, issuer, roots.includes(issuer), issuers, revocations)
  const entriesDigest = hexEncode(ports.digest("sha256", entriesInput(entries)))
  const lifetimeSec = roots.includes(issuer) ? ROOT_CRL_LIFETIME_SEC : ISSUER_CRL_LIFETIME_SEC
  const previous = (await readCommit(ports.table, epoch - 1))?.crls.get(issuerKeyId)
  const lost = commit.lostCrls.includes(issuerKeyId)
  const unchanged = !lost && previous?.entriesDigest === entriesDigest
  const retained = commit.date.getTime() <= issuer.notAfter.getTime() + CRL_RETENTION_SEC * 1000
  if (previous !== undefined && !lost)
    if (!retained || (unchanged && remainingPart(previous, commit.date, lifetimeSec) > RENEW_BELOW))
      return await recordCrl(ports.table, epoch, issuerKeyId, previous)

  const nextUpdate = new Date(commit.date.getTime() + lifetimeSec * 1000)
  const tbs = crlTbs({
    issuer: parseCertificate(issuer.certificate).subject.der,
    scheme: issuer.key.scheme,
    thisUpdate: commit.date,
    nextUpdate,
    crlNumber: BigInt(epoch),
    authorityKeyId: authorityKeyId(ports.digest, issuer),
    entries,
  })
  const signature = await signUnlessSpared(ports, issuer, tbs, unchanged)
  if (signature === undefined && previous !== undefined && !lost)
    return await recordCrl(ports.table, epoch, issuerKeyId, previous)
  if (signature === undefined) throw new ServiceError("KEY_NOT_USABLE", `issuer ${issuer.name} has no CRL to keep`)
  const der = assembleCrl(tbs, issuer.key.scheme, signature)
  const digestHex = hexEncode(ports.digest("sha256", der))
  await ports.objects.create(stagedCrlKey(digestHex), der, STAGING_HEADERS)
  return await recordCrl(ports.table, epoch, issuerKeyId, {
    digestHex,
    size: der.length,
    entriesDigest,
    nextUpdate,
    entryCount: entries.length,
  })
}

/**
 * One issuer's unusable key must not stop what all others publish: where its list has nothing new to say, or nobody should trust the issuer any
 * more, the last list stays until it ends.
 */
async function signUnlessSpared(
  ports: CrlPorts,
  issuer: Issuer,
  tbs: Uint8Array,
  unchanged: boolean,
): Promise<Uint8Array | undefined> {
  try {
    return await ports.keys.sign(issuer.key, tbs)
  } catch (error) {
    if (isServiceError(error, "KEY_NOT_USABLE") && (unchanged || issuer.state === "revoked")) return undefined
    throw error
  }
}

function remainingPart(crl: CommittedCrl, now: Date, lifetimeSec: number): number {
  return (crl.nextUpdate.getTime() - now.getTime()) / (lifetimeSec * 1000)
}

/** Void numbers are left out: no certificate has them. So are held signatures: stock clients can't tell them apart (D2). */
async function crlEntries(
  table: Table,
  issuer: Issuer,
  isRoot: boolean,
  issuers: readonly Issuer[],
  revocations: readonly Revocation[],
): Promise<CrlEntry[]> {
  const entries = new Map<string, CrlEntry>()
  const signsLeaves = issuers.some(({ issuerKeyId }) => issuerKeyId === issuer.issuerKeyId)
  const add = (serialHex: string | undefined, revocation: Revocation) => {
    if (serialHex === undefined) return
    const before = entries.get(serialHex)
    if (before !== undefined && before.revokedAt <= revocation.effectiveAt) return
    entries.set(serialHex, entryOf(serialHex, revocation))
  }
  for (const revocation of revocations) {
    const { target } = revocation
    if (target.kind === "issuer" && isRoot) {
      const revoked = issuers.find(({ issuerKeyId }) => issuerKeyId === target.issuerKeyId)
      if (revoked !== undefined && certifiedBy(issuer, revoked))
        add(hexEncode(parseCertificate(revoked.certificate).serialBytes), revocation)
    }
    if (target.kind === "signature" || target.kind === "certificate")
      for (const one of [target, target.extra])
        if (one?.issuerKeyId === issuer.issuerKeyId) add(one.serialHex, revocation)
    if (isRoot && !signsLeaves) continue
    for (const signature of await coveredSignatures(table, revocation, issuers, false))
      if (signature.issuerKeyId === issuer.issuerKeyId) add(signature.serialHex, revocation)
  }
  return [...entries.values()].sort((a, b) => compareSerials(a.serial, b.serial))
}

function certifiedBy(root: Issuer, { chain }: Issuer): boolean {
  const [above] = chain
  return above !== undefined && bytesEqual(above, root.certificate)
}

function entryOf(serialHex: string, revocation: Revocation): CrlEntry {
  const entry = { serial: hexDecode(serialHex), revokedAt: revocation.effectiveAt }
  return revocation.reason === "unspecified" ? entry : { ...entry, reason: revocation.reason satisfies CrlReason }
}

function entriesInput(entries: readonly CrlEntry[]): Uint8Array {
  return utf8(
    entries
      .map(({ serial, revokedAt, reason }) => `${hexEncode(serial)} ${revokedAt.toISOString()} ${reason ?? ""}\n`)
      .join(""),
  )
}
