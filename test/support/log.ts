/** A transparency log in memory, with witnesses. It also signs what an honest one never would. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto"
import { concat, hexEncode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import {
  checkpointText,
  cosignatureMessage,
  parseCheckpoint,
  type TreeHead,
  timestampedSignature,
  treeCosignatureMessage,
} from "@sealwright/formats/checkpoint"
import {
  encodeNote,
  encodeVkey,
  NOTE_TYPE,
  type NoteKey,
  type NoteSignature,
  noteKeyIdInput,
  parseNote,
} from "@sealwright/formats/signed-note"
import { encodeLogProof, type LogProof } from "@sealwright/formats/tlog-proof"
import {
  edgeTiles,
  encodeEntries,
  entriesPath,
  growTree,
  TILE_WIDTH,
  TileTree,
  tilePath,
} from "@sealwright/formats/tlog-tiles"
import { sha256 } from "./chains.ts"

const EMPTY = sha256(new Uint8Array(0))

/** The key of a log or a witness. */
export class NoteSigner {
  readonly key: NoteKey
  readonly #private: KeyObject

  constructor(name: string, type: number = NOTE_TYPE.ed25519) {
    const pair =
      type === NOTE_TYPE.mlDsa44
        ? generateKeyPairSync("ml-dsa-44")
        : type === NOTE_TYPE.ecdsa
          ? generateKeyPairSync("ec", { namedCurve: "P-256" })
          : generateKeyPairSync("ed25519")
    const spki = new Uint8Array(pair.publicKey.export({ type: "spki", format: "der" }))
    const publicKey = type === NOTE_TYPE.ecdsa ? spki : spki.subarray(type === NOTE_TYPE.mlDsa44 ? 22 : 12)
    this.key = { name, type, publicKey, keyId: hexEncode(sha256(noteKeyIdInput(name, type, publicKey)).subarray(0, 4)) }
    this.#private = pair.privateKey
  }

  get vkey(): string {
    return encodeVkey(this.key)
  }

  /** @param time of a cosignature */
  sign(head: TreeHead, time = new Date(0), text = checkpointText(head)): NoteSignature {
    const { name, keyId, type } = this.key
    const made = (message: Uint8Array) =>
      new Uint8Array(sign(type === NOTE_TYPE.ecdsa ? "sha256" : null, message, this.#private))
    const signature =
      type === NOTE_TYPE.cosignature
        ? timestampedSignature(time, made(cosignatureMessage(text, time)))
        : type === NOTE_TYPE.mlDsa44
          ? timestampedSignature(time, made(treeCosignatureMessage(name, head, time)))
          : made(utf8(text))
    return { name, keyId, signature }
  }
}

export interface Cosigning {
  readonly by: NoteSigner
  readonly at: Date
}

export class TestLog {
  readonly origin: string
  readonly signer: NoteSigner
  readonly entries: Uint8Array[] = []
  /** by the path below the log's prefix */
  readonly files = new Map<string, Uint8Array>()
  #tree: { readonly size: bigint; readonly root: Uint8Array } = { size: 0n, root: EMPTY }

  constructor(origin = "sig.example.test", signer = new NoteSigner(origin)) {
    this.origin = origin
    this.signer = signer
  }

  append(...entries: readonly Uint8Array[]): this {
    const { size } = this.#tree
    const edge = edgeTiles(size).map((tile) => this.files.get(tilePath(tile)) as Uint8Array)
    const last = this.entries.slice(this.entries.length - (this.entries.length % 256))
    const grown = growTree(size, edge, last, entries, sha256)
    for (const [tile, bytes] of grown.tiles) this.files.set(tilePath(tile), bytes)
    this.entries.push(...entries)
    this.#tree = grown.tree
    return this
  }

  /** Entries of no meaning, so that the tree has some size. */
  fill(count: number, word = "filler"): this {
    return this.append(...Array.from({ length: count }, (_, i) => utf8(`${word} ${this.entries.length + i}`)))
  }

  get head(): TreeHead {
    return { origin: this.origin, ...this.#tree }
  }

  checkpoint(cosigned: readonly Cosigning[] = [], head = this.head): Uint8Array {
    const signatures = [this.signer.sign(head), ...cosigned.map(({ by, at }) => by.sign(head, at))]
    return encodeNote({ text: checkpointText(head), signatures })
  }

  proof(index: number, checkpoint = this.checkpoint()): LogProof {
    const { size } = parseCheckpoint(parseNote(checkpoint).text)
    return { index: BigInt(index), hashes: this.tiles.inclusionProof(BigInt(index), size), checkpoint }
  }

  proofFile(index: number, checkpoint = this.checkpoint()): Uint8Array {
    return encodeLogProof(this.proof(index, checkpoint))
  }

  consistency = (origin: string, from: bigint, to: bigint): readonly Uint8Array[] | undefined =>
    origin === this.origin ? this.tiles.consistencyProof(from, to) : undefined

  get tiles(): TileTree {
    return new TileTree(this.#tree.size, (tile) => this.files.get(tilePath(tile)), sha256)
  }

  policy(witnesses: readonly NoteSigner[] = [], quorum = witnesses.length === 0 ? "none" : "all"): string {
    const names = witnesses.map((_, i) => `w${i + 1}`)
    return [
      `log ${this.signer.vkey}`,
      ...witnesses.map(({ vkey }, i) => `witness ${names[i]} ${vkey}`),
      ...(quorum === "none" ? [] : [`group enough ${quorum} ${names.join(" ")}`]),
      `quorum ${quorum === "none" ? "none" : "enough"}`,
      "",
    ].join("\n")
  }
}

/** All that a log serves, by the path below its prefix: tiles, entries bundles, checkpoint. */
export function servedFiles(log: TestLog, checkpoint = log.checkpoint()): Map<string, Uint8Array> {
  const files = new Map(log.files)
  for (let at = 0; at < log.entries.length; at += TILE_WIDTH) {
    const entries = log.entries.slice(at, at + TILE_WIDTH)
    files.set(entriesPath({ index: BigInt(at / TILE_WIDTH), width: entries.length }), encodeEntries(entries))
  }
  return files.set("checkpoint", checkpoint)
}

/** Makes a trust bundle among TUF targets name two logs. */
export function nameLogs(
  targets: Map<string, Uint8Array>,
  { signatures, events, policy }: { readonly signatures: TestLog; readonly events: TestLog; readonly policy: string },
): void {
  const json = JSON.parse(utf8Decode(targets.get("trust-bundle.json") as Uint8Array))
  const log = { signatures: signatures.origin, events: events.origin, policy: `log ${events.signer.vkey}\n${policy}` }
  targets.set("trust-bundle.json", utf8(JSON.stringify({ ...json, log })))
}

/** A proof with a line of its text exchanged. */
export function edited(proof: Uint8Array, from: string | RegExp, to: string): Uint8Array {
  const text = utf8Decode(proof)
  const changed = text.replace(from, to)
  if (changed === text) throw new Error("nothing was exchanged")
  return utf8(changed)
}

export function flipBit(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = concat(bytes)
  copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7))
  return copy
}
