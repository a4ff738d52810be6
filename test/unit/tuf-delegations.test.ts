import { createHash } from "node:crypto"
import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import { matchesPath } from "@sealwright/verifier/tuf-rules"
import { describe, expect, it, test } from "vitest"
import { DAY_SEC, later, SimulatedClient, TufSimulator } from "../support/tuf-simulator.ts"

interface Delegation {
  readonly from: string
  readonly to: string
  readonly terminating?: boolean
  readonly paths?: readonly string[]
}

const to = (from: string, name: string, rest: Omit<Delegation, "from" | "to"> = {}): Delegation => ({
  from,
  to: name,
  ...rest,
})

function build(delegations: readonly Delegation[], artifacts: readonly (readonly [string, string, string])[] = []) {
  const repository = new TufSimulator()
  for (const { from, to: name, ...role } of delegations) repository.delegate(from, name, role)
  for (const [role, path, text] of artifacts) repository.addArtifact(role, path, utf8(text))
  repository.publish(...repository.delegated.keys(), "targets", "snapshot", "timestamp")
  const client = new SimulatedClient(repository)
  return { repository, client }
}

/** Delegated roles that were asked for, in order. */
function visited(repository: TufSimulator): string[] {
  return repository.requests.slice(4).map((name) => name.replace(/^1\.|\.json$/g, ""))
}

describe("the order of a search: depth first, in the order of the delegator's list", () => {
  test.each<[string, Delegation[], string]>([
    ["one role", [to("targets", "A")], "A"],
    ["two roles", [to("targets", "A"), to("targets", "B")], "A B"],
    ["two levels", [to("targets", "A"), to("targets", "B"), to("B", "C")], "A B C"],
    ["a branch before its sibling", [to("targets", "A"), to("targets", "B"), to("A", "C"), to("A", "D")], "A C D B"],
    [
      "three levels before the sibling",
      [to("targets", "A"), to("targets", "B"), to("A", "C"), to("C", "D")],
      "A C D B",
    ],
    [
      "a terminating role ends the search after itself",
      [to("targets", "A"), to("targets", "B"), to("A", "C", { terminating: true }), to("A", "D")],
      "A C",
    ],
    [
      "a terminating role ends the search after those that it delegates to",
      [to("targets", "A"), to("targets", "B"), to("A", "C", { terminating: true }), to("C", "D")],
      "A C D",
    ],
    [
      "a terminating role for other paths ends nothing",
      [to("targets", "A", { terminating: true, paths: ["*.py"] }), to("targets", "B")],
      "B",
    ],
    [
      "branches for other paths are left out",
      [to("targets", "A", { paths: ["*.py"] }), to("targets", "B"), to("A", "C")],
      "B",
    ],
    [
      "also further down",
      [to("targets", "A"), to("targets", "B"), to("A", "C", { paths: ["*.py"] }), to("C", "D")],
      "A B",
    ],
    [
      "a circle is walked once",
      [to("targets", "A"), to("targets", "B"), to("B", "C"), to("C", "D"), to("D", "B")],
      "A B C D",
    ],
    [
      "a role of two delegators is visited where it comes first",
      [to("targets", "A"), to("targets", "B"), to("B", "C"), to("A", "C")],
      "A C B",
    ],
    [
      "a role of two delegators is visited by the one that may speak for the path",
      [to("targets", "A"), to("targets", "B"), to("B", "C"), to("A", "C", { paths: ["*.py"] })],
      "A B C",
    ],
  ])("%s", (_, delegations, order) => {
    const { repository, client } = build(delegations)
    expect(client.download("missing")).toEqual(["TUF_TARGET_UNKNOWN"])
    expect(visited(repository).join(" ")).toBe(order)
  })

  it("visits 32 delegated roles and no more", () => {
    for (const [length, code] of [
      [32, "TUF_TARGET_UNKNOWN"],
      [33, "TUF_TOO_LARGE"],
    ] as const) {
      const names = Array.from({ length }, (_, i) => `role-${i}`)
      const { repository, client } = build(names.map((name) => to("targets", name)))
      expect(client.download("missing")).toEqual([code])
      expect(visited(repository)).toEqual(names.slice(0, 32))
    }
  })
})

describe("who may speak for a path", () => {
  const tree = () =>
    build(
      [
        to("targets", "A", { paths: ["*.doc", "*.md", "foo-?.tgz"] }),
        to("targets", "B", { paths: ["releases/*/*"] }),
        to("B", "C", { paths: ["releases/x/*"] }),
        to("B", "D", { paths: ["releases/y/*.zip"] }),
      ],
      [
        ["targets", "top", "by targets"],
        ["A", "README.md", "readme by A"],
        ["A", "releases/README.md", "nested readme by A"],
        ["A", "foo-1.tgz", "foo 1 by A"],
        ["A", "foo-alpha.tgz", "foo alpha by A"],
        ["C", "releases/x/x_v1", "x by C"],
        ["D", "releases/y/y_v1.zip", "y by D"],
        ["D", "releases/z/z_v1.zip", "z by D"],
      ],
    )

  test.each([
    ["top", "by targets", ""],
    ["README.md", "readme by A", "A"],
    ["releases/x/x_v1", "x by C", "B C"],
    ["releases/y/y_v1.zip", "y by D", "B D"],
    ["releases/z/z_v1.zip", "TUF_TARGET_UNKNOWN", "B"],
    ["releases/README.md", "TUF_TARGET_UNKNOWN", ""],
    ["foo-1.tgz", "foo 1 by A", "A"],
    ["foo-alpha.tgz", "TUF_TARGET_UNKNOWN", ""],
    ["README.MD", "TUF_TARGET_UNKNOWN", ""],
  ])("%s: %s", (path, result, order) => {
    const { repository, client } = tree()
    expect(client.download(path)).toEqual([result])
    expect(visited(repository).join(" ")).toBe(order)
  })

  it("a delegated role's entry outside its paths is never found", () => {
    const { client } = build(
      [to("targets", "lists", { paths: ["lists/*"], terminating: true })],
      [["lists", "policy.json", "forged"]],
    )
    expect(client.download("policy.json")).toEqual(["TUF_TARGET_UNKNOWN"])
  })

  it("the first role that lists a path wins", () => {
    const { repository, client } = build(
      [to("targets", "A"), to("targets", "B")],
      [
        ["B", "file", "by B"],
        ["A", "file", "by A"],
      ],
    )
    expect(client.download("file")).toEqual(["by A"])
    expect(visited(repository)).toEqual(["A"])
  })

  it("bins by the digest of the path", () => {
    const repository = new TufSimulator()
    const prefix = createHash("sha256").update("file").digest("hex").slice(0, 2)
    repository.delegate("targets", "bin")
    repository.tamper.set("targets", ({ delegations }) => {
      delegations.roles[0].path_hash_prefixes = [prefix]
      delete delegations.roles[0].paths
    })
    repository.addArtifact("bin", "file", utf8("in the bin"))
    repository.addArtifact("bin", "elsewhere", utf8("not in the bin"))
    repository.publish("bin", "targets", "snapshot", "timestamp")
    expect(new SimulatedClient(repository).download("file", "elsewhere")).toEqual(["in the bin", "TUF_TARGET_UNKNOWN"])
  })
})

describe("matchesPath", () => {
  test.each([
    ["a", "a", true],
    ["a", "b", false],
    ["*", "", true],
    ["*", "a.b", true],
    ["*", "a/b", false],
    ["*/*", "a/b", true],
    ["?", "", false],
    ["?", "/", false],
    ["?", "é", true],
    ["?", "😀", true],
    ["a*b*c", "a-b-b-c", true],
    ["a*b*c", "a-b-b-c-", false],
    ["*.tgz", ".tgz", true],
    ["a.c", "abc", false],
    ["A", "a", false],
    ["lists/*", "lists/", true],
    ["lists/*", "lists/a/b", false],
    ["lists/*", "listsXa", false],
    ["*?", "", false],
    ["**", "ab", true],
    ["(a|b)+$", "(a|b)+$", true],
  ])("%s on %s: %s", (pattern, path, expected) => {
    expect(matchesPath(pattern, path)).toBe(expected)
  })

  it("ends soon on a pattern that makes others backtrack", () => {
    expect(matchesPath(`${"a*".repeat(200)}b`, "a".repeat(1_000))).toBe(false)
  })
})

describe("trust in a delegated role", () => {
  it("holds by the delegator of the search, not by an earlier one", () => {
    const { repository, client } = build([
      to("targets", "parent-a", { paths: ["team-a/*"] }),
      to("targets", "parent-b", { paths: ["team-b/*"] }),
      to("parent-a", "release", { paths: ["team-a/*"] }),
      to("parent-b", "release", { paths: ["team-b/*"] }),
    ])
    const [signerOfA] = repository.signers.get("release") ?? []
    if (signerOfA !== undefined) repository.signers.set("release", [signerOfA])
    repository.addArtifact("release", "team-a/root.json", utf8("trusted by a"))
    repository.addArtifact("release", "team-b/root.json", utf8("not trusted by b"))
    repository.publish("release", "snapshot", "timestamp")
    expect(client.download("team-a/root.json", "team-b/root.json")).toEqual(["trusted by a", "TUF_SIGNATURES_MISSING"])
    expect(client.download("team-b/root.json")).toEqual(["TUF_SIGNATURES_MISSING"])
  })

  it("needs the snapshot to list it", () => {
    const { repository, client } = build([to("targets", "lists", { paths: ["lists/*"] })])
    repository.snapshot.meta.delete("lists.json")
    repository.publish("snapshot", "timestamp")
    expect(client.result()).toBe("ok")
    repository.requests.length = 0
    expect(client.download("lists/a")).toEqual(["TUF_MISSING"])
    expect(client.versions()).not.toHaveProperty("lists")
    expect(repository.requests).toEqual(["2.root.json", "timestamp.json"])
  })

  test.each<[string, (repository: TufSimulator) => void, string]>([
    ["unsigned", (repository) => repository.signers.set("lists", []), "TUF_SIGNATURES_MISSING"],
    [
      "signed by targets' key",
      (repository) => repository.signers.set("lists", repository.signers.get("targets") ?? []),
      "TUF_SIGNATURES_MISSING",
    ],
    ["expired", (repository) => Object.assign(repository.role("lists"), { expires: later(-DAY_SEC) }), "TUF_EXPIRED"],
    [
      "of another type",
      (repository) => void repository.tamper.set("lists", (signed) => Object.assign(signed, { _type: "snapshot" })),
      "TUF_MALFORMED",
    ],
    [
      "of another version",
      (repository) => void repository.tamper.set("lists", (signed) => Object.assign(signed, { version: 9 })),
      "TUF_VERSION_MISMATCH",
    ],
  ])("%s: refused, and nothing of it is kept", (_, spoil, code) => {
    const { repository, client } = build([to("targets", "lists")], [["lists", "a", "content"]])
    expect(client.download("a")).toEqual(["content"])
    spoil(repository)
    repository.publish("lists", "snapshot", "timestamp")
    expect(client.download("a")).toEqual([code])
    expect(client.versions().lists).toBe(1)
  })

  it("lengths and digests in the snapshot bind it", () => {
    const { repository, client } = build([to("targets", "lists")], [["lists", "a", "content"]])
    repository.withHashes = true
    repository.publish("lists", "targets", "snapshot", "timestamp")
    const files = repository.files.get("lists") as Uint8Array[]
    repository.publishAs("lists")
    repository.rewrite("lists", (file) => {
      file.signatures.reverse()
    })
    repository.files.set("lists", [files[0] as Uint8Array, utf8(`${utf8Decode(files[1] as Uint8Array)} `)])
    expect(client.download("a")).toEqual(["TUF_HASH_MISMATCH"])
  })

  it("a kept copy serves until the snapshot lists another", () => {
    const { repository, client } = build([to("targets", "lists")], [["lists", "a", "one"]])
    expect(client.download("a")).toEqual(["one"])
    repository.requests.length = 0
    expect(client.download("a")).toEqual(["one"])
    expect(repository.requests).toEqual(["2.root.json", "timestamp.json"])
    repository.addArtifact("lists", "a", utf8("two"))
    repository.publish("lists", "snapshot", "timestamp")
    expect(client.download("a")).toEqual(["two"])
    expect(repository.requests).toContain("2.lists.json")
  })

  test.each<[string, (role: Record<string, unknown>) => void]>([
    ["the name of a top-level role", (role) => Object.assign(role, { name: "snapshot" })],
    ["both kinds of paths", (role) => Object.assign(role, { path_hash_prefixes: ["00"] })],
    ["no paths", (role) => delete role.paths],
    ["a bracket, on which clients disagree", (role) => Object.assign(role, { paths: ["lists/[ab]"] })],
    ["a brace, on which clients disagree", (role) => Object.assign(role, { paths: ["{a,b}"] })],
    ["two stars, on which clients disagree", (role) => Object.assign(role, { paths: ["lists/**"] })],
    ["a backslash, on which clients disagree", (role) => Object.assign(role, { paths: ["lists\\*"] })],
  ])("a delegation with %s is refused with its document", (_, change) => {
    const { repository, client } = build([to("targets", "lists")])
    repository.tamper.set("targets", (signed) => change(signed.delegations.roles[0]))
    repository.publish("targets", "snapshot", "timestamp")
    expect(client.result()).toBe("TUF_MALFORMED")
  })

  it("a role delegated twice in one document is refused", () => {
    const { repository, client } = build([to("targets", "lists")])
    repository.tamper.set("targets", ({ delegations }) => {
      delegations.roles.push(delegations.roles[0])
    })
    repository.publish("targets", "snapshot", "timestamp")
    expect(client.result()).toBe("TUF_MALFORMED")
  })
})

test.each(["?", "#", "/role", "../role", "..", "a b", "é", "con", "%2e%2e"])(
  "the role name %j stays one file name",
  (name) => {
    const { repository, client } = build([to("targets", name)], [[name, "file", "content"]])
    expect(client.download("file", "missing")).toEqual(["content", "TUF_TARGET_UNKNOWN"])
    expect(repository.requests.at(-1)).toBe(`1.${encodeURIComponent(name)}.json`)
    expect(repository.requests.at(-1)).not.toContain("/")
    expect(Object.keys(client.versions())).toHaveLength(5)
  },
)
