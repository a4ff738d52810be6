import { SCHEMES, type SignatureScheme } from "@sealwright/formats/algorithms"
import { bytesEqual, utf8 } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { parseDigest } from "@sealwright/formats/oci"
import {
  anyJson,
  array,
  boolean,
  integer,
  map,
  mismatch,
  type ObjectShape,
  object,
  oneOf,
  type Reader,
  string,
} from "@sealwright/formats/shape"
import { parseJsonWithRawPem } from "@sealwright/formats/strict-json"
import { type LogPolicy, MAX_LOG_POLICY_BYTES, parseLogPolicy } from "@sealwright/formats/tlog-policy"
import { ATTRIBUTE, type Certificate } from "@sealwright/formats/x509"
import { EXTENSION, readExtension } from "@sealwright/formats/x509-extensions"
import type { TimestampTrust } from "./signing-time.ts"
import {
  type Loaded,
  loaded,
  PolicyRefused,
  parseScope,
  parseStore,
  type ReadFile,
  readStore,
  rootsReader,
  type Scope,
  type TrustedEntity,
  timestampRootsReader,
} from "./trust-store.ts"

export const MAX_POLICY_BYTES = 4 * 1024 * 1024

/** Which checks run (R21). A check that is off is said aloud in every verdict. */
export interface PolicyChecks {
  readonly signature: boolean
  readonly expiry: boolean
  readonly rescinded: boolean
}

/** Who signed, as a certificate says it. */
export type Identity =
  | { readonly kind: "email"; readonly email: string }
  /** attributes that the subject must have, each once: a subset, as notation matches them */
  | { readonly kind: "subject"; readonly attributes: ReadonlyMap<string, string> }

/** One whose signature counts once, however many there are. */
export interface Party {
  readonly name: string
  readonly entities: readonly TrustedEntity[]
  /** empty: anybody whom one of the entities certifies */
  readonly identities: readonly Identity[]
}

/** What a deployer trusts and demands. Made by `loadTrustPolicy` or `importNotationPolicy`. */
export interface TrustPolicy {
  readonly checks: PolicyChecks
  /** looser or stricter checks for some sources; the narrowest scope that matches decides */
  readonly scoped: readonly { readonly scope: Scope; readonly checks: PolicyChecks }[]
  /** at least one; a policy without named parties has one without a name */
  readonly parties: readonly Party[]
  /** how many distinct parties must have signed; 1 to the number of parties */
  readonly atLeast: number
  /** digests that are accepted without a signature, unless they are denied */
  readonly trustedArtifacts: readonly string[]
  /** undefined: every algorithm that Notary has */
  readonly algorithms: readonly SignatureScheme[] | undefined
  /** of each set one algorithm at least must have signed, within one act of a party; empty: any one signature is enough (R19) */
  readonly requiredAlgorithms: readonly (readonly SignatureScheme[])[]
  /** undefined: as the bundle was opened */
  readonly maxStaleSec: number | undefined
  readonly timestamps: TimestampTrust
  /** the publisher's allow list must have the artifact under this repository (R25) */
  readonly requireAllowList: boolean
  /** every signature must be proven to stand in a transparency log (R30) */
  readonly requireLog: boolean
  /** the deployer's own, in place of the one that the publisher's trust bundle brings */
  readonly logPolicy: LogPolicy | undefined
  /** roots that a key repository adds count without the deployer's acknowledgement */
  readonly acceptNewRoots: boolean
}

/**
 * Reads a policy in the JSON of the Notary v2 requirements, with further optional members. Raw line breaks may stand inside PEM text.
 * @param readFile gives the stores and roots that are named by file
 * @returns warnings: what the policy allows and its author may not have meant
 */
export function loadTrustPolicy(
  bytes: Uint8Array,
  readFile: ReadFile,
): Loaded<{ policy: TrustPolicy; warnings: readonly string[] }> {
  return loaded("POLICY_MALFORMED", () => {
    const { trustPolicy } = object({ trustPolicy: anyJson })(
      parseJsonWithRawPem(bytes, { maxBytes: MAX_POLICY_BYTES }),
      "policy",
    )
    const policy = buildPolicy(policyShape(readFile)(trustPolicy, "trustPolicy"))
    return { policy, warnings: warningsOf(policy) }
  })
}

const optionalChecks = object({}, { signatureExpiry: boolean, signatureRescinded: boolean })
const digest: Reader<string> = (value, at) => {
  const text = string(135)(value, at)
  parseDigest(text)
  return text
}
const identity: Reader<Identity> = (value, at) => parseIdentity(string(1024)(value, at), at)
const identities = array(identity, 1000, 1)
const algorithm = oneOf(...(Object.keys(SCHEMES) as SignatureScheme[]))
/** One algorithm, or several of which one is enough. */
const algorithmSet: Reader<readonly SignatureScheme[]> = (value, at) =>
  Array.isArray(value) ? array(algorithm, 16, 1)(value, at) : [algorithm(value, at)]
const partyName = string(64, /^[A-Za-z0-9][A-Za-z0-9 ._-]*$/)

function policyShape(readFile: ReadFile) {
  const store: Reader<readonly TrustedEntity[]> = (value, at) => {
    if (typeof value !== "string") return readStore(value, at, readFile)
    const bytes = readFile(value)
    if (bytes === undefined) throw new PolicyRefused("STORE_MISSING", value)
    return parseStore(bytes, readFile)
  }
  const roots = rootsReader(readFile)
  return object(
    {},
    {
      signatureCheck: boolean,
      optionalChecks,
      trustStore: array(store, 100),
      trustedArtifacts: array(digest, 100_000),
      trustedIdentities: identities,
      parties: array(object({ name: partyName }, { trustedRoots: roots, identities }), 100, 1),
      require: requirement,
      scopes: map(object({}, { signatureCheck: boolean, optionalChecks }), 1000, string(512)),
      algorithms: array(algorithm, 16, 1),
      requiredAlgorithms: array(algorithmSet, 8, 1),
      maxStaleSec: integer(0, 10 * 366 * 86_400),
      requireAllowList: boolean,
      requireLog: boolean,
      logPolicy: logPolicyReader(readFile),
      timestampRoots: timestampRootsReader(readFile),
      requireTimestamp: boolean,
      acceptNewRoots: boolean,
    },
  )
}

/** A tlog-policy, or the name of its file: a policy has lines, and a name has none. */
function logPolicyReader(readFile: ReadFile): Reader<LogPolicy> {
  return (value, at) => {
    const text = string(MAX_LOG_POLICY_BYTES)(value, at)
    const bytes = text.includes("\n") ? utf8(text) : readFile(text)
    if (bytes === undefined) throw new PolicyRefused("STORE_MISSING", text)
    return parseLogPolicy(bytes)
  }
}

const requirement: Reader<"all" | number> = (value, at) =>
  value === "all" ? "all" : object({ atLeast: integer(1, 100) })(value, at).atLeast

type ReadPolicy = ReturnType<ReturnType<typeof policyShape>>
type ReadChecks = ObjectShape<
  Record<never, never>,
  { readonly signatureCheck: Reader<boolean>; readonly optionalChecks: typeof optionalChecks }
>

function buildPolicy(read: ReadPolicy): TrustPolicy {
  const checks = checksOf(read, { signature: true, expiry: true, rescinded: true })
  const parties = partiesOf(read)
  const atLeast = read.require === undefined || read.require === "all" ? parties.length : read.require
  const { timestampRoots = [], requireTimestamp = false } = read
  if (requireTimestamp && timestampRoots.length === 0)
    throw mismatch("trustPolicy.requireTimestamp", "stands without timestampRoots")
  if (atLeast > parties.length) throw mismatch("trustPolicy.require", "asks for more parties than there are")
  return {
    checks,
    scoped: [...(read.scopes ?? [])].map(([scope, own]) => ({
      scope: parseScope(scope),
      checks: checksOf(own, checks),
    })),
    parties,
    atLeast,
    trustedArtifacts: read.trustedArtifacts ?? [],
    algorithms: read.algorithms,
    requiredAlgorithms: requiredOf(read),
    maxStaleSec: read.maxStaleSec,
    timestamps: { roots: timestampRoots, required: requireTimestamp ? "always" : "none" },
    requireAllowList: read.requireAllowList ?? false,
    requireLog: read.requireLog ?? false,
    logPolicy: read.logPolicy,
    acceptNewRoots: read.acceptNewRoots ?? false,
  }
}

function requiredOf({ requiredAlgorithms = [], algorithms }: ReadPolicy): TrustPolicy["requiredAlgorithms"] {
  for (const set of requiredAlgorithms)
    if (algorithms !== undefined && !set.some((each) => algorithms.includes(each)))
      throw mismatch("trustPolicy.requiredAlgorithms", "asks for an algorithm that `algorithms` does not allow")
  return requiredAlgorithms
}

function checksOf({ signatureCheck, optionalChecks: optional }: ReadChecks, outer: PolicyChecks): PolicyChecks {
  return {
    signature: signatureCheck ?? outer.signature,
    expiry: optional?.signatureExpiry ?? outer.expiry,
    rescinded: optional?.signatureRescinded ?? outer.rescinded,
  }
}

function partiesOf(read: ReadPolicy): readonly Party[] {
  const common = (read.trustStore ?? []).flat()
  if (read.parties === undefined) {
    if (read.trustStore === undefined) throw mismatch("trustPolicy.trustStore", "is missing")
    if (read.require !== undefined) throw mismatch("trustPolicy.require", "stands without parties")
    return [{ name: "", entities: common, identities: read.trustedIdentities ?? [] }]
  }
  if (read.trustedIdentities !== undefined)
    throw mismatch("trustPolicy.trustedIdentities", "stands beside parties, which have identities of their own")
  const names = new Set(read.parties.map(({ name }) => name))
  if (names.size !== read.parties.length) throw mismatch("trustPolicy.parties", "names a party twice")
  return read.parties.map(({ name, trustedRoots, identities: own }) => {
    if (trustedRoots === undefined && own === undefined)
      throw mismatch(`trustPolicy.parties ${name}`, "has neither trustedRoots nor identities")
    return { name, entities: trustedRoots ?? common, identities: own ?? [] }
  })
}

function warningsOf(policy: TrustPolicy): readonly string[] {
  const warnings: string[] = []
  for (const { name, entities, identities: own } of policy.parties) {
    const who = name === "" ? "the trust store" : `party ${name}`
    if (entities.length === 0) warnings.push(`${who} has no trusted root: nothing can be accepted by it`)
    if (own.length === 0 && entities.length > 0)
      warnings.push(`${who} names no identities: whoever is certified by a trusted root counts`)
    for (const { kind } of entities)
      if (kind === "signing key") warnings.push(`${who} trusts a signing key itself: the next rotation breaks it`)
  }
  if (policy.acceptNewRoots) warnings.push("acceptNewRoots is on: whoever signs trust bundles can add a root unseen")
  if (!policy.checks.signature) warnings.push("signatureCheck is off: unsigned artifacts are accepted")
  if (!policy.checks.expiry) warnings.push("signatureExpiry is off: expired signatures are accepted")
  if (!policy.checks.rescinded) warnings.push("signatureRescinded is off: revoked signatures are accepted")
  return warnings
}

const ATTRIBUTE_TYPES: Readonly<Record<string, string>> = {
  C: ATTRIBUTE.country,
  ST: ATTRIBUTE.stateOrProvince,
  S: ATTRIBUTE.stateOrProvince,
  O: ATTRIBUTE.organization,
  OU: "2.5.4.11",
  CN: ATTRIBUTE.commonName,
  L: "2.5.4.7",
  STREET: "2.5.4.9",
}

/**
 * `name@host` (the e-mail name of a certificate) or `x509.subject: C=…, ST=…, O=…` as notation has it: C, ST (or S) and O always, no
 * attribute twice, no multi-valued one; a comma, plus sign or backslash in a value stands after a backslash.
 * @throws FormatError SHAPE_MISMATCH
 */
export function parseIdentity(text: string, at = "identity"): Identity {
  const subject = /^x509\.subject:\s*(.*)$/s.exec(text)?.[1]
  if (subject === undefined) {
    if (!/^[!-?A-~]+@[a-z0-9.-]+$/.test(text)) throw mismatch(at, "is neither name@host nor x509.subject: …")
    return { kind: "email", email: text }
  }
  const attributes = new Map<string, string>()

  for (const part of subject.match(/(?:\\[\s\S]|[^\\,])+/g) ?? []) {
    const found = /^\s*([A-Za-z]+)\s*=([\s\S]*)$/.exec(part)
    const oid = ATTRIBUTE_TYPES[found?.[1]?.toUpperCase() ?? ""]
    const raw = found?.[2]?.trim() ?? ""
    if (oid === undefined || raw === "" || raw.startsWith("#") || /(?:^|[^\\])\+/.test(raw))
      throw mismatch(at, "has an attribute that can't be matched")
    if (attributes.has(oid)) throw mismatch(at, "has an attribute twice")
    attributes.set(oid, raw.replace(/\\([\s\S])/g, "$1"))
  }
  if ([ATTRIBUTE.country, ATTRIBUTE.stateOrProvince, ATTRIBUTE.organization].some((oid) => !attributes.has(oid)))
    throw mismatch(at, "lacks C, ST or O")
  return { kind: "subject", attributes }
}

/** The one e-mail name of a certificate that has no other alternative name; undefined otherwise. */
export function emailOf(leaf: Certificate): string | undefined {
  const names = readExtension(leaf.extensions, EXTENSION.subjectAltName)
  const [name] = names ?? []
  return names?.length === 1 && name?.type === "rfc822Name" ? name.value : undefined
}

/** As `emailOf`; undefined also when the alternative names can't be read. */
export function emailIn(leaf: Certificate): string | undefined {
  try {
    return emailOf(leaf)
  } catch (error) {
    if (error instanceof FormatError) return undefined
    throw error
  }
}

/** @throws FormatError when the subject alternative name of the leaf can't be read */
export function identityMatches(wanted: Identity, leaf: Certificate): boolean {
  if (wanted.kind === "email") return emailOf(leaf) === wanted.email
  const found = new Map<string, string | undefined>()
  for (const rdn of leaf.subject.rdns) {
    const [attribute] = rdn
    if (rdn.length !== 1 || attribute === undefined || found.has(attribute.oid)) return false
    found.set(attribute.oid, attribute.value)
  }
  return [...wanted.attributes].every(([oid, value]) => found.get(oid) === value)
}

/** The roots and other certificates that a party trusts here, those of its key repositories among them. */
export function certificatesOf(
  entities: readonly TrustedEntity[],
  published: ReadonlyMap<string, readonly Uint8Array[]>,
): readonly Uint8Array[] {
  return entities.flatMap((entity) =>
    entity.kind === "key repository" ? (published.get(entity.address) ?? []) : [entity.certificate],
  )
}

export function holds(certificates: readonly Uint8Array[], certificate: Uint8Array): boolean {
  return certificates.some((each) => bytesEqual(each, certificate))
}
