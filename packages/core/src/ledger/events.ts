import { base64Encode } from "@sealwright/formats/bytes"
import { canonicalJson } from "@sealwright/formats/canonical-json"
import type { JsonObject, JsonValue } from "@sealwright/formats/strict-json"
import { formatTime } from "@sealwright/formats/time"
import { withoutAddresses } from "../log/origin.ts"
import type { Attribute, Item, Write } from "../ports.ts"
import { Attributes } from "./attributes.ts"
import { keys } from "./keys.ts"

/** Leaves of the log of events (docs/formats/log.md). */
export const EVENT_VERSION = "sealwright/v1"
export type EventKind = "revocation" | "publication" | "profile" | "issuer" | "roots" | "tuf"

/** A document that is longer is named by its version alone. */
const MAX_DOCUMENT_BYTES = 32_768

type Event = { readonly kind: EventKind } & JsonObject

/**
 * What a transaction changes of what signatures count: the write that puts it down for the log, in the same transaction (R30). Derived from the writes
 * themselves, so no act can forget it; named as the act's audit entry is.
 * @returns nothing for a transaction that changes nothing of it
 * @throws Error for one without an audit entry: no change is nobody's
 */
export function eventWrites(writes: readonly Write[]): Write[] {
  const events = writes.flatMap(eventsOf)
  if (events.length === 0) return []
  const audit = writes.find((write) => "put" in write && write.put.pk.startsWith("audit#"))
  if (audit === undefined || !("put" in audit)) throw new Error("a change without its audit entry")
  const entry = Attributes.of(audit.put)
  return [inboxWrite(entry.text("id"), entry.date("at"), events)]
}

/** One event of a publisher, which has no audit entry. @param id ULID, the same for a repeat */
export function eventWrite(id: string, at: Date, kind: EventKind, members: JsonObject): Write {
  return inboxWrite(id, at, [{ kind, ...members }])
}

function inboxWrite(id: string, at: Date, events: readonly Event[]): Write {
  const leaves = events.map((event, i) =>
    canonicalJson({ apiVersion: EVENT_VERSION, id: `${id}-${i}`, at: formatTime(at), ...event }),
  )
  return { put: { ...keys.inboxEvent(id), leaves } }
}

function eventsOf(write: Write): Event[] {
  if ("put" in write) return fromPut(write.put)
  if (!("update" in write) || write.update.pk !== "issuers" || write.set?.state === undefined) return []
  const [name = "", generation = "1"] = write.update.sk.split("@")
  return [{ kind: "issuer", name, generation: Number(generation), state: String(write.set.state) }]
}

function fromPut(item: Item): Event[] {
  const pick = (...names: readonly string[]): JsonObject => picked(item, names)
  switch (item.pk) {
    case "revocations":
      return [
        {
          kind: "revocation",
          ...pick("target", "reason", "acknowledgedAt", "effectiveAt", "epoch", "firstEpoch", "released"),
          revocation: item.sk,
        },
      ]
    case "profiles":
      return [
        {
          kind: "profile",
          ...pick("name", "generation", "state", "issuer", "extraIssuer", "keyMode", "algorithm", "timestamp"),
          ...pick("allowList", "expirySec", "leafLifetimeSec", "principals", "repositories", "held"),
        },
      ]
    case "issuers":
      return [{ kind: "issuer", ...pick("name", "generation", "issuerKeyId", "state", "external", "certificate") }]
    case "deployment":
      return [{ kind: "roots", roots: rootsOf(item), ...witnessesOf(item) }]
    case "tuf-root":
    case "tuf-targets":
      return [
        { kind: "tuf", role: item.pk.slice("tuf-".length), version: Number(item.sk), ...pick("expires", "bytes") },
      ]
    default:
      return []
  }
}

/** Line by line: canonical JSON has line feeds as they are, and the leaves are to be JSON. */
function witnessesOf({ witnesses }: Item): JsonObject {
  return typeof witnesses === "string" ? { witnesses: withoutAddresses(witnesses).trimEnd().split("\n") } : {}
}

function rootsOf(item: Item): JsonValue[] {
  const lists = [item.formerRoots, item.extraRoots, [item.root]].flatMap((list) => (Array.isArray(list) ? list : []))
  return lists.map((root) => picked(root as Item, ["name", "generation", "issuerKeyId", "state"]))
}

function picked(item: { readonly [name: string]: Attribute }, names: readonly string[]): JsonObject {
  return Object.fromEntries(
    names.flatMap((name): [string, JsonValue][] => {
      const value = item[name] === undefined ? undefined : jsonOf(item[name])
      return value === undefined ? [] : [[name, value]]
    }),
  )
}

/** Bytes as base64, times as RFC 3339 in whole seconds; a key in its home is named by nobody outside. */
function jsonOf(value: Attribute): JsonValue | undefined {
  if (value instanceof Uint8Array) return value.length > MAX_DOCUMENT_BYTES ? undefined : base64Encode(value)
  if (typeof value === "string")
    return /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/.test(value) ? `${value.slice(0, 19)}Z` : value
  if (typeof value !== "object") return value
  if (value instanceof Set) return [...value].sort()
  if (Array.isArray(value)) return value.flatMap((one: Attribute) => jsonOf(one) ?? [])
  const map = value as { readonly [name: string]: Attribute }
  return picked(
    map,
    Object.keys(map).filter((name) => name !== "keyId"),
  )
}
