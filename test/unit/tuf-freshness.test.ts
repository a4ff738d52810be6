import { utf8 } from "@sealwright/formats/bytes"
import { runSync } from "@sealwright/verifier/node-crypto"
import { refresh } from "@sealwright/verifier/tuf-client"
import { readTarget } from "@sealwright/verifier/tuf-targets"
import { describe, expect, it, test } from "vitest"
import { DAY_SEC, later, NOW, SimulatedClient, TufSimulator } from "../support/tuf-simulator.ts"

const ROLES = ["root", "timestamp", "snapshot", "targets"] as const

function setUp() {
  const repository = new TufSimulator()
  return { repository, client: new SimulatedClient(repository) }
}

describe("expired metadata (R18, R28)", () => {
  test.each([
    ["root", { root: 3, snapshot: 1, targets: 1, timestamp: 1 }],
    ["timestamp", { root: 2, snapshot: 1, targets: 1, timestamp: 1 }],
    ["snapshot", { root: 2, snapshot: 1, targets: 1, timestamp: 2 }],
    ["targets", { root: 2, snapshot: 2, targets: 1, timestamp: 2 }],
  ] as const)("%s: refused; a root is kept all the same, what comes after isn't", (role, versions) => {
    const { repository, client } = setUp()
    repository.publish("root")
    expect(client.result()).toBe("ok")
    repository.role(role).expires = later(-DAY_SEC)
    if (role === "root") repository.publish("root")
    repository.publish("targets", "snapshot", "timestamp")
    expect(client.result()).toBe("TUF_EXPIRED")
    expect(client.versions()).toEqual(versions)
  })

  it("an expired root that is known leads to one that hasn't expired", () => {
    const { repository, client } = setUp()
    repository.root.expires = later(7 * DAY_SEC)
    repository.publish("root")
    expect(client.result()).toBe("ok")
    repository.root.expires = later(21 * DAY_SEC)
    repository.publish("root")
    expect(client.result({ now: later(18 * DAY_SEC) })).toBe("ok")
    expect(client.versions().root).toBe(3)
  })

  it("expired roots in the middle of the chain don't matter", () => {
    const { repository, client } = setUp()
    const { expires } = repository.root
    repository.root.expires = later(-DAY_SEC)
    repository.publish("root", "root")
    repository.root.expires = expires
    repository.publish("root")
    expect(client.result()).toBe("ok")
  })

  it("an expired timestamp that is known gives way to the next", () => {
    const { repository, client } = setUp()
    repository.timestamp.expires = later(7 * DAY_SEC)
    repository.publish("timestamp")
    expect(client.result()).toBe("ok")
    repository.timestamp.expires = later(21 * DAY_SEC)
    repository.publish("targets", "snapshot", "timestamp")
    expect(client.result({ now: later(18 * DAY_SEC) })).toBe("ok")
    expect(client.versions()).toEqual({ root: 1, snapshot: 2, targets: 2, timestamp: 3 })
  })

  it("a repository that stands still is noticed (freeze)", () => {
    const { repository, client } = setUp()
    repository.timestamp.expires = later(DAY_SEC)
    repository.publish("timestamp")
    expect(client.result()).toBe("ok")
    expect(client.result({ now: later(DAY_SEC) })).toBe("TUF_EXPIRED")
  })
})

describe("the second of expiry", () => {
  const delegatedAndTop = [...ROLES, "lists"] as const

  test.each(delegatedAndTop.flatMap((role) => [-1, 0, 1].map((sec) => [role, sec] as const)))(
    "%s at %d s",
    (role, sec) => {
      const { repository } = setUp()
      repository.delegate("targets", "lists")
      repository.addArtifact("lists", "list", utf8("entries"))
      repository.role(role).expires = NOW
      repository.publish("root", "lists", "targets", "snapshot", "timestamp")
      for (const maxStaleSec of [0, 3_600]) {
        const read = readAt(repository, later(maxStaleSec + sec), maxStaleSec)
        expect(read.code).toBe(sec < 0 ? "ok" : "TUF_EXPIRED")
        expect(read.freshness.get(role)).toEqual({
          version: repository.role(role).version,
          expires: NOW,
          expired: maxStaleSec + sec >= 0,
          staleSec: Math.max(0, maxStaleSec + sec),
        })
      }
    },
  )
})

describe("grace for bundles in a closed network (R26)", () => {
  /** Timestamp expires after 1 day, snapshot after 7, the delegated role after 30, the others after a year. */
  function bundle() {
    const { repository } = setUp()
    repository.delegate("targets", "lists", { paths: ["lists/*"] })
    repository.addArtifact("lists", "lists/deny", utf8("entries"))
    for (const [role, days] of Object.entries({ root: 365, targets: 365, timestamp: 1, snapshot: 7, lists: 30 }))
      repository.role(role).expires = later(days * DAY_SEC)
    repository.publish("root", "lists", "targets", "snapshot", "timestamp")
    return repository
  }

  const stale = (read: ReturnType<typeof readAt>) =>
    Object.fromEntries(
      [...read.freshness].flatMap(([role, { staleSec }]) => (staleSec > 0 ? [[role, staleSec / DAY_SEC]] : [])),
    )

  test.each([
    [0, 0, "ok", {}],
    [5, 0, "TUF_EXPIRED", { timestamp: 4 }],
    [5, 4, "TUF_EXPIRED", { timestamp: 4 }],
    [5, 30, "ok", { timestamp: 4 }],
    [40, 30, "TUF_EXPIRED", { timestamp: 39 }],
    [40, 60, "ok", { timestamp: 39, snapshot: 33, lists: 10 }],
    [370, 400, "ok", { timestamp: 369, snapshot: 363, lists: 340, root: 5, targets: 5 }],
  ])("after %d days with %d days of grace: %s", (days, graceDays, code, staleDays) => {
    const read = readAt(bundle(), later(days * DAY_SEC), graceDays * DAY_SEC, "lists/deny")
    expect(read.code).toBe(code)
    expect(stale(read)).toEqual(staleDays)
  })

  it("covers expiry and nothing else", () => {
    const repository = bundle()
    const client = new SimulatedClient(repository)
    client.refresh()
    repository.files.set("timestamp", repository.files.get("timestamp")?.slice(0, 1) ?? [])
    expect(client.result({ maxStaleSec: 1_000 * DAY_SEC })).toBe("TUF_ROLLBACK")
  })

  test.each([Number.NaN, -1])("of %d seconds lets nothing expired pass", (maxStaleSec) => {
    expect(readAt(bundle(), later(5 * DAY_SEC), maxStaleSec).code).toBe("TUF_EXPIRED")
  })

  it("an invalid clock is no time at which anything is fresh", () => {
    expect(readAt(bundle(), new Date(Number.NaN), DAY_SEC).code).toBe("TUF_EXPIRED")
  })
})

function readAt(repository: TufSimulator, now: Date, maxStaleSec: number, path = "list") {
  const root = repository.newest("root") as Uint8Array
  const outcome = runSync(refresh({ source: repository.source, state: { root }, now, maxStaleSec }))
  if (!outcome.accepted) return { code: outcome.refusal.code, freshness: outcome.freshness }
  const target = runSync(readTarget(outcome.trusted, repository.targetSource, path, 1_000))
  return { code: target.accepted ? "ok" : target.refusal.code, freshness: outcome.trusted.freshness }
}
