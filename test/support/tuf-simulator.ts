/** A TUF repository in memory, with local keys, that can also publish what an honest repository never would. */
import { constants, generateKeyPairSync, hash, type KeyObject, sign } from "node:crypto"
import { type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"
import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import { canonicalJson } from "@sealwright/formats/canonical-json"
import type {
  DelegatedRole,
  MetaFile,
  Root,
  Snapshot,
  TargetFile,
  Targets,
  Timestamp,
  TufKey,
  TufSigned,
} from "@sealwright/formats/tuf"
import { encodeMetadata } from "@sealwright/formats/tuf-encode"
import { keyidInput, tufKey } from "@sealwright/formats/tuf-key"
import { runSync } from "@sealwright/verifier/node-crypto"
import {
  type RefreshOutcome,
  refresh,
  stateOf,
  type TufFloors,
  type TufSource,
  type TufState,
} from "@sealwright/verifier/tuf-client"
import { readTarget } from "@sealwright/verifier/tuf-targets"

export const NOW = new Date("2026-03-01T12:00:00Z")
export const DAY_SEC = 86_400

export function later(sec: number, from: Date = NOW): Date {
  return new Date(from.getTime() + sec * 1_000)
}

export interface Signer {
  readonly key: TufKey
  readonly keyid: string
  sign(message: Uint8Array): Uint8Array
}

function newKeyPair(scheme: SignatureScheme): { publicKey: KeyObject; privateKey: KeyObject } {
  if (scheme === "ed25519") return generateKeyPairSync("ed25519")
  if (scheme === "rsa-pss-sha256") return generateKeyPairSync("rsa", { modulusLength: 2048 })
  return generateKeyPairSync("ec", { namedCurve: scheme === "ecdsa-p384-sha384" ? "P-384" : "P-256" })
}

export function newSigner(scheme: SignatureScheme = "ecdsa-p256-sha256"): Signer {
  const { publicKey, privateKey } = newKeyPair(scheme)
  const key = tufKey(scheme, new Uint8Array(publicKey.export({ format: "der", type: "spki" })))
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
  return {
    key,
    keyid: hash("sha256", keyidInput(key)),
    sign: (message) =>
      new Uint8Array(
        sign(schemeRow(scheme).hash ?? null, message, { key: privateKey, ...(key.keytype === "rsa" && pss) }),
      ),
  }
}

type Editable<T> = { -readonly [Member in keyof T]: T[Member] }
type EditableTargets = Editable<Targets> & { targets: Map<string, TargetFile> }
type EditableSigned =
  | Editable<Root>
  | Editable<Timestamp>
  | (Editable<Snapshot> & { meta: Map<string, MetaFile> })
  | EditableTargets

/** A metadata file as parsed JSON, to be changed before or after it is signed. */
export interface MetadataJson {
  signatures: { keyid: string; sig: string }[]
  // biome-ignore lint/suspicious/noExplicitAny: tests write what no type allows
  signed: any
}

const TOP = ["root", "timestamp", "snapshot", "targets"] as const
const EXPIRES = later(30 * DAY_SEC)

export class TufSimulator {
  readonly root: Editable<Root>
  readonly timestamp: Editable<Timestamp>
  readonly snapshot: Editable<Snapshot> & { meta: Map<string, MetaFile> }
  readonly targets: EditableTargets
  readonly delegated = new Map<string, EditableTargets>()
  readonly signers = new Map<string, Signer[]>()
  /** every published file of a role, version 1 first; `publish` adds, tests change */
  readonly files = new Map<string, Uint8Array[]>()
  readonly artifacts = new Map<string, Uint8Array>()
  /** file names that clients asked for, in order */
  readonly requests: string[] = []
  readonly targetRequests: string[] = []
  /** changes a role's `signed` part before it is signed, as long as it is set */
  readonly tamper = new Map<string, (signed: MetadataJson["signed"]) => void>()
  /** snapshot and timestamp list length and digests of the files they name */
  withHashes = false

  constructor() {
    const dated = { version: 0, expires: EXPIRES }
    const none = { keyids: [], threshold: 1 }
    const roles = { root: none, timestamp: none, snapshot: none, targets: none }
    this.root = { type: "root", ...dated, consistentSnapshot: true, keys: new Map(), roles }
    this.timestamp = { type: "timestamp", ...dated, snapshot: { version: 1 } }
    this.snapshot = { type: "snapshot", ...dated, meta: new Map() }
    this.targets = { type: "targets", ...dated, targets: new Map() }
    for (const role of TOP) this.addKey(role)
    this.publish("root", "targets", "snapshot", "timestamp")
  }

  role(name: string): EditableSigned {
    const signed = (TOP as readonly string[]).includes(name)
      ? this[name as (typeof TOP)[number]]
      : this.delegated.get(name)
    if (signed === undefined) throw new Error(`no role ${name}`)
    return signed
  }

  /** Lets a key of its own sign for a top-level role. */
  addKey(role: (typeof TOP)[number], signer: Signer = newSigner()): Signer {
    this.authorise(role, [...this.root.roles[role].keyids, signer.keyid], this.root.roles[role].threshold, [signer])
    this.signers.set(role, [...(this.signers.get(role) ?? []), signer])
    return signer
  }

  authorise(role: (typeof TOP)[number], keyids: readonly string[], threshold: number, signers: readonly Signer[] = []) {
    this.root.keys = new Map([...this.root.keys, ...signers.map(({ keyid, key }) => [keyid, key] as const)])
    this.root.roles = { ...this.root.roles, [role]: { keyids, threshold } }
  }

  /** Takes all keys from a role and gives it a new one. */
  rotate(role: (typeof TOP)[number]): void {
    this.root.roles = { ...this.root.roles, [role]: { keyids: [], threshold: 1 } }
    this.signers.delete(role)
    this.addKey(role)
  }

  /** Adds a delegation at the end of the delegator's list, with a new key. */
  delegate(delegator: string, name: string, role: Partial<DelegatedRole> = {}): Signer {
    const signer = newSigner()
    const from = this.role(delegator) as EditableTargets
    const before = from.delegations ?? { keys: new Map(), roles: [] }
    const added = { name, keyids: [signer.keyid], threshold: 1, terminating: false, paths: ["*"], ...role }
    from.delegations = {
      keys: new Map([...before.keys, [signer.keyid, signer.key]]),
      roles: [...before.roles, added],
    }
    this.signers.set(name, [...(this.signers.get(name) ?? []), signer])
    if (!this.delegated.has(name))
      this.delegated.set(name, { type: "targets", version: 0, expires: EXPIRES, targets: new Map() })
    return signer
  }

  addArtifact(role: string, path: string, bytes: Uint8Array, hashNames: readonly string[] = ["sha256"]): void {
    const hashes = new Map(hashNames.map((name) => [name, hash(name, bytes)]))
    ;(this.role(role) as EditableTargets).targets.set(path, { length: bytes.length, hashes })
    this.artifacts.set(path, bytes)
  }

  /** Raises the version of each role and signs it; snapshot and timestamp learn of what was published before them. */
  publish(...roles: readonly string[]): void {
    for (const role of roles) {
      this.role(role).version++
      this.publishAs(role)
    }
  }

  /** Signs a role as it stands, its version unchanged. */
  publishAs(role: string): void {
    const signed = this.role(role)
    const bytes = this.sign(role)
    this.files.set(role, [...(this.files.get(role) ?? []), bytes])
    const meta = {
      version: signed.version,
      ...(this.withHashes && { length: bytes.length, hashes: new Map([["sha256", hash("sha256", bytes)]]) }),
    }
    if (role === "snapshot") this.timestamp.snapshot = meta
    else if (role !== "root" && role !== "timestamp") this.snapshot.meta.set(`${role}.json`, meta)
  }

  sign(role: string, signers: readonly Signer[] = this.signers.get(role) ?? []): Uint8Array {
    const { signed } = JSON.parse(utf8Decode(encodeMetadata(this.role(role) as TufSigned, [])))
    this.tamper.get(role)?.(signed)
    return this.signJson(signed, signers)
  }

  signJson(signed: MetadataJson["signed"], signers: readonly Signer[]): Uint8Array {
    const message = canonicalJson(signed)
    const signatures = signers.map(({ keyid, sign: signWith }) => ({
      keyid,
      sig: Buffer.from(signWith(message)).toString("hex"),
    }))
    return utf8(JSON.stringify({ signatures, signed }))
  }

  /** Changes the newest file of a role after it was signed. */
  rewrite(role: string, change: (file: MetadataJson) => void): void {
    const files = this.files.get(role) ?? []
    const file = JSON.parse(utf8Decode(files.at(-1) as Uint8Array)) as MetadataJson
    change(file)
    this.files.set(role, [...files.slice(0, -1), utf8(JSON.stringify(file))])
  }

  newest(role: string): Uint8Array | undefined {
    return this.files.get(role)?.at(-1)
  }

  /** Numbered files stand under their place in `files`, as on a server that keeps what was uploaded under that name. */
  readonly source: TufSource = {
    read: (name) => {
      this.requests.push(name)
      const [, version, encoded] = /^(?:(\d+)\.)?(.*)\.json$/.exec(name) ?? []
      const role = decodeURIComponent(encoded ?? "")
      return version === undefined ? this.newest(role) : this.files.get(role)?.[Number(version) - 1]
    },
  }

  readonly targetSource: TufSource = {
    read: (name) => {
      this.targetRequests.push(name)
      return this.artifacts.get(name.replace(/[0-9a-f]{64,}\.(?=[^/]*$)/, ""))
    },
  }
}

/** A client with a metadata folder: it keeps `state`, and `floors` if asked to. */
export class SimulatedClient {
  readonly repository: TufSimulator
  state: TufState
  floors: TufFloors | undefined

  constructor(repository: TufSimulator, root: Uint8Array = repository.files.get("root")?.[0] as Uint8Array) {
    this.repository = repository
    this.state = { root }
  }

  refresh(options: { now?: Date; maxStaleSec?: number } = {}): RefreshOutcome {
    const input = { source: this.repository.source, state: this.state, now: NOW, ...options }
    const outcome = runSync(refresh({ ...input, floors: this.floors }))
    this.state = outcome.state
    if (this.floors !== undefined) this.floors = outcome.floors
    return outcome
  }

  /** "ok", or the code of the refusal. */
  result(options: { now?: Date; maxStaleSec?: number } = {}): string {
    const outcome = this.refresh(options)
    return outcome.accepted ? "ok" : outcome.refusal.code
  }

  /** Refreshes, then reads the targets in order until one is refused: their bytes as text, or a code. */
  download(...paths: readonly string[]): string[] {
    const outcome = this.refresh()
    if (!outcome.accepted) return [outcome.refusal.code]
    const results: string[] = []
    for (const path of paths) {
      const target = runSync(readTarget(outcome.trusted, this.repository.targetSource, path, 1_000_000))
      results.push(target.accepted ? utf8Decode(target.bytes) : target.refusal.code)
      if (!target.accepted) break
    }
    this.state = stateOf(outcome.state, outcome.trusted)
    return results
  }

  /** Versions of what the client keeps, by role, in alphabetical order. */
  versions(): Record<string, number> {
    const { targets = new Map(), ...top } = this.state
    const kept = [...Object.entries(top), ...targets].filter(([, bytes]) => bytes !== undefined)
    const versions = kept.map(([role, bytes]) => [role, JSON.parse(utf8Decode(bytes)).signed.version] as const)
    return Object.fromEntries(versions.sort(([a], [b]) => (a < b ? -1 : 1)))
  }
}
