import { parseRepository, type Reference } from "@sealwright/formats/oci-reference"
import { array, boolean, mismatch, object, oneOf, type Reader, string } from "@sealwright/formats/shape"
import { parseJson } from "@sealwright/formats/strict-json"
import { type Identity, MAX_POLICY_BYTES, type PolicyChecks, parseIdentity, type TrustPolicy } from "./trust-policy.ts"
import {
  ANY_SCOPE,
  certificateBytes,
  type Loaded,
  loaded,
  PolicyRefused,
  type TrustedEntity,
  trustedCertificate,
} from "./trust-store.ts"

/**
 * Gives the files of one of notation's stores, `truststore/x509/<type>/<name>/`, or undefined when there is no such folder. The name
 * has letters, digits, `.`, `_` and `-` alone, and is neither `.` nor `..`.
 */
export type ReadStore = (type: "ca" | "signingAuthority" | "tsa", name: string) => readonly Uint8Array[] | undefined

/** One statement of a trustpolicy.json. */
export interface NotationStatement {
  readonly name: string
  /** repositories, or `*` alone */
  readonly scopes: readonly string[]
  readonly policy: TrustPolicy
}

/**
 * Imports notation's trustpolicy.json, version 1.0. What can't be kept exactly is refused: a log-only check of authenticity or of
 * authentic timestamps, plugins, wildcards among repositories.
 */
export function importNotationPolicy(
  bytes: Uint8Array,
  readStore: ReadStore,
): Loaded<{ statements: readonly NotationStatement[] }> {
  return loaded("POLICY_MALFORMED", () => {
    const { trustPolicies } = documentShape(parseJson(bytes, { maxBytes: MAX_POLICY_BYTES }), "")
    const statements = trustPolicies.map((read) => statementOf(read, readStore))
    requireUnique(statements.map(({ name }) => name))
    requireUnique(statements.flatMap(({ scopes }) => scopes))
    return { statements }
  })
}

/** The statement that counts for a reference: the one that lists its repository, else the one for all. */
export function policyForReference(
  statements: readonly NotationStatement[],
  reference: Pick<Reference, "registry" | "repository">,
): TrustPolicy | undefined {
  const repository = `${reference.registry}/${reference.repository}`
  const found = statements.find(({ scopes }) => scopes.includes(repository))
  return (found ?? statements.find(({ scopes }) => scopes.includes("*")))?.policy
}

const enforcement = oneOf("enforce", "log", "skip")
const scope: Reader<string> = (value, at) => {
  const text = string(255)(value, at)
  if (text !== "*") parseRepository(text)
  return text
}
const statementShape = object(
  {
    name: string(256, /./),
    registryScopes: array(scope, 1000, 1),
    signatureVerification: object(
      { level: oneOf("strict", "permissive", "audit", "skip") },
      {
        override: object(
          {},
          {
            integrity: enforcement,
            authenticity: enforcement,
            authenticTimestamp: enforcement,
            expiry: enforcement,
            revocation: enforcement,
          },
        ),
        verifyTimestamp: oneOf("always", "afterCertExpiry"),
      },
    ),
  },
  {
    trustStores: array(string(300, /^(?:ca|signingAuthority|tsa):[A-Za-z0-9_.-]+$/), 100, 1),
    trustedIdentities: array(string(1024), 1000, 1),
    globalPolicy: boolean,
  },
)
const documentShape = object({ version: oneOf("1.0"), trustPolicies: array(statementShape, 1000, 1) })
type ReadStatement = ReturnType<typeof statementShape>

function statementOf(read: ReadStatement, readStore: ReadStore): NotationStatement {
  const { name, registryScopes: scopes } = read
  if (read.globalPolicy !== undefined) throw unsupported(`${name}: globalPolicy belongs to a policy for blobs`)
  if (scopes.length > 1 && scopes.includes("*")) throw mismatch(name, "lists `*` beside repositories")
  const checks = checksOf(read)
  const { trustStores, trustedIdentities } = read
  if (!checks.signature) {
    if (scopes.includes("*")) throw mismatch(name, "skips verification for every repository")
    if (trustStores ?? trustedIdentities)
      throw mismatch(name, "skips verification and names trust stores or identities")
  } else if (trustStores === undefined || trustedIdentities === undefined)
    throw mismatch(name, "names no trust stores or no identities")
  return {
    name,
    scopes,
    policy: {
      checks,
      scoped: [],
      parties: [
        {
          name: "",
          entities: (trustStores ?? [])
            .filter((store) => !store.startsWith(TSA))
            .flatMap((store) => storeOf(store, readStore)),
          identities: identitiesOf(trustedIdentities ?? [], name),
        },
      ],
      atLeast: 1,
      trustedArtifacts: [],
      algorithms: undefined,
      requiredAlgorithms: [],
      maxStaleSec: undefined,
      timestamps: {
        roots: (trustStores ?? [])
          .filter((store) => store.startsWith(TSA))
          .flatMap((store) => timestampStoreOf(store, readStore)),
        required: read.signatureVerification.verifyTimestamp ?? "always",
      },
      requireAllowList: false,
      requireLog: false,
      logPolicy: undefined,
      acceptNewRoots: false,
    },
  }
}

const ENFORCE_ALL = { authenticity: "enforce", authenticTimestamp: "enforce", expiry: "enforce", revocation: "enforce" }
const LEVELS: Readonly<Record<"strict" | "permissive" | "audit", Readonly<Record<keyof typeof ENFORCE_ALL, string>>>> =
  {
    strict: ENFORCE_ALL,
    permissive: { ...ENFORCE_ALL, authenticTimestamp: "log", expiry: "log", revocation: "log" },
    audit: { authenticity: "log", authenticTimestamp: "log", expiry: "log", revocation: "log" },
  }

/** A check that notation only logs is off here, and said aloud in every verdict. */
function checksOf({ name, signatureVerification: { level, override } }: ReadStatement): PolicyChecks {
  if (level === "skip") {
    if (override !== undefined) throw mismatch(name, "skips verification and overrides a check")
    return { signature: false, expiry: false, rescinded: false }
  }
  if (override?.integrity !== undefined) throw mismatch(name, "overrides integrity")
  for (const [check, value] of Object.entries(override ?? {}))
    if (value === "skip" && check !== "revocation") throw mismatch(name, `skips ${check}, which can't be skipped`)
  const checks = { ...LEVELS[level], ...override }
  if (checks.authenticity !== "enforce") throw unsupported(`${name}: authenticity is always enforced here`)
  if (checks.authenticTimestamp !== "enforce")
    throw unsupported(`${name}: authenticTimestamp is always enforced here; override it with "enforce"`)
  return { signature: true, expiry: checks.expiry === "enforce", rescinded: checks.revocation === "enforce" }
}

const TSA = "tsa:"

function storeOf(store: string, readStore: ReadStore): readonly TrustedEntity[] {
  const isCa = store.startsWith("ca:")
  const signingScheme = isCa ? "notary.x509" : "notary.x509.signingAuthority"
  return filesOf(store, isCa ? "ca" : "signingAuthority", readStore).map((file) =>
    trustedCertificate(certificateBytes(file), ANY_SCOPE, signingScheme),
  )
}

/** notation takes self-signed roots alone as timestamp authorities. */
function timestampStoreOf(store: string, readStore: ReadStore): readonly Uint8Array[] {
  return filesOf(store, "tsa", readStore).map((file) => {
    const entity = trustedCertificate(certificateBytes(file), ANY_SCOPE)
    if (entity.kind !== "root") throw mismatch(store, "has a certificate that is not a root")
    return entity.certificate
  })
}

function filesOf(store: string, type: Parameters<ReadStore>[0], readStore: ReadStore): readonly Uint8Array[] {
  const name = store.slice(store.indexOf(":") + 1)
  if (name === "." || name === "..") throw mismatch(store, "is no name of a store")
  const files = readStore(type, name)
  if (files === undefined || files.length === 0) throw new PolicyRefused("STORE_MISSING", store)
  return files
}

/** `*` alone is anybody; otherwise each is `x509.subject: …`, and none is a part of another. */
function identitiesOf(texts: readonly string[], name: string): readonly Identity[] {
  if (texts.includes("*")) {
    if (texts.length > 1) throw mismatch(name, "lists `*` beside identities")
    return []
  }
  const identities = texts.map((text) => {
    if (!text.startsWith("x509.subject:")) throw unsupported(`${name}: an identity that is not x509.subject`)
    return parseIdentity(text, name)
  })
  for (const [i, a] of identities.entries())
    for (const b of identities.slice(i + 1))
      if (includes(a, b) || includes(b, a)) throw mismatch(name, "has identities that overlap")
  return identities
}

function includes(a: Identity, b: Identity): boolean {
  if (a.kind !== "subject" || b.kind !== "subject") return false
  return [...a.attributes].every(([oid, value]) => b.attributes.get(oid) === value)
}

function requireUnique(names: readonly string[]): void {
  if (new Set(names).size !== names.length) throw mismatch("trustPolicies", "name a statement or a scope twice")
}

function unsupported(detail: string): PolicyRefused {
  return new PolicyRefused("POLICY_UNSUPPORTED", detail)
}
