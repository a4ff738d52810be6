import {
  checkBundlePath,
  checkBundlePaths,
  encodeBundleIndex,
  encodeBundlePart,
  parseBundleIndex,
  parseBundlePart,
} from "@sealwright/formats/bundle-index"
import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import { describe, expect, test } from "vitest"

const sha256 = "ab".repeat(32)
const INDEX = {
  date: new Date("2026-11-21T09:00:00Z"),
  epoch: 7,
  files: ["tuf/timestamp.json", "policy/root-1.pem", "log/tile/0/x001"].map((path) => ({ path, size: 3, sha256 })),
}
const code = (act: () => unknown): unknown => {
  try {
    act()
    return "taken"
  } catch (error) {
    return (error as { code?: string }).code
  }
}

describe("the index of a bundle (R26)", () => {
  test("equal files give equal bytes, in any order, and come back sorted", () => {
    const bytes = encodeBundleIndex(INDEX)
    expect(encodeBundleIndex({ ...INDEX, files: [...INDEX.files].reverse() })).toEqual(bytes)
    expect(parseBundleIndex(bytes)).toEqual({
      ...INDEX,
      files: [...INDEX.files].sort((a, b) => (a.path < b.path ? -1 : 1)),
    })
  })

  const changed = (from: string, to: string) => utf8(utf8Decode(encodeBundleIndex(INDEX)).replace(from, to))
  test.each<[string, Uint8Array, string]>([
    ["a newer version", changed(".v1+json", ".v2+json"), "VERSION_UNKNOWN"],
    ["white space", changed('{"mediaType"', '{ "mediaType"'), "SHAPE_MISMATCH"],
    ["no line end", utf8(utf8Decode(encodeBundleIndex(INDEX)).trim()), "SHAPE_MISMATCH"],
    ["an unknown member", changed('"epoch":7', '"epoch":7,"more":1'), "SHAPE_MISMATCH"],
    ["files out of order", changed("log/tile", "zlog/tile"), "SHAPE_MISMATCH"],
    ["a file twice", changed("policy/root-1.pem", "log/tile/0/x001"), "PATH_REFUSED"],
    ["a path that climbs", changed("log/tile/0/x001", "log/../../x"), "PATH_REFUSED"],
    ["an absolute path", changed("log/tile/0/x001", "/etc/passwd"), "PATH_REFUSED"],
    ["itself", changed("log/tile/0/x001", "bundle-index.json"), "PATH_REFUSED"],
    ["a negative size", changed('"size":3', '"size":-3'), "SHAPE_MISMATCH"],
    ["a digest in upper case", changed(sha256, sha256.toUpperCase()), "SHAPE_MISMATCH"],
    ["no JSON", utf8("{"), "JSON_MALFORMED"],
  ])("%s is refused", (_, bytes, expected) => {
    expect(code(() => parseBundleIndex(bytes))).toBe(expected)
  })

  test.each([
    "",
    "/",
    "a/",
    "/a",
    "a//b",
    ".",
    "..",
    "a/..",
    "a/./b",
    ".hidden",
    "a/.git/config",
    "a\\b",
    "C:/a",
    "a b",
    "a\nb",
    "é",
    "a.",
    "con",
    "Aux.txt",
    "lpt1/x",
    "a:stream",
    `${"a/".repeat(16)}a`,
    "x".repeat(202),
  ])("the path %j is refused", (path) => {
    expect(code(() => checkBundlePath(path))).toBe("PATH_REFUSED")
  })

  test("paths that are one file somewhere are refused together", () => {
    expect(code(() => checkBundlePaths(["log/Tile", "log/tile"]))).toBe("PATH_REFUSED")
    expect(code(() => checkBundlePaths(["log", "log/tile"]))).toBe("PATH_REFUSED")
    expect(
      code(() =>
        checkBundlePaths(["tuf/targets/1.a%2Fb.json", "log/tile/0/x001/234.p/5", "signatures/sha256/ab/c.jws"]),
      ),
    ).toBe("taken")
  })

  test("a part says which it is", () => {
    const part = { part: 2, parts: 3, index: sha256 }
    expect(parseBundlePart(encodeBundlePart(part))).toEqual(part)
    expect(code(() => parseBundlePart(encodeBundlePart({ ...part, part: 4 })))).toBe("SHAPE_MISMATCH")
    expect(code(() => parseBundlePart(encodeBundlePart({ ...part, part: 0 })))).toBe("SHAPE_MISMATCH")
  })
})
