import { base64Encode } from "@sealwright/formats/bytes"
import type { JsonObject } from "@sealwright/formats/strict-json"
import { crlUrl } from "../admin/certificates.ts"
import type { Deployment, Profile } from "../model.ts"
import type { Snapshot } from "./snapshot.ts"

const NOTATION_TREE_TYPE = "application/vnd.sealwright.notation-tree.v1+json"
const TRUST_STORE = "sealwright"

/**
 * What notation wants on a verifier's disk (D9): its trust policy, its trust store, and for each CRL URL that our certificates
 * name which published list answers it. It names repositories, so it is not public.
 */
export function notationTree(snapshot: Snapshot): JsonObject {
  const { deployment, issuers } = snapshot
  return {
    mediaType: NOTATION_TREE_TYPE,
    epoch: snapshot.epoch,
    trustPolicy: trustPolicy(deployment, snapshot.profiles),
    trustStore: {
      type: "signingAuthority",
      name: TRUST_STORE,
      certificates: [base64Encode(deployment.root.certificate)],
    },
    ...(snapshot.profiles.some(isStamped) && {
      timestampStore: { name: TRUST_STORE, certificates: [base64Encode(deployment.root.certificate)] },
    }),
    crls: [deployment.root, ...issuers].map(({ issuerKeyId }) => ({
      url: crlUrl(deployment.crlHost, issuerKeyId),
      target: `lists/${issuerKeyId}.crl`,
    })),
  }
}

const STORES = [`signingAuthority:${TRUST_STORE}`]
/** notation picks the store by the signature's scheme; with a store of timestamp roots it takes no `notary.x509` signature without a token. */
const STAMPED_STORES = [...STORES, `ca:${TRUST_STORE}`, `tsa:${TRUST_STORE}`]

function isStamped({ timestamp }: Profile): boolean {
  return timestamp === "own"
}

/**
 * One statement for each set of profiles that share repositories: notation takes a repository in one statement only. Scopes that end
 * in `/*` are left out: notation knows exact repositories alone. A statement trusts exactly its profiles' identities.
 */
function trustPolicy(deployment: Deployment, profiles: readonly Profile[]): JsonObject {
  const stamped = new Set(profiles.filter(isStamped).map(({ name }) => name))
  const byRepository = new Map<string, string[]>()
  for (const profile of profiles) {
    if (profile.state === "revoked") continue
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
    trustPolicies: [...statements].sort().map(([name, { profiles: trusted, repositories }]) => ({
      name,
      registryScopes: repositories,
      signatureVerification: { level: "strict" },
      trustStores: trusted.some((profile) => stamped.has(profile)) ? STAMPED_STORES : STORES,
      trustedIdentities: trusted.map((profile) => identity(deployment, profile)),
    })),
  }
}

/** A distinguished name as notation reads it (RFC 4514 with its own order of attributes left to the reader). */
function identity(deployment: Deployment, profile: string): string {
  const { country, state, organisation } = deployment
  return `x509.subject: C=${country}, ST=${escaped(state)}, O=${escaped(organisation)}, CN=${escaped(profile)}`
}

function escaped(value: string): string {
  return value.replace(/[,+"\\<>;=]/g, "\\$&").replace(/^[ #]| $/g, "\\$&")
}
