/** What the tests of the TUF client stand on: the simulator itself. */
import { hash } from "node:crypto"
import { utf8Decode } from "@sealwright/formats/bytes"
import { describe, expect, it } from "vitest"
import { DAY_SEC, later, type MetadataJson, TufSimulator } from "../support/tuf-simulator.ts"

function signedOf(repository: TufSimulator, role: string): MetadataJson["signed"] {
  return JSON.parse(utf8Decode(repository.newest(role) as Uint8Array)).signed
}

describe("the simulator", () => {
  it("begins with four documents of version 1", () => {
    const repository = new TufSimulator()
    expect([...repository.files].map(([role, { length }]) => [role, length])).toEqual([
      ["root", 1],
      ["targets", 1],
      ["snapshot", 1],
      ["timestamp", 1],
    ])
    for (const role of repository.files.keys()) {
      expect(repository.role(role).version).toBe(1)
      expect(signedOf(repository, role)).toMatchObject({ _type: role, version: 1 })
    }
  })

  it("writes the length and digest of what it published", () => {
    const repository = new TufSimulator()
    repository.withHashes = true
    repository.publish("targets", "snapshot", "timestamp")
    for (const [role, named] of [
      ["timestamp", "snapshot"],
      ["snapshot", "targets"],
    ] as const) {
      const bytes = repository.newest(named) as Uint8Array
      const listed = { version: 2, length: bytes.length, hashes: { sha256: hash("sha256", bytes) } }
      expect(signedOf(repository, role).meta[`${named}.json`]).toEqual(listed)
    }
  })

  it("publishes a timestamp that has expired", () => {
    const repository = new TufSimulator()
    const expires = later(-5 * DAY_SEC)
    repository.timestamp.expires = expires
    repository.publish("timestamp")
    expect(new Date(signedOf(repository, "timestamp").expires)).toEqual(expires)
  })
})
