import { generateKeyPairSync, sign } from "node:crypto"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { findLogged, requireLogCommit } from "@sealwright/core/ledger/log"
import { findRecord } from "@sealwright/core/ledger/records"
import { readDeployment } from "@sealwright/core/ledger/trust"
import { logSigners } from "@sealwright/core/log/origin"
import { proofsAt } from "@sealwright/core/log/proof"
import { hexEncode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import { parseCheckpoint } from "@sealwright/formats/checkpoint"
import { encodeNote, encodeVkey, type NoteKey, noteKeyIdInput, parseNote } from "@sealwright/formats/signed-note"
import { encodeLogProof, type LogProof, parseLogProof } from "@sealwright/formats/tlog-proof"
import { parseEntries } from "@sealwright/formats/tlog-tiles"
import { encodeAddCheckpoint } from "@sealwright/formats/tlog-witness"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import { consistencyFrom } from "../../packages/cli/src/log-files.ts"
import { run, runOffline, withClients } from "../support/clients.ts"
import { flip, logFiles, loggedService, type Service, withRoot } from "./logged.ts"
import { type StaticRepository, serve } from "./repositories.ts"

const SIZE = 301
const refused = (why: string) => ({
  status: 1,
  stdout: "",
  stderr: expect.stringMatching(new RegExp(`^tlogcheck: refused: .*${why}`)),
})
const NOT_PROVED = refused("invalid transparency proof")
const NOT_POSSIBLE = refused("tlog: invalid inputs in Check(Record|Tree)")
const SIGNED_WRONGLY = refused("invalid signature for key")
const NOT_SIGNED = refused("note has no verifiable signatures")

withClients("R30: Go's own packages, note and tlog, check the log", ["tlogcheck"], (tlogcheck) => {
  const work = mkdtempSync(join(tmpdir(), "sealwright-tlog-"))
  const at = (name: string) => join(work, name)
  let service: Service
  let ids: readonly string[]
  let files: Map<string, Uint8Array>
  /** signed notes of the log's epochs, oldest first */
  let notes: readonly Uint8Array[]
  let stranger: NoteKey & { sign(text: string): Uint8Array }

  beforeAll(async () => {
    ;({ service, ids } = await loggedService())
    const { table, digest } = service.ports
    const { log } = await readDeployment(table)
    if (log === undefined) throw new Error("no log")
    const key = logSigners(digest, log.signatures)[0]?.note as NoteKey
    writeFileSync(at("log.key"), `${encodeVkey(key)}\n`)
    const named = (name: string, publicKey: Uint8Array): NoteKey => {
      const keyId = hexEncode(digest("sha256", noteKeyIdInput(name, key.type, publicKey)).subarray(0, 4))
      return { name, keyId, type: key.type, publicKey }
    }
    const { publicKey, privateKey } = generateKeyPairSync("ed25519")
    const raw = new Uint8Array(publicKey.export({ format: "der", type: "spki" }).subarray(-32))
    stranger = {
      ...named("elsewhere.example", raw),
      sign: (text) => new Uint8Array(sign(null, utf8(text), privateKey)),
    }
    writeFileSync(at("other.key"), encodeVkey(named(key.name, raw)))
    writeFileSync(at("renamed.key"), encodeVkey(named("elsewhere.example", key.publicKey)))
    writeFileSync(at("stranger.key"), encodeVkey(stranger))
    files = logFiles(service)
    const last = await findLogged(table, ids.at(-1) ?? "")
    const epochs = Array.from({ length: last?.epoch ?? 0 }, (_, i) => requireLogCommit(table, "signatures", i + 1))
    notes = (await Promise.all(epochs)).map(({ note }) => note as Uint8Array)
  }, 120_000)

  afterAll(() => rmSync(work, { recursive: true, force: true }))

  const file = (name: string) => files.get(name) as Uint8Array

  describe("entries, tiles and checkpoint", () => {
    let repository: StaticRepository
    beforeAll(async () => {
      repository = await serve(files)
    })
    afterEach(() => {
      repository.files = files
    })
    afterAll(() => repository?.close())

    const check = (key = "log.key") => run(tlogcheck, ["tree", repository.url, at(key)], { HOME: work })

    test("are one tree, from a web server", async () => {
      expect(files.has("tile/entries/001.p/45")).toBe(true)
      const outcome = await check()
      expect(outcome, outcome.stderr).toMatchObject({
        status: 0,
        stdout: `tlogcheck: ${SIZE} entries, 3 tiles, one tree\n`,
      })
    })

    test("are one tree, from a folder, without a network (R26)", async () => {
      for (const [path, bytes] of files) {
        mkdirSync(dirname(at(`log/${path}`)), { recursive: true })
        writeFileSync(at(`log/${path}`), bytes)
      }
      const outcome = await runOffline(tlogcheck, ["tree", at("log"), at("log.key")], { HOME: work })
      expect(outcome, outcome.stderr).toMatchObject({ status: 0 })
    })

    test.each([
      ["a changed entry", "tile/entries/000", (bytes: Uint8Array) => flip(bytes, 500), "the entries have the root"],
      ["a changed hash", "tile/0/000", (bytes: Uint8Array) => flip(bytes, 40), "other hashes than its entries"],
      [
        "a changed hash above",
        "tile/1/000.p/1",
        (bytes: Uint8Array) => flip(bytes, 0),
        "other hashes than its entries",
      ],
      ["entries cut off", "tile/entries/001.p/45", (bytes: Uint8Array) => bytes.subarray(0, -3), "an entry is cut off"],
      ["hashes cut off", "tile/0/001.p/45", (bytes: Uint8Array) => bytes.subarray(32), "1408 bytes for 45 hashes"],
      ["a changed root", "checkpoint", withRoot, "invalid signature for key"],
      ["an older checkpoint's size", "checkpoint", withSize, "invalid signature for key"],
    ] as const)("are refused with %s", async (_, path, change, said) => {
      repository.files = new Map([...files, [path, change(file(path))]])
      expect(await check()).toMatchObject(refused(said))
    })

    test("are refused under another log's key, and under this key with another name", async () => {
      expect(await check("other.key")).toMatchObject(NOT_SIGNED)
      expect(await check("renamed.key")).toMatchObject(NOT_SIGNED)
    })

    test("are refused with a stranger's signature, under the stranger's key", async () => {
      const { text } = parseNote(file("checkpoint"))
      const checkpoint = encodeNote({ text, signatures: [{ ...stranger, signature: stranger.sign(text) }] })
      repository.files = new Map([...files, ["checkpoint", checkpoint]])
      expect(await check("stranger.key")).toMatchObject(refused("a checkpoint of .* under the key of "))
    })
  })

  describe("R32: proofs that travel with a signature", () => {
    const check = async (proof: Uint8Array, entry: Uint8Array, key = "log.key") => {
      writeFileSync(at("proof"), proof)
      writeFileSync(at("entry"), entry)
      return await runOffline(tlogcheck, ["record", at("proof"), at("entry"), at(key)], { HOME: work })
    }
    const entryAt = (index: number) => {
      const bundle = index < 256 ? "tile/entries/000" : `tile/entries/001.p/${SIZE - 256}`
      return parseEntries(file(bundle), index < 256 ? 256 : SIZE - 256)[index % 256] as Uint8Array
    }
    const proofOf = async (id: string): Promise<LogProof> => {
      const { table } = service.ports
      const [record, logged] = [await findRecord(table, id), await findLogged(table, id)]
      if (record === undefined || logged === undefined) throw new Error(`${id} is not logged`)
      const [proof] = await proofsAt(table, record, logged)
      return parseLogProof(utf8(proof?.text ?? ""))
    }

    test("are right for every seventh entry of every epoch", async () => {
      for (const id of ids.filter((_, i) => i % 7 === 0)) {
        const proof = await proofOf(id)
        const outcome = await check(encodeLogProof(proof), entryAt(Number(proof.index)))
        expect(outcome, outcome.stderr).toMatchObject({
          status: 0,
          stdout: expect.stringContaining(`entry ${proof.index} of `),
        })
      }
    })

    test.each<[string, (proof: LogProof) => Partial<LogProof>, typeof NOT_PROVED]>([
      ["another place", ({ index }) => ({ index: index + 1n }), NOT_PROVED],
      ["a place beyond the tree", ({ index }) => ({ index: index + BigInt(SIZE) }), NOT_POSSIBLE],
      [
        "hashes in another order",
        ({ hashes }) => ({ hashes: [...hashes.slice(1), hashes[0] as Uint8Array] }),
        NOT_PROVED,
      ],
      [
        "a changed hash",
        ({ hashes }) => ({ hashes: hashes.map((hash, i) => (i === 2 ? flip(hash, 9) : hash)) }),
        NOT_PROVED,
      ],
      ["a hash too few", ({ hashes }) => ({ hashes: hashes.slice(1) }), NOT_PROVED],
      ["a hash too many", ({ hashes }) => ({ hashes: [...hashes, new Uint8Array(32)] }), NOT_PROVED],
      ["a changed root", ({ checkpoint }) => ({ checkpoint: withRoot(checkpoint) }), SIGNED_WRONGLY],
      ["an earlier tree's checkpoint", () => ({ checkpoint: notes[1] as Uint8Array }), NOT_POSSIBLE],
    ])("are refused with %s", async (_, change, refusal) => {
      const proof = await proofOf(ids.at(-10) ?? "")
      const entry = entryAt(Number(proof.index))
      expect(await check(encodeLogProof(proof), entry)).toMatchObject({ status: 0 })
      expect(await check(encodeLogProof({ ...proof, ...change(proof) }), entry)).toMatchObject(refusal)
    })

    test("are refused for another entry, a changed one, and under another key", async () => {
      const proof = await proofOf(ids[100] ?? "")
      const entry = entryAt(Number(proof.index))
      expect(await check(encodeLogProof(proof), entryAt(Number(proof.index) + 1))).toMatchObject(NOT_PROVED)
      expect(await check(encodeLogProof(proof), flip(entry, 60))).toMatchObject(NOT_PROVED)
      expect(await check(encodeLogProof(proof), entry, "other.key")).toMatchObject(NOT_SIGNED)
    })
  })

  describe("what a witness is asked to cosign", () => {
    const sizeOf = (note: Uint8Array) => parseCheckpoint(parseNote(note).text).size
    const request = (from: Uint8Array, to: Uint8Array) => ({
      old: sizeOf(from),
      proof: consistencyFrom((path) => files.get(path), BigInt(SIZE), sizeOf(from), sizeOf(to)) ?? [],
      checkpoint: to,
    })
    const check = async (from: Uint8Array, asked: ReturnType<typeof request>, key = "log.key") => {
      writeFileSync(at("earlier"), from)
      writeFileSync(at("request"), encodeAddCheckpoint(asked))
      return await runOffline(tlogcheck, ["growth", at("earlier"), at("request"), at(key)], { HOME: work })
    }

    test("continues every earlier tree", async () => {
      expect(notes.map((note) => Number(sizeOf(note)))).toEqual([1, 61, 221, SIZE])
      for (const [i, to] of notes.entries())
        for (const from of notes.slice(0, i)) {
          const outcome = await check(from, request(from, to))
          expect(outcome, outcome.stderr).toMatchObject({
            status: 0,
            stdout: `tlogcheck: from ${sizeOf(from)} to ${sizeOf(to)}\n`,
          })
        }
    })

    test("is refused with another hash, another size, another root, the way back, and under another key", async () => {
      const [, from, , to] = notes as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
      const asked = request(from, to)
      expect(asked.proof.length).toBeGreaterThan(2)
      const proof = asked.proof.map((hash, i) => (i === 1 ? flip(hash, 0) : hash))
      expect(await check(from, { ...asked, proof })).toMatchObject(NOT_PROVED)
      expect(await check(from, { ...asked, old: asked.old + 1n })).toMatchObject(refused("a proof from 62"))
      expect(await check(notes[2] as Uint8Array, { ...asked, old: 221n })).toMatchObject(NOT_PROVED)
      expect(await check(from, { ...asked, checkpoint: withRoot(to) })).toMatchObject(SIGNED_WRONGLY)
      expect(await check(to, { ...asked, old: BigInt(SIZE), checkpoint: from })).toMatchObject(NOT_POSSIBLE)
      expect(await check(from, asked, "other.key")).toMatchObject(NOT_SIGNED)
    })
  })
})

function withSize(checkpoint: Uint8Array): Uint8Array {
  return utf8(utf8Decode(checkpoint).replace(`\n${SIZE}\n`, `\n${SIZE - 1}\n`))
}
