import { bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { MAX_CRL_BYTES, parseCrl } from "@sealwright/formats/crl"
import { integer, openObject } from "@sealwright/formats/shape"
import { parseJson } from "@sealwright/formats/strict-json"
import { formatTime } from "@sealwright/formats/time"
import { decodeMetadata } from "@sealwright/formats/tuf"
import { isServiceError, ServiceError } from "../errors.ts"
import { commitEpoch, readCommit } from "../ledger/epochs.ts"
import { eventWrite } from "../ledger/events.ts"
import { keys } from "../ledger/keys.ts"
import { settleLeases } from "../ledger/leases.ts"
import { type PublicationHead, readHead } from "../ledger/publication.ts"
import { ulid } from "../names.ts"
import type { ObjectHeaders, Objects, Table, Write } from "../ports.ts"
import { wholeSeconds } from "../sign/rules.ts"
import { numbersOfEpoch } from "./before.ts"
import { stagedCrlKey } from "./crl.ts"
import { REFRESH_SEC } from "./due.ts"
import {
  digestOfList,
  type Edition,
  isOvertaken,
  listDigest,
  makeEdition,
  OBJECT_HEADERS,
  type PublishPorts,
} from "./edition.ts"
import { encodePlan, planOf } from "./plan.ts"
import { requireReadablePlan } from "./plan-size.ts"
import { checkNotAhead, readShown, TIMESTAMP_KEY, timestampCounts } from "./shown.ts"
import { takeSnapshot } from "./snapshot.ts"
import { verifyAsStranger } from "./stranger.ts"

export interface PublishOutcome {
  readonly epoch: number
  readonly published: boolean
  /** why nothing was to be done */
  readonly idle: boolean
}

/**
 * Publishes (D5). Order: end all leases, so that what was signed before is covered by the list (D3), close epoch E, snapshot, stage the plan,
 * commit by compare-and-swap, then sign what was committed and store each signature (the first wins), write immutable objects, read the new set
 * back and verify it as a stranger would, move the CRLs and the dialect trees, move the TUF timestamp last, note it as published. Whatever was left
 * unfinished by a crash is finished first, and what changed since then follows in the same run.
 * An epoch whose staged parts are gone from the bucket, or whose TUF keys are gone and were replaced since, is left out: the next one, which has all that it had, is published instead, and no epoch ever has
 * two contents. A bucket that was emptied is filled at once.
 * @param force publish although nothing changed and nothing is due
 * @throws ServiceError PRECONDITION_REQUIRED, TABLE_BEHIND (nothing is written but a note of it), STAGING_LOST (the next run goes on), EPOCH_CONFLICT, CLOCK_WENT_BACK, PUBLICATION_MISMATCH, PUBLICATION_UNVERIFIED, TUF_TOO_LARGE, SIGNER_UNAVAILABLE
 */
export async function publish(ports: PublishPorts, force: boolean): Promise<PublishOutcome> {
  const shown = await readShown(ports)
  let head = await requireHead(ports.table)
  await checkNotAhead(ports, shown, head.committed)
  let lost = shown.missing && head.published > 0
  if (head.committed > head.published) {
    lost ||= !(await finishUnlessLost(ports, head.committed))
    head = await requireHead(ports.table)
  }
  const now = wholeSeconds(ports.clock())
  const pending = head.open - 1 > head.committed
  if (!force && !pending && !lost && !isDue(head, now)) return { epoch: head.published, published: false, idle: true }
  if (head.committedAt !== undefined && now.getTime() < head.committedAt.getTime())
    throw new ServiceError("CLOCK_WENT_BACK", `the last epoch is of ${head.committedAt.toISOString()}`)
  if (pending) {
    await settleLeases(ports.table)
    await carryOut(ports, head.open - 1, now, head.published, lost)
    head = await requireHead(ports.table)
    if (head.changes === 0) return { epoch: head.open - 1, published: true, idle: false }
  }
  await settleLeases(ports.table)
  const epoch = await closeEpoch(ports.table, head, lost)
  await carryOut(ports, epoch, now, head.published, lost)
  return { epoch, published: true, idle: false }
}

/** @returns false when nobody can end it: what was staged for it is gone, or a key that its root or targets name is, and later ones name another */
async function finishUnlessLost(ports: PublishPorts, epoch: number): Promise<boolean> {
  try {
    await finish(ports, epoch)
    return true
  } catch (error) {
    if (isServiceError(error, "STAGING_LOST")) return false
    if (isServiceError(error, "KEY_NOT_USABLE") && (await isOvertaken(ports, epoch))) return false
    throw error
  }
}

/**
 * From a closed epoch to every reader.
 * @param published the last epoch that is shown
 * @param lost something was missing in the bucket, so that what is to be kept must be looked for
 */
async function carryOut(
  ports: PublishPorts,
  epoch: number,
  now: Date,
  published: number,
  lost: boolean,
): Promise<void> {
  await commitPlan(ports, epoch, now, published, lost)
  await finish(ports, epoch)
}

function isDue(head: PublicationHead, now: Date): boolean {
  return (
    head.changes > 0 ||
    head.committedAt === undefined ||
    now.getTime() - head.committedAt.getTime() >= REFRESH_SEC * 1000
  )
}

async function requireHead(table: Table): Promise<PublicationHead> {
  const head = await readHead(table)
  if (head === undefined) throw new ServiceError("PRECONDITION_REQUIRED", "nothing is set up yet")
  return head
}

/** @param lost the epoch before may be left out */
async function closeEpoch(table: Table, head: PublicationHead, lost: boolean): Promise<number> {
  const epoch = head.open
  const published = lost ? head.published : epoch - 1
  const result = await table.transact([
    {
      update: keys.publication,
      set: { open: epoch + 1, changes: 0 },
      if: { equals: { open: epoch, committed: epoch - 1, published } },
    },
  ])
  if (!result.committed) throw new ServiceError("EPOCH_CONFLICT", `epoch ${epoch} was closed by another publisher`)
  return epoch
}

async function commitPlan(
  ports: PublishPorts,
  epoch: number,
  date: Date,
  published: number,
  lost: boolean,
): Promise<void> {
  const before = await numbersOfEpoch(ports, await readCommit(ports.table, epoch - 1))
  const snapshot = await takeSnapshot(ports.table, epoch, date, before)
  const previous = epoch === 1 ? "" : await listDigest(ports, epoch - 1)
  const planned = planOf(snapshot, previous)
  requireReadablePlan(planned)
  const plan = encodePlan(planned, ports.digest)
  await createSame(ports.objects, plan.key, plan.bytes, OBJECT_HEADERS.private)
  const decided = {
    epoch,
    date,
    planKey: plan.key,
    planDigest: plan.digestHex,
    listDigest: digestOfList(ports.digest, planned),
    lostCrls: lost ? await lostCrls(ports, epoch - 1) : [],
  }
  const committed = await commitEpoch(ports.table, decided, published)
  if (!committed) throw new ServiceError("EPOCH_CONFLICT", `epoch ${epoch} was committed by another publisher`)
}

/** Issuer key ids of an epoch's CRLs that are not in the bucket any more. */
async function lostCrls(ports: PublishPorts, epoch: number): Promise<string[]> {
  const lost: string[] = []
  for (const [issuerKeyId, { digestHex }] of (await readCommit(ports.table, epoch))?.crls ?? [])
    if ((await ports.objects.get(stagedCrlKey(digestHex), MAX_CRL_BYTES)) === undefined) lost.push(issuerKeyId)
  return lost
}

/** Brings a committed epoch to every reader. Anyone may run it, again and at the same time. */
async function finish(ports: PublishPorts, epoch: number): Promise<void> {
  const edition = await makeEdition(ports, epoch)
  for (const [key, { bytes, headers }] of edition.immutable) await createSame(ports.objects, key, bytes, headers)
  await verifyAsStranger(ports, edition)
  for (const [issuerKeyId, bytes] of edition.crls)
    await moveHead(
      ports.objects,
      `crl/${issuerKeyId}.crl`,
      bytes,
      OBJECT_HEADERS.crl,
      (standing) => parseCrl(standing).crlNumber ?? 0n,
    )
  await moveHead(ports.objects, "trees/notation.json", edition.notation, OBJECT_HEADERS.private, treeEpoch)
  const counts = await timestampCounts(ports, edition.rootVersion)
  await moveHead(ports.objects, TIMESTAMP_KEY, edition.timestamp, OBJECT_HEADERS.timestamp, counts)
  const { published } = await requireHead(ports.table)
  if (published >= epoch) return
  await ports.table.transact([
    { update: keys.publication, set: { published: epoch }, if: { equals: { committed: epoch, published } } },
    await publicationEvent(ports, edition),
  ])
}

/** What the log of events says of a publication; the same whoever ends it. */
async function publicationEvent(ports: PublishPorts, { epoch, immutable, timestamp }: Edition): Promise<Write> {
  const { version } = decodeMetadata(timestamp, "timestamp", timestamp.length).signed
  const digest = ports.digest("sha256", timestamp)
  const date = (await readCommit(ports.table, epoch))?.date ?? new Date(0)
  const targetOf = (name: string): string =>
    [...immutable.keys()].find((key) => key.endsWith(`.${name}`))?.match(/([0-9a-f]{64})\.[a-z]+\.json$/)?.[1] ?? ""
  return eventWrite(ulid(date, digest), date, "publication", {
    epoch,
    date: formatTime(date),
    list: await listDigest(ports, epoch),
    revocations: targetOf("revocations.json"),
    allow: targetOf("allow.json"),
    timestamp: { version, sha256: hexEncode(digest) },
  })
}

async function createSame(objects: Objects, key: string, bytes: Uint8Array, headers: ObjectHeaders): Promise<void> {
  if ((await objects.create(key, bytes, headers)) !== "exists") return
  const standing = await objects.get(key, bytes.length)
  if (standing === undefined || !bytesEqual(standing.bytes, bytes))
    throw new ServiceError("PUBLICATION_MISMATCH", `${key} holds other bytes than committed`)
}

const MAX_HEAD_BYTES = 64 * 1024 * 1024
const MOVE_ATTEMPTS = 4

/** Replaces a mutable head, never by an older state: a publisher that slept for hours changes nothing. */
async function moveHead(
  objects: Objects,
  key: string,
  bytes: Uint8Array,
  headers: ObjectHeaders,
  positionOf: (bytes: Uint8Array) => number | bigint,
): Promise<void> {
  for (let attempt = 0; attempt < MOVE_ATTEMPTS; attempt++) {
    const standing = await objects.get(key, MAX_HEAD_BYTES)
    if (standing !== undefined && positionOf(standing.bytes) >= positionOf(bytes)) return
    if ((await objects.replace(key, bytes, standing?.etag, headers)) !== "changed") return
  }
  throw new ServiceError("CONTENTION", `${key} kept changing`)
}

function treeEpoch(bytes: Uint8Array): number {
  return openObject({ epoch: integer(1) })(parseJson(bytes, { maxBytes: MAX_HEAD_BYTES }), "tree").epoch
}
