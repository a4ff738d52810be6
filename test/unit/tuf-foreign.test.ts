/** Repositories in the form that other tools give theirs, with documents, keys and signatures of our own. */
import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import { describe, expect, it, test } from "vitest"
import { type MetadataJson, newSigner, type Signer, SimulatedClient, TufSimulator } from "../support/tuf-simulator.ts"

const TOP = ["root", "timestamp", "snapshot", "targets"] as const
const ONLINE = ["timestamp", "snapshot"] as const

/** The newest file of a role anew: indented by one, with a place for the signature of each key that has not signed. */
function asOnCi(repository: TufSimulator, role: string, keyids: readonly string[]): void {
  const file = JSON.parse(utf8Decode(repository.newest(role) as Uint8Array)) as MetadataJson
  const signed = new Map(file.signatures.map(({ keyid, sig }) => [keyid, sig]))
  const signatures = keyids.map((keyid) => ({ keyid, sig: signed.get(keyid) ?? "" }))
  repository.files.get(role)?.pop()
  repository.files.get(role)?.push(utf8(`${JSON.stringify({ signatures, signed: file.signed }, null, 1)}\n`))
}

const keyidsOf = (signers: readonly Signer[]) => signers.map(({ keyid }) => keyid)

/** tuf-on-ci adds members to documents, roles and keys. */
function markAsOnCi(signed: MetadataJson["signed"]): void {
  const periods = { "x-tuf-on-ci-expiry-period": 7_300, "x-tuf-on-ci-signing-period": 60 }
  Object.assign(signed, periods)
  if (signed.roles !== undefined) for (const role of ONLINE) Object.assign(signed.roles[role], periods)
  for (const key of Object.values(signed.keys ?? signed.delegations?.keys ?? {}))
    Object.assign(key as object, { "x-tuf-on-ci-keyowner": "@somebody" })
}

/** One key for timestamp and snapshot, as a service holds it. */
function shareOnlineKey(repository: TufSimulator): void {
  const online = newSigner()
  for (const role of ONLINE) {
    repository.authorise(role, [online.keyid], 1, [online])
    repository.signers.set(role, [online])
  }
}

/**
 * Twelve roots by 3 of 5 people: those before the eighth name keys, version and members as tools did that are gone, two people have left
 * their signatures out of the later ones. An outside role is delegated to.
 */
function rootSigning(): TufSimulator {
  const repository = new TufSimulator()
  const people = Array.from({ length: 5 }, () => newSigner())
  for (const role of ["root", "targets"] as const) {
    repository.authorise(role, keyidsOf(people), 3, people)
    repository.signers.set(role, people)
  }
  shareOnlineKey(repository)
  repository.tamper.set("root", (signed) => {
    for (const key of Object.values(signed.keys) as Record<string, unknown>[])
      Object.assign(key, { keyid_hash_algorithms: ["sha256", "sha512"] })
    if (signed.version >= 8) return markAsOnCi(signed)
    signed.spec_version = "1.0"
    for (const key of Object.values(signed.keys) as Record<string, unknown>[]) key.keytype = "ecdsa-sha2-nistp256"
  })
  repository.files.set("root", [])
  repository.root.version = 0
  for (let version = 1; version <= 12; version++) {
    repository.signers.set("root", version < 8 ? people : people.slice(2))
    repository.publish("root")
    if (version >= 8) asOnCi(repository, "root", keyidsOf(people))
  }
  repository.delegate("targets", "registry.example", { paths: ["registry.example/*"], terminating: true })
  repository.addArtifact("targets", "trusted_root.json", utf8("roots"))
  repository.addArtifact("registry.example", "registry.example/keys.json", utf8("keys"))
  for (const role of ["targets", "snapshot", "timestamp"]) repository.tamper.set(role, markAsOnCi)
  repository.publish("registry.example", "targets")
  asOnCi(repository, "targets", keyidsOf(people))
  repository.role("snapshot").version = 158
  repository.publish("snapshot")
  repository.files.set("snapshot", Object.assign([], { 158: repository.newest("snapshot") }))
  repository.publish("timestamp")
  return repository
}

/** One person's key, a delegated role of two of whom one has signed, and paths that are written out level by level. */
function onCi(): TufSimulator {
  const repository = new TufSimulator()
  shareOnlineKey(repository)
  const owner = repository.delegate("targets", "delegatedrole", {
    terminating: true,
    paths: ["delegatedrole/*", "delegatedrole/*/*", "delegatedrole/*/*/*"],
  })
  const other = newSigner()
  repository.tamper.set("targets", (signed) => {
    signed.delegations.keys[other.keyid] = {
      keytype: other.key.keytype,
      scheme: other.key.scheme,
      keyval: { public: other.key.public },
    }
    signed.delegations.roles[0].keyids.push(other.keyid)
    markAsOnCi(signed)
  })
  for (const role of ["root", "snapshot", "timestamp", "delegatedrole"]) repository.tamper.set(role, markAsOnCi)
  repository.addArtifact("delegatedrole", "delegatedrole/artifact", utf8("one level"))
  repository.addArtifact("delegatedrole", "delegatedrole/a/b/artifact", utf8("three levels"))
  repository.publish("root", "delegatedrole", "delegatedrole")
  asOnCi(repository, "delegatedrole", [owner.keyid, other.keyid])
  repository.publish("targets", "snapshot", "timestamp")
  return repository
}

describe("a repository as Sigstore's root-signing publishes it", () => {
  test.each([1, 7, 12])("is followed from its root %d, to targets of its own and of an outside role", (version) => {
    const repository = rootSigning()
    const client = new SimulatedClient(repository, repository.files.get("root")?.[version - 1])
    expect(client.download("trusted_root.json", "registry.example/keys.json")).toEqual(["roots", "keys"])
    expect(client.versions()).toEqual({ "registry.example": 1, root: 12, snapshot: 159, targets: 2, timestamp: 2 })
  })

  it("is refused when three of the five have left the newest root unsigned", () => {
    const repository = rootSigning()
    repository.rewrite("root", ({ signatures }) => {
      for (const signature of signatures.slice(2, 3)) signature.sig = ""
    })
    expect(new SimulatedClient(repository).result()).toBe("TUF_SIGNATURES_MISSING")
  })
})

describe("a repository as tuf-on-ci publishes it", () => {
  it("is followed to targets of a role that one of two keys has signed", () => {
    const repository = onCi()
    const client = new SimulatedClient(repository)
    const paths = ["delegatedrole/artifact", "delegatedrole/a/b/artifact"]
    expect(client.download(...paths)).toEqual(["one level", "three levels"])
    for (const role of TOP.slice(1)) expect(client.versions()).toMatchObject({ [role]: 2, delegatedrole: 2 })
  })

  it("is refused when both have left the role unsigned", () => {
    const repository = onCi()
    repository.rewrite("delegatedrole", ({ signatures }) => {
      for (const signature of signatures) signature.sig = ""
    })
    expect(new SimulatedClient(repository).download("delegatedrole/artifact")).toEqual(["TUF_SIGNATURES_MISSING"])
  })
})
