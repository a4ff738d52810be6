import { utf8 } from "@sealwright/formats/bytes"
import { BUNDLE_MARKER, BUNDLE_TYPE, type OpenedBundle, openBundle } from "@sealwright/verifier/bundle"
import { runSync } from "@sealwright/verifier/node-crypto"
import type { BundleFloors } from "@sealwright/verifier/state"
import type { Fetcher } from "./bundles/fetcher.ts"
import { CommandFailure, EXIT } from "./exit.ts"
import { readFileLimited } from "./files.ts"

const MAX_FILES = 20_000

/** What a publisher serves, verified. */
export interface FetchedTrust {
  readonly bundle: OpenedBundle
  /** every file that verifying read, by its path in a bundle */
  readonly files: ReadonlyMap<string, Uint8Array>
  /** bodies received */
  readonly bytesFetched: number
  /** what the same files would have been, all fetched anew */
  readonly bytesOfFullCopy: number
}

class NotFetched extends Error {
  readonly path: string
  readonly maxBytes: number

  constructor(path: string, maxBytes: number) {
    super(path)
    this.path = path
    this.maxBytes = maxBytes
  }
}

/**
 * Fetches and verifies a publisher's trust data: TUF metadata from the pinned root on, lists and every CRL. Files that are at hand already are not
 * fetched again, but for the timestamp. Nothing is written.
 * @param trustUrl the published TUF repository; its files stand below, `targets/` among them
 * @throws CommandFailure when a file can't be had or what is served doesn't verify
 */
export async function fetchTrust(
  trustUrl: string,
  pinnedRoot: Uint8Array,
  now: Date,
  floors: BundleFloors | undefined,
  atHand: (path: string, maxBytes: number) => Uint8Array | undefined,
  fetcher: Fetcher,
): Promise<FetchedTrust> {
  const files = new Map<string, Uint8Array | undefined>([
    [BUNDLE_MARKER, utf8(JSON.stringify({ mediaType: BUNDLE_TYPE }))],
  ])
  const read = (path: string, maxBytes: number): Uint8Array | undefined => {
    if (files.has(path)) return files.get(path)
    const kept = isMutable(path) ? undefined : atHand(path, maxBytes)
    if (kept === undefined) throw new NotFetched(path, maxBytes)
    files.set(path, kept)
    return kept
  }
  let fetched = 0
  // What is missing is fetched, and the step that wanted it done again: CRLs by themselves, or each would cost all of the bundle once more.
  const fetching = async <T>(step: () => T): Promise<T> => {
    for (; fetched < MAX_FILES; fetched++)
      try {
        return step()
      } catch (error) {
        if (!(error instanceof NotFetched)) throw error
        files.set(error.path, await fetchFile(fetcher, trustUrl, error.path, error.maxBytes))
      }
    throw new CommandFailure(EXIT.unavailable, "TOO_MANY_FILES", `${trustUrl} wants more than ${MAX_FILES} files`)
  }
  const bundle = await fetching(() => runSync(openBundle({ read, pinnedRoot, now, ...(floors && { floors }) })))
  if (!bundle.ok)
    throw new CommandFailure(
      EXIT.rejected,
      bundle.code,
      `${bundle.subject}: ${bundle.detail}`,
      "What is served was not taken over; the bundle is as it was.",
    )
  for (const issuerKeyId of bundle.crlKeyIds) await fetching(() => runSync(bundle.crl(issuerKeyId)))
  const present = [...files].filter(
    (entry): entry is [string, Uint8Array] => entry[1] !== undefined && entry[0] !== BUNDLE_MARKER,
  )
  const bytesOfFullCopy = present.reduce((sum, [, bytes]) => sum + bytes.length, 0)
  return { bundle, files: new Map(present), bytesFetched: fetcher.bytesFetched, bytesOfFullCopy }
}

/** Roots may appear, and the timestamp changes; everything else is named by version or digest. */
function isMutable(path: string): boolean {
  return path === "tuf/timestamp.json" || path.endsWith(".root.json")
}

/** Targets stand under their digest, so they are fetched as known files; the timestamp is a head; other metadata is named by version. */
async function fetchFile(
  fetcher: Fetcher,
  trustUrl: string,
  path: string,
  maxBytes: number,
): Promise<Uint8Array | undefined> {
  const url = `${trustUrl.replace(/\/$/, "")}/${path.replace(/^tuf\//, "")}`
  if (path === "tuf/timestamp.json") return await fetcher.head(url, maxBytes)
  const sha256 = /^tuf\/targets\/(?:[^/]+\/)*([0-9a-f]{64})\.[^/]+$/.exec(path)?.[1]
  if (sha256 === undefined) return await fetcher.file(url, maxBytes)
  const file = await fetcher.known(url, { sha256, maxBytes })
  return file === undefined ? undefined : readFileLimited(file, maxBytes)
}
