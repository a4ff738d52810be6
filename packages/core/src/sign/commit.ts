import { hexEncode, utf8 } from "@sealwright/formats/bytes"
import { ServiceError } from "../errors.ts"
import { keys, queryAll } from "../ledger/keys.ts"
import { useNumbers } from "../ledger/leases.ts"
import { findRecord, MAX_SIGNATURES_OF_ARTIFACT, recordItem } from "../ledger/records.ts"
import type { Lease, SignatureRecord } from "../model.ts"
import type { Digest, Item, Table, TransactResult, Write } from "../ports.ts"

/** The log's inbox is cut into this many partitions, so that no single one limits signing. */
export const INBOX_SHARDS = 16

/** Everything that one transaction of the signing path writes (D4). */
export interface Commit {
  readonly lease: Lease
  /** of the extra signatures' issuer; undefined when there are none */
  readonly extraLease?: Lease | undefined
  readonly records: readonly SignatureRecord[]
  /** `auditWrite` of the act */
  readonly audit: Write
  /** `idempotencyHash`; undefined when the caller sent no key */
  readonly keyHash: string | undefined
  readonly requestDigest: string
  /** whether the request had several subjects: then each has an idempotency item of its own below the request's */
  readonly batch: boolean
}

export type Settled =
  | { readonly digest: string; readonly signed: SignatureRecord; readonly replayed: boolean }
  | { readonly digest: string; readonly refused: ServiceError }

export interface CommitResult {
  readonly settled: readonly Settled[]
  /** digests to be signed once more, with other numbers */
  readonly again: ReadonlySet<string>
  readonly leaseClosed: boolean
  /** whether the transaction was applied, and the audit entry with it */
  readonly committed: boolean
}

const REQUEST = "request"
const LEASE_AT = 0
const KEY_AT = 2

/**
 * Records signatures, or tells why not and which of them to sign anew. Holds only while the lease is open, no artifact is denied and
 * the idempotency key is free. When the store does not say whether it wrote, the record is looked up: found means written.
 * @throws ServiceError IDEMPOTENCY_CONFLICT, STORE_UNAVAILABLE, CONTENTION
 */
export async function commitSignatures(table: Table, commit: Commit): Promise<CommitResult> {
  const result = await table.transact(commitWrites(commit)).catch(async (error: unknown): Promise<TransactResult> => {
    const [first] = commit.records
    const unknown = error instanceof ServiceError && error.code === "STORE_UNAVAILABLE"
    if (unknown && first !== undefined && (await findRecord(table, first.id)) !== undefined) return { committed: true }
    throw error
  })
  if (!result.committed) return readFailure(table, commit, result.outcomes)
  const settled = commit.records.map((record) => ({ digest: record.subject.digest, signed: record, replayed: false }))
  return { settled, again: new Set(), leaseClosed: false, committed: true }
}

async function readFailure(
  table: Table,
  commit: Commit,
  outcomes: Extract<TransactResult, { committed: false }>["outcomes"],
): Promise<CommitResult> {
  const failedAt = (index: number): { readonly item: Item | undefined } | undefined => {
    const outcome = outcomes[index]
    return outcome?.failed ? outcome : undefined
  }
  const keyed = commit.keyHash !== undefined
  const settled: Settled[] = []
  const again = new Set<string>()
  const leaseClosed =
    failedAt(LEASE_AT) !== undefined || (commit.extraLease !== undefined && failedAt(outcomes.length - 1) !== undefined)
  const taken = keyed ? failedAt(KEY_AT)?.item : undefined
  if (taken !== undefined) {
    checkSameRequest(taken, commit.requestDigest)
    if (!commit.batch) return { settled: [await replay(table, taken)], again, leaseClosed, committed: false }
  }
  for (const [i, { subject }] of commit.records.entries()) {
    const { digest } = subject
    const start = (keyed ? KEY_AT + 1 : KEY_AT) + i * (keyed && commit.batch ? 4 : 3)
    const artifact = failedAt(start + 1)?.item
    const done = keyed && commit.batch ? failedAt(start + 3)?.item : undefined
    if (done !== undefined) settled.push(await replay(table, done))
    else if (artifact === undefined) again.add(digest)
    else settled.push({ digest, refused: artifactRefusal(digest, artifact) })
  }
  return { settled, again, leaseClosed, committed: false }
}

function artifactRefusal(digest: string, artifact: Item): ServiceError {
  return artifact.deniedBy === undefined
    ? new ServiceError("SUBJECT_CROWDED", `${digest} has ${MAX_SIGNATURES_OF_ARTIFACT} signatures`)
    : new ServiceError("DIGEST_DENIED", `${digest} was revoked`)
}

/** The order of these writes is what `readFailure` reads the outcomes by; the extra lease is the last. */
function commitWrites(commit: Commit): Write[] {
  const { keyHash, records, requestDigest } = commit
  const [first] = records
  const writes: Write[] = [
    useNumbers(commit.lease, new Map(records.map((record) => [record.number, record.id]))),
    commit.audit,
  ]
  if (keyHash !== undefined && commit.batch)
    writes.push({
      update: keys.idempotency(keyHash, REQUEST),
      set: { requestDigest },
      if: { absentOrEquals: { requestDigest } },
    })
  else if (keyHash !== undefined && first !== undefined)
    writes.push({
      put: { ...keys.idempotency(keyHash, REQUEST), requestDigest, signature: first.id },
      if: { absent: true },
    })
  for (const record of records) {
    const { digest } = record.subject
    writes.push(
      { put: recordItem(record), if: { absent: true } },
      {
        update: keys.artifact(digest),
        join: { signatures: [record.id] },
        if: { lacks: ["deniedBy"], fewerThan: { signatures: MAX_SIGNATURES_OF_ARTIFACT } },
      },
      { put: { ...keys.inbox(record.number % INBOX_SHARDS, record.id), leaf: "signature" } },
    )
    if (keyHash !== undefined && commit.batch)
      writes.push({ put: { ...keys.idempotency(keyHash, digest), signature: record.id }, if: { absent: true } })
  }
  if (commit.extraLease !== undefined)
    writes.push(
      useNumbers(
        commit.extraLease,
        new Map(records.flatMap(({ id, extra }) => (extra === undefined ? [] : [[extra.number, id]]))),
      ),
    )
  return writes
}

/** Names an idempotency key: the caller's, within one principal and profile (D14). Lower-case hex. */
export function idempotencyHash(digest: Digest, principal: string, profile: string, key: string): string {
  const parts = [principal, profile, key].map((part) => `${part.length}:${part}`)
  return hexEncode(digest("sha256", utf8(parts.join(""))))
}

/**
 * The subjects of a batch that an earlier try with the same key has recorded already.
 * @throws ServiceError IDEMPOTENCY_CONFLICT if the key came with another body
 */
export async function earlierSignatures(table: Table, keyHash: string, requestDigest: string): Promise<Settled[]> {
  const settled: Settled[] = []
  for (const item of await queryAll(table, keys.idempotency(keyHash, REQUEST).pk)) {
    if (item.sk === REQUEST) checkSameRequest(item, requestDigest)
    if (item.signature !== undefined) settled.push(await replay(table, item))
  }
  return settled
}

function checkSameRequest(taken: Item, requestDigest: string): void {
  if (taken.requestDigest !== requestDigest)
    throw new ServiceError("IDEMPOTENCY_CONFLICT", "this key came with another body before")
}

async function replay(table: Table, idempotency: Item): Promise<Settled> {
  const id = idempotency.signature
  const record = typeof id === "string" ? await findRecord(table, id) : undefined
  if (record === undefined) throw new Error(`damaged item: an idempotency key names no record: ${String(id)}`)
  return { digest: record.subject.digest, signed: record, replayed: true }
}
