import { utf8Decode } from "@sealwright/formats/bytes"
import { runSync } from "@sealwright/verifier/node-crypto"
import { refresh, type TufFloors } from "@sealwright/verifier/tuf-client"
import { describe, expect, it, test } from "vitest"
import { NOW, newSigner, SimulatedClient, TufSimulator } from "../support/tuf-simulator.ts"

const FILES = { root: 4, timestamp: 4, snapshot: 4, targets: 4 } as const
type Role = keyof typeof FILES

/** All top-level roles at version 4; the client has seen them all. */
function setUp(options: { withHashes?: boolean; floorsOnly?: boolean } = {}) {
  const repository = new TufSimulator()
  repository.withHashes = options.withHashes ?? false
  repository.delegate("targets", "lists", { paths: ["lists/*"] })
  repository.publish("lists")
  for (let version = 2; version <= 4; version++) repository.publish("root", "targets", "snapshot", "timestamp")
  const client = new SimulatedClient(repository)
  const first = client.state
  if (options.floorsOnly) client.floors = { root: 0, timestamp: 0, snapshot: 0, targets: {} }
  expect(client.result()).toBe("ok")
  if (options.floorsOnly) client.state = first
  return { repository, client }
}

/** The repository forgets the role's files and signs an older version with today's keys. */
function signOlder(repository: TufSimulator, role: Role, version: number): void {
  repository.role(role).version = version
  const older = repository.sign(role)
  const files = repository.files.get(role) ?? []
  repository.files.set(role, role === "timestamp" ? [older] : [...files.slice(0, version - 1), older])
  if (role === "targets") repository.snapshot.meta.set("targets.json", { version })
  if (role === "snapshot") repository.timestamp.snapshot = { version }
}

describe.each([
  ["a client that keeps metadata", false],
  ["a client that keeps floors alone", true],
])("%s refuses what is older than it has seen (R28)", (_, floorsOnly) => {
  const matrix = (["timestamp", "snapshot", "targets"] as const).flatMap((role) =>
    [1, 2, 3].map((v) => [role, v] as const),
  )

  test.each(matrix)("%s at version %d", (role, version) => {
    const { repository, client } = setUp({ floorsOnly })
    const before = { ...client.state, targets: new Map(client.state.targets) }
    signOlder(repository, role, version)
    if (role === "targets") repository.publish("snapshot")
    if (role !== "timestamp") repository.publish("timestamp")
    repository.requests.length = 0
    expect(client.result()).toBe("TUF_ROLLBACK")
    if (role !== "targets") expect(repository.requests.at(-1)).toBe("timestamp.json")
    expect(client.state.snapshot).toEqual(before.snapshot)
    expect(client.state.targets).toEqual(before.targets)
    if (role !== "targets") expect(client.state.timestamp).toEqual(before.timestamp)
    expect(client.state.root).toEqual(floorsOnly ? repository.newest("root") : before.root)
  })

  test.each([1, 2, 3])("a whole copy of the repository as it was at version %d", (version) => {
    const { repository, client } = setUp({ floorsOnly })
    for (const role of Object.keys(FILES)) {
      const files = repository.files.get(role) ?? []
      repository.files.set(role, files.slice(0, version))
    }
    expect(client.result()).toBe("TUF_ROLLBACK")
  })

  test.each(["lists.json", "targets.json"])("a snapshot from which %s has vanished", (name) => {
    const { repository, client } = setUp({ floorsOnly })
    repository.snapshot.meta.delete(name)
    repository.publish("snapshot", "timestamp")
    expect(client.result()).toBe("TUF_ROLLBACK")
    expect(client.floors?.snapshot ?? client.versions().snapshot).toBe(floorsOnly ? 5 : 4)
  })

  it("an older delegated role", () => {
    const { repository, client } = setUp({ floorsOnly })
    repository.publish("lists", "snapshot", "timestamp")
    expect(client.result()).toBe("ok")
    repository.snapshot.meta.set("lists.json", { version: 1 })
    repository.publish("snapshot", "timestamp")
    expect(client.result()).toBe("TUF_ROLLBACK")
  })

  it("and takes the repository again as soon as it is whole", () => {
    const { repository, client } = setUp({ floorsOnly })
    const right = repository.files.get("timestamp") as Uint8Array[]
    repository.files.set("timestamp", right.slice(0, 2))
    expect(client.result()).toBe("TUF_ROLLBACK")
    repository.files.set("timestamp", right)
    expect(client.result()).toBe("ok")
  })
})

describe("mix-and-match (R28)", () => {
  /** Each document replaced by each of its own older versions under the newest version's name. */
  const matrix = (Object.keys(FILES) as Role[]).flatMap((role) => [1, 2, 3].map((version) => [role, version] as const))
  const codes = { root: "TUF_VERSION_MISMATCH", snapshot: "TUF_VERSION_MISMATCH", targets: "TUF_VERSION_MISMATCH" }

  test.each(matrix)("a new client refuses %s of version %d in the place of version 4", (role, version) => {
    const { repository } = setUp()
    const files = repository.files.get(role) as Uint8Array[]
    repository.files.set(role, [...files.slice(0, 3), files[version - 1] as Uint8Array])
    const result = new SimulatedClient(repository).result()
    if (role === "timestamp") expect(result).toBe("ok")
    else expect(result).toBe(codes[role])
    if (role === "timestamp") expect(setUpSeen(repository)).toBe("TUF_ROLLBACK")
  })

  function setUpSeen(repository: TufSimulator): string {
    const client = new SimulatedClient(repository)
    client.floors = { root: 4, timestamp: 4, snapshot: 4, targets: { "targets.json": 4 } }
    return client.result()
  }

  test.each([1, 2, 3])(
    "with digests, snapshot and targets of version %d are refused before they are parsed",
    (version) => {
      for (const role of ["snapshot", "targets"]) {
        const { repository } = setUp({ withHashes: true })
        const files = repository.files.get(role) as Uint8Array[]
        repository.files.set(role, [...files.slice(0, 3), files[version - 1] as Uint8Array])
        expect(new SimulatedClient(repository).result()).toBe("TUF_HASH_MISMATCH")
      }
    },
  )
})

describe("rollback is seen with digests in the metadata as well", () => {
  test.each(["snapshot", "targets"] as const)("%s", (role) => {
    const { repository, client } = setUp({ withHashes: true })
    repository.files.set(role, [])
    repository.role(role).version = 0
    repository.publish(role)
    if (role === "targets") repository.publish("snapshot")
    repository.publish("timestamp")
    repository.requests.length = 0
    expect(client.result()).toBe("TUF_ROLLBACK")
    expect(client.versions()).toMatchObject({ snapshot: 4, targets: 4, timestamp: role === "snapshot" ? 4 : 5 })
    if (role === "snapshot") expect(repository.requests.at(-1)).toBe("timestamp.json")
  })
})

describe.each([
  ["a client that keeps metadata", false],
  ["a client that keeps floors alone", true],
])("%s recovers from versions that a thief drove up (R29)", (_, floorsOnly) => {
  const fastForward = (...driven: Role[]) => {
    const context = setUp({ floorsOnly })
    const { repository, client } = context
    for (const role of driven) {
      repository.role(role).version = 1_000_000
      repository.files.set(role, Object.assign([], { 999999: repository.sign(role) }))
      if (role === "timestamp") repository.files.set(role, [repository.sign(role)])
      if (role === "targets") repository.snapshot.meta.set("targets.json", { version: 1_000_000 })
      if (role === "snapshot") repository.timestamp.snapshot = { version: 1_000_000 }
    }
    if (!driven.includes("snapshot")) repository.publish("snapshot")
    if (!driven.includes("timestamp")) repository.publish("timestamp")
    expect(client.result()).toBe("ok")
    return context
  }
  const restart = (repository: TufSimulator, role: Role) => {
    repository.role(role).version = 0
    repository.files.set(role, [])
    repository.publish(role)
  }

  it("timestamp: by a new timestamp key", () => {
    const { repository, client } = fastForward("timestamp")
    restart(repository, "timestamp")
    expect(client.result()).toBe("TUF_ROLLBACK")
    repository.rotate("timestamp")
    repository.publish("root")
    restart(repository, "timestamp")
    expect(client.result()).toBe("ok")
    expect(client.versions().timestamp).toBe(1)
  })

  it("snapshot: by new snapshot and timestamp keys", () => {
    const { repository, client } = fastForward("snapshot")
    repository.rotate("snapshot")
    repository.rotate("timestamp")
    repository.publish("root")
    restart(repository, "snapshot")
    repository.publish("timestamp")
    expect(client.result()).toBe("ok")
    expect(client.versions().snapshot).toBe(1)
  })

  it("targets, and a role that vanishes: by a new snapshot key", () => {
    const { repository, client } = fastForward("targets")
    restart(repository, "targets")
    repository.snapshot.meta.delete("lists.json")
    repository.publish("snapshot", "timestamp")
    expect(client.result()).toBe("TUF_ROLLBACK")
    repository.rotate("snapshot")
    repository.publish("root", "snapshot", "timestamp")
    expect(client.result()).toBe("ok")
    expect(client.versions().targets).toBe(1)
  })

  it("not by a key that is added, and not by a higher threshold", () => {
    const { repository, client } = fastForward("timestamp")
    repository.addKey("timestamp")
    repository.addKey("snapshot")
    repository.publish("root")
    restart(repository, "timestamp")
    expect(client.result()).toBe("TUF_ROLLBACK")
  })

  it("also when the key comes back in a later root", () => {
    const { repository, client } = fastForward("timestamp")
    const [original] = repository.signers.get("timestamp") ?? []
    repository.rotate("timestamp")
    repository.publish("root")
    repository.root.roles = { ...repository.root.roles, timestamp: { keyids: [], threshold: 1 } }
    repository.signers.delete("timestamp")
    repository.addKey("timestamp", original)
    repository.publish("root")
    restart(repository, "timestamp")
    expect(client.result()).toBe("ok")
  })
})

describe("floors", () => {
  const FLOORS: TufFloors = { root: 4, timestamp: 4, snapshot: 4, targets: { "targets.json": 4, "lists.json": 1 } }
  const refreshWith = (repository: TufSimulator, floors: TufFloors) => {
    const root = repository.files.get("root")?.[0] as Uint8Array
    return runSync(refresh({ source: repository.source, state: { root }, floors, now: NOW }))
  }

  it("come out of a refresh and are plain JSON", () => {
    const { repository } = setUp()
    const outcome = refreshWith(repository, { root: 0, timestamp: 0, snapshot: 0, targets: {} })
    expect(outcome.accepted).toBe(true)
    expect(JSON.parse(JSON.stringify(outcome.floors))).toEqual(FLOORS)
  })

  it.each([
    ["root", { ...FLOORS, root: 5 }],
    ["timestamp", { ...FLOORS, timestamp: 5 }],
    ["snapshot", { ...FLOORS, snapshot: 5 }],
    ["targets", { ...FLOORS, targets: { ...FLOORS.targets, "targets.json": 5 } }],
    ["a delegated role", { ...FLOORS, targets: { ...FLOORS.targets, "lists.json": 2 } }],
    ["a role that isn't there", { ...FLOORS, targets: { ...FLOORS.targets, "more.json": 1 } }],
  ])("above what is served: %s", (_, floors) => {
    const { repository } = setUp()
    const outcome = refreshWith(repository, floors)
    expect(outcome).toMatchObject({ accepted: false, refusal: { code: "TUF_ROLLBACK" } })
    expect(outcome.floors.timestamp).toBeGreaterThanOrEqual(floors.timestamp)
    expect(outcome.floors.targets).toMatchObject(floors.targets)
  })

  it("hold against rotations that came before them", () => {
    const repository = new TufSimulator()
    repository.rotate("timestamp")
    repository.publish("root", "timestamp")
    const [first] = repository.files.get("timestamp")?.slice(1) ?? []
    repository.publish("timestamp")
    const root = repository.files.get("root")?.[0] as Uint8Array
    const seen = runSync(refresh({ source: repository.source, state: { root }, now: NOW }))
    expect(seen.floors).toMatchObject({ root: 2, timestamp: 3 })
    repository.files.set("timestamp", [first as Uint8Array])
    expect(refreshWith(repository, seen.floors)).toMatchObject({ accepted: false, refusal: { code: "TUF_ROLLBACK" } })
  })

  it("take a role named __proto__ like any other", () => {
    const repository = new TufSimulator()
    repository.tamper.set("snapshot", (signed) => {
      Object.defineProperty(signed.meta, "__proto__", { value: { version: 7 }, enumerable: true })
    })
    repository.publish("snapshot", "timestamp")
    const client = new SimulatedClient(repository)
    client.floors = { root: 0, timestamp: 0, snapshot: 0, targets: {} }
    expect(client.result()).toBe("ok")
    expect(Object.keys(client.floors.targets).sort()).toEqual(["__proto__", "targets.json"])
    repository.tamper.clear()
    repository.publish("snapshot", "timestamp")
    expect(client.result()).toBe("TUF_ROLLBACK")
  })
})

describe("kept metadata that is damaged or foreign", () => {
  test.each(["timestamp", "snapshot", "targets"] as const)("%s: is replaced", (role) => {
    for (const bytes of [
      new Uint8Array(0),
      new TextEncoder().encode("{}"),
      new TufSimulator().newest(role) as Uint8Array,
    ]) {
      const { repository, client } = setUp()
      client.state =
        role === "targets"
          ? { ...client.state, targets: new Map([["targets", bytes]]) }
          : { ...client.state, [role]: bytes }
      expect(client.result()).toBe("ok")
      expect(client.versions()).toMatchObject(FILES)
      const kept = role === "targets" ? client.state.targets?.get("targets") : client.state[role]
      expect(kept).toEqual(repository.newest(role))
    }
  })
})

it("a refused root leaves root and all that follows as they were", () => {
  const { repository, client } = setUp()
  repository.publish("targets", "snapshot", "timestamp")
  repository.role("root").version = 5
  repository.files.get("root")?.push(repository.sign("root", [newSigner()]))
  const before = client.state
  expect(client.result()).toBe("TUF_SIGNATURES_MISSING")
  expect(client.state).toEqual(before)
  expect(JSON.parse(utf8Decode(client.state.root)).signed.version).toBe(4)
})

it("a kept timestamp that today's threshold does not cover gives way to one of its own version", () => {
  const { repository, client } = setUp()
  repository.addKey("timestamp")
  repository.authorise("timestamp", repository.root.roles.timestamp.keyids, 2)
  repository.publish("root")
  repository.publishAs("timestamp")
  expect(client.result()).toBe("ok")
  expect(client.state.timestamp).toEqual(repository.newest("timestamp"))
})
