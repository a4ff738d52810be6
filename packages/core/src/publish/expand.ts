import { Attributes } from "../ledger/attributes.ts"
import { keys, queryAll } from "../ledger/keys.ts"
import { leasesOf, settleLeases } from "../ledger/leases.ts"
import { findRecord, signaturesOfArtifact } from "../ledger/records.ts"
import type { Issuer, Revocation, SignatureRecord } from "../model.ts"
import { padNumber } from "../names.ts"
import type { Item, Table } from "../ports.ts"
import { LEASE_LIFETIME_SEC } from "../sign/rules.ts"

/** One signature that a wide revocation covers. */
export interface CoveredSignature {
  readonly issuerKeyId: string
  readonly number: number
  /** undefined under a held key */
  readonly serialHex: string | undefined
}

/** Leases opened this long before a window may hold signatures made in it: their life, and clocks that differ. */
const LEASE_SLACK_MS = 5 * LEASE_LIFETIME_SEC * 1000
const WRITES_AT_ONCE = 100
const COMPLETE = "complete"

/**
 * The signatures that a revocation of an artifact, a profile or a principal covers, for lists that must name each one. Complete: artifacts list their
 * signatures themselves; the others are found through the leases, every number of which is accounted for, never through an index. What
 * was found is kept: since the revocation no lease can be taken for what it covers, and the ones taken before are settled first, so nothing can join.
 * @param keep writes down what was found; without it nothing is written, and what is found may be more than at the snapshot
 */
export async function coveredSignatures(
  table: Table,
  revocation: Revocation,
  issuers: readonly Issuer[],
  keep: boolean,
): Promise<CoveredSignature[]> {
  const { target } = revocation
  switch (target.kind) {
    case "artifact":
      return (await recordsById(table, await signaturesOfArtifact(table, target.digest))).flatMap((record) =>
        covered(record, false),
      )
    case "profile":
      return await kept(table, keep, revocation.id, target.from.toISOString(), () =>
        signedWithin(table, issuers, target.from, undefined, (record) => record.profile === target.profile),
      )
    case "principal": {
      const until = target.until ?? new Date(revocation.acknowledgedAt.getTime() + LEASE_SLACK_MS)
      return await kept(table, keep, revocation.id, `${target.from.toISOString()}~${until.toISOString()}`, () =>
        signedWithin(table, issuers, target.from, until, (record) => record.principal === target.principal),
      )
    }
    default:
      return []
  }
}

async function kept(
  table: Table,
  keep: boolean,
  revocation: string,
  window: string,
  find: () => Promise<readonly CoveredSignature[]>,
): Promise<CoveredSignature[]> {
  const complete = keys.expansion(revocation, window, COMPLETE)
  if ((await table.get(complete)) === undefined) {
    if (!keep) return [...(await find())]
    await settleLeases(table)
    const found = await find()
    for (let i = 0; i < found.length; i += WRITES_AT_ONCE)
      await table.transact(
        found.slice(i, i + WRITES_AT_ONCE).map((signature) => ({ put: coveredItem(revocation, window, signature) })),
      )
    await table.transact([{ put: { ...complete } }])
    return [...found]
  }
  const items = await queryAll(table, complete.pk)
  return items.filter((item) => item.sk !== COMPLETE).map(coveredFrom)
}

async function signedWithin(
  table: Table,
  issuers: readonly Issuer[],
  from: Date,
  until: Date | undefined,
  concerns: (record: SignatureRecord) => boolean,
): Promise<CoveredSignature[]> {
  const found: CoveredSignature[] = []
  for (const issuer of issuers) {
    for (const lease of await leasesOf(table, issuer.issuerKeyId)) {
      if (lease.expiresAt.getTime() + LEASE_SLACK_MS < from.getTime()) continue
      if (until !== undefined && lease.openedAt.getTime() - LEASE_SLACK_MS > until.getTime()) continue
      for (const record of await recordsById(table, [...lease.used.values()])) {
        const inside = record.signedAt >= from && (until === undefined || record.signedAt <= until)
        if (!inside || !concerns(record)) continue
        found.push(...covered(record, true).filter(({ issuerKeyId }) => issuerKeyId === issuer.issuerKeyId))
      }
    }
  }
  return found
}

async function recordsById(table: Table, ids: readonly string[]): Promise<SignatureRecord[]> {
  const records: SignatureRecord[] = []
  for (const id of ids) {
    const record = await findRecord(table, id)
    if (record === undefined) throw new Error(`damaged table: no record ${id}`)
    records.push(record)
  }
  return records
}

/**
 * Both signatures of an act, each with its own issuer's number.
 * @param wide whether all that one request signed is covered alike. Then a batch's certificate may be revoked as a whole; a single one of its
 * signatures is rescinded in our own list alone
 */
function covered(record: SignatureRecord, wide: boolean): CoveredSignature[] {
  const { keyMode, extra } = record
  const own = keyMode === "ephemeral" || (keyMode === "shared" && wide)
  return (extra === undefined ? [record] : [record, extra]).map(({ issuerKeyId, number, serialHex }) => ({
    issuerKeyId,
    number,
    serialHex: own ? serialHex : undefined,
  }))
}

function coveredItem(revocation: string, window: string, signature: CoveredSignature): Item {
  const { issuerKeyId, number, serialHex } = signature
  return {
    ...keys.expansion(revocation, window, `${issuerKeyId}#${padNumber(number)}`),
    issuerKeyId,
    number,
    ...(serialHex !== undefined && { serialHex }),
  }
}

function coveredFrom(item: Item): CoveredSignature {
  const attributes = Attributes.of(item)
  return {
    issuerKeyId: attributes.text("issuerKeyId"),
    number: attributes.number("number"),
    serialHex: attributes.optionalText("serialHex"),
  }
}
