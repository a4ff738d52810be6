import { bytesEqual } from "@sealwright/formats/bytes"
import { parseCertificate } from "@sealwright/formats/x509"
import { readCommit } from "../ledger/epochs.ts"
import { listOcspResponders } from "../ledger/ocsp-responders.ts"
import { listOutsideCrls } from "../ledger/outside-crls.ts"
import type { PublicationHead } from "../ledger/publication.ts"
import { readHead } from "../ledger/publication.ts"
import { listTimestampAuthorities } from "../ledger/timestamp-authorities.ts"
import { findDeployment, listIssuers, listProfiles, rootsOf } from "../ledger/trust.ts"
import { tufDocuments } from "../ledger/tuf-documents.ts"
import type { Deployment, Issuer } from "../model.ts"
import type { Table } from "../ports.ts"
import { REFRESH_SEC } from "./due.ts"
import { tufExpiry } from "./tuf.ts"

const DAY_MS = 86_400_000

/** How near an end is (R18): days, or past. */
export const EXPIRY_LEVELS = ["ok", "90", "30", "7", "expired"] as const
export type ExpiryLevel = (typeof EXPIRY_LEVELS)[number]

/** One thing that ends. */
export interface Expiry {
  /** `root`, `issuer/<name>` (`@<generation>` from the second on), `profile/<name>`, `timestamp-authority`, `ocsp/<issuer>` (as issuers), `outside-crl/<front of the key id>`, `tuf/<role>` */
  readonly name: string
  readonly at: Date
  /** `people` must renew it in time; a `publication` or a daily `schedule` renews it by itself; of what is `finished` nothing new comes, so its end hurts nobody */
  readonly renewedBy: "people" | "publication" | "schedule" | "finished"
  /** when what lives shorter than a year began; absent: its levels are whole days */
  readonly from?: Date
}

/**
 * An end counts from its own moment on.
 * @param from of what may live for days only: then a level begins in its last half, third and tenth at the earliest
 * @returns the narrowest level that `at` has reached
 */
export function levelOf(at: Date, now: Date, from?: Date): ExpiryLevel {
  const left = at.getTime() - now.getTime()
  const life = from === undefined ? Number.POSITIVE_INFINITY : at.getTime() - from.getTime()
  if (left <= 0) return "expired"
  if (left <= Math.min(7 * DAY_MS, life / 10)) return "7"
  if (left <= Math.min(30 * DAY_MS, life / 3)) return "30"
  return left <= Math.min(90 * DAY_MS, life / 2) ? "90" : "ok"
}

/** Whole days left, cut down; below zero: past. */
export function daysLeft(at: Date, now: Date): number {
  return Math.floor((at.getTime() - now.getTime()) / DAY_MS)
}

/**
 * How urgent one end is for people. What a publication renews is urgent only when publications fail: the timestamp always ends within days.
 */
export function urgencyOf({ at, renewedBy, from }: Expiry, head: PublicationHead | undefined, now: Date): ExpiryLevel {
  if (renewedBy === "finished") return "ok"
  if (renewedBy === "people") return levelOf(at, now, from)
  // Half of its life is over when a schedule renews it, so it always ends within weeks: urgent when that has failed for days.
  if (renewedBy === "schedule") return at.getTime() - now.getTime() <= 7 * DAY_MS ? levelOf(at, now) : "ok"
  const age = head?.committedAt === undefined ? 0 : now.getTime() - head.committedAt.getTime()
  return age <= 2 * REFRESH_SEC * 1000 ? "ok" : levelOf(at, now)
}

/** Everything that ends, the first to end first (R18). @returns nothing before the ceremony */
export async function listExpiries(table: Table): Promise<Expiry[]> {
  const deployment = await findDeployment(table)
  if (deployment === undefined) return []
  const roots = rootsOf(deployment)
  const ends = roots.map(
    (root): Expiry => ({
      name: `${root.name}${root.generation === 1 ? "" : `@${root.generation}`}`,
      at: root.notAfter,
      renewedBy: root === deployment.root || isCertifying(deployment, root) ? "people" : "finished",
    }),
  )
  const issuers = await listIssuers(table)
  for (const issuer of issuers)
    if (!roots.some(({ issuerKeyId }) => issuerKeyId === issuer.issuerKeyId))
      ends.push({ name: nameOf(issuer), at: issuer.notAfter, renewedBy: renewerOf(issuer) })
  for (const { name, held, state } of await listProfiles(table))
    if (held !== undefined) {
      const { notAfter } = parseCertificate(held.certificate)
      ends.push({ name: `profile/${name}`, at: notAfter, renewedBy: state === "revoked" ? "finished" : "people" })
    }
  const authority = (await listTimestampAuthorities(table)).findLast(({ state }) => state === "active")
  if (authority !== undefined) ends.push({ name: "timestamp-authority", at: authority.notAfter, renewedBy: "people" })
  for (const { issuerKeyId, issuer, issuerGeneration, notAfter } of await listOcspResponders(table)) {
    const revoked = issuers.find((one) => one.issuerKeyId === issuerKeyId)?.state === "revoked"
    const name = `ocsp/${issuer}${issuerGeneration === 1 ? "" : `@${issuerGeneration}`}`
    ends.push({ name, at: notAfter, renewedBy: revoked ? "finished" : "schedule" })
  }
  for (const { issuerKeyId, authority, thisUpdate, nextUpdate } of await listOutsideCrls(table)) {
    const below = issuers.filter(({ chain }) => chain.some((der) => bytesEqual(der, authority)))
    const renewedBy = below.some(({ state }) => state !== "revoked") ? "people" : "finished"
    ends.push({ name: `outside-crl/${issuerKeyId.slice(0, 32)}`, at: nextUpdate, renewedBy, from: thisUpdate })
  }
  for (const role of ["root", "targets"] as const) {
    const newest = (await tufDocuments(table, role)).at(-1)
    if (newest !== undefined) ends.push({ name: `tuf/${role}`, at: newest.expires, renewedBy: "people" })
  }
  const head = await readHead(table)
  const shown = head?.published || head?.committed
  const commit = shown === undefined || shown === 0 ? undefined : await readCommit(table, shown)
  for (const role of ["lists", "registry", "snapshot", "timestamp"] as const)
    if (commit !== undefined)
      ends.push({ name: `tuf/${role}`, at: tufExpiry(role, commit.date), renewedBy: "publication" })
  return ends.sort((a, b) => a.at.getTime() - b.at.getTime())
}

function isCertifying({ extraRoots }: Deployment, root: Issuer): boolean {
  return root === extraRoots.findLast(({ key, state }) => key.scheme === root.key.scheme && state === "active")
}

function renewerOf({ state }: Issuer): Expiry["renewedBy"] {
  return state === "active" || state === "standby" ? "people" : "finished"
}

function nameOf({ name, generation }: Issuer): string {
  return `issuer/${name}${generation === 1 ? "" : `@${generation}`}`
}

/** What ends first of all that people must renew in time. @returns undefined before the ceremony */
export async function nextExpiry(table: Table, now: Date): Promise<Expiry | undefined> {
  return (await nextExpiries(table, now)).people
}

/**
 * What ends first of all that people must renew in time, and of what a schedule renews. What lives for days only counts once its own level is 30 or
 * nearer, or it would always be first.
 */
export async function nextExpiries(
  table: Table,
  now: Date,
): Promise<{ readonly people: Expiry | undefined; readonly schedule: Expiry | undefined }> {
  const expiries = (await listExpiries(table)).filter(
    ({ at, from }) => from === undefined || !["ok", "90"].includes(levelOf(at, now, from)),
  )
  const first = (by: Expiry["renewedBy"]) => expiries.find(({ renewedBy }) => renewedBy === by)
  return { people: first("people"), schedule: first("schedule") }
}

/** The TUF role that ends first of all, whoever renews it: clients refuse everything from then on. @returns undefined before the first publication */
export async function nextTufExpiry(table: Table): Promise<Expiry | undefined> {
  const roles = (await listExpiries(table)).filter(({ name }) => name.startsWith("tuf/"))
  return roles.some(({ name }) => name === "tuf/timestamp") ? roles[0] : undefined
}
