import { base64Encode } from "@sealwright/formats/bytes"
import type { JsonObject } from "@sealwright/formats/strict-json"
import type { TrustBundle } from "@sealwright/formats/trust-bundle"
import { crlUrl } from "../admin/certificates.ts"
import type { Deployment, Issuer, Profile } from "../model.ts"
import type { Snapshot } from "./snapshot.ts"

const NOTATION_TREE_TYPE = "application/vnd.sealwright.notation-tree.v1+json"
const STORE_TYPE = "signingAuthority"
const TRUST_STORE = "sealwright"

/**
 * What notation wants on a verifier's disk (D9): its trust policy, its trust store, and for each CRL URL that our certificates
 * name which published list answers it. It names repositories, so it is not public.
 */
export function notationTree(snapshot: Snapshot, bundle: TrustBundle, ownRoots: readonly Issuer[]): JsonObject {
  const { deployment, issuers } = snapshot
  const roots = new Map<string, Set<string>>()
  const standing = new Set(bundle.externalRoots.map(base64Encode))
  for (const { name, chain } of issuers.filter(({ external }) => external))
    for (const root of chain.slice(-1).map(base64Encode))
      if (standing.has(root)) roots.set(name, (roots.get(name) ?? new Set()).add(root))
  const externalStores = [...roots].map(([name, certificates]) => ({
    type: STORE_TYPE,
    name: externalStore(name),
    certificates: [...certificates],
  }))
  return {
    mediaType: NOTATION_TREE_TYPE,
    epoch: snapshot.epoch,
    trustPolicy: trustPolicy(snapshot, new Set(roots.keys())),
    trustStore: { type: STORE_TYPE, name: TRUST_STORE, certificates: bundle.roots.map(base64Encode) },
    ...(externalStores.length > 0 && { externalStores }),
    ...(snapshot.profiles.some(isStamped) && {
      timestampStore: { name: TRUST_STORE, certificates: bundle.roots.map(base64Encode) },
    }),
    crls: [...new Set([...ownRoots, ...issuers].map(({ issuerKeyId }) => issuerKeyId))].map((issuerKeyId) => ({
      url: crlUrl(deployment.crlHost, issuerKeyId),
      target: `lists/${issuerKeyId}.crl`,
    })),
  }
}

/** The root of an outside authority may certify others too, so it counts only for the profiles that use its issuer. */
function externalStore(issuer: string): string {
  return `${TRUST_STORE}-issuer-${issuer}`
}

function isStamped({ timestamp }: Profile): boolean {
  return timestamp === "own"
}

/**
 * One statement for each set of profiles that share repositories: notation takes a repository in one statement only. Scopes that end
 * in `/*` are left out: notation knows exact repositories alone. A statement trusts exactly its profiles' identities, under the roots that
 * certify them.
 */
function trustPolicy({ deployment, profiles, issuers }: Snapshot, trusted: ReadonlySet<string>): JsonObject {
  const external = new Set(issuers.filter((issuer) => issuer.external).map(({ name }) => name))
  const storesOf = ({ issuer, former }: Profile) =>
    [issuer, ...former.issuers].flatMap((name) => {
      if (!external.has(name)) return [TRUST_STORE]
      return trusted.has(name) ? [externalStore(name)] : []
    })
  const stores = new Map(profiles.map((profile) => [profile.name, storesOf(profile)]))
  const stamped = new Set(profiles.filter(isStamped).map(({ name }) => name))
  const byRepository = new Map<string, string[]>()
  for (const profile of profiles) {
    if (profile.state === "revoked" || stores.get(profile.name)?.length === 0) continue
    for (const repository of profile.repositories)
      if (!repository.endsWith("/*"))
        byRepository.set(repository, [...(byRepository.get(repository) ?? []), profile.name])
  }
  const statements = new Map<string, { profiles: string[]; repositories: string[] }>()
  for (const [repository, names] of [...byRepository].sort()) {
    const sorted = [...names].sort()
    const key = sorted.join("+")
    const statement = statements.get(key) ?? { profiles: sorted, repositories: [] }
    statement.repositories.push(repository)
    statements.set(key, statement)
  }
  return {
    version: "1.0",
    trustPolicies: [...statements].sort().map(([name, { profiles: signers, repositories }]) => ({
      name,
      registryScopes: repositories,
      signatureVerification: { level: "strict" },
      trustStores: trustStores(
        [...new Set(signers.flatMap((profile) => stores.get(profile) ?? []))],
        signers.some((profile) => stamped.has(profile)),
      ),
      trustedIdentities: signers.map((profile) => identity(deployment, profile)),
    })),
  }
}

/** notation picks the store by the signature's scheme; with a store of timestamp roots it takes no `notary.x509` signature without a token. */
function trustStores(names: readonly string[], stamped: boolean): string[] {
  const stores = names.map((name) => `${STORE_TYPE}:${name}`)
  return stamped ? [...stores, ...names.map((name) => `ca:${name}`), `tsa:${TRUST_STORE}`] : stores
}

/** A distinguished name as notation reads it (RFC 4514 with its own order of attributes left to the reader). */
function identity(deployment: Deployment, profile: string): string {
  const { country, state, organisation } = deployment
  return `x509.subject: C=${country}, ST=${escaped(state)}, O=${escaped(organisation)}, CN=${escaped(profile)}`
}

function escaped(value: string): string {
  return value.replace(/[,+"\\<>;=]/g, "\\$&").replace(/^[ #]| $/g, "\\$&")
}
