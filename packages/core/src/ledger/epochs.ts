import { ServiceError } from "../errors.ts"
import type { Item, Table, Write } from "../ports.ts"
import { Attributes } from "./attributes.ts"
import { keys } from "./keys.ts"

/** One CRL of an epoch. */
export interface CommittedCrl {
  readonly digestHex: string
  /** bytes */
  readonly size: number
  /** lower-case hex SHA-256 over what the list says, without its dates */
  readonly entriesDigest: string
  readonly nextUpdate: Date
  readonly entryCount: number
}

/**
 * What was decided of one epoch, and the signatures made over it since. KMS signatures are randomised, so the first one stored is
 * the one that everybody uses (D5).
 */
export interface EpochCommit {
  readonly epoch: number
  readonly date: Date
  /** the staged plan, in the bucket */
  readonly planKey: string
  readonly planDigest: string
  /** lower-case hex SHA-256 of what is signed of its revocation list; undefined: committed before it was kept, so the plan tells */
  readonly listDigest: string | undefined
  /** issuer key ids whose earlier CRLs are gone from the bucket, so that none of them can be kept */
  readonly lostCrls: readonly string[]
  readonly signatures: ReadonlyMap<string, Uint8Array>
  /** by issuer key id */
  readonly crls: ReadonlyMap<string, CommittedCrl>
}

export async function readCommit(table: Table, epoch: number): Promise<EpochCommit | undefined> {
  const item = await table.get(keys.epoch(epoch))
  return item && commitFrom(item)
}

/**
 * Decides an epoch: holds only while no other publisher has.
 * @param published the last epoch that every head shows; less than the one before when that was lost before it was shown, which is noted of it
 * @returns false when another publisher was first
 */
export async function commitEpoch(
  table: Table,
  commit: {
    readonly epoch: number
    readonly date: Date
    readonly planKey: string
    readonly planDigest: string
    readonly listDigest: string
    readonly lostCrls: readonly string[]
  },
  published: number,
): Promise<boolean> {
  const { epoch } = commit
  const skipped: Write[] =
    published < epoch - 1 ? [{ update: keys.epoch(epoch - 1), set: { skipped: true }, if: { exists: true } }] : []
  const result = await table.transact([
    {
      update: keys.publication,
      set: { committed: epoch, committedAt: commit.date.toISOString() },
      if: { equals: { open: epoch + 1, committed: epoch - 1, published } },
    },
    ...skipped,
    {
      put: {
        ...keys.epoch(epoch),
        epoch,
        date: commit.date.toISOString(),
        planKey: commit.planKey,
        planDigest: commit.planDigest,
        listDigest: commit.listDigest,
        lostCrls: [...commit.lostCrls],
        signatures: {},
        crls: {},
      },
      if: { absent: true },
    },
  ])
  return result.committed
}

/** Stores a signature under a name unless one stands there; answers the one that stands. */
export async function recordSignature(
  table: Table,
  epoch: number,
  name: string,
  signature: Uint8Array,
): Promise<Uint8Array> {
  const result = await table.transact([
    {
      update: keys.epoch(epoch),
      setIn: { signatures: { [name]: signature } },
      if: { exists: true, lacksIn: { signatures: [name] } },
    },
  ])
  if (result.committed) return signature
  const standing = (await readCommit(table, epoch))?.signatures.get(name)
  if (standing === undefined) throw new ServiceError("EPOCH_CONFLICT", `epoch ${epoch} is not committed`)
  return standing
}

/** Stores a CRL unless one stands for that issuer key; answers the one that stands. */
export async function recordCrl(
  table: Table,
  epoch: number,
  issuerKeyId: string,
  crl: CommittedCrl,
): Promise<CommittedCrl> {
  const { digestHex, size, entriesDigest, nextUpdate, entryCount } = crl
  const entry = { digestHex, size, entriesDigest, nextUpdate: nextUpdate.toISOString(), entryCount }
  const result = await table.transact([
    {
      update: keys.epoch(epoch),
      setIn: { crls: { [issuerKeyId]: entry } },
      if: { exists: true, lacksIn: { crls: [issuerKeyId] } },
    },
  ])
  if (result.committed) return crl
  const standing = (await readCommit(table, epoch))?.crls.get(issuerKeyId)
  if (standing === undefined) throw new ServiceError("EPOCH_CONFLICT", `epoch ${epoch} is not committed`)
  return standing
}

function commitFrom(item: Item): EpochCommit {
  const attributes = Attributes.of(item)
  const signatures = attributes.map("signatures")
  const crls = attributes.map("crls")
  return {
    epoch: attributes.number("epoch"),
    date: attributes.date("date"),
    planKey: attributes.text("planKey"),
    planDigest: attributes.text("planDigest"),
    listDigest: attributes.optionalText("listDigest"),
    lostCrls: attributes.has("lostCrls") ? attributes.texts("lostCrls") : [],
    signatures: new Map(signatures.keys().map((name) => [name, signatures.bytes(name)])),
    crls: new Map(crls.keys().map((issuerKeyId) => [issuerKeyId, crlFrom(crls.map(issuerKeyId))])),
  }
}

function crlFrom(attributes: Attributes): CommittedCrl {
  return {
    digestHex: attributes.text("digestHex"),
    size: attributes.number("size"),
    entriesDigest: attributes.text("entriesDigest"),
    nextUpdate: attributes.date("nextUpdate"),
    entryCount: attributes.number("entryCount"),
  }
}
