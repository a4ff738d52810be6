import { ServiceError } from "../errors.ts"
import type { Issuer, Lease, Profile } from "../model.ts"
import { padNumber } from "../names.ts"
import type { Item, Table, Write } from "../ports.ts"
import { Attributes } from "./attributes.ts"
import { keys, queryAll } from "./keys.ts"

const TAKE_ATTEMPTS = 8

/**
 * Takes the next block of an issuer's numbers (D3). One transaction: it holds only while the profile is active
 * in the generation given and the issuer in the state that was read, so a suspend that was acknowledged before is seen.
 * @returns undefined when the profile or the issuer changed: read them again
 * @throws ServiceError CONTENTION when others kept taking numbers first
 */
export async function takeLease(
  table: Table,
  profile: Profile,
  issuer: Pick<Issuer, "name" | "generation" | "issuerKeyId" | "state">,
  block: { readonly size: number; readonly nonce: Uint8Array; readonly now: Date; readonly lifetimeSec: number },
): Promise<Lease | undefined> {
  for (let attempt = 0; attempt < TAKE_ATTEMPTS; attempt++) {
    const numbers = await table.get(keys.numbers(issuer.issuerKeyId))
    if (numbers === undefined) throw new ServiceError("ISSUER_UNKNOWN", `issuer ${issuer.name} has no numbering`)
    const first = Attributes.of(numbers).number("next")
    const lease: Lease = {
      issuerKeyId: issuer.issuerKeyId,
      profile: profile.name,
      generation: profile.generation,
      first,
      size: block.size,
      nonce: block.nonce,
      openedAt: block.now,
      expiresAt: new Date(block.now.getTime() + block.lifetimeSec * 1000),
      state: "open",
      used: new Map(),
    }
    const result = await table.transact([
      {
        update: keys.numbers(issuer.issuerKeyId),
        set: { next: first + block.size },
        if: { equals: { next: first } },
      },
      { check: keys.profile(profile.name), if: { equals: { generation: profile.generation, state: "active" } } },
      { check: keys.issuer(issuer.name, issuer.generation), if: { equals: { state: issuer.state } } },
      { put: leaseItem(lease), if: { absent: true } },
      {
        put: {
          ...keys.openLease(lease.issuerKeyId, first),
          profile: lease.profile,
          issuerKeyId: lease.issuerKeyId,
          first,
        },
      },
    ])
    if (result.committed) return lease
    if (result.outcomes[1]?.failed || result.outcomes[2]?.failed) return undefined
  }
  throw new ServiceError("CONTENTION", `no numbers of issuer ${issuer.name} could be taken`)
}

/** The write that gives numbers of an open lease to records; it fails as soon as the lease is closed. */
export function useNumbers(lease: Lease, used: ReadonlyMap<number, string>): Write {
  const entries: [string, string][] = [...used].map(([number, id]) => [String(number - lease.first), id])
  return {
    update: keys.lease(lease.issuerKeyId, lease.first),
    setIn: { used: Object.fromEntries(entries) },
    if: { equals: { state: "open" }, lacksIn: { used: entries.map(([offset]) => offset) } },
  }
}

/** What stands in `open-leases`: leases taken and not yet settled. */
export async function unsettledLeases(
  table: Table,
): Promise<{ readonly issuerKeyId: string; readonly first: number; readonly profile: string }[]> {
  const items = await queryAll(table, "open-leases")
  return items.map((item) => {
    const attributes = Attributes.of(item)
    return {
      issuerKeyId: attributes.text("issuerKeyId"),
      first: attributes.number("first"),
      profile: attributes.text("profile"),
    }
  })
}

/**
 * Closes a lease for good and writes its void numbers down. Two writes: after the first no record can use the lease,
 * so the second sees the final account. Both may be repeated by anyone.
 */
export async function settleLease(table: Table, issuerKeyId: string, first: number): Promise<void> {
  const key = keys.lease(issuerKeyId, first)
  await table.transact([{ update: key, set: { state: "closed" }, if: { equals: { state: "open" } } }])
  const item = await table.get(key)
  if (item === undefined) throw new Error(`damaged item: open-leases ${issuerKeyId} ${first}: no such lease`)
  const ranges = voidRanges(leaseFrom(item))
  const writes: Write[] = [{ delete: keys.openLease(issuerKeyId, first) }]
  if (ranges.length > 0)
    writes.push({
      put: { ...keys.voids(issuerKeyId, first), ranges: ranges.map(([from, to]) => [padNumber(from), padNumber(to)]) },
    })
  await table.transact(writes)
}

/** Settles every lease that is open now. */
export async function settleLeases(table: Table): Promise<void> {
  for (const lease of await unsettledLeases(table)) await settleLease(table, lease.issuerKeyId, lease.first)
}

/** The numbers of a closed lease without a record, as inclusive ranges in rising order. */
export function voidRanges(lease: Lease): [number, number][] {
  const ranges: [number, number][] = []
  for (let number = lease.first; number < lease.first + lease.size; number++) {
    if (lease.used.has(number)) continue
    const last = ranges.at(-1)
    if (last !== undefined && last[1] === number - 1) last[1] = number
    else ranges.push([number, number])
  }
  return ranges
}

/**
 * Void ranges of an issuer that were written down, in rising order.
 * @param from first number of the first lease that is asked for
 */
export async function settledVoids(table: Table, issuerKeyId: string, from: number): Promise<[number, number][]> {
  const items = await queryAll(table, `voids#${issuerKeyId}`, { from: padNumber(from) })
  return items.flatMap((item) =>
    Attributes.of(item)
      .list("ranges")
      .map((range): [number, number] => {
        const [from, to] = range as readonly [string, string]
        return [Number(from), Number(to)]
      }),
  )
}

/** All leases of an issuer, settled or not. */
export async function leasesOf(table: Table, issuerKeyId: string): Promise<Lease[]> {
  return (await queryAll(table, `leases#${issuerKeyId}`)).map(leaseFrom)
}

/** The lease that gave this number out, if one did. */
export async function leaseOfNumber(table: Table, issuerKeyId: string, number: number): Promise<Lease | undefined> {
  const range = { to: padNumber(number), limit: 1, descending: true }
  const [item] = (await table.query(`leases#${issuerKeyId}`, range)).items
  const lease = item && leaseFrom(item)
  return lease !== undefined && number < lease.first + lease.size ? lease : undefined
}

export async function nextNumber(table: Table, issuerKeyId: string): Promise<number> {
  const item = await table.get(keys.numbers(issuerKeyId))
  if (item === undefined) throw new ServiceError("ISSUER_UNKNOWN", `no numbering for issuer key ${issuerKeyId}`)
  return Attributes.of(item).number("next")
}

function leaseItem(lease: Lease): Item {
  return {
    ...keys.lease(lease.issuerKeyId, lease.first),
    issuerKeyId: lease.issuerKeyId,
    profile: lease.profile,
    generation: lease.generation,
    first: lease.first,
    size: lease.size,
    nonce: lease.nonce,
    openedAt: lease.openedAt.toISOString(),
    expiresAt: lease.expiresAt.toISOString(),
    state: lease.state,
    used: {},
  }
}

export function leaseFrom(item: Item): Lease {
  const attributes = Attributes.of(item)
  const first = attributes.number("first")
  const used = attributes.map("used")
  return {
    issuerKeyId: attributes.text("issuerKeyId"),
    profile: attributes.text("profile"),
    generation: attributes.number("generation"),
    first,
    size: attributes.number("size"),
    nonce: attributes.bytes("nonce"),
    openedAt: attributes.date("openedAt"),
    expiresAt: attributes.date("expiresAt"),
    state: attributes.text("state") as Lease["state"],
    used: new Map(used.keys().map((offset) => [first + Number(offset), used.text(offset)])),
  }
}
