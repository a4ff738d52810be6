import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { concat, utf8 } from "@sealwright/formats/bytes"
import { archivedSize, archiveEnd, archiveHeader, archivePadding, readArchive } from "@sealwright/formats/ustar"
import fc from "fast-check"
import { describe, expect, test } from "vitest"

const LONG = `tuf/targets/lists/${"a".repeat(64)}.${"b".repeat(64)}.crl`
const SPLIT = `notation/config/notation/truststore/x509/signingAuthority/${"n".repeat(60)}/root-1.crt`
const FILES = [
  ["a", "one"],
  ["empty", ""],
  [SPLIT, "two".repeat(400)],
  [LONG, "x".repeat(512)],
] as const

function archive(files: readonly (readonly [string, string])[], mtimeSec = 1_790_000_000): Uint8Array {
  const parts = files.flatMap(([path, text]) => {
    const bytes = utf8(text)
    return [archiveHeader({ path, size: bytes.length, mtimeSec }), bytes, archivePadding(bytes.length)]
  })
  return concat(...parts, archiveEnd())
}

const read = (bytes: Uint8Array, maxFiles = 100) =>
  readArchive((offset, length) => bytes.subarray(offset, offset + length), bytes.length, maxFiles)

/** Changes bytes of the first header, and its sum with them. */
function altered(change: (header: Uint8Array) => void, bytes = archive([["a", "one"]])): Uint8Array {
  const copy = Uint8Array.from(bytes)
  const header = copy.subarray(0, 512)
  change(header)
  header.set(utf8("        "), 148)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.set(utf8(`${sum.toString(8).padStart(6, "0")}\0 `), 148)
  return copy
}

const put = (at: number, text: string) => (header: Uint8Array) => header.set(utf8(text), at)

describe("archives (R26)", () => {
  test("what is written is read, wherever the path finds room", () => {
    const bytes = archive(FILES)
    const found = read(bytes)
    expect(found.map(({ path, size }) => [path, size])).toEqual(FILES.map(([path, text]) => [path, text.length]))
    for (const [i, { offset, size }] of found.entries())
      expect(Buffer.from(bytes.subarray(offset, offset + size)).toString()).toBe(FILES[i]?.[1])
    const sum = FILES.reduce(
      (total, [path, { length }]) => total + archivedSize({ path, size: length, mtimeSec: 0 }),
      0,
    )
    expect(bytes.length).toBe(sum + 1024)
  })

  test("tar of this machine unpacks it", () => {
    const folder = mkdtempSync(join(tmpdir(), "sealwright-ustar-"))
    try {
      writeFileSync(join(folder, "made.tar"), archive(FILES))
      execFileSync("tar", ["xf", "made.tar"], { cwd: folder })
      for (const [path, text] of FILES) expect(readFileSync(join(folder, path), "utf8")).toBe(text)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test("any path and content comes back", () => {
    const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._%-]{0,150}$/)
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join("/"))
    fc.assert(
      fc.property(fc.uniqueArray(path, { maxLength: 6 }), fc.string({ maxLength: 700 }), (paths, text) => {
        const files = paths.map((each) => [each, text] as const)
        expect(read(archive(files)).map((file) => file.path)).toEqual(paths)
      }),
    )
  })

  test("a flipped bit outside of contents is refused; decoders throw nothing else", () => {
    const bytes = archive([[LONG, "one"]])
    const content = bytes.length - 1024 - 512
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(7), (at, bit) => {
        // A pax record has no sum: a path within it is as free as contents are, and the index's to judge.
        fc.pre((at < 512 || at >= 1024) && (at < content || at >= content + 3))
        const copy = Uint8Array.from(bytes)
        copy[at] = (copy[at] as number) ^ (1 << bit)
        let found: unknown
        try {
          found = read(copy)
        } catch (error) {
          found = (error as { code?: string }).code
        }
        expect(["ARCHIVE_MALFORMED", "TOO_LARGE"]).toContain(found)
      }),
      { numRuns: 400 },
    )
  })

  const whole = archive(FILES)
  test.each<[string, Uint8Array, string?]>([
    ["nothing", new Uint8Array()],
    ["a cut within a header", whole.subarray(0, 200)],
    ["a cut within contents", whole.subarray(0, 700)],
    ["a cut before its end", whole.subarray(0, whole.length - 1024)],
    ["a cut in its end", whole.subarray(0, whole.length - 512)],
    ["something after its end", concat(whole, new Uint8Array(512))],
    ["an archive after its end", concat(whole, whole)],
    ["a symbolic link", altered(put(156, "2"))],
    ["a hard link", altered(put(156, "1"))],
    ["a character device", altered(put(156, "3"))],
    ["a block device", altered(put(156, "4"))],
    ["a folder", altered(put(156, "5"))],
    ["a pipe", altered(put(156, "6"))],
    ["GNU's sparse file", altered(put(156, "S"))],
    ["GNU's long name", altered(put(156, "L"))],
    ["a global pax header", altered(put(156, "g"))],
    ["an old type", altered((header) => header.fill(0, 156, 157))],
    ["the name of a link", altered(put(157, "/etc/passwd"))],
    ["another mode", altered(put(100, "0004755\0"))],
    ["another owner", altered(put(108, "0001750\0"))],
    ["the name of an owner", altered(put(265, "root"))],
    ["GNU's magic", altered(put(257, "ustar  \0"))],
    ["a size in base 256", altered((header) => header.fill(0x80, 124, 125))],
    ["a negative size", altered(put(124, "-0000000001\0"))],
    ["a size beyond its end", altered(put(124, "77777777777\0"))],
    ["a name behind a zero byte", altered(put(3, "b"))],
    ["a name that is not ASCII", altered((header) => header.set([0xc3, 0xa9], 0))],
    [
      "a path twice",
      archive([
        ["a", "1"],
        ["a", "2"],
      ]),
    ],
    [
      "padding that is not zero",
      (() => {
        const copy = Uint8Array.from(archive([["a", "one"]]))
        copy[600] = 1
        return copy
      })(),
    ],
    [
      "a pax header for a path that needs none",
      concat(archiveHeader({ path: LONG, size: 0, mtimeSec: 0 }).subarray(0, 1024), archive([["a", ""]])),
    ],
    [
      "a wrong sum",
      (() => {
        const copy = Uint8Array.from(whole)
        copy[0] = 98
        return copy
      })(),
    ],
    ["more files than allowed", archive(Array.from({ length: 101 }, (_, i) => [`f${i}`, ""] as const)), "TOO_LARGE"],
  ])("%s is refused", (_, bytes, code = "ARCHIVE_MALFORMED") => {
    expect(() => read(bytes)).toThrow(expect.objectContaining({ code }))
  })

  test("more than ustar can say is not written", () => {
    expect(() => archiveHeader({ path: "a", size: 8 * 1024 ** 3, mtimeSec: 0 })).toThrow(
      expect.objectContaining({ code: "TOO_LARGE" }),
    )
    expect(() => archiveHeader({ path: "a", size: 0, mtimeSec: -1 })).toThrow(
      expect.objectContaining({ code: "TOO_LARGE" }),
    )
  })
})
