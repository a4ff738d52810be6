import { createHash } from "node:crypto"
import type { RevocationList, SignedDocument } from "@sealwright/formats/revocation-list"
import { type CheckedRecord, type LedgerFacts, type Place, placesOf } from "./ledger.ts"
import type { Finding, Items, StoredItem, StoredValue } from "./state.ts"

type Report = (finding: Finding) => void

export interface Listed {
  readonly epoch: number
  readonly document: SignedDocument<RevocationList>
}

/** Each list names the one before and keeps all that it said, but for holds that were released. */
export function checkChain(lists: readonly Listed[], report: Report): void {
  for (const [i, { epoch, document }] of lists.entries()) {
    const before = lists[i - 1]
    if (before === undefined) continue
    const subject = `epoch ${epoch}`
    if (before.epoch === epoch - 1 && document.content.previous !== sha256(before.document.signedBytes))
      report({ code: "PUBLICATION_INVALID", subject, detail: "does not name the list before" })
    if (document.content.date.getTime() < before.document.content.date.getTime())
      report({ code: "PUBLICATION_INVALID", subject, detail: "is dated before the list before" })
    const now = namesIn(document.content)
    const released = new Set(document.content.released)
    for (const name of namesIn(before.document.content))
      if (!now.has(name) && !released.has(name)) report({ code: "REVOCATION_WITHDRAWN", subject, detail: name })
  }
}

function namesIn(list: RevocationList): Set<string> {
  const names = new Set<string>()
  for (const rule of list.rules) names.add(ruleName(rule))
  for (const digest of list.artifacts.keys()) names.add(`artifact:${digest}`)
  for (const [issuer, numbers] of list.issuers) {
    for (const number of numbers.revoked.keys()) names.add(`signature:${issuer}:${number}`)
    for (const [from, to] of numbers.void)
      for (let number = from; number <= to; number++) names.add(`void:${issuer}:${number}`)
  }
  return names
}

function ruleName(rule: RevocationList["rules"][number]): string {
  switch (rule.kind) {
    case "profile":
      return `profile:${rule.profile}`
    case "issuer":
      return `issuer:${rule.issuerKeyId}`
    case "certificate":
      return `certificate:${rule.thumbprint}`
  }
}

export interface ReadRevocation {
  readonly id: string
  readonly target: { readonly [name: string]: StoredValue | undefined }
  readonly firstEpoch: number
  readonly epoch: number
  readonly released: boolean
  readonly acknowledgedAt: Date
}

export function readRevocation(items: Items, item: StoredItem): ReadRevocation {
  return {
    id: item.sk,
    target: items.map(item, "target") as ReadRevocation["target"],
    firstEpoch: items.number(item, "firstEpoch"),
    epoch: items.number(item, "epoch"),
    released: item.released === true,
    acknowledgedAt: new Date(items.text(item, "acknowledgedAt")),
  }
}

/**
 * Every list from the acknowledged epoch on has the revocation (I2). A hold that was released since may be missing; one that was released and
 * placed anew stands as released in the lists between.
 */
export function checkCarried(
  list: RevocationList,
  epoch: number,
  revocations: readonly ReadRevocation[],
  facts: LedgerFacts,
  report: Report,
): void {
  const names = namesIn(list)
  const releasedThen = new Set(list.released)
  for (const revocation of revocations) {
    if (revocation.released || boundFrom(revocation) > epoch) continue
    for (const name of expectedNames(revocation, facts))
      if (!names.has(name) && !(epoch < revocation.epoch && releasedThen.has(name)))
        report({ code: "REVOCATION_UNPUBLISHED", subject: `epoch ${epoch}`, detail: `${revocation.id} (${name})` })
    const [name = ""] = expectedNames(revocation, facts)
    const rule = revocation.epoch > epoch ? undefined : list.rules.find((one) => ruleName(one) === name)
    if (rule !== undefined && reachOf(rule) > reachOf(revocation.target))
      report({
        code: "REVOCATION_UNPUBLISHED",
        subject: `epoch ${epoch}`,
        detail: `${revocation.id} counts from too late a time`,
      })
  }
}

/** From when on a rule counts, in milliseconds since 1970; below every time when it counts for all. */
function reachOf(from: object): number {
  return "from" in from && from.from !== undefined ? new Date(from.from as string | Date).getTime() : -Infinity
}

/** A principal that was listed again and revoked again reaches further; its newest reach binds from its newest acknowledgement on. */
function boundFrom({ target, firstEpoch, epoch }: ReadRevocation): number {
  return target.kind === "principal" ? epoch : firstEpoch
}

function expectedNames({ target, acknowledgedAt }: ReadRevocation, facts: LedgerFacts): string[] {
  switch (target.kind) {
    case "signature":
      return signatureNames(placesRevokedBy(target, facts))
    case "artifact":
      return [`artifact:${target.digest}`]
    case "certificate":
      return [target.thumbprint, ...extraThumbprint(target.extra)].map((thumbprint) => `certificate:${thumbprint}`)
    case "issuer":
      return [`issuer:${target.issuerKeyId}`]
    case "profile":
      return [`profile:${target.profile}`]
    default: {
      const from = new Date(String(target.from))
      const until = target.until === undefined ? acknowledgedAt : new Date(String(target.until))
      return [...facts.records.values()]
        .filter(
          (record) => record.principal === target.principal && record.signedAt >= from && record.signedAt <= until,
        )
        .flatMap((record) => signatureNames(placesOf(record)))
    }
  }
}

function signatureNames(places: readonly Pick<Place, "issuerKeyId" | "number">[]): string[] {
  return places.map(({ issuerKeyId, number }) => `signature:${issuerKeyId}:${number}`)
}

/** All that the act signed, by its record: what the revocation says of itself is not asked. */
function placesRevokedBy(
  { issuerKeyId, number }: ReadRevocation["target"],
  facts: LedgerFacts,
): readonly Pick<Place, "issuerKeyId" | "number">[] {
  const of = [...facts.records.values()].find(
    (record) => record.issuerKeyId === issuerKeyId && record.number === number,
  )
  return of === undefined ? [{ issuerKeyId: String(issuerKeyId), number: Number(number) }] : placesOf(of)
}

function extraThumbprint(extra: StoredValue | undefined): readonly StoredValue[] {
  return typeof extra === "object" && "thumbprint" in extra ? [extra.thumbprint as StoredValue] : []
}

/** What the newest list says of numbers is what the table says: nothing revoked or void without a reason, nothing covered too early. */
export function checkFounded(
  list: RevocationList,
  revocations: readonly ReadRevocation[],
  facts: LedgerFacts,
  report: Report,
): void {
  const byNumber = new Map<string, CheckedRecord>(
    [...facts.records.values()].flatMap((record) =>
      placesOf(record).map(({ issuerKeyId, number }): [string, CheckedRecord] => [`${issuerKeyId}:${number}`, record]),
    ),
  )
  const standing = new Set(
    revocations
      .filter(({ released, epoch }) => !released || epoch > list.epoch)
      .flatMap((revocation) => expectedNames(revocation, facts)),
  )
  const named = [...list.rules.map(ruleName), ...[...list.artifacts.keys()].map((digest) => `artifact:${digest}`)]
  for (const name of named)
    if (!standing.has(name))
      report({ code: "LIST_UNFOUNDED", subject: `epoch ${list.epoch}`, detail: `${name} is revoked in the list alone` })
  for (const [issuer, { coveredBelow, revoked, void: voids }] of list.issuers) {
    const settled = facts.voids.get(issuer) ?? []
    for (const [from, to] of voids)
      for (let number = from; number <= to; number++) {
        if (byNumber.has(`${issuer}:${number}`))
          report({
            code: "LIST_UNFOUNDED",
            subject: `issuer ${issuer.slice(0, 12)}`,
            detail: `number ${number} has a record and is listed as void`,
          })
        if (!settled.some(([low, high]) => low <= number && number <= high))
          report({
            code: "LIST_UNFOUNDED",
            subject: `issuer ${issuer.slice(0, 12)}`,
            detail: `number ${number} is void in the list alone`,
          })
      }
    for (const [low, high] of settled)
      if (high < coveredBelow && !voids.some(([from, to]) => from <= low && high <= to))
        report({
          code: "LIST_UNFOUNDED",
          subject: `issuer ${issuer.slice(0, 12)}`,
          detail: `void ${low}-${high} is covered and not listed`,
        })
    for (const number of revoked.keys()) {
      const record = byNumber.get(`${issuer}:${number}`)
      const reason = revocations.some((revocation) => coversNumber(revocation, issuer, number, record, facts))
      if (!reason)
        report({
          code: "LIST_UNFOUNDED",
          subject: `issuer ${issuer.slice(0, 12)}`,
          detail: `number ${number} is revoked in the list alone`,
        })
    }
  }
}

function coversNumber(
  { target }: ReadRevocation,
  issuer: string,
  number: number,
  record: CheckedRecord | undefined,
  facts: LedgerFacts,
): boolean {
  if (target.kind === "signature")
    return placesRevokedBy(target, facts).some((place) => place.issuerKeyId === issuer && place.number === number)
  return target.kind === "principal" && record !== undefined && record.principal === target.principal
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex")
}
