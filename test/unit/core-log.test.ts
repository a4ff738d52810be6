import { digest } from "@sealwright/adapters/platform"
import { createIssuer, holdCeremony } from "@sealwright/core/admin/ceremony"
import { addRoot } from "@sealwright/core/admin/roots"
import { auditOfDay } from "@sealwright/core/ledger/audit"
import { eventWrites } from "@sealwright/core/ledger/events"
import { findLogged, readLogCommit, readLogHead } from "@sealwright/core/ledger/log"
import { readDeployment } from "@sealwright/core/ledger/trust"
import { newestTargets } from "@sealwright/core/ledger/tuf-documents"
import { leavesOfRecord } from "@sealwright/core/log/entry"
import { sequence } from "@sealwright/core/log/flow"
import { ulid } from "@sealwright/core/names"
import type { Objects, Table } from "@sealwright/core/ports"
import { base64Encode, bytesEqual, hexEncode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import { checkpointSignature, checkpointText, parseCheckpoint } from "@sealwright/formats/checkpoint"
import { inclusionRoot, leafInput } from "@sealwright/formats/merkle"
import { parseNotaryJws } from "@sealwright/formats/notary-jws"
import { encodeNote, NOTE_TYPE, parseNote } from "@sealwright/formats/signed-note"
import { parseLogPolicy } from "@sealwright/formats/tlog-policy"
import { parseEntries } from "@sealwright/formats/tlog-tiles"
import { parseTrustBundle } from "@sealwright/formats/trust-bundle"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { beforeEach, describe, expect, test } from "vitest"
import { ADMIN, createService, NAMES, PIPELINE, signRequest } from "../support/service.ts"

const sha256 = (bytes: Uint8Array) => digest("sha256", bytes)
const CEREMONY = { ...NAMES, algorithm: "ecdsa-p256-sha256", rootYears: 10 } as const
const CHECKPOINT = "log/events/checkpoint"
const LIMITS = { entries: 100, bytes: 2 ** 20 }

type Service = ReturnType<typeof createService>

async function submit({ ports }: Service, ...names: readonly string[]): Promise<string[]> {
  const ids = names.map(() => ulid(ports.clock(), ports.random(10))).sort()
  for (const [i, id] of ids.entries())
    await ports.table.transact([{ put: { pk: "inbox#events", sk: id, leaves: [utf8(`"${names[i]}"`)] } }])
  return ids
}

/** Forgets what setting up has put down for the log. */
async function quiet({ ports }: Service): Promise<void> {
  for (const { pk, sk } of (await ports.table.query("inbox#events")).items)
    await ports.table.transact([{ delete: { pk, sk } }])
}

async function events({ ports }: Service) {
  const { items } = await ports.table.query("inbox#events")
  return items.flatMap(({ leaves }) => (leaves as Uint8Array[]).map((leaf) => JSON.parse(utf8Decode(leaf))))
}

async function bytesAt({ ports }: Service, key: string): Promise<Uint8Array | undefined> {
  return (await ports.objects.get(key, 2 ** 24))?.bytes
}

function proven(
  leaf: Uint8Array,
  index: bigint,
  size: bigint,
  hashes: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  const hashing = inclusionRoot(sha256(leafInput(leaf)), index, size, hashes)
  let state = hashing.next()
  while (!state.done) state = hashing.next(sha256(state.value))
  return state.value !== undefined && bytesEqual(state.value, root)
}

describe("a log takes in what waits (R30)", () => {
  let service: Service
  beforeEach(async () => {
    service = createService()
    await service.setUp()
    await quiet(service)
  })

  test("nothing waits: nothing is written", async () => {
    const before = service.memory.objects.dump().size
    expect(await sequence(service.ports, "events")).toMatchObject({ epoch: 0, size: 0n, logged: 0, oldest: undefined })
    expect(service.memory.objects.dump().size).toBe(before)
  })

  test("events are its leaves, in the order of their time; the checkpoint is signed with Ed25519", async () => {
    await submit(service, "first")
    service.pass(1)
    await submit(service, "second")
    const outcome = await sequence(service.ports, "events")
    expect(outcome).toMatchObject({ epoch: 1, size: 2n, logged: 2, oldest: new Date("2026-11-21T09:00:00Z") })
    const entries = parseEntries((await bytesAt(service, "log/events/tile/entries/000.p/2")) as Uint8Array, 2)
    expect(entries.map(utf8Decode)).toEqual([`"first"`, `"second"`])
    const { log } = await readDeployment(service.ports.table)
    const policy = parseLogPolicy(utf8((await bundle(service)).log?.policy ?? ""))
    expect(policy.logs.map(({ key }) => key.name)).toEqual([log?.signatures.origin, log?.events.origin])
    const note = parseNote((await bytesAt(service, CHECKPOINT)) as Uint8Array)
    expect(parseCheckpoint(note.text)).toMatchObject({ origin: `events.${NAMES.identityHost}`, size: 2n })
    expect(note.signatures).toHaveLength(1)
    const key = policy.logs[1]?.key
    if (key === undefined) throw new Error("no key of the events log")
    const check = checkpointSignature(key, note.text, note.signatures[0]?.signature as Uint8Array)
    expect(check && runSync(verifySignature(check.scheme, check.spki, check.message, check.signature))).toBe(true)
    expect(await sequence(service.ports, "events")).toMatchObject({ epoch: 1, logged: 0 })
  })

  test("a signature's leaf is Rekor's hashedrekord of its envelope, and its proof verifies", async () => {
    await service.profile("release")
    const [settled] = await service.signer()(signRequest(["one"]))
    if (settled === undefined || !("signed" in settled)) throw new Error("not signed")
    const record = settled.signed
    await sequence(service.ports, "signatures")
    const logged = await findLogged(service.ports.table, record.id)
    const commit = await readLogCommit(service.ports.table, "signatures", logged?.epoch ?? 0)
    const [leaf] = leavesOfRecord(digest, record)
    if (logged === undefined || commit === undefined || leaf === undefined) throw new Error("not logged")
    expect(proven(leaf, logged.index, commit.size, logged.proofs[0] ?? [], commit.root)).toBe(true)
    const jws = parseNotaryJws(record.envelopes[0]?.bytes as Uint8Array)
    expect(JSON.parse(utf8Decode(leaf))).toMatchObject({
      apiVersion: "0.0.2",
      kind: "hashedrekord",
      spec: {
        hashedRekordV002: {
          data: { algorithm: "SHA2_256", digest: base64Encode(sha256(jws.signingInput)) },
          signature: {
            content: base64Encode(jws.signature),
            verifier: { keyDetails: "PKIX_ECDSA_P256_SHA_256", x509Certificate: { rawBytes: jws.x5c[0] } },
          },
        },
      },
    })
    expect((await service.ports.table.query(`inbox#${record.number % 16}`)).items).toEqual([])
  })

  test("an act that signed twice has two leaves, one after the other (R19)", async () => {
    await addRoot(service.ports, { algorithm: "ml-dsa-65", generation: 1, rootYears: 10 }, ADMIN)
    await createIssuer(service.ports, { name: "pq", algorithm: "ml-dsa-65", days: 100 }, ADMIN)
    await service.profile("release", { extraIssuer: "pq" })
    const [settled] = await service.signer()(signRequest(["one"]))
    if (settled === undefined || !("signed" in settled)) throw new Error("not signed")
    expect(await sequence(service.ports, "signatures")).toMatchObject({ logged: 1, size: 2n })
    const logged = await findLogged(service.ports.table, settled.signed.id)
    const { root } = await readLogHead(service.ports.table, "signatures")
    const leaves = leavesOfRecord(digest, settled.signed)
    expect(leaves).toHaveLength(2)
    for (const [i, leaf] of leaves.entries())
      expect(proven(leaf, BigInt(i), 2n, logged?.proofs[i] ?? [], root)).toBe(true)
  })

  test("one round has a bound; the next goes on", async () => {
    await submit(service, "a", "b", "c")
    expect(await sequence(service.ports, "events", { entries: 2, bytes: 1000 })).toMatchObject({ logged: 2, size: 2n })
    expect(await sequence(service.ports, "events", { entries: 2, bytes: 1000 })).toMatchObject({ logged: 1, size: 3n })
  })

  test("it grows across tiles", async () => {
    await submit(service, ...Array.from({ length: 250 }, (_, i) => `a${i}`))
    await sequence(service.ports, "events", { entries: 250, bytes: 2 ** 20 })
    await submit(service, ...Array.from({ length: 300 }, (_, i) => `b${i}`))
    expect(await sequence(service.ports, "events", { entries: 300, bytes: 2 ** 20 })).toMatchObject({ size: 550n })
    const paths = [...service.memory.objects.dump().keys()].filter((key) => key.startsWith("log/events/tile/0/"))
    expect(paths).toEqual([
      "log/events/tile/0/000.p/250",
      "log/events/tile/0/000",
      "log/events/tile/0/001",
      "log/events/tile/0/002.p/38",
    ])
  })

  test("what no leaf can be made of waits and is named; the others are logged", async () => {
    const [bad] = (await submit(service, "bad", "good")) as [string, string]
    await service.ports.table.transact([{ put: { pk: "inbox#events", sk: bad, leaves: [new Uint8Array(70_000)] } }])
    expect(await sequence(service.ports, "events")).toMatchObject({ logged: 1, unreadable: [bad] })
    await service.ports.table.transact([{ put: { pk: "inbox#3", sk: bad, leaf: "signature" } }])
    expect(await sequence(service.ports, "signatures")).toMatchObject({ logged: 0, unreadable: [bad] })
  })
})

async function bundle({ ports }: Service) {
  return parseTrustBundle((await newestTargets(ports.table)).trustBundle)
}

describe("a ceremony makes the logs, once (R30)", () => {
  test("a repeat adds what is missing, and their host never changes", async () => {
    const service = createService()
    const { ports } = service
    await holdCeremony(ports, { ...CEREMONY, logHost: "logs.wabbit-networks.io" }, ADMIN)
    const { log } = await holdCeremony(ports, CEREMONY, ADMIN)
    expect(log?.events.origin).toBe("events.logs.wabbit-networks.io")
    await expect(holdCeremony(ports, { ...CEREMONY, logHost: "other.example" }, ADMIN)).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
    })
    await submit(service, "before")
    await sequence(ports, "events")
    const cosigned = await holdCeremony(ports, { ...CEREMONY, logCosigner: true }, ADMIN)
    expect(cosigned.log?.events.cosigner?.scheme).toBe("ml-dsa-44")
    expect((await bundle(service)).log?.policy.split("\n")).toHaveLength(6)
    await submit(service, "after")
    await sequence(ports, "events")
    const { signatures, text } = parseNote((await bytesAt(service, CHECKPOINT)) as Uint8Array)
    const types = parseLogPolicy(utf8((await bundle(service)).log?.policy ?? ""))
      .logs.slice(2)
      .map(({ key }) => key)
    expect(types.map(({ type }) => type)).toEqual([NOTE_TYPE.ed25519, NOTE_TYPE.mlDsa44])
    for (const [i, key] of types.entries()) {
      const check = checkpointSignature(key, text, signatures[i]?.signature as Uint8Array)
      expect(check && runSync(verifySignature(check.scheme, check.spki, check.message, check.signature))).toBe(true)
    }
  })

  test("a deployment from before logs gets them, and what waited since is logged", async () => {
    const service = createService()
    const { ports } = service
    const { log: _, ...without } = await holdCeremony(ports, CEREMONY, ADMIN)
    const { deploymentItem } = await import("@sealwright/core/ledger/trust")
    await ports.table.transact([
      { put: deploymentItem(without) },
      { delete: { pk: "log", sk: "events" } },
      { delete: { pk: "log", sk: "signatures" } },
    ])
    await quiet(service)
    await submit(service, "waits")
    await expect(sequence(ports, "events")).rejects.toMatchObject({ code: "LOG_NOT_SET_UP" })
    await holdCeremony(ports, CEREMONY, ADMIN)
    expect(await sequence(ports, "events")).toMatchObject({ logged: 2, size: 2n })
  })
})

describe("what changes what signatures count is an event (R30)", () => {
  const kinds = async (service: Service) => (await events(service)).map(({ kind, name, role }) => name ?? role ?? kind)

  test("set-up, profiles, issuers and roots, each in its act's own transaction", async () => {
    const service = createService()
    await service.setUp()
    expect((await kinds(service)).sort()).toEqual(["ci", "root", "roots", "targets"])
    await quiet(service)
    await service.profile("release")
    const [profile] = await events(service)
    expect(profile).toMatchObject({
      apiVersion: "sealwright/v1",
      kind: "profile",
      at: "2026-11-21T09:00:00Z",
      name: "release",
      generation: 1,
      state: "active",
      principals: [PIPELINE],
    })
    const { entries } = await auditOfDay(service.ports.table, "2026-11-21", { limit: 50 })
    const entry = entries.find(({ action }) => action === "profile.create")
    expect(profile.id).toBe(`${entry?.id}-0`)
    await quiet(service)
    await addRoot(service.ports, { algorithm: "ml-dsa-65", generation: 1, rootYears: 10 }, ADMIN)
    expect((await kinds(service)).sort()).toEqual(["roots", "targets"])
  })

  test("revocations, with all that a list says of them, and what each publication shows", async () => {
    const service = createService()
    await service.setUp()
    await service.profile("release")
    const [settled] = await service.signer()(signRequest(["one"]))
    if (settled === undefined || !("signed" in settled)) throw new Error("not signed")
    await quiet(service)
    const { revocation } = await service.revoke({ kind: "signature", signature: settled.signed.id }, "certificateHold")
    const { number, issuerKeyId } = settled.signed
    expect(await events(service)).toMatchObject([
      {
        kind: "revocation",
        revocation: revocation.id,
        target: { kind: "signature", signature: settled.signed.id, number, issuerKeyId },
        reason: "certificateHold",
        effectiveAt: "2026-11-21T09:00:00Z",
        epoch: 1,
        released: false,
      },
    ])
    expect(JSON.stringify(await events(service))).not.toMatch(/comment|principal/)
    await quiet(service)
    await service.publish()
    const [publication, ...others] = await events(service)
    expect(others).toEqual([])
    const list = [...service.memory.objects.dump()].find(([key]) => key.endsWith(".revocations.json"))
    const timestamp = await bytesAt(service, "tuf/timestamp.json")
    expect(publication).toMatchObject({
      kind: "publication",
      epoch: 1,
      date: "2026-11-21T09:00:00Z",
      revocations: hexEncode(sha256(list?.[1].bytes as Uint8Array)),
      timestamp: { version: 1, sha256: hexEncode(sha256(timestamp as Uint8Array)) },
    })
    expect(publication.list).toMatch(/^[0-9a-f]{64}$/)
    expect(publication.allow).toMatch(/^[0-9a-f]{64}$/)
  })

  test("a profile that is revoked is two events of one act", async () => {
    const service = createService()
    await service.setUp()
    await service.profile("release")
    await quiet(service)
    await service.revoke({ kind: "profile", profile: "release", from: new Date("2026-11-21T09:00:00Z") })
    expect((await events(service)).map(({ kind, state }) => `${kind} ${state}`)).toEqual([
      "revocation undefined",
      "profile revoked",
    ])
    expect(await sequence(service.ports, "events")).toMatchObject({ logged: 1, size: 2n })
  })

  test("a change without an audit entry is a mistake", () => {
    expect(() => eventWrites([{ put: { pk: "profiles", sk: "x" } }])).toThrow("audit")
    expect(eventWrites([{ put: { pk: "voids#x", sk: "y" } }])).toEqual([])
  })
})

describe("a log refuses to go on (R30)", () => {
  /** A log of two epochs; `back` sets the table to where it was after the first one. */
  async function twoEpochs(objects?: (objects: Objects) => Objects, table?: (table: Table) => Table) {
    const service = createService({ ...(objects && { objects }), ...(table && { table }) })
    await service.setUp()
    await quiet(service)
    await submit(service, "one")
    await sequence(service.ports, "events")
    const head = await service.ports.table.get({ pk: "log", sk: "events" })
    await submit(service, "two")
    await sequence(service.ports, "events")
    const put = (bytes: Uint8Array) => replaceCheckpoint(service, bytes)
    return { service, put, back: async () => void (head && (await service.ports.table.transact([{ put: head }]))) }
  }

  async function replaceCheckpoint({ ports }: Service, bytes: Uint8Array): Promise<void> {
    const standing = await ports.objects.get(CHECKPOINT, 2 ** 16)
    await ports.objects.replace(CHECKPOINT, bytes, standing?.etag, { contentType: "", cacheControl: "" })
  }

  const hiding =
    (hidden: (key: string) => boolean, armed: { on: boolean }) =>
    (objects: Objects): Objects => ({
      ...objects,
      get: async (key, maxBytes) => (armed.on && hidden(key) ? undefined : objects.get(key, maxBytes)),
    })

  const changing =
    (changed: (key: string) => boolean, armed: { on: boolean }) =>
    (objects: Objects): Objects => ({
      ...objects,
      get: async (key, maxBytes) => {
        const stored = await objects.get(key, maxBytes)
        if (!armed.on || !changed(key) || stored === undefined) return stored
        return { ...stored, bytes: stored.bytes.with(0, (stored.bytes[0] as number) ^ 1) }
      },
    })

  test("LOG_AHEAD: the table was set back behind the checkpoint", async () => {
    const { service, back } = await twoEpochs()
    await back()
    await submit(service, "three")
    await expect(sequence(service.ports, "events")).rejects.toMatchObject({ code: "LOG_AHEAD" })
  })

  test("LOG_FORKED: one size, two roots", async () => {
    const { service, put } = await twoEpochs()
    const { log } = await readDeployment(service.ports.table)
    if (log === undefined) throw new Error("no log")
    const text = checkpointText({ origin: log.events.origin, size: 2n, root: new Uint8Array(32) })
    const standing = parseNote((await bytesAt(service, CHECKPOINT)) as Uint8Array).signatures[0]
    if (standing === undefined) throw new Error("unsigned")
    const signature = await service.ports.keys.sign(log.events.key, utf8(text))
    await put(encodeNote({ text, signatures: [{ ...standing, signature }] }))
    await expect(sequence(service.ports, "events")).rejects.toMatchObject({ code: "LOG_FORKED" })
  })

  test("LOG_FORKED: a checkpoint that this log never signed", async () => {
    const { service, put } = await twoEpochs()
    const { text, signatures } = parseNote((await bytesAt(service, CHECKPOINT)) as Uint8Array)
    await put(encodeNote({ text: text.replace("\n2\n", "\n9\n"), signatures }))
    await expect(sequence(service.ports, "events")).rejects.toMatchObject({ code: "LOG_FORKED" })
    await put(utf8("no note"))
    await expect(sequence(service.ports, "events")).rejects.toMatchObject({ code: "LOG_FORKED" })
  })

  test.each([
    ["the checkpoint", (key: string) => key === CHECKPOINT],
    ["a tile of the edge", (key: string) => key === "log/events/tile/0/000.p/2"],
    ["the last entries", (key: string) => key === "log/events/tile/entries/000.p/2"],
    ["the staged batch", (key: string) => key.startsWith("staging/log/events/3-")],
  ])("LOG_BEHIND: %s is gone", async (_, hidden) => {
    const armed = { on: false }
    const { service } = await twoEpochs(hiding(hidden, armed))
    await submit(service, "three")
    armed.on = true
    await expect(sequence(service.ports, "events")).rejects.toMatchObject({ code: "LOG_BEHIND" })
  })

  test.each([
    ["a tile of the edge", "log/events/tile/0/000.p/2", "LOG_FORKED"],
    ["the staged batch", "staging/log/events/3-", "LOG_FORKED"],
    ["a tile that was just written", "log/events/tile/0/000.p/3", "LOG_UNVERIFIED"],
    ["entries that were just written", "log/events/tile/entries/000.p/3", "LOG_UNVERIFIED"],
  ])("other bytes: %s", async (_, prefix, code) => {
    const armed = { on: false }
    const { service } = await twoEpochs(changing((key) => key.startsWith(prefix), armed))
    await submit(service, "three")
    armed.on = true
    await expect(sequence(service.ports, "events")).rejects.toMatchObject({ code })
    expect(parseCheckpoint(parseNote((await bytesAt(service, CHECKPOINT)) as Uint8Array).text).size).toBe(2n)
    armed.on = false
    expect(await sequence(service.ports, "events")).toMatchObject({ size: 3n })
  })

  test("LOG_FORKED: a tile stands with other bytes", async () => {
    const { service } = await twoEpochs()
    await submit(service, "three")
    await service.ports.objects.create("log/events/tile/0/000.p/3", new Uint8Array(96), {
      contentType: "",
      cacheControl: "",
    })
    await expect(sequence(service.ports, "events")).rejects.toMatchObject({ code: "LOG_FORKED" })
  })

  test("LOG_CONFLICT: another sequencer decides first, and this one changes nothing", async () => {
    let meanwhile: () => Promise<unknown> = async () => undefined
    const { service } = await twoEpochs(undefined, (table) => ({
      ...table,
      async transact(writes) {
        const [first] = writes
        const once = meanwhile
        if (first !== undefined && "update" in first && first.update.pk === "log") {
          meanwhile = async () => undefined
          await once()
        }
        return await table.transact(writes)
      },
    }))
    await submit(service, "three")
    meanwhile = () => sequence(service.ports, "events", LIMITS)
    await expect(sequence(service.ports, "events")).rejects.toMatchObject({ code: "LOG_CONFLICT" })
    expect(await readLogHead(service.ports.table, "events")).toMatchObject({ size: 3n, epoch: 3, state: "published" })
  })
})
