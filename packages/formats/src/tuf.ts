import { hexDecode } from "./bytes.ts"
import { canonicalJson } from "./canonical-json.ts"
import { FormatError } from "./errors.ts"
import {
  anyJson,
  anyObject,
  array,
  boolean,
  integer,
  map,
  mismatch,
  object,
  openObject,
  type Reader,
  string,
} from "./shape.ts"
import { type JsonObject, type JsonValue, parseJson } from "./strict-json.ts"

/** The four roles that root names; every other role is delegated by a targets role (TUF 1.0.34 §2.1). */
export const TOP_ROLES = ["root", "timestamp", "snapshot", "targets"] as const
export type TopRole = (typeof TOP_ROLES)[number]

export interface TufKey {
  readonly keytype: string
  readonly scheme: string
  /** PEM (SubjectPublicKeyInfo), or lower-case hex of the raw key */
  readonly public: string
}

export interface RoleKeys {
  readonly keyids: readonly string[]
  readonly threshold: number
}

export interface DelegatedRole extends RoleKeys {
  readonly name: string
  readonly terminating: boolean
  /** `*` and `?` stand for anything but `/`; exactly one of `paths` and `pathHashPrefixes` is there */
  readonly paths?: readonly string[]
  /** lower-case hex, prefixes of SHA-256 of the target's path */
  readonly pathHashPrefixes?: readonly string[]
}

/** Hash name to lower-case hex; may hold names that this reader does not know. */
export type TufHashes = ReadonlyMap<string, string>

export interface MetaFile {
  readonly version: number
  readonly length?: number
  readonly hashes?: TufHashes
}

export interface TargetFile {
  readonly length: number
  readonly hashes: TufHashes
  readonly custom?: JsonObject
}

interface Dated {
  readonly version: number
  /** first second at which the document no longer counts */
  readonly expires: Date
}

export interface Root extends Dated {
  readonly type: "root"
  readonly consistentSnapshot: boolean
  readonly keys: ReadonlyMap<string, TufKey>
  readonly roles: Readonly<Record<TopRole, RoleKeys>>
}

export interface Timestamp extends Dated {
  readonly type: "timestamp"
  /** what the document says of snapshot.json */
  readonly snapshot: MetaFile
}

export interface Snapshot extends Dated {
  readonly type: "snapshot"
  /** file name (`targets.json`, `<role>.json`) to its version */
  readonly meta: ReadonlyMap<string, MetaFile>
}

export interface Targets extends Dated {
  readonly type: "targets"
  readonly targets: ReadonlyMap<string, TargetFile>
  readonly delegations?: {
    readonly keys: ReadonlyMap<string, TufKey>
    readonly roles: readonly DelegatedRole[]
  }
}

export type TufSigned = Root | Timestamp | Snapshot | Targets
export type SignedOf<Type extends TopRole> = Extract<TufSigned, { type: Type }>

export interface Metadata<Signed extends TufSigned = TufSigned> {
  readonly signed: Signed
  /** what the signatures are over: canonical JSON of `signed` as it was parsed, unknown members included (§4.2.1) */
  readonly signedBytes: Uint8Array
  /** keyid to signature; empty for a signature that is not hex, so that it counts for nothing */
  readonly signatures: ReadonlyMap<string, Uint8Array>
}

const MAX_NAME = 1_024
const MAX_KEYS = 1_024
const MAX_ROLE_KEYS = 256
const MAX_SIGNATURES = 256
const MAX_ENTRIES = 200_000
/** Wildcards on which clients disagree: a delegation must mean the same to all of them. */
const PORTABLE_PATTERN = /^(?!.*\*\*)[^[\]{}\\]+$/
const EXPIRES = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/

const name = string(MAX_NAME)
const version = integer(1)
const hashes = map(string(256, /^[0-9a-f]+$/), 16)

const key: Reader<TufKey> = (value, at) => {
  const { keytype, scheme, keyval } = openObject({
    keytype: name,
    scheme: name,
    keyval: openObject({ public: string(16_384) }),
  })(value, at)
  return { keytype, scheme, public: keyval.public }
}
const keys = map(key, MAX_KEYS, name)

/** A threshold above the number of keys is legal, and can't be met (CVE-2026-23992 is about one below 1). */
const roleMembers = { keyids: array(name, MAX_ROLE_KEYS), threshold: integer(1) }
const role = openObject(roleMembers)

const delegatedRole: Reader<DelegatedRole> = (value, at) => {
  const read = openObject(
    { ...roleMembers, name },
    {
      terminating: boolean,
      paths: array(string(MAX_NAME, PORTABLE_PATTERN), 4_096),
      path_hash_prefixes: array(string(64, /^[0-9a-f]+$/), 65_536),
    },
  )(value, at)
  const { paths, path_hash_prefixes: pathHashPrefixes, keyids, threshold } = read
  if ((paths === undefined) === (pathHashPrefixes === undefined))
    throw mismatch(at, "has not exactly one of paths and path_hash_prefixes")
  if ((TOP_ROLES as readonly string[]).includes(read.name)) throw mismatch(at, "delegates a top-level role")
  return {
    name: read.name,
    keyids,
    threshold,
    terminating: read.terminating ?? false,
    ...(paths && { paths }),
    ...(pathHashPrefixes && { pathHashPrefixes }),
  }
}

const delegations: Reader<NonNullable<Targets["delegations"]>> = (value, at) => {
  const read = openObject({ keys, roles: array(delegatedRole, 65_536) })(value, at)
  if (new Set(read.roles.map((delegated) => delegated.name)).size !== read.roles.length)
    throw mismatch(at, "names a role twice")
  return read
}

const metaFile: Reader<MetaFile> = openObject({ version }, { length: integer(0), hashes })
const targetFile: Reader<TargetFile> = openObject({ length: integer(0), hashes }, { custom: anyObject })

const expires: Reader<Date> = (value, at) => {
  const text = string(20, EXPIRES)(value, at)
  const milliseconds = Date.parse(text)
  if (Number.isNaN(milliseconds)) throw mismatch(at, "is not a date")
  const date = new Date(milliseconds)
  if (formatExpires(date) !== text) throw mismatch(at, "is not a date")
  return date
}

/** `YYYY-MM-DDTHH:MM:SSZ` (§4.2.3), the one form that every client reads; a fraction of a second is cut off. */
export function formatExpires(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`
}

const dated = { version, expires }

const READERS: { readonly [Type in TopRole]: Reader<Omit<SignedOf<Type>, "type">> } = {
  root: (value, at) => {
    const read = openObject(
      { ...dated, keys, roles: openObject({ root: role, timestamp: role, snapshot: role, targets: role }) },
      { consistent_snapshot: boolean },
    )(value, at)
    const { consistent_snapshot: consistentSnapshot = false, ...rest } = read
    return { ...rest, consistentSnapshot }
  },
  timestamp: (value, at) => {
    const { meta, ...rest } = openObject({ ...dated, meta: object({ "snapshot.json": metaFile }) })(value, at)
    return { ...rest, snapshot: meta["snapshot.json"] }
  },
  snapshot: openObject({ ...dated, meta: map(metaFile, MAX_ENTRIES, name) }),
  targets: openObject({ ...dated, targets: map(targetFile, MAX_ENTRIES, name) }, { delegations }),
}

/**
 * Reads one TUF metadata file (§4.2.1). Checks form alone: no signature, date or version is weighed here.
 * @throws FormatError TOO_LARGE, TEXT_MALFORMED, JSON_MALFORMED, SHAPE_MISMATCH (also another role's file, or two
 *   signatures under one keyid), VERSION_UNKNOWN (a spec_version other than 1.x)
 */
export function decodeMetadata<Type extends TopRole>(
  bytes: Uint8Array,
  type: Type,
  maxBytes: number,
): Metadata<SignedOf<Type>> {
  const { signed: json, signatures: list } = openObject({
    signed: anyJson,
    signatures: array(openObject({ keyid: name, sig: string(16_384) }), MAX_SIGNATURES),
  })(parseJson(bytes, { maxBytes }), "")
  const head = openObject({ _type: name, spec_version: name })(json, "signed")
  if (head._type !== type) throw mismatch("signed._type", `is not ${type}`)
  if (!/^1(\.\d+){1,2}$/.test(head.spec_version)) throw new FormatError("VERSION_UNKNOWN", "spec_version is not 1.x")
  const signatures = new Map(list.map(({ keyid, sig }) => [keyid, signatureBytes(sig)]))
  if (signatures.size !== list.length) throw mismatch("signatures", "has a keyid twice")
  const signed = { type, ...READERS[type](json as JsonValue, "signed") } as SignedOf<Type>
  return { signed, signedBytes: canonicalJson(json), signatures }
}

function signatureBytes(hex: string): Uint8Array {
  try {
    return hexDecode(hex)
  } catch {
    return new Uint8Array(0)
  }
}
