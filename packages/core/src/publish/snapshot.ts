import { Attributes } from "../ledger/attributes.ts"
import { queryAll } from "../ledger/keys.ts"
import { nextNumber, settledVoids, unsettledLeases } from "../ledger/leases.ts"
import { listOutsideAuthorities } from "../ledger/outside-authorities.ts"
import { listOutsideCrls } from "../ledger/outside-crls.ts"
import { listRevocations } from "../ledger/revocations.ts"
import { listIssuers, listProfiles, readDeployment } from "../ledger/trust.ts"
import { readTufDocuments, type TargetsDocument } from "../ledger/tuf-documents.ts"
import type { Allowance, Deployment, Issuer, OutsideAuthority, OutsideCrl, Profile, Revocation } from "../model.ts"
import type { Table } from "../ports.ts"
import type { NumbersBefore } from "./before.ts"
import { type CoveredSignature, coveredSignatures } from "./expand.ts"

/** Everything that a publication of one epoch shows, read after the epoch was closed. */
export interface Snapshot {
  readonly epoch: number
  readonly date: Date
  readonly deployment: Deployment
  readonly issuers: readonly Issuer[]
  readonly profiles: readonly Profile[]
  /** acknowledged for this epoch or an earlier one */
  readonly revocations: readonly Revocation[]
  /** by revocation id, for those that cover signatures by more than their number */
  readonly covered: ReadonlyMap<string, readonly CoveredSignature[]>
  readonly numbers: ReadonlyMap<
    string,
    { readonly coveredBelow: number; readonly void: readonly (readonly [number, number])[] }
  >
  readonly allowances: readonly Allowance[]
  /** timestamp authorities of others */
  readonly outside: readonly OutsideAuthority[]
  /** of authorities above external issuers, in the order of their key ids */
  readonly outsideCrls: readonly OutsideCrl[]
  /** version of the newest TUF root */
  readonly tufRoot: number
  readonly targets: TargetsDocument
}

/**
 * @param epoch closed: whatever was acknowledged for it is durable, and nothing can join (D4)
 * @param before what the epoch before says of numbers, as it was committed; empty: all of the ledger's voids are read
 */
export async function takeSnapshot(table: Table, epoch: number, date: Date, before: NumbersBefore): Promise<Snapshot> {
  const deployment = await readDeployment(table)
  const issuers = await listIssuers(table)
  const profiles = await listProfiles(table)
  const revocations = (await listRevocations(table)).filter((revocation) => revocation.firstEpoch <= epoch)
  const covered = new Map<string, readonly CoveredSignature[]>()
  for (const revocation of revocations)
    if (!revocation.released) covered.set(revocation.id, await coveredSignatures(table, revocation, issuers, true))
  const allowances: Allowance[] = []
  for (const profile of profiles) if (profile.allowList) allowances.push(...(await allowancesOf(table, profile.name)))
  const numbers = await readNumbers(table, issuers, before)
  const outside = await listOutsideAuthorities(table)
  const outsideCrls = await listOutsideCrls(table)
  // Last, so that the bundle has the roots of all that was read before.
  const tuf = await readTufDocuments(table)
  return {
    epoch,
    date,
    deployment,
    issuers,
    profiles,
    revocations,
    covered,
    numbers,
    allowances,
    outside,
    outsideCrls,
    tufRoot: tuf.root.version,
    targets: tuf.targets,
  }
}

/**
 * In this order: the next number, open leases, voids. A lease that is in neither of the last two starts at or above the first. Of numbers below what the
 * epoch before covers nothing can change any more: all leases there were settled, so voids are read from there on.
 */
async function readNumbers(
  table: Table,
  issuers: readonly Issuer[],
  before: NumbersBefore,
): Promise<Snapshot["numbers"]> {
  const next = new Map<string, number>()
  for (const { issuerKeyId } of issuers) next.set(issuerKeyId, await nextNumber(table, issuerKeyId))
  const open = await unsettledLeases(table)
  const numbers = new Map<string, { coveredBelow: number; void: [number, number][] }>()
  for (const [issuerKeyId, end] of next) {
    const lowest = open.filter((lease) => lease.issuerKeyId === issuerKeyId).map((lease) => lease.first)
    const coveredBelow = Math.min(end, ...lowest)
    const covered = before.get(issuerKeyId)
    const known = covered !== undefined && covered.coveredBelow <= coveredBelow ? covered : NOTHING_COVERED
    const voids = (await settledVoids(table, issuerKeyId, known.coveredBelow)).filter(([from]) => from < coveredBelow)
    numbers.set(issuerKeyId, { coveredBelow, void: joined([...known.void, ...voids]) })
  }
  return numbers
}

const NOTHING_COVERED = { coveredBelow: 0, void: [] } as const

function joined(ranges: readonly (readonly [number, number])[]): [number, number][] {
  const result: [number, number][] = []
  for (const [from, to] of ranges) {
    const last = result.at(-1)
    if (last !== undefined && last[1] + 1 === from) last[1] = to
    else result.push([from, to])
  }
  return result
}

async function allowancesOf(table: Table, profile: string): Promise<Allowance[]> {
  return (await queryAll(table, `allowances#${profile}`)).map((item) => {
    const attributes = Attributes.of(item)
    return { profile, scope: attributes.text("scope"), digest: attributes.text("digest") }
  })
}
