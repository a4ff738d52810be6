import { leaseFrom } from "../ledger/leases.ts"
import { listIssuers } from "../ledger/trust.ts"
import type { Table } from "../ports.ts"

/** Leases live a minute; a look back over a few thousand is enough for the busiest issuer. */
const LOOKED_AT = 2000
const LONGEST_LEASE_MS = 10 * 60_000

/**
 * What an issuer's leases say of a time: how many were open, and how many of their numbers have no record. A crash between signing and recording
 * leaves such a number; a thief needs none.
 * @param keyId of the issuer's key
 */
export async function leasesAt(
  table: Table,
  keyId: string,
  at: Date,
): Promise<{ readonly leases: number; readonly voids: number } | undefined> {
  const issuer = (await listIssuers(table)).find(({ key }) => key.keyId === keyId)
  if (issuer === undefined) return undefined
  let leases = 0
  let voids = 0
  let after: string | undefined
  for (let seen = 0; seen < LOOKED_AT; ) {
    const range = { descending: true, limit: 100, ...(after !== undefined && { after }) }
    const page = await table.query(`leases#${issuer.issuerKeyId}`, range)
    for (const lease of page.items.map(leaseFrom)) {
      if (lease.openedAt.getTime() < at.getTime() - LONGEST_LEASE_MS) return { leases, voids }
      if (lease.openedAt > at || lease.expiresAt < at) continue
      leases += 1
      voids += lease.size - lease.used.size
    }
    seen += page.items.length
    if (page.next === undefined) break
    after = page.next
  }
  return { leases, voids }
}
