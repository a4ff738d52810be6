import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { bytesEqual } from "@sealwright/formats/bytes"
import { numbersOfSerial } from "@sealwright/formats/leaf-serial"
import { type NotaryJws, parseNotaryJws, type SigningScheme } from "@sealwright/formats/notary-jws"
import type { Descriptor } from "@sealwright/formats/oci"
import { ATTRIBUTE, type Certificate, nameAttribute, type PublicKey } from "@sealwright/formats/x509"
import { EXTENSION, readExtension } from "@sealwright/formats/x509-extensions"
import { ChainCache } from "./chain-cache.ts"
import { orMessage } from "./or-message.ts"
import { type Step, verifySignature } from "./requests.ts"
import { type SigningTime, signingTimeOf, type TimestampTrust } from "./signing-time.ts"
import { TIMESTAMP_CODES, type TimestampCode } from "./timestamp.ts"
import { CHAIN_CODES, type ChainCode, verifyPath } from "./x509-path.ts"

/** Why an envelope is not accepted, beside the codes of its chain. */
export const NOTARY_CODES = {
  ENVELOPE_MALFORMED: "the envelope is not a Notary JWS envelope or breaks a rule of its format",
  CERTIFICATE_MALFORMED: "a certificate of the envelope cannot be read",
  SCHEME_NOT_ALLOWED: "the signing scheme is not among the allowed ones",
  PLUGIN_REQUIRED: "the signer demands a verification plugin, and this verifier runs none",
  ALGORITHM_NOT_ALLOWED: "the signature algorithm is not among the allowed ones",
  ALGORITHM_KEY_MISMATCH: "the signature algorithm is not the one that belongs to the signing key",
  SIGNATURE_INVALID: "the signature does not verify under the signing certificate's key",
  CERTIFICATE_SWAPPED: "the signing certificate is not the one that the signature names",
  SIGNATURE_EXPIRED: "the signature's own expiry has passed",
} as const

export type NotaryCode = keyof typeof NOTARY_CODES | ChainCode | TimestampCode

export interface NotaryCheck {
  readonly check: "envelope" | "scheme" | "time" | "chain" | "algorithm" | "signature" | "certificate" | "expiry"
  readonly ok: boolean
  /** stable; undefined when the check passed */
  readonly code: NotaryCode | undefined
  /** for people; free to change */
  readonly text: string
}

export interface NotaryOptions {
  /** trusted certificates, DER */
  readonly trusted: readonly Uint8Array[]
  /** default: both */
  readonly signingSchemes?: readonly SigningScheme[]
  /** default: all that Notary has */
  readonly algorithms?: readonly SignatureScheme[]
  /** default: no timestamp counts */
  readonly timestamps?: TimestampTrust
  readonly now: Date
  /** kept by the caller across calls */
  readonly cache?: ChainCache
}

/** What a signature says, once it is proven. Revocation, scope and identity are decided by the caller. */
export interface VerifiedNotary {
  readonly ok: true
  readonly target: Descriptor
  readonly signingScheme: SigningScheme
  readonly algorithm: SignatureScheme
  /** authentic under signingAuthority; the signer's own claim under x509 */
  readonly signingTime: Date
  /** undefined when nothing proves a time */
  readonly proven: SigningTime | undefined
  readonly expiry: Date | undefined
  readonly leaf: Certificate
  /** leaf first, self-signed root last */
  readonly chain: readonly Certificate[]
  /** position of the trusted certificate in `chain` */
  readonly anchor: number
  /** SHA-256 of the SubjectPublicKeyInfo that certified the leaf */
  readonly issuerKeyId: Uint8Array
  /** position in the issuer's numbering; undefined for a signature that no service numbered */
  readonly number: number | undefined
  readonly envelope: NotaryJws
  readonly checks: readonly NotaryCheck[]
}

export type NotaryResult =
  | VerifiedNotary
  | { readonly ok: false; readonly code: NotaryCode; readonly checks: readonly NotaryCheck[] }

/**
 * Verifies a Notary JWS envelope: form, chain, algorithm, signature, the certificate that it names, expiry. Never throws on bad input.
 * The chain counts at the authentic signing time under the signing-authority scheme; under x509 at the time of a trusted timestamp, else at `now`.
 */
export function* verifyNotaryEnvelope(bytes: Uint8Array, options: NotaryOptions): Step<NotaryResult> {
  const checks: NotaryCheck[] = []
  const pass = (check: NotaryCheck["check"], text: string): void => {
    checks.push({ check, ok: true, code: undefined, text })
  }
  const refuse = (check: NotaryCheck["check"], code: NotaryCode, detail = ""): NotaryResult => {
    checks.push({ check, ok: false, code, text: textOf(code) + detail })
    return { ok: false, code, checks }
  }

  const envelope = orMessage(() => parseNotaryJws(bytes))
  if (typeof envelope === "string") return refuse("envelope", "ENVELOPE_MALFORMED", `: ${envelope}`)
  const cache = options.cache ?? new ChainCache()
  const parsed = orMessage(() => envelope.x5c.map((text) => cache.certificate(text)))
  if (typeof parsed === "string") return refuse("envelope", "CERTIFICATE_MALFORMED", `: ${parsed}`)
  const [leaf] = parsed
  if (leaf === undefined) return refuse("envelope", "CERTIFICATE_MALFORMED")
  pass("envelope", "a Notary JWS envelope")

  const { alg, signingScheme, signingTime, expiry, sealwright } = envelope.protected
  if (options.signingSchemes !== undefined && !options.signingSchemes.includes(signingScheme))
    return refuse("scheme", "SCHEME_NOT_ALLOWED")
  if (envelope.protected.verificationPlugin !== undefined) return refuse("scheme", "PLUGIN_REQUIRED")
  pass("scheme", signingScheme)

  const when = yield* signingTimeOf(envelope, parsed, options.timestamps, options.now, cache)
  if (!when.ok) return refuse("time", when.code, when.detail === "" ? "" : `: ${when.detail}`)
  const { proven } = when
  pass("time", when.text)
  const time = proven?.earliest ?? options.now
  const path = yield* verifyPath(parsed, {
    trusted: options.trusted,
    time,
    ...(proven && { until: proven.latest }),
    cache,
  })
  if (!path.ok) return refuse("chain", path.code, ` (certificate ${path.at + 1} of ${parsed.length})`)
  pass("chain", `${parsed.length} certificates, valid at ${time.toISOString()}`)

  if (options.algorithms !== undefined && !options.algorithms.includes(alg))
    return refuse("algorithm", "ALGORITHM_NOT_ALLOWED")
  if (notaryScheme(leaf.key) !== alg) return refuse("algorithm", "ALGORITHM_KEY_MISMATCH")
  pass("algorithm", alg)

  if (!(yield* verifySignature(alg, leaf.spki, envelope.signingInput, envelope.signature)))
    return refuse("signature", "SIGNATURE_INVALID")
  pass("signature", "made with the signing certificate's key")

  const issuerKeyId = yield* cache.keyId(parsed[1] ?? leaf)
  if (!namesItsCertificate(envelope, leaf, issuerKeyId)) return refuse("certificate", "CERTIFICATE_SWAPPED")
  pass("certificate", certificateText(sealwright))

  if (expiry !== undefined && options.now.getTime() >= expiry.getTime()) return refuse("expiry", "SIGNATURE_EXPIRED")
  pass("expiry", expiry === undefined ? "does not expire" : `expires ${expiry.toISOString()}`)

  return {
    ok: true,
    target: envelope.target,
    signingScheme,
    algorithm: alg,
    signingTime,
    proven,
    expiry,
    leaf,
    chain: parsed,
    anchor: path.anchor,
    issuerKeyId,
    number: sealwright?.number,
    envelope,
    checks,
  }
}

/** Notary ties the algorithm to the key: a curve to its hash, RSA 2048, 3072 and 4096 to SHA-256, 384 and 512; so does ML-DSA-65, which it lacks. */
export function notaryScheme(key: PublicKey): SignatureScheme | undefined {
  if (key.type === "ml-dsa-65") return key.type
  if (key.type === "ec") return EC_SCHEMES[key.curve]
  return key.type === "rsa" ? RSA_SCHEMES.get(key.modulusBits) : undefined
}

const EC_SCHEMES = {
  "P-256": "ecdsa-p256-sha256",
  "P-384": "ecdsa-p384-sha384",
  "P-521": "ecdsa-p521-sha512",
} as const satisfies Record<string, SignatureScheme>

const RSA_SCHEMES: ReadonlyMap<number, SignatureScheme> = new Map([
  [2048, "rsa-pss-sha256"],
  [3072, "rsa-pss-sha384"],
  [4096, "rsa-pss-sha512"],
])

/**
 * The chain stands in an unsigned header, so two certificates over one key could be exchanged. A signature of this service names issuer, serial and
 * number under its signature; a leaf that carries this service's identity never comes without them (D2).
 */
function namesItsCertificate({ protected: header }: NotaryJws, leaf: Certificate, issuerKeyId: Uint8Array): boolean {
  const named = header.sealwright
  if (named === undefined) return !hasOurIdentity(leaf)
  if (!bytesEqual(named.issuerKeyId, issuerKeyId) || !bytesEqual(named.serial, leaf.serialBytes)) return false
  if (named.number === undefined) return !hasOurIdentity(leaf)
  const numbers = numbersOfSerial(leaf.serialBytes)
  return numbers === undefined || (named.number >= numbers.first && named.number < numbers.first + numbers.count)
}

function certificateText(named: NotaryJws["protected"]["sealwright"]): string {
  if (named === undefined) return "names no certificate"
  return named.number === undefined ? "the one that the signature names" : `number ${named.number} of its issuer`
}

/** Both Fulcio issuer extensions and one e-mail name whose local part is the common name. */
function hasOurIdentity(leaf: Certificate): boolean {
  const { extensions, subject } = leaf
  if (!extensions.has(EXTENSION.fulcioIssuer.oid) || !extensions.has(EXTENSION.fulcioIssuerV2.oid)) return false
  const names = orMessage(() => readExtension(extensions, EXTENSION.subjectAltName) ?? [])
  if (typeof names === "string") return true
  const profile = nameAttribute(subject, ATTRIBUTE.commonName)
  return names.some((name) => name.type === "rfc822Name" && name.value.startsWith(`${profile}@`))
}

function textOf(code: NotaryCode): string {
  return { ...NOTARY_CODES, ...CHAIN_CODES, ...TIMESTAMP_CODES }[code]
}
