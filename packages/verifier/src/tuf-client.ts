import type {
  Metadata,
  MetaFile,
  RoleKeys,
  Root,
  SignedOf,
  Snapshot,
  Targets,
  Timestamp,
  TufKey,
  TufSigned,
} from "@sealwright/formats/tuf"
import type { Step } from "./requests.ts"
import {
  lostKey,
  meetsThreshold,
  Refused,
  readMetadata,
  requireHashes,
  requireThreshold,
  TUF_LIMITS,
  type TufRefusal,
} from "./tuf-rules.ts"

/** Where files come from: a folder, a map, a cache that a driver fills. Nothing that it returns is trusted. */
export interface TufSource {
  /**
   * Whatever it throws passes through `refresh` and `readTarget`: an online driver throws for a file that it has not
   * fetched yet, fetches it and runs again; the files are asked for in the order of the client workflow.
   * @param name `2.root.json`, `timestamp.json`, `3.lists.json`; a role's name is percent-encoded, so that `/` stands
   *   in paths of targets alone
   * @param maxBytes the longest file that can be accepted: there is no need to read beyond `maxBytes + 1`
   * @returns undefined if there is no such file
   */
  read(name: string, maxBytes: number): Uint8Array | undefined
}

/** Trusted metadata, byte for byte as it came; only the root is needed to start. */
export interface TufState {
  readonly root: Uint8Array
  readonly timestamp?: Uint8Array | undefined
  readonly snapshot?: Uint8Array | undefined
  /** by role, `targets` among them */
  readonly targets?: ReadonlyMap<string, Uint8Array>
}

/** The lowest versions to accept: all that a client which keeps no metadata has to remember. */
export interface TufFloors {
  readonly root: number
  readonly timestamp: number
  readonly snapshot: number
  /** by file name as in the snapshot (`targets.json`); each must stay listed */
  readonly targets: Readonly<Record<string, number>>
}

export interface RoleFreshness {
  readonly version: number
  readonly expires: Date
  /** accepted within `maxStaleSec` alone */
  readonly expired: boolean
  /** seconds since `expires`; 0 before */
  readonly staleSec: number
}

export interface RefreshInput {
  readonly source: TufSource
  readonly state: TufState
  readonly floors?: TufFloors | undefined
  /** the fixed time of this update (TUF 1.0.34 §5.1) */
  readonly now: Date
  /** how long after its expiry any role still counts; 0 if not given, as the specification has it */
  readonly maxStaleSec?: number
}

/** A verified set of metadata. Delegated roles join as `readTarget` visits them. */
export interface TufTrusted {
  readonly root: Root
  readonly timestamp: Timestamp
  readonly snapshot: Snapshot
  readonly targets: Map<string, Metadata<Targets>>
  /** by role, in the order of verification */
  readonly freshness: Map<string, RoleFreshness>
  readonly source: TufSource
  readonly now: Date
  readonly maxStaleSec: number
  /** metadata of targets roles to keep, by role */
  readonly kept: Map<string, Uint8Array>
}

/** `state` and `floors` are to be kept after a refusal too: they hold what was verified before it, and nothing else. */
export type RefreshOutcome = { readonly state: TufState; readonly floors: TufFloors } & (
  | { readonly accepted: true; readonly trusted: TufTrusted }
  | { readonly accepted: false; readonly refusal: TufRefusal; readonly freshness: ReadonlyMap<string, RoleFreshness> }
)

interface Session {
  readonly input: RefreshInput
  readonly freshness: Map<string, RoleFreshness>
  readonly kept: Map<string, Uint8Array>
  root: Uint8Array
  timestamp: Uint8Array | undefined
  snapshot: Uint8Array | undefined
  floors: TufFloors
}

interface Signers {
  readonly role: RoleKeys
  readonly keys: ReadonlyMap<string, TufKey>
}

const NO_FLOORS: TufFloors = { root: 0, timestamp: 0, snapshot: 0, targets: {} }

/**
 * Brings the top-level metadata up to date: the client workflow of TUF 1.0.34 §5.1 to §5.6. Never throws on bad input.
 *
 * When a step of the root chain takes a key from timestamp or snapshot, their floors are forgotten, so that a
 * repository recovers from versions that a thief drove up (§5.3.11). Of steps below `floors.root`, nothing is forgotten.
 */
export function* refresh(input: RefreshInput): Step<RefreshOutcome> {
  const { root, timestamp, snapshot, targets } = input.state
  const floors = input.floors ?? NO_FLOORS
  const session: Session = { input, freshness: new Map(), kept: new Map(targets), root, timestamp, snapshot, floors }
  try {
    const trusted = yield* update(session)
    return { accepted: true, trusted, ...outcome(session) }
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    return { accepted: false, refusal: error.refusal, freshness: session.freshness, ...outcome(session) }
  }
}

/** What to keep once targets were read: as `state` of the outcome, with the delegated roles that were visited. */
export function stateOf(state: TufState, trusted: TufTrusted): TufState {
  return { ...state, targets: new Map(trusted.kept) }
}

function outcome({ root, timestamp, snapshot, kept, floors }: Session): { state: TufState; floors: TufFloors } {
  return { state: { root, timestamp, snapshot, targets: new Map(kept) }, floors }
}

function* update(session: Session): Step<TufTrusted> {
  const { source, now, maxStaleSec = 0 } = session.input
  const root = yield* updateRoot(session)
  const timestamp = yield* updateTimestamp(session, root)
  const snapshot = yield* updateSnapshot(session, root, timestamp)
  const { freshness, kept } = session
  const targets = new Map<string, Metadata<Targets>>()
  const trusted = { root, timestamp, snapshot, targets, freshness, source, now, maxStaleSec, kept }
  yield* loadTargets(trusted, "targets", signersOf(root, "targets"))
  return trusted
}

function* updateRoot(session: Session): Step<Root> {
  const { source } = session.input
  let root = readMetadata(session.root, "root")
  yield* requireThreshold(root, "root", root.signed.roles.root, root.signed.keys)
  const seen = Math.max(session.floors.root, root.signed.version)
  for (let step = 0; step < TUF_LIMITS.rootRotations; step++) {
    const version = root.signed.version + 1
    const bytes = source.read(`${version}.root.json`, TUF_LIMITS.maxBytes.root)
    if (bytes === undefined) break
    const next = readMetadata(bytes, "root")
    for (const signers of [root.signed, next.signed])
      yield* requireThreshold(next, "root", signers.roles.root, signers.keys)
    requireVersion("root", next.signed, version)
    const online = ["timestamp", "snapshot"] as const
    if (version > seen && online.some((role) => lostKey(signersOf(root.signed, role), signersOf(next.signed, role)))) {
      session.timestamp = undefined
      session.snapshot = undefined
      session.floors = NO_FLOORS
    }
    root = next
    session.root = bytes
  }
  if (root.signed.version < session.floors.root) throw rollback("root", root.signed.version, session.floors.root)
  session.floors = { ...session.floors, root: root.signed.version }
  requireFresh(session.input, session.freshness, "root", root.signed)
  return root.signed
}

function* updateTimestamp(session: Session, root: Root): Step<Timestamp> {
  const signers = signersOf(root, "timestamp")
  const kept = yield* readKept(session.timestamp, "timestamp", signers)
  if (kept !== undefined) session.floors = raise(session.floors, kept.signed)
  const { floors } = session
  const bytes = session.input.source.read("timestamp.json", TUF_LIMITS.maxBytes.timestamp)
  if (bytes === undefined) throw new Refused("TUF_MISSING", "timestamp", "no timestamp.json")
  const fresh = readMetadata(bytes, "timestamp")
  yield* requireThreshold(fresh, "timestamp", signers.role, signers.keys)
  const { version } = fresh.signed
  if (version < floors.timestamp) throw rollback("timestamp", version, floors.timestamp)
  const unchanged = kept?.signed.version === version
  const timestamp = unchanged ? kept.signed : fresh.signed
  if (timestamp.snapshot.version < floors.snapshot)
    throw rollback("snapshot", timestamp.snapshot.version, floors.snapshot)
  requireFresh(session.input, session.freshness, "timestamp", timestamp)
  if (!unchanged) session.timestamp = bytes
  session.floors = raise(floors, timestamp)
  return timestamp
}

function* updateSnapshot(session: Session, root: Root, timestamp: Timestamp): Step<Snapshot> {
  const signers = signersOf(root, "snapshot")
  const kept = yield* readKept(session.snapshot, "snapshot", signers)
  if (kept !== undefined) session.floors = raise(session.floors, kept.signed)
  const wanted = { type: "snapshot", role: "snapshot", file: timestamp.snapshot, signers } as const
  const found = yield* obtain(session.input.source, root.consistentSnapshot, wanted, session.snapshot)
  const snapshot = found.metadata.signed
  for (const [name, floor] of Object.entries(session.floors.targets)) {
    const version = snapshot.meta.get(name)?.version
    if (version === undefined) throw new Refused("TUF_ROLLBACK", "snapshot", `${name} has vanished from the snapshot`)
    if (version < floor) throw rollback(name, version, floor)
  }
  requireFresh(session.input, session.freshness, "snapshot", snapshot)
  session.snapshot = found.bytes
  session.floors = raise(session.floors, snapshot)
  return snapshot
}

/**
 * A targets role, verified under the keys of the delegator by which the search came; a role that came in by another
 * delegator is verified again.
 * @throws Refused
 */
export function* loadTargets(trusted: TufTrusted, role: string, signers: Signers): Step<Targets> {
  const known = trusted.targets.get(role)
  if (known !== undefined) {
    yield* requireThreshold(known, role, signers.role, signers.keys)
    return known.signed
  }
  const file = trusted.snapshot.meta.get(`${role}.json`)
  if (file === undefined) throw new Refused("TUF_MISSING", role, `the snapshot does not list ${role}.json`)
  const wanted = { type: "targets", role, file, signers } as const
  const found = yield* obtain(trusted.source, trusted.root.consistentSnapshot, wanted, trusted.kept.get(role))
  requireFresh(trusted, trusted.freshness, role, found.metadata.signed)
  trusted.kept.set(role, found.bytes)
  trusted.targets.set(role, found.metadata)
  return found.metadata.signed
}

interface Wanted<Type extends "snapshot" | "targets"> {
  readonly type: Type
  readonly role: string
  /** what the signed metadata above says of the file */
  readonly file: MetaFile
  readonly signers: Signers
}

interface Found<Type extends "snapshot" | "targets"> {
  readonly metadata: Metadata<SignedOf<Type>>
  readonly bytes: Uint8Array
}

/** The kept copy if it is still the file that is wanted, else the one from the source. */
function* obtain<Type extends "snapshot" | "targets">(
  source: TufSource,
  consistentSnapshot: boolean,
  wanted: Wanted<Type>,
  kept: Uint8Array | undefined,
): Step<Found<Type>> {
  if (kept !== undefined) {
    try {
      return yield* check(kept, wanted)
    } catch (error) {
      if (!(error instanceof Refused)) throw error
    }
  }
  const { type, role, file } = wanted
  const limit = TUF_LIMITS.maxBytes[type]
  const name = `${consistentSnapshot ? `${file.version}.` : ""}${encodeURIComponent(role)}.json`
  const bytes = source.read(name, Math.min(limit, file.length ?? limit))
  if (bytes === undefined) throw new Refused("TUF_MISSING", role, `no ${name}`)
  if (bytes.length > limit) throw new Refused("TUF_TOO_LARGE", role)
  return yield* check(bytes, wanted)
}

function* check<Type extends "snapshot" | "targets">(bytes: Uint8Array, wanted: Wanted<Type>): Step<Found<Type>> {
  const { type, role, file, signers } = wanted
  yield* requireHashes(bytes, role, file)
  const metadata = readMetadata(bytes, type, role)
  yield* requireThreshold(metadata, role, signers.role, signers.keys)
  requireVersion(role, metadata.signed, file.version)
  return { metadata, bytes }
}

/** A kept document counts if it can be read and today's keys signed it; a damaged one is as good as none. */
function* readKept<Type extends "timestamp" | "snapshot">(
  bytes: Uint8Array | undefined,
  type: Type,
  signers: Signers,
): Step<Metadata<SignedOf<Type>> | undefined> {
  if (bytes === undefined) return undefined
  try {
    const metadata = readMetadata(bytes, type)
    return (yield* meetsThreshold(metadata, signers.role, signers.keys)) ? metadata : undefined
  } catch (error) {
    if (error instanceof Refused) return undefined
    throw error
  }
}

function raise(floors: TufFloors, signed: Timestamp | Snapshot): TufFloors {
  if (signed.type === "timestamp")
    return {
      ...floors,
      timestamp: Math.max(floors.timestamp, signed.version),
      snapshot: Math.max(floors.snapshot, signed.snapshot.version),
    }
  const raised = [...signed.meta].map(([name, { version }]) => {
    const floor = Object.hasOwn(floors.targets, name) ? (floors.targets[name] as number) : 0
    return [name, Math.max(floor, version)] as const
  })
  return { ...floors, targets: { ...floors.targets, ...Object.fromEntries(raised) } }
}

function requireFresh(
  { now, maxStaleSec = 0 }: Pick<RefreshInput, "now" | "maxStaleSec">,
  freshness: Map<string, RoleFreshness>,
  role: string,
  { version, expires }: TufSigned,
): void {
  const staleMs = now.getTime() - expires.getTime()
  freshness.set(role, { version, expires, expired: staleMs >= 0, staleSec: Math.max(0, Math.floor(staleMs / 1_000)) })
  if (!(staleMs < maxStaleSec * 1_000))
    throw new Refused("TUF_EXPIRED", role, `version ${version} expired at ${expires.toISOString()}`)
}

function requireVersion(role: string, signed: TufSigned, version: number): void {
  if (signed.version !== version)
    throw new Refused("TUF_VERSION_MISMATCH", role, `version ${signed.version}, not ${version}`)
}

function rollback(subject: string, version: number, floor: number): Refused {
  return new Refused("TUF_ROLLBACK", subject, `version ${version} after ${floor}`)
}

function signersOf(root: Root, role: "root" | "timestamp" | "snapshot" | "targets"): Signers {
  return { role: root.roles[role], keys: root.keys }
}
