import { createHash, type Hash, hash } from "node:crypto"
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs"
import { type BundleIndex, type IndexedFile, parseBundleIndex } from "@sealwright/formats/bundle-index"
import { CommandFailure, EXIT } from "../exit.ts"

const CHUNK_BYTES = 1024 * 1024

/** Where a file of a bundle stands: a file of this machine, or a stretch of one. */
export interface Place {
  readonly file: string
  readonly offset: number
  /** bytes */
  readonly size: number
}

/** A bundle by its index, wherever its files stand. Nothing in it is trusted; the index says what belongs together. */
export interface BundleContent {
  readonly index: BundleIndex
  readonly indexBytes: Uint8Array
  /** lower-case hex SHA-256 of the index */
  readonly digest: string
  /** over the index, by key id; not verified yet */
  readonly signatures: ReadonlyMap<string, Uint8Array>
  /** for every file of the index, and for no other */
  readonly places: ReadonlyMap<string, Place>
}

/**
 * @param placeOf a file's place; one that is missing or has another size than the index says is refused
 * @throws CommandFailure BUNDLE_FILE_MISMATCH
 * @throws FormatError as `parseBundleIndex`
 */
export function contentOf(
  indexBytes: Uint8Array,
  signatures: ReadonlyMap<string, Uint8Array>,
  placeOf: (file: IndexedFile) => Place | undefined,
): BundleContent {
  const index = parseBundleIndex(indexBytes)
  const places = new Map<string, Place>()
  for (const file of index.files) {
    const place = placeOf(file)
    if (place === undefined) throw mismatch(file.path, "is missing")
    if (place.size !== file.size) throw mismatch(file.path, `has ${place.size} bytes, not ${file.size}`)
    places.set(file.path, place)
  }
  return { index, indexBytes, digest: hash("sha256", indexBytes), signatures, places }
}

/**
 * Reads files of a bundle as `openBundle` wants them, each compared with the index: other bytes end the command, whoever put them there.
 * @throws CommandFailure BUNDLE_FILE_MISMATCH
 */
export function contentReader(content: BundleContent): (path: string, maxBytes: number) => Uint8Array | undefined {
  const digests = new Map(content.index.files.map(({ path, sha256 }) => [path, sha256]))
  return (path, maxBytes) => {
    const place = content.places.get(path)
    if (place === undefined) return undefined
    // Longer than the caller takes: it refuses by the length alone.
    const bytes = readPlace({ ...place, size: Math.min(place.size, maxBytes + 1) })
    if (place.size <= maxBytes && hash("sha256", bytes) !== digests.get(path)) throw mismatch(path, "has other bytes")
    return bytes
  }
}

/** The sum of its files, bytes. */
export function sizeOf({ index }: BundleContent): number {
  return index.files.reduce((sum, { size }) => sum + size, 0)
}

/** @throws CommandFailure BUNDLE_FILE_MISMATCH when the file ends before the place does */
export function readPlace(place: Place): Uint8Array {
  const bytes = new Uint8Array(place.size)
  let at = 0
  for (const chunk of chunksOf(place)) {
    bytes.set(chunk, at)
    at += chunk.length
  }
  return bytes
}

/**
 * A file's bytes in chunks, and at the end whether they were those of the index: what was made of them before counts for nothing if it throws.
 * @throws CommandFailure BUNDLE_FILE_MISMATCH
 */
export function* verifiedChunks(place: Place, { path, sha256 }: IndexedFile): Generator<Uint8Array> {
  const seen: Hash = createHash("sha256")
  for (const chunk of chunksOf(place)) {
    seen.update(chunk)
    yield chunk
  }
  if (seen.digest("hex") !== sha256) throw mismatch(path, "has other bytes")
}

/** One chunk at a time: its memory is used again for the next. */
function* chunksOf({ file, offset, size }: Place): Generator<Uint8Array> {
  const descriptor = openPlain(file)
  try {
    const buffer = new Uint8Array(Math.min(CHUNK_BYTES, size))
    for (let at = 0; at < size; ) {
      const read = readSync(descriptor, buffer, 0, Math.min(buffer.length, size - at), offset + at)
      if (read === 0) throw mismatch(file, "ends too early")
      yield buffer.subarray(0, read)
      at += read
    }
  } finally {
    closeSync(descriptor)
  }
}

/**
 * Opens a plain file, never through a link in its last name, never a device or pipe.
 * @throws CommandFailure FILE_UNREADABLE
 */
export function openPlain(file: string): number {
  let descriptor: number
  try {
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    const { code = "unreadable" } = error as NodeJS.ErrnoException
    throw new CommandFailure(EXIT.usage, "FILE_UNREADABLE", `${file}: ${code}`)
  }
  if (fstatSync(descriptor).isFile()) return descriptor
  closeSync(descriptor)
  throw new CommandFailure(EXIT.usage, "FILE_UNREADABLE", `${file} is no plain file`)
}

export function mismatch(path: string, what: string): CommandFailure {
  return new CommandFailure(
    EXIT.rejected,
    "BUNDLE_FILE_MISMATCH",
    `${path} ${what}`,
    "It is not what was packed; get the bundle again.",
  )
}
