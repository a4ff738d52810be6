import { bytesEqual, utf8Decode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import type { SigningScheme } from "@sealwright/formats/notary-jws"
import { parseReference, type Reference } from "@sealwright/formats/oci-reference"
import { pemDecodeLenient } from "@sealwright/formats/pem"
import { array, mismatch, object, type Reader, string } from "@sealwright/formats/shape"
import { type JsonValue, parseJsonWithRawPem } from "@sealwright/formats/strict-json"
import { type Certificate, parseCertificate } from "@sealwright/formats/x509"

export const MAX_STORE_BYTES = 4 * 1024 * 1024
const MAX_ROOTS = 1000
const MAX_PEM = 65_536

/** Where a trusted entity counts (R20). A repository counts for itself alone, not for those below it. */
export type Scope =
  | { readonly kind: "any" }
  | { readonly kind: "registry"; readonly registry: string }
  | { readonly kind: "repository"; readonly registry: string; readonly repository: string }
  | { readonly kind: "target"; readonly reference: Reference }

export const ANY_SCOPE: Scope = { kind: "any" }

/**
 * `registry`, `registry/repository`, or one target: `registry/repository:tag`, `registry/repository@digest`, or both.
 * @throws FormatError REFERENCE_MALFORMED, DIGEST_MALFORMED
 */
export function parseScope(text: string): Scope {
  if (!text.includes("/")) return { kind: "registry", registry: parseReference(`${text}/x`).registry }
  const reference = parseReference(text)
  const { registry, repository } = reference
  if (reference.tag === undefined && reference.digest === undefined) return { kind: "repository", registry, repository }
  return { kind: "target", reference }
}

/**
 * @param reference where the artifact is to be taken from; undefined for an artifact without a name, which only "any source" covers
 * @param digest of the artifact
 */
export function scopeMatches(scope: Scope, reference: Reference | undefined, digest: string): boolean {
  if (scope.kind === "any") return true
  if (reference === undefined) return false
  if (scope.kind === "registry") return scope.registry === reference.registry
  const { registry, repository } = scope.kind === "repository" ? scope : scope.reference
  if (registry !== reference.registry || repository !== reference.repository) return false
  if (scope.kind === "repository") return true
  const { tag, digest: wanted } = scope.reference
  return (tag === undefined || tag === reference.tag) && (wanted === undefined || wanted === digest)
}

/** How narrow a scope is: a target beats a repository, a repository a registry. */
export function scopeRank(scope: Scope): number {
  return ["any", "registry", "repository", "target"].indexOf(scope.kind)
}

/** A certificate that the deployer trusts, or the address of a published trust bundle whose roots count. */
export type TrustedEntity = { readonly scope: Scope } & (
  | {
      readonly kind: "root" | "intermediate" | "signing key"
      readonly certificate: Uint8Array
      /** undefined: whatever the signing scheme */
      readonly signingScheme?: SigningScheme
    }
  | { readonly kind: "key repository"; readonly address: string }
)

/**
 * Gives the content of a file that a policy or store names, or undefined. The name is the policy's own text: the caller decides
 * which names are safe.
 */
export type ReadFile = (name: string) => Uint8Array | undefined

/** Why a policy or store was not loaded. */
export const POLICY_CODES = {
  POLICY_MALFORMED: "the policy is not what its format says",
  POLICY_UNSUPPORTED: "the policy asks for something that this verifier can't keep",
  STORE_MISSING: "a file that the policy or a store names is not there",
  STORE_MALFORMED: "a trust store is not what its format says, or a certificate can't be read",
} as const

export type PolicyCode = keyof typeof POLICY_CODES

/** Ends the loading of a policy; never leaves this package. */
export class PolicyRefused extends Error {
  readonly code: PolicyCode
  readonly detail: string

  constructor(code: PolicyCode, detail: string) {
    super(`${code}: ${detail}`)
    this.code = code
    this.detail = detail
  }
}

export type Loaded<T> =
  | ({ readonly ok: true } & T)
  | { readonly ok: false; readonly code: PolicyCode; readonly detail: string }

/** Runs a loader: refusals become values, faults of this package and of the caller's `readFile` pass through. */
export function loaded<T>(code: PolicyCode, load: () => T): Loaded<T> {
  try {
    return { ok: true, ...load() }
  } catch (error) {
    if (error instanceof PolicyRefused) return { ok: false, code: error.code, detail: error.detail }
    if (error instanceof FormatError) return { ok: false, code, detail: error.message }
    throw error
  }
}

/** Reads a store that is named by its file: `{"trustedRoots": […]}`. */
export function loadTrustStore(bytes: Uint8Array, readFile: ReadFile): Loaded<{ entities: readonly TrustedEntity[] }> {
  return loaded("STORE_MALFORMED", () => ({ entities: parseStore(bytes, readFile) }))
}

/** @throws FormatError, PolicyRefused */
export function parseStore(bytes: Uint8Array, readFile: ReadFile): readonly TrustedEntity[] {
  return readStore(parseJsonWithRawPem(bytes, { maxBytes: MAX_STORE_BYTES }), "store", readFile)
}

/** @throws FormatError, PolicyRefused */
export function readStore(value: JsonValue, at: string, readFile: ReadFile): readonly TrustedEntity[] {
  const { trustedRoots } = object({ trustedRoots: rootsReader(readFile) })(value, at)
  return trustedRoots
}

/** A list of `{root, scope?}`. */
export function rootsReader(readFile: ReadFile): Reader<readonly TrustedEntity[]> {
  const entry: Reader<TrustedEntity> = (value, at) => {
    const { root, scope } = object({ root: string(MAX_PEM) }, { scope: string(512) })(value, at)
    return readRoot(root, scope === undefined ? ANY_SCOPE : parseScope(scope), at, readFile)
  }
  return array(entry, MAX_ROOTS)
}

/** A list of timestamp roots: PEM text or a file's name each, self-signed CA certificates. They count for any source. */
export function timestampRootsReader(readFile: ReadFile): Reader<readonly Uint8Array[]> {
  const entry: Reader<Uint8Array> = (value, at) => {
    const entity = readRoot(string(MAX_PEM)(value, at), ANY_SCOPE, at, readFile)
    if (entity.kind !== "root") throw mismatch(at, "is not a root")
    return entity.certificate
  }
  return array(entry, 100)
}

function readRoot(root: string, scope: Scope, at: string, readFile: ReadFile): TrustedEntity {
  if (/^https?:\/\//.test(root)) return { kind: "key repository", address: root, scope }
  if (root.trimStart().startsWith(PEM_START)) return trustedCertificate(fromPem(root), scope)
  if (root.trim() === "") throw mismatch(`${at}.root`, "is empty")
  return trustedCertificate(certificateFile(root, readFile), scope)
}

/** @throws PolicyRefused STORE_MISSING, STORE_MALFORMED */
export function certificateFile(name: string, readFile: ReadFile): Uint8Array {
  const bytes = readFile(name)
  if (bytes === undefined) throw new PolicyRefused("STORE_MISSING", name)
  return certificateBytes(bytes)
}

/** DER, or the one PEM block of a text. */
export function certificateBytes(bytes: Uint8Array): Uint8Array {
  return bytes[0] === 0x30 ? bytes : fromPem(utf8Decode(bytes.subarray(0, MAX_PEM)))
}

const PEM_START = "-----BEGIN "

function fromPem(text: string): Uint8Array {
  return pemDecodeLenient("CERTIFICATE", text)
}

/** @throws FormatError when the bytes are not a certificate */
export function trustedCertificate(der: Uint8Array, scope: Scope, signingScheme?: SigningScheme): TrustedEntity {
  const kind = kindOf(readTrusted(der))
  return { kind, certificate: der, scope, ...(signingScheme && { signingScheme }) }
}

function readTrusted(der: Uint8Array): Certificate {
  try {
    return parseCertificate(der)
  } catch (error) {
    if (error instanceof FormatError) throw new PolicyRefused("STORE_MALFORMED", error.message)
    throw error
  }
}

function kindOf({ basicConstraints, issuer, subject }: Certificate): "root" | "intermediate" | "signing key" {
  if (basicConstraints?.ca !== true) return "signing key"
  return bytesEqual(issuer.der, subject.der) ? "root" : "intermediate"
}
