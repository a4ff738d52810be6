import { bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { type Checkpoint, checkpointSignature, parseCheckpoint } from "@sealwright/formats/checkpoint"
import { type Hashing, isConsistent, type TreeState } from "@sealwright/formats/merkle"
import { NOTE_TYPE, type NoteKey, type NoteSignature, noteKeyIdInput, parseNote } from "@sealwright/formats/signed-note"
import { type LogPolicy, meetsQuorum } from "@sealwright/formats/tlog-policy"
import { orMessage } from "./or-message.ts"
import { AlgorithmUnavailable, digest, type Step, verifySignature } from "./requests.ts"
import { CLOCK_TOLERANCE_MS } from "./revocation.ts"

/** Why a checkpoint or a proof of logging does not count. */
export type LogCode =
  | "LOG_CHECKPOINT_INVALID"
  | "LOG_UNKNOWN"
  | "LOG_WITNESSES_MISSING"
  | "LOG_ROLLBACK"
  | "LOG_FORKED"
  | "LOG_INCONSISTENT"
  | "CLOCK_BEHIND"
  | "ALGORITHM_UNAVAILABLE"

/**
 * The consistency proof between two sizes of a log (RFC 6962 §2.1.2), from wherever the caller has it; it is checked.
 * @returns undefined when it can't be had
 */
export type Consistency = (origin: string, from: bigint, to: bigint) => readonly Uint8Array[] | undefined

/** A key of the policy and whose it is there; one key may be a log's and a witness's. */
interface KnownKey {
  readonly key: NoteKey
  log: boolean
  /** the witness's name in the policy */
  witness: string | undefined
}

/** A policy whose keys were found to be those that their ids say. */
export interface TrustedLogs {
  readonly policy: LogPolicy
  /** by name and key id, as signature lines have them */
  readonly keys: ReadonlyMap<string, KnownKey>
}

const LOG_TYPES: readonly number[] = [NOTE_TYPE.ed25519, NOTE_TYPE.ecdsa, NOTE_TYPE.mlDsa44]
const WITNESS_TYPES: readonly number[] = [NOTE_TYPE.cosignature, NOTE_TYPE.mlDsa44]

/** @returns a text for people where a key can't be what it says: then nothing of the policy counts */
export function* trustLogs(policy: LogPolicy): Step<TrustedLogs | string> {
  const keys = new Map<string, KnownKey>()
  const known = function* (key: NoteKey, types: readonly number[]): Step<KnownKey | string> {
    const id = hexEncode((yield* digest("sha256", noteKeyIdInput(key.name, key.type, key.publicKey))).subarray(0, 4))
    if (id !== key.keyId) return `the key of ${key.name} has not the id ${key.keyId}`
    if (!types.includes(key.type)) return `the key of ${key.name} is of a type that does not sign as it should`
    const line = lineOf(key)
    const entry = keys.get(line) ?? { key, log: false, witness: undefined }
    if (!bytesEqual(entry.key.publicKey, key.publicKey)) return `two keys share the name and id ${line}`
    keys.set(line, entry)
    return entry
  }
  for (const { key } of policy.logs) {
    const entry = yield* known(key, LOG_TYPES)
    if (typeof entry === "string") return entry
    entry.log = true
  }
  for (const { key, name } of policy.witnesses) {
    const entry = yield* known(key, WITNESS_TYPES)
    if (typeof entry === "string") return entry
    entry.witness = name
  }
  return { policy, keys }
}

function lineOf({ name, keyId }: Pick<NoteSignature, "name" | "keyId">): string {
  return `${name} ${keyId}`
}

export interface VerifiedCheckpoint {
  readonly ok: true
  readonly head: Checkpoint
  /** when each witness of the policy says that it saw the tree, by its name there; those ahead of the clock are left out */
  readonly witnesses: ReadonlyMap<string, Date>
  /** a quorum says that the checkpoint was the log's latest at this time; undefined without a quorum in the policy */
  readonly witnessedAt: Date | undefined
}

export type CheckpointResult = VerifiedCheckpoint | RefusedCheckpoint

export interface RefusedCheckpoint {
  readonly ok: false
  readonly code: LogCode
  readonly detail: string
}

function refuse(code: LogCode, detail = ""): RefusedCheckpoint {
  return { ok: false, code, detail }
}

/**
 * A checkpoint that one of the policy's logs signed under its own origin, and enough of its witnesses. A line of an unknown key is overlooked; one
 * of a known key that does not verify spoils the whole (C2SP signed-note).
 * @param origins those that may speak here; undefined: every log of the policy
 */
export function* checkCheckpoint(
  bytes: Uint8Array,
  { policy, keys }: TrustedLogs,
  origins: readonly string[] | undefined,
  now: Date,
): Step<CheckpointResult> {
  const note = orMessage(() => parseNote(bytes))
  const head = typeof note === "string" ? note : orMessage(() => parseCheckpoint(note.text))
  if (typeof note === "string" || typeof head === "string") return refuse("LOG_CHECKPOINT_INVALID", `${head}`)
  if (origins !== undefined && !origins.includes(head.origin)) return refuse("LOG_UNKNOWN", head.origin)
  if (head.size === 0n && !bytesEqual(head.root, yield* digest("sha256", new Uint8Array(0))))
    return refuse("LOG_CHECKPOINT_INVALID", "an empty tree with another root")
  let signed = false
  let unavailable: AlgorithmUnavailable | undefined
  const seen = new Map<string, Date>()
  for (const line of note.signatures) {
    const known = keys.get(lineOf(line))
    if (known === undefined) continue
    const time = yield* orUnavailable(signatureTime(known.key, note.text, line.signature))
    if (time instanceof AlgorithmUnavailable) unavailable = time
    else if (time === undefined) return refuse("LOG_CHECKPOINT_INVALID", `the signature of ${line.name}`)
    else {
      signed ||= known.log && line.name === head.origin
      if (known.witness !== undefined && time > (seen.get(known.witness)?.getTime() ?? 0))
        seen.set(known.witness, new Date(time))
    }
  }
  const until = now.getTime() + CLOCK_TOLERANCE_MS
  const witnesses = new Map([...seen].filter(([, time]) => time.getTime() <= until))
  const names = new Set(witnesses.keys())
  if (signed && meetsQuorum(policy, names))
    return { ok: true, head, witnesses, witnessedAt: quorumTime(policy, witnesses) }
  if (unavailable !== undefined) return refuse("ALGORITHM_UNAVAILABLE", unavailable.scheme)
  if (!signed) return refuse("LOG_UNKNOWN", head.origin)
  if (meetsQuorum(policy, new Set(seen.keys()))) return refuse("CLOCK_BEHIND", "witnesses saw the checkpoint later")
  return refuse("LOG_WITNESSES_MISSING", [...names].join(", "))
}

/** Which witness of a policy made a line of a checkpoint, and when it says so; `invalid`: its key, but not its signature, or one without a time. */
export function* cosignatureOf(
  line: NoteSignature,
  text: string,
  { keys }: TrustedLogs,
): Step<{ readonly witness: string; readonly time: Date } | "invalid" | "unknown"> {
  const known = keys.get(lineOf(line))
  if (known?.witness === undefined) return "unknown"
  const time = yield* orUnavailable(signatureTime(known.key, text, line.signature))
  return typeof time === "number" && time > 0 ? { witness: known.witness, time: new Date(time) } : "invalid"
}

/** @returns milliseconds, 0 for a signature that says no time; undefined for one that does not verify */
function* signatureTime(key: NoteKey, text: string, signature: Uint8Array): Step<number | undefined> {
  const parts = orMessage(() => checkpointSignature(key, text, signature))
  if (parts === undefined || typeof parts === "string") return undefined
  const { scheme, spki, message, signature: bare, time } = parts
  return (yield* verifySignature(scheme, spki, message, bare)) ? (time?.getTime() ?? 0) : undefined
}

function* orUnavailable<T>(step: Step<T>): Step<T | AlgorithmUnavailable> {
  try {
    return yield* step
  } catch (error) {
    if (error instanceof AlgorithmUnavailable) return error
    throw error
  }
}

/** The latest time such that the witnesses who saw the tree then or later are a quorum. */
function quorumTime(policy: LogPolicy, witnesses: ReadonlyMap<string, Date>): Date | undefined {
  if (policy.quorum === undefined) return undefined
  const names = new Set<string>()
  for (const [name, time] of [...witnesses].sort(([, a], [, b]) => b.getTime() - a.getTime())) {
    names.add(name)
    if (meetsQuorum(policy, names)) return time
  }
  return undefined
}

/** Drives a computation over SHA-256 with digest requests. */
export function* hashing<T>(computation: Hashing<T>): Step<T> {
  let state = computation.next()
  while (!state.done) state = computation.next(yield* digest("sha256", state.value))
  return state.value
}

/** `checked` false: no proof could be had. */
export type Relation = { readonly ok: true; readonly checked: boolean } | RefusedCheckpoint

/** Whether two trees of one log are states of one history, whichever is the older. */
export function* relateTrees(
  origin: string,
  a: TreeState,
  b: TreeState,
  consistency: Consistency | undefined,
): Step<Relation> {
  const [old, present] = a.size <= b.size ? [a, b] : [b, a]
  if (old.size === present.size)
    return bytesEqual(old.root, present.root)
      ? { ok: true, checked: true }
      : refuse("LOG_FORKED", `${origin}, size ${old.size}`)
  const proof = old.size === 0n ? [] : consistency?.(origin, old.size, present.size)
  if (proof === undefined) return { ok: true, checked: false }
  const whole = proof.every((hash) => hash.length === present.root.length)
  return whole && (yield* hashing(isConsistent(old, present, proof)))
    ? { ok: true, checked: true }
    : refuse("LOG_INCONSISTENT", `${origin}, from ${old.size} to ${present.size}`)
}

/** A log's newest checkpoint that was verified. */
export interface NewestCheckpoint extends VerifiedCheckpoint {
  /** whether it was proven to continue the tree that was seen before; `first`: none was seen */
  readonly history: "first" | "proven" | "unchecked"
}

/**
 * The checkpoint that a log shows as its newest: verified, and no older than the tree that was seen before.
 * @param known the largest tree of this log that was seen
 */
export function* checkNewest(
  bytes: Uint8Array,
  trusted: TrustedLogs,
  origin: string,
  known: TreeState | undefined,
  consistency: Consistency | undefined,
  now: Date,
): Step<NewestCheckpoint | RefusedCheckpoint> {
  const result = yield* checkCheckpoint(bytes, trusted, [origin], now)
  if (!result.ok) return result
  if (known === undefined) return { ...result, history: "first" }
  const { size } = result.head
  if (size < known.size) return refuse("LOG_ROLLBACK", `${origin}: ${size} after ${known.size}`)
  const related = yield* relateTrees(origin, known, result.head, consistency)
  return related.ok ? { ...result, history: related.checked ? "proven" : "unchecked" } : related
}
