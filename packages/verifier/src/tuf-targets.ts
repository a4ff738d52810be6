import type { TargetFile, Targets } from "@sealwright/formats/tuf"
import type { Step } from "./requests.ts"
import { loadTargets, type TufSource, type TufTrusted } from "./tuf-client.ts"
import { knownHashes, mayDelegate, Refused, requireHashes, TUF_LIMITS, type TufRefusal } from "./tuf-rules.ts"

export interface FoundTarget {
  readonly accepted: true
  /** the role that lists it */
  readonly role: string
  readonly file: TargetFile
}

export type RefusedTarget = { readonly accepted: false; readonly refusal: TufRefusal }

/**
 * Searches the roles that may speak for `path`, the most trusted first (TUF 1.0.34 §5.6.7), and reads delegated roles
 * from the source of `trusted` as it goes. A role on the way that can't be verified ends the search.
 */
export function* findTarget(trusted: TufTrusted, path: string): Step<FoundTarget | RefusedTarget> {
  return yield* answered(search(trusted, path))
}

/**
 * Finds a target, reads it and checks its length and digests.
 * @param source of target files: `<folder>/<digest>.<name>` where the repository keeps consistent snapshots, else the path
 * @param maxBytes the caller's limit, beside the length that the metadata signs
 */
export function* readTarget(
  trusted: TufTrusted,
  source: TufSource,
  path: string,
  maxBytes: number,
): Step<(FoundTarget & { readonly bytes: Uint8Array }) | RefusedTarget> {
  return yield* answered(read(trusted, source, path, maxBytes))
}

/** Checks bytes that the caller has already, a cached copy say, against the target's length and digests. */
export function* isTarget(file: TargetFile, bytes: Uint8Array): Step<boolean> {
  const answer = yield* answered(matches(file, bytes))
  return answer.accepted
}

/**
 * Where the target stands below the folder of targets.
 * @returns undefined if the path could leave that folder, or no digest of a known kind is there to name the file
 */
export function targetName(trusted: TufTrusted, path: string, file: TargetFile): string | undefined {
  if (!isSafePath(path)) return undefined
  if (!trusted.root.consistentSnapshot) return path
  const [preferred] = knownHashes(file.hashes)
  if (preferred === undefined) return undefined
  const cut = path.lastIndexOf("/") + 1
  return `${path.slice(0, cut)}${preferred[1]}.${path.slice(cut)}`
}

function* read(trusted: TufTrusted, source: TufSource, path: string, maxBytes: number) {
  const found = yield* search(trusted, path)
  const { file } = found
  if (!isSafePath(path)) throw new Refused("TUF_PATH_UNSAFE", path)
  const name = targetName(trusted, path, file)
  if (name === undefined) throw new Refused("TUF_HASH_UNKNOWN", path)
  if (file.length > maxBytes) throw new Refused("TUF_TOO_LARGE", path, `${file.length} bytes are more than ${maxBytes}`)
  const bytes = source.read(name, file.length)
  if (bytes === undefined) throw new Refused("TUF_MISSING", path, `no ${name}`)
  yield* requireHashes(bytes, path, file)
  return { ...found, bytes }
}

function* matches(file: TargetFile, bytes: Uint8Array): Step<{ accepted: true }> {
  yield* requireHashes(bytes, "target", file)
  return { accepted: true }
}

interface Visit {
  readonly role: string
  readonly signers: Parameters<typeof loadTargets>[2]
}

/** Pre-order, depth first; a role is visited once, and a terminating delegation drops all that would come after it. */
function* search(trusted: TufTrusted, path: string): Step<FoundTarget> {
  const { roles, keys } = trusted.root
  const visited = new Set<string>()
  let open: Visit[] = [{ role: "targets", signers: { role: roles.targets, keys } }]
  for (let visit = open.pop(); visit !== undefined; visit = open.pop()) {
    const { role, signers } = visit
    if (visited.has(role)) continue
    if (visited.size > TUF_LIMITS.delegations)
      throw new Refused("TUF_TOO_LARGE", path, `more than ${TUF_LIMITS.delegations} delegated roles to search`)
    visited.add(role)
    const targets = yield* loadTargets(trusted, role, signers)
    const file = targets.targets.get(path)
    if (file !== undefined) return { accepted: true, role, file }
    const next = yield* delegationsFor(targets, path)
    open = [...(next.terminated ? [] : open), ...next.visits.reverse()]
  }
  throw new Refused("TUF_TARGET_UNKNOWN", path)
}

function* delegationsFor({ delegations }: Targets, path: string): Step<{ visits: Visit[]; terminated: boolean }> {
  const visits: Visit[] = []
  if (delegations === undefined) return { visits, terminated: false }
  for (const role of delegations.roles) {
    if (!(yield* mayDelegate(role, path))) continue
    visits.push({ role: role.name, signers: { role, keys: delegations.keys } })
    if (role.terminating) return { visits, terminated: true }
  }
  return { visits, terminated: false }
}

/** Relative, `/` alone between names, no empty, `.` or `..` name, nothing that a file system reads otherwise. */
function isSafePath(path: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses
  if (/[\u0000-\u001f\u007f\\:]/.test(path)) return false
  return path.split("/").every((part) => part !== "" && part !== "." && part !== "..")
}

function* answered<T>(step: Step<T>): Step<T | RefusedTarget> {
  try {
    return yield* step
  } catch (error) {
    if (error instanceof Refused) return { accepted: false, refusal: error.refusal }
    throw error
  }
}
