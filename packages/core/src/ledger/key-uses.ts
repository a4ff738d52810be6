import { ulid, ulidFloor } from "../names.ts"
import type { Clock, Item, KeyPurpose, RandomBytes, Table, Write } from "../ports.ts"
import { Attributes } from "./attributes.ts"
import { keys } from "./keys.ts"

/** One use of a key, as CloudTrail tells it. */
export interface KeyUse {
  /** of the request to KMS: what the service noted */
  readonly requestId: string
  /** CloudTrail's own id of its event */
  readonly eventId: string
  readonly at: Date
  /** ARN */
  readonly keyId: string
  /** `arn:{partition}:iam::{account}:role/{path and name}`, or the ARN of whoever it was, or `unknown` */
  readonly principal: string
  readonly sourceIp: string
}

/** Evidence is dropped after this time; findings are not. */
const USE_KEPT_SEC = 37 * 86_400
const MINUTE_CHARS = "YYYY-MM-DDTHH:MM".length

export const MINUTE_MS = 60_000

/** The UTC minute that a time is in: `YYYY-MM-DDTHH:MM`. */
export function minuteOf(at: Date): string {
  return at.toISOString().slice(0, MINUTE_CHARS)
}

export function minuteStart(minute: string): Date {
  return new Date(`${minute}:00Z`)
}

export function keyNoteWrite(
  ports: { readonly clock: Clock; readonly random: RandomBytes },
  note: { readonly by: string; readonly requestId: string; readonly uses: readonly string[] },
): Write {
  const at = ports.clock()
  const id = ulid(at, ports.random(10))
  const { by, requestId, uses } = note
  return { put: { ...keys.keyNote(at.toISOString().slice(0, 10), id), at: at.toISOString(), by, requestId, uses } }
}

/** Uses that the ledger tells between two times: in audit entries, and in notes. Streams, a page at a time; in no order between the two. */
export async function* notedUses(
  table: Table,
  from: Date,
  to: Date,
): AsyncGenerator<{ readonly at: Date; readonly use: string }> {
  for (const day of daysBetween(from, to))
    for (const partition of ["audit", "key-notes"])
      for await (const item of stream(table, `${partition}#${day}`, ulidFloor(from), ulidFloor(to))) {
        if (item.uses === undefined) continue
        const attributes = Attributes.of(item)
        const at = attributes.date("at")
        for (const use of attributes.texts("uses")) yield { at, use }
      }
}

function daysBetween(from: Date, to: Date): string[] {
  const days = new Set<string>()
  for (let at = from.getTime(); at < to.getTime(); at += 86_400_000) days.add(new Date(at).toISOString().slice(0, 10))
  return [...days.add(to.toISOString().slice(0, 10))]
}

async function* stream(table: Table, pk: string, from: string, to: string): AsyncGenerator<Item> {
  let after: string | undefined
  for (;;) {
    const page = await table.query(pk, { from, to, ...(after !== undefined && { after }) })
    yield* page.items
    if (page.next === undefined) return
    after = page.next
  }
}

/** Stores a use; a second delivery changes nothing. */
export async function storeUse(table: Table, use: KeyUse): Promise<void> {
  const put: Item = {
    ...keys.keyUse(minuteOf(use.at), use.requestId),
    ttl: Math.floor(use.at.getTime() / 1000) + USE_KEPT_SEC,
    requestId: use.requestId,
    eventId: use.eventId,
    at: use.at.toISOString(),
    keyId: use.keyId,
    principal: use.principal,
    sourceIp: use.sourceIp,
  }
  await table.transact([{ put, if: { absent: true } }])
}

/** The uses of one minute, a page at a time. */
export async function* usesOfMinute(table: Table, minute: string): AsyncGenerator<KeyUse> {
  let after: string | undefined
  for (;;) {
    const page = await table.query(`key-use#${minute}`, after === undefined ? {} : { after })
    for (const item of page.items) yield useFrom(item)
    if (page.next === undefined) return
    after = page.next
  }
}

export async function hasUse(table: Table, minute: string, requestId: string): Promise<boolean> {
  return (await table.get(keys.keyUse(minute, requestId))) !== undefined
}

function useFrom(item: Item): KeyUse {
  const attributes = Attributes.of(item)
  return {
    requestId: attributes.text("requestId"),
    eventId: attributes.text("eventId"),
    at: attributes.date("at"),
    keyId: attributes.text("keyId"),
    principal: attributes.text("principal"),
    sourceIp: attributes.text("sourceIp"),
  }
}

/** Uses count from `since` on; each minute before `through` is reconciled, or stands among the open ones. */
export interface ReconciliationCursor {
  readonly since: string
  readonly through: string
}

export async function readCursor(table: Table): Promise<ReconciliationCursor | undefined> {
  const item = await table.get(keys.reconciliation)
  if (item === undefined) return undefined
  const attributes = Attributes.of(item)
  return { since: attributes.text("since"), through: attributes.text("through") }
}

/** Begins to count. @returns the cursor that stands, another one's if that was first */
export async function startCursor(table: Table, minute: string): Promise<ReconciliationCursor> {
  const cursor = { since: minute, through: minute }
  await table.transact([{ put: { ...keys.reconciliation, ...cursor }, if: { absent: true } }])
  return (await readCursor(table)) ?? cursor
}

/** Moves the cursor on and opens the minutes that it passes, at once; another run may have been first, to the same end. */
export async function passMinutes(
  table: Table,
  through: string,
  minutes: readonly string[],
  mark: string,
): Promise<void> {
  const last = minutes.at(-1)
  if (last === undefined) return
  const next = minuteOf(new Date(minuteStart(last).getTime() + MINUTE_MS))
  await table.transact([
    { update: keys.reconciliation, set: { through: next }, if: { equals: { through } } },
    ...minutes.map((minute): Write => openMinuteWrite(minute, mark)),
  ])
}

/** @param mark another one with every opening, so that who is done with an earlier one does not close it */
export function openMinuteWrite(minute: string, mark: string): Write {
  return { put: { ...keys.keyUseMinute(minute), mark } }
}

export interface OpenMinute {
  readonly minute: string
  readonly mark: string
}

/** Minutes to be reconciled, oldest first. */
export async function openMinutes(table: Table, limit: number): Promise<OpenMinute[]> {
  const { items } = await table.query("key-use-minutes", { limit })
  return items.map((item) => ({ minute: item.sk, mark: Attributes.of(item).text("mark") }))
}

/** Unless it was opened again meanwhile. */
export async function closeMinute(table: Table, { minute, mark }: OpenMinute): Promise<void> {
  await table.transact([{ delete: keys.keyUseMinute(minute), if: { equals: { mark } } }])
}

export interface KnownKey {
  readonly keyId: string
  readonly purpose: KeyPurpose
  /** e.g. `issuer/ci-2026` */
  readonly name: string
}

export function knownKeyWrite({ keyId, purpose, name }: KnownKey): Write {
  return { put: { ...keys.knownKey(keyId), purpose, name } }
}

export function knownKeyFrom(item: Item): KnownKey {
  const attributes = Attributes.of(item)
  return { keyId: item.sk, purpose: attributes.text("purpose") as KeyPurpose, name: attributes.text("name") }
}
