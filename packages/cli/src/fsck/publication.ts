import { hexEncode } from "@sealwright/formats/bytes"
import { parseCrl, revokedEntries } from "@sealwright/formats/crl"
import { FormatError } from "@sealwright/formats/errors"
import { parseRevocationList, type RevocationList } from "@sealwright/formats/revocation-list"
import { decodeMetadata } from "@sealwright/formats/tuf"
import { parseCertificate } from "@sealwright/formats/x509"
import { BUNDLE_MARKER, BUNDLE_TYPE, type OpenedBundle, openBundle } from "@sealwright/verifier/bundle"
import { checkCrl } from "@sealwright/verifier/crl-check"
import type { Step } from "@sealwright/verifier/requests"
import { type LedgerFacts, placesOf } from "./ledger.ts"
import {
  checkCarried,
  checkChain,
  checkFounded,
  type Listed,
  type ReadRevocation,
  readRevocation,
  sha256,
} from "./lists.ts"
import { checkOutsideCrls } from "./outside-crls.ts"
import type { Dump, Finding, Items } from "./state.ts"

type Report = (finding: Finding) => void
type Run = <T>(step: Step<T>) => T

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
  const lists = readLists(items, dump, shown, report)
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

/** Every revocation list up to the shown epoch but those left out as lost, each from the bucket by its TUF role's metadata. */
function readLists(items: Items, dump: Dump, shown: number, report: Report): Listed[] {
  const lists: Listed[] = []
  const skipped = new Set(items.partition("epochs").flatMap((item) => (item.skipped === true ? [Number(item.sk)] : [])))
  for (let epoch = 1; epoch <= shown; epoch++) {
    if (skipped.has(epoch)) continue
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
