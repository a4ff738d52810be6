import { SCHEMES, type SignatureScheme, schemeRow } from "./algorithms.ts"
import { base64Decode, base64Encode, base64urlDecode, base64urlEncode, hexDecode, hexEncode, utf8 } from "./bytes.ts"
import { ecdsaDerToRaw, ecdsaRawToDer } from "./ecdsa.ts"
import { FormatError } from "./errors.ts"
import { type Descriptor, readDescriptor } from "./oci.ts"
import { array, mismatch, object, oneOf, openObject, type Reader, string } from "./shape.ts"
import { type JsonObject, type JsonValue, parseJson } from "./strict-json.ts"
import { formatTime, parseTimeLenient } from "./time.ts"
import { type Certificate, MAX_CERTIFICATE_BYTES, parseCertificate } from "./x509.ts"

export const PAYLOAD_TYPE = "application/vnd.cncf.notary.payload.v1+json"
export const MAX_ENVELOPE_BYTES = 1024 * 1024
export const MAX_CHAIN = 10

export type SigningScheme = "notary.x509" | "notary.x509.signingAuthority"

const HEADER = {
  signingScheme: "io.cncf.notary.signingScheme",
  signingTime: "io.cncf.notary.signingTime",
  authenticSigningTime: "io.cncf.notary.authenticSigningTime",
  expiry: "io.cncf.notary.expiry",
  verificationPlugin: "io.cncf.notary.verificationPlugin",
  verificationPluginMinVersion: "io.cncf.notary.verificationPluginMinVersion",
  timestampSignature: "io.cncf.notary.timestampSignature",
  signingAgent: "io.cncf.notary.signingAgent",
  /** hex SHA-256 of the SubjectPublicKeyInfo that certified the leaf */
  issuer: "io.sealwright.issuer",
  /** hex of the leaf's serial, content octets */
  serial: "io.sealwright.serial",
  /** position in the issuer's numbering, decimal */
  number: "io.sealwright.number",
  /** issuer and number of the signature of the same act under another algorithm: `hex:decimal` */
  beside: "io.sealwright.beside",
} as const

/** Which certificate a signature belongs to and, where a service numbers them, which number it has: signed along, so that no sibling can stand in (D2). */
export interface SealwrightHeader {
  /** SHA-256 of the issuer's SubjectPublicKeyInfo */
  readonly issuerKeyId: Uint8Array
  /** content octets of the leaf's serial */
  readonly serial: Uint8Array
  /** undefined: made with a key of one's own, which nobody numbers */
  readonly number: number | undefined
  /** the signature that one act made first, under another algorithm and with a number of its own; undefined: this one is it */
  readonly beside?: BesideSignature | undefined
}

/** How the extra signature of an act names the other one (R19): neither can be moved to another act. */
export interface BesideSignature {
  /** SHA-256 of the SubjectPublicKeyInfo of its issuer */
  readonly issuerKeyId: Uint8Array
  readonly number: number
}

export interface ProtectedHeader {
  readonly alg: SignatureScheme
  readonly signingScheme: SigningScheme
  /** signed time: authentic for signingAuthority, the signer's own claim for x509; millisecond precision */
  readonly signingTime: Date
  readonly expiry: Date | undefined
  /** a plugin without which this signature must not be accepted */
  readonly verificationPlugin: string | undefined
  readonly sealwright: SealwrightHeader | undefined
  /** other members, none of them critical */
  readonly extended: Readonly<Record<string, JsonValue>>
}

export interface NotaryJws {
  readonly protected: ProtectedHeader
  readonly payload: Uint8Array
  readonly target: Descriptor
  /** leaf first, each in standard base64 of its DER; `parseX5c` reads one */
  readonly x5c: readonly string[]
  readonly signingInput: Uint8Array
  /** as crypto requests want it: ECDSA as DER Ecdsa-Sig-Value, RSA-PSS as it is */
  readonly signature: Uint8Array
  readonly signatureRaw: Uint8Array
  /** RFC 3161 token, DER, over `signatureRaw`; unsigned header */
  readonly timestampToken: Uint8Array | undefined
  /** unsigned header, for display alone */
  readonly signingAgent: string | undefined
}

/** Who vouches for the time: the service (`notary.x509.signingAuthority`), or nobody but the signer (`notary.x509`). */
export type SigningTime = { readonly authenticSigningTime: Date } | { readonly signingTime: Date }

export type SigningFields = SigningTime & {
  readonly scheme: SignatureScheme
  /** after the signing time */
  readonly expiry?: Date
  readonly target: Descriptor
  readonly sealwright: SealwrightHeader
}

export interface UnsignedEnvelope {
  /** base64url */
  readonly payload: string
  /** base64url */
  readonly protected: string
  /** what is signed: ASCII of `protected.payload` */
  readonly signingInput: Uint8Array
  readonly scheme: SignatureScheme
}

/**
 * Builds what the leaf key signs, under the signing scheme of its time; equal fields give equal bytes.
 * @throws FormatError ALGORITHM_UNSUPPORTED for a scheme that Notary has no name for; ENVELOPE_MALFORMED when the expiry is not after the signing time
 */
export function unsignedEnvelope(fields: SigningFields): UnsignedEnvelope {
  const { scheme, expiry, target, sealwright } = fields
  const authority = "authenticSigningTime" in fields
  const signingTime = authority ? fields.authenticSigningTime : fields.signingTime
  if (!NOTARY_SCHEMES.has(schemeRow(scheme).jose)) throw unsupported(`no Notary signatures with ${scheme}`)
  if (expiry !== undefined && formatTime(expiry) <= formatTime(signingTime))
    throw malformed("an expiry that is not after the signing time")
  const crit: string[] = authority ? [HEADER.authenticSigningTime] : []
  if (expiry !== undefined) crit.push(HEADER.expiry)
  crit.push(HEADER.signingScheme)
  const header = {
    alg: schemeRow(scheme).jose,
    cty: PAYLOAD_TYPE,
    crit,
    [authority ? HEADER.authenticSigningTime : HEADER.signingTime]: formatTime(signingTime),
    ...(expiry === undefined ? {} : { [HEADER.expiry]: formatTime(expiry) }),
    [HEADER.signingScheme]: (authority ? "notary.x509.signingAuthority" : "notary.x509") satisfies SigningScheme,
    ...(sealwright.beside && { [HEADER.beside]: besideText(sealwright.beside) }),
    [HEADER.issuer]: hexEncode(sealwright.issuerKeyId),
    ...(sealwright.number === undefined ? {} : { [HEADER.number]: sealwright.number.toString() }),
    [HEADER.serial]: hexEncode(sealwright.serial),
  }
  const encodedHeader = base64urlEncode(utf8(JSON.stringify(header)))
  const encodedPayload = base64urlEncode(encodePayload(target))
  return {
    payload: encodedPayload,
    protected: encodedHeader,
    signingInput: utf8(`${encodedHeader}.${encodedPayload}`),
    scheme,
  }
}

/** The payload of a Notary signature; annotations are sorted by name. */
export function encodePayload(target: Descriptor): Uint8Array {
  const { mediaType, digest, size, annotations, artifactType } = target
  const sorted = annotations && Object.fromEntries(Object.entries(annotations).sort(([a], [b]) => (a < b ? -1 : 1)))
  return utf8(JSON.stringify({ targetArtifact: { mediaType, digest, size, annotations: sorted, artifactType } }))
}

/**
 * The envelope, JSON, ready to be stored or pushed.
 * @param signature over `signingInput`, as signers return it: ECDSA in DER
 * @param chain DER certificates, leaf first, self-signed root last
 * @param timestampToken over `rawSignature`, DER
 * @throws FormatError SIGNATURE_MALFORMED
 */
export function assembleEnvelope(
  unsigned: UnsignedEnvelope,
  signature: Uint8Array,
  chain: readonly Uint8Array[],
  signingAgent: string,
  timestampToken?: Uint8Array,
): Uint8Array {
  const raw = rawSignature(unsigned.scheme, signature)
  return utf8(
    JSON.stringify({
      payload: unsigned.payload,
      protected: unsigned.protected,
      header: {
        x5c: chain.map(base64Encode),
        ...(timestampToken && { [HEADER.timestampSignature]: base64Encode(timestampToken) }),
        [HEADER.signingAgent]: signingAgent,
      },
      signature: base64urlEncode(raw),
    }),
  )
}

/** The signature as an envelope has it and as a timestamp covers it: ECDSA as r‖s, RSA-PSS as it is. @throws FormatError SIGNATURE_MALFORMED */
export function rawSignature(scheme: SignatureScheme, signature: Uint8Array): Uint8Array {
  const { fieldBytes } = schemeRow(scheme)
  return fieldBytes === undefined ? signature : ecdsaDerToRaw(signature, fieldBytes)
}

/** What the Notary specification has, and ML-DSA-65, whose `alg` is that of ML-DSA for JOSE and COSE (draft-ietf-cose-dilithium). */
const NOTARY_SCHEMES: ReadonlyMap<string, SignatureScheme> = new Map(
  (Object.keys(SCHEMES) as SignatureScheme[])
    .filter((scheme) => {
      const { fieldBytes, padding, keyType } = schemeRow(scheme)
      return fieldBytes !== undefined || padding === "pss" || keyType === "ml-dsa-65"
    })
    .map((scheme) => [schemeRow(scheme).jose, scheme]),
)

/** base64url of ML-DSA-65's 3,309 bytes, the longest of the table */
const MAX_SIGNATURE_TEXT = 4412
const base64urlText = string(MAX_ENVELOPE_BYTES)
const envelopeShape = object({
  payload: base64urlText,
  protected: base64urlText,
  header: object(
    { x5c: array(string(Math.ceil(MAX_CERTIFICATE_BYTES / 3) * 4), MAX_CHAIN, 1) },
    { [HEADER.timestampSignature]: string(MAX_ENVELOPE_BYTES), [HEADER.signingAgent]: string(1024) },
  ),
  signature: string(MAX_SIGNATURE_TEXT),
})

/**
 * Reads an envelope and checks all that can be checked without keys and certificates: closed shape, canonical base64, the algorithm,
 * the header rules of both signing schemes and the payload. The chain stays text, so that a reader who has seen it need not decode it again.
 * @throws FormatError TOO_LARGE, JSON_MALFORMED, TEXT_MALFORMED, SHAPE_MISMATCH, DIGEST_MALFORMED, ALGORITHM_UNSUPPORTED, SIGNATURE_MALFORMED;
 * ENVELOPE_MALFORMED for a broken rule of the header
 */
export function parseNotaryJws(bytes: Uint8Array): NotaryJws {
  const envelope = envelopeShape(parseJson(bytes, { maxBytes: MAX_ENVELOPE_BYTES, maxDepth: 4 }), "envelope")
  const header = parseProtectedHeader(base64urlDecode(envelope.protected))
  const payload = base64urlDecode(envelope.payload)
  const signatureRaw = base64urlDecode(envelope.signature)
  const { fieldBytes } = schemeRow(header.alg)
  const token = envelope.header[HEADER.timestampSignature]
  return {
    protected: header,
    payload,
    target: parsePayload(payload),
    x5c: envelope.header.x5c,
    signingInput: utf8(`${envelope.protected}.${envelope.payload}`),
    signature: fieldBytes === undefined ? signatureRaw : ecdsaRawToDer(signatureRaw, fieldBytes),
    signatureRaw,
    timestampToken: token === undefined ? undefined : base64Decode(token),
    signingAgent: envelope.header[HEADER.signingAgent],
  }
}

/**
 * Reads one certificate of an `x5c` header (RFC 7515 §4.1.6).
 * @throws FormatError TEXT_MALFORMED; and as `parseCertificate`
 */
export function parseX5c(text: string): Certificate {
  return parseCertificate(base64Decode(text))
}

const payloadShape = object({ targetArtifact: readDescriptor })

/** @throws FormatError SHAPE_MISMATCH, JSON_MALFORMED, TEXT_MALFORMED, TOO_LARGE, DIGEST_MALFORMED */
export function parsePayload(payload: Uint8Array): Descriptor {
  return payloadShape(parseJson(payload, { maxBytes: MAX_ENVELOPE_BYTES, maxDepth: 3 }), "payload").targetArtifact
}

const time: Reader<Date> = (value, at) => {
  if (typeof value !== "string" || value.length > 40) throw mismatch(at, "is not a time")
  return parseTimeLenient(value)
}
const name = string(256, /./s)
const decimal = string(15, /^(?:0|[1-9][0-9]*)$/)
const headerShape = openObject(
  {
    alg: string(16),
    cty: oneOf(PAYLOAD_TYPE),
    crit: array(name, 32, 1),
    [HEADER.signingScheme]: oneOf("notary.x509", "notary.x509.signingAuthority"),
  },
  {
    [HEADER.signingTime]: time,
    [HEADER.authenticSigningTime]: time,
    [HEADER.expiry]: time,
    [HEADER.verificationPlugin]: name,
    [HEADER.verificationPluginMinVersion]: name,
    [HEADER.issuer]: string(64, /^[0-9a-f]{64}$/),
    [HEADER.serial]: string(40, /^(?:[0-9a-f]{2}){1,20}$/),
    [HEADER.number]: decimal,
    [HEADER.beside]: string(80, /^[0-9a-f]{64}:(?:0|[1-9][0-9]{0,14})$/),
  },
)
const UNDERSTOOD_CRITICAL: ReadonlySet<string> = new Set([
  HEADER.signingScheme,
  HEADER.authenticSigningTime,
  HEADER.expiry,
  HEADER.verificationPlugin,
  HEADER.verificationPluginMinVersion,
])
const NOT_EXTENDED: ReadonlySet<string> = new Set<string>(["alg", "cty", "crit", ...Object.values(HEADER)])

function parseProtectedHeader(bytes: Uint8Array): ProtectedHeader {
  const value = parseJson(bytes, { maxBytes: 65_536, maxDepth: 16 }) as JsonObject
  const header = headerShape(value, "protected")
  const alg = NOTARY_SCHEMES.get(header.alg)
  if (alg === undefined) throw unsupported("an `alg` outside the table")
  const signingScheme = header[HEADER.signingScheme]
  const authority = signingScheme === "notary.x509.signingAuthority"
  const signingTime = header[authority ? HEADER.authenticSigningTime : HEADER.signingTime]
  if (signingTime === undefined) throw malformed("the signing time of the scheme is missing")
  if (header[authority ? HEADER.signingTime : HEADER.authenticSigningTime] !== undefined)
    throw malformed("a signing time of the other scheme")
  const expiry = header[HEADER.expiry]
  if (expiry !== undefined && expiry.getTime() <= signingTime.getTime())
    throw malformed("an expiry that is not after the signing time")
  const verificationPlugin = header[HEADER.verificationPlugin]
  if (verificationPlugin === undefined && header[HEADER.verificationPluginMinVersion] !== undefined)
    throw malformed("a plugin version without a plugin")
  checkCritical(value, header.crit, authority, expiry !== undefined)
  return {
    alg,
    signingScheme,
    signingTime,
    expiry,
    verificationPlugin,
    sealwright: sealwrightHeader(
      header[HEADER.issuer],
      header[HEADER.serial],
      header[HEADER.number],
      header[HEADER.beside],
    ),
    extended: Object.fromEntries(Object.entries(value).filter(([member]) => !NOT_EXTENDED.has(member))),
  }
}

/** RFC 7515 §4.1.11 and the Notary signature specification: all that must be critical is, and nothing that is not understood. */
function checkCritical(header: JsonObject, crit: readonly string[], authority: boolean, expiry: boolean): void {
  const listed = new Set(crit)
  if (listed.size !== crit.length) throw malformed("`crit` lists a header twice")
  for (const member of listed) {
    if (!UNDERSTOOD_CRITICAL.has(member)) throw malformed("`crit` lists a header that is not understood")
    if (!Object.hasOwn(header, member)) throw malformed("`crit` lists a header that is not there")
  }
  if (
    !listed.has(HEADER.signingScheme) ||
    (authority && !listed.has(HEADER.authenticSigningTime)) ||
    (expiry && !listed.has(HEADER.expiry))
  )
    throw malformed("`crit` leaves out a header that must be critical")
}

function sealwrightHeader(
  issuer: string | undefined,
  serial: string | undefined,
  number: string | undefined,
  beside: string | undefined,
): SealwrightHeader | undefined {
  if (issuer === undefined && serial === undefined && number === undefined && beside === undefined) return undefined
  if (issuer === undefined || serial === undefined)
    throw malformed("issuer and serial stand together, and a number with them")
  if (beside !== undefined && number === undefined) throw malformed("an extra signature without a number")
  return {
    issuerKeyId: hexDecode(issuer),
    serial: hexDecode(serial),
    number: number === undefined ? undefined : Number(number),
    ...(beside !== undefined && { beside: besideFrom(beside) }),
  }
}

function besideText({ issuerKeyId, number }: BesideSignature): string {
  return `${hexEncode(issuerKeyId)}:${number}`
}

function besideFrom(text: string): BesideSignature {
  return { issuerKeyId: hexDecode(text.slice(0, 64)), number: Number(text.slice(65)) }
}

function malformed(detail: string): FormatError {
  return new FormatError("ENVELOPE_MALFORMED", detail)
}

function unsupported(detail: string): FormatError {
  return new FormatError("ALGORITHM_UNSUPPORTED", detail)
}
