import { concat, utf8 } from "@sealwright/formats/bytes"
import { runSync } from "@sealwright/verifier/node-crypto"
import type { TufTrusted } from "@sealwright/verifier/tuf-client"
import { findTarget, isTarget, readTarget } from "@sealwright/verifier/tuf-targets"
import { describe, expect, it, test } from "vitest"
import { SimulatedClient, TufSimulator } from "../support/tuf-simulator.ts"

function setUp(...artifacts: readonly (readonly [string, string])[]) {
  const repository = new TufSimulator()
  for (const [path, text] of artifacts) repository.addArtifact("targets", path, utf8(text))
  repository.publish("targets", "snapshot", "timestamp")
  return { repository, client: new SimulatedClient(repository) }
}

function trustedBy(client: SimulatedClient): TufTrusted {
  const outcome = client.refresh()
  if (!outcome.accepted) throw new Error(outcome.refusal.code)
  return outcome.trusted
}

it("a target is read, and nothing before it is asked for", () => {
  const { repository, client } = setUp(["file.txt", "content"])
  expect(client.result()).toBe("ok")
  expect(repository.targetRequests).toEqual([])
  expect(client.download("file.txt")).toEqual(["content"])
  expect(repository.targetRequests).toEqual([expect.stringMatching(/^[0-9a-f]{64}\.file\.txt$/)])
})

it("a target in a folder has its digest before the last part of its path", () => {
  const { repository, client } = setUp(["path/to/a/file.txt", "content"])
  expect(client.download("path/to/a/file.txt")).toEqual(["content"])
  expect(repository.targetRequests).toEqual([expect.stringMatching(/^path\/to\/a\/[0-9a-f]{64}\.file\.txt$/)])
})

describe("bytes that the metadata does not name", () => {
  const right = "content"
  test.each([
    ["others of the same length", "CONTENT"],
    ["shorter", "conten"],
    ["longer", "content "],
    ["none", ""],
  ])("%s are refused", (_, wrong) => {
    const { repository, client } = setUp(["one", right], ["two", right])
    expect(client.download("one")).toEqual([right])
    for (const path of ["one", "two"]) repository.artifacts.set(path, utf8(wrong))
    expect(client.download("one")).toEqual(["TUF_HASH_MISMATCH"])
    expect(client.download("two")).toEqual(["TUF_HASH_MISMATCH"])
  })

  it("are refused through many changes of the file", () => {
    const { repository, client } = setUp(["file", "0"])
    for (let i = 1; i <= 11; i++) {
      repository.addArtifact("targets", "file", utf8(`changed ${i}`))
      repository.addArtifact("targets", `new-${i}`, utf8(`new ${i}`))
      for (let version = 0; version <= i % 5; version++) repository.publish("targets", "snapshot", "timestamp")
      expect(client.download("file", `new-${i}`)).toEqual([`changed ${i}`, `new ${i}`])
      repository.artifacts.set("file", utf8(`malware ${i}`))
      expect(client.download("file")).toEqual(["TUF_HASH_MISMATCH"])
    }
  })

  it("a file that isn't there", () => {
    const { repository, client } = setUp(["file", "content"])
    repository.artifacts.clear()
    expect(client.download("file")).toEqual(["TUF_MISSING"])
  })
})

describe("digests", () => {
  test.each([[["sha256"]], [["sha512"]], [["sha384"]], [["sha512", "sha256"]]])("%j", (names) => {
    const { repository, client } = setUp()
    repository.addArtifact("targets", "file", utf8("content"), names)
    repository.publish("targets", "snapshot", "timestamp")
    expect(client.download("file")).toEqual(["content"])
    const length = { sha256: 64, sha384: 96, sha512: 128 }[names.includes("sha256") ? "sha256" : (names[0] as "sha512")]
    expect(repository.targetRequests).toEqual([expect.stringMatching(new RegExp(`^[0-9a-f]{${length}}\\.file$`))])
  })

  it("all that can be computed must fit", () => {
    const { repository, client } = setUp(["file", "content"])
    const file = repository.targets.targets.get("file")
    for (const [name, code] of [
      ["sha512", "TUF_HASH_MISMATCH"],
      ["blake9", "content"],
    ] as const) {
      repository.targets.targets.set("file", { length: 7, hashes: new Map([...(file?.hashes ?? []), [name, "00"]]) })
      repository.publish("targets", "snapshot", "timestamp")
      expect(client.download("file")).toEqual([code])
    }
  })

  it("unknown kinds alone are refused, whatever the bytes", () => {
    const { repository, client } = setUp(["file", "content"])
    const hex = repository.targets.targets.get("file")?.hashes.get("sha256") as string
    repository.targets.targets.set("file", { length: 7, hashes: new Map([["unknown-hash", hex]]) })
    repository.publish("targets", "snapshot", "timestamp")
    expect(client.download("file")).toEqual(["TUF_HASH_UNKNOWN"])
    repository.targets.targets.set("file", { length: 7, hashes: new Map() })
    repository.publish("targets", "snapshot", "timestamp")
    expect(client.download("file")).toEqual(["TUF_HASH_UNKNOWN"])
  })
})

it("a copy that the caller has is checked without asking for it again", () => {
  const { repository, client } = setUp(["file", "content"])
  const [copy = ""] = client.download("file")
  const found = runSync(findTarget(trustedBy(client), "file"))
  if (!found.accepted) throw new Error(found.refusal.code)
  expect(found.role).toBe("targets")
  expect(runSync(isTarget(found.file, utf8(copy)))).toBe(true)
  expect(runSync(isTarget(found.file, utf8("CONTENT")))).toBe(false)
  expect(repository.targetRequests).toHaveLength(1)
})

it("custom members come with the target", () => {
  const { repository, client } = setUp(["file", "content"])
  const custom = { "sealwright.list": { epoch: 7 } }
  repository.targets.targets.set("file", {
    ...(repository.targets.targets.get("file") as { length: 7 }),
    hashes: new Map([["sha256", "00"]]),
    custom,
  })
  repository.publish("targets", "snapshot", "timestamp")
  const found = runSync(findTarget(trustedBy(client), "file"))
  expect(found).toMatchObject({ accepted: true, file: { custom: { "sealwright.list": { epoch: 7 } } } })
})

test.each(["../file", "a/../file", "a/./b", "/etc/passwd", "a//b", "a/", "C:file", "a\\b", "a\0b", "a\nb", ".", ".."])(
  "the path %j is refused though the metadata lists it",
  (path) => {
    const { repository, client } = setUp([path, "content"])
    expect(client.download(path)).toEqual(["TUF_PATH_UNSAFE"])
    expect(repository.targetRequests).toEqual([])
  },
)

test.each(["__proto__", "constructor", "toString"])("the path %s is a name like any other", (path) => {
  expect(setUp().client.download(path)).toEqual(["TUF_TARGET_UNKNOWN"])
  expect(setUp([path, "content"]).client.download(path)).toEqual(["content"])
})

it("the caller's limit holds below the signed length", () => {
  const { repository, client } = setUp(["file", "content"])
  const trusted = trustedBy(client)
  expect(runSync(readTarget(trusted, repository.targetSource, "file", 6))).toMatchObject({
    refusal: { code: "TUF_TOO_LARGE" },
  })
  expect(runSync(readTarget(trusted, repository.targetSource, "file", 7))).toMatchObject({ bytes: utf8("content") })
})

it("a source is told how much there is to read, and may give a byte more of an endless file", () => {
  const { client } = setUp(["file", "content"])
  const asked: number[] = []
  const endless = {
    read: (_: string, maxBytes: number) => {
      asked.push(maxBytes)
      return concat(utf8("content"), new Uint8Array(maxBytes + 1 - 7))
    },
  }
  expect(runSync(readTarget(trustedBy(client), endless, "file", 1_000))).toMatchObject({
    refusal: { code: "TUF_HASH_MISMATCH" },
  })
  expect(asked).toEqual([7])
})
