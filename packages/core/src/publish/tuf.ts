import { hexEncode } from "@sealwright/formats/bytes"
import type {
  DelegatedRole,
  MetaFile,
  Root,
  Snapshot,
  TargetFile,
  Targets,
  Timestamp,
  TufKey,
} from "@sealwright/formats/tuf"
import { keyidInput, tufKey } from "@sealwright/formats/tuf-key"
import type { TufKeys } from "../model.ts"
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
  readonly reference: KeyReference
}

/** keyid of TUF 1.0 §4.2.1 for a key of ours. */
export function namedKey(digest: Digest, reference: KeyReference): NamedKey {
  const key = tufKey(reference.scheme, reference.spki)
  return { keyid: hexEncode(digest("sha256", keyidInput(key))), key, reference }
}

/** Root metadata with a threshold of 1 on keys of the key service. */
export function rootMetadata(digest: Digest, keys: TufKeys, version: number, now: Date): Root {
  const roles = {
    root: namedKey(digest, keys.root),
    targets: namedKey(digest, keys.targets),
    snapshot: namedKey(digest, keys.snapshot),
    timestamp: namedKey(digest, keys.timestamp),
  }
  const only = ({ keyid }: NamedKey) => ({ keyids: [keyid], threshold: 1 })
  return {
    type: "root",
    version,
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

/** Top-level targets: the trust bundle, and the two online roles with flat paths (D6). */
export function targetsMetadata(
  digest: Digest,
  keys: TufKeys,
  bundle: TargetFile,
  version: number,
  now: Date,
): Targets {
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
    version,
    expires: tufExpiry("targets", now),
    targets: new Map([["trust-bundle.json", bundle]]),
    delegations: {
      keys: new Map([lists, registry].map(({ keyid, key }) => [keyid, key])),
      roles: [role("lists", lists), role("registry", registry)],
    },
  }
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
