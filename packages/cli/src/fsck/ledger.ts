import { hexEncode } from "@sealwright/formats/bytes"
import { parseTrustBundle } from "@sealwright/formats/trust-bundle"
import { ChainCache } from "@sealwright/verifier/chain-cache"
import { type NotaryResult, verifyNotaryEnvelope } from "@sealwright/verifier/notary"
import type { Step } from "@sealwright/verifier/requests"
import type { Finding, Items, StoredItem, StoredValue } from "./state.ts"

export type Report = (finding: Finding) => void
type Run = <T>(step: Step<T>) => T

/** Where a signature stands: its issuer's numbering, and its certificate there. */
export interface Place {
  readonly issuerKeyId: string
  readonly number: number
  readonly serialHex: string
}

/** A record as fsck needs it. */
export interface CheckedRecord extends Place {
  readonly id: string
  readonly profile: string
  readonly digest: string
  readonly principal: string
  readonly signedAt: Date
  readonly keyMode: string
  /** of the extra signature of the same act */
  readonly extra: Place | undefined
}

/** All that one act signed. */
export function placesOf(record: CheckedRecord): readonly Place[] {
  return record.extra === undefined ? [record] : [record, record.extra]
}

export interface LedgerFacts {
  readonly records: ReadonlyMap<string, CheckedRecord>
  /** by issuer key id: void numbers that were written down, as inclusive ranges */
  readonly voids: ReadonlyMap<string, readonly (readonly [number, number])[]>
}

/** Leases, numbers, records, artifacts and idempotency keys against each other (I1, I4, I5). */
export function checkLedger(items: Items, run: Run, report: Report): LedgerFacts {
  const records = readRecords(items, run, report)
  const claimed = new Set<string>()
  const voids = new Map<string, [number, number][]>()
  for (const [issuerKeyId, leases] of items.partitions("leases#"))
    voids.set(issuerKeyId, checkLeases(items, issuerKeyId, leases, records, claimed, report))
  for (const record of records.values())
    for (const { issuerKeyId, number } of placesOf(record))
      if (!claimed.has(claimOf(record, issuerKeyId)))
        report({ code: "RECORD_WITHOUT_NUMBER", subject: record.id, detail: `number ${number}` })
  checkArtifacts(items, records, report)
  checkIdempotency(items, records, report)
  return { records, voids }
}

/** An act takes one number of each issuer that it signs under. */
function claimOf({ id }: CheckedRecord, issuerKeyId: string): string {
  return `${id} ${issuerKeyId}`
}

function checkLeases(
  items: Items,
  issuerKeyId: string,
  leases: readonly StoredItem[],
  records: ReadonlyMap<string, CheckedRecord>,
  claimed: Set<string>,
  report: Report,
): [number, number][] {
  const next = items.one(`numbers#${issuerKeyId}`, "next")
  const settledVoids: [number, number][] = []
  let end: number | undefined
  for (const lease of leases) {
    const first = items.number(lease, "first")
    const size = items.number(lease, "size")
    const subject = `lease ${issuerKeyId.slice(0, 12)} ${first}`
    if (end !== undefined && first !== end)
      report({ code: "LEASES_OVERLAP", subject, detail: `starts at ${first}, the one before ends at ${end}` })
    end = first + size
    const used = new Set<number>()
    for (const [offset, id] of Object.entries(items.map(lease, "used"))) {
      const number = first + Number(offset)
      used.add(number)
      const record = typeof id === "string" ? records.get(id) : undefined
      const place = record && placesOf(record).find((one) => one.issuerKeyId === issuerKeyId)
      if (record === undefined) report({ code: "NUMBER_WITHOUT_RECORD", subject, detail: `number ${number}` })
      else if (place?.number !== number || Number(offset) >= size || claimed.has(claimOf(record, issuerKeyId)))
        report({ code: "RECORD_WITHOUT_NUMBER", subject: record.id, detail: `number ${place?.number}, not ${number}` })
      else claimed.add(claimOf(record, issuerKeyId))
    }
    settledVoids.push(...checkSettlement(items, issuerKeyId, lease, first, size, used, report))
  }
  if (next === undefined) report({ code: "TABLE_DAMAGED", subject: `numbers#${issuerKeyId}`, detail: "missing" })
  else if (end !== undefined && items.number(next, "next") !== end)
    report({
      code: "LEASES_OVERLAP",
      subject: `issuer ${issuerKeyId.slice(0, 12)}`,
      detail: `next is ${items.number(next, "next")}, leases end at ${end}`,
    })
  return settledVoids
}

function checkSettlement(
  items: Items,
  issuerKeyId: string,
  lease: StoredItem,
  first: number,
  size: number,
  used: ReadonlySet<number>,
  report: Report,
): [number, number][] {
  const subject = `lease ${issuerKeyId.slice(0, 12)} ${first}`
  const marked = items.one("open-leases", `${issuerKeyId}#${lease.sk}`) !== undefined
  const closed = items.text(lease, "state") === "closed"
  if (!closed && !marked) report({ code: "LEASE_UNSETTLED", subject, detail: "open without its marker" })
  const written = items.one(`voids#${issuerKeyId}`, lease.sk)
  if (marked) {
    if (written !== undefined) report({ code: "LEASE_UNSETTLED", subject, detail: "settled and still marked" })
    return []
  }
  const ranges = rangesOf(written?.ranges)
  const voids = new Set<number>()
  for (const [from, to] of ranges)
    for (let number = from; number <= to && number < first + size; number++) voids.add(number)
  let wrong = ranges.some(([from, to]) => from < first || to >= first + size)
  for (let number = first; number < first + size; number++) wrong ||= used.has(number) === voids.has(number)
  if (wrong) report({ code: "VOIDS_WRONG", subject, detail: `${used.size} used and ${voids.size} void of ${size}` })
  return ranges
}

function rangesOf(value: StoredValue | undefined): [number, number][] {
  if (!Array.isArray(value)) return []
  return (value as readonly (readonly [string, string])[]).map(([from, to]) => [Number(from), Number(to)])
}

function readRecords(items: Items, run: Run, report: Report): Map<string, CheckedRecord> {
  const trusted = rootsOf(items)
  const timestamps = { roots: [...trusted, ...timestampRootsOf(items)], required: "always" } as const
  const cache = new ChainCache()
  const problemOf = (bytes: Uint8Array, record: CheckedRecord, place: Place) =>
    envelopeProblem(
      run(verifyNotaryEnvelope(bytes, { trusted, timestamps, now: record.signedAt, cache })),
      record,
      place,
    )
  const records = new Map<string, CheckedRecord>()
  for (const [id, partition] of items.partitions("signature#")) {
    const item = partition.find(({ sk }) => sk === "record")
    if (item === undefined) continue
    const record = readRecord(items, item)
    records.set(id, record)
    const envelopes = Array.isArray(item.envelopes)
      ? (item.envelopes as readonly { readonly [name: string]: StoredValue }[])
      : []
    const places = placesOf(record)
    if (envelopes.length > places.length)
      report({ code: "RECORD_ENVELOPE_INVALID", subject: id, detail: `${envelopes.length} envelopes` })
    for (const [at, place] of places.entries()) {
      const bytes = envelopes[at]?.bytes
      const problem = bytes instanceof Uint8Array ? problemOf(bytes, record, place) : "no envelope"
      if (problem !== undefined) report({ code: "RECORD_ENVELOPE_INVALID", subject: id, detail: problem })
    }
  }
  return records
}

function readRecord(items: Items, item: StoredItem): CheckedRecord {
  const { digest } = items.map(item, "subject")
  const extra = item.extra as { readonly [name: string]: StoredValue } | undefined
  return {
    id: items.text(item, "id"),
    profile: items.text(item, "profile"),
    issuerKeyId: items.text(item, "issuerKeyId"),
    number: items.number(item, "number"),
    digest: typeof digest === "string" ? digest : "",
    principal: items.text(item, "principal"),
    signedAt: new Date(items.text(item, "signedAt")),
    serialHex: items.text(item, "serialHex"),
    keyMode: items.text(item, "keyMode"),
    extra: extra && {
      issuerKeyId: String(extra.issuerKeyId),
      number: Number(extra.number),
      serialHex: String(extra.serialHex),
    },
  }
}

/** The deployment's own, and those of outside authorities at the end of issuers' chains. */
function rootsOf(items: Items): Uint8Array[] {
  const root = items.one("deployment", "deployment")?.root
  const certificate =
    root !== undefined && typeof root === "object" && "certificate" in root ? root.certificate : undefined
  const ends = items.partition("issuers").map(({ chain }) => (Array.isArray(chain) ? chain.at(-1) : undefined))
  return [certificate, ...ends].filter((der) => der instanceof Uint8Array)
}

/** Of outside authorities, as any trust bundle had them: older tokens lead to roots that have left since. */
function timestampRootsOf(items: Items): Uint8Array[] {
  return items.partition("tuf-targets").flatMap((item) => {
    const { timestampRoots = [] } = parseTrustBundle(items.bytes(item, "trustBundle"))
    return [...timestampRoots]
  })
}

function envelopeProblem(result: NotaryResult, record: CheckedRecord, place: Place): string | undefined {
  if (!result.ok) return result.code
  if (result.target.digest !== record.digest) return `signs ${result.target.digest}`
  if (result.number !== place.number) return `carries number ${result.number}`
  if (hexEncode(result.leaf.serialBytes) !== place.serialHex) return "has another certificate"
  if (hexEncode(result.issuerKeyId) !== place.issuerKeyId) return "has another issuer"
  const beside = result.envelope.protected.sealwright?.beside
  const named = beside && `${hexEncode(beside.issuerKeyId)}:${beside.number}`
  if (named !== (place === record ? undefined : `${record.issuerKeyId}:${record.number}`))
    return `stands beside ${named ?? "nothing"}`
  return result.signingTime.getTime() === record.signedAt.getTime() ? undefined : "was signed at another time"
}

function checkArtifacts(items: Items, records: ReadonlyMap<string, CheckedRecord>, report: Report): void {
  const listed = new Map<string, Set<string>>()
  for (const [digest, partition] of items.partitions("artifact#")) {
    const signatures = partition[0]?.signatures
    listed.set(digest, new Set(signatures instanceof Set ? (signatures as ReadonlySet<string>) : []))
  }
  for (const { id, digest } of records.values())
    if (listed.get(digest)?.delete(id) !== true)
      report({ code: "ARTIFACT_LIST_WRONG", subject: digest, detail: `lacks ${id}` })
  for (const [digest, rest] of listed)
    for (const id of rest)
      report({ code: "ARTIFACT_LIST_WRONG", subject: digest, detail: `lists ${id}, which has no record of it` })
}

function checkIdempotency(items: Items, records: ReadonlyMap<string, CheckedRecord>, report: Report): void {
  const owner = new Map<string, string>()
  for (const [hash, partition] of items.partitions("idempotency#")) {
    for (const item of partition) {
      const { signature } = item
      if (signature === undefined) continue
      const record = typeof signature === "string" ? records.get(signature) : undefined
      const subject = `${hash.slice(0, 12)} ${item.sk}`
      if (record === undefined) report({ code: "IDEMPOTENCY_WRONG", subject, detail: "names no record" })
      else if (item.sk !== "request" && item.sk !== record.digest)
        report({ code: "IDEMPOTENCY_WRONG", subject, detail: `names ${record.id} of another artifact` })
      else if (owner.has(record.id))
        report({ code: "IDEMPOTENCY_WRONG", subject, detail: `shares ${record.id} with another key` })
      else owner.set(record.id, hash)
    }
  }
}
