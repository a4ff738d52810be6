import { base64Encode, bytesEqual } from "@sealwright/formats/bytes"
import type { JsonObject } from "@sealwright/formats/strict-json"
import type { TrustBundle } from "@sealwright/formats/trust-bundle"
import { parseCertificate } from "@sealwright/formats/x509"
import { EXTENSION, readExtension } from "@sealwright/formats/x509-extensions"
import { crlUrl } from "../admin/certificates.ts"
import { type Deployment, EXTRA_ALGORITHM, type Issuer, isWrappedIssuer, type Profile } from "../model.ts"
import { isStamped, outsideAuthorityOf } from "../sign/rules.ts"
import type { Snapshot } from "./snapshot.ts"

const NOTATION_TREE_TYPE = "application/vnd.sealwright.notation-tree.v1+json"
const STORE_TYPE = "signingAuthority"
const TRUST_STORE = "sealwright"
/** Stands for the roots among signing authorities once an issuer is wrapped: whoever copies its key could date as he likes below a root. */
const ISSUERS_STORE = "sealwright-issuers"

/**
 * What notation wants on a verifier's disk (D9): its trust policy, its trust store, and for each CRL URL that our certificates
 * name which published list answers it. It names repositories, so it is not public.
 */
export function notationTree(snapshot: Snapshot, bundle: TrustBundle, ownRoots: readonly Issuer[]): JsonObject {
  const { deployment } = snapshot
  const issuers = snapshot.issuers.filter(isKnownToNotation)
  const ownCertificates = bundle.roots.filter(
    (der) => !ownRoots.some((root) => !isKnownToNotation(root) && bytesEqual(root.certificate, der)),
  )
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
  const timestampStores = timestampStoresOf(snapshot, bundle, ownCertificates)
  const wrapped = issuers.some(isWrappedIssuer)
  const believed = wrapped ? believedIssuers(issuers, bundle) : []
  if (believed.length > 0) externalStores.push({ type: STORE_TYPE, name: ISSUERS_STORE, certificates: believed })
  return {
    mediaType: NOTATION_TREE_TYPE,
    epoch: snapshot.epoch,
    trustPolicy: trustPolicy(snapshot, new Set(roots.keys()), wrapped),
    trustStore: {
      type: wrapped ? "ca" : STORE_TYPE,
      name: TRUST_STORE,
      certificates: ownCertificates.map(base64Encode),
    },
    ...(externalStores.length > 0 && { externalStores }),
    ...(timestampStores.length > 0 && { timestampStores }),
    crls: [
      ...[...new Set([...ownRoots.filter(isKnownToNotation), ...issuers].map(({ issuerKeyId }) => issuerKeyId))].map(
        (issuerKeyId) => ({
          url: crlUrl(deployment.crlHost, issuerKeyId),
          target: `lists/${issuerKeyId}.crl`,
        }),
      ),
      ...snapshot.outsideCrls.flatMap(({ issuerKeyId, authority }) =>
        [...crlUrlsBelow(parseCertificate(authority).spki, issuers)].map((url) => ({
          url,
          target: `lists/${issuerKeyId}.crl`,
        })),
      ),
    ],
  }
}

/** Where certificates of an outside authority, in the chains of our issuers, say that its CRL is. Stock clients fetch plain http alone. */
function crlUrlsBelow(spki: Uint8Array, issuers: readonly Issuer[]): ReadonlySet<string> {
  const urls = new Set<string>()
  for (const { certificate, chain } of issuers.filter(({ external }) => external))
    for (const [at, above] of chain.entries()) {
      const below = at === 0 ? certificate : (chain[at - 1] as Uint8Array)
      if (!bytesEqual(parseCertificate(above).spki, spki)) continue
      for (const url of readExtension(parseCertificate(below).extensions, EXTENSION.crlDistributionPoints) ?? [])
        if (/^http:\/\/[!-~]{1,2000}$/.test(url)) urls.add(url)
    }
  return urls
}

/** Issuers below the publisher's own roots whose keys never leave KMS. The root as an issuer is none: its certificate would stand for all others. */
function believedIssuers(issuers: readonly Issuer[], { roots }: TrustBundle): string[] {
  return issuers
    .filter((issuer) => !isWrappedIssuer(issuer))
    .filter(({ chain }) => roots.some((root) => bytesEqual(root, chain.at(-1) ?? new Uint8Array(0))))
    .map(({ certificate }) => base64Encode(certificate))
}

/** Its trust store refuses a root whose algorithm it can't verify, and with it every signature. */
function isKnownToNotation({ key }: Issuer): boolean {
  return key.scheme !== EXTRA_ALGORITHM
}

/** The root of an outside authority may certify others too, so it counts only for the profiles that use its issuer. */
function externalStore(issuer: string): string {
  return `${TRUST_STORE}-issuer-${issuer}`
}

/** The authorities that profiles are stamped by, each with those of its roots that the trust bundle has. */
function timestampStoresOf(
  { profiles, outside }: Snapshot,
  bundle: TrustBundle,
  ownCertificates: readonly Uint8Array[],
) {
  const trusted = new Set((bundle.timestampRoots ?? []).map(base64Encode))
  const stores = new Set(profiles.flatMap(timestampStoreOf))
  return [
    { name: TRUST_STORE, certificates: ownCertificates.map(base64Encode) },
    ...outside.map(({ name, roots }) => ({
      name: outsideStore(name),
      certificates: roots.map(base64Encode).filter((root) => trusted.has(root)),
    })),
  ].filter(({ name, certificates }) => stores.has(name) && certificates.length > 0)
}

function timestampStoreOf({ timestamp }: Profile): string[] {
  const outside = outsideAuthorityOf(timestamp)
  if (outside !== undefined) return [outsideStore(outside)]
  return isStamped(timestamp) ? [TRUST_STORE] : []
}

function outsideStore(authority: string): string {
  return `${TRUST_STORE}-outside-${authority}`
}

/**
 * One statement for each set of profiles that share repositories: notation takes a repository in one statement only. Scopes that end
 * in `/*` are left out: notation knows exact repositories alone. A statement trusts exactly its profiles' identities, under the roots that
 * certify them.
 */
function trustPolicy(
  { deployment, profiles, issuers }: Snapshot,
  trusted: ReadonlySet<string>,
  wrapped: boolean,
): JsonObject {
  const external = new Set(issuers.filter((issuer) => issuer.external).map(({ name }) => name))
  const storesOf = ({ issuer, former }: Profile) =>
    [issuer, ...former.issuers].flatMap((name) => {
      if (!external.has(name)) return [TRUST_STORE]
      return trusted.has(name) ? [externalStore(name)] : []
    })
  const stores = new Map(profiles.map((profile) => [profile.name, storesOf(profile)]))
  const namesOf = (signers: readonly string[]) => [...new Set(signers.flatMap((profile) => stores.get(profile) ?? []))]
  const stamping = new Map(profiles.map((profile) => [profile.name, timestampStoreOf(profile)]))
  const isPlain = (profile: string) => stamping.get(profile)?.length === 0
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
        namesOf(signers.filter(isPlain)),
        namesOf(signers.filter((profile) => !isPlain(profile))),
        [...new Set(signers.flatMap((profile) => stamping.get(profile) ?? []))],
        wrapped,
      ),
      trustedIdentities: signers.map((profile) => identity(deployment, profile)),
    })),
  }
}

/**
 * notation picks the store by the signature's scheme, so each profile has the one of its own scheme alone; with a store of timestamp roots notation takes
 * no `notary.x509` signature without a token.
 * @param plain stores of the profiles without timestamps
 * @param stamped stores of those with
 * @param stamping stores of the authorities that stamp them
 */
function trustStores(
  plain: readonly string[],
  stamped: readonly string[],
  stamping: readonly string[],
  wrapped: boolean,
): string[] {
  const authorities = plain.map((name) => `${STORE_TYPE}:${wrapped && name === TRUST_STORE ? ISSUERS_STORE : name}`)
  return [...authorities, ...stamped.map((name) => `ca:${name}`), ...stamping.map((name) => `tsa:${name}`)]
}

/** A distinguished name as notation reads it (RFC 4514 with its own order of attributes left to the reader). */
function identity(deployment: Deployment, profile: string): string {
  const { country, state, organisation } = deployment
  return `x509.subject: C=${country}, ST=${escaped(state)}, O=${escaped(organisation)}, CN=${escaped(profile)}`
}

function escaped(value: string): string {
  return value.replace(/[,+"\\<>;=]/g, "\\$&").replace(/^[ #]| $/g, "\\$&")
}
