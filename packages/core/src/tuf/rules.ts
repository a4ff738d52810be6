import { bytesEqual, concat, hexEncode } from "@sealwright/formats/bytes"
import { parseTrustBundle, type TrustBundle } from "@sealwright/formats/trust-bundle"
import {
  decodeMetadata,
  type Metadata,
  type RoleKeys,
  type Root,
  type Targets,
  type TufKey,
} from "@sealwright/formats/tuf"
import { keyMaterial } from "@sealwright/formats/tuf-key"
import type { TufSigningDocument, TufSigningRequest } from "@sealwright/formats/tuf-signing"
import type { Step } from "@sealwright/verifier/requests"
import { meetsThreshold, TUF_LIMITS } from "@sealwright/verifier/tuf-rules"
import { ServiceError } from "../errors.ts"
import type { Digest } from "../ports.ts"
import { fileOf } from "../publish/tuf.ts"

/** Keys of whom enough must sign one document. */
export interface Electorate {
  /** `root 3` (the keys that root version 3 names for it) */
  readonly by: string
  readonly role: RoleKeys
  readonly keys: ReadonlyMap<string, TufKey>
}

/** How far one electorate has come. */
export interface Tally {
  readonly by: string
  readonly threshold: number
  /** keyids with a valid signature */
  readonly signed: readonly string[]
  readonly missing: readonly string[]
  readonly met: boolean
}

export interface ReviewedDocument {
  readonly role: "root" | "targets"
  readonly version: number
  readonly expires: Date
  readonly metadata: Metadata<Root> | Metadata<Targets>
  readonly electorates: readonly Electorate[]
  readonly tallies: readonly Tally[]
}

/** What a signing request really says. */
export interface Review {
  readonly documents: readonly ReviewedDocument[]
  readonly changes: readonly string[]
  readonly complete: boolean
}

/** A root counts by the keys of the root before and by its own (TUF 1.0.34 §5.3.4); targets by the root that is shown with them. */
export function electoratesOf(role: "root" | "targets", standing: Root, next: Root | undefined): Electorate[] {
  const of = (root: Root): Electorate => ({ by: `root ${root.version}`, role: root.roles[role], keys: root.keys })
  if (role === "targets") return [of(next ?? standing)]
  return next === undefined ? [of(standing)] : [of(standing), of(next)]
}

export function* tallyOf(metadata: Metadata, { by, role, keys }: Electorate): Step<Tally> {
  const signed: string[] = []
  for (const keyid of role.keyids)
    if (yield* meetsThreshold(metadata, { keyids: [keyid], threshold: 1 }, keys)) signed.push(keyid)
  const missing = role.keyids.filter((keyid) => !signed.includes(keyid))
  return { by, threshold: role.threshold, signed, missing, met: yield* meetsThreshold(metadata, role, keys) }
}

/** How many different keys a role has, by what they are and not by what they are called. */
export function distinctKeys(role: Pick<RoleKeys, "keyids">, keys: ReadonlyMap<string, TufKey>): number {
  const material = role.keyids.map((keyid) => {
    const key = keys.get(keyid)
    const read = key && keyMaterial(key)
    return read && hexEncode(read.spki)
  })
  return new Set(material.filter((spki) => spki !== undefined)).size
}

/** Names what is to be signed, whoever has signed it. */
export function proposalId(digest: Digest, root: Metadata | undefined, targets: Metadata | undefined): string {
  const parts = [root, targets].map((one) => digest("sha256", one?.signedBytes ?? new Uint8Array(0)))
  return hexEncode(digest("sha256", concat(...parts)))
}

/** Equal but for the moment at which it was made. */
export function sameContent(a: Metadata<Root | Targets>, b: Metadata<Root | Targets>): boolean {
  const text = (one: Metadata) => new TextDecoder().decode(one.signedBytes).replace(/"expires":"[^"]*"/, "")
  return text(a) === text(b)
}

export function readRoot(bytes: Uint8Array): Metadata<Root> {
  return decodeMetadata(bytes, "root", TUF_LIMITS.maxBytes.root)
}

export function readTargetsFile(bytes: Uint8Array): Metadata<Targets> {
  return decodeMetadata(bytes, "targets", TUF_LIMITS.maxBytes.targets)
}

/**
 * Checks a signing request by what its documents say: they follow on the ones in force, which are signed as they should be, the trust bundle is the
 * one that targets list, and the words are those that the documents deserve.
 * @throws ServiceError TUF_REQUEST_WRONG
 * @throws FormatError for documents that can't be read
 */
export function* reviewRequest(request: TufSigningRequest, digest: Digest, now: Date): Step<Review> {
  const standing = readRoot(request.root)
  yield* requireMet(standing, electoratesOf("root", standing.signed, undefined)[0] as Electorate, "the root in force")
  const [rootDocument, targetsDocument] = documentsByRole(request)
  const root = rootDocument && readRoot(rootDocument.metadata)
  const targets = targetsDocument && readTargetsFile(targetsDocument.metadata)
  if (proposalId(digest, root, targets) !== request.proposal) throw wrong("the proposal's id is of other documents")
  const changes: string[] = []
  const documents: ReviewedDocument[] = []
  if (rootDocument && root) {
    if (!bytesEqual(rootDocument.previous, request.root))
      throw wrong("the new root does not follow on the root in force")
    changes.push(...rootChanges(standing.signed, root.signed, request.names))
    documents.push(yield* reviewDocument("root", standing.signed, root, root.signed, standing.signed, now))
  }
  if (targetsDocument && targets) {
    const previous = readTargetsFile(targetsDocument.previous)
    const [before] = electoratesOf("targets", standing.signed, undefined)
    yield* requireMet(previous, before as Electorate, "the targets in force")
    const [old, next] = bundlesOf(targetsDocument, previous.signed, targets.signed, digest)
    changes.push(...targetsChanges(previous.signed, targets.signed, old, next, request.names, digest))
    documents.push(yield* reviewDocument("targets", previous.signed, targets, root?.signed, standing.signed, now))
  }
  if (changes.join("\n") !== request.changes.join("\n")) throw wrong("the words do not describe the documents")
  return { documents, changes, complete: documents.every(({ tallies }) => tallies.every(({ met }) => met)) }
}

function documentsByRole({ documents }: TufSigningRequest) {
  const of = (role: "root" | "targets") => documents.find((document) => document.role === role)
  if (new Set(documents.map(({ role }) => role)).size !== documents.length) throw wrong("a role stands twice")
  return [of("root"), of("targets")] as const
}

function* reviewDocument(
  role: "root" | "targets",
  previous: Root | Targets,
  metadata: Metadata<Root> | Metadata<Targets>,
  nextRoot: Root | undefined,
  standing: Root,
  now: Date,
): Step<ReviewedDocument> {
  const { version, expires } = metadata.signed
  if (version !== previous.version + 1) throw wrong(`${role} ${version} does not follow on ${previous.version}`)
  if (expires.getTime() <= now.getTime()) throw wrong(`${role} ${version} has ended already`)
  const electorates = electoratesOf(role, standing, nextRoot)
  const tallies: Tally[] = []
  for (const electorate of electorates) tallies.push(yield* tallyOf(metadata, electorate))
  return { role, version, expires, metadata, electorates, tallies }
}

function* requireMet(metadata: Metadata, electorate: Electorate, what: string): Step<void> {
  if (!(yield* tallyOf(metadata, electorate)).met) throw wrong(`${what} is not signed by enough of its keys`)
}

function bundlesOf(
  { bundles }: TufSigningDocument,
  previous: Targets,
  next: Targets,
  digest: Digest,
): readonly [TrustBundle, TrustBundle] {
  if (bundles === undefined) throw wrong("targets without their trust bundles")
  const fits = (targets: Targets, bytes: Uint8Array) =>
    targets.targets.get("trust-bundle.json")?.hashes.get("sha256") === fileOf(digest, bytes).hashes.get("sha256")
  if (!fits(previous, bundles.previous) || !fits(next, bundles.next))
    throw wrong("a trust bundle is not the one that targets list")
  return [parseTrustBundle(bundles.previous), parseTrustBundle(bundles.next)]
}

/** What a root changes, in words. */
export function rootChanges(before: Root, after: Root, names: ReadonlyMap<string, string>): string[] {
  const changes = [`root: version ${before.version} becomes ${after.version}, which ends ${day(after.expires)}`]
  for (const role of ["root", "targets", "snapshot", "timestamp"] as const)
    changes.push(...roleChanges(role, before.roles[role], after.roles[role], names))
  if (before.consistentSnapshot !== after.consistentSnapshot) changes.push("root: consistent snapshots are switched")
  return changes
}

/** What targets change, in words, with their trust bundle. */
export function targetsChanges(
  before: Targets,
  after: Targets,
  oldBundle: TrustBundle,
  newBundle: TrustBundle,
  names: ReadonlyMap<string, string>,
  digest: Digest,
): string[] {
  const changes = [`targets: version ${before.version} becomes ${after.version}, which ends ${day(after.expires)}`]
  const known = before.delegations?.roles ?? []
  const next = after.delegations?.roles ?? []
  for (const role of next) {
    const old = known.find(({ name }) => name === role.name)
    if (old === undefined) changes.push(`delegation ${role.name}: is new, for ${(role.paths ?? []).join(" ")}`)
    else {
      changes.push(...roleChanges(role.name, old, role, names))
      const same = (one: typeof role) => JSON.stringify([one.terminating, one.paths, one.pathHashPrefixes])
      if (same(old) !== same(role)) changes.push(`delegation ${role.name}: speaks for other paths`)
    }
  }
  for (const { name } of known)
    if (!next.some((role) => role.name === name)) changes.push(`delegation ${name}: is taken away`)
  for (const path of new Set([...before.targets.keys(), ...after.targets.keys()]))
    if (
      path !== "trust-bundle.json" &&
      (before.targets.has(path) !== after.targets.has(path) || after.targets.has(path))
    )
      changes.push(`target ${path}: is listed or left out`)
  changes.push(...bundleChanges(oldBundle, newBundle, digest))
  return changes
}

function bundleChanges(before: TrustBundle, after: TrustBundle, digest: Digest): string[] {
  const changes: string[] = []
  for (const name of ["organisation", "identityHost", "crlHost", "tufUrl"] as const)
    if (before[name] !== after[name]) changes.push(`trust bundle: ${name} becomes ${after[name]}`)
  if (JSON.stringify(before.log) !== JSON.stringify(after.log))
    changes.push(`trust bundle: logs become ${after.log ? `${after.log.signatures} and ${after.log.events}` : "none"}`)
  const lists = {
    roots: "root",
    externalRoots: "root of an outside authority",
    timestampRoots: "timestamp root",
  } as const
  for (const [member, what] of Object.entries(lists) as [keyof typeof lists, string][]) {
    const [old = [], next = []] = [before[member], after[member]]
    const has = (list: readonly Uint8Array[], der: Uint8Array) => list.some((one) => bytesEqual(one, der))
    for (const der of next) if (!has(old, der)) changes.push(`trust bundle: gets ${what} ${thumbprint(der, digest)}`)
    for (const der of old) if (!has(next, der)) changes.push(`trust bundle: loses ${what} ${thumbprint(der, digest)}`)
  }
  return changes
}

function roleChanges(name: string, before: RoleKeys, after: RoleKeys, names: ReadonlyMap<string, string>): string[] {
  const called = (keyid: string) => `${names.get(keyid) ?? "a key without a name"} (${keyid.slice(0, 16)})`
  const gained = after.keyids
    .filter((keyid) => !before.keyids.includes(keyid))
    .map((keyid) => `gets key ${called(keyid)}`)
  const lost = before.keyids
    .filter((keyid) => !after.keyids.includes(keyid))
    .map((keyid) => `loses key ${called(keyid)}`)
  const threshold = `threshold ${before.threshold} of ${before.keyids.length} becomes ${after.threshold} of ${after.keyids.length}`
  const moved = before.threshold !== after.threshold || before.keyids.length !== after.keyids.length
  return [...gained, ...lost, ...(moved ? [threshold] : [])].map((change) => `role ${name}: ${change}`)
}

function thumbprint(der: Uint8Array, digest: Digest): string {
  return hexEncode(digest("sha256", der))
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10)
}

function wrong(detail: string): ServiceError {
  return new ServiceError("TUF_REQUEST_WRONG", detail)
}
