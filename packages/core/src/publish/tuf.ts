import { hexEncode } from "@sealwright/formats/bytes"
import type {
  DelegatedRole,
  MetaFile,
  RoleKeys,
  Root,
  Snapshot,
  TargetFile,
  Targets,
  Timestamp,
  TufKey,
  TufSigned,
} from "@sealwright/formats/tuf"
import { keyidInput, tufKey } from "@sealwright/formats/tuf-key"
import { TUF_LIMITS } from "@sealwright/verifier/tuf-rules"
import { ServiceError } from "../errors.ts"
import type { TufRole } from "../model.ts"
import type { Digest, KeyReference } from "../ports.ts"

const DAY_MS = 86_400_000

/** Freshness sits in the timestamp alone, so that only one automatic signature can cause an outage (D6). */
export const TUF_LIFETIME_DAYS = {
  root: 366,
  targets: 366,
  lists: 366,
  registry: 366,
  snapshot: 366,
  timestamp: 3,
} as const

export function tufExpiry(role: keyof typeof TUF_LIFETIME_DAYS, from: Date): Date {
  return new Date(from.getTime() + TUF_LIFETIME_DAYS[role] * DAY_MS)
}

export interface NamedKey {
  readonly keyid: string
  readonly key: TufKey
}

/** keyid of TUF 1.0 §4.2.1 */
export function namedKey(digest: Digest, reference: Pick<KeyReference, "scheme" | "spki">): NamedKey {
  const key = tufKey(reference.scheme, reference.spki)
  return { keyid: hexEncode(digest("sha256", keyidInput(key))), key }
}

/** One key of the service for each role, as a ceremony makes them. */
export type FirstKeys = { readonly [Role in TufRole]: KeyReference }

/** The first root: each role has one key of the key service, with a threshold of 1. */
export function firstRoot(digest: Digest, keys: FirstKeys, now: Date): Root {
  const roles = {
    root: namedKey(digest, keys.root),
    targets: namedKey(digest, keys.targets),
    snapshot: namedKey(digest, keys.snapshot),
    timestamp: namedKey(digest, keys.timestamp),
  }
  const only = ({ keyid }: NamedKey) => ({ keyids: [keyid], threshold: 1 })
  return {
    type: "root",
    version: 1,
    expires: tufExpiry("root", now),
    consistentSnapshot: true,
    keys: new Map(Object.values(roles).map(({ keyid, key }) => [keyid, key])),
    roles: {
      root: only(roles.root),
      targets: only(roles.targets),
      snapshot: only(roles.snapshot),
      timestamp: only(roles.timestamp),
    },
  }
}

/** The first targets: the trust bundle, and the two online roles with flat paths (D6). */
export function firstTargets(digest: Digest, keys: FirstKeys, trustBundle: Uint8Array, now: Date): Targets {
  const lists = namedKey(digest, keys.lists)
  const registry = namedKey(digest, keys.registry)
  const role = (name: string, { keyid }: NamedKey): DelegatedRole => ({
    name,
    keyids: [keyid],
    threshold: 1,
    terminating: true,
    paths: [`${name}/*`],
  })
  return {
    type: "targets",
    version: 1,
    expires: tufExpiry("targets", now),
    targets: bundleTarget(digest, trustBundle),
    delegations: {
      keys: new Map([lists, registry].map(({ keyid, key }) => [keyid, key])),
      roles: [role("lists", lists), role("registry", registry)],
    },
  }
}

/** What targets list: the trust bundle, and nothing else. */
export function bundleTarget(digest: Digest, trustBundle: Uint8Array): ReadonlyMap<string, TargetFile> {
  return new Map([["trust-bundle.json", fileOf(digest, trustBundle)]])
}

/**
 * The service's key that counts for a role: the newest of those that the document above names, so that whoever publishes an epoch signs with the keys that
 * its root and targets speak of, whatever has been rotated since.
 * @throws ServiceError KEY_NOT_USABLE when the document names none of them
 */
export function countingKey(
  digest: Digest,
  keys: readonly KeyReference[],
  role: Pick<RoleKeys, "keyids"> | undefined,
  name: string,
): KeyReference {
  const found = keys.findLast((key) => role?.keyids.includes(namedKey(digest, key).keyid))
  if (found === undefined) throw new ServiceError("KEY_NOT_USABLE", `no key of the service counts for TUF ${name}`)
  return found
}

/** The sizes up to which every client reads (TUF 1.0.34 §5): what is longer must not be published, or stored to be. @throws ServiceError TUF_TOO_LARGE */
export function requireReadable(name: string, type: TufSigned["type"], bytes: number): void {
  const limit = TUF_LIMITS.maxBytes[type]
  if (bytes > limit) throw new ServiceError("TUF_TOO_LARGE", `${name} has ${bytes} bytes, and clients read ${limit}`)
}

export function delegatedMetadata(
  role: "lists" | "registry",
  targets: ReadonlyMap<string, TargetFile>,
  version: number,
  date: Date,
): Targets {
  return { type: "targets", version, expires: tufExpiry(role, date), targets }
}

export function snapshotMetadata(meta: ReadonlyMap<string, MetaFile>, version: number, date: Date): Snapshot {
  return { type: "snapshot", version, expires: tufExpiry("snapshot", date), meta }
}

export function timestampMetadata(snapshot: MetaFile, version: number, date: Date): Timestamp {
  return { type: "timestamp", version, expires: tufExpiry("timestamp", date), snapshot }
}

export function fileOf(
  digest: Digest,
  bytes: Uint8Array,
): { readonly length: number; readonly hashes: ReadonlyMap<string, string> } {
  return { length: bytes.length, hashes: new Map([["sha256", hexEncode(digest("sha256", bytes))]]) }
}

/** Where a target stands under consistent snapshots: the digest before its last name. */
export function consistentName(path: string, digestHex: string): string {
  const cut = path.lastIndexOf("/") + 1
  return `${path.slice(0, cut)}${digestHex}.${path.slice(cut)}`
}
