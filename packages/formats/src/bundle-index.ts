import { bytesEqual, utf8 } from "./bytes.ts"
import { FormatError } from "./errors.ts"
import { array, integer, object, openObject, type Reader, string } from "./shape.ts"
import { parseJson } from "./strict-json.ts"
import { formatTime, parseTime } from "./time.ts"

export const BUNDLE_INDEX_TYPE = "application/vnd.sealwright.bundle-index.v1+json"
export const BUNDLE_PART_TYPE = "application/vnd.sealwright.bundle-part.v1+json"
/** The file that lists all others of a bundle. */
export const BUNDLE_INDEX = "bundle-index.json"
/** The file of a packed part that says which part of which bundle it is. */
export const BUNDLE_PART = "bundle-part.json"
export const MAX_INDEX_BYTES = 32 * 1024 * 1024
export const MAX_BUNDLE_FILES = 100_000
export const MAX_PARTS = 999
export const MAX_PART_BYTES = 4096
/** Signatures over an index; the name says under which key: lower-case hex SHA-256 of its SubjectPublicKeyInfo. */
const SIGNATURE_NAME = /^bundle-index\.([0-9a-f]{64})\.sig$/
const MAX_NAMES = 16
const MAX_PATH_LENGTH = 1000

const NAME = /^[A-Za-z0-9_][A-Za-z0-9._%-]{0,200}$/
/** Names that a Windows machine takes for a device, whatever follows the dot. */
const DEVICE = /^(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)/i

/** One file of a bundle. */
export interface IndexedFile {
  /** `/` between names; never one of the index's own files */
  readonly path: string
  /** bytes */
  readonly size: number
  /** lower-case hex */
  readonly sha256: string
}

/** Every file of a bundle but the index itself, its signatures and the file of a part. */
export interface BundleIndex {
  /** date of the revocation list, whole seconds */
  readonly date: Date
  /** epoch of the revocation list */
  readonly epoch: number
  /** sorted by path, bytewise */
  readonly files: readonly IndexedFile[]
}

export function signatureName(keyId: string): string {
  return `bundle-index.${keyId}.sig`
}

/** @returns the key id in the name of a signature over an index; undefined for other paths */
export function signatureKeyId(path: string): string | undefined {
  return SIGNATURE_NAME.exec(path)?.[1]
}

/** Whether a path is one that no index lists: the index, its signatures, the file of a part. */
export function isIndexOwn(path: string): boolean {
  return path === BUNDLE_INDEX || path === BUNDLE_PART || SIGNATURE_NAME.test(path)
}

/**
 * Paths that mean one file within the folder on every system: no empty, dotted or absolute names, no device of Windows, ASCII alone.
 * @throws FormatError PATH_REFUSED
 */
export function checkBundlePath(path: string): void {
  const names = path.split("/")
  const good = (name: string) => NAME.test(name) && !name.endsWith(".") && !DEVICE.test(name)
  if (path.length > MAX_PATH_LENGTH || names.length > MAX_NAMES || !names.every(good))
    throw new FormatError("PATH_REFUSED", JSON.stringify(path.slice(0, 200)))
}

/**
 * Paths of one bundle: each good, none twice, also where letter case does not count, and none a folder of another.
 * @throws FormatError PATH_REFUSED
 */
export function checkBundlePaths(paths: readonly string[]): void {
  const files = new Set<string>()
  const folders = new Set<string>()
  for (const path of paths) {
    checkBundlePath(path)
    const folded = path.toLowerCase()
    if (files.has(folded)) throw new FormatError("PATH_REFUSED", `${path} stands twice`)
    files.add(folded)
    for (let at = folded.lastIndexOf("/"); at > 0; at = folded.lastIndexOf("/", at - 1))
      folders.add(folded.slice(0, at))
  }
  for (const folder of folders)
    if (files.has(folder)) throw new FormatError("PATH_REFUSED", `${folder} is a file and a folder`)
}

/**
 * Equal files give equal bytes.
 * @throws FormatError PATH_REFUSED, TOO_LARGE, SHAPE_MISMATCH as `parseBundleIndex`
 */
export function encodeBundleIndex({ date, epoch, files }: BundleIndex): Uint8Array {
  const sorted = [...files].sort((a, b) => (a.path < b.path ? -1 : 1))
  checkFiles(sorted)
  const rows = sorted.map(({ path, size, sha256 }) => ({ path, size, sha256 }))
  return utf8(`${JSON.stringify({ mediaType: BUNDLE_INDEX_TYPE, date: formatTime(date), epoch, files: rows })}\n`)
}

const sha256 = string(64, /^[0-9a-f]{64}$/)
const time: Reader<Date> = (value, at) => parseTime(string(20)(value, at))
const indexShape = object({
  mediaType: string(100),
  date: time,
  epoch: integer(0),
  files: array(object({ path: string(MAX_PATH_LENGTH), size: integer(0), sha256 }), MAX_BUNDLE_FILES, 1),
})

/**
 * Reads exactly what `encodeBundleIndex` writes, byte for byte, so that one index has one digest.
 * @throws FormatError PATH_REFUSED, TOO_LARGE, JSON_MALFORMED, TEXT_MALFORMED, SHAPE_MISMATCH, VERSION_UNKNOWN
 */
export function parseBundleIndex(bytes: Uint8Array): BundleIndex {
  const value = parseJson(bytes, { maxBytes: MAX_INDEX_BYTES })
  requireType(value, BUNDLE_INDEX_TYPE)
  const { date, epoch, files } = indexShape(value, "index")
  const index = { date, epoch, files }
  if (!bytesEqual(encodeBundleIndex(index), bytes))
    throw new FormatError("SHAPE_MISMATCH", "the index is not in its one form, sorted by path")
  return index
}

function checkFiles(files: readonly IndexedFile[]): void {
  if (files.length > MAX_BUNDLE_FILES) throw new FormatError("TOO_LARGE", `more than ${MAX_BUNDLE_FILES} files`)
  checkBundlePaths(files.map(({ path }) => path))
  const own = files.find(({ path }) => isIndexOwn(path))
  if (own !== undefined) throw new FormatError("PATH_REFUSED", `${own.path} is not for an index to list`)
}

/** Which part of which bundle. */
export interface BundlePart {
  /** from 1 */
  readonly part: number
  readonly parts: number
  /** lower-case hex SHA-256 of the bundle's index */
  readonly index: string
}

export function encodeBundlePart({ part, parts, index }: BundlePart): Uint8Array {
  return utf8(`${JSON.stringify({ mediaType: BUNDLE_PART_TYPE, part, parts, index })}\n`)
}

const partShape = object({
  mediaType: string(100),
  part: integer(1, MAX_PARTS),
  parts: integer(1, MAX_PARTS),
  index: sha256,
})

/** @throws FormatError TOO_LARGE, JSON_MALFORMED, TEXT_MALFORMED, SHAPE_MISMATCH, VERSION_UNKNOWN */
export function parseBundlePart(bytes: Uint8Array): BundlePart {
  const value = parseJson(bytes, { maxBytes: MAX_PART_BYTES })
  requireType(value, BUNDLE_PART_TYPE)
  const { part, parts, index } = partShape(value, "part")
  if (part > parts) throw new FormatError("SHAPE_MISMATCH", `part ${part} of ${parts}`)
  return { part, parts, index }
}

function requireType(value: Parameters<typeof indexShape>[0], type: string): void {
  if (openObject({ mediaType: string(100) })(value, "document").mediaType !== type)
    throw new FormatError("VERSION_UNKNOWN", `not ${type}`)
}
