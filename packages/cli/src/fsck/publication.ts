import { createHash } from "node:crypto"
import { hexEncode } from "@sealwright/formats/bytes"
import { parseCrl, revokedEntries } from "@sealwright/formats/crl"
import { FormatError } from "@sealwright/formats/errors"
import { parseRevocationList, type RevocationList, type SignedDocument } from "@sealwright/formats/revocation-list"
import { decodeMetadata } from "@sealwright/formats/tuf"
import { parseCertificate } from "@sealwright/formats/x509"
import { BUNDLE_MARKER, BUNDLE_TYPE, type OpenedBundle, openBundle } from "@sealwright/verifier/bundle"
import { checkCrl } from "@sealwright/verifier/crl-check"
import type { Step } from "@sealwright/verifier/requests"
import { type CheckedRecord, type LedgerFacts, type Place, placesOf } from "./ledger.ts"
import { checkOutsideCrls } from "./outside-crls.ts"
import type { Dump, Finding, Items, StoredItem, StoredValue } from "./state.ts"

type Report = (finding: Finding) => void
type Run = <T>(step: Step<T>) => T

interface Listed {
  readonly epoch: number
  readonly document: SignedDocument<RevocationList>
}

/** Everything published against itself and against the table (I2, I3, I7). */
export function checkPublication(items: Items, dump: Dump, facts: LedgerFacts, run: Run, report: Report): void {
  const head = items.one("publication", "head")
  if (head === undefined) return
  const published = items.number(head, "published")
  const committed = items.number(head, "committed")
  const open = items.number(head, "open")
  if (!(published <= committed && committed < open && open - committed <= 2 && committed - published <= 1))
    report({
      code: "HEAD_WRONG",
      subject: "publication",
      detail: `open ${open}, committed ${committed}, published ${published}`,
    })

  const timestamp = dump.objects.get("tuf/timestamp.json")
  const shown = timestamp === undefined ? 0 : decodeMetadata(timestamp, "timestamp", timestamp.length).signed.version
  if (shown !== published && shown !== committed)
    report({ code: "HEAD_WRONG", subject: "tuf/timestamp.json", detail: `shows ${shown}, the table says ${published}` })
  if (shown === 0) return

  const bundle = openShown(items, dump, run, report)
  if (bundle === undefined) return
  const lists = readLists(dump, shown, report)
  checkChain(lists, report)
  const revocations = items.partition("revocations").map((item) => readRevocation(items, item))
  for (const { epoch, document } of lists) checkCarried(document.content, epoch, revocations, facts, report)
  const last = lists.at(-1)
  if (last !== undefined) checkFounded(last.document.content, revocations, facts, report)
  checkDenials(items, revocations, report)
  const underWay = committed > shown ? { epoch: committed, date: new Date(items.text(head, "committedAt")) } : undefined
  checkCrls(dump, bundle, last?.document.content, underWay, revocations, facts, run, report)
  checkOutsideCrls(items, dump, bundle, shown, run, report)
}

/** The published set at the moment of its own list: whether it is fresh is another question. */
function openShown(items: Items, dump: Dump, run: Run, report: Report): OpenedBundle | undefined {
  const marker = new TextEncoder().encode(JSON.stringify({ mediaType: BUNDLE_TYPE }))
  const [root] = items.partition("tuf-root")
  const head = items.one("publication", "head")
  if (root === undefined || head === undefined) {
    report({ code: "HEAD_WRONG", subject: "publication", detail: "published without a TUF root" })
    return undefined
  }
  const outcome = run(
    openBundle({
      read: (path) => (path === BUNDLE_MARKER ? marker : dump.objects.get(path)),
      pinnedRoot: items.bytes(root, "bytes"),
      now: new Date(items.text(head, "committedAt")),
    }),
  )
  if (outcome.ok) return outcome
  report({ code: "PUBLICATION_INVALID", subject: outcome.subject, detail: `${outcome.code} ${outcome.detail}` })
  return undefined
}

/** Every revocation list up to the shown epoch, each from the bucket by its TUF role's metadata. */
function readLists(dump: Dump, shown: number, report: Report): Listed[] {
  const lists: Listed[] = []
  for (let epoch = 1; epoch <= shown; epoch++) {
    const role = dump.objects.get(`tuf/${epoch}.lists.json`)
    const hash =
      role &&
      decodeMetadata(role, "targets", role.length).signed.targets.get("lists/revocations.json")?.hashes.get("sha256")
    const bytes = hash === undefined ? undefined : dump.objects.get(`tuf/targets/lists/${hash}.revocations.json`)
    if (bytes === undefined || sha256(bytes) !== hash) {
      report({
        code: "PUBLICATION_INVALID",
        subject: `epoch ${epoch}`,
        detail: "its revocation list is missing or another",
      })
      continue
    }
    try {
      lists.push({ epoch, document: parseRevocationList(bytes) })
    } catch (error) {
      if (!(error instanceof FormatError)) throw error
      report({ code: "PUBLICATION_INVALID", subject: `epoch ${epoch}`, detail: error.message })
    }
  }
  return lists
}

/** Each list names the one before and keeps all that it said, but for holds that were released. */
function checkChain(lists: readonly Listed[], report: Report): void {
  for (const [i, { epoch, document }] of lists.entries()) {
    const before = lists[i - 1]
    if (before === undefined) continue
    const subject = `epoch ${epoch}`
    if (document.content.previous !== sha256(before.document.signedBytes))
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

interface ReadRevocation {
  readonly id: string
  readonly target: { readonly [name: string]: StoredValue | undefined }
  readonly firstEpoch: number
  readonly epoch: number
  readonly released: boolean
  readonly acknowledgedAt: Date
}

function readRevocation(items: Items, item: StoredItem): ReadRevocation {
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
function checkCarried(
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
function checkFounded(
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

function checkDenials(items: Items, revocations: readonly ReadRevocation[], report: Report): void {
  for (const { id, target, released } of revocations) {
    if (target.kind !== "artifact" || released) continue
    if (items.one(`artifact#${target.digest}`, "artifact")?.deniedBy === undefined)
      report({ code: "DENIAL_MISSING", subject: String(target.digest), detail: id })
  }
}

/**
 * Each CRL at its own address verifies, is a target of the shown epoch, and revokes exactly the serials that the table's revocations name.
 * @param underWay a publication that has not moved TUF yet: CRLs move before it, so one may be of that epoch already
 */
function checkCrls(
  dump: Dump,
  bundle: OpenedBundle,
  list: RevocationList | undefined,
  underWay: { readonly epoch: number; readonly date: Date } | undefined,
  revocations: readonly ReadRevocation[],
  facts: LedgerFacts,
  run: Run,
  report: Report,
): void {
  for (const der of [...bundle.trustBundle.roots, ...bundle.registry.issuers.map(({ certificate }) => certificate)]) {
    const issuer = parseCertificate(der)
    const issuerKeyId = sha256(issuer.spki)
    const subject = `crl/${issuerKeyId}.crl`
    const bytes = dump.objects.get(subject)
    const target = run(bundle.crl(issuerKeyId))
    if (bytes === undefined || target === undefined) {
      report({ code: "CRL_WRONG", subject, detail: "missing" })
      continue
    }
    const isTarget = hexEncode(bytes) === hexEncode(target)
    const ahead = underWay !== undefined && parseCrl(bytes).crlNumber === BigInt(underWay.epoch)
    const now = (isTarget || !ahead ? list?.date : underWay.date) ?? new Date(0)
    const answer = run(checkCrl({ ...issuer, issuer: issuer.subject }, issuer, bytes, now))
    if (answer.status === "unknown") report({ code: "CRL_WRONG", subject, detail: answer.why })
    if (!isTarget && !ahead) report({ code: "CRL_WRONG", subject, detail: "is not the target of the shown epoch" })
    const expected = expectedSerials(issuerKeyId, list?.epoch ?? 0, revocations, facts)
    const listed = new Set([...revokedEntries(parseCrl(target))].map(({ serial }) => hexEncode(serial)))
    for (const serial of expected)
      if (!listed.has(serial)) report({ code: "CRL_WRONG", subject, detail: `lacks serial ${serial}` })
  }
}

function expectedSerials(
  issuerKeyId: string,
  epoch: number,
  revocations: readonly ReadRevocation[],
  facts: LedgerFacts,
): Set<string> {
  const serials = new Set<string>()
  for (const { target, firstEpoch, released, acknowledgedAt } of revocations) {
    if (released || firstEpoch > epoch) continue
    for (const record of facts.records.values()) {
      const wide = target.kind === "profile" || target.kind === "principal"
      const own = record.keyMode === "ephemeral" || (record.keyMode === "shared" && wide)
      const place = placesOf(record).find((one) => one.issuerKeyId === issuerKeyId)
      if (!own || place === undefined) continue
      const covered =
        (target.kind === "signature" && target.number === record.number && target.issuerKeyId === record.issuerKeyId) ||
        (target.kind === "artifact" && target.digest === record.digest) ||
        (target.kind === "profile" &&
          target.profile === record.profile &&
          record.signedAt >= new Date(String(target.from))) ||
        (target.kind === "principal" &&
          target.principal === record.principal &&
          record.signedAt >= new Date(String(target.from)) &&
          record.signedAt <= (target.until === undefined ? acknowledgedAt : new Date(String(target.until))))
      if (covered) serials.add(place.serialHex)
    }
  }
  return serials
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex")
}
