import { execFileSync } from "node:child_process"
import { generateKeyPairSync, sign } from "node:crypto"
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs"
import { dirname, join } from "node:path"
import { signatureName } from "@sealwright/formats/bundle-index"
import { utf8 } from "@sealwright/formats/bytes"
import { afterAll, beforeEach, describe, expect, test } from "vitest"
import { writeArchives } from "../../packages/cli/src/bundles/archive.ts"
import { type Place, verifiedChunks } from "../../packages/cli/src/bundles/content.ts"
import { indexOfFolder, openFolder, writeIndex } from "../../packages/cli/src/bundles/folder.ts"
import { openLayout, writeLayout } from "../../packages/cli/src/bundles/oci-bundle.ts"
import { openAny, verifyContent } from "../../packages/cli/src/bundles/open-any.ts"
import { besideOf, linkFiles, replaceFolder } from "../../packages/cli/src/bundles/replace.ts"
import { requireSignatures, signedText } from "../../packages/cli/src/bundles/sign-index.ts"
import { bundleArchive, readFiles, scratch, writeFiles } from "../support/bundles.ts"
import { NOW } from "../support/chains.ts"
import { Deployment } from "../support/deployment.ts"

const work = scratch()
afterAll(() => work.remove())

const deployment = new Deployment()
const files = new Map([
  ...deployment.publish(),
  ["policy/trustpolicy.json", utf8("{}")],
  ["log/tile/0/x001/067", utf8("tile")],
  ["signatures/sha256/ab/c.jws", utf8("jws")],
])
const trust = { pinnedRoot: deployment.pinnedRoot, now: NOW, floors: undefined }
const stamp = { date: NOW, epoch: 1 }
let counter = 0
let at = ""
let folder = ""

beforeEach(() => {
  at = join(work.path, String(counter++))
  mkdirSync(at)
  folder = writeFiles(join(at, "bundle"), files)
  writeIndex(folder, indexOfFolder(folder, stamp))
})

const codeOf = (act: () => unknown): unknown => {
  try {
    act()
    return "taken"
  } catch (error) {
    return (error as { code?: string }).code
  }
}
const pack = (name = "bundle.tar", partBytes?: number) =>
  writeArchives(openFolder(folder, true), join(at, name), partBytes).map(({ path }) => path)
const readAll = (content: ReturnType<typeof openAny>) => {
  for (const file of content.index.files)
    for (const chunk of verifiedChunks(content.places.get(file.path) as Place, file)) expect(chunk).toBeDefined()
}

describe("packing (R26)", () => {
  test("equal folders give equal archives and layouts, whenever and in whatever order they were written", () => {
    const [first = ""] = pack("a.tar")
    const other = writeFiles(join(at, "other"), new Map([...files].reverse()))
    writeIndex(other, indexOfFolder(other, stamp))
    writeArchives(openFolder(other, true), join(at, "b.tar"))
    expect(readFileSync(first).equals(readFileSync(join(at, "b.tar")))).toBe(true)
    for (const name of ["x", "y"]) writeLayout(openFolder(name === "x" ? folder : other, true), join(at, name))
    expect(readFiles(join(at, "x"))).toEqual(readFiles(join(at, "y")))
  })

  test("one archive, parts in any order, a layout and the folder all open as the same bundle", () => {
    const parts = pack("split.tar", 14_000)
    expect(parts.length).toBeGreaterThan(2)
    for (const part of parts) expect(readFileSync(part).length).toBeLessThanOrEqual(14_000)
    writeLayout(openFolder(folder, true), join(at, "oci"))
    const { digest } = openFolder(folder, true)
    for (const paths of [pack(), [...parts].reverse(), [join(at, "oci")], [folder]]) {
      const content = openAny(paths)
      expect(content.digest).toBe(digest)
      readAll(content)
      expect(verifyContent(content, trust).ok).toBe(true)
    }
  })

  test("tar of this machine makes the bundle's folder from the parts", () => {
    mkdirSync(join(at, "plain"))
    for (const part of pack("split.tar", 14_000)) execFileSync("tar", ["xf", part], { cwd: join(at, "plain") })
    rmSync(join(at, "plain/bundle-part.json"))
    expect(readFiles(join(at, "plain"))).toEqual(readFiles(folder))
  })

  test("a part that is too small for a file is said", () => {
    expect(codeOf(() => pack("small.tar", 2000))).toBe("USAGE")
  })

  test("a link in the folder is refused, a dotted name left out", () => {
    writeFileSync(join(folder, ".DS_Store"), "x")
    expect(indexOfFolder(folder, stamp)).toEqual(openFolder(folder, true).indexBytes)
    symlinkSync("/etc/passwd", join(folder, "passwd"))
    expect(codeOf(() => indexOfFolder(folder, stamp))).toBe("PATH_REFUSED")
  })
})

describe("parts that don't belong together are refused before anything is written (R26, R28)", () => {
  test("missing, repeated, of another bundle, swapped, cut", () => {
    const parts = pack("split.tar", 14_000)
    const [first = "", second = ""] = parts
    expect(codeOf(() => openAny(parts.slice(1)))).toBe("BUNDLE_PART_MISSING")
    expect(codeOf(() => openAny([...parts, first]))).toBe("BUNDLE_PART_REPEATED")
    writeFileSync(join(folder, "policy/trustpolicy.json"), "{ }")
    writeIndex(folder, indexOfFolder(folder, stamp))
    const others = pack("other.tar", 14_000)
    expect(codeOf(() => openAny([first, ...others.slice(1)]))).toBe("BUNDLE_PART_FOREIGN")
    cpSync(first, second)
    expect(codeOf(() => openAny(parts))).toBe("BUNDLE_PART_REPEATED")
    truncateSync(others[0] as string, 3000)
    expect(codeOf(() => openAny(others))).toBe("ARCHIVE_MALFORMED")
  })

  const own = bundleArchive(files)
  const without = (path: string) => [...files].filter(([each]) => each !== path)
  test.each<[string, () => Uint8Array, string]>([
    ["an honest one", () => own, "taken"],
    [
      "a file too many",
      () => bundleArchive(files, { archived: [...files, ["extra", utf8("x")]] }),
      "BUNDLE_FILE_MISMATCH",
    ],
    [
      "a path that climbs",
      () => bundleArchive(files, { archived: [...files, ["../../escaped", utf8("x")]] }),
      "BUNDLE_FILE_MISMATCH",
    ],
    [
      "an absolute path",
      () => bundleArchive(files, { archived: [...files, ["/tmp/escaped", utf8("x")]] }),
      "BUNDLE_FILE_MISMATCH",
    ],
    ["a file too few", () => bundleArchive(files, { archived: without("tuf/timestamp.json") }), "BUNDLE_FILE_MISMATCH"],
    [
      "a longer file",
      () =>
        bundleArchive(files, {
          archived: [...without("policy/trustpolicy.json"), ["policy/trustpolicy.json", utf8("{} ")]],
        }),
      "BUNDLE_FILE_MISMATCH",
    ],
    [
      "a file with other bytes",
      () =>
        bundleArchive(files, {
          archived: [...without("policy/trustpolicy.json"), ["policy/trustpolicy.json", utf8("[]")]],
        }),
      "BUNDLE_FILE_MISMATCH",
    ],
    ["no archive", () => utf8("PK"), "ARCHIVE_MALFORMED"],
    ["a compressed one", () => Uint8Array.from([0x1f, 0x8b, ...own.slice(2)]), "ARCHIVE_MALFORMED"],
  ])("%s", (_, bytes, code) => {
    writeFileSync(join(at, "hostile.tar"), bytes())
    expect(codeOf(() => readAll(openAny([join(at, "hostile.tar")])))).toBe(code)
    expect(existsSync(join(at, "../escaped"))).toBe(false)
    expect(existsSync("/tmp/escaped")).toBe(false)
  })

  test("more than allowed, by what the index promises", () => {
    expect(codeOf(() => openAny(pack(), 1000))).toBe("BUNDLE_TOO_LARGE")
  })

  test("an archive that is a link or a folder that has no index", () => {
    symlinkSync(pack()[0] as string, join(at, "link.tar"))
    expect(codeOf(() => openAny([join(at, "link.tar")]))).toBe("FILE_UNREADABLE")
    rmSync(join(folder, "bundle-index.json"))
    expect(codeOf(() => openAny([folder]))).toBe("BUNDLE_NOT_INDEXED")
  })

  test("a layout with another blob, without one, with another manifest", () => {
    const oci = join(at, "oci")
    writeLayout(openFolder(folder, true), oci)
    const layout = readFiles(oci)
    for (const path of layout.keys()) {
      if (path.endsWith("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")) continue
      const kept = readFileSync(join(oci, path))
      const flipped = Buffer.from(kept)
      flipped[kept.length >> 1] = (kept[kept.length >> 1] as number) ^ 1
      writeFileSync(join(oci, path), flipped)
      expect(
        codeOf(() => readAll(openLayout(oci))),
        path,
      ).not.toBe("taken")
      writeFileSync(join(oci, path), kept)
    }
    expect(codeOf(() => readAll(openLayout(oci)))).toBe("taken")
  })
})

describe("signatures over the index", () => {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const spki = new Uint8Array(publicKey.export({ type: "spki", format: "der" }))
  const keyId = "0".repeat(64)
  const key = { keyId, spki }

  test("the demanded key must have signed, and this index", () => {
    const content = openFolder(folder, true)
    expect(codeOf(() => requireSignatures(content, [key]))).toBe("BUNDLE_NOT_SIGNED")
    writeFileSync(join(folder, signatureName(keyId)), sign("sha256", signedText(content.digest), privateKey))
    expect(codeOf(() => requireSignatures(openFolder(folder, true), [key]))).toBe("taken")
    const stranger = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({
      type: "spki",
      format: "der",
    })
    expect(
      codeOf(() => requireSignatures(openFolder(folder, true), [key, { keyId, spki: new Uint8Array(stranger) }])),
    ).toBe("BUNDLE_NOT_SIGNED")
    const [archive = ""] = pack("signed.tar")
    expect(codeOf(() => requireSignatures(openAny([archive]), [key]))).toBe("taken")
    writeFileSync(join(folder, signatureName(keyId)), sign("sha256", signedText("0".repeat(64)), privateKey))
    expect(codeOf(() => requireSignatures(openFolder(folder, true), [key]))).toBe("BUNDLE_NOT_SIGNED")
  })

  test("a new index takes the old one's signatures away", () => {
    writeFileSync(join(folder, signatureName(keyId)), "x")
    writeIndex(folder, indexOfFolder(folder, stamp))
    expect(openFolder(folder, true).signatures.size).toBe(1)
    writeIndex(folder, indexOfFolder(folder, { ...stamp, epoch: 2 }))
    expect(openFolder(folder, true).signatures.size).toBe(0)
  })
})

describe("a folder is replaced in one step (R28)", () => {
  const build = async (staging: string) => {
    writeFiles(staging, files)
  }

  test("what fails leaves the old one as it was, and nothing beside it", async () => {
    const before = readFiles(folder)
    const failing = replaceFolder(folder, async (staging) => {
      await build(staging)
      throw new Error("cut")
    })
    await expect(failing).rejects.toThrow("cut")
    expect(readFiles(folder)).toEqual(before)
    expect(readdirSync(dirname(folder))).toEqual(["bundle"])
  })

  test("a run that was killed between the two renames is put in order by the next", async () => {
    const before = readFiles(folder)
    renameSync(folder, besideOf(folder, "old"))
    writeFiles(besideOf(folder, "new"), new Map([["half", utf8("x")]]))
    await expect(replaceFolder(folder, async () => Promise.reject(new Error("refused")))).rejects.toThrow("refused")
    expect(readFiles(folder)).toEqual(before)
    expect(readdirSync(dirname(folder))).toEqual(["bundle"])
  })

  test("a run that was killed after both keeps the new one", async () => {
    writeFiles(besideOf(folder, "old"), new Map([["sealwright-bundle.json", utf8("old")]]))
    await replaceFolder(folder, async (staging) => linkFiles(folder, staging))
    expect(readdirSync(dirname(folder))).toEqual(["bundle"])
    expect(readFiles(folder).get("policy/trustpolicy.json")).toBe("{}")
  })

  test("somebody's folder is not replaced, an empty one is", async () => {
    const mine = writeFiles(join(at, "mine"), new Map([["thesis.txt", utf8("years")]]))
    await expect(replaceFolder(mine, build)).rejects.toMatchObject({ code: "FOLDER_OCCUPIED" })
    expect(readFiles(mine).get("thesis.txt")).toBe("years")
    mkdirSync(join(at, "empty"))
    await replaceFolder(join(at, "empty"), build)
    expect(existsSync(join(at, "empty/sealwright-bundle.json"))).toBe(true)
  })

  test("one command at a time; a dead one's hold is taken over", async () => {
    writeFileSync(besideOf(folder, "lock"), String(process.pid))
    await expect(replaceFolder(folder, build)).rejects.toMatchObject({ code: "BUNDLE_BUSY" })
    writeFileSync(besideOf(folder, "lock"), "999999999")
    await replaceFolder(folder, build)
    expect(existsSync(besideOf(folder, "lock"))).toBe(false)
  })
})
