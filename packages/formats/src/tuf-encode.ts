import { hexEncode, utf8 } from "./bytes.ts"
import { canonicalJson } from "./canonical-json.ts"
import { FormatError } from "./errors.ts"
import type { JsonObject, JsonValue } from "./strict-json.ts"
import {
  type DelegatedRole,
  decodeMetadata,
  formatExpires,
  type MetaFile,
  type RoleKeys,
  type TargetFile,
  type TufKey,
  type TufSigned,
} from "./tuf.ts"
import { tufKeyJson } from "./tuf-key.ts"

const SPEC_VERSION = "1.0.34"

export interface TufSignature {
  readonly keyid: string
  /** ECDSA: DER Ecdsa-Sig-Value; RSA-PSS: as long as the modulus; Ed25519: 64 bytes */
  readonly signature: Uint8Array
}

/**
 * What a role's keys sign: canonical JSON of the `signed` part.
 * @throws FormatError SHAPE_MISMATCH for an expiry with a fraction of a second or a threshold that its keys can't meet
 */
export function signedBytes(signed: TufSigned): Uint8Array {
  return canonicalJson(signedJson(signed))
}

/**
 * A metadata file. Equal arguments give equal bytes, whatever the order of entries in maps; signatures keep theirs.
 * @throws FormatError SHAPE_MISMATCH, TOO_LARGE for what `decodeMetadata` would refuse, or as `signedBytes` does
 */
export function encodeMetadata(signed: TufSigned, signatures: readonly TufSignature[]): Uint8Array {
  const file = {
    signatures: signatures.map(({ keyid, signature }) => ({ keyid, sig: hexEncode(signature) })),
    signed: sorted(signedJson(signed)),
  }
  const bytes = utf8(JSON.stringify(file))
  decodeMetadata(bytes, signed.type, bytes.length)
  return bytes
}

function signedJson(signed: TufSigned): JsonObject {
  if (signed.expires.getTime() % 1_000 !== 0) throw new FormatError("SHAPE_MISMATCH", "expires: not whole seconds")
  const head = {
    _type: signed.type,
    spec_version: SPEC_VERSION,
    version: signed.version,
    expires: formatExpires(signed.expires),
  }
  switch (signed.type) {
    case "root": {
      const { root, timestamp, snapshot, targets } = signed.roles
      return {
        ...head,
        consistent_snapshot: signed.consistentSnapshot,
        keys: keysJson(signed.keys),
        roles: {
          root: roleJson(root, signed.keys),
          timestamp: roleJson(timestamp, signed.keys),
          snapshot: roleJson(snapshot, signed.keys),
          targets: roleJson(targets, signed.keys),
        },
      }
    }
    case "timestamp":
      return { ...head, meta: { "snapshot.json": metaFileJson(signed.snapshot) } }
    case "snapshot":
      return { ...head, meta: mapJson(signed.meta, metaFileJson) }
    case "targets": {
      const { delegations } = signed
      return {
        ...head,
        targets: mapJson(signed.targets, targetFileJson),
        ...(delegations && {
          delegations: {
            keys: keysJson(delegations.keys),
            roles: delegations.roles.map((role) => delegatedRoleJson(role, delegations.keys)),
          },
        }),
      }
    }
  }
}

function keysJson(keys: ReadonlyMap<string, TufKey>): JsonObject {
  return mapJson(keys, tufKeyJson)
}

function roleJson(role: RoleKeys, keys: ReadonlyMap<string, TufKey>): { keyids: readonly string[]; threshold: number } {
  const usable = new Set(role.keyids.filter((keyid) => keys.has(keyid)))
  if (usable.size !== role.keyids.length || role.threshold > usable.size)
    throw new FormatError("SHAPE_MISMATCH", "a role with an unknown or repeated key, or too few for its threshold")
  return { keyids: role.keyids, threshold: role.threshold }
}

function delegatedRoleJson(role: DelegatedRole, keys: ReadonlyMap<string, TufKey>): JsonObject {
  return {
    name: role.name,
    ...roleJson(role, keys),
    terminating: role.terminating,
    ...(role.paths && { paths: role.paths }),
    ...(role.pathHashPrefixes && { path_hash_prefixes: role.pathHashPrefixes }),
  }
}

function metaFileJson(file: MetaFile): JsonObject {
  return {
    version: file.version,
    ...(file.length !== undefined && { length: file.length }),
    ...(file.hashes && { hashes: mapJson(file.hashes, (hex) => hex) }),
  }
}

function targetFileJson(file: TargetFile): JsonObject {
  return {
    length: file.length,
    hashes: mapJson(file.hashes, (hex) => hex),
    ...(file.custom && { custom: file.custom }),
  }
}

function mapJson<T>(entries: ReadonlyMap<string, T>, toJson: (entry: T) => JsonValue): JsonObject {
  const json: Record<string, JsonValue> = Object.create(null)
  for (const [name, entry] of entries) json[name] = toJson(entry)
  return json
}

function sorted(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== "object" || value === null) return value
  const copy: Record<string, JsonValue> = Object.create(null)
  for (const name of Object.keys(value).sort()) copy[name] = sorted((value as JsonObject)[name] as JsonValue)
  return copy
}
