import { holdCeremony } from "@sealwright/core/admin/ceremony"
import { retireRoot, rotateRoot } from "@sealwright/core/admin/roots"
import { readDeployment } from "@sealwright/core/ledger/trust"
import { newestTargets, tufDocuments } from "@sealwright/core/ledger/tuf-documents"
import { findProposal } from "@sealwright/core/ledger/tuf-proposals"
import { TUF_ROLES } from "@sealwright/core/model"
import type { KeyReference } from "@sealwright/core/ports"
import { namedKey } from "@sealwright/core/publish/tuf"
import { setOutsideAuthority } from "@sealwright/core/timestamp/outside"
import { propose, rotateTufKey, submitSignatures, waitingProposal, withdrawProposal } from "@sealwright/core/tuf/flow"
import { registerKey } from "@sealwright/core/tuf/keys"
import { readRoot, reviewRequest } from "@sealwright/core/tuf/rules"
import { hexEncode } from "@sealwright/formats/bytes"
import { parseTrustBundle } from "@sealwright/formats/trust-bundle"
import { decodeMetadata } from "@sealwright/formats/tuf"
import { encodeMetadata, signedBytes } from "@sealwright/formats/tuf-encode"
import { encodeTufSigning, parseTufSigning } from "@sealwright/formats/tuf-signing"
import { runSync } from "@sealwright/verifier/node-crypto"
import { refresh } from "@sealwright/verifier/tuf-client"
import { describe, expect, test } from "vitest"
import { makeIssuer, sha256 } from "../support/chains.ts"
import { ADMIN, createService, NAMES } from "../support/service.ts"
import { newPerson, type Person, signAll, signaturesOf, spkiOf, waiting } from "../support/tuf-people.ts"
import { newSigner } from "../support/tuf-simulator.ts"
import { auditOf, expectSound, withCode } from "./core-published.ts"

type Service = ReturnType<typeof createService>

const DAY = 86_400

async function ready(): Promise<Service> {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  await service.publish()
  return service
}

const nothing = { keys: undefined, threshold: undefined, days: undefined }
const pending = withCode("TUF_SIGNATURES_PENDING")

/** Root: 2 of the service, Ann and Bob. */
async function shared(): Promise<{ service: Service; ann: Person; bob: Person }> {
  const service = await ready()
  const ann = await newPerson(service, "ann")
  const bob = await newPerson(service, "bob", "ed25519")
  const wish = { role: "root", keys: ["service", "ann", "bob"], threshold: 2, days: 400 } as const
  await expect(propose(service.ports, wish, ADMIN)).rejects.toThrow(pending)
  expect(await signAll(service, ann)).toBe(true)
  await service.publish()
  return { service, ann, bob }
}

const rootsOf = async (service: Service) =>
  (await tufDocuments(service.ports.table, "root")).map(({ bytes }) => readRoot(bytes))

/** A client that starts at the first root and follows what is published. */
function follow(service: Service, state?: Parameters<typeof refresh>[0]["state"], timestamp?: Uint8Array) {
  const objects = service.memory.objects.dump()
  const read = (name: string) => objects.get(`tuf/${name}`)?.bytes
  const source = { read: (name: string) => (name === "timestamp.json" && timestamp ? timestamp : read(name)) }
  const root = objects.get("tuf/1.root.json")?.bytes as Uint8Array
  return runSync(refresh({ source, state: state ?? { root }, now: service.ports.clock() }))
}

describe("a threshold across homes (D6, R29)", () => {
  test("2 of the service's key and two people's: the root waits for one person, and then counts", async () => {
    const { service } = await shared()
    const [, second] = await rootsOf(service)
    expect(second?.signed.roles.root).toMatchObject({ threshold: 2 })
    expect(second?.signed.roles.root.keyids).toHaveLength(3)
    expect(second?.signatures.size).toBe(2)
    expect(follow(service)).toMatchObject({ accepted: true, trusted: { root: { version: 2 } } })
    expect(auditOf(service).map(({ action }) => action)).toEqual(
      expect.arrayContaining(["tuf.key", "tuf.propose", "tuf.sign"]),
    )
    expectSound(service)
  })

  test("one person's signature of three that are needed waits, and the second completes it; a repeat harms nothing", async () => {
    const { service, ann, bob } = await shared()
    const wish = { role: "root", keys: undefined, threshold: 3, days: undefined } as const
    await expect(propose(service.ports, wish, ADMIN)).rejects.toThrow(pending)
    expect(await signAll(service, ann)).toBe(false)
    expect(await signAll(service, ann)).toBe(false)
    const { review } = await waiting(service)
    expect(review.documents[0]?.tallies.map(({ signed, met }) => [signed.length, met])).toEqual([
      [2, true],
      [2, false],
    ])
    expect(await rootsOf(service)).toHaveLength(2)
    expect(await signAll(service, bob)).toBe(true)
    expect(await findProposal(service.ports.table)).toBeUndefined()
    await service.publish()
    expect(follow(service)).toMatchObject({ accepted: true, trusted: { root: { version: 3 } } })
  })

  test("the service leaves the root altogether; what it publishes each hour needs nobody", async () => {
    const { service, ann, bob } = await shared()
    const wish = { role: "root", keys: ["ann", "bob"], threshold: 2, days: undefined } as const
    await expect(propose(service.ports, wish, ADMIN)).rejects.toThrow(pending)
    expect(await signAll(service, ann)).toBe(false)
    expect(await signAll(service, bob)).toBe(true)
    await service.publish(true)
    service.pass(3600)
    await service.publish(true)
    expect(follow(service)).toMatchObject({ accepted: true, trusted: { root: { version: 3 } } })
  })

  test("keys of people for targets take a new root and new targets, shown together", async () => {
    const service = await ready()
    const ann = await newPerson(service, "ann")
    const wish = { role: "targets", keys: ["service", "ann"], threshold: 2, days: undefined } as const
    await expect(propose(service.ports, wish, ADMIN)).rejects.toThrow(pending)
    expect((await waiting(service)).review.documents.map(({ role }) => role)).toEqual(["root", "targets"])
    await service.publish(true)
    expect(follow(service)).toMatchObject({ accepted: true, trusted: { root: { version: 1 } } })
    expect(await signAll(service, ann)).toBe(true)
    await service.publish()
    expect(follow(service)).toMatchObject({ accepted: true, trusted: { root: { version: 2 } } })
  })

  test.each([
    ["a threshold above the keys", { keys: ["service", "ann"], threshold: 3 }, "TUF_THRESHOLD_UNREACHABLE"],
    ["a threshold above what stands", { keys: undefined, threshold: 2 }, "TUF_THRESHOLD_UNREACHABLE"],
    ["a key that nobody registered", { keys: ["service", "eve"], threshold: 1 }, "TUF_KEY_UNKNOWN"],
    ["a key named twice", { keys: ["ann", "ann"], threshold: 1 }, "REQUEST_MALFORMED"],
  ])("refused: %s", async (_, wish, code) => {
    const service = await ready()
    await newPerson(service, "ann")
    await expect(propose(service.ports, { ...nothing, role: "root", ...wish }, ADMIN)).rejects.toThrow(withCode(code))
    expect(await rootsOf(service)).toHaveLength(1)
    expect(await findProposal(service.ports.table)).toBeUndefined()
  })

  test("one key is registered once, under one name, and never as one of the service's", async () => {
    const service = await ready()
    const ann = await newPerson(service, "ann")
    const register = (name: string, spki: Uint8Array) => registerKey(service.ports, name, spki, ADMIN)
    expect((await register("ann", spkiOf(ann))).name).toBe("ann")
    await expect(register("twin", spkiOf(ann))).rejects.toThrow(withCode("ALREADY_EXISTS"))
    await expect(register("ann", spkiOf(newSigner()))).rejects.toThrow(withCode("ALREADY_EXISTS"))
    await expect(register("service", spkiOf(newSigner()))).rejects.toThrow(withCode("REQUEST_MALFORMED"))
    const { tuf } = await readDeployment(service.ports.table)
    await expect(register("own", tuf.root[0]?.spki as Uint8Array)).rejects.toThrow(withCode("ALREADY_EXISTS"))
    await expect(register("bad", new Uint8Array([0x30, 0]))).rejects.toThrow(withCode("TUF_KEY_UNSUITABLE"))
  })
})

describe("signatures that are handed in", () => {
  async function proposed() {
    const { service, ann, bob } = await shared()
    await expect(propose(service.ports, { ...nothing, role: "root", threshold: 3 }, ADMIN)).rejects.toThrow(pending)
    return { service, ann, bob, id: (await waiting(service)).id }
  }
  type Signatures = Awaited<ReturnType<typeof signaturesOf>>

  test.each([
    [
      "over something else",
      (good: Signatures) =>
        good.map((one) => ({ ...one, signature: one.signature.map((byte, at) => (at === 40 ? byte ^ 1 : byte)) })),
      "TUF_SIGNATURE_INVALID",
    ],
    [
      "of a key that does not count",
      (good: Signatures) => good.map((one) => ({ ...one, keyid: "0".repeat(64) })),
      "TUF_KEY_NOT_COUNTED",
    ],
    [
      "over a document that is not proposed",
      (good: Signatures) => good.map((one) => ({ ...one, role: "targets" as const })),
      "TUF_KEY_NOT_COUNTED",
    ],
  ])("%s: none is taken", async (_, change, code) => {
    const { service, ann, bob, id } = await proposed()
    const good = await signaturesOf(service, ann)
    const bad = change(await signaturesOf(service, bob))
    await expect(submitSignatures(service.ports, id, [...good, ...bad], ADMIN)).rejects.toThrow(withCode(code))
    expect((await waiting(service)).review.documents[0]?.tallies.at(-1)?.signed).toHaveLength(1)
  })

  test("of a proposal that was withdrawn, or that nobody made", async () => {
    const { service, ann, bob, id } = await proposed()
    const both = await signaturesOf(service, ann, bob)
    await withdrawProposal(service.ports, id, ADMIN)
    for (const wrong of [id, "0".repeat(64)])
      await expect(submitSignatures(service.ports, wrong, both, ADMIN)).rejects.toThrow(
        withCode("TUF_PROPOSAL_UNKNOWN"),
      )
    await expect(withdrawProposal(service.ports, id, ADMIN)).rejects.toThrow(withCode("TUF_PROPOSAL_UNKNOWN"))
    expect(await rootsOf(service)).toHaveLength(2)
  })

  test("of a proposal that was overtaken; a new one takes its place", async () => {
    const service = await ready()
    const ann = await newPerson(service, "ann")
    const wish = { role: "root", keys: ["service", "ann"], threshold: 2, days: undefined } as const
    await expect(propose(service.ports, wish, ADMIN)).rejects.toThrow(pending)
    const old = await waiting(service)
    const signatures = await signaturesOf(service, ann)
    await rotateTufKey(service.ports, "timestamp", 2, ADMIN)
    expect(await waitingProposal(service.ports)).toMatchObject({ overtaken: true, request: undefined })
    await expect(submitSignatures(service.ports, old.id, signatures, ADMIN)).rejects.toThrow(
      withCode("TUF_PROPOSAL_OVERTAKEN"),
    )
    await expect(propose(service.ports, wish, ADMIN)).rejects.toThrow(pending)
    expect(await signAll(service, ann)).toBe(true)
    expect((await rootsOf(service)).map(({ signed }) => signed.version)).toEqual([1, 2, 3])
  })

  test("that came after the document's own end", async () => {
    const { service, ann, bob, id } = await proposed()
    const both = await signaturesOf(service, ann, bob)
    service.pass(500 * DAY)
    await expect(submitSignatures(service.ports, id, both, ADMIN)).rejects.toThrow(withCode("TUF_PROPOSAL_OVERTAKEN"))
  })

  test("two submissions at once lose no signature", async () => {
    const { service, ann, bob, id } = await proposed()
    const [first, second] = [await signaturesOf(service, ann), await signaturesOf(service, bob)]
    const done = await Promise.all([first, second].map((one) => submitSignatures(service.ports, id, one, ADMIN)))
    expect(done.sort()).toEqual([false, true])
    expect(await rootsOf(service)).toHaveLength(3)
  })
})

describe("acts that change the trust bundle wait for people where targets need them", () => {
  async function guarded() {
    const service = await ready()
    const ann = await newPerson(service, "ann")
    const wish = { role: "targets", keys: ["service", "ann"], threshold: 2, days: undefined } as const
    await expect(propose(service.ports, wish, ADMIN)).rejects.toThrow(pending)
    await signAll(service, ann)
    await service.publish()
    return { service, ann }
  }
  const bundleOf = async (service: Service) => parseTrustBundle((await newestTargets(service.ports.table)).trustBundle)
  const SECOND = { generation: 2, algorithm: undefined, rootYears: 10 } as const

  test("a new root: nothing is done until it is signed, then the same command ends it; and it retires the same way (R17)", async () => {
    const { service, ann } = await guarded()
    await expect(rotateRoot(service.ports, SECOND, ADMIN)).rejects.toThrow(pending)
    const { id } = await waiting(service)
    service.pass(60)
    await expect(rotateRoot(service.ports, SECOND, ADMIN)).rejects.toThrow(pending)
    expect((await waiting(service)).id).toBe(id)
    expect((await readDeployment(service.ports.table)).root.generation).toBe(1)
    expect((await bundleOf(service)).roots).toHaveLength(1)
    await service.publish(true)
    expect(await signAll(service, ann)).toBe(true)
    const { root, formerRoots } = await rotateRoot(service.ports, SECOND, ADMIN)
    expect(root.generation).toBe(2)
    expect((await bundleOf(service)).roots).toEqual([formerRoots[0]?.certificate, root.certificate])
    await service.publish()
    expectSound(service)
  })

  test("an outside authority (R29)", async () => {
    const { service, ann } = await guarded()
    const authority = {
      name: "stamps",
      url: "https://stamps.example.test/",
      roots: [makeIssuer("ecdsa-p256-sha256").root],
    }
    await expect(setOutsideAuthority(service.ports, authority, ADMIN)).rejects.toThrow(pending)
    const other = { ...authority, name: "others", roots: [makeIssuer("ecdsa-p256-sha256").root] }
    await expect(setOutsideAuthority(service.ports, other, ADMIN)).rejects.toThrow(withCode("TUF_PROPOSAL_STANDS"))
    expect((await waiting(service)).review.changes.join("\n")).toContain(
      `trust bundle: gets timestamp root ${hexEncode(sha256(authority.roots[0] as Uint8Array))}`,
    )
    await signAll(service, ann)
    expect((await setOutsideAuthority(service.ports, authority, ADMIN)).name).toBe("stamps")
    const thumbprint = hexEncode(sha256(authority.roots[0] as Uint8Array))
    await expect(retireRoot(service.ports, thumbprint, ADMIN)).rejects.toThrow(withCode("ROOT_IN_USE"))
  })

  test("renewal of root and targets (R18)", async () => {
    const { service, ann } = await guarded()
    service.pass(200 * DAY)
    const again = () => holdCeremony(service.ports, { ...NAMES, algorithm: "ecdsa-p256-sha256", rootYears: 10 }, ADMIN)
    await expect(again()).rejects.toThrow(pending)
    await service.publish(true)
    await signAll(service, ann)
    await again()
    await service.publish()
    expect(follow(service)).toMatchObject({ accepted: true, trusted: { root: { version: 3 } } })
  })
})

describe("new keys (R29)", () => {
  test.each(TUF_ROLES)("of %s: clients with and without memory follow", async (role) => {
    const service = await ready()
    const before = follow(service)
    await rotateTufKey(service.ports, role, 2, ADMIN)
    await rotateTufKey(service.ports, role, 2, ADMIN)
    await service.publish()
    expect(follow(service)).toMatchObject({ accepted: true })
    expect(follow(service, before.state)).toMatchObject({ accepted: true })
    const { tuf } = await readDeployment(service.ports.table)
    expect(tuf[role]).toHaveLength(2)
    expect(auditOf(service).filter(({ action }) => action === "tuf.rotate")).toHaveLength(1)
    await rotateTufKey(service.ports, role, 3, ADMIN)
    await service.publish()
    expect(follow(service, before.state)).toMatchObject({ accepted: true })
    await expect(rotateTufKey(service.ports, role, 9, ADMIN)).rejects.toThrow(withCode("TUF_KEY_GENERATION_WRONG"))
    expectSound(service)
  })

  test.each(TUF_ROLES)(
    "of %s between the commit of an epoch and its end: each epoch has the keys that its own documents name",
    async (role) => {
      let down = false
      const service = createService({
        objects: (objects) => ({
          ...objects,
          create: async (...object) => {
            if (down && object[0].startsWith("tuf/")) throw new Error("down")
            return await objects.create(...object)
          },
        }),
      })
      await service.setUp()
      await service.publish()
      down = true
      await expect(service.publish(true)).rejects.toThrow("down")
      await rotateTufKey(service.ports, role, 2, ADMIN)
      down = false
      await service.publish()
      expect(follow(service)).toMatchObject({ accepted: true })
      expectSound(service)
    },
  )

  test("of timestamp: a client whose versions a thief drove up recovers", async () => {
    const service = await ready()
    const met = follow(service, undefined, await timestampOfThief(service, 1_000_000))
    expect(met.floors.timestamp).toBe(1_000_000)
    await service.publish(true)
    expect(follow(service, met.state)).toMatchObject({ accepted: false, refusal: { code: "TUF_ROLLBACK" } })
    await rotateTufKey(service.ports, "timestamp", 2, ADMIN)
    await service.publish()
    expect(follow(service, met.state)).toMatchObject({ accepted: true })
  })
})

/** What the thief of the timestamp key shows: the snapshot in force, under a version far ahead. */
async function timestampOfThief(service: Service, version: number): Promise<Uint8Array> {
  const bytes = service.memory.objects.dump().get("tuf/timestamp.json")?.bytes as Uint8Array
  const signed = { ...decodeMetadata(bytes, "timestamp", bytes.length).signed, version }
  const key = (await readDeployment(service.ports.table)).tuf.timestamp[0] as KeyReference
  const signature = await service.memory.keys.sign(key, signedBytes(signed))
  return encodeMetadata(signed, [{ keyid: namedKey(service.ports.digest, key).keyid, signature }])
}

describe("the file of a ceremony", () => {
  test("says what it changes, and is read as it was written", async () => {
    const { service } = await shared()
    await expect(propose(service.ports, { ...nothing, role: "root", keys: ["service", "ann"] }, ADMIN)).rejects.toThrow(
      pending,
    )
    const { request } = await waiting(service)
    expect(parseTufSigning(encodeTufSigning(request))).toEqual(request)
    expect(request.changes).toEqual([
      expect.stringMatching(/^root: version 2 becomes 3, which ends /),
      expect.stringMatching(/^role root: loses key bob \([0-9a-f]{16}\)$/),
      "role root: threshold 2 of 3 becomes 2 of 2",
    ])
  })

  test.each([
    ["other words", (request: Request) => ({ ...request, changes: ["nothing of note"] })],
    [
      "another name of a key",
      (request: Request) => ({ ...request, names: new Map([...request.names].map(([id]) => [id, "eve"] as const)) }),
    ],
    [
      "another root in force",
      (request: Request) => ({ ...request, root: (request.documents[0] as Request["documents"][0]).metadata }),
    ],
    ["another proposal", (request: Request) => ({ ...request, proposal: "0".repeat(64) })],
    ["a role twice", (request: Request) => ({ ...request, documents: [...request.documents, ...request.documents] })],
  ])("with %s is refused by who signs", async (_, change) => {
    const { service } = await shared()
    await expect(propose(service.ports, { ...nothing, role: "root", keys: ["service", "ann"] }, ADMIN)).rejects.toThrow(
      pending,
    )
    const { request } = await waiting(service)
    const step = () => runSync(reviewRequest(change(request), service.ports.digest, service.ports.clock()))
    expect(step).toThrow(withCode("TUF_REQUEST_WRONG"))
  })
  type Request = Awaited<ReturnType<typeof waiting>>["request"]
})
