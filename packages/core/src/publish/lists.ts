import type {
  AllowList,
  IssuerNumbers,
  RevocationList,
  RevocationRule,
  Revoked,
} from "@sealwright/formats/revocation-list"
import type { BundleLogs, Registry, TrustBundle } from "@sealwright/formats/trust-bundle"
import { logPolicyText } from "../log/origin.ts"
import type { Deployment, Revocation, TransparencyLogs } from "../model.ts"
import type { Digest } from "../ports.ts"
import { listedNames } from "../revoke/rules.ts"
import type { Snapshot } from "./snapshot.ts"

/** How long after its date a list is due again; D14's default `maxStale`. */
export const LIST_LIFETIME_SEC = 24 * 3600

/**
 * The revocation list of an epoch. Pure: equal snapshots give equal lists.
 * @param previous lower-case hex SHA-256 of the signed part of the list of the epoch before; empty for the first
 */
export function planRevocationList(snapshot: Snapshot, previous: string): RevocationList {
  const { epoch, date } = snapshot
  const standing = snapshot.revocations.filter((revocation) => !revocation.released)
  return {
    epoch,
    date,
    due: dueOf(date),
    previous,
    rules: standing.flatMap(ruleOf),
    issuers: new Map(
      [...snapshot.numbers].map(([issuerKeyId]) => [issuerKeyId, numbersOf(snapshot, standing, issuerKeyId)]),
    ),
    artifacts: new Map(
      standing.flatMap((revocation): [string, Revoked][] =>
        revocation.target.kind === "artifact" ? [[revocation.target.digest, revoked(revocation)]] : [],
      ),
    ),
    released: snapshot.revocations
      .filter((revocation) => revocation.released)
      .flatMap((revocation) => listedNames(revocation.target)),
  }
}

function numbersOf(snapshot: Snapshot, standing: readonly Revocation[], issuerKeyId: string): IssuerNumbers {
  const numbers = snapshot.numbers.get(issuerKeyId) ?? { coveredBelow: 0, void: [] }
  const revokedNumbers = new Map<number, Revoked>()
  const add = (number: number, entry: Revoked) => {
    const before = revokedNumbers.get(number)
    if (before === undefined || entry.at < before.at) revokedNumbers.set(number, entry)
  }
  for (const revocation of standing) {
    const { target } = revocation
    if (target.kind === "signature")
      for (const one of withExtra(target)) if (one.issuerKeyId === issuerKeyId) add(one.number, revoked(revocation))
    if (target.kind !== "principal") continue
    for (const signature of snapshot.covered.get(revocation.id) ?? [])
      if (signature.issuerKeyId === issuerKeyId) add(signature.number, revoked(revocation))
  }
  return { ...numbers, revoked: revokedNumbers }
}

function ruleOf(revocation: Revocation): RevocationRule[] {
  const { target } = revocation
  switch (target.kind) {
    case "profile":
      return [{ kind: "profile", profile: target.profile, from: target.from, ...revoked(revocation) }]
    case "issuer":
      return [
        {
          kind: "issuer",
          issuerKeyId: target.issuerKeyId,
          ...(target.from && { from: target.from }),
          ...revoked(revocation),
        },
      ]
    case "certificate":
      return withExtra(target).map(({ thumbprint, issuerKeyId, serialHex }) => ({
        kind: "certificate",
        thumbprint,
        issuerKeyId,
        serialHex,
        ...revoked(revocation),
      }))
    default:
      return []
  }
}

/** What is revoked, and what stands beside it in the same act. */
function withExtra<Named extends object>(target: Named & { readonly extra?: Named }): readonly Named[] {
  return target.extra === undefined ? [target] : [target, target.extra]
}

function revoked(revocation: Revocation): Revoked {
  return { reason: revocation.reason, at: revocation.effectiveAt }
}

function dueOf(date: Date): Date {
  return new Date(date.getTime() + LIST_LIFETIME_SEC * 1000)
}

export function planAllowList(snapshot: Snapshot): AllowList {
  const profiles = new Map<string, Map<string, string[]>>()
  for (const { profile, scope, digest } of snapshot.allowances) {
    const scopes = profiles.get(profile) ?? new Map<string, string[]>()
    profiles.set(profile, scopes.set(scope, [...(scopes.get(scope) ?? []), digest]))
  }
  return { epoch: snapshot.epoch, date: snapshot.date, due: dueOf(snapshot.date), profiles }
}

export function planRegistry(snapshot: Snapshot): Registry {
  return {
    epoch: snapshot.epoch,
    date: snapshot.date,
    issuers: snapshot.issuers.map(({ name, issuerKeyId, state, certificate }) => ({
      name,
      issuerKeyId,
      state,
      certificate,
    })),
    profiles: snapshot.profiles.map(({ name, issuer, keyMode, allowList, state }) => ({
      name,
      identity: `${name}@${snapshot.deployment.identityHost}`,
      issuer,
      keyMode,
      allowList,
      state,
    })),
  }
}

export function trustBundleOf(digest: Digest, deployment: Deployment): TrustBundle {
  const { log, witnesses } = deployment
  return {
    organisation: deployment.organisation,
    identityHost: deployment.identityHost,
    crlHost: deployment.crlHost,
    tufUrl: deployment.tufUrl,
    roots: [deployment.root.certificate],
    externalRoots: [],
    ...(log && { log: bundleLogs(digest, log, witnesses) }),
  }
}

export function bundleLogs(digest: Digest, log: TransparencyLogs, witnesses: string | undefined): BundleLogs {
  const policy = logPolicyText(digest, log, witnesses)
  return { signatures: log.signatures.origin, events: log.events.origin, policy }
}
