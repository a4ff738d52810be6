import { hexDecode } from "./bytes.ts"
import { canonicalJson } from "./canonical-json.ts"
import { FormatError } from "./errors.ts"
import { anyJson, array, integer, map, mismatch, object, oneOf, openObject, type Reader, string } from "./shape.ts"
import { type JsonObject, type JsonValue, parseJson } from "./strict-json.ts"
import { formatTime, parseTime } from "./time.ts"

export const REVOCATION_LIST_TYPE = "application/vnd.sealwright.revocations.v1+json"
export const MAX_REVOCATION_LIST_BYTES = 64 * 1024 * 1024

/** Why and since when. `reason` is a CRLReason of RFC 5280 §5.3.1. */
export interface Revoked {
  readonly reason: string
  readonly at: Date
}

export type RevocationRule = Revoked &
  (
    | { readonly kind: "profile"; readonly profile: string; readonly from: Date }
    /** `from`: what a timestamp proves to be older is spared; without, nothing is */
    | { readonly kind: "issuer"; readonly issuerKeyId: string; readonly from?: Date }
    | ({ readonly kind: "certificate"; readonly thumbprint: string } & Partial<CertificateName>)
  )

/**
 * What a certificate is called whoever encodes it. Its thumbprint alone does not name it: whoever has an ECDSA signature (r, s) has (r, n - s) too, so
 * anyone can make another encoding of the same certificate that verifies as well.
 */
export interface CertificateName {
  /** lower-case hex SHA-256 of the SubjectPublicKeyInfo of the key that signed it */
  readonly issuerKeyId: string
  /** lower-case hex of the serial's content octets */
  readonly serialHex: string
}

/** What is known of one issuer's numbers (D3, D7). */
export interface IssuerNumbers {
  /** every number below was settled when the list was made: `revoked`, void, or good */
  readonly coveredBelow: number
  readonly revoked: ReadonlyMap<number, Revoked>
  /** inclusive ranges in rising order of numbers that no signature has */
  readonly void: readonly (readonly [number, number])[]
}

/** The plain form of the revocation list: everything exact, nothing compressed. */
export interface RevocationList {
  /** rises by one a publication */
  readonly epoch: number
  /** as of when */
  readonly date: Date
  /** when the next list is due at the latest */
  readonly due: Date
  /** lower-case hex SHA-256 of the signed part (canonical JSON) of the list of the epoch before; empty for the first */
  readonly previous: string
  readonly rules: readonly RevocationRule[]
  /** by lower-case hex of the issuer's key id */
  readonly issuers: ReadonlyMap<string, IssuerNumbers>
  /** denied artifacts, by `sha256:` digest */
  readonly artifacts: ReadonlyMap<string, Revoked>
  /** holds that were released: targets that earlier lists had and this one rightly lacks */
  readonly released: readonly string[]
}

/** The document that is signed, as canonical JSON; entries in a fixed order, so that equal lists give equal bytes. */
export function revocationListJson(list: RevocationList): JsonObject {
  return {
    mediaType: REVOCATION_LIST_TYPE,
    epoch: list.epoch,
    date: formatTime(list.date),
    due: formatTime(list.due),
    previous: list.previous,
    rules: list.rules.map(ruleJson).sort((a, b) => (ruleKey(a) < ruleKey(b) ? -1 : 1)),
    issuers: fromSorted(list.issuers, (numbers) => ({
      coveredBelow: String(numbers.coveredBelow),
      revoked: Object.fromEntries(
        [...numbers.revoked]
          .sort(([a], [b]) => a - b)
          .map(([number, revoked]) => [String(number), revokedJson(revoked)]),
      ),
      void: numbers.void.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)),
    })),
    artifacts: fromSorted(list.artifacts, revokedJson),
    released: [...list.released].sort(),
  }
}

function revokedJson({ reason, at }: Revoked): { readonly reason: string; readonly at: string } {
  return { reason, at: formatTime(at) }
}

function ruleJson(rule: RevocationRule): JsonObject {
  switch (rule.kind) {
    case "profile":
      return { kind: rule.kind, profile: rule.profile, from: formatTime(rule.from), ...revokedJson(rule) }
    case "issuer":
      return {
        kind: rule.kind,
        issuer: rule.issuerKeyId,
        ...(rule.from && { from: formatTime(rule.from) }),
        ...revokedJson(rule),
      }
    case "certificate":
      return { kind: rule.kind, thumbprint: rule.thumbprint, ...certificateNameJson(rule), ...revokedJson(rule) }
  }
}

/** Both members, or none: lists of the first releases had the thumbprint alone. */
function certificateNameJson({ issuerKeyId, serialHex }: Partial<CertificateName>): JsonObject {
  return issuerKeyId === undefined || serialHex === undefined ? {} : { issuer: issuerKeyId, serial: serialHex }
}

function ruleKey(rule: JsonObject): string {
  return JSON.stringify(rule)
}

function fromSorted<T>(entries: ReadonlyMap<string, T>, json: (value: T) => JsonValue): JsonObject {
  return Object.fromEntries(
    [...entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => [name, json(value)]),
  )
}

const MAX_ENTRIES = 2_000_000
const time: Reader<Date> = (value, at) => parseTime(string(20)(value, at))
const hex64 = string(64, /^[0-9a-f]{64}$/)
const digest = string(135, /^(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$/)
const numberText = string(15, /^(?:0|[1-9]\d*)$/)
const revokedMembers = { reason: string(32, /^[A-Za-z]+$/), at: time }
const revoked = object(revokedMembers)

const numberOf: Reader<number> = (value, at) => Number(numberText(value, at))

const voidRange: Reader<readonly [number, number]> = (value, at) => {
  const found = /^(0|[1-9]\d{0,14})(?:-([1-9]\d{0,14}))?$/.exec(string(31)(value, at))
  const from = Number(found?.[1])
  const to = found?.[2] === undefined ? from : Number(found[2])
  if (found === null || to < from) throw mismatch(at, "is not a number or a rising range of numbers")
  return [from, to]
}

const issuerNumbers: Reader<IssuerNumbers> = (value, at) => {
  const read = object({
    coveredBelow: numberOf,
    revoked: map(revoked, MAX_ENTRIES, numberText),
    void: array(voidRange, MAX_ENTRIES),
  })(value, at)
  for (const [i, range] of read.void.entries()) {
    const before = read.void[i - 1]
    if (before !== undefined && range[0] <= before[1]) throw mismatch(`${at}.void[${i}]`, "does not rise")
  }
  return { ...read, revoked: new Map([...read.revoked].map(([number, entry]) => [Number(number), entry])) }
}

const RULES: { readonly [Kind in RevocationRule["kind"]]: Reader<RevocationRule> } = {
  profile: object({ kind: oneOf("profile"), profile: string(48), from: time, ...revokedMembers }),
  issuer: (value, at) => {
    const { issuer, ...rest } = object({ kind: oneOf("issuer"), issuer: hex64, ...revokedMembers }, { from: time })(
      value,
      at,
    )
    return { ...rest, issuerKeyId: issuer }
  },
  certificate: (value, at) => {
    const { issuer, serial, ...rest } = object(
      { kind: oneOf("certificate"), thumbprint: hex64, ...revokedMembers },
      { issuer: hex64, serial: string(40, /^(?:[0-9a-f]{2}){1,20}$/) },
    )(value, at)
    if (issuer === undefined && serial === undefined) return rest
    if (issuer === undefined || serial === undefined) throw mismatch(at, "names an issuer or a serial alone")
    return { ...rest, issuerKeyId: issuer, serialHex: serial }
  },
}

const rule: Reader<RevocationRule> = (value, at) => {
  const { kind } = openObject({ kind: oneOf("profile", "issuer", "certificate") })(value, at)
  return RULES[kind](value, at)
}

const listShape = object({
  mediaType: string(100),
  epoch: integer(1),
  date: time,
  due: time,
  previous: string(64, /^(?:[0-9a-f]{64})?$/),
  rules: array(rule, MAX_ENTRIES),
  issuers: map(issuerNumbers, 10_000, hex64),
  artifacts: map(revoked, MAX_ENTRIES, digest),
  released: array(string(200), MAX_ENTRIES),
})

/** One of our signed documents: what was signed and by which keys. The signatures are not weighed here. */
export interface SignedDocument<T> {
  readonly content: T
  /** canonical JSON of what is signed */
  readonly signedBytes: Uint8Array
  /** keyid to signature */
  readonly signatures: ReadonlyMap<string, Uint8Array>
}

/**
 * @throws FormatError TOO_LARGE, TEXT_MALFORMED, JSON_MALFORMED, SHAPE_MISMATCH; VERSION_UNKNOWN for another media type
 */
export function parseRevocationList(bytes: Uint8Array): SignedDocument<RevocationList> {
  return parseSigned(bytes, MAX_REVOCATION_LIST_BYTES, REVOCATION_LIST_TYPE, listShape)
}

/** The content of a document that `revocationListJson` made. @throws FormatError SHAPE_MISMATCH */
export function readRevocationList(document: JsonValue): RevocationList {
  return listShape(document, "list")
}

/** Reads `{signed, signatures}` whose `signed.mediaType` must be the one given. */
export function parseSigned<T>(
  bytes: Uint8Array,
  maxBytes: number,
  mediaType: string,
  read: Reader<T>,
): SignedDocument<T> {
  const { signed, signatures } = object({
    signed: anyJson,
    signatures: array(object({ keyid: hex64, sig: string(2048, /^(?:[0-9a-f]{2})+$/) }), 16, 1),
  })(parseJson(bytes, { maxBytes }), "")
  const head = openObject({ mediaType: string(100) })(signed, "signed")
  if (head.mediaType !== mediaType) throw new FormatError("VERSION_UNKNOWN", `not ${mediaType}`)
  const byKey = new Map(signatures.map(({ keyid, sig }) => [keyid, hexDecode(sig)]))
  if (byKey.size !== signatures.length) throw mismatch("signatures", "has a keyid twice")
  return { content: read(signed, "signed"), signedBytes: canonicalJson(signed), signatures: byKey }
}

export const ALLOW_LIST_TYPE = "application/vnd.sealwright.allow.v1+json"
export const MAX_ALLOW_LIST_BYTES = 64 * 1024 * 1024

/** Explicit digests that a profile vouches for, by repository (R25). A repository that is not listed has no allow list. */
export interface AllowList {
  readonly epoch: number
  readonly date: Date
  readonly due: Date
  /** profile, then repository, then digests in rising order */
  readonly profiles: ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>
}

export function allowListJson(list: AllowList): JsonObject {
  return {
    mediaType: ALLOW_LIST_TYPE,
    epoch: list.epoch,
    date: formatTime(list.date),
    due: formatTime(list.due),
    profiles: fromSorted(list.profiles, (scopes) => fromSorted(scopes, (digests) => [...digests].sort())),
  }
}

const allowShape = object({
  mediaType: string(100),
  epoch: integer(1),
  date: time,
  due: time,
  profiles: map(map(array(digest, MAX_ENTRIES), 10_000, string(255)), 10_000, string(48)),
})

/** @throws FormatError as `parseRevocationList` */
export function parseAllowList(bytes: Uint8Array): SignedDocument<AllowList> {
  return parseSigned(bytes, MAX_ALLOW_LIST_BYTES, ALLOW_LIST_TYPE, allowShape)
}
