import { lstatSync, mkdirSync } from "node:fs"
import { dirname, join } from "node:path"
import {
  BUNDLE_INDEX,
  isIndexOwn,
  MAX_INDEX_BYTES,
  parseBundleIndex,
  signatureName,
} from "@sealwright/formats/bundle-index"
import type { OpenedBundle } from "@sealwright/verifier/bundle"
import { openBundle } from "@sealwright/verifier/bundle"
import { runSync } from "@sealwright/verifier/node-crypto"
import {
  folderReader,
  MAX_TREE_BYTES,
  NOTATION_TREE,
  writeCrls,
  writeMarker,
  writeNotationTree,
  writeTrustData,
} from "../bundle-folder.ts"
import { CommandFailure, EXIT } from "../exit.ts"
import { type FetchedTrust, fetchTrust } from "../fetch-trust.ts"
import { writeFileWhole } from "../files.ts"
import { contentReader } from "./content.ts"
import type { Fetcher } from "./fetcher.ts"
import { indexOfFolder, MAX_SIGNATURE_BYTES, openFolder, sha256Of, writeIndex } from "./folder.ts"
import { checkLogs, type LogsInput, stageLogs, withHeads } from "./logs.ts"
import { openAny, type TrustInput, verifyContent, verifyTrust } from "./open-any.ts"
import { linkFiles, linkOrCopy, replaceFolder } from "./replace.ts"
import { type BundleKey, requireSignatures } from "./sign-index.ts"

export interface Updated {
  readonly bundle: OpenedBundle
  readonly bytesFetched: number
  readonly bytesOfFullCopy: number
  readonly filesWritten: number
}

/**
 * Fetches what a TUF repository publishes into an empty or linked staging folder, verifies it, and brings CRLs and notation's files in line.
 * @param keepPrevious also what the timestamp before names stays, for clients of a web server over the folder
 */
export async function stageTrust(
  staging: string,
  from: string,
  trust: TrustInput,
  fetcher: Fetcher,
  keepPrevious: boolean,
): Promise<FetchedTrust & { readonly filesWritten: number }> {
  const previous = keepPrevious ? pathsOfState(staging, trust) : new Set<string>()
  const { pinnedRoot, now, floors } = trust
  const fetched = await fetchTrust(from, pinnedRoot, now, floors, folderReader(staging), fetcher)
  writeMarker(staging)
  const { written } = writeTrustData(staging, fetched.files, previous)
  const crlOf = crlReader(fetched)
  writeCrls(
    staging,
    new Map(
      fetched.bundle.crlKeyIds.flatMap((id) => {
        const crl = crlOf(`lists/${id}.crl`)
        return crl === undefined ? [] : [[id, crl] as const]
      }),
    ),
  )
  return { ...fetched, filesWritten: written }
}

/** CRLs of verified data by target path. */
export function crlReader(fetched: FetchedTrust): (target: string) => Uint8Array | undefined {
  return (target) => {
    const suffix = `.${target.slice("lists/".length)}`
    for (const [path, bytes] of fetched.files)
      if (path.startsWith("tuf/targets/lists/") && path.endsWith(suffix)) return bytes
    return undefined
  }
}

/** Date and epoch of what a bundle says of revocations, for its index. */
export function stampOf(bundle: OpenedBundle): { readonly date: Date; readonly epoch: number } {
  const list = bundle.freshness.find(({ part }) => part === "lists/revocations.json")
  return { date: list?.date ?? new Date(0), epoch: list?.version ?? 0 }
}

/**
 * Brings a bundle's trust data up to date from a published TUF repository, in one step with the CRLs and notation's files that are made of it.
 * @param logs where its transparency logs are; undefined: those of the bundle stay as they are
 * @throws CommandFailure of fetching and verifying, with the bundle as it was
 */
export async function mirrorTrust(
  target: string,
  from: string,
  trust: TrustInput,
  fetcher: Fetcher,
  logs?: LogsInput,
): Promise<Updated> {
  const updated = await replaceFolder(
    target,
    async (staging) => {
      if (isFolder(target)) linkFiles(target, staging)
      const fetched = await stageTrust(staging, from, trust, fetcher, true)
      const tree = folderReader(staging)(NOTATION_TREE, MAX_TREE_BYTES)
      if (tree !== undefined) writeNotationTree(staging, tree, crlReader(fetched), fetched.bundle.newRoots)
      const staged = logs && (await stageLogs(staging, fetched.bundle, logs))
      writeIndex(staging, indexOfFolder(staging, stampOf(fetched.bundle)))
      verifyTrust(folderReader(staging), trust)
      return {
        bundle: withHeads(fetched.bundle, staged?.heads ?? []),
        bytesFetched: fetcher.bytesFetched,
        bytesOfFullCopy: fetched.bytesOfFullCopy + (staged?.bytes ?? 0),
        filesWritten: fetched.filesWritten + (staged?.filesWritten ?? 0),
      }
    },
    { changed: ({ filesWritten }) => filesWritten > 0 || !isFolder(target) },
  )
  fetcher.forget()
  return updated
}

/**
 * Brings a whole bundle up to date from a web server over another one's folder: by its index, file for file, only those that differ.
 * @param keys each must have signed the index
 * @throws CommandFailure of fetching and verifying, with the bundle as it was
 */
export async function mirrorBundle(
  target: string,
  from: string,
  trust: TrustInput & { readonly keys: readonly BundleKey[]; readonly maxBytes: number },
  fetcher: Fetcher,
): Promise<Updated> {
  const base = from.replace(/\/$/, "")
  for (let attempt = 1; ; attempt++) {
    const indexBytes = await fetcher.head(`${base}/${BUNDLE_INDEX}`, MAX_INDEX_BYTES)
    if (indexBytes === undefined)
      throw new CommandFailure(
        EXIT.rejected,
        "BUNDLE_NOT_INDEXED",
        `${base} has no ${BUNDLE_INDEX}`,
        "Name a web server over a bundle's folder, or the TUF repository with --from.",
      )
    try {
      const updated = await replaceByIndex(target, base, indexBytes, trust, fetcher)
      fetcher.forget()
      return updated
    } catch (error) {
      // The bundle over there may just have been replaced: then its index is another one now.
      const moved = error instanceof CommandFailure && error.code === "FETCHED_OTHER_BYTES" && attempt < 3
      const now = moved ? await fetcher.head(`${base}/${BUNDLE_INDEX}`, MAX_INDEX_BYTES) : undefined
      if (now === undefined || Buffer.compare(now, indexBytes) === 0) throw error
    }
  }
}

async function replaceByIndex(
  target: string,
  base: string,
  indexBytes: Uint8Array,
  trust: TrustInput & { readonly keys: readonly BundleKey[]; readonly maxBytes: number },
  fetcher: Fetcher,
): Promise<Updated> {
  const index = parseBundleIndex(indexBytes)
  const bytesOfFullCopy = index.files.reduce((sum, { size }) => sum + size, indexBytes.length)
  if (bytesOfFullCopy > trust.maxBytes)
    throw new CommandFailure(
      EXIT.rejected,
      "BUNDLE_TOO_LARGE",
      `the bundle has ${bytesOfFullCopy} bytes, more than ${trust.maxBytes}`,
      "Allow more with --max-bytes, if that is what you were told to expect.",
    )
  const signatures = new Map<string, Uint8Array>()
  for (const { keyId } of trust.keys) {
    const signature = await fetcher.file(`${base}/${signatureName(keyId)}`, MAX_SIGNATURE_BYTES)
    if (signature !== undefined) signatures.set(keyId, signature)
  }
  requireSignatures({ digest: sha256Of(indexBytes), signatures }, trust.keys)
  const standing = digestsOfFolder(target)
  let filesWritten = 0
  return await replaceFolder(
    target,
    async (staging) => {
      for (const { path, size, sha256 } of index.files) {
        const copy = join(staging, path)
        mkdirSync(dirname(copy), { recursive: true })
        if (standing(path) === sha256) {
          linkOrCopy(join(target, path), copy)
          continue
        }
        const url = `${base}/${path.split("/").map(encodeURIComponent).join("/")}`
        const file = await fetcher.known(url, { sha256, size, maxBytes: size })
        if (file === undefined) throw missing(url)
        linkOrCopy(file, copy)
        filesWritten += 1
      }
      for (const [keyId, signature] of signatures) writeFileWhole(join(staging, signatureName(keyId)), signature)
      writeFileWhole(join(staging, BUNDLE_INDEX), indexBytes)
      const content = openAny([staging], trust.maxBytes)
      const bundle = checkLogs(contentReader(content), verifyContent(content, trust), trust.now, standingReader(target))
      return { bundle, bytesFetched: fetcher.bytesFetched, bytesOfFullCopy, filesWritten }
    },
    { changed: () => filesWritten > 0 || !sameIndex(target, indexBytes) },
  )
}

function missing(url: string): CommandFailure {
  return new CommandFailure(
    EXIT.rejected,
    "FETCHED_OTHER_BYTES",
    `${url} is not there, and the index lists it`,
    "Ask again; if it stays so, the mirror is damaged or worse. Nothing was taken over.",
  )
}

/** Digests of the files that stand, computed as they are asked for: what the old index says of them counts for nothing. */
function digestsOfFolder(target: string): (path: string) => string | undefined {
  if (!isFolder(target)) return () => undefined
  const read = folderReader(target)
  return (path) => {
    const bytes = isIndexOwn(path) ? undefined : read(path, MAX_LINKED_BYTES)
    return bytes === undefined ? undefined : sha256Of(bytes)
  }
}

/** A file that is longer is fetched anew: none that we know comes near. */
const MAX_LINKED_BYTES = 512 * 1024 * 1024

function sameIndex(target: string, indexBytes: Uint8Array): boolean {
  try {
    return Buffer.compare(openFolder(target, true).indexBytes, indexBytes) === 0
  } catch {
    return false
  }
}

/** What a client that has just read a folder's timestamp will ask for next. */
function pathsOfState(folder: string, { pinnedRoot, now }: TrustInput): ReadonlySet<string> {
  const paths = new Set<string>()
  const reader = folderReader(folder)
  const read = (path: string, maxBytes: number) => {
    paths.add(path)
    return reader(path, maxBytes)
  }
  const bundle = runSync(openBundle({ read, pinnedRoot, now }))
  if (!bundle.ok) return new Set()
  for (const issuerKeyId of bundle.crlKeyIds) runSync(bundle.crl(issuerKeyId))
  return paths
}

/** What a bundle has that is to be replaced. */
export function standingReader(target: string): ReturnType<typeof folderReader> | undefined {
  return isFolder(target) ? folderReader(target) : undefined
}

export function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}
