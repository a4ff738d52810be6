import { hexEncode, utf8 } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import type {
  DelegatedRole,
  Metadata,
  MetaFile,
  RoleKeys,
  SignedOf,
  TopRole,
  TufHashes,
  TufKey,
} from "@sealwright/formats/tuf"
import { decodeMetadata } from "@sealwright/formats/tuf"
import { keyMaterial } from "@sealwright/formats/tuf-key"
import { digest, type Step, verifySignature } from "./requests.ts"

/** Why a TUF document, or a target, was refused. Public API: add codes, never rename or reuse one. */
export const TUF_CODES = {
  TUF_MISSING: "a file that the signed metadata names, or timestamp.json, is not there",
  TUF_TOO_LARGE: "a file, or a search, is beyond the limits of every TUF client",
  TUF_MALFORMED: "a file is not TUF metadata of its role",
  TUF_SPEC_UNKNOWN: "a file follows another major version of the TUF specification: a newer verifier is needed",
  TUF_SIGNATURES_MISSING: "fewer valid signatures by distinct keys than the role's threshold",
  TUF_HASH_MISMATCH: "a file has not the length or the digests that the signed metadata gives for it",
  TUF_HASH_UNKNOWN: "the signed metadata gives no digest of a kind that this verifier computes",
  TUF_VERSION_MISMATCH: "a file has not the version that its name or the signed metadata gives for it",
  TUF_ROLLBACK: "a file is older than one already seen, or a role has vanished",
  TUF_EXPIRED: "a file has expired by more than the allowed staleness: get newer metadata, or look at the clock",
  TUF_TARGET_UNKNOWN: "no role that may speak for this path lists it",
  TUF_PATH_UNSAFE: "the target's path could leave its folder",
} as const

export type TufCode = keyof typeof TUF_CODES

export interface TufRefusal {
  readonly code: TufCode
  /** role whose document was refused, or path of the target */
  readonly subject: string
  /** for people; free to change */
  readonly detail: string
}

/** Ends the work on a document; never leaves this package. */
export class Refused extends Error {
  readonly refusal: TufRefusal

  constructor(code: TufCode, subject: string, detail: string = TUF_CODES[code]) {
    super(`${code} ${subject}: ${detail}`)
    this.refusal = { code, subject, detail }
  }
}

/** The limits that python-tuf, go-tuf and tuf-js share. */
export const TUF_LIMITS = {
  maxBytes: { root: 512_000, timestamp: 16_384, snapshot: 2_000_000, targets: 5_000_000 },
  rootRotations: 256,
  /** delegated roles that one search may visit */
  delegations: 32,
} as const

/** @throws Refused TUF_TOO_LARGE, TUF_SPEC_UNKNOWN, TUF_MALFORMED */
export function readMetadata<Type extends TopRole>(
  bytes: Uint8Array,
  type: Type,
  role: string = type,
): Metadata<SignedOf<Type>> {
  try {
    return decodeMetadata(bytes, type, TUF_LIMITS.maxBytes[type])
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    if (error.code === "TOO_LARGE") throw new Refused("TUF_TOO_LARGE", role, error.message)
    throw new Refused(error.code === "VERSION_UNKNOWN" ? "TUF_SPEC_UNKNOWN" : "TUF_MALFORMED", role, error.message)
  }
}

/**
 * Counts distinct keys with a valid signature, by key material: neither two keyids nor two signatures of one key count
 * twice (CVE-2020-6174). Stops at the threshold.
 */
export function* meetsThreshold(metadata: Metadata, role: RoleKeys, keys: ReadonlyMap<string, TufKey>): Step<boolean> {
  const counted = new Set<string>()
  for (const keyid of role.keyids) {
    const signature = metadata.signatures.get(keyid)
    const material = signature && materialOf(keys, keyid)
    if (signature === undefined || material === undefined) continue
    const identity = hexEncode(material.spki)
    if (counted.has(identity)) continue
    if (!(yield* verifySignature(material.scheme, material.spki, metadata.signedBytes, signature))) continue
    counted.add(identity)
    if (counted.size >= role.threshold) return true
  }
  return false
}

export function* requireThreshold(
  metadata: Metadata,
  name: string,
  role: RoleKeys,
  keys: ReadonlyMap<string, TufKey>,
): Step<void> {
  if (!(yield* meetsThreshold(metadata, role, keys)))
    throw new Refused("TUF_SIGNATURES_MISSING", name, `not signed by ${role.threshold} of the keys of ${name}`)
}

/** True if a key that could sign for the role before can't any more. */
export function lostKey(
  before: { readonly role: RoleKeys; readonly keys: ReadonlyMap<string, TufKey> },
  after: { readonly role: RoleKeys; readonly keys: ReadonlyMap<string, TufKey> },
): boolean {
  const still = identities(after)
  return [...identities(before)].some((identity) => !still.has(identity))
}

function identities(from: { readonly role: RoleKeys; readonly keys: ReadonlyMap<string, TufKey> }): Set<string> {
  const found = from.role.keyids.map((keyid) => materialOf(from.keys, keyid))
  return new Set(found.flatMap((material) => (material ? [hexEncode(material.spki)] : [])))
}

function materialOf(keys: ReadonlyMap<string, TufKey>, keyid: string) {
  const key = keys.get(keyid)
  return key && keyMaterial(key)
}

/** Checks length and every digest that can be computed; what the metadata leaves open is not checked. */
export function* requireHashes(
  bytes: Uint8Array,
  subject: string,
  file: Pick<MetaFile, "length" | "hashes">,
): Step<void> {
  if (file.length !== undefined && bytes.length !== file.length)
    throw new Refused("TUF_HASH_MISMATCH", subject, `${bytes.length} bytes, not ${file.length}`)
  if (file.hashes === undefined) return
  const known = knownHashes(file.hashes)
  if (known.length === 0) throw new Refused("TUF_HASH_UNKNOWN", subject)
  for (const [hash, hex] of known)
    if (hexEncode(yield* digest(hash, bytes)) !== hex)
      throw new Refused("TUF_HASH_MISMATCH", subject, `another ${hash}`)
}

/** Those that this verifier computes, in order of preference. */
export function knownHashes(hashes: TufHashes): (readonly ["sha256" | "sha384" | "sha512", string])[] {
  return (["sha256", "sha384", "sha512"] as const).flatMap((name) => {
    const hex = hashes.get(name)
    return hex === undefined ? [] : [[name, hex] as const]
  })
}

/** True if the role may speak for the path (§4.5: paths, path_hash_prefixes). */
export function* mayDelegate(role: DelegatedRole, path: string): Step<boolean> {
  if (role.paths !== undefined) return role.paths.some((pattern) => matchesPath(pattern, path))
  const hex = hexEncode(yield* digest("sha256", utf8(path)))
  return (role.pathHashPrefixes ?? []).some((prefix) => hex.startsWith(prefix))
}

/** `*` stands for any characters and `?` for one, but never for `/`. Time: at most pattern times path. */
export function matchesPath(pattern: string, path: string): boolean {
  const patterns = pattern.split("/")
  const parts = path.split("/")
  return patterns.length === parts.length && patterns.every((each, i) => matchesPart([...each], [...(parts[i] ?? "")]))
}

function matchesPart(pattern: readonly string[], text: readonly string[]): boolean {
  let p = 0
  let star = -1
  let resume = 0
  for (let t = 0; t < text.length; ) {
    if (pattern[p] === "*") {
      star = p++
      resume = t
    } else if (p < pattern.length && (pattern[p] === "?" || pattern[p] === text[t])) {
      p++
      t++
    } else if (star >= 0) {
      p = star + 1
      t = ++resume
    } else return false
  }
  while (pattern[p] === "*") p++
  return p === pattern.length
}
