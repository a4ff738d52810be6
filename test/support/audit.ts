import { generateKeyPairSync, hash, sign } from "node:crypto"
import { newestTargets } from "@sealwright/core/ledger/tuf-documents"
import { sequence } from "@sealwright/core/log/flow"
import { LOG_KINDS, type LogKind } from "@sealwright/core/model"
import { release } from "@sealwright/core/revoke/flow"
import { hexEncode, utf8 } from "@sealwright/formats/bytes"
import { checkpointText } from "@sealwright/formats/checkpoint"
import { encodeNote, NOTE_TYPE, type NoteKey, noteKeyIdInput } from "@sealwright/formats/signed-note"
import { type LogPolicy, parseLogPolicy } from "@sealwright/formats/tlog-policy"
import { entriesPath, growTree, parseEntries, tileOf, tilePath } from "@sealwright/formats/tlog-tiles"
import { parseTrustBundle } from "@sealwright/formats/trust-bundle"
import { type TrustedLogs, trustLogs } from "@sealwright/verifier/log-check"
import { runSync } from "@sealwright/verifier/node-crypto"
import { type AuditResult, audit } from "../../packages/cli/src/fsck/audit/audit.ts"
import { parseProgress } from "../../packages/cli/src/fsck/audit/progress.ts"
import type { AuditPorts } from "../../packages/cli/src/fsck/audit/state.ts"
import type { StoredItem } from "../../packages/cli/src/fsck/state.ts"
import { ADMIN, createService, digestOf, signRequest } from "./service.ts"

export const sha256 = (bytes: Uint8Array) => new Uint8Array(hash("sha256", bytes, "buffer"))

export type Service = ReturnType<typeof createService>

export interface World {
  items: StoredItem[]
  objects: Map<string, Uint8Array>
  now: Date
  policy: LogPolicy
}

export interface Forger {
  readonly key: NoteKey
  sign(text: string): Uint8Array
}

/** Both sequencers, one round each. */
export async function logAll({ ports }: Service): Promise<void> {
  for (const kind of LOG_KINDS) await sequence(ports, kind)
}

export function worldOf(service: Service, policy: LogPolicy): World {
  const objects = new Map([...service.memory.objects.dump()].map(([key, { bytes }]) => [key, bytes]))
  return { items: [...service.memory.table.dump()] as StoredItem[], objects, now: service.ports.clock(), policy }
}

/** The logs' keys, as deployers get them. */
export async function policyOf({ ports }: Service): Promise<LogPolicy> {
  const { trustBundle } = await newestTargets(ports.table)
  return parseLogPolicy(utf8(parseTrustBundle(trustBundle).log?.policy ?? ""))
}

/** Signatures, revocations of several kinds, a hold that was let go, three publications. */
async function busyService(signatures: number) {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  const sign = service.signer()
  const [first] = await sign(signRequest(["one"]))
  for (let made = 1; made < signatures; made += 50)
    await sign(signRequest(Array.from({ length: Math.min(50, signatures - made) }, (_, i) => `image ${made + i}`)))
  await service.publish()
  await logAll(service)
  service.pass(30)
  if (first === undefined || !("signed" in first)) throw new Error("not signed")
  await service.revoke({ kind: "signature", signature: first.signed.id })
  service.pass(1)
  const held = await service.revoke({ kind: "artifact", digest: digestOf("held") }, "certificateHold")
  await service.publish(true)
  service.pass(30)
  await release(service.ports, held.revocation.id, ADMIN)
  await service.publish(true)
  await logAll(service)
  return { service, policy: await policyOf(service) }
}

export interface AuditRun {
  readonly saved?: Uint8Array[]
  /** items */
  readonly pageSize?: number
  /** called before each call of a port, and once more after `save`; what it throws cuts the audit there */
  readonly each?: (port: "page" | "get" | "query" | "read" | "save") => void | Promise<void>
}

interface Indexed {
  readonly byKey: ReadonlyMap<string, StoredItem>
  readonly scanned: readonly (readonly [order: string, item: StoredItem])[]
}

const keyOf = ({ pk, sk }: { readonly pk: string; readonly sk: string }) => `${pk} ${sk}`
const indexes = new WeakMap<readonly StoredItem[], Indexed>()

/** A scan goes by the hash of the partition, as DynamoDB's does, and so in no order that means anything. */
function indexed(items: readonly StoredItem[]): Indexed {
  const known = indexes.get(items)
  if (known !== undefined) return known
  const scanned = items.map((item) => [`${hash("sha256", item.pk)} ${item.sk}`, item] as const)
  scanned.sort(([a], [b]) => (a < b ? -1 : 1))
  const made = { scanned, byKey: new Map(items.map((item) => [keyOf(item), item])) }
  indexes.set(items, made)
  return made
}

/** @param shown what stands as a port is called */
export function portsOf(shown: () => Omit<World, "policy">, run: AuditRun = {}): AuditPorts {
  const { saved = [], pageSize = 40, each = () => undefined } = run
  return {
    page: async (after = "") => {
      await each("page")
      const rest = indexed(shown().items).scanned.filter(([order]) => order > after)
      const next = rest.length > pageSize ? rest[pageSize - 1]?.[0] : undefined
      return { items: rest.slice(0, pageSize).map(([, item]) => item), next }
    },
    get: async (keys) => {
      await each("get")
      const { byKey } = indexed(shown().items)
      return keys.flatMap((key) => byKey.get(keyOf(key)) ?? [])
    },
    query: async (pk) => {
      await each("query")
      return shown().items.filter((item) => item.pk === pk)
    },
    read: async (key, maxBytes) => {
      await each("read")
      const bytes = shown().objects.get(key)
      return bytes !== undefined && bytes.length <= maxBytes ? bytes : undefined
    },
    now: shown().now,
    run: runSync,
    save: (bytes) => {
      void each("save")
      saved.push(bytes)
      void each("save")
    },
    note: () => undefined,
  }
}

export function trustedBy(policy: LogPolicy): TrustedLogs {
  const trusted = runSync(trustLogs(policy))
  if (typeof trusted === "string") throw new Error(trusted)
  return trusted
}

export async function auditOf(world: World, earlier?: Uint8Array, full = false): Promise<[AuditResult, Uint8Array]> {
  const saved: Uint8Array[] = []
  const request = { trusted: trustedBy(world.policy), progress: earlier && parseProgress(earlier), full }
  const result = await audit(
    portsOf(() => world, { saved }),
    request,
    () => undefined,
  )
  return [result, saved.at(-1) as Uint8Array]
}

export const codesOf = ({ findings }: AuditResult) => [...new Set(findings.map(({ code }) => code))].sort()
export const flipped = (bytes: Uint8Array, at: number) => bytes.with(at, (bytes[at] ?? 0) ^ 1)

export function forgerOf(name: string): Forger {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519")
  const bytes = new Uint8Array(publicKey.export({ format: "der", type: "spki" })).subarray(-32)
  const keyId = hexEncode(sha256(noteKeyIdInput(name, NOTE_TYPE.ed25519, bytes)).subarray(0, 4))
  const key = { name, keyId, type: NOTE_TYPE.ed25519, publicKey: bytes }
  return { key, sign: (text) => new Uint8Array(sign(null, utf8(text), privateKey)) }
}

/** Puts a log of other leaves in place, consistent in itself and signed with its key. */
export function forge(
  world: World,
  kind: LogKind,
  leaves: readonly Uint8Array[],
  { key, sign: signText }: Forger,
): void {
  for (const name of [...world.objects.keys()]) if (name.startsWith(`log/${kind}/`)) world.objects.delete(name)
  const { tree, tiles, entries } = growTree(0n, [], [], leaves, sha256)
  for (const [tile, bytes] of tiles) world.objects.set(`log/${kind}/${tilePath(tile)}`, bytes)
  for (const [tile, bytes] of entries) world.objects.set(`log/${kind}/${entriesPath(tile)}`, bytes)
  const text = checkpointText({ origin: key.name, ...tree })
  const note = encodeNote({ text, signatures: [{ name: key.name, keyId: key.keyId, signature: signText(text) }] })
  world.objects.set(`log/${kind}/checkpoint`, note)
}

export function leavesOf(world: World, kind: LogKind, size: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(size / 256) }, (_, i) => {
    const tile = tileOf(0, BigInt(i), BigInt(size))
    if (tile === undefined) throw new Error("no bundle")
    return parseEntries(world.objects.get(`log/${kind}/${entriesPath(tile)}`) as Uint8Array, tile.width)
  }).flat()
}

/**
 * A busy service as it stands, which tests damage in copies, and the same under keys that the tests have.
 * @param size leaves of the log of signatures; default: more than a bundle has
 */
export async function createAuditWorld(size = 301) {
  const { service, policy } = await busyService(size)
  const sound = worldOf(service, policy)
  const { logs } = (await auditOf(sound))[0]
  const signatures = leavesOf(sound, "signatures", Number(logs.signatures.size))
  const events = leavesOf(sound, "events", Number(logs.events.size))
  const forgers = { signatures: forgerOf(logs.signatures.origin), events: forgerOf(logs.events.origin) }
  const world = (): World => ({ ...sound, items: [...sound.items], objects: new Map(sound.objects) })
  return {
    service,
    policy,
    signatures,
    events,
    world,
    /** The sound world under keys that the test has, with leaves as it likes them. */
    forged: (
      eventLeaves: readonly Uint8Array[] = events,
      signatureLeaves: readonly Uint8Array[] = signatures,
    ): World => {
      const keys = [{ key: forgers.signatures.key }, { key: forgers.events.key }]
      const made = { ...world(), policy: { logs: keys, witnesses: [], groups: [], quorum: undefined } }
      forge(made, "signatures", signatureLeaves, forgers.signatures)
      forge(made, "events", eventLeaves, forgers.events)
      return made
    },
  }
}

export type AuditWorld = Awaited<ReturnType<typeof createAuditWorld>>

export function change(made: World, which: (item: StoredItem) => boolean, members: object): void {
  const at = made.items.findIndex(which)
  if (at < 0) throw new Error("no such item")
  made.items = made.items.with(at, { ...(made.items[at] as StoredItem), ...members })
}

export function remove(made: World, which: (item: StoredItem) => boolean): void {
  const left = made.items.filter((item) => !which(item))
  if (left.length === made.items.length) throw new Error("no such item")
  made.items = left
}

export function flip(made: World, key: string, at: number): void {
  const bytes = made.objects.get(key)
  if (bytes === undefined) throw new Error(`no ${key}`)
  made.objects.set(key, flipped(bytes, at))
}

/** Id of the record whose first leaf is at a place. */
export function recordAt({ items }: World, index: number): string {
  const item = items.find(({ pk, index: at }) => pk.startsWith("logged#") && at === index)
  if (item === undefined) throw new Error(`nothing at ${index}`)
  return item.pk.slice("logged#".length)
}
