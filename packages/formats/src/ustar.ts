import { bytesEqual, concat, utf8, utf8Decode } from "./bytes.ts"
import { FormatError } from "./errors.ts"

/**
 * POSIX ustar (IEEE Std 1003.1, pax) in one form: plain files alone, owner 0, mode 644, two zero blocks at the end and nothing after them. A path that
 * ustar's fields can't hold has a pax header before it with the one record `path`. The reader takes exactly what the writer writes, so there
 * are no links, devices, sparse files, other pax records, absolute or repeated paths to be careful with.
 */

const BLOCK = 512
const NAME_BYTES = 100
const PREFIX_BYTES = 155
/** What eleven octal digits can say. */
export const MAX_ARCHIVED_BYTES = 8 * 1024 ** 3 - 1
const PAX_NAME = "PaxHeaders/path"
const MAX_PAX_BYTES = 2048

export interface ArchiveEntry {
  /** ASCII, `/` between names */
  readonly path: string
  /** bytes */
  readonly size: number
  /** seconds since 1970 */
  readonly mtimeSec: number
}

/** An entry, and where its bytes begin in the archive. */
export interface ArchivedFile extends ArchiveEntry {
  readonly offset: number
}

/**
 * What stands before a file's bytes: its header, after a pax header where the path needs one.
 * @throws FormatError TOO_LARGE for a file or time that ustar has no room for
 */
export function archiveHeader(entry: ArchiveEntry): Uint8Array {
  const split = splitPath(entry.path)
  if (split !== undefined) return header(split.name, split.prefix, entry, "0")
  const record = paxRecord(entry.path)
  const pax = { ...entry, size: record.length }
  const short = entry.path.slice(-NAME_BYTES)
  return concat(header(PAX_NAME, "", pax, "x"), record, archivePadding(record.length), header(short, "", entry, "0"))
}

/** Zeros up to the next block. */
export function archivePadding(size: number): Uint8Array {
  return new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK)
}

export function archiveEnd(): Uint8Array {
  return new Uint8Array(2 * BLOCK)
}

/** What a file takes in an archive, bytes. */
export function archivedSize(entry: ArchiveEntry): number {
  return archiveHeader(entry).length + entry.size + archivePadding(entry.size).length
}

/**
 * The files of an archive, in its order. Contents are not read, so memory grows with the number of files alone.
 * @param readAt fewer bytes than asked for mean the end
 * @param totalBytes length of the archive
 * @throws FormatError ARCHIVE_MALFORMED for whatever `archiveHeader` would not write, a cut and anything after the end among it; TOO_LARGE for more
 * than `maxFiles`
 */
export function readArchive(
  readAt: (offset: number, length: number) => Uint8Array,
  totalBytes: number,
  maxFiles: number,
): readonly ArchivedFile[] {
  const files: ArchivedFile[] = []
  const seen = new Set<string>()
  let at = 0
  const take = (length: number): Uint8Array => {
    const bytes = at + length > totalBytes ? undefined : readAt(at, length)
    if (bytes?.length !== length) throw malformed("it ends too early")
    at += length
    return bytes
  }
  const takePadded = (size: number): Uint8Array => {
    const bytes = take(size)
    if (take(archivePadding(size).length).some((byte) => byte !== 0)) throw malformed("padding that is not zero")
    return bytes
  }
  for (;;) {
    let block = take(BLOCK)
    if (block.every((byte) => byte === 0)) break
    let path: string | undefined
    const begin = block
    let record: Uint8Array | undefined
    if (block[156] === 0x78) {
      const size = octal(block, 124, 12)
      if (size > MAX_PAX_BYTES) throw malformed("a pax header of such a size")
      record = takePadded(size)
      path = paxPath(record)
      block = take(BLOCK)
    }
    const entry = { path: path ?? pathOf(block), size: octal(block, 124, 12), mtimeSec: octal(block, 136, 12) }
    const found = record === undefined ? begin : concat(begin, record, archivePadding(record.length), block)
    if (!bytesEqual(found, archiveHeader(entry))) throw malformed(`the header of ${printable(entry.path)}`)
    if (seen.has(entry.path)) throw malformed(`${printable(entry.path)} stands twice`)
    seen.add(entry.path)
    if (files.length === maxFiles) throw new FormatError("TOO_LARGE", `more than ${maxFiles} files`)
    files.push({ ...entry, offset: at })
    at += entry.size
    if (take(archivePadding(entry.size).length).some((byte) => byte !== 0)) throw malformed("padding that is not zero")
  }
  if (take(BLOCK).some((byte) => byte !== 0)) throw malformed("one zero block at its end")
  if (at !== totalBytes) throw malformed("something after its end")
  return files
}

function splitPath(path: string): { readonly name: string; readonly prefix: string } | undefined {
  if (path.length <= NAME_BYTES) return { name: path, prefix: "" }
  const cut = path.indexOf("/", path.length - NAME_BYTES - 1)
  if (cut <= 0 || cut > PREFIX_BYTES || cut === path.length - 1) return undefined
  return { name: path.slice(cut + 1), prefix: path.slice(0, cut) }
}

/** `<length> path=<path>\n`, the length counting itself (pax §4.18). */
function paxRecord(path: string): Uint8Array {
  const rest = ` path=${path}\n`.length
  let length = rest + String(rest).length
  if (String(length).length > String(rest).length) length = rest + String(length).length
  return utf8(`${length} path=${path}\n`)
}

function paxPath(record: Uint8Array): string {
  const path = /^[0-9]{1,4} path=([^\n]{1,1000})\n$/.exec(decode(record))?.[1]
  if (path === undefined || !bytesEqual(paxRecord(path), record)) throw malformed("a pax header with other records")
  return path
}

function header(name: string, prefix: string, { size, mtimeSec }: ArchiveEntry, type: "0" | "x"): Uint8Array {
  if (!(size >= 0 && size <= MAX_ARCHIVED_BYTES)) throw new FormatError("TOO_LARGE", `a file of ${size} bytes`)
  if (!(mtimeSec >= 0 && mtimeSec <= MAX_ARCHIVED_BYTES)) throw new FormatError("TOO_LARGE", `a time of ${mtimeSec} s`)
  const block = new Uint8Array(BLOCK)
  const put = (at: number, text: string) => block.set(utf8(text), at)
  const digits = (value: number, length: number) => value.toString(8).padStart(length, "0")
  put(0, name)
  put(100, "0000644\0")
  put(108, "0000000\0")
  put(116, "0000000\0")
  put(124, `${digits(size, 11)}\0`)
  put(136, `${digits(mtimeSec, 11)}\0`)
  put(148, "        ")
  put(156, type)
  put(257, "ustar\u000000")
  put(329, "0000000\0")
  put(337, "0000000\0")
  put(345, prefix)
  let sum = 0
  for (const byte of block) sum += byte
  put(148, `${digits(sum, 6)}\0 `)
  return block
}

function pathOf(block: Uint8Array): string {
  const name = text(block, 0, NAME_BYTES)
  const prefix = text(block, 345, PREFIX_BYTES)
  return prefix === "" ? name : `${prefix}/${name}`
}

function text(block: Uint8Array, at: number, length: number): string {
  const field = block.subarray(at, at + length)
  const end = field.indexOf(0)
  return decode(end < 0 ? field : field.subarray(0, end))
}

function octal(block: Uint8Array, at: number, length: number): number {
  const digits = text(block, at, length)
  if (!/^[0-7]{11}$/.test(digits)) throw malformed("a number that is not eleven octal digits")
  return Number.parseInt(digits, 8)
}

function decode(bytes: Uint8Array): string {
  if (bytes.some((byte) => byte > 0x7e)) throw malformed("a name that is not ASCII")
  return utf8Decode(bytes)
}

function printable(path: string): string {
  return JSON.stringify(path.slice(0, 200))
}

function malformed(what: string): FormatError {
  return new FormatError("ARCHIVE_MALFORMED", what)
}
