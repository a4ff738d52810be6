import { createMemoryObjects } from "@sealwright/adapters/memory-objects"
import { createMemoryTable } from "@sealwright/adapters/memory-table"
import { digest } from "@sealwright/adapters/platform"
import { isServiceError } from "@sealwright/core/errors"
import { findLogged, readLogCommit, readLogHead } from "@sealwright/core/ledger/log"
import { findRecord } from "@sealwright/core/ledger/records"
import { leavesOfRecord } from "@sealwright/core/log/entry"
import { askWitnessesAgain, type SequenceOutcome, sequence } from "@sealwright/core/log/flow"
import type { RoundLimits } from "@sealwright/core/log/inbox"
import type { Cosign } from "@sealwright/core/log/witness"
import type { LogKind, SignatureRecord } from "@sealwright/core/model"
import { ulid } from "@sealwright/core/names"
import type { Item, KeyReference, Objects, SigningKeys, Table } from "@sealwright/core/ports"
import { bytesEqual, hexEncode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import { parseCheckpoint } from "@sealwright/formats/checkpoint"
import { inclusionRoot, leafInput, leftSize, nodeInput } from "@sealwright/formats/merkle"
import { type NoteSignature, parseNote } from "@sealwright/formats/signed-note"
import { entriesPath, parseEntries, tileOf } from "@sealwright/formats/tlog-tiles"
import { CHEAP_CRYPTO, type CryptoScheme } from "../support/fakes-crypto.ts"
import { type Around, type FaultyPorts, withFaults } from "../support/fakes-faults.ts"

/** Where there are no witnesses nobody asks them. */
export const NO_WITNESSES: Cosign = () => Promise.reject(new Error("no witnesses here"))
const START = new Date("2026-11-21T09:00:00Z")
const BROKEN = ["STORE_UNAVAILABLE", "SIGNER_UNAVAILABLE", "LOG_CONFLICT", "CONTENTION"] as const
const sha256 = (bytes: Uint8Array) => digest("sha256", bytes)

export interface LogStores {
  readonly table: Table
  readonly objects: Objects
}

/** One log with whoever feeds it, which watches itself: each signed head, each move of the checkpoint, and at the end every entry. */
export class LogWorld {
  readonly violations: string[] = []
  /** leaves that wait or are logged, each once; by what they were put down as */
  readonly expected = new Map<string, readonly Uint8Array[]>()
  mutate: (ports: FaultyPorts, actor: string) => FaultyPorts = (ports) => ports
  /** of what witnesses answer; these worlds have none unless a test says so */
  cosign: (around: Around) => Cosign = () => NO_WITNESSES
  now = START
  shown = 0n
  readonly kind: LogKind
  readonly stores: LogStores
  #lines: readonly string[] = []
  /** checkpoints that were replaced by one of the same tree */
  replaced = 0
  readonly #draw: () => number
  readonly #crypto: CryptoScheme
  readonly #keys: ReturnType<CryptoScheme["keys"]>
  readonly #signed: { readonly size: bigint; readonly root: Uint8Array }[] = []

  constructor(draw: () => number, kind: LogKind, stores: LogStores, crypto = CHEAP_CRYPTO) {
    this.#draw = draw
    this.kind = kind
    this.stores = stores
    this.#crypto = crypto
    this.#keys = crypto.keys(this.random)
  }

  readonly random = (length: number) => Uint8Array.from({ length }, () => Math.floor(this.#draw() * 256))

  fail(problem: string): void {
    if (this.violations.length < 10) this.violations.push(problem)
  }

  portsOf(around: Around, actor: string) {
    const { table } = this.stores
    const watched = {
      table,
      objects: this.#watchObjects(),
      keys: this.#watchKeys(),
      maker: this.#keys,
      wrapper: this.#keys,
    }
    return {
      ...this.mutate(withFaults(watched, around), actor),
      clock: () => new Date(this.now),
      digest,
      run: this.#crypto.run,
      cosign: this.cosign(around),
    }
  }

  /** Puts something down for the log as its act does: durable when it returns. */
  async submit(ports: { readonly table: Table }, name: string): Promise<void> {
    const id = ulid(this.now, this.random(10))
    const leaf = utf8(`{"name":"${name}"}`)
    this.expected.set(id, [leaf])
    const result = await ports.table.transact([
      { put: { pk: "inbox#events", sk: id, leaves: [leaf] }, if: { absent: true } },
    ])
    if (!result.committed) this.fail(`${name} could not be submitted`)
  }

  async submitRecord(ports: { readonly table: Table }, item: Item, record: SignatureRecord): Promise<void> {
    this.expected.set(record.id, leavesOfRecord(digest, record))
    await ports.table.transact([
      { put: item, if: { absent: true } },
      { put: { pk: `inbox#${record.number % 16}`, sk: record.id, leaf: "signature" } },
    ])
  }

  pass(seconds: number): void {
    this.now = new Date(this.now.getTime() + seconds * 1000)
  }

  /** One sequencer's invocation; what may happen to any of them is no failure. */
  async run(ports: ReturnType<LogWorld["portsOf"]>, limits: RoundLimits): Promise<SequenceOutcome | undefined> {
    try {
      const outcome = await sequence(ports, this.kind, limits)
      if (outcome.logged === 0) await askWitnessesAgain(ports, this.kind)
      return outcome
    } catch (error) {
      if (!isServiceError(error, ...BROKEN)) this.fail(`a sequencer ended with ${String(error)}`)
      return undefined
    }
  }

  /** Without faults everything waiting is logged; then the whole log is checked from its entries. */
  async settle(limits: RoundLimits): Promise<void> {
    const ports = this.portsOf((_, apply) => apply(), "recovery")
    for (let round = 0; ; round++) {
      const outcome = await this.run(ports, limits)
      if (round > 100) return this.fail("the log never ends its work")
      if (outcome === undefined) return this.fail("recovery failed")
      if (outcome.logged === 0) break
    }
    const head = await readLogHead(this.stores.table, this.kind)
    if (head.state !== "published") this.fail("the head is not published")
    if (head.size !== this.shown) this.fail(`the checkpoint shows ${this.shown} of ${head.size}`)
    await this.#checkShown(head.epoch)
    const leaves = await this.#entries(head.size)
    this.#checkOnce(leaves)
    const hashes = leaves.map((leaf) => sha256(leafInput(leaf)))
    const roots = new Map<string, Uint8Array>()
    for (const { size, root } of [...this.#signed, head]) {
      if (size > head.size) this.fail(`a head of ${size} was signed that the log never reached`)
      else if (!bytesEqual(rootOf(hashes, 0, Number(size), roots), root))
        this.fail(`a second root of ${size} was signed`)
    }
    if (this.kind === "signatures") await this.#checkPlaces(leaves)
  }

  /** What the epoch says is shown, is. */
  async #checkShown(epoch: number): Promise<void> {
    const shown = (await readLogCommit(this.stores.table, this.kind, epoch))?.shown?.bytes
    const object = await this.stores.objects.get(`log/${this.kind}/checkpoint`, 65_536)
    if (shown !== undefined && (object === undefined || !bytesEqual(shown, object.bytes)))
      this.fail("the checkpoint is not the note of its epoch")
  }

  /** A checkpoint of the same tree has every line that it had. */
  #checkKept(signatures: readonly NoteSignature[]): void {
    const lines = signatures.map(({ name, keyId }) => `${name} ${keyId}`)
    this.replaced++
    if (this.#lines.some((line) => !lines.includes(line))) this.fail(`the checkpoint of ${this.shown} lost a line`)
  }

  async #entries(size: bigint): Promise<Uint8Array[]> {
    const leaves: Uint8Array[] = []
    for (let index = 0n; index << 8n < size; index++) {
      const tile = tileOf(0, index, size)
      const stored = tile && (await this.stores.objects.get(`log/${this.kind}/${entriesPath(tile)}`, 2 ** 24))
      if (tile === undefined || stored === undefined) this.fail(`no entries at ${index}`)
      else leaves.push(...parseEntries(stored.bytes, tile.width))
    }
    return leaves
  }

  #checkOnce(leaves: readonly Uint8Array[]): void {
    const found = new Map<string, number>()
    for (const leaf of leaves) found.set(hexEncode(leaf), (found.get(hexEncode(leaf)) ?? 0) + 1)
    const wanted = [...this.expected.values()].flat().map(hexEncode)
    for (const leaf of wanted)
      if (found.get(leaf) !== 1) this.fail(`I6: a leaf is in the log ${found.get(leaf) ?? 0} times`)
    if (found.size !== new Set(wanted).size) this.fail("I6: the log has what nobody submitted")
  }

  async #checkPlaces(leaves: readonly Uint8Array[]): Promise<void> {
    for (const [id, own] of this.expected) {
      const logged = await findLogged(this.stores.table, id)
      const commit = logged && (await readLogCommit(this.stores.table, this.kind, logged.epoch))
      if (logged === undefined || commit === undefined) {
        this.fail(`${id} has no place in the log`)
        continue
      }
      for (const [i, leaf] of own.entries()) {
        const index = logged.index + BigInt(i)
        const proof = inclusionRoot(sha256(leafInput(leaf)), index, commit.size, logged.proofs[i] ?? [])
        let state = proof.next()
        while (!state.done) state = proof.next(sha256(state.value))
        if (state.value === undefined || !bytesEqual(state.value, commit.root)) this.fail(`the proof of ${id} fails`)
        if (!bytesEqual(leaves[Number(index)] ?? new Uint8Array(0), leaf)) this.fail(`${id} is not at ${index}`)
      }
    }
  }

  #watchKeys(): SigningKeys {
    return {
      sign: async (key: KeyReference, message: Uint8Array) => {
        const { size, root } = parseCheckpoint(utf8Decode(message))
        this.#signed.push({ size, root })
        return await this.#keys.sign(key, message)
      },
    }
  }

  #watchObjects(): Objects {
    const { objects } = this.stores
    return {
      get: (key, maxBytes) => objects.get(key, maxBytes),
      create: (key, bytes, headers) => objects.create(key, bytes, headers),
      replace: async (key, bytes, etag, headers) => {
        const result = await objects.replace(key, bytes, etag, headers)
        if (result === "changed") return result
        const { text, signatures } = parseNote(bytes)
        const { size } = parseCheckpoint(text)
        if (size === this.shown) this.#checkKept(signatures)
        this.#lines = signatures.map(({ name, keyId }) => `${name} ${keyId}`)
        if (size < this.shown) this.fail(`the checkpoint went back from ${this.shown} to ${size}`)
        if (size > this.shown) this.shown = size
        return result
      },
    }
  }
}

/** RFC 6962 §2.1, as it is written there. */
function rootOf(hashes: readonly Uint8Array[], start: number, end: number, known: Map<string, Uint8Array>): Uint8Array {
  if (end === start) return sha256(new Uint8Array(0))
  if (end - start === 1) return hashes[start] as Uint8Array
  const name = `${start}-${end}`
  const before = known.get(name)
  if (before !== undefined) return before
  const middle = start + Number(leftSize(BigInt(end - start)))
  const root = sha256(nodeInput(rootOf(hashes, start, middle, known), rootOf(hashes, middle, end, known)))
  known.set(name, root)
  return root
}

/** Stores over memory that begin as others ended. */
export function storesFrom(items: readonly Item[], objects: ReadonlyMap<string, Uint8Array>): LogStores {
  const base = createMemoryObjects()
  // What stands from before is read through: it is never written again but by `create`, which must find it.
  return {
    table: createMemoryTable(items),
    objects: {
      get: async (key, maxBytes) => {
        const bytes = (await base.get(key, maxBytes)) ?? undefined
        const old = objects.get(key)
        return bytes ?? (old && { bytes: old, etag: `"old-${old.length}"` })
      },
      create: async (key, bytes, headers) => (objects.has(key) ? "exists" : base.create(key, bytes, headers)),
      replace: async (key, bytes, etag, headers) => {
        const old = objects.get(key)
        const first = old !== undefined && (await base.get(key, 2 ** 20)) === undefined
        if (first && etag !== `"old-${old.length}"`) return "changed"
        return base.replace(key, bytes, first ? undefined : etag, headers)
      },
    },
  }
}

/** The records of prepared items, for a log of signatures. */
export async function recordsOf(
  table: Table,
  items: readonly Item[],
): Promise<{ item: Item; record: SignatureRecord }[]> {
  const found = []
  for (const item of items) {
    if (item.sk !== "record") continue
    const record = await findRecord(table, String(item.id))
    if (record !== undefined) found.push({ item, record })
  }
  return found
}
