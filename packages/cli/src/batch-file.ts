import { readFileSync } from "node:fs"
import { FormatError } from "@sealwright/formats/errors"
import { type Descriptor, parseDigest } from "@sealwright/formats/oci"
import { integer, object, string } from "@sealwright/formats/shape"
import { type JsonObject, parseJson } from "@sealwright/formats/strict-json"
import { usage } from "./exit.ts"
import { readFileLimited } from "./files.ts"
import { readSubject } from "./subject.ts"

/** What the service takes in one job. */
const MAX_SUBJECTS = 10_000
const MAX_FILE_BYTES = 16 * 1024 * 1024
const MANIFEST_MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"

export interface BatchEntry {
  readonly subject: Descriptor
  readonly reference: string
}

/**
 * Subjects of a batch, one a line; empty lines and lines with `#` in front are left out.
 * @param path `-` for standard input
 * @throws CommandFailure USAGE naming the line
 */
export function readBatch(path: string): readonly BatchEntry[] {
  const bytes = path === "-" ? new Uint8Array(readFileSync(0)) : readFileLimited(path, MAX_FILE_BYTES)
  if (bytes.length > MAX_FILE_BYTES) throw usage(`standard input has more than ${MAX_FILE_BYTES} bytes`)
  const entries: BatchEntry[] = []
  const lineOf = new Map<string, number>()
  for (const [at, line] of textOf(bytes).split(/\r?\n/).entries()) {
    const text = line.trim()
    if (text === "" || text.startsWith("#")) continue
    if (entries.length === MAX_SUBJECTS) throw usage(`${path} names more than ${MAX_SUBJECTS} subjects`)
    const entry = readLine(text, at + 1)
    const { digest } = entry.subject
    const before = lineOf.get(digest)
    if (before !== undefined) throw usage(`line ${at + 1}: ${digest} stands in line ${before} already`)
    lineOf.set(digest, at + 1)
    entries.push(entry)
  }
  if (entries.length === 0) throw usage(`${path} names no subject`)
  return entries
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes)
  } catch {
    throw usage("the batch is not UTF-8")
  }
}

function readLine(text: string, number: number): BatchEntry {
  try {
    if (text.startsWith("{")) return readJsonLine(parseJson(new TextEncoder().encode(text), { maxBytes: 65_536 }))
    const words = text.split(/\s+/)
    const [first = "", second = "", third = "", mediaType = MANIFEST_MEDIA_TYPE] = words
    if (words.length === 2) return { subject: described(first), reference: second }
    if ((words.length === 3 || words.length === 4) && /^\d{1,15}$/.test(second)) {
      parseDigest(first)
      return { subject: { mediaType, digest: first, size: Number(second) }, reference: third }
    }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw usage(`line ${number}: ${error.message}`)
  }
  throw usage(`line ${number}: neither PATH REFERENCE nor DIGEST SIZE REFERENCE [MEDIA-TYPE]`)
}

const pathShape = object({ path: string(4096), reference: string(600) }, { tag: string(128) })
const subjectShape = object({
  subject: object({ mediaType: string(255), digest: string(135), size: integer(0) }),
  reference: string(600),
})

function readJsonLine(value: ReturnType<typeof parseJson>): BatchEntry {
  if (Object.hasOwn(value as JsonObject, "path")) {
    const { path, reference, tag } = pathShape(value, "line")
    return { subject: described(path, tag), reference }
  }
  const entry = subjectShape(value, "line")
  parseDigest(entry.subject.digest)
  return entry
}

function described(path: string, tag?: string): Descriptor {
  const { mediaType, digest, size } = readSubject(path, tag).descriptor
  return { mediaType, digest, size }
}
