import { takeLease } from "../ledger/leases.ts"
import { readOutsideAuthority } from "../ledger/outside-authorities.ts"
import { readDeployment, readIssuerOf, readProfile } from "../ledger/trust.ts"
import type { Deployment, Issuer, Lease, OutsideAuthority, Profile } from "../model.ts"
import type { Clock, RandomBytes, Table } from "../ports.ts"
import { LEASE_LIFETIME_SEC, nextLeaseSize, outsideAuthorityOf } from "./rules.ts"

/** A lease is left alone this long before its end, so that a record in flight still finds it open. */
const LEASE_MARGIN_MS = 5_000
const NONCE_BYTES = 16

/** What a signer needs to know of a profile, as of one generation. */
export interface Standing {
  readonly deployment: Deployment
  readonly profile: Profile
  readonly issuer: Issuer
  /** who stamps, when it is not the deployment's own authority */
  readonly outside: OutsideAuthority | undefined
}

export interface Grant {
  readonly standing: Standing
  readonly lease: Lease
  readonly numbers: readonly number[]
}

/**
 * Hands out numbers from memory: one lease a profile, taken anew when it ends, is used up or is closed by others (D3).
 * What it remembers of a profile may be old. That is safe: the record's transaction fails once the lease is closed.
 */
export interface LeasePool {
  /** @returns what is remembered, or what the table says now when nothing is remembered or `fresh` is asked */
  standing(profile: string, fresh: boolean): Promise<Standing>
  /**
   * @returns undefined when the profile or its issuer changed between reading it and taking the lease, or the lease ended while it
   * was taken: look afresh
   */
  take(standing: Standing, count: number): Promise<Grant | undefined>
  forget(profile: string): void
}

interface Held {
  readonly standing: Standing
  lease: Lease | undefined
  handedOut: number
}

export function createLeasePool(ports: {
  readonly table: Table
  readonly clock: Clock
  readonly random: RandomBytes
}): LeasePool {
  const { table, clock, random } = ports
  const held = new Map<string, Held>()

  async function standing(name: string, fresh: boolean): Promise<Standing> {
    const known = held.get(name)
    if (known !== undefined && !fresh) return known.standing
    const deployment = await readDeployment(table)
    const profile = await readProfile(table, name)
    const issuer = await readIssuerOf(table, profile)
    const outsideName = outsideAuthorityOf(profile.timestamp)
    const outside = outsideName === undefined ? undefined : await readOutsideAuthority(table, outsideName)
    const same =
      known?.standing.profile.generation === profile.generation &&
      known.standing.issuer.issuerKeyId === issuer.issuerKeyId &&
      known.standing.issuer.state === issuer.state &&
      known.standing.outside?.updatedAt.getTime() === outside?.updatedAt.getTime()
    if (known !== undefined && same) return known.standing
    const next = { deployment, profile, issuer, outside }
    held.set(name, { standing: next, lease: undefined, handedOut: 0 })
    return next
  }

  async function take(of: Standing, count: number): Promise<Grant | undefined> {
    const { profile, issuer } = of
    const mine = held.get(profile.name)
    if (mine?.lease !== undefined && mine.standing === of) {
      const numbers = handOut(mine, mine.lease, count)
      if (numbers !== undefined) return { standing: of, lease: mine.lease, numbers }
    }
    const now = clock()
    const previous = mine?.lease && {
      size: mine.lease.size,
      usedUp: mine.lease.expiresAt.getTime() - LEASE_MARGIN_MS > now.getTime(),
    }
    const lease = await takeLease(table, profile, issuer, {
      size: nextLeaseSize(previous, count),
      nonce: random(NONCE_BYTES),
      now,
      lifetimeSec: LEASE_LIFETIME_SEC,
    })
    if (lease === undefined) {
      held.delete(profile.name)
      return undefined
    }
    const entry: Held = { standing: of, lease, handedOut: 0 }
    held.set(profile.name, entry)
    const numbers = handOut(entry, lease, count)
    return numbers && { standing: of, lease, numbers }
  }

  function handOut(entry: Held, lease: Lease, count: number): readonly number[] | undefined {
    const ended = clock().getTime() > lease.expiresAt.getTime() - LEASE_MARGIN_MS
    if (ended || entry.handedOut + count > lease.size) return undefined
    const first = lease.first + entry.handedOut
    entry.handedOut += count
    return Array.from({ length: count }, (_, i) => first + i)
  }

  return { standing, take, forget: (profile) => void held.delete(profile) }
}
