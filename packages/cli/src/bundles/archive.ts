import { closeSync, fstatSync, readSync } from "node:fs"
import {
  BUNDLE_INDEX,
  BUNDLE_PART,
  encodeBundlePart,
  MAX_BUNDLE_FILES,
  MAX_INDEX_BYTES,
  MAX_PART_BYTES,
  MAX_PARTS,
  parseBundlePart,
  signatureKeyId,
  signatureName,
} from "@sealwright/formats/bundle-index"
import { bytesEqual } from "@sealwright/formats/bytes"
import {
  type ArchivedFile,
  archivedSize,
  archiveEnd,
  archiveHeader,
  archivePadding,
  readArchive,
} from "@sealwright/formats/ustar"
import { CommandFailure, EXIT, usage } from "../exit.ts"
import { writeChunksWhole } from "../files.ts"
import { type BundleContent, contentOf, mismatch, openPlain, type Place, readPlace, verifiedChunks } from "./content.ts"
import { MAX_SIGNATURE_BYTES, sha256Of } from "./folder.ts"

export interface WrittenFile {
  readonly path: string
  readonly bytes: number
}

/**
 * Writes a bundle as one archive, or as several that no medium is too small for: whole files in each, the index and its signatures in all, so that every
 * part says which of how many it is. Equal bundles give equal bytes. Each archive replaces a standing one whole.
 * @param partBytes the most that one part may have; without it there is one
 * @throws CommandFailure USAGE when a file is too large for a part; BUNDLE_FILE_MISMATCH when a file changes meanwhile
 */
export function writeArchives(content: BundleContent, to: string, partBytes?: number): readonly WrittenFile[] {
  const mtimeSec = Math.floor(content.index.date.getTime() / 1000)
  const part = (at: number, parts: number) => encodeBundlePart({ part: at, parts, index: content.digest })
  const heads = (at: number, parts: number): readonly (readonly [string, Uint8Array])[] => [
    [BUNDLE_PART, part(at, parts)],
    [BUNDLE_INDEX, content.indexBytes],
    ...[...content.signatures].sort(byName).map(([keyId, bytes]) => [signatureName(keyId), bytes] as const),
  ]
  const sizeOfFile = (path: string, size: number) => archivedSize({ path, size, mtimeSec })
  const overhead =
    heads(MAX_PARTS, MAX_PARTS).reduce((sum, [path, bytes]) => sum + sizeOfFile(path, bytes.length), 0) +
    archiveEnd().length
  const groups = groupBySize(
    content.index.files.map((file) => ({ file, size: sizeOfFile(file.path, file.size) })),
    partBytes === undefined ? Number.POSITIVE_INFINITY : partBytes - overhead,
  )
  if (groups.length > MAX_PARTS) throw usage(`that makes ${groups.length} parts; ${MAX_PARTS} are the most`)
  return groups.map((files, i) => {
    const path = partName(to, i + 1, groups.length)
    function* chunks(): Generator<Uint8Array> {
      for (const [name, bytes] of heads(i + 1, groups.length)) {
        yield archiveHeader({ path: name, size: bytes.length, mtimeSec })
        yield bytes
        yield archivePadding(bytes.length)
      }
      for (const file of files) {
        yield archiveHeader({ path: file.path, size: file.size, mtimeSec })
        yield* verifiedChunks(content.places.get(file.path) as Place, file)
        yield archivePadding(file.size)
      }
      yield archiveEnd()
    }
    return { path, bytes: writeChunksWhole(path, chunks()) }
  })
}

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => (a < b ? -1 : 1)

/** In order, as many as fit into each. */
function groupBySize<T>(items: readonly { readonly file: T; readonly size: number }[], room: number): T[][] {
  const groups: T[][] = [[]]
  let used = 0
  for (const { file, size } of items) {
    if (size > room) throw usage(`a part is too small for a file that takes ${size} bytes in it`, "Split less.")
    if (used + size > room) {
      groups.push([])
      used = 0
    }
    groups.at(-1)?.push(file)
    used += size
  }
  return groups
}

/** `bundle.tar` is `bundle-1-of-3.tar` when it is split. */
function partName(to: string, part: number, parts: number): string {
  if (parts === 1) return to
  const dot = to.endsWith(".tar") ? to.length - 4 : to.length
  return `${to.slice(0, dot)}-${part}-of-${parts}${to.slice(dot)}`
}

/**
 * Opens the archives of one bundle, in any order: their heads are read and compared before any content is, and nothing is written.
 * @throws CommandFailure BUNDLE_PART_MISSING, BUNDLE_PART_REPEATED, BUNDLE_PART_FOREIGN, BUNDLE_FILE_MISMATCH, FILE_UNREADABLE
 * @throws FormatError ARCHIVE_MALFORMED, PATH_REFUSED, and as `parseBundleIndex`
 */
export function openArchives(files: readonly string[]): BundleContent {
  const parts = files.map((file) => openPart(file))
  const [first] = parts
  if (first === undefined) throw usage("no archive is named")
  const seen = new Map<number, string>()
  for (const { file, part, index } of parts) {
    if (part.index !== first.part.index || part.parts !== first.part.parts || !bytesEqual(index, first.index))
      throw refused("BUNDLE_PART_FOREIGN", `${file} and ${first.file} are parts of different bundles`)
    if (seen.has(part.part))
      throw refused("BUNDLE_PART_REPEATED", `${file} and ${seen.get(part.part)} are part ${part.part}`)
    seen.set(part.part, file)
  }
  const { parts: count } = first.part
  const missing = Array.from({ length: count }, (_, i) => i + 1).filter((part) => !seen.has(part))
  if (missing.length > 0) throw refused("BUNDLE_PART_MISSING", `part ${missing.join(", ")} of ${count} is not here`)
  const places = new Map<string, Place>()
  for (const { files: archived, file } of parts)
    for (const { path, offset, size } of archived) {
      if (places.has(path)) throw mismatch(path, "stands in two parts")
      places.set(path, { file, offset, size })
    }
  const content = contentOf(first.index, first.signatures, ({ path }) => places.get(path))
  const extra = [...places.keys()].find((path) => !content.places.has(path))
  if (extra !== undefined) throw mismatch(extra, "is not in the index")
  return content
}

function openPart(file: string) {
  const descriptor = openPlain(file)
  let archived: readonly ArchivedFile[]
  try {
    const readAt = (offset: number, length: number): Uint8Array => {
      const bytes = new Uint8Array(length)
      let at = 0
      for (let read = -1; at < length && read !== 0; at += read)
        read = readSync(descriptor, bytes, at, length - at, offset + at)
      return bytes.subarray(0, at)
    }
    archived = readArchive(readAt, fstatSync(descriptor).size, MAX_BUNDLE_FILES + 16)
  } finally {
    closeSync(descriptor)
  }
  const head = (path: string, maxBytes: number): Uint8Array => {
    const found = archived.find((entry) => entry.path === path)
    if (found === undefined) throw mismatch(path, `is missing in ${file}`)
    if (found.size > maxBytes) throw mismatch(path, `is longer than ${maxBytes} bytes`)
    return readPlace({ file, offset: found.offset, size: found.size })
  }
  const part = parseBundlePart(head(BUNDLE_PART, MAX_PART_BYTES))
  const index = head(BUNDLE_INDEX, MAX_INDEX_BYTES)
  if (sha256Of(index) !== part.index) throw mismatch(BUNDLE_INDEX, `of ${file} is not the one that its part names`)
  const signatures = new Map<string, Uint8Array>()
  for (const { path } of archived) {
    const keyId = signatureKeyId(path)
    if (keyId !== undefined) signatures.set(keyId, head(path, MAX_SIGNATURE_BYTES))
  }
  const files = archived.filter(
    ({ path }) => path !== BUNDLE_PART && path !== BUNDLE_INDEX && signatureKeyId(path) === undefined,
  )
  return { file, part, index, signatures, files }
}

function refused(code: "BUNDLE_PART_FOREIGN" | "BUNDLE_PART_REPEATED" | "BUNDLE_PART_MISSING", message: string) {
  const remedy = "Name every part of one bundle, each once."
  if (code === "BUNDLE_PART_FOREIGN") return new CommandFailure(EXIT.rejected, "BUNDLE_PART_FOREIGN", message, remedy)
  if (code === "BUNDLE_PART_REPEATED") return new CommandFailure(EXIT.rejected, "BUNDLE_PART_REPEATED", message, remedy)
  return new CommandFailure(EXIT.rejected, "BUNDLE_PART_MISSING", message, remedy)
}
