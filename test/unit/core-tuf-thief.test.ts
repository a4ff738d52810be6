/** What a thief of online keys can publish, and who notices (docs/threat-model.md). */
import { readDeployment } from "@sealwright/core/ledger/trust"
import type { TufRole } from "@sealwright/core/model"
import type { KeyReference } from "@sealwright/core/ports"
import { namedKey } from "@sealwright/core/publish/tuf"
import { rotateTufKey } from "@sealwright/core/tuf/flow"
import { hexEncode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import { canonicalJson } from "@sealwright/formats/canonical-json"
import type { JsonObject } from "@sealwright/formats/strict-json"
import { decodeMetadata, type MetaFile, type Timestamp, type TufSigned } from "@sealwright/formats/tuf"
import { encodeMetadata, signedBytes } from "@sealwright/formats/tuf-encode"
import { BUNDLE_MARKER, BUNDLE_TYPE, openBundle } from "@sealwright/verifier/bundle"
import { runSync } from "@sealwright/verifier/node-crypto"
import type { BundleFloors } from "@sealwright/verifier/state"
import { describe, expect, test } from "vitest"
import { sha256 } from "../support/chains.ts"
import { ADMIN, createService, signRequest } from "../support/service.ts"

type Service = ReturnType<typeof createService>
type Files = Map<string, Uint8Array>

/** A service with one revoked signature, published; and the stolen keys' user. */
async function robbed() {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  const [settled] = await service.signer()(signRequest(["one"]))
  if (settled === undefined || !("signed" in settled)) throw new Error("not signed")
  await service.revoke({ kind: "signature", signature: settled.signed.id })
  await service.revoke({ kind: "artifact", digest: `sha256:${"ab".repeat(32)}` })
  await service.publish()
  return service
}

function shown(service: Service): Files {
  const tuf = [...service.memory.objects.dump()].filter(([key]) => key.startsWith("tuf/"))
  return new Map([
    [BUNDLE_MARKER, utf8(JSON.stringify({ mediaType: BUNDLE_TYPE }))],
    ...tuf.map(([key, { bytes }]) => [key, bytes] as const),
  ])
}

const newest = (files: Files): Timestamp => {
  const bytes = files.get("tuf/timestamp.json") as Uint8Array
  return decodeMetadata(bytes, "timestamp", bytes.length).signed
}

const fileOf = (bytes: Uint8Array) => ({
  length: bytes.length,
  hashes: new Map([["sha256", hexEncode(sha256(bytes))]]),
})

/**
 * Publishes a list of the thief's making, signed with the keys of lists, snapshot and timestamp: everything that those can sign, in order, one version up.
 * @param change what he does to the list that is in force, which he lets name its predecessor rightly
 */
async function publishAsThief(service: Service, change: (list: ListJson) => void): Promise<Files> {
  const files = shown(service)
  const { tuf } = await readDeployment(service.ports.table)
  const stolen = (role: TufRole) => tuf[role].at(-1) as KeyReference
  const sign = async (role: TufRole, message: Uint8Array) => {
    const { keyid } = namedKey(service.ports.digest, stolen(role))
    return { keyid, signature: await service.memory.keys.sign(stolen(role), message) }
  }
  const metadata = async (role: TufRole, name: string, signed: TufSigned): Promise<MetaFile> => {
    const bytes = encodeMetadata(signed, [await sign(role, signedBytes(signed))])
    files.set(name, bytes)
    return { version: signed.version, ...fileOf(bytes) }
  }
  const before = newest(files).version
  const read = <Type extends "targets" | "snapshot">(name: string, type: Type) => {
    const bytes = files.get(name) as Uint8Array
    return decodeMetadata(bytes, type, bytes.length).signed
  }
  const lists = read(`tuf/${before}.lists.json`, "targets")
  const targets = new Map(lists.targets)
  const old = targets.get("lists/revocations.json")?.hashes.get("sha256")
  const { signed: list } = JSON.parse(utf8Decode(files.get(`tuf/targets/lists/${old}.revocations.json`) as Uint8Array))
  const previous = hexEncode(sha256(canonicalJson(list)))
  Object.assign(list, { epoch: before + 1, previous })
  change(list)
  const { keyid, signature } = await sign("lists", canonicalJson(list as JsonObject))
  const bytes = utf8(JSON.stringify({ signed: list, signatures: [{ keyid, sig: hexEncode(signature) }] }))
  targets.set("lists/revocations.json", fileOf(bytes))
  files.set(`tuf/targets/lists/${hexEncode(sha256(bytes))}.revocations.json`, bytes)
  const version = before + 1
  const meta = new Map(read(`tuf/${before}.snapshot.json`, "snapshot").meta)
  meta.set("lists.json", await metadata("lists", `tuf/${version}.lists.json`, { ...lists, version, targets }))
  const snapshot = { ...read(`tuf/${before}.snapshot.json`, "snapshot"), version, meta }
  const named = await metadata("snapshot", `tuf/${version}.snapshot.json`, snapshot)
  await metadata("timestamp", "tuf/timestamp.json", { ...newest(files), version, snapshot: named })
  return files
}

function open(files: Files, floors?: BundleFloors, now = new Date("2026-11-21T09:00:00Z")) {
  const pinnedRoot = files.get("tuf/1.root.json") as Uint8Array
  return runSync(openBundle({ read: (path) => files.get(path), now, pinnedRoot, floors }))
}

const stateOf = (files: Files): BundleFloors => {
  const outcome = open(files)
  if (!outcome.ok) throw new Error(outcome.code)
  return outcome.floors
}

interface ListJson {
  epoch: number
  issuers: Record<string, { revoked: Record<string, unknown> }>
  artifacts: Record<string, unknown>
  released: string[]
}

const DROPS: readonly (readonly [string, (list: ListJson) => void])[] = [
  [
    "every revoked number",
    ({ issuers }) => {
      for (const issuer of Object.values(issuers)) issuer.revoked = {}
    },
  ],
  [
    "a denied artifact",
    (list) => {
      list.artifacts = {}
    },
  ],
  [
    "a denied artifact, with another in its place,",
    (list) => {
      list.artifacts = { [`sha256:${"cd".repeat(32)}`]: Object.values(list.artifacts)[0] }
    },
  ],
  [
    "a denied artifact, as if it had been a hold,",
    (list) => {
      list.released = Object.keys(list.artifacts).map((digest) => `artifact:${digest}`)
      list.artifacts = {}
    },
  ],
  [
    "an issuer",
    ({ issuers }) => {
      for (const [id, { revoked }] of Object.entries(issuers)) if (Object.keys(revoked).length > 0) delete issuers[id]
    },
  ],
]

describe("R28, R29: who has the keys of lists, snapshot and timestamp", () => {
  test.each(DROPS)("drops %s: everything is signed, and a verifier with state refuses it", async (_, drop) => {
    const service = await robbed()
    const state = stateOf(shown(service))
    const files = await publishAsThief(service, drop)
    expect(open(files, state)).toMatchObject({ ok: false, code: "LIST_SHRANK" })
  })

  test("drops nothing: his list is one like any other, so it is the entries that were refused", async () => {
    const service = await robbed()
    const state = stateOf(shown(service))
    expect(open(await publishAsThief(service, () => undefined), state)).toMatchObject({ ok: true })
  })

  test("shows another list under the epoch that is known", async () => {
    const service = await robbed()
    const state = stateOf(shown(service))
    const files = await publishAsThief(service, (list) => {
      list.epoch--
    })
    expect(open(files, state)).toMatchObject({ ok: false, code: "LIST_FORKED" })
  })

  test.each(DROPS)("drops %s before a verifier without state: it can't know", async (_, drop) => {
    const service = await robbed()
    expect(open(await publishAsThief(service, drop))).toMatchObject({ ok: true })
  })

  test("is locked out by new keys of the three, and who followed him comes back", async () => {
    const service = await robbed()
    const state = stateOf(shown(service))
    for (const role of ["lists", "snapshot", "timestamp"] as const) await rotateTufKey(service.ports, role, 2, ADMIN)
    await service.publish()
    expect(open(shown(service), state)).toMatchObject({ ok: true })
  })
})
