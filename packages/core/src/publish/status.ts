import { readCommit } from "../ledger/epochs.ts"
import { nextNumber } from "../ledger/leases.ts"
import { type PublicationHead, readHead } from "../ledger/publication.ts"
import { listIssuers, listPendingIssuers } from "../ledger/trust.ts"
import type { Issuer, PendingIssuer } from "../model.ts"
import { isWrapped, type Table } from "../ports.ts"
import { daysLeft, EXPIRY_LEVELS, type Expiry, type ExpiryLevel, listExpiries, urgencyOf } from "./expiry.ts"

/** An issuer gives way to the next before its CRL is more than stock clients like to fetch (D7). */
export const ISSUER_LIMITS = { certificates: 2 ** 22, revoked: 2 ** 18 } as const

/** The part of a limit from which on a successor is due. */
const SOON = 3 / 4

export type LoadLevel = "ok" | "soon" | "full"

/** How much of an issuer's life is used up. */
export interface IssuerLoad {
  readonly name: string
  readonly generation: number
  readonly issuerKeyId: string
  readonly state: Issuer["state"]
  /** its key signs in the functions' memory */
  readonly wrapped: boolean
  /** numbers given out, void ones among them: certificates are no more */
  readonly certificates: number
  /** entries of its newest CRL */
  readonly revoked: number
  readonly level: LoadLevel
}

export interface StatusExpiry extends Expiry {
  readonly daysLeft: number
  readonly level: ExpiryLevel
}

export interface Status {
  readonly head: PublicationHead
  readonly expiries: readonly StatusExpiry[]
  readonly issuers: readonly IssuerLoad[]
  readonly pending: readonly PendingIssuer[]
  /** the most urgent of all */
  readonly level: ExpiryLevel
}

export function loadLevel(certificates: number, revoked: number): LoadLevel {
  const used = Math.max(certificates / ISSUER_LIMITS.certificates, revoked / ISSUER_LIMITS.revoked)
  if (used >= 1) return "full"
  return used >= SOON ? "soon" : "ok"
}

/** Where publication stands, what ends when, and which issuers are used up. @returns undefined before the ceremony */
export async function readStatus(table: Table, now: Date): Promise<Status | undefined> {
  const head = await readHead(table)
  if (head === undefined) return undefined
  const expiries = (await listExpiries(table)).map((expiry) => ({
    ...expiry,
    daysLeft: daysLeft(expiry.at, now),
    level: urgencyOf(expiry, head, now),
  }))
  const crls = head.committed === 0 ? undefined : (await readCommit(table, head.committed))?.crls
  const issuers: IssuerLoad[] = []
  for (const { name, generation, issuerKeyId, key, state, firstNumber } of await listIssuers(table)) {
    const certificates = (await nextNumber(table, issuerKeyId)) - firstNumber
    const revoked = crls?.get(issuerKeyId)?.entryCount ?? 0
    issuers.push({
      name,
      generation,
      issuerKeyId,
      state,
      wrapped: isWrapped(key),
      certificates,
      revoked,
      level: loadLevel(certificates, revoked),
    })
  }
  const worst = Math.max(0, ...expiries.map(({ level }) => EXPIRY_LEVELS.indexOf(level)))
  const level = EXPIRY_LEVELS[worst] as ExpiryLevel
  return { head, expiries, issuers, pending: await listPendingIssuers(table), level }
}
