import { hexEncode } from "@sealwright/formats/bytes"
import { canonicalJson } from "@sealwright/formats/canonical-json"
import { FormatError } from "@sealwright/formats/errors"
import { anyJson, anyObject, boolean, integer, openObject, string } from "@sealwright/formats/shape"
import { type JsonObject, type JsonValue, parseJson } from "@sealwright/formats/strict-json"
import { MAX_ENTRY_BYTES } from "@sealwright/formats/tlog-tiles"
import type { StoredItem, StoredValue } from "../state.ts"
import type { AuditReport } from "./state.ts"
import { sha256 } from "./tree.ts"

/** What the log of events comes to (docs/formats/log.md). Grows with revocations, not with events. */
export interface EventState {
  /** by id: what the newest event says; `order` tells which is newer */
  revocations: Map<string, { readonly order: string; readonly says: string }>
  publications: {
    /** a bit for each epoch that was logged */
    seen: Uint8Array
    /** by epoch: the members of the newest ones that name digests, as canonical JSON */
    newest: Map<number, string>
  }
  /** events by kind */
  counts: Map<string, number>
}

export function newEvents(): EventState {
  return { revocations: new Map(), publications: { seen: new Uint8Array(0), newest: new Map() }, counts: new Map() }
}

export function copyEvents({ revocations, publications, counts }: EventState): EventState {
  return {
    revocations: new Map(revocations),
    publications: { seen: publications.seen.slice(), newest: new Map(publications.newest) },
    counts: new Map(counts),
  }
}

const KINDS: readonly string[] = ["revocation", "publication", "profile", "issuer", "roots", "tuf"]
const KEPT_PUBLICATIONS = 64
/** A bitmap of 16 MiB; an epoch every second for four years. */
const MAX_EPOCH = 2 ** 27
const MAX_SAYS = 400

const eventShape = openObject({ apiVersion: string(40), kind: string(40), id: string(64), at: string(30) })
const revocationShape = openObject(
  {
    revocation: string(256),
    target: anyObject,
    reason: string(64),
    effectiveAt: string(30),
    acknowledgedAt: string(30),
    epoch: integer(0),
    firstEpoch: integer(0),
    released: boolean,
  },
  {},
)
const publicationShape = openObject({
  epoch: integer(1, MAX_EPOCH),
  date: string(30),
  list: string(64),
  revocations: string(64),
  allow: string(64),
  timestamp: anyJson,
})

/** Takes one leaf into the state, whose maps change. @param subject how a finding names the leaf */
export function replay(state: EventState, leaf: Uint8Array, subject: string, report: AuditReport): void {
  try {
    const json = parseJson(leaf, { maxBytes: MAX_ENTRY_BYTES })
    const { apiVersion, kind, id } = eventShape(json, "event")
    if (apiVersion !== "sealwright/v1" || !KINDS.includes(kind))
      throw new FormatError("SHAPE_MISMATCH", `${apiVersion} ${kind}`)
    if (kind === "revocation") takeRevocation(state, id, json)
    if (kind === "publication") takePublication(state, json, report)
    state.counts.set(kind, (state.counts.get(kind) ?? 0) + 1)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    report("AUDIT_EVENT_UNREADABLE", subject, error.message)
  }
}

function takeRevocation(state: EventState, id: string, json: JsonValue): void {
  const event = revocationShape(json, "event")
  const order = `${String(event.epoch).padStart(16, "0")} ${id}`
  const standing = state.revocations.get(event.revocation)
  if (standing === undefined || standing.order <= order)
    state.revocations.set(event.revocation, { order, says: saysOf(event as unknown as JsonObject) })
}

function takePublication(state: EventState, json: JsonValue, report: AuditReport): void {
  const { epoch, list, revocations, allow, timestamp } = publicationShape(json, "event")
  const { publications } = state
  if (bitOf(publications.seen, epoch)) report("AUDIT_PUBLICATION_REPEATED", `epoch ${epoch}`, "logged once more")
  publications.seen = withBit(publications.seen, epoch)
  const says = new TextDecoder().decode(canonicalJson({ list, revocations, allow, timestamp }))
  publications.newest.set(epoch, says.slice(0, 4_096))
  if (publications.newest.size > KEPT_PUBLICATIONS) publications.newest.delete(Math.min(...publications.newest.keys()))
}

export function bitOf(bits: Uint8Array, at: number): boolean {
  return (((bits[Math.floor(at / 8)] ?? 0) >> (at % 8)) & 1) === 1
}

/** @returns the same array, or a longer one */
function withBit(bits: Uint8Array, at: number): Uint8Array {
  const byte = Math.floor(at / 8)
  let grown = bits
  if (byte >= bits.length) {
    grown = new Uint8Array(Math.max(byte + 1, 2 * bits.length))
    grown.set(bits)
  }
  grown[byte] = (grown[byte] as number) | (1 << (at % 8))
  return grown
}

/** What a revocation says, from its item; to be compared with that of its event. */
export function saysOfItem(item: StoredItem): string {
  return saysOf(jsonOf(item) as JsonObject)
}

/** Everything but the target in words, so that a difference can be read. */
function saysOf(revocation: JsonObject): string {
  const { target, reason, effectiveAt, acknowledgedAt, epoch, firstEpoch, released } = revocation
  const digest = hexEncode(sha256(canonicalJson(target ?? null)))
  const times = `effective ${effectiveAt}, acknowledged ${acknowledgedAt}`
  const text = `${reason}, ${times}, epoch ${epoch} from ${firstEpoch}, released ${released}, target ${digest}`
  return text.length <= MAX_SAYS ? text : hexEncode(sha256(canonicalJson(text)))
}

/** A value of the table as events write it: times in whole seconds. */
function jsonOf(value: StoredValue): JsonValue {
  if (typeof value === "string") return value.replace(/^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d{3}Z$/, "$1Z")
  if (typeof value !== "object") return value
  if (value instanceof Uint8Array || value instanceof Set) return null
  if (Array.isArray(value)) return value.map(jsonOf)
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, jsonOf(member)]))
}
