import { utf8 } from "@sealwright/formats/bytes"
import { BUNDLE_MARKER, BUNDLE_TYPE, type OpenedBundle, openBundle } from "@sealwright/verifier/bundle"
import { runSync } from "@sealwright/verifier/node-crypto"
import type { BundleFloors } from "@sealwright/verifier/state"
import { CommandFailure, EXIT } from "./exit.ts"

const TIMEOUT_MS = 60_000
const ATTEMPTS = 3
const MAX_FILES = 20_000

/** What a publisher serves, verified. */
export interface FetchedTrust {
  readonly bundle: OpenedBundle
  /** every file that verifying read, by its path in a bundle */
  readonly files: ReadonlyMap<string, Uint8Array>
  readonly bytesFetched: number
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
): Promise<FetchedTrust> {
  const files = new Map<string, Uint8Array | undefined>([
    [BUNDLE_MARKER, utf8(JSON.stringify({ mediaType: BUNDLE_TYPE }))],
  ])
  let bytesFetched = 0
  const read = (path: string, maxBytes: number): Uint8Array | undefined => {
    if (files.has(path)) return files.get(path)
    const kept = isMutable(path) ? undefined : atHand(path, maxBytes)
    if (kept === undefined) throw new NotFetched(path, maxBytes)
    files.set(path, kept)
    return kept
  }
  for (let round = 0; round < MAX_FILES; round++) {
    try {
      const bundle = runSync(openBundle({ read, pinnedRoot, now, ...(floors && { floors }) }))
      if (!bundle.ok)
        throw new CommandFailure(
          EXIT.rejected,
          bundle.code,
          `${bundle.subject}: ${bundle.detail}`,
          "What is served was not taken over; the bundle is as it was.",
        )
      for (const issuerKeyId of bundle.crlKeyIds) runSync(bundle.crl(issuerKeyId))
      const present = [...files].filter(
        (entry): entry is [string, Uint8Array] => entry[1] !== undefined && entry[0] !== BUNDLE_MARKER,
      )
      return { bundle, files: new Map(present), bytesFetched }
    } catch (error) {
      if (!(error instanceof NotFetched)) throw error
      const bytes = await fetchFile(trustUrl, error.path, error.maxBytes)
      bytesFetched += bytes?.length ?? 0
      files.set(error.path, bytes)
    }
  }
  throw new CommandFailure(EXIT.unavailable, "TOO_MANY_FILES", `${trustUrl} wants more than ${MAX_FILES} files`)
}

/** Roots may appear, and the timestamp changes; everything else is named by version or digest. */
function isMutable(path: string): boolean {
  return path === "tuf/timestamp.json" || path.endsWith(".root.json")
}

async function fetchFile(trustUrl: string, path: string, maxBytes: number): Promise<Uint8Array | undefined> {
  const url = `${trustUrl.replace(/\/$/, "")}/${path.replace(/^tuf\//, "")}`
  let last: unknown
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      const response = await fetch(url, { redirect: "error", signal: AbortSignal.timeout(TIMEOUT_MS) })
      if (response.status === 404) {
        await response.body?.cancel()
        return undefined
      }
      if (response.status === 200) return await readBody(response, maxBytes)
      await response.body?.cancel()
      last = new Error(`HTTP ${response.status}`)
    } catch (error) {
      if (error instanceof CommandFailure) throw error
      last = error
    }
  }
  throw new CommandFailure(
    EXIT.unavailable,
    "UNREACHABLE",
    `${url}: ${last instanceof Error ? last.message : "no answer"}`,
    "Check the address and the network; nothing was changed.",
  )
}

async function readBody(response: Response, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body ?? []) {
    length += chunk.length
    if (length > maxBytes)
      throw new CommandFailure(EXIT.rejected, "FILE_TOO_LARGE", `${response.url} is longer than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks))
}
