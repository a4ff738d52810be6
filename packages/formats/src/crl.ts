import type { SignatureScheme } from "./algorithms.ts"
import { bytesEqual } from "./bytes.ts"
import { contextTag, DerReader, explicitTag, TAG } from "./der.ts"
import { FormatError } from "./errors.ts"
import { type Extension, type Name, readExtensionField, readName, schemeOf } from "./x509.ts"
import { type AuthorityKeyIdentifier, EXTENSION, readDistributionPointName, readExtension } from "./x509-extensions.ts"

/** Longest list that is read, in bytes: about 1.8 million entries. */
export const MAX_CRL_BYTES = 64 * 1024 * 1024
const MAX_EXTENSIONS = 32

export const CRL_EXTENSION = {
  crlNumber: "2.5.29.20",
  reasonCode: "2.5.29.21",
  invalidityDate: "2.5.29.24",
  deltaCrlIndicator: "2.5.29.27",
  issuingDistributionPoint: "2.5.29.28",
  certificateIssuer: "2.5.29.29",
  expiredCertsOnCrl: "2.5.29.60",
} as const

/** CRLReason of RFC 5280 §5.3.1; `removeFromCRL` stands on delta lists alone, which are refused. */
export const REASON_CODE = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  certificateHold: 6,
  privilegeWithdrawn: 9,
  aACompromise: 10,
} as const

export type CrlReason = keyof typeof REASON_CODE

/** A complete, direct CRL of version 2. Entries stay bytes: `findRevoked` and `revokedEntries` read them. */
export interface Crl {
  readonly der: Uint8Array
  readonly tbs: Uint8Array
  readonly signatureScheme: SignatureScheme | undefined
  readonly signature: Uint8Array
  readonly issuer: Name
  readonly thisUpdate: Date
  readonly nextUpdate: Date
  readonly crlNumber: bigint | undefined
  readonly authorityKeyIdentifier: AuthorityKeyIdentifier | undefined
  /** where the list says that it is published; undefined: it covers all certificates of its issuer */
  readonly distributionPoints: readonly string[] | undefined
  readonly entryCount: number
  /** range of the entries in `der` */
  readonly entriesStart: number
  readonly entriesEnd: number
}

export interface RevokedEntry {
  /** content octets, a view of the list */
  readonly serial: Uint8Array
  readonly revokedAt: Date
  readonly reason: CrlReason
  readonly invalidityDate: Date | undefined
}

/**
 * Reads a CRL and checks every entry once.
 * @throws FormatError TOO_LARGE above 64 MiB; DER_MALFORMED; CRL_MALFORMED for another version, no nextUpdate, two different signature algorithms,
 * a repeated or unknown critical extension on the list or an entry, a delta or indirect list, a list for some reasons or some kinds of certificate only
 */
export function parseCrl(der: Uint8Array): Crl {
  if (der.length > MAX_CRL_BYTES) throw new FormatError("TOO_LARGE", "a CRL above 64 MiB")
  const outer = new DerReader(der)
  const list = outer.enter(TAG.SEQUENCE)
  outer.finish()
  const tbs = list.element(TAG.SEQUENCE)
  const inner = new DerReader(der, list.start, list.stop)
  const outerAlgorithm = list.element(TAG.SEQUENCE)
  const signature = list.wholeBits()
  list.finish()

  if (!inner.is(TAG.INTEGER) || inner.smallInteger() !== 1) throw malformed("a version other than 2")
  if (!bytesEqual(inner.element(TAG.SEQUENCE), outerAlgorithm)) throw malformed("two different signature algorithms")
  const issuer = readName(inner)
  const thisUpdate = inner.time()
  if (!inner.is(TAG.UTC_TIME) && !inner.is(TAG.GENERALIZED_TIME)) throw malformed("no nextUpdate")
  const nextUpdate = inner.time()
  let entriesStart = 0
  let entriesEnd = 0
  if (inner.is(TAG.SEQUENCE)) {
    inner.take(TAG.SEQUENCE)
    entriesStart = inner.start
    entriesEnd = inner.stop
    if (entriesStart === entriesEnd) throw malformed("a list of entries that is there and empty")
  }
  const entryCount = checkEntries(der, entriesStart, entriesEnd)
  const extensions = readExtensions(inner.enter(explicitTag(0)))
  inner.finish()
  return {
    der,
    tbs,
    signatureScheme: schemeOf(outerAlgorithm),
    signature,
    issuer,
    thisUpdate,
    nextUpdate,
    crlNumber: readExtension(extensions, CRL_NUMBER),
    authorityKeyIdentifier: readExtension(extensions, EXTENSION.authorityKeyIdentifier),
    distributionPoints: readExtension(extensions, ISSUING_DISTRIBUTION_POINT),
    entryCount,
    entriesStart,
    entriesEnd,
  }
}

const CRL_NUMBER = { oid: CRL_EXTENSION.crlNumber, read: (value: DerReader): bigint => value.integer() }
const ISSUING_DISTRIBUTION_POINT = {
  oid: CRL_EXTENSION.issuingDistributionPoint,
  read(value: DerReader): readonly string[] {
    const fields = value.enter(TAG.SEQUENCE)
    const uris = fields.is(explicitTag(0)) ? readDistributionPointName(fields) : []
    for (let tag = 1; tag <= 5; tag++) if (fields.is(contextTag(tag))) throw malformed("a list of limited scope")
    fields.finish()
    return uris
  },
}

const UNDERSTOOD: ReadonlySet<string> = new Set([
  CRL_EXTENSION.crlNumber,
  CRL_EXTENSION.issuingDistributionPoint,
  EXTENSION.authorityKeyIdentifier.oid,
])

function readExtensions(explicit: DerReader): ReadonlyMap<string, Extension> {
  const list = explicit.enter(TAG.SEQUENCE)
  explicit.finish()
  const extensions = new Map<string, Extension>()
  do {
    const [oid, extension] = readExtensionField(list)
    if (oid === CRL_EXTENSION.deltaCrlIndicator) throw malformed("a delta list")
    if (extensions.has(oid)) throw malformed(`extension ${oid} twice`)
    if (extension.critical && !UNDERSTOOD.has(oid)) throw malformed(`critical extension ${oid}`)
    if (extensions.size === MAX_EXTENSIONS) throw new FormatError("TOO_LARGE", "more than 32 extensions")
    extensions.set(oid, extension)
  } while (!list.done)
  return extensions
}

/** Walks all entries with two cursors; an object is made only where an entry has extensions. */
function checkEntries(der: Uint8Array, start: number, end: number): number {
  const list = new DerReader(der, start, end)
  const entry = new DerReader(der)
  let count = 0
  while (!list.done) {
    list.take(TAG.SEQUENCE)
    entry.reset(list.start, list.stop)
    entry.integerBytes()
    entry.time()
    if (!entry.done) readEntryExtensions(entry)
    count++
  }
  return count
}

/**
 * The entry of this serial; undefined when the list has none.
 * @param serial content octets as `Certificate.serialBytes`
 */
export function findRevoked(crl: Crl, serial: Uint8Array): RevokedEntry | undefined {
  const list = new DerReader(crl.der, crl.entriesStart, crl.entriesEnd)
  const entry = new DerReader(crl.der)
  const last = serial.length - 1
  while (!list.done) {
    list.next()
    entry.reset(list.start, list.stop)
    entry.next()
    if (entry.stop - entry.start !== serial.length || crl.der[entry.stop - 1] !== serial[last]) continue
    if (bytesEqual(crl.der.subarray(entry.start, entry.stop), serial))
      return readEntry(entry.reset(list.start, list.stop))
  }
  return undefined
}

/** All entries in the order of the list. */
export function* revokedEntries(crl: Crl): Generator<RevokedEntry> {
  const list = new DerReader(crl.der, crl.entriesStart, crl.entriesEnd)
  while (!list.done) yield readEntry(list.enter(TAG.SEQUENCE))
}

function readEntry(entry: DerReader): RevokedEntry {
  const serial = entry.integerBytes()
  const revokedAt = entry.time()
  const { reason, invalidityDate } = entry.done ? NO_EXTENSIONS : readEntryExtensions(entry)
  return { serial, revokedAt, reason, invalidityDate }
}

const NO_EXTENSIONS: Pick<RevokedEntry, "reason" | "invalidityDate"> = {
  reason: "unspecified",
  invalidityDate: undefined,
}
const REASONS = new Map<number, CrlReason>(
  Object.entries(REASON_CODE).map(([reason, code]) => [code, reason as CrlReason]),
)

function readEntryExtensions(entry: DerReader): Pick<RevokedEntry, "reason" | "invalidityDate"> {
  const list = entry.enter(TAG.SEQUENCE)
  entry.finish()
  let reason: CrlReason | undefined
  let invalidityDate: Date | undefined
  const seen = new Set<string>()
  do {
    const [oid, { critical, value }] = readExtensionField(list)
    if (seen.has(oid)) throw malformed(`entry extension ${oid} twice`)
    seen.add(oid)
    const reader = new DerReader(value)
    if (oid === CRL_EXTENSION.reasonCode) {
      reason = REASONS.get(reader.smallInteger(TAG.ENUMERATED))
      if (reason === undefined) throw malformed("a reason code that no complete list has")
      reader.finish()
    } else if (oid === CRL_EXTENSION.invalidityDate) {
      invalidityDate = reader.generalizedTime()
      reader.finish()
    } else if (oid === CRL_EXTENSION.certificateIssuer) throw malformed("an indirect list")
    else if (critical) throw malformed(`critical entry extension ${oid}`)
  } while (!list.done)
  return { reason: reason ?? "unspecified", invalidityDate }
}

function malformed(detail: string): FormatError {
  return new FormatError("CRL_MALFORMED", detail)
}
