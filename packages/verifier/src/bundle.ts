import { hexEncode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import {
  type AllowList,
  MAX_ALLOW_LIST_BYTES,
  MAX_REVOCATION_LIST_BYTES,
  parseAllowList,
  parseRevocationList,
  type RevocationList,
  type SignedDocument,
} from "@sealwright/formats/revocation-list"
import { openObject, string } from "@sealwright/formats/shape"
import { parseJson } from "@sealwright/formats/strict-json"
import {
  allRoots,
  MAX_REGISTRY_BYTES,
  MAX_TRUST_BUNDLE_BYTES,
  parseRegistry,
  parseTrustBundle,
  type Registry,
  type TrustBundle,
} from "@sealwright/formats/trust-bundle"
import { digest, type Step } from "./requests.ts"
import { CLOCK_TOLERANCE_MS, isOlderThan, type RevocationReader, revocationReader } from "./revocation.ts"
import { takenBack } from "./seen.ts"
import { type BundleFloors, raiseFloors } from "./state.ts"
import { type RoleFreshness, refresh, type TufSource, type TufTrusted } from "./tuf-client.ts"
import { meetsThreshold, type TufCode } from "./tuf-rules.ts"
import { readTarget } from "./tuf-targets.ts"

export const BUNDLE_TYPE = "application/vnd.sealwright.bundle.v1+json"
/** The file of a bundle that says what it is: `{"mediaType": BUNDLE_TYPE}`, other members are left alone. */
export const BUNDLE_MARKER = "sealwright-bundle.json"
/** How old lists may be when nobody says otherwise (D14). */
export const DEFAULT_MAX_STALE_SEC = 86_400
const MAX_CRL_BYTES = 64 * 1024 * 1024

/** Why a bundle was refused, beside the codes of TUF. */
export const BUNDLE_CODES = {
  BUNDLE_MISSING: "the bundle or one of its files is not there",
  BUNDLE_MALFORMED: "a file of the bundle is not what its format says",
  BUNDLE_OF_ANOTHER: "the bundle says that it is of another address than the one that its root was taken over for",
  BUNDLE_VERSION_UNKNOWN: "the bundle or one of its files is of a newer format than this verifier reads",
  LIST_SIGNATURE_INVALID: "a list is not signed by the keys of the lists role",
  LIST_ROLLBACK: "a list is older than one that was seen before",
  LIST_SHRANK: "a newer list takes something back that one before had, and no released hold explains it",
  LIST_FORKED: "two different lists carry one epoch: the list, or the one that it follows, is not the one seen before",
  CLOCK_BEHIND: "a list is dated later than this machine's clock",
} as const

export type BundleCode = keyof typeof BUNDLE_CODES | TufCode

export interface BundleInput {
  /**
   * A file of the bundle by its path, `/` between names. What it throws passes through; nothing that it returns is trusted.
   * @param maxBytes there is no need to read beyond `maxBytes + 1`
   */
  readonly read: (path: string, maxBytes: number) => Uint8Array | undefined
  /** the root.json that the deployer took over by another way; later roots are followed from there */
  readonly pinnedRoot: Uint8Array
  /** the TUF address of the publisher from whom `pinnedRoot` was taken over; what is opened to stand beside other bundles needs it */
  readonly address?: string | undefined
  readonly now: Date
  /** how old lists may be, and how long after its expiry TUF metadata still counts; default a day */
  readonly maxStaleSec?: number | undefined
  /** of the state file; without it an older bundle can't be told from a new one */
  readonly floors?: BundleFloors | undefined
  /** lower-case hex SHA-256 of roots that the deployer takes over now, after comparing them with the publisher by another way */
  readonly acceptRoots?: readonly string[] | undefined
}

/** How old one part of a bundle is. */
export interface Freshness {
  /** a TUF role, or the path of a list */
  readonly part: string
  /** version of a role, epoch of a list */
  readonly version: number
  /** as of when; roles carry no date */
  readonly date: Date | undefined
  /** when the part expires or its successor is due */
  readonly due: Date
}

/** A verified bundle. Whether it is fresh enough is a question of the moment: `isStale`. */
export interface OpenedBundle {
  readonly ok: true
  readonly trustBundle: TrustBundle
  /** whether the publisher's address was checked against the one given; unchecked, it is the publisher's own word */
  readonly addressChecked: boolean
  /** roots of the trust bundle, DER, that were added since it was taken over and that nobody has accepted: they count for nothing by themselves */
  readonly newRoots: readonly Uint8Array[]
  readonly registry: Registry
  readonly revocations: RevocationReader
  readonly allowList: AllowList | undefined
  readonly freshness: readonly Freshness[]
  /** for the moment of opening */
  readonly stale: boolean
  readonly maxStaleSec: number
  /** to be persisted, see `encodeState` */
  readonly floors: BundleFloors
  /** keys (lower-case hex) whose CRL the bundle lists */
  readonly crlKeyIds: readonly string[]
  /** the CRL of an issuer key (lower-case hex), unverified DER; undefined when the bundle has none */
  crl(issuerKeyId: string): Step<Uint8Array | undefined>
}

export interface RefusedBundle {
  readonly ok: false
  readonly code: BundleCode
  /** the role or file that was refused */
  readonly subject: string
  /** for people; free to change */
  readonly detail: string
  /** unchanged: what a refused bundle says raises nothing */
  readonly floors: BundleFloors | undefined
}

export type BundleOutcome = OpenedBundle | RefusedBundle

class Refusal extends Error {
  readonly code: BundleCode
  readonly subject: string
  readonly detail: string

  constructor(code: BundleCode, subject: string, detail: string) {
    super(`${code} ${subject}: ${detail}`)
    this.code = code
    this.subject = subject
    this.detail = detail
  }
}

/**
 * Opens a bundle: TUF metadata from the pinned root on, trust bundle, registry and lists. Never throws on bad input.
 * Expired metadata and old lists still open, as `stale`: what they revoke is revoked, and nothing is accepted on their word.
 * @throws TypeError on misuse
 */
export function* openBundle(input: BundleInput): Step<BundleOutcome> {
  if (typeof input.read !== "function" || !(input.pinnedRoot instanceof Uint8Array))
    throw new TypeError("openBundle needs `read` and `pinnedRoot`")
  const { maxStaleSec = DEFAULT_MAX_STALE_SEC } = input
  if (input.address !== undefined && typeof input.address !== "string") throw new TypeError("`address` is not a string")
  if (!(maxStaleSec >= 0)) throw new TypeError("`maxStaleSec` is not a number of seconds")
  if (!(input.now instanceof Date) || Number.isNaN(input.now.getTime())) throw new TypeError("`now` is not a time")
  try {
    return yield* open(input, maxStaleSec)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    const { code, subject, detail } = error
    return { ok: false, code, subject, detail, floors: input.floors }
  }
}

/** True when any part is too old at `now`: a list by its date, a TUF role by its expiry (which is the first second that no longer counts). */
export function isStale(bundle: Pick<OpenedBundle, "freshness">, now: Date, maxStaleSec: number): boolean {
  return bundle.freshness.some(({ date, due }) =>
    date === undefined ? now.getTime() - due.getTime() >= maxStaleSec * 1000 : isOlderThan(date, now, maxStaleSec),
  )
}

/** Of TUF repositories, with or without a slash at the end. */
export function isSameAddress(one: string, other: string): boolean {
  const bare = (url: string) => url.replace(/\/$/, "")
  return bare(one) === bare(other)
}

function* open(input: BundleInput, maxStaleSec: number): Step<OpenedBundle> {
  checkMarker(input)
  const source: TufSource = { read: (name, maxBytes) => input.read(`tuf/${name}`, maxBytes) }
  const outcome = yield* refresh({
    source,
    state: { root: input.pinnedRoot },
    floors: input.floors?.tuf,
    now: input.now,
    maxStaleSec: Number.POSITIVE_INFINITY,
  })
  if (!outcome.accepted) throw new Refusal(outcome.refusal.code, outcome.refusal.subject, outcome.refusal.detail)
  const tuf = outcome.trusted

  const trustBundle = parse("trust-bundle.json", parseTrustBundle, yield* target(input, tuf, "trust-bundle.json"))
  const { address } = input
  if (address !== undefined && !isSameAddress(address, trustBundle.tufUrl))
    throw new Refusal("BUNDLE_OF_ANOTHER", "trust-bundle.json", `${trustBundle.tufUrl}, not ${address}`)
  const registry = parse("registry/registry.json", parseRegistry, yield* target(input, tuf, "registry/registry.json"))
  const list = yield* signedList(input, tuf, REVOCATIONS, parseRevocationList)
  if (list === undefined) throw new Refusal("BUNDLE_MISSING", REVOCATIONS, "the publisher lists no revocations")
  const allow = yield* signedList(input, tuf, ALLOW, parseAllowList)
  const roots = yield* sortRoots(allRoots(trustBundle), input)
  checkFloors(input.floors, list.content, list.digest, allow?.content, registry)

  const crls = new Map<string, Uint8Array | undefined>()
  const freshness = [
    ...[...tuf.freshness].map(([role, fresh]) => roleFreshness(role, fresh)),
    listFreshness(REVOCATIONS, list.content),
    ...(allow === undefined ? [] : [listFreshness(ALLOW, allow.content)]),
  ]
  return {
    ok: true,
    trustBundle,
    addressChecked: address !== undefined,
    newRoots: roots.waiting,
    registry,
    revocations: revocationReader(list.content),
    allowList: allow?.content,
    freshness,
    stale: isStale({ freshness }, input.now, maxStaleSec),
    maxStaleSec,
    floors: raiseFloors(
      outcome.floors,
      list.content,
      list.digest,
      allow?.content,
      registry.epoch,
      roots.accepted,
      input.floors?.logs,
    ),
    crlKeyIds: [...(tuf.targets.get(LISTS)?.signed.targets.keys() ?? [])].flatMap(
      (path) => /^lists\/([0-9a-f]{64})\.crl$/.exec(path)?.[1] ?? [],
    ),
    *crl(issuerKeyId) {
      if (!crls.has(issuerKeyId)) {
        const found = yield* readTarget(tuf, targets(input), `lists/${issuerKeyId}.crl`, MAX_CRL_BYTES)
        crls.set(issuerKeyId, found.accepted ? found.bytes : undefined)
      }
      return crls.get(issuerKeyId)
    },
  }
}

/**
 * The trust bundle is signed by keys that are used online, so a thief of them must not add a root unseen (R17): what was not there when the deployer
 * took the bundle over waits for an acknowledgement. A root that left and comes back waits again.
 */
function* sortRoots(
  roots: readonly Uint8Array[],
  { floors, acceptRoots = [] }: BundleInput,
): Step<{ readonly accepted: readonly string[]; readonly waiting: readonly Uint8Array[] }> {
  const known = floors?.roots && new Set([...floors.roots, ...acceptRoots])
  const accepted: string[] = []
  const waiting: Uint8Array[] = []
  for (const root of roots) {
    const thumbprint = hexEncode(yield* digest("sha256", root))
    if (known === undefined || known.has(thumbprint)) accepted.push(thumbprint)
    else waiting.push(root)
  }
  return { accepted, waiting }
}

const LISTS = "lists"
const REVOCATIONS = "lists/revocations.json"
const ALLOW = "lists/allow.json"

const MAX_BYTES: Readonly<Record<string, number>> = {
  "trust-bundle.json": MAX_TRUST_BUNDLE_BYTES,
  "registry/registry.json": MAX_REGISTRY_BYTES,
  [REVOCATIONS]: MAX_REVOCATION_LIST_BYTES,
  [ALLOW]: MAX_ALLOW_LIST_BYTES,
}

/** Which role may speak for a file: one that TUF's search lets another role slip in for is refused. */
const ROLES: Readonly<Record<string, string>> = {
  "trust-bundle.json": "targets",
  "registry/registry.json": "registry",
  [REVOCATIONS]: LISTS,
  [ALLOW]: LISTS,
}

function checkMarker(input: BundleInput): void {
  const bytes = input.read(BUNDLE_MARKER, 65_536)
  if (bytes === undefined) throw new Refusal("BUNDLE_MISSING", BUNDLE_MARKER, "this is not a bundle")
  const read = (marker: Uint8Array) =>
    openObject({ mediaType: string(100) })(parseJson(marker, { maxBytes: 65_536 }), BUNDLE_MARKER)
  if (parse(BUNDLE_MARKER, read, bytes).mediaType !== BUNDLE_TYPE)
    throw new Refusal("BUNDLE_VERSION_UNKNOWN", BUNDLE_MARKER, `not ${BUNDLE_TYPE}`)
}

function targets(input: BundleInput): TufSource {
  return { read: (name, maxBytes) => input.read(`tuf/targets/${name}`, maxBytes) }
}

function* target(input: BundleInput, tuf: TufTrusted, path: string): Step<Uint8Array> {
  const found = yield* readTarget(tuf, targets(input), path, MAX_BYTES[path] as number)
  if (!found.accepted) throw new Refusal(found.refusal.code, found.refusal.subject, found.refusal.detail)
  if (found.role !== ROLES[path]) throw new Refusal("BUNDLE_MALFORMED", path, `${found.role} may not speak for it`)
  return found.bytes
}

/** A list that no role lists is undefined; one that is listed must be there, whole, dated and signed by the lists role. */
function* signedList<T extends { readonly date: Date; readonly due: Date }>(
  input: BundleInput,
  tuf: TufTrusted,
  path: string,
  read: (bytes: Uint8Array) => SignedDocument<T>,
): Step<{ readonly content: T; readonly digest: string } | undefined> {
  let bytes: Uint8Array
  try {
    bytes = yield* target(input, tuf, path)
  } catch (error) {
    if (error instanceof Refusal && error.code === "TUF_TARGET_UNKNOWN" && error.subject === path) return undefined
    throw error
  }
  const document = parse(path, read, bytes)
  const delegator = tuf.targets.get("targets")
  const role = delegator?.signed.delegations?.roles.find(({ name }) => name === LISTS)
  const keys = delegator?.signed.delegations?.keys
  if (
    delegator === undefined ||
    role === undefined ||
    keys === undefined ||
    !(yield* meetsThreshold({ ...delegator, ...signedPart(document) }, role, keys))
  )
    throw new Refusal("LIST_SIGNATURE_INVALID", path, "its own signature is not one of the lists role")
  const { date, due } = document.content
  if (due.getTime() < date.getTime()) throw new Refusal("BUNDLE_MALFORMED", path, "due before its date")
  if (date.getTime() > input.now.getTime() + CLOCK_TOLERANCE_MS)
    throw new Refusal("CLOCK_BEHIND", path, `dated ${date.toISOString()}`)
  return { content: document.content, digest: hexEncode(yield* digest("sha256", document.signedBytes)) }
}

function signedPart<T>({ signedBytes, signatures }: SignedDocument<T>) {
  return { signedBytes, signatures }
}

function checkFloors(
  floors: BundleFloors | undefined,
  list: RevocationList,
  listDigest: string,
  allow: AllowList | undefined,
  registry: Registry,
): void {
  if (floors === undefined) return
  const { epoch, date, seen, digest: seenDigest } = floors.list
  if (list.epoch < epoch || list.date.getTime() < date.getTime())
    throw new Refusal("LIST_ROLLBACK", REVOCATIONS, `epoch ${list.epoch} after ${epoch}`)
  const forked =
    (list.epoch === epoch && listDigest !== seenDigest) || (list.epoch === epoch + 1 && list.previous !== seenDigest)
  if (forked) throw new Refusal("LIST_FORKED", REVOCATIONS, `epoch ${list.epoch}`)
  const missing = takenBack(seen, list)
  if (missing !== undefined) throw new Refusal("LIST_SHRANK", REVOCATIONS, missing)
  if ((allow?.epoch ?? 0) < floors.allowEpoch)
    throw new Refusal("LIST_ROLLBACK", ALLOW, `epoch ${allow?.epoch ?? "missing"} after ${floors.allowEpoch}`)
  if (registry.epoch < floors.registryEpoch)
    throw new Refusal(
      "LIST_ROLLBACK",
      "registry/registry.json",
      `epoch ${registry.epoch} after ${floors.registryEpoch}`,
    )
}

function parse<T>(path: string, read: (bytes: Uint8Array) => T, bytes: Uint8Array): T {
  try {
    return read(bytes)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    const code = error.code === "VERSION_UNKNOWN" ? "BUNDLE_VERSION_UNKNOWN" : "BUNDLE_MALFORMED"
    throw new Refusal(code, path, error.message)
  }
}

function roleFreshness(part: string, { version, expires }: RoleFreshness): Freshness {
  return { part, version, date: undefined, due: expires }
}

function listFreshness(part: string, { epoch, date, due }: RevocationList | AllowList): Freshness {
  return { part, version: epoch, date, due }
}
