import { concat, utf8, utf8Decode } from "@sealwright/formats/bytes"
import { describe, expect, it, test } from "vitest"
import { later, NOW, newSigner, SimulatedClient, TufSimulator } from "../support/tuf-simulator.ts"

const ALL = ["root", "targets", "snapshot", "timestamp"] as const

function setUp() {
  const repository = new TufSimulator()
  return { repository, client: new SimulatedClient(repository) }
}

describe("a refresh", () => {
  it("asks for the next root, timestamp, snapshot and targets, in this order and once", () => {
    const { repository, client } = setUp()
    expect(client.result()).toBe("ok")
    expect(repository.requests).toEqual(["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"])
  })

  it("keeps the files byte for byte", () => {
    const { repository, client } = setUp()
    repository.files.set("timestamp", [concat(repository.newest("timestamp") as Uint8Array, utf8(" \n"))])
    expect(client.result()).toBe("ok")
    expect(client.state.root).toEqual(repository.newest("root"))
    expect(client.state.timestamp).toEqual(repository.newest("timestamp"))
    expect(client.state.snapshot).toEqual(repository.newest("snapshot"))
    expect(client.state.targets?.get("targets")).toEqual(repository.newest("targets"))
  })

  it("asks for nothing but root and timestamp when nothing has changed", () => {
    const { repository, client } = setUp()
    client.refresh()
    repository.requests.length = 0
    expect(client.result()).toBe("ok")
    expect(repository.requests).toEqual(["2.root.json", "timestamp.json"])
  })

  it("comes before a download, even of a target that isn't there", () => {
    const { repository, client } = setUp()
    expect(client.download("nothing")).toEqual(["TUF_TARGET_UNKNOWN"])
    expect(repository.requests).toHaveLength(4)
    expect(client.versions()).toEqual({ root: 1, snapshot: 1, targets: 1, timestamp: 1 })
  })

  it("follows unversioned names where root has no consistent snapshots", () => {
    const { repository } = setUp()
    repository.root.consistentSnapshot = false
    repository.addArtifact("targets", "dir/file", utf8("content"))
    repository.publish(...ALL)
    const client = new SimulatedClient(repository)
    expect(client.download("dir/file")).toEqual(["content"])
    expect(repository.requests).toEqual([
      "2.root.json",
      "3.root.json",
      "timestamp.json",
      "snapshot.json",
      "targets.json",
    ])
    expect(repository.targetRequests).toEqual(["dir/file"])
  })

  it("walks the whole chain of roots", () => {
    const { repository, client } = setUp()
    for (let i = 0; i < 20; i++) repository.publish("root")
    expect(client.result()).toBe("ok")
    expect(client.versions().root).toBe(21)
    expect(repository.requests.slice(19, 22)).toEqual(["21.root.json", "22.root.json", "timestamp.json"])
  })

  it("stops after 256 roots, and goes on from there next time", () => {
    const { repository, client } = setUp()
    for (let i = 0; i < 260; i++) repository.publish("root")
    expect(client.result()).toBe("ok")
    expect(client.versions().root).toBe(257)
    expect(client.result()).toBe("ok")
    expect(client.versions().root).toBe(261)
  })

  it("lets what the source throws pass, with the state as it was", () => {
    const { repository, client } = setUp()
    const before = client.state
    const broken = new Error("not fetched")
    client.repository.source.read = () => {
      throw broken
    }
    expect(() => client.refresh()).toThrow(broken)
    expect(client.state).toBe(before)
    expect(repository.requests).toEqual([])
  })
})

describe("the first root", () => {
  test.each([
    ["without a version", (file: { signed: { version?: number } }) => delete file.signed.version, "TUF_MALFORMED"],
    [
      "with another signature in place of its own",
      (file: { signatures: { sig: string }[] }) => {
        for (const signature of file.signatures)
          signature.sig = Buffer.from(newSigner().sign(utf8("x"))).toString("hex")
      },
      "TUF_SIGNATURES_MISSING",
    ],
  ])("%s is refused before anything is asked for", (_, change, code) => {
    const { repository } = setUp()
    const root = JSON.parse(utf8Decode(repository.newest("root") as Uint8Array))
    change(root)
    const client = new SimulatedClient(repository, utf8(JSON.stringify(root)))
    expect(client.result()).toBe(code)
    expect(repository.requests).toEqual([])
  })

  test.each([["nothing"], ["{}"], ["[]"], ["not json"], ['{"signed":{},"signatures":[]}']])(
    "as %s is refused",
    (text) => {
      const { repository } = setUp()
      expect(new SimulatedClient(repository, utf8(text)).result()).toBe("TUF_MALFORMED")
    },
  )
})

describe("a role whose signer is missing (R28)", () => {
  test.each([
    ["root", { root: 1 }],
    ["timestamp", { root: 2 }],
    ["snapshot", { root: 2, timestamp: 2 }],
    ["targets", { root: 2, snapshot: 2, timestamp: 2 }],
  ])("%s is refused, and what came before it is kept", (role, versions) => {
    const { repository, client } = setUp()
    repository.signers.set(role, [])
    repository.publish(...ALL)
    expect(client.result()).toBe("TUF_SIGNATURES_MISSING")
    expect(client.versions()).toEqual(versions)
  })
})

describe("a file with another version than its name says", () => {
  test.each([
    ["root", { root: 1 }],
    ["snapshot", { root: 2, timestamp: 2 }],
    ["targets", { root: 2, snapshot: 2, timestamp: 2 }],
  ])("%s", (role, versions) => {
    const { repository, client } = setUp()
    repository.tamper.set(role, (signed) => {
      signed.version = 3
    })
    repository.publish(...ALL)
    expect(client.result()).toBe("TUF_VERSION_MISMATCH")
    expect(client.versions()).toEqual(versions)
  })
})

describe("a timestamp of the version that is known", () => {
  it("is put aside, whatever it says", () => {
    const { repository, client } = setUp()
    client.refresh()
    repository.timestamp.snapshot = { version: 100 }
    repository.files.set("timestamp", [])
    repository.publishAs("timestamp")
    repository.requests.length = 0
    expect(client.result()).toBe("ok")
    expect(repository.requests.at(-1)).toBe("timestamp.json")
    expect(JSON.parse(utf8Decode(client.state.timestamp as Uint8Array)).signed.meta["snapshot.json"].version).toBe(1)
  })
})

describe("lengths and digests in snapshot and timestamp", () => {
  it("are accepted when they fit", () => {
    const { repository, client } = setUp()
    repository.withHashes = true
    repository.publish("targets", "snapshot", "timestamp")
    expect(client.result()).toBe("ok")
  })

  const wrong = {
    "another digest": { version: 3, hashes: new Map([["sha256", "0".repeat(64)]]) },
    "another length": { version: 3, length: 17 },
    "one of two digests": (right: ReadonlyMap<string, string>) => ({
      version: 3,
      hashes: new Map([...right, ["sha512", "0".repeat(128)]]),
    }),
  }
  test.each(["another digest", "another length", "one of two digests"] as const)("%s: targets are refused", (name) => {
    const { repository, client } = setUp()
    repository.withHashes = true
    repository.publish("targets", "snapshot", "timestamp")
    expect(client.result()).toBe("ok")
    repository.publish("targets")
    const right = repository.snapshot.meta.get("targets.json")?.hashes as ReadonlyMap<string, string>
    const entry = wrong[name]
    repository.snapshot.meta.set("targets.json", typeof entry === "function" ? entry(right) : entry)
    repository.publish("snapshot", "timestamp")
    expect(client.result()).toBe("TUF_HASH_MISMATCH")
    expect(client.versions()).toEqual({ root: 1, snapshot: 3, targets: 2, timestamp: 3 })
  })

  test.each(["another digest", "another length", "one of two digests"] as const)(
    "%s: the snapshot is refused",
    (name) => {
      const { repository, client } = setUp()
      repository.withHashes = true
      repository.publish("snapshot", "timestamp")
      expect(client.result()).toBe("ok")
      repository.publish("snapshot")
      const entry = wrong[name]
      const right = repository.timestamp.snapshot.hashes as ReadonlyMap<string, string>
      repository.timestamp.snapshot = typeof entry === "function" ? entry(right) : entry
      repository.publish("timestamp")
      expect(client.result()).toBe("TUF_HASH_MISMATCH")
      expect(client.versions()).toEqual({ root: 1, snapshot: 2, targets: 1, timestamp: 3 })
    },
  )

  it("of unknown kinds alone can't be checked", () => {
    const { repository, client } = setUp()
    repository.timestamp.snapshot = { version: 1, hashes: new Map([["blake9", "00"]]) }
    repository.publish("timestamp")
    expect(client.result()).toBe("TUF_HASH_UNKNOWN")
  })

  it("a kept copy that no longer fits them is fetched again", () => {
    const { repository, client } = setUp()
    client.refresh()
    repository.withHashes = true
    repository.files.set("snapshot", [])
    repository.publishAs("snapshot")
    repository.publish("timestamp")
    repository.requests.length = 0
    expect(client.result()).toBe("ok")
    expect(repository.requests).toContain("1.snapshot.json")
    expect(client.state.snapshot).toEqual(repository.newest("snapshot"))
  })
})

describe("members that the reader does not know", () => {
  it("are signed like the others: root, role, key", () => {
    const { repository, client } = setUp()
    const signer = repository.addKey("root")
    repository.tamper.set("root", (signed) => {
      signed["custom-field"] = { "ordered last": [1, "é"], a: null }
      signed.roles.root["another-field"] = "value"
      signed.keys[signer.keyid]["extra-field"] = { a: 1, b: 2 }
    })
    repository.publish("root")
    expect(client.result()).toBe("ok")
    expect(client.versions().root).toBe(2)
    repository.publish("root")
    repository.rewrite("root", (file) => {
      file.signed["custom-field"].a = 0
    })
    expect(client.result()).toBe("TUF_SIGNATURES_MISSING")
  })

  it("keyid_hash_algorithms changes nothing", () => {
    const { repository, client } = setUp()
    repository.rotate("snapshot")
    repository.tamper.set("root", (signed) => {
      for (const key of Object.values(signed.keys) as Record<string, string>[]) key.keyid_hash_algorithms = "md5"
    })
    repository.publish("root", "snapshot", "timestamp")
    expect(client.result()).toBe("ok")
    expect(client.versions()).toEqual({ root: 2, snapshot: 2, targets: 1, timestamp: 2 })
  })
})

describe("a missing file", () => {
  it("snapshot: the timestamp is kept", () => {
    const { repository, client } = setUp()
    client.refresh()
    repository.timestamp.snapshot = { version: 2 }
    repository.publish("timestamp")
    expect(client.result()).toBe("TUF_MISSING")
    expect(repository.requests.at(-1)).toBe("2.snapshot.json")
    expect(client.versions()).toEqual({ root: 1, snapshot: 1, targets: 1, timestamp: 2 })
  })

  it("targets: timestamp and snapshot are kept", () => {
    const { repository, client } = setUp()
    client.refresh()
    repository.snapshot.meta.set("targets.json", { version: 2 })
    repository.publish("snapshot", "timestamp")
    expect(client.result()).toBe("TUF_MISSING")
    expect(repository.requests.at(-1)).toBe("2.targets.json")
    expect(client.versions()).toEqual({ root: 1, snapshot: 2, targets: 1, timestamp: 2 })
  })

  it("timestamp", () => {
    const { repository, client } = setUp()
    client.refresh()
    repository.files.delete("timestamp")
    expect(client.result()).toBe("TUF_MISSING")
    expect(repository.requests.at(-1)).toBe("timestamp.json")
  })

  it("targets.json is not in the snapshot", () => {
    const { repository, client } = setUp()
    repository.snapshot.meta.clear()
    repository.publish("snapshot", "timestamp")
    expect(client.result()).toBe("TUF_MISSING")
  })
})

describe("the wrong document in a role's place (mix-and-match, R28)", () => {
  it("a snapshot that would read as a timestamp and bears its signature", () => {
    const { repository, client } = setUp()
    const timestampSigner = repository.signers.get("timestamp")?.[0]
    if (timestampSigner !== undefined) repository.addKey("snapshot", timestampSigner)
    repository.snapshot.meta = new Map([["snapshot.json", { version: 1 }]])
    repository.publish("root", "snapshot")
    repository.files.set("timestamp", [repository.newest("snapshot") as Uint8Array])
    expect(client.result()).toBe("TUF_MALFORMED")
    expect(client.versions()).toEqual({ root: 2 })
  })

  test.each(ALL.flatMap((place) => ALL.filter((role) => role !== place).map((role) => [role, place] as const)))(
    "%s as %s",
    (role, place) => {
      const { repository, client } = setUp()
      const files = repository.files.get(place) ?? []
      const foreign = repository.newest(role) as Uint8Array
      repository.files.set(place, place === "root" ? [...files, foreign] : [foreign])
      expect(client.result()).toBe("TUF_MALFORMED")
    },
  )
})

describe("limits", () => {
  test.each([
    ["root", 512_000],
    ["timestamp", 16_384],
    ["snapshot", 2_000_000],
    ["targets", 5_000_000],
  ])("%s of %d bytes is read, one more is refused", (role, limit) => {
    for (const [extra, result] of [
      [0, "ok"],
      [1, "TUF_TOO_LARGE"],
    ] as const) {
      const { repository, client } = setUp()
      if (role === "root") repository.publish("root")
      const bytes = repository.newest(role) as Uint8Array
      const padded = concat(bytes, new Uint8Array(limit + extra - bytes.length).fill(0x20))
      repository.files.set(role, [...(repository.files.get(role)?.slice(0, -1) ?? []), padded])
      expect(client.result()).toBe(result)
    }
  })

  it("twenty thousand signatures are refused by their number", () => {
    const { repository, client } = setUp()
    repository.rewrite("snapshot", (file) => {
      for (let i = 0; i < 20_000; i++) file.signatures.push({ keyid: String(i), sig: "00" })
    })
    expect(client.result()).toBe("TUF_TOO_LARGE")
  })
})

test.each([
  ["2.0.0", "TUF_SPEC_UNKNOWN"],
  ["1", "TUF_SPEC_UNKNOWN"],
  ["1.x", "TUF_SPEC_UNKNOWN"],
  ["1.0", "ok"],
  ["1.99.3", "ok"],
])("spec_version %s: %s", (version, result) => {
  const { repository, client } = setUp()
  repository.tamper.set("timestamp", (signed) => {
    signed.spec_version = version
  })
  repository.publish("timestamp")
  expect(client.result()).toBe(result)
})

it("the time of the update is given, not read", () => {
  const { repository, client } = setUp()
  repository.root.expires = later(7 * 86_400)
  repository.publish("root")
  expect(client.result({ now: NOW })).toBe("ok")
  expect(client.result({ now: later(8 * 86_400) })).toBe("TUF_EXPIRED")
})
