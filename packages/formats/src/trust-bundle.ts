import { base64Decode, base64Encode, utf8, utf8Decode } from "./bytes.ts"
import { canonicalJson } from "./canonical-json.ts"
import { FormatError } from "./errors.ts"
import { array, boolean, integer, object, oneOf, openObject, type Reader, string } from "./shape.ts"
import { type JsonObject, parseJson } from "./strict-json.ts"
import { formatTime, parseTime } from "./time.ts"

export const TRUST_BUNDLE_TYPE = "application/vnd.sealwright.trust-bundle.v1+json"
export const REGISTRY_TYPE = "application/vnd.sealwright.registry.v1+json"
export const MAX_TRUST_BUNDLE_BYTES = 1024 * 1024
export const MAX_REGISTRY_BYTES = 16 * 1024 * 1024

/** What a deployer takes over once: the publisher's roots and names. A TUF target of the `targets` role. */
export interface TrustBundle {
  readonly organisation: string
  readonly identityHost: string
  readonly crlHost: string
  readonly tufUrl: string
  /** self-signed roots of the publisher's own, DER: whatever they certify is the publisher's */
  readonly roots: readonly Uint8Array[]
  /** self-signed roots of other authorities that certified an issuer of the publisher: under them the registry's issuers alone count */
  readonly externalRoots: readonly Uint8Array[]
  /** self-signed roots of outside timestamp authorities that stamp the publisher's signatures; they say when, and never who */
  readonly timestampRoots?: readonly Uint8Array[]
  /** the publisher's transparency logs; undefined: it has none */
  readonly log?: BundleLogs
}

/** Origins of the two logs, and which checkpoints count (C2SP tlog-policy). */
export interface BundleLogs {
  readonly signatures: string
  readonly events: string
  readonly policy: string
}

/** Every root that signatures of this publisher may lead to. */
export function allRoots({ roots, externalRoots }: TrustBundle): readonly Uint8Array[] {
  return [...roots, ...externalRoots]
}

/** One issuing CA as deployers know it. */
export interface RegisteredIssuer {
  readonly name: string
  readonly issuerKeyId: string
  readonly state: "standby" | "active" | "retired" | "revoked"
  /** DER */
  readonly certificate: Uint8Array
}

/** One profile as deployers know it: an identity, without the repositories that it signs for (D9). */
export interface RegisteredProfile {
  readonly name: string
  /** the rfc822Name in its certificates */
  readonly identity: string
  readonly issuer: string
  readonly keyMode: "ephemeral" | "shared" | "held"
  readonly allowList: boolean
  readonly state: "active" | "suspended" | "revoked"
}

/** A TUF target of the `registry` role. */
export interface Registry {
  readonly epoch: number
  readonly date: Date
  readonly issuers: readonly RegisteredIssuer[]
  readonly profiles: readonly RegisteredProfile[]
}

const certificate: Reader<Uint8Array> = (value, at) => base64Decode(string(21_848)(value, at))
const slug = string(48, /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/)
const date: Reader<Date> = (value, at) => parseTime(string(20)(value, at))

export function trustBundleJson(bundle: TrustBundle): JsonObject {
  const { externalRoots, timestampRoots = [], log, ...own } = bundle
  return {
    mediaType: TRUST_BUNDLE_TYPE,
    ...own,
    roots: own.roots.map(base64Encode),
    ...(externalRoots.length > 0 && { externalRoots: externalRoots.map(base64Encode) }),
    ...(timestampRoots.length > 0 && { timestampRoots: timestampRoots.map(base64Encode) }),
    ...(log && { log: { ...log } }),
  }
}

/** The bytes of a trust bundle, the same whoever writes them: canonical JSON, whose line feeds (a log policy has them) are escaped, so that it stays JSON. */
export function encodeTrustBundle(bundle: JsonObject): Uint8Array {
  return utf8(utf8Decode(canonicalJson(bundle)).replaceAll("\n", "\\n"))
}

const bundleShape = object(
  {
    mediaType: string(100),
    organisation: string(64),
    identityHost: string(253),
    crlHost: string(260),
    tufUrl: string(2048),
    roots: array(certificate, 32, 1),
  },
  {
    externalRoots: array(certificate, 32, 1),
    timestampRoots: array(certificate, 32, 1),
    log: object({ signatures: string(255), events: string(255), policy: string(262_144) }),
  },
)

/** @throws FormatError TOO_LARGE, TEXT_MALFORMED, JSON_MALFORMED, SHAPE_MISMATCH, VERSION_UNKNOWN */
export function parseTrustBundle(bytes: Uint8Array): TrustBundle {
  const { externalRoots = [], ...own } = bundleShape(
    parseTyped(bytes, MAX_TRUST_BUNDLE_BYTES, TRUST_BUNDLE_TYPE),
    "trust bundle",
  )
  return { ...own, externalRoots }
}

export function registryJson(registry: Registry): JsonObject {
  return {
    mediaType: REGISTRY_TYPE,
    epoch: registry.epoch,
    date: formatTime(registry.date),
    issuers: registry.issuers.map((issuer) => ({ ...issuer, certificate: base64Encode(issuer.certificate) })),
    profiles: registry.profiles.map((profile) => ({ ...profile })),
  }
}

const registryShape = object({
  mediaType: string(100),
  epoch: integer(1),
  date,
  issuers: array(
    object({
      name: slug,
      issuerKeyId: string(64, /^[0-9a-f]{64}$/),
      state: oneOf("standby", "active", "retired", "revoked"),
      certificate,
    }),
    10_000,
  ),
  profiles: array(
    object({
      name: slug,
      identity: string(320),
      issuer: slug,
      keyMode: oneOf("ephemeral", "shared", "held"),
      allowList: boolean,
      state: oneOf("active", "suspended", "revoked"),
    }),
    100_000,
  ),
})

/** @throws FormatError as `parseTrustBundle` */
export function parseRegistry(bytes: Uint8Array): Registry {
  return registryShape(parseTyped(bytes, MAX_REGISTRY_BYTES, REGISTRY_TYPE), "registry")
}

function parseTyped(bytes: Uint8Array, maxBytes: number, mediaType: string) {
  const value = parseJson(bytes, { maxBytes })
  if (openObject({ mediaType: string(100) })(value, "").mediaType !== mediaType)
    throw new FormatError("VERSION_UNKNOWN", `not ${mediaType}`)
  return value
}
