import { FormatError } from "./errors.ts"
import { parseDigest } from "./oci.ts"

/** Longest `registry/repository`, in characters. */
export const MAX_REPOSITORY_LENGTH = 255

export interface Reference {
  /** host and optional port, as written */
  readonly registry: string
  /** path below the registry */
  readonly repository: string
  readonly tag: string | undefined
  readonly digest: string | undefined
}

const HOST =
  /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]{2,39}\])(?::([1-9][0-9]{0,4}))?$/
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/

/**
 * `registry/repository[:tag][@digest]` by the grammar of the distribution-spec. The registry is always named: no default host,
 * no default namespace. Host names are lower case, so that one registry has one spelling.
 * @throws FormatError REFERENCE_MALFORMED, DIGEST_MALFORMED
 */
export function parseReference(text: string): Reference {
  if (text.length > MAX_REPOSITORY_LENGTH + 1 + 128 + 1 + 135) throw malformed("longer than any reference")
  const at = text.indexOf("@")
  const digest = at < 0 ? undefined : text.slice(at + 1)
  if (digest !== undefined) parseDigest(digest)
  const named = at < 0 ? text : text.slice(0, at)
  const slash = named.indexOf("/")
  if (slash < 0) throw malformed("no registry before a slash")
  const registry = named.slice(0, slash)
  const colon = named.indexOf(":", slash)
  const repository = colon < 0 ? named.slice(slash + 1) : named.slice(slash + 1, colon)
  const tag = colon < 0 ? undefined : named.slice(colon + 1)
  checkRegistry(registry)
  if (registry.length + 1 + repository.length > MAX_REPOSITORY_LENGTH) throw malformed("a name above 255 characters")
  if (!REPOSITORY.test(repository)) throw malformed("a repository outside the grammar")
  if (tag !== undefined && !TAG.test(tag)) throw malformed("a tag outside the grammar")
  return { registry, repository, tag, digest }
}

/**
 * `registry/repository` without tag and digest, as policies and profiles list repositories.
 * @throws FormatError REFERENCE_MALFORMED
 */
export function parseRepository(text: string): { readonly registry: string; readonly repository: string } {
  const { registry, repository, tag, digest } = parseReference(text)
  if (tag !== undefined || digest !== undefined) throw malformed("a tag or digest after a repository")
  return { registry, repository }
}

export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`
  const digest = reference.digest === undefined ? "" : `@${reference.digest}`
  return `${reference.registry}/${reference.repository}${tag}${digest}`
}

function checkRegistry(registry: string): void {
  const found = HOST.exec(registry)
  if (found === null || Number(found[1] ?? 0) > 65_535)
    throw malformed("a registry that is not host[:port] in lower case")
}

function malformed(detail: string): FormatError {
  return new FormatError("REFERENCE_MALFORMED", detail)
}
