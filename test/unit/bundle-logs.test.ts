import { execFile } from "node:child_process"
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { concat, utf8 } from "@sealwright/formats/bytes"
import { parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import { NOTE_TYPE } from "@sealwright/formats/signed-note"
import { encodeEntries, parseLogPath, pathTiles, TileTree, tilePath } from "@sealwright/formats/tlog-tiles"
import { logEntryOf } from "@sealwright/verifier/log-proof"
import { runSync } from "@sealwright/verifier/node-crypto"
import { afterAll, beforeEach, describe, expect, test } from "vitest"
import { folderReader } from "../../packages/cli/src/bundle-folder.ts"
import type { LogCopy, LogSource } from "../../packages/cli/src/bundles/log-tree.ts"
import { checkLogs, stageLogs, withHeads } from "../../packages/cli/src/bundles/logs.ts"
import { verifyTrust } from "../../packages/cli/src/bundles/open-any.ts"
import { consistencyFrom, treeReader } from "../../packages/cli/src/log-files.ts"
import { requireProofOf } from "../../packages/cli/src/log-proofs.ts"
import { readFiles, scratch, writeFiles } from "../support/bundles.ts"
import { NOW, sha256 } from "../support/chains.ts"
import { Deployment, REFERENCE } from "../support/deployment.ts"
import { flipBit, NoteSigner, nameLogs, servedFiles, TestLog } from "../support/log.ts"

const MAIN = join(import.meta.dirname, "../../packages/cli/src/main.ts")
const work = scratch()
const ours = new Deployment()
const CONTENT = utf8("the tool")
const digestHex = Buffer.from(sha256(CONTENT)).toString("hex")
const target = { mediaType: "application/octet-stream", digest: `sha256:${digestHex}`, size: CONTENT.length }
const envelope = ours.sign({ target })
const jws = parseNotaryJws(envelope)
const entry = runSync(logEntryOf(jws, parseX5c(jws.x5c[0] as string))) as Uint8Array
const witness = new NoteSigner("w1.example", NOTE_TYPE.cosignature)
const cosigned = [{ by: witness, at: new Date(NOW.getTime() - 30_000) }]

const log = new TestLog().fill(299).append(entry)
const events = new TestLog("events.example.test").fill(3)
const grown = (count: number) => new TestLog(log.origin, log.signer).append(...log.entries).fill(count - 300)
const rewritten = (count: number) => new TestLog(log.origin, log.signer).fill(count, "other")
const published = ours.publish({
  change: (targets) => nameLogs(targets, { signatures: log, events, policy: log.policy([witness]) }),
})

let run = 0
let here: string
let folder: string
beforeEach(() => {
  here = join(work.path, `${run++}`)
  folder = writeFiles(join(here, "bundle"), published)
})
afterAll(() => work.remove())

type Changes = Readonly<Record<string, Uint8Array | undefined>>

/** A log as it is served, or not quite. */
function filesOf(shown: TestLog, changes: Changes = {}): Map<string, Uint8Array | undefined> {
  const files = new Map<string, Uint8Array | undefined>(servedFiles(shown, shown.checkpoint(cosigned)))
  for (const [path, bytes] of Object.entries(changes)) files.set(path, bytes)
  return files
}

const asked: string[] = []
function sourceOf(shown: TestLog, changes: Changes = {}): LogSource {
  const trees = { signatures: filesOf(shown, changes), events: filesOf(events) }
  return async (tree, path) => {
    asked.push(`${tree}/${path}`)
    return trees[tree].get(path)
  }
}

const open = (floors?: Parameters<typeof verifyTrust>[1]["floors"]) =>
  verifyTrust(folderReader(folder), { pinnedRoot: ours.pinnedRoot, now: NOW, floors })
const stage = (source: LogSource, copy: LogCopy = "seen", opened = open()) =>
  stageLogs(folder, opened, { source, copy, now: NOW, required: true })
const inFolder = (path: string) => folderReader(folder)(`log/signatures/${path}`, 100_000)

describe("tiles of what was seen (R30)", () => {
  test("those of some sizes prove consistency between any two of them", () => {
    const size = 66_200n
    const whole = new TestLog().fill(33_100).fill(33_100)
    for (const sizes of [[1n, 255n, 256n, 257n], [511n, 512n, 40_000n], [65_535n, 65_536n, 65_537n], [size - 1n]]) {
      const kept = new Map(
        [...sizes, size].flatMap((each) => pathTiles(each, size)).map((tile) => [tilePath(tile), tile]),
      )
      const read = (path: string) => (kept.has(path) ? whole.files.get(path) : undefined)
      for (const from of sizes)
        for (const to of [...sizes, size]) {
          if (to < from) continue
          const expected = new TileTree(size, (tile) => whole.files.get(tilePath(tile)), sha256).consistencyProof(
            from,
            to,
          )
          expect(consistencyFrom(read, size, from, to), `${from} to ${to}`).toEqual(expected)
        }
      expect(kept.size).toBeLessThan(12)
    }
    expect(() => pathTiles(size + 1n, size)).toThrow(RangeError)
  })

  test.each([
    "checkpoint",
    "tile/0/000",
    "tile/0/001.p/45",
    "tile/7/000.p/1",
    "tile/0/x001/x234/067",
    "tile/entries/x001/000.p/255",
  ])("%s is a path of a log", (path) => {
    expect(parseLogPath(path)).toBeDefined()
  })

  test.each([
    "",
    "tile",
    "tile/0/000/",
    "tile/0/0",
    "tile/0/x000/001",
    "tile/00/000",
    "tile/8/000",
    "tile/0/000.p/0",
    "tile/0/000.p/256",
    "tile/0/000.p/012",
    "tile/0/../checkpoint",
    "checkpoint/",
    "tile/entries/../../../trees/notation.json",
    "tile/0/x001/x001/x001/x001/x001/x001/x001/001",
  ])("%s is none", (path) => {
    expect(parseLogPath(path)).toBeUndefined()
  })
})

describe("a bundle carries the logs (R26, R28, R30)", () => {
  test("checkpoint, edge and the tiles of earlier sizes; a repeat asks for the checkpoints alone", async () => {
    const { heads } = await stage(sourceOf(log))
    expect(heads).toMatchObject([
      { origin: log.origin, size: "300" },
      { origin: events.origin, size: "3" },
    ])
    const names = [...readFiles(join(folder, "log/signatures")).keys()]
    expect(names).toEqual(["checkpoint", "tile/0/001.p/44", "tile/1/000.p/1"])
    asked.length = 0
    expect(await stage(sourceOf(log))).toMatchObject({ filesWritten: 0 })
    expect(asked).toEqual(["signatures/checkpoint", "events/checkpoint"])
    await stage(sourceOf(grown(700)))
    expect([...readFiles(join(folder, "log/signatures")).keys()]).toEqual([
      "checkpoint",
      "tile/0/001",
      "tile/0/001.p/44",
      "tile/0/002.p/188",
      "tile/1/000.p/1",
      "tile/1/000.p/2",
    ])
    await stage(sourceOf(grown(701)))
    expect(inFolder("tile/0/001.p/44")).toBeUndefined()
    expect(inFolder("tile/0/002.p/188")).toBeDefined()
  })

  test("all tiles prove it from any size; the whole log has its entries", async () => {
    const larger = grown(700)
    await stage(sourceOf(larger), "tiles")
    const read = treeReader(folderReader(folder), "signatures")
    for (const from of [1n, 255n, 300n, 699n])
      expect(consistencyFrom(read, 700n, from, 700n)).toEqual(larger.tiles.consistencyProof(from))
    expect(inFolder("tile/entries/000")).toBeUndefined()
    await stage(sourceOf(larger), "entries")
    expect(inFolder("tile/entries/002.p/188")).toEqual(encodeEntries(larger.entries.slice(512)))
  })

  const wrong = (path: string) => {
    const files = filesOf(grown(700))
    return { [path]: flipBit(files.get(path) as Uint8Array, 77) }
  }
  const cut = (path: string) => ({ [path]: filesOf(grown(700)).get(path)?.subarray(0, -32) })
  const long = (path: string) => ({ [path]: concat(filesOf(grown(700)).get(path) as Uint8Array, new Uint8Array(32)) })
  const otherKey = () => new TestLog(log.origin).checkpoint(cosigned, grown(700).head)
  const OTHER = "FETCHED_OTHER_BYTES"
  const REFUSED: readonly (readonly [name: string, code: string, source: () => LogSource, copy?: LogCopy])[] = [
    ["a wrong tile at the edge", OTHER, () => sourceOf(grown(700), wrong("tile/0/002.p/188"))],
    ["a wrong tile within", OTHER, () => sourceOf(grown(700), wrong("tile/0/001"))],
    ["a wrong tile above", OTHER, () => sourceOf(grown(700), wrong("tile/1/000.p/2"))],
    ["a truncated tile", OTHER, () => sourceOf(grown(700), cut("tile/0/001"))],
    ["a truncated edge", OTHER, () => sourceOf(grown(700), cut("tile/0/002.p/188"))],
    ["a tile that is too long", OTHER, () => sourceOf(grown(700), long("tile/0/001"))],
    ["an absent tile", OTHER, () => sourceOf(grown(700), { "tile/0/001": undefined })],
    ["an absent edge", OTHER, () => sourceOf(grown(700), { "tile/0/002.p/188": undefined })],
    ["wrong entries", OTHER, () => sourceOf(grown(700), wrong("tile/entries/001")), "entries"],
    ["truncated entries", OTHER, () => sourceOf(grown(700), cut("tile/entries/002.p/188")), "entries"],
    ["absent entries", OTHER, () => sourceOf(grown(700), { "tile/entries/000": undefined }), "entries"],
    [
      "another log's checkpoint",
      "LOG_UNKNOWN",
      () => sourceOf(grown(700), { checkpoint: events.checkpoint(cosigned) }),
    ],
    ["another key's checkpoint", "LOG_UNKNOWN", () => sourceOf(grown(700), { checkpoint: otherKey() })],
    ["no note", "LOG_CHECKPOINT_INVALID", () => sourceOf(grown(700), { checkpoint: utf8("none") })],
    ["no checkpoint", "CHECKPOINT_MISSING", () => sourceOf(grown(700), { checkpoint: undefined })],
    [
      "a smaller tree",
      "LOG_ROLLBACK",
      () => sourceOf(new TestLog(log.origin, log.signer).append(...log.entries.slice(0, 299))),
    ],
    ["another tree of the same size", "LOG_FORKED", () => sourceOf(rewritten(300))],
    ["a log that was rewritten", "LOG_INCONSISTENT", () => sourceOf(rewritten(700))],
    ["a log that was rewritten, whole", "LOG_INCONSISTENT", () => sourceOf(rewritten(700)), "entries"],
    [
      "more than a bundle can hold",
      "BUNDLE_TOO_LARGE",
      () => sourceOf(log, { checkpoint: log.checkpoint(cosigned, { ...log.head, size: 1n << 40n }) }),
      "tiles",
    ],
  ]

  const refused = REFUSED.map(([name, code, source, copy]) => ({ name, code, source, copy }))
  test.each(refused)("$name: $code, and the checkpoint stays", async ({ code, source, copy }) => {
    await stage(sourceOf(log))
    const before = inFolder("checkpoint")
    await expect(stage(source(), copy)).rejects.toMatchObject({ code })
    expect(inFolder("checkpoint")).toEqual(before)
  })

  test("what the state file has seen counts where the folder is new", async () => {
    const { heads } = await stage(sourceOf(grown(700)))
    const { floors } = withHeads(open(), heads)
    rmSync(join(folder, "log"), { recursive: true })
    await expect(stage(sourceOf(log), "seen", open(floors))).rejects.toMatchObject({ code: "LOG_ROLLBACK" })
    await expect(stage(sourceOf(rewritten(900)), "seen", open(floors))).rejects.toMatchObject({
      code: "LOG_INCONSISTENT",
    })
    await stage(sourceOf(grown(900)), "seen", open(floors))
    expect(inFolder("tile/0/002")).toBeDefined()
  })

  test("a checkpoint without its witnesses leaves the log as it is, and stops nothing else", async () => {
    await stage(sourceOf(log))
    const before = readFiles(folder)
    const bare = grown(700)
    expect(await stage(sourceOf(bare, { checkpoint: bare.checkpoint() }))).toMatchObject({
      heads: [{ origin: events.origin }],
    })
    expect(readFiles(folder)).toEqual(before)
  })

  test("a log without a checkpoint is passed over until one was seen; two are none", async () => {
    expect(await stage(sourceOf(log, { checkpoint: undefined }))).toMatchObject({ heads: [{ origin: events.origin }] })
    const nothing: LogSource = async () => undefined
    await expect(stage(nothing)).rejects.toMatchObject({ code: "CHECKPOINT_MISSING" })
    rmSync(join(folder, "log"), { recursive: true })
    await expect(stage(nothing)).rejects.toMatchObject({ code: "CHECKPOINT_MISSING" })
    const optional = { source: nothing, copy: "seen", now: NOW, required: false } as const
    expect(await stageLogs(folder, open(), optional)).toMatchObject({ heads: [], filesWritten: 0 })
  })

  test("with all tiles, edges of the sizes that were shown stay until their tile is full, unless they are damaged", async () => {
    const edges = () => [...readFiles(join(folder, "log/signatures")).keys()].filter((path) => path.includes("001.p/"))
    for (const size of [300, 310, 320]) await stage(sourceOf(grown(size)), "entries")
    const shown = (kind: string) => [44, 54, 64].map((width) => `tile/${kind}/001.p/${width}`)
    expect(edges()).toEqual([...shown("0"), ...shown("entries")])
    for (const path of ["tile/0/001.p/44", "tile/entries/001.p/54"])
      writeFileSync(join(folder, "log/signatures", path), flipBit(inFolder(path) as Uint8Array, 9))
    await stage(sourceOf(grown(330)), "entries")
    const left = ["tile/0/001.p/54", "tile/0/001.p/64", "tile/0/001.p/74"]
    expect(edges()).toEqual([...left, ...[44, 64, 74].map((width) => `tile/entries/001.p/${width}`)])
    await stage(sourceOf(grown(700)), "entries")
    expect(edges()).toEqual(["tile/0/001.p/74", "tile/entries/001.p/74"])
  })

  test("a damaged tile that stands is fetched again", async () => {
    await stage(sourceOf(grown(700)), "tiles")
    for (const path of ["tile/0/001", "tile/0/002.p/188"]) {
      const good = inFolder(path) as Uint8Array
      writeFileSync(join(folder, "log/signatures", path), flipBit(good, 9))
      await stage(sourceOf(grown(700)), "tiles")
      expect(inFolder(path)).toEqual(good)
    }
  })
})

test("a proof is of the envelope that it came with, or refused", () => {
  requireProofOf(log.proofFile(299), envelope)
  expect(() => requireProofOf(log.proofFile(298), envelope)).toThrow(
    expect.objectContaining({ code: "LOG_PROOF_INVALID" }),
  )
  expect(() => requireProofOf(utf8("none"), envelope)).toThrow(expect.objectContaining({ code: "LOG_PROOF_INVALID" }))
})

test("a carried bundle's logs are held against state file and standing bundle before it is taken over (R28)", async () => {
  const putLog = (name: string, shown: TestLog) => {
    const at = join(here, name)
    for (const [path, bytes] of filesOf(shown))
      if (bytes) writeFiles(join(at, "log/signatures"), new Map([[path, bytes]]))
    return folderReader(at)
  }
  const standing = putLog("old", log)
  const { floors } = open()
  const check = (read: ReturnType<typeof folderReader>, before?: typeof read) =>
    checkLogs(read, open(floors), NOW, before)
  const later = putLog("later", grown(700))
  expect(check(later, standing).floors.logs?.get(log.origin)?.size).toBe(700n)
  const seen = check(later).floors
  for (const [name, shown, code] of [
    ["smaller", new TestLog(log.origin, log.signer).append(...log.entries.slice(0, 299)), "LOG_ROLLBACK"],
    ["forked", rewritten(300), "LOG_FORKED"],
    ["rewritten", rewritten(900), "LOG_INCONSISTENT"],
  ] as const) {
    const read = putLog(name, shown)
    expect(() => check(read, standing), name).toThrow(expect.objectContaining({ code }))
    const refused = code === "LOG_FORKED" ? "LOG_ROLLBACK" : code
    expect(() => checkLogs(read, open(seen), NOW), name).toThrow(expect.objectContaining({ code: refused }))
  }
})

test("verify at a site with state: the second bundle's tiles prove that the log only grew; a rewritten log is refused (R26, R28, R30)", async () => {
  writeFileSync(join(here, "root.json"), ours.pinnedRoot)
  writeFileSync(join(here, "tool"), CONTENT)
  const trustPolicy = {
    trustStore: [{ trustedRoots: [{ root: ours.rootPem }] }],
    trustedIdentities: ["web@sign.example.test"],
    requireLog: true,
  }
  writeFileSync(join(here, "policy.json"), JSON.stringify({ trustPolicy }))
  const below = join(folder, `signatures/sha256/${digestHex}`)
  mkdirSync(below, { recursive: true })
  writeFileSync(join(below, "A.jws"), envelope)
  writeFileSync(join(below, "A.jws.tlog-proof"), log.proofFile(299, log.checkpoint(cosigned)))
  const verify = () => {
    const at = (name: string) => join(here, name)
    const files = [
      "--policy",
      at("policy.json"),
      "--bundle",
      folder,
      "--root",
      at("root.json"),
      "--state",
      at("state.json"),
    ]
    const argv = [
      MAIN,
      "verify",
      at("tool"),
      "--reference",
      REFERENCE,
      ...files,
      "--now",
      "2026-06-01T12:00:00Z",
      "--json",
    ]
    return new Promise<{ code: string; checks: { check: string; outcome: string }[] }>((resolve) =>
      execFile(process.execPath, argv, (_, stdout) => resolve(JSON.parse(stdout))),
    )
  }
  const unproven = ({ checks }: Awaited<ReturnType<typeof verify>>) =>
    checks.filter(({ check }) => check === "log history")
  await stage(sourceOf(log))
  const first = await verify()
  expect([first.code, unproven(first)]).toEqual(["ACCEPTED", []])
  await stage(sourceOf(grown(700)))
  const second = await verify()
  expect([second.code, unproven(second)]).toEqual(["ACCEPTED", []])
  const state = JSON.parse(readFileSync(join(here, "state.json"), "utf8"))
  expect(state.logs).toMatchObject({ [log.origin]: { size: "700" }, [events.origin]: { size: "3" } })
  for (const [count, code] of [
    [700, "LOG_FORKED"],
    [900, "LOG_INCONSISTENT"],
  ] as const) {
    rmSync(join(folder, "log"), { recursive: true })
    rmSync(join(below, "A.jws.tlog-proof"), { force: true })
    await stage(sourceOf(rewritten(count)), "tiles")
    expect((await verify()).code).toBe(code)
  }
}, 60_000)
