/** Checkpoints of transparency logs (C2SP tlog-checkpoint v1.0.0) and what their signatures are made over (tlog-cosignature). */
import type { SignatureScheme } from "./algorithms.ts"
import { base64Decode, base64Encode, concat, hexDecode, utf8 } from "./bytes.ts"
import { FormatError } from "./errors.ts"
import { NOTE_TYPE, type NoteKey } from "./signed-note.ts"

export const TREE_HASH_BYTES = 32
/** Trees end here: indexes stay exact wherever they are numbers. */
export const MAX_TREE_SIZE = 2n ** 53n - 1n

/** The size and root of a log's tree: a checkpoint without its signatures. */
export interface TreeHead {
  readonly origin: string
  readonly size: bigint
  /** RFC 6962 §2.1, SHA-256 */
  readonly root: Uint8Array
}

export interface Checkpoint extends TreeHead {
  /** opaque lines; ML-DSA cosignatures do not cover them */
  readonly extensions: readonly string[]
}

/**
 * @param text of a note: ends with a line feed
 * @throws FormatError CHECKPOINT_MALFORMED, TEXT_MALFORMED
 */
export function parseCheckpoint(text: string): Checkpoint {
  const lines = text.split("\n")
  const [origin, size, root, ...rest] = lines
  if (rest.pop() !== "" || origin === undefined || size === undefined || root === undefined)
    throw malformed("less than three lines")
  if (lines.slice(0, -1).includes("")) throw malformed("an empty line")
  const head = { origin, size: parseTreeSize(size), root: base64Decode(root) }
  if (head.root.length !== TREE_HASH_BYTES) throw malformed("a root that is not 32 bytes")
  return { ...head, extensions: rest }
}

/**
 * ASCII decimal without leading zeroes.
 * @throws FormatError CHECKPOINT_MALFORMED
 */
export function parseTreeSize(text: string): bigint {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text)) throw malformed("a tree size that is no decimal")
  const size = BigInt(text)
  if (size > MAX_TREE_SIZE) throw malformed("a tree beyond 2^53 - 1 leaves")
  return size
}

/** The note text of a tree head, without extensions. */
export function checkpointText({ origin, size, root }: TreeHead): string {
  return `${origin}\n${size}\n${base64Encode(root)}\n`
}

/** One signature of a checkpoint, as a verifier of signatures takes it. */
export interface CheckpointSignature {
  readonly scheme: SignatureScheme
  /** SubjectPublicKeyInfo, DER */
  readonly spki: Uint8Array
  readonly message: Uint8Array
  readonly signature: Uint8Array
  /** when a cosigner says that it saw the head; undefined for types without a time */
  readonly time: Date | undefined
}

const SPKI = {
  ed25519: hexDecode("302a300506032b6570032100"),
  mlDsa44: hexDecode("30820532300b06096086480165030403110382052100"),
} as const
const TIME_BYTES = 8

/**
 * @param text the note's text
 * @param signature what follows the key id
 * @returns undefined when the signature does not have its type's form, or the type is none for checkpoints
 */
export function checkpointSignature(
  key: NoteKey,
  text: string,
  signature: Uint8Array,
): CheckpointSignature | undefined {
  const { type, publicKey, name } = key
  if (type === NOTE_TYPE.ed25519)
    return {
      scheme: "ed25519",
      spki: concat(SPKI.ed25519, publicKey),
      message: utf8(text),
      signature,
      time: undefined,
    }
  if (type === NOTE_TYPE.ecdsa)
    return { scheme: "ecdsa-p256-sha256", spki: publicKey, message: utf8(text), signature, time: undefined }
  const time = readTime(signature)
  if (time === undefined) return undefined
  const bare = { signature: signature.subarray(TIME_BYTES), time }
  if (type === NOTE_TYPE.cosignature)
    return {
      scheme: "ed25519",
      spki: concat(SPKI.ed25519, publicKey),
      message: cosignatureMessage(text, time),
      ...bare,
    }
  if (type === NOTE_TYPE.mlDsa44)
    return {
      scheme: "ml-dsa-44",
      spki: concat(SPKI.mlDsa44, publicKey),
      message: treeCosignatureMessage(name, parseCheckpoint(text), time),
      ...bare,
    }
  return undefined
}

/** What an Ed25519 cosigner signs (tlog-cosignature §Ed25519 signed message). */
export function cosignatureMessage(text: string, time: Date): Uint8Array {
  return utf8(`cosignature/v1\ntime ${posixSeconds(time)}\n${text}`)
}

/**
 * What an ML-DSA-44 cosigner signs for a whole tree (tlog-cosignature §ML-DSA-44 signed message).
 * @throws FormatError CHECKPOINT_MALFORMED for a name or origin of more than 255 bytes
 */
export function treeCosignatureMessage(cosigner: string, { origin, size, root }: TreeHead, time: Date): Uint8Array {
  return concat(
    utf8("subtree/v1\n\0"),
    shortBytes(cosigner),
    uint64(BigInt(posixSeconds(time))),
    shortBytes(origin),
    uint64(0n),
    uint64(size),
    root,
  )
}

/** A `timestamped_signature`: time, then the signature. */
export function timestampedSignature(time: Date, signature: Uint8Array): Uint8Array {
  return concat(uint64(BigInt(posixSeconds(time))), signature)
}

function readTime(signature: Uint8Array): Date | undefined {
  if (signature.length <= TIME_BYTES) return undefined
  const seconds = new DataView(signature.buffer, signature.byteOffset, TIME_BYTES).getBigUint64(0)
  return seconds > 253_402_300_799n ? undefined : new Date(Number(seconds) * 1_000)
}

function posixSeconds(time: Date): number {
  return Math.floor(time.getTime() / 1_000)
}

function shortBytes(text: string): Uint8Array {
  const bytes = utf8(text)
  if (bytes.length === 0 || bytes.length > 255) throw malformed("a name that is empty or beyond 255 bytes")
  return concat(new Uint8Array([bytes.length]), bytes)
}

function uint64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value)
  return bytes
}

function malformed(detail: string): FormatError {
  return new FormatError("CHECKPOINT_MALFORMED", detail)
}
