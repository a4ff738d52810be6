import { bytesEqual, utf8, utf8Decode } from "@sealwright/formats/bytes"
import { growTree, tilePath } from "@sealwright/formats/tlog-tiles"
import { beforeAll, describe, expect, test } from "vitest"
import type { AuditCode } from "../../packages/cli/src/fsck/audit/state.ts"
import { leafHash, newTree, rootOf, tileRoot, upperTiles } from "../../packages/cli/src/fsck/audit/tree.ts"
import type { StoredItem } from "../../packages/cli/src/fsck/state.ts"
import {
  type AuditWorld,
  auditOf,
  change,
  codesOf,
  createAuditWorld,
  flip,
  forge,
  forgerOf,
  recordAt,
  remove,
  sha256,
  type World,
} from "../support/audit.ts"

type Damages = readonly (readonly [what: string, found: readonly AuditCode[], damage: (made: World) => void])[]

describe("log audit of a log of several bundles (R12, R30)", () => {
  let made: AuditWorld
  let signatures: Uint8Array[]
  let events: Uint8Array[]
  beforeAll(async () => {
    made = await createAuditWorld()
    ;({ signatures, events } = made)
  }, 60_000)
  const world = () => made.world()
  const forged: AuditWorld["forged"] = (...leaves) => made.forged(...leaves)

  test("finds nothing in a sound service, and counts what it saw", async () => {
    const [result] = await auditOf(world())
    expect(result).toMatchObject({ findings: [], records: 301, envelopes: 301, waiting: 0, later: 0, revocations: 2 })
    expect(result.logs.signatures).toMatchObject({ origin: "sig.trust.wabbit-networks.io", size: "301" })
    expect(result.events).toMatchObject({ revocation: 3, publication: 3 })
    expect((await auditOf(forged()))[0].findings).toEqual([])
  })

  test("its trees are the sequencer's, at sizes around those of tiles and bundles", () => {
    for (const size of [1, 2, 255, 256, 257, 511, 512, 700, 66_000]) {
      const entries = Array.from({ length: size }, (_, i) => utf8(`${i}`))
      const grown = growTree(0n, [], [], entries, sha256)
      const hashes = entries.map(leafHash)
      const tree = newTree()
      for (let at = 0; at < size; at += 256)
        if (at + 256 <= size) tree.tileRoots.push(tileRoot(hashes.slice(at, at + 256)))
        else tree.last.push(...hashes.slice(at))
      expect(rootOf(tree)).toEqual(grown.tree.root)
      const paths = [...grown.tiles.keys()].filter(({ level }) => level > 0).map(tilePath)
      expect([...upperTiles(tree)].map(([tile]) => tilePath(tile)).sort()).toEqual(paths.sort())
    }
  })

  const damages: Damages = [
    [
      "an entry that was changed",
      ["AUDIT_ENTRIES_CHANGED"],
      (made) => flip(made, "log/signatures/tile/entries/000", 99),
    ],
    [
      "entries that are gone",
      ["AUDIT_ENTRIES_CHANGED"],
      (made) => void made.objects.delete("log/signatures/tile/entries/000"),
    ],
    ["a tile that was changed", ["AUDIT_TILE_CHANGED"], (made) => flip(made, "log/signatures/tile/0/000", 99)],
    [
      "a partial tile that was changed",
      ["AUDIT_TILE_CHANGED"],
      (made) => flip(made, "log/signatures/tile/0/001.p/45", 99),
    ],
    ["a tile that is gone", ["AUDIT_TILE_CHANGED"], (made) => void made.objects.delete("log/signatures/tile/0/000")],
    [
      "a tile of level 1 that was changed",
      ["AUDIT_TILE_CHANGED"],
      (made) => flip(made, "log/signatures/tile/1/000.p/1", 9),
    ],
    [
      "entries and tile changed together",
      ["AUDIT_ROOT_WRONG"],
      (made) => {
        const other = { ...made, objects: new Map(made.objects) }
        forge(other, "signatures", [utf8("{}"), ...signatures.slice(1)], forgerOf("sig.other"))
        for (const path of ["tile/entries/000", "tile/0/000"])
          made.objects.set(`log/signatures/${path}`, other.objects.get(`log/signatures/${path}`) as Uint8Array)
      },
    ],
  ]
  test.each(damages)("finds %s", async (_, codes, damage) => {
    const made = world()
    damage(made)
    expect(codesOf((await auditOf(made))[0])).toEqual(codes)
  })

  test("a later audit reads on from where the last ended, and notices another past", async () => {
    const before = forged(events.slice(0, -2))
    const [, progress] = await auditOf(before)
    const [grown] = await auditOf(forged(), progress)
    expect(grown).toMatchObject({ findings: [], known: { events: `${events.length - 2}`, signatures: "301" } })
    for (const full of [false, true]) {
      const other = [utf8("{}"), ...events.slice(1)]
      expect(codesOf((await auditOf(forged(other), progress, full))[0])).toContain("AUDIT_REWRITTEN")
      const rolled = await auditOf(forged(events.slice(0, 3)), progress, full)
      expect(codesOf(rolled[0])).toEqual(["AUDIT_ROLLED_BACK"])
      // What was seen before stays what the next audit holds the log to.
      expect(codesOf((await auditOf(forged(events.slice(0, 3)), rolled[1], full))[0])).toEqual(["AUDIT_ROLLED_BACK"])
    }
    const rewritten = [utf8("{}"), ...signatures.slice(1)]
    const full = codesOf((await auditOf(forged(events, rewritten), progress, true))[0])
    expect(full).toEqual(["AUDIT_RECORD_CHANGED", "AUDIT_REWRITTEN"])
    expect(codesOf((await auditOf(forged(events, rewritten), progress))[0])).toContain("AUDIT_ROOT_WRONG")
  })

  test("an old entry that was changed is noticed with --full", async () => {
    const [, progress] = await auditOf(world())
    const made = world()
    flip(made, "log/signatures/tile/entries/000", 99)
    expect((await auditOf(made, progress))[0].findings).toEqual([])
    expect(codesOf((await auditOf(made, progress, true))[0])).toEqual(["AUDIT_ENTRIES_CHANGED"])
    const tile = world()
    flip(tile, "log/signatures/tile/0/000", 99)
    expect(codesOf((await auditOf(tile, progress))[0])).toEqual(["AUDIT_TILE_CHANGED"])
  })
})

describe("log audit (R12, R30)", () => {
  const SIZE = 12
  let made: AuditWorld
  let signatures: Uint8Array[]
  let events: Uint8Array[]
  beforeAll(async () => {
    made = await createAuditWorld(SIZE)
    ;({ signatures, events } = made)
  }, 60_000)
  const world = () => made.world()
  const forged: AuditWorld["forged"] = (...leaves) => made.forged(...leaves)

  const damages: Damages = [
    [
      "a checkpoint that was changed",
      ["AUDIT_CHECKPOINT_UNVERIFIED"],
      (made) => flip(made, "log/events/checkpoint", 40),
    ],
    [
      "a checkpoint that is gone",
      ["AUDIT_CHECKPOINT_UNVERIFIED"],
      (made) => void made.objects.delete("log/events/checkpoint"),
    ],
    [
      "a record that lost its place",
      ["AUDIT_LEAF_WITHOUT_RECORD", "AUDIT_RECORD_NOT_LOGGED"],
      (made) => remove(made, ({ pk }) => pk === `logged#${recordAt(made, 7)}`),
    ],
    [
      "a record whose place is beyond the log",
      ["AUDIT_LEAF_WITHOUT_RECORD", "AUDIT_RECORD_NOT_LOGGED"],
      (made) => change(made, ({ pk }) => pk === `logged#${recordAt(made, 7)}`, { index: SIZE }),
    ],
    [
      "a leaf whose record was deleted",
      ["AUDIT_LEAF_WITHOUT_RECORD"],
      (made) => remove(made, ({ pk }) => pk === `signature#${recordAt(made, 7)}`),
    ],
    [
      "a record whose envelope was changed",
      ["AUDIT_RECORD_CHANGED"],
      (made) => {
        const other = made.items.find(({ pk }) => pk === `signature#${recordAt(made, 8)}`)
        change(made, ({ pk, sk }) => pk === `signature#${recordAt(made, 7)}` && sk === "record", {
          envelopes: other?.envelopes,
        })
      },
    ],
    [
      "two records at one leaf",
      ["AUDIT_LEAF_TAKEN_TWICE", "AUDIT_LEAF_WITHOUT_RECORD", "AUDIT_RECORD_CHANGED"],
      (made) => change(made, ({ pk }) => pk === `logged#${recordAt(made, 7)}`, { index: 8 }),
    ],
    [
      "a record without envelopes",
      ["AUDIT_LEAF_WITHOUT_RECORD", "AUDIT_TABLE_DAMAGED"],
      (made) =>
        change(made, ({ pk, sk }) => pk === `signature#${recordAt(made, 7)}` && sk === "record", { envelopes: "" }),
    ],
    [
      "a revocation taken out of the table",
      ["AUDIT_REVOCATION_MISSING"],
      (made) => remove(made, ({ pk }) => pk === "revocations"),
    ],
    [
      "a revocation that nobody logged",
      ["AUDIT_REVOCATION_WITHOUT_EVENT"],
      (made) => {
        const item = made.items.find(({ pk }) => pk === "revocations") as StoredItem
        made.items = [...made.items, { ...item, sk: "artifact:unlogged" }]
      },
    ],
    ...(
      [{ reason: "superseded" }, { effectiveAt: "2030-01-01T00:00:00.000Z" }, { target: { kind: "artifact" } }] as const
    ).map(
      (members) =>
        [
          `a revocation with another ${Object.keys(members)}`,
          ["AUDIT_REVOCATION_DIFFERS"],
          (made: World) => change(made, ({ pk, released }) => pk === "revocations" && released === false, members),
        ] as const,
    ),
    [
      "a hold that stands again without an event",
      ["AUDIT_REVOCATION_DIFFERS"],
      (made) => change(made, ({ pk, released }) => pk === "revocations" && released === true, { released: false }),
    ],
    [
      "an epoch that nobody logged",
      ["AUDIT_PUBLICATION_UNLOGGED"],
      (made) => change(made, ({ pk }) => pk === "publication", { published: 4 }),
    ],
    [
      "an epoch that was never published",
      ["AUDIT_PUBLICATION_REPEATED"],
      (made) => change(made, ({ pk }) => pk === "publication", { published: 2 }),
    ],
    [
      "another timestamp",
      ["AUDIT_PUBLICATION_DIFFERS"],
      (made) => void made.objects.set("tuf/timestamp.json", utf8("{}")),
    ],
    [
      "another revocation list",
      ["AUDIT_PUBLICATION_DIFFERS"],
      (made) => {
        for (const key of made.objects.keys()) if (key.endsWith(".revocations.json")) flip(made, key, 9)
      },
    ],
  ]
  test.each(damages)("finds %s", async (_, codes, damage) => {
    const made = world()
    damage(made)
    expect(codesOf((await auditOf(made))[0])).toEqual(codes)
  })

  test("finds what is wrong with the log of events itself", async () => {
    const kindOf = (leaf: Uint8Array) => JSON.parse(utf8Decode(leaf)).kind
    const of = (kind: string) => events.filter((leaf) => kindOf(leaf) === kind)
    const without = (leaf: Uint8Array | undefined) => events.filter((one) => one !== leaf)
    const found = async (leaves: Uint8Array[]) => codesOf((await auditOf(forged(leaves)))[0])
    expect(await found(without(of("revocation")[0]))).toEqual(["AUDIT_REVOCATION_WITHOUT_EVENT"])
    expect(await found(without(of("revocation")[2]))).toEqual(["AUDIT_REVOCATION_DIFFERS"])
    expect(await found(without(of("publication")[1]))).toEqual(["AUDIT_PUBLICATION_UNLOGGED"])
    const leftOut = forged(without(of("publication")[1]))
    const second = JSON.parse(utf8Decode(of("publication")[1] as Uint8Array)).epoch
    change(leftOut, ({ pk, sk }) => pk === "epochs" && Number(sk) === second, { skipped: true })
    expect(codesOf((await auditOf(leftOut))[0])).toEqual([])
    expect(await found([...events, of("publication")[1] as Uint8Array])).toEqual(["AUDIT_PUBLICATION_REPEATED"])
    expect(await found([...events].reverse())).toEqual([])
    for (const leaf of ["{", "[]", `{"apiVersion":"sealwright/v2","at":"","id":"","kind":"revocation"}`])
      expect(await found([...events, utf8(leaf)])).toEqual(["AUDIT_EVENT_UNREADABLE"])
  })

  test("finds events that contradict the table and what is published, though the log's key signed them", async () => {
    const forgedEvent = (kind: string, members: object) => {
      const last = events.map((leaf) => JSON.parse(utf8Decode(leaf))).findLast((event) => event.kind === kind)
      return utf8(JSON.stringify({ ...last, ...members }))
    }
    const found = async (leaf: Uint8Array, of = events) => codesOf((await auditOf(forged([...of, leaf])))[0])
    expect(await found(forgedEvent("revocation", {}))).toEqual([])
    expect(await found(forgedEvent("revocation", { revocation: "artifact:nobody" }))).toEqual([
      "AUDIT_REVOCATION_MISSING",
    ])
    for (const members of [{ released: false }, { reason: "keyCompromise" }, { target: {} }, { epoch: 9 }])
      expect(await found(forgedEvent("revocation", members))).toEqual(["AUDIT_REVOCATION_DIFFERS"])
    expect(await found(forgedEvent("publication", { epoch: 9 }))).toEqual(["AUDIT_PUBLICATION_REPEATED"])
    const earlier = events.filter((leaf) => !bytesEqual(leaf, forgedEvent("publication", {})))
    expect(earlier).toHaveLength(events.length - 1)
    expect(await found(forgedEvent("publication", {}), earlier)).toEqual([])
    for (const member of ["list", "revocations", "allow"])
      expect(await found(forgedEvent("publication", { [member]: "0".repeat(64) }), earlier)).toEqual([
        "AUDIT_PUBLICATION_DIFFERS",
      ])
    const timestamp = { version: 3, sha256: "0".repeat(64) }
    expect(await found(forgedEvent("publication", { timestamp }), earlier)).toEqual(["AUDIT_PUBLICATION_DIFFERS"])
  })

  test("finds leaves and records that are not each other's, though the log's key signed the tree", async () => {
    const found = async (leaves: Uint8Array[]) => codesOf((await auditOf(forged(events, leaves)))[0])
    const last = signatures.at(-1) as Uint8Array
    expect(await found([...signatures, utf8("{}")])).toEqual(["AUDIT_LEAF_WITHOUT_RECORD"])
    expect(await found([...signatures, last])).toEqual(["AUDIT_LEAF_WITHOUT_RECORD"])
    expect(await found(signatures.slice(0, -1))).toEqual(["AUDIT_RECORD_NOT_LOGGED"])
    expect(await found(signatures.with(7, utf8("{}")))).toEqual(["AUDIT_RECORD_CHANGED"])
    expect(await found(signatures.with(7, last).with(-1, signatures[7] as Uint8Array))).toEqual([
      "AUDIT_RECORD_CHANGED",
    ])
  })

  test("a checkpoint under other keys than the policy's is refused", async () => {
    const found = codesOf((await auditOf({ ...forged(), policy: made.policy }))[0])
    expect(found).toEqual(["AUDIT_CHECKPOINT_UNVERIFIED"])
  })
})
