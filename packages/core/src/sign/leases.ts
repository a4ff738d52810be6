import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { takeLease } from "../ledger/leases.ts"
import { readOutsideAuthority } from "../ledger/outside-authorities.ts"
import { checkNumbersAreNew } from "../ledger/table-behind.ts"
import { readDeployment, readIssuer, readIssuerOf, readProfile } from "../ledger/trust.ts"
import {
  type Deployment,
  EXTRA_ALGORITHM,
  type Issuer,
  type Lease,
  type OutsideAuthority,
  type Profile,
} from "../model.ts"
import type { Clock, NoteUse, RandomBytes, Table } from "../ports.ts"
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
  /** of the fresh keys that sign; a held key has its own */
  readonly algorithm: SignatureScheme
  /** what the extra signature of each act is made under; it has none itself */
  readonly extra: Standing | undefined
}

export interface Grant {
  readonly standing: Standing
  readonly lease: Lease
  readonly numbers: readonly number[]
  /** told of each use of the issuer's or the held key */
  readonly note: NoteUse
  /** as many numbers of the extra issuer */
  readonly extra?: Grant
}

/**
 * Hands out numbers from memory: one lease a profile and issuer, taken anew when it ends, is used up or is closed by others (D3).
 * What it remembers of a profile may be old. That is safe: the record's transaction fails once the lease is closed.
 */
export interface LeasePool {
  /** @returns what is remembered, or what the table says now when nothing is remembered or `fresh` is asked */
  standing(profile: string, fresh: boolean): Promise<Standing>
  /**
   * @returns undefined when the profile or its issuer changed between reading it and taking the lease, or the lease ended while it
   * was taken: look afresh
   * @throws ServiceError TABLE_BEHIND while the table is known to have been set back
   */
  take(standing: Standing, count: number, note: NoteUse): Promise<Grant | undefined>
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
    const extraIssuer = profile.extraIssuer === undefined ? undefined : await readIssuer(table, profile.extraIssuer)
    const same =
      known?.standing.profile.generation === profile.generation &&
      isSame(known.standing.issuer, issuer) &&
      isSame(known.standing.extra?.issuer, extraIssuer) &&
      known.standing.outside?.updatedAt.getTime() === outside?.updatedAt.getTime()
    if (known !== undefined && same) return known.standing
    const common = { deployment, profile, outside }
    const extra = extraIssuer && { ...common, issuer: extraIssuer, algorithm: EXTRA_ALGORITHM, extra: undefined }
    const next: Standing = { ...common, issuer, algorithm: profile.algorithm, extra }
    held.set(name, { standing: next, lease: undefined, handedOut: 0 })
    return next
  }

  async function take(of: Standing, count: number, note: NoteUse): Promise<Grant | undefined> {
    const { profile, extra } = of
    const grant = await takeFrom(profile.name, of, count, note)
    if (grant === undefined || extra === undefined) return grant
    const beside = await takeFrom(extraKey(profile.name), extra, count, note)
    return beside && { ...grant, extra: beside }
  }

  async function takeFrom(key: string, of: Standing, count: number, note: NoteUse): Promise<Grant | undefined> {
    const { profile, issuer } = of
    const mine = held.get(key)
    if (mine?.lease !== undefined && mine.standing === of) {
      const numbers = handOut(mine, mine.lease, count)
      if (numbers !== undefined) return { standing: of, lease: mine.lease, numbers, note }
    }
    await checkNumbersAreNew(table)
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
      forget(profile.name)
      return undefined
    }
    const entry: Held = { standing: of, lease, handedOut: 0 }
    held.set(key, entry)
    const numbers = handOut(entry, lease, count)
    return numbers && { standing: of, lease, numbers, note }
  }

  function handOut(entry: Held, lease: Lease, count: number): readonly number[] | undefined {
    const ended = clock().getTime() > lease.expiresAt.getTime() - LEASE_MARGIN_MS
    if (ended || entry.handedOut + count > lease.size) return undefined
    const first = lease.first + entry.handedOut
    entry.handedOut += count
    return Array.from({ length: count }, (_, i) => first + i)
  }

  function forget(profile: string): void {
    held.delete(profile)
    held.delete(extraKey(profile))
  }

  return { standing, take, forget }
}

/** No profile's name has a blank. */
function extraKey(profile: string): string {
  return `${profile} extra`
}

function isSame(known: Issuer | undefined, issuer: Issuer | undefined): boolean {
  return known?.issuerKeyId === issuer?.issuerKeyId && known?.state === issuer?.state
}
