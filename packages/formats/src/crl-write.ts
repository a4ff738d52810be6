import { type SignatureScheme, schemeRow } from "./algorithms.ts"
import { concat } from "./bytes.ts"
import { CRL_EXTENSION, type CrlReason, REASON_CODE } from "./crl.ts"
import { TAG } from "./der.ts"
import {
  bitString,
  der,
  derHeader,
  explicit,
  generalizedTime,
  integer,
  integerContent,
  sequence,
  time,
} from "./der-write.ts"
import { FormatError } from "./errors.ts"
import { authorityKeyIdExtension, extension } from "./x509-write.ts"

export interface CrlEntry {
  /** content octets of the certificate's serial: positive, minimal, 20 bytes at most */
  readonly serial: Uint8Array
  readonly revokedAt: Date
  /** left out: `unspecified` */
  readonly reason?: CrlReason
  /** since when the key is known or suspected to be unfit; stock clients let earlier signatures survive */
  readonly invalidityDate?: Date
}

export interface CrlFields {
  /** Name of the issuer, DER: byte for byte the subject of its certificate */
  readonly issuer: Uint8Array
  /** the algorithm of the key that will sign */
  readonly scheme: SignatureScheme
  readonly thisUpdate: Date
  /** after `thisUpdate` */
  readonly nextUpdate: Date
  readonly crlNumber: bigint
  readonly authorityKeyId: Uint8Array
  /** strictly ascending by serial */
  readonly entries: Iterable<CrlEntry>
  /** entries of certificates that expired at or after this time stay on the list (X.509 §9.5.2.8) */
  readonly expiredCertsOnCrl?: Date
}

/**
 * To-be-signed bytes of a complete CRL of version 2; linear in the number of entries, equal fields give equal bytes.
 * Times are cut to whole seconds (RFC 5280 §5.1.2.4).
 * @throws FormatError CRL_MALFORMED for serials that are not strictly ascending or not in DER, for `nextUpdate` not after `thisUpdate`
 */
export function crlTbs(fields: CrlFields): Uint8Array {
  if (fields.nextUpdate.getTime() - fields.thisUpdate.getTime() < 1000)
    throw unencodable("nextUpdate not after thisUpdate")
  const entries = encodeEntries(fields.entries)
  const extensions = [
    authorityKeyIdExtension(fields.authorityKeyId),
    extension(CRL_EXTENSION.crlNumber, false, integer(fields.crlNumber)),
  ]
  if (fields.expiredCertsOnCrl !== undefined)
    extensions.push(extension(CRL_EXTENSION.expiredCertsOnCrl, false, generalizedTime(fields.expiredCertsOnCrl)))
  return sequence(
    VERSION_2,
    schemeRow(fields.scheme).x509,
    fields.issuer,
    time(fields.thisUpdate),
    time(fields.nextUpdate),
    // An empty list is left out (RFC 5280 §5.1.2.6).
    ...(entries.length === 0 ? [] : [derHeader(TAG.SEQUENCE, entries.length), entries]),
    explicit(0, sequence(...extensions)),
  )
}

/**
 * @param scheme the same as in `tbs`
 * @param signature over `tbs`; ECDSA: DER Ecdsa-Sig-Value (RFC 3279 §2.2.3)
 */
export function assembleCrl(tbs: Uint8Array, scheme: SignatureScheme, signature: Uint8Array): Uint8Array {
  return sequence(tbs, schemeRow(scheme).x509, bitString(signature))
}

const VERSION_2 = integer(1n)
/** Room for one entry: serial 22, two times 36, reason 12, headers. */
const LONGEST_ENTRY = 128

function encodeEntries(entries: Iterable<CrlEntry>): Uint8Array {
  let bytes: Uint8Array = new Uint8Array(4096)
  let at = 0
  let previous: Uint8Array | undefined
  const times = new LastTime(time, "hhmmssZ".length)
  const invalidity = new LastTime(invalidityExtension, "hhmmssZ".length)
  for (const { serial, revokedAt, reason, invalidityDate } of entries) {
    checkSerial(serial, previous)
    previous = serial
    if (at + LONGEST_ENTRY > bytes.length) bytes = concat(bytes, new Uint8Array(bytes.length))
    const when = times.get(revokedAt)
    const why = reason === undefined ? NOTHING : REASON_EXTENSIONS[reason]
    const since = invalidityDate === undefined ? NOTHING : invalidity.get(invalidityDate)
    const extensions = why.length + since.length
    bytes[at++] = TAG.SEQUENCE
    bytes[at++] = 2 + serial.length + when.length + (extensions === 0 ? 0 : 2 + extensions)
    bytes[at++] = TAG.INTEGER
    bytes[at++] = serial.length
    bytes.set(serial, at)
    at += serial.length
    bytes.set(when, at)
    at += when.length
    if (extensions === 0) continue
    bytes[at++] = TAG.SEQUENCE
    bytes[at++] = extensions
    bytes.set(why, at)
    at += why.length
    bytes.set(since, at)
    at += since.length
  }
  return bytes.subarray(0, at)
}

const NOTHING = new Uint8Array(0)

const REASON_EXTENSIONS = Object.fromEntries(
  Object.entries(REASON_CODE).map(([reason, code]) => [
    reason,
    extension(CRL_EXTENSION.reasonCode, false, der(TAG.ENUMERATED, integerContent(BigInt(code)))),
  ]),
) as Record<CrlReason, Uint8Array>

function invalidityExtension(date: Date): Uint8Array {
  return extension(CRL_EXTENSION.invalidityDate, false, generalizedTime(date))
}

const DAY_MS = 86_400_000

/** Neighbours on a list share their day, so that only the digits of hours, minutes and seconds are written anew. */
class LastTime {
  readonly #encode: (date: Date) => Uint8Array
  readonly #digitsAt: number
  #day = Number.NaN
  #second = Number.NaN
  #bytes: Uint8Array = NOTHING

  /** @param digitsFromEnd where hhmmss starts in what `encode` writes, counted from its end */
  constructor(encode: (date: Date) => Uint8Array, digitsFromEnd: number) {
    this.#encode = encode
    this.#digitsAt = digitsFromEnd
  }

  get(date: Date): Uint8Array {
    const second = Math.floor(date.getTime() / 1000)
    if (second === this.#second) return this.#bytes
    const day = Math.floor((second * 1000) / DAY_MS)
    if (day === this.#day) this.#writeDigits(second - (day * DAY_MS) / 1000)
    else this.#bytes = this.#encode(date)
    this.#day = day
    this.#second = second
    return this.#bytes
  }

  #writeDigits(secondOfDay: number): void {
    const bytes = this.#bytes
    let at = bytes.length - this.#digitsAt
    for (const value of [Math.floor(secondOfDay / 3600), Math.floor(secondOfDay / 60) % 60, secondOfDay % 60]) {
      bytes[at++] = 0x30 + Math.floor(value / 10)
      bytes[at++] = 0x30 + (value % 10)
    }
  }
}

function checkSerial(serial: Uint8Array, previous: Uint8Array | undefined): void {
  const first = serial[0]
  const padded = first === 0 && (serial.length === 1 || (serial[1] as number) < 0x80)
  if (first === undefined || serial.length > 20 || first >= 0x80 || padded)
    throw unencodable("a serial that is not a positive, minimal INTEGER of at most 20 bytes")
  if (previous !== undefined && compareSerials(previous, serial) >= 0) throw unencodable("serials not ascending")
}

/** Order of positive INTEGERs by their content octets. */
export function compareSerials(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length) return a.length - b.length
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return 0
}

function unencodable(detail: string): FormatError {
  return new FormatError("CRL_MALFORMED", detail)
}
