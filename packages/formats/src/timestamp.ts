import { HASH_LENGTH, type HashName } from "./algorithms.ts"
import { hexDecode } from "./bytes.ts"
import { contextTag, DerReader, explicitTag, TAG } from "./der.ts"
import {
  boolean,
  der,
  generalizedTime,
  integer,
  namedBits,
  octetString,
  oid,
  sequence,
  utf8String,
} from "./der-write.ts"
import { FormatError } from "./errors.ts"
import { readExtensionField } from "./x509.ts"

export const TIMESTAMP_QUERY_TYPE = "application/timestamp-query"
export const TIMESTAMP_REPLY_TYPE = "application/timestamp-reply"
/** Longest request that is read, in bytes; the usual ones have 40 to 130. */
export const MAX_TIMESTAMP_QUERY_BYTES = 8192
/** Longest response and longest token that is read, in bytes: room for ten certificates. */
export const MAX_TIMESTAMP_REPLY_BYTES = 65_536
const MAX_NONCE_BYTES = 20
const MAX_SERIAL_BYTES = 20

/** AlgorithmIdentifier of each digest, DER, without parameters (RFC 5754 §2); readers take the NULL of older writers too. */
const DIGEST_ALGORITHMS = {
  sha256: "300b0609608648016503040201",
  sha384: "300b0609608648016503040202",
  sha512: "300b0609608648016503040203",
} as const satisfies Record<HashName, string>
const DIGEST_OIDS: ReadonlyMap<string, HashName> = new Map([
  ["2.16.840.1.101.3.4.2.1", "sha256"],
  ["2.16.840.1.101.3.4.2.2", "sha384"],
  ["2.16.840.1.101.3.4.2.3", "sha512"],
])

/** What a requester wants to have a time for: MessageImprint of RFC 3161 §2.4.1. */
export interface MessageImprint {
  /** undefined: an algorithm outside SHA-2 */
  readonly hash: HashName | undefined
  /** as long as `hash` says, unless `hash` is undefined */
  readonly digest: Uint8Array
  /** the whole MessageImprint; a token repeats it byte for byte */
  readonly der: Uint8Array
}

export interface TimestampRequest {
  readonly imprint: MessageImprint
  /** dotted; undefined: the authority's own choice */
  readonly policy: string | undefined
  /** content octets of the INTEGER, 20 at most */
  readonly nonce: Uint8Array | undefined
  /** whether the token is to carry the authority's certificates */
  readonly certReq: boolean
  /** OIDs of extensions, critical or not: RFC 3161 §2.4.1 lets an authority pass over none */
  readonly extensions: readonly string[]
}

/**
 * Reads a TimeStampReq, version 1.
 * @throws FormatError TOO_LARGE above 8 KiB; DER_MALFORMED; VERSION_UNKNOWN; TIMESTAMP_MALFORMED for an imprint that is not as long as its
 * algorithm's digests, or a nonce above 20 bytes
 */
export function parseTimestampRequest(bytes: Uint8Array): TimestampRequest {
  if (bytes.length > MAX_TIMESTAMP_QUERY_BYTES) throw new FormatError("TOO_LARGE", "a timestamp request above 8 KiB")
  const outer = new DerReader(bytes)
  const fields = outer.enter(TAG.SEQUENCE)
  outer.finish()
  if (fields.smallInteger() !== 1) throw new FormatError("VERSION_UNKNOWN", "a timestamp request that is not version 1")
  const imprint = readImprint(fields)
  const policy = fields.is(TAG.OID) ? fields.oid() : undefined
  const nonce = fields.is(TAG.INTEGER) ? readNonce(fields) : undefined
  const certReq = readDefaultFalse(fields)
  const extensions = fields.is(explicitTag(0)) ? readExtensionOids(fields, explicitTag(0)) : []
  fields.finish()
  return { imprint, policy, nonce, certReq, extensions }
}

/** @throws FormatError DER_MALFORMED, TIMESTAMP_MALFORMED */
function readImprint(fields: DerReader): MessageImprint {
  const whole = fields.element(TAG.SEQUENCE)
  const parts = new DerReader(fields.bytes, fields.start, fields.stop)
  const hash = readDigestAlgorithm(parts)
  const digest = parts.octets()
  parts.finish()
  if (hash !== undefined && digest.length !== HASH_LENGTH[hash])
    throw malformed("an imprint of another length than its algorithm's digests")
  return { hash, digest, der: whole }
}

/** An AlgorithmIdentifier of a digest; its parameters are absent or NULL. @returns undefined for an algorithm outside SHA-2 */
export function readDigestAlgorithm(fields: DerReader): HashName | undefined {
  const algorithm = fields.enter(TAG.SEQUENCE)
  const hash = DIGEST_OIDS.get(algorithm.oid())
  if (hash === undefined) return undefined
  if (!algorithm.done) algorithm.null()
  algorithm.finish()
  return hash
}

export function digestAlgorithm(hash: HashName): Uint8Array {
  return hexDecode(DIGEST_ALGORITHMS[hash])
}

function readNonce(fields: DerReader): Uint8Array {
  const nonce = fields.integerBytes()
  if (nonce.length > MAX_NONCE_BYTES) throw malformed("a nonce above 20 bytes")
  return nonce
}

/** BOOLEAN DEFAULT FALSE: DER never writes the default (X.690 §11.5). */
function readDefaultFalse(fields: DerReader): boolean {
  if (!fields.is(TAG.BOOLEAN)) return false
  if (!fields.boolean()) throw new FormatError("DER_MALFORMED", "a default value that is written out")
  return true
}

function readExtensionOids(fields: DerReader, tag: number): string[] {
  const list = fields.enter(tag)
  const oids: string[] = []
  do oids.push(readExtensionField(list)[0])
  while (!list.done)
  return oids
}

/** What a client asks: TimeStampReq, DER. `nonce` is the magnitude of a positive number. */
export function timestampRequest(fields: {
  readonly hash: HashName
  readonly digest: Uint8Array
  readonly policy?: string
  readonly nonce?: Uint8Array
  readonly certReq: boolean
}): Uint8Array {
  if (fields.digest.length !== HASH_LENGTH[fields.hash])
    throw malformed("a digest of another length than its algorithm's")
  return sequence(
    integer(1n),
    sequence(digestAlgorithm(fields.hash), octetString(fields.digest)),
    ...(fields.policy === undefined ? [] : [oid(fields.policy)]),
    ...(fields.nonce === undefined ? [] : [integer(fields.nonce)]),
    ...(fields.certReq ? [boolean(true)] : []),
  )
}

/** What a token says: TSTInfo of RFC 3161 §2.4.2. */
export interface TstInfo {
  /** dotted */
  readonly policy: string
  readonly imprint: MessageImprint
  /** content octets of the INTEGER */
  readonly serial: Uint8Array
  readonly genTime: Date
  /** how far the true time may be from `genTime`, both ways; 0 when the token says nothing */
  readonly accuracyMs: number
  readonly nonce: Uint8Array | undefined
}

export interface TstInfoFields {
  readonly policy: string
  /** of the request, byte for byte */
  readonly imprint: Uint8Array
  /** magnitude of a positive number, 20 bytes at most */
  readonly serial: Uint8Array
  /** cut to whole seconds */
  readonly genTime: Date
  /** whole seconds; above 0 */
  readonly accuracySec: number
  /** content octets of the request's nonce */
  readonly nonce: Uint8Array | undefined
}

/** TSTInfo, DER. A token of this service names no `tsa`: the signed attribute with the certificate's digest does that better. */
export function tstInfo(fields: TstInfoFields): Uint8Array {
  return sequence(
    integer(1n),
    oid(fields.policy),
    fields.imprint,
    integer(fields.serial),
    generalizedTime(fields.genTime),
    sequence(integer(BigInt(fields.accuracySec))),
    ...(fields.nonce === undefined ? [] : [der(TAG.INTEGER, fields.nonce)]),
  )
}

/**
 * Reads a TSTInfo. A `tsa` name is passed over; an extension is refused, since none is understood.
 * @throws FormatError DER_MALFORMED, also for a genTime with fractions of a second; VERSION_UNKNOWN; TIMESTAMP_MALFORMED
 */
export function parseTstInfo(bytes: Uint8Array): TstInfo {
  const outer = new DerReader(bytes)
  const fields = outer.enter(TAG.SEQUENCE)
  outer.finish()
  if (fields.smallInteger() !== 1) throw new FormatError("VERSION_UNKNOWN", "a TSTInfo that is not version 1")
  const policy = fields.oid()
  const imprint = readImprint(fields)
  const serial = fields.integerBytes()
  if (serial.length > MAX_SERIAL_BYTES || (serial[0] as number) >= 0x80)
    throw malformed("a serial number that is negative or above 20 bytes")
  const genTime = fields.generalizedTime()
  const accuracyMs = fields.is(TAG.SEQUENCE) ? readAccuracy(fields) : 0
  readDefaultFalse(fields)
  const nonce = fields.is(TAG.INTEGER) ? readNonce(fields) : undefined
  if (fields.is(explicitTag(0))) fields.take(explicitTag(0))
  if (fields.is(explicitTag(1))) throw malformed("a TSTInfo with extensions")
  fields.finish()
  return { policy, imprint, serial, genTime, accuracyMs, nonce }
}

/** Whole milliseconds, microseconds rounded up. */
function readAccuracy(fields: DerReader): number {
  const parts = fields.enter(TAG.SEQUENCE)
  const seconds = parts.is(TAG.INTEGER) ? parts.smallInteger() : 0
  const millis = parts.is(contextTag(0)) ? parts.smallInteger(contextTag(0)) : 0
  const micros = parts.is(contextTag(1)) ? parts.smallInteger(contextTag(1)) : 0
  parts.finish()
  if (seconds > MAX_ACCURACY_SEC || millis > 999 || micros > 999) throw malformed("an accuracy out of range")
  return seconds * 1000 + millis + Math.ceil(micros / 1000)
}

/** A day: a token that knows its time no better proves nothing here. */
const MAX_ACCURACY_SEC = 86_400

/** PKIFailureInfo, RFC 3161 §2.4.2: why there is no token. */
export const FAILURE_INFO = {
  badAlg: 0,
  badRequest: 2,
  badDataFormat: 5,
  timeNotAvailable: 14,
  unacceptedPolicy: 15,
  unacceptedExtension: 16,
  systemFailure: 25,
} as const
export type FailureInfo = keyof typeof FAILURE_INFO

/** TimeStampResp that grants. @param token ContentInfo, DER */
export function grantedResponse(token: Uint8Array): Uint8Array {
  return sequence(sequence(integer(0n)), token)
}

/** TimeStampResp that rejects. @param text for people, without secrets */
export function rejectedResponse(failure: FailureInfo, text: string): Uint8Array {
  return sequence(sequence(integer(2n), sequence(utf8String(text)), namedBits([FAILURE_INFO[failure]])))
}

export type TimestampResponse =
  | { readonly granted: true; readonly token: Uint8Array }
  /** `failure` undefined: a reason that this reader has no name for, or none */
  | { readonly granted: false; readonly failure: FailureInfo | undefined; readonly text: string }

/**
 * Reads a TimeStampResp. Status 0 and 1 grant (RFC 3161 §2.4.2).
 * @throws FormatError TOO_LARGE above 64 KiB; DER_MALFORMED; TIMESTAMP_MALFORMED for a grant without token or a rejection with one
 */
export function parseTimestampResponse(bytes: Uint8Array): TimestampResponse {
  if (bytes.length > MAX_TIMESTAMP_REPLY_BYTES) throw new FormatError("TOO_LARGE", "a timestamp response above 64 KiB")
  const outer = new DerReader(bytes)
  const fields = outer.enter(TAG.SEQUENCE)
  outer.finish()
  const info = fields.enter(TAG.SEQUENCE)
  const status = info.smallInteger()
  const text = info.is(TAG.SEQUENCE) ? readFreeText(info) : ""
  const failure = info.is(TAG.BIT_STRING) ? readFailure(info) : undefined
  info.finish()
  const token = fields.done ? undefined : fields.element(TAG.SEQUENCE)
  fields.finish()
  if (status <= 1 !== (token !== undefined)) throw malformed("a grant without a token, or a rejection with one")
  return token === undefined ? { granted: false, failure, text } : { granted: true, token }
}

function readFreeText(info: DerReader): string {
  const texts = info.enter(TAG.SEQUENCE)
  const lines: string[] = []
  while (!texts.done) lines.push(texts.text())
  return lines.join("; ")
}

function readFailure(info: DerReader): FailureInfo | undefined {
  const { bytes } = info.bits()
  const set = (bit: number) => ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0
  return (Object.keys(FAILURE_INFO) as FailureInfo[]).find((name) => set(FAILURE_INFO[name]))
}

function malformed(detail: string): FormatError {
  return new FormatError("TIMESTAMP_MALFORMED", detail)
}
