/**
 * Asking witnesses to cosign a log's checkpoint (C2SP tlog-witness). It fails open: whatever a witness does, the log goes on, and its verifiers say
 * whether enough have signed. Witnesses are strangers: of what they answer only cosignatures count that verify.
 */
import { utf8 } from "@sealwright/formats/bytes"
import { parseCheckpoint, type TreeHead } from "@sealwright/formats/checkpoint"
import { FormatError } from "@sealwright/formats/errors"
import {
  encodeNote,
  MAX_NOTE_BYTES,
  MAX_NOTE_SIGNATURES,
  type NoteSignature,
  parseNote,
} from "@sealwright/formats/signed-note"
import { type LogPolicy, parseLogPolicy } from "@sealwright/formats/tlog-policy"
import {
  ADD_CHECKPOINT,
  encodeAddCheckpoint,
  MAX_WITNESS_ANSWER_BYTES,
  parseCosignatures,
  parseWitnessedSize,
  TREE_SIZE_TYPE,
} from "@sealwright/formats/tlog-witness"
import { cosignatureOf, type TrustedLogs, trustLogs } from "@sealwright/verifier/log-check"
import { CLOCK_TOLERANCE_MS } from "@sealwright/verifier/revocation"
import type { Clock, RunStep } from "../ports.ts"

/** How long all witnesses together may keep a checkpoint waiting. */
export const WITNESS_DEADLINE_MS = 1_000

/** Why a witness did not cosign. Stable: they stand in logs and alarms. */
export const WITNESS_CODES = {
  WITNESS_ADDRESS_REFUSED: "its address is not https to a host's name, or the name leads to this machine or its link",
  WITNESS_UNREACHABLE: "it can't be reached, or broke off",
  WITNESS_LATE: "it did not answer in time",
  WITNESS_LOG_UNKNOWN: "it does not know the log (404)",
  WITNESS_KEY_UNKNOWN: "it does not know the key that signed the checkpoint, or takes its signature for wrong (403)",
  WITNESS_INCONSISTENT: "it takes the tree for no continuation of the one that it cosigned (422): look at once",
  WITNESS_AHEAD: "it has cosigned a larger tree than this one: look at once",
  WITNESS_CONFLICT: "it named another size twice (409): somebody else submits checkpoints too",
  WITNESS_REFUSED: "it answered with another status",
  WITNESS_ANSWER_INVALID: "its answer is malformed, too long, or a cosignature does not verify",
  PROOF_UNAVAILABLE: "no consistency proof from the size that it has could be made",
  POLICY_UNUSABLE: "the policy's keys are not those that their ids say, or the checkpoint is malformed",
} as const

export type WitnessCode = keyof typeof WITNESS_CODES

export interface WitnessFailure {
  /** address, as the policy has it; empty when nobody could be asked */
  readonly witness: string
  readonly code: WitnessCode
  /** for people; free to change */
  readonly detail: string
}

export interface WitnessAnswer {
  readonly status: number
  /** of the Content-Type header; empty without one */
  readonly contentType: string
  readonly body: Uint8Array
}

/**
 * One POST to a stranger. Follows no redirection, asks no proxy.
 * @returns any status
 * @throws AnswerTooLong beyond `maxBytes`; AddressRefused where its name leads to this machine itself, to its link or to a metadata service; any error
 * when no whole answer arrived, or `signal` ended it
 */
export type PostToWitness = (
  url: string,
  body: Uint8Array,
  maxBytes: number,
  signal: AbortSignal,
) => Promise<WitnessAnswer>

export class AnswerTooLong extends Error {}
export class AddressRefused extends Error {}

export interface WitnessPorts {
  readonly post: PostToWitness
  /** ends after `WITNESS_DEADLINE_MS`; asked for once a checkpoint */
  readonly deadline: () => AbortSignal
  readonly clock: Clock
  readonly run: RunStep
  /** a run on one machine, where witnesses may be this machine itself over plain http */
  readonly local: boolean
}

export interface CosignRequest {
  /** the checkpoint as the log signed it */
  readonly note: Uint8Array
  /** size that each witness, by its address, is known to have cosigned last; a wrong one costs a round trip */
  readonly known: ReadonlyMap<string, bigint>
  /** consistency proof from a size up to the checkpoint (RFC 6962 §2.1.2); never asked from 0, nor from beyond the checkpoint */
  readonly proveFrom: (size: bigint) => readonly Uint8Array[] | Promise<readonly Uint8Array[]>
}

export interface Cosigned {
  /** those that verify for exactly this checkpoint, each key's once; to be added by `withCosignatures` */
  readonly signatures: readonly NoteSignature[]
  /** `known` of the next request */
  readonly seen: ReadonlyMap<string, bigint>
  readonly failures: readonly WitnessFailure[]
}

/** The witnesses of one log. */
export interface Witnesses {
  /** Asks all of them at once and waits a second at most. Never throws: a failure is a line for the log. */
  cosign(request: CosignRequest): Promise<Cosigned>
}

class Failure extends Error {
  readonly code: WitnessCode

  constructor(code: WitnessCode, detail = "") {
    super(detail)
    this.code = code
  }
}

/** One checkpoint on its way to every witness. */
interface Round {
  readonly ports: WitnessPorts
  readonly request: CosignRequest
  readonly head: TreeHead
  readonly text: string
  readonly trusted: TrustedLogs
  readonly signal: AbortSignal
  readonly signatures: Map<string, NoteSignature>
  readonly seen: Map<string, bigint>
  readonly failures: WitnessFailure[]
}

/** @param policy those of its witnesses are asked that have an address */
export function createWitnesses(ports: WitnessPorts, policy: LogPolicy): Witnesses {
  const addresses = [...new Set(policy.witnesses.flatMap(({ url }) => url ?? []))]
  return {
    cosign: async (request) => {
      const seen = new Map([...request.known].filter(([address]) => addresses.includes(address)))
      const failures: WitnessFailure[] = []
      const signatures = new Map<string, NoteSignature>()
      try {
        const { text } = parseNote(request.note)
        const trusted = ports.run(trustLogs(policy))
        if (typeof trusted === "string") throw new Failure("POLICY_UNUSABLE", trusted)
        const head = parseCheckpoint(text)
        const round = { ports, request, head, text, trusted, signal: ports.deadline(), signatures, seen, failures }
        await Promise.all(addresses.map((address) => ask(address, round)))
      } catch (error) {
        failures.push(failureOf("", error, "POLICY_UNUSABLE"))
      }
      return { signatures: [...signatures.values()], seen, failures }
    },
  }
}

/**
 * Has a checkpoint cosigned by the witnesses of a policy.
 * @param policy C2SP tlog-policy with the log's own lines; one that can't be read is a failure POLICY_UNUSABLE
 */
export type Cosign = (policy: string, request: CosignRequest) => Promise<Cosigned>

/** As `Witnesses.cosign` it never throws. */
export function createCosign(ports: WitnessPorts): Cosign {
  return async (text, request) => {
    try {
      return await createWitnesses(ports, parseLogPolicy(utf8(text))).cosign(request)
    } catch (error) {
      return { signatures: [], seen: request.known, failures: [failureOf("", error, "POLICY_UNUSABLE")] }
    }
  }
}

async function ask(address: string, round: Round): Promise<void> {
  const { seen, head, failures } = round
  try {
    const url = submissionUrl(address, round.ports.local)
    if (url === undefined) throw new Failure("WITNESS_ADDRESS_REFUSED")
    let old = seen.get(address) ?? 0n
    let answer = await submit(url, old, round)
    if (answer.status === 409) {
      old = sizeIn(answer)
      seen.set(address, old)
      answer = await submit(url, old, round)
    }
    if (answer.status === 409) {
      seen.set(address, sizeIn(answer))
      throw new Failure("WITNESS_CONFLICT")
    }
    if (answer.status !== 200) throw refusalOf(answer.status)
    take(answer.body, round)
    seen.set(address, head.size)
  } catch (error) {
    failures.push(failureOf(address, error, "WITNESS_UNREACHABLE"))
  }
}

/**
 * An IP address can't be asked, so whom a name leads to is looked at in one place only, as it is resolved.
 * @param local http to this machine itself will do
 * @returns undefined for an address that is never asked: other than https to a host's name, and more than host, port and path
 */
export function submissionUrl(address: string, local: boolean): string | undefined {
  const url = URL.parse(address)
  if (url === null || url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
    return undefined
  const { protocol, hostname } = url
  const loopback = protocol === "http:" && ["127.0.0.1", "[::1]", "localhost"].includes(hostname)
  const named = protocol === "https:" && !/^\[|^[0-9.]+$/.test(hostname)
  if (!(named || (local && loopback))) return undefined
  return `${url.href.replace(/\/$/, "")}/${ADD_CHECKPOINT}`
}

async function submit(url: string, old: bigint, { ports, request, head, signal }: Round): Promise<WitnessAnswer> {
  if (old > head.size) throw new Failure("WITNESS_AHEAD", `${old} after ${head.size}`)
  const proof = old === 0n || old === head.size ? [] : await within(signal, prove(request, old))
  const body = encodeAddCheckpoint({ old, proof, checkpoint: request.note })
  return await within(signal, ports.post(url, body, MAX_WITNESS_ANSWER_BYTES, signal))
}

async function prove({ proveFrom }: CosignRequest, size: bigint): Promise<readonly Uint8Array[]> {
  try {
    return await proveFrom(size)
  } catch (error) {
    throw new Failure("PROOF_UNAVAILABLE", `from ${size}: ${error instanceof Error ? error.message : ""}`)
  }
}

/** @throws Failure WITNESS_LATE when the signal comes first; the work goes on, and nobody waits for it */
async function within<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  let end: (() => void) | undefined
  const late = new Promise<never>((_, reject) => {
    end = () => reject(new Failure("WITNESS_LATE"))
    if (signal.aborted) end()
    else signal.addEventListener("abort", end, { once: true })
  })
  try {
    return await Promise.race([work, late])
  } finally {
    if (end !== undefined) signal.removeEventListener("abort", end)
  }
}

/** @throws Failure WITNESS_ANSWER_INVALID; FormatError */
function sizeIn({ contentType, body }: WitnessAnswer): bigint {
  if (contentType.split(";")[0]?.trim().toLowerCase() !== TREE_SIZE_TYPE)
    throw new Failure("WITNESS_ANSWER_INVALID", "a conflict without a size")
  return parseWitnessedSize(body)
}

const REFUSALS: Readonly<Record<number, WitnessCode>> = {
  403: "WITNESS_KEY_UNKNOWN",
  404: "WITNESS_LOG_UNKNOWN",
  422: "WITNESS_INCONSISTENT",
}

function refusalOf(status: number): Failure {
  return new Failure(REFUSALS[status] ?? "WITNESS_REFUSED", `status ${status}`)
}

/** Keeps what verifies. @throws Failure WITNESS_ANSWER_INVALID where that is nothing, or a known key's line is wrong; FormatError */
function take(body: Uint8Array, { ports, text, trusted, signatures }: Round): void {
  const now = ports.clock().getTime()
  let kept = 0
  let wrong = 0
  for (const line of parseCosignatures(body)) {
    const made = ports.run(cosignatureOf(line, text, trusted))
    if (made === "unknown") continue
    if (made === "invalid" || made.time.getTime() > now + CLOCK_TOLERANCE_MS) wrong += 1
    else {
      signatures.set(`${line.name} ${line.keyId}`, line)
      kept += 1
    }
  }
  if (kept === 0 || wrong > 0) throw new Failure("WITNESS_ANSWER_INVALID", `${kept} good cosignatures, ${wrong} wrong`)
}

function failureOf(witness: string, error: unknown, otherwise: WitnessCode): WitnessFailure {
  const detail = error instanceof Error ? error.message : ""
  if (error instanceof Failure) return { witness, code: error.code, detail }
  if (error instanceof AddressRefused) return { witness, code: "WITNESS_ADDRESS_REFUSED", detail }
  if (witness !== "" && (error instanceof FormatError || error instanceof AnswerTooLong))
    return { witness, code: "WITNESS_ANSWER_INVALID", detail }
  return { witness, code: otherwise, detail }
}

/**
 * The checkpoint with cosignatures added, smallest first, as far as a note may grow; keys that have signed it already are left out.
 * @throws FormatError for a note that is none
 */
export function withCosignatures(note: Uint8Array, cosignatures: readonly NoteSignature[]): Uint8Array {
  const { text, signatures } = parseNote(note)
  const all = [...signatures]
  let bytes = note
  for (const line of [...cosignatures].sort((a, b) => a.signature.length - b.signature.length)) {
    if (all.some(({ name, keyId }) => name === line.name && keyId === line.keyId)) continue
    if (all.length >= MAX_NOTE_SIGNATURES) break
    const length = bytes.length + line.name.length * 4 + 2 * line.signature.length + 64
    if (length > MAX_NOTE_BYTES) break
    all.push(line)
    bytes = encodeNote({ text, signatures: all })
  }
  return bytes
}
