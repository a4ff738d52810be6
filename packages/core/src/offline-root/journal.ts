import { base64Decode, base64Encode, bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { canonicalJson } from "@sealwright/formats/canonical-json"
import { type Crl, parseCrl } from "@sealwright/formats/crl"
import { FormatError } from "@sealwright/formats/errors"
import { integer, object, type Reader, string } from "@sealwright/formats/shape"
import { type JsonObject, parseJson } from "@sealwright/formats/strict-json"
import { formatTime, parseTime } from "@sealwright/formats/time"
import { type Certificate, parseCertificate } from "@sealwright/formats/x509"
import { type Step, verifySignature } from "@sealwright/verifier/requests"
import { ServiceError } from "../errors.ts"
import type { Digest, RunStep } from "../ports.ts"
import { type CeremonyStep, type RootPlan, readRootPlan, readStep } from "./script.ts"

const ENTRY_TYPE = "application/vnd.sealwright.root-journal-entry.v1+json"
export const MAX_ENTRY_BYTES = 512 * 1024
export const MAX_ENTRIES = 10_000

/** One entry: that a key is about to be made, or what a step made. Nothing in it is secret. */
export interface JournalEntry {
  readonly at: Date
  readonly step: CeremonyStep
  readonly root: RootPlan
  /** `intent`: written before a new key is made, so that after a crash that key is known to be this ceremony's own */
  readonly kind: "intent" | "done"
  /** the step's input file; undefined: it has none */
  readonly input: Uint8Array | undefined
  /** a certificate or a CRL, DER; undefined for intents and for revoking, which makes nothing until the next CRL */
  readonly made: Uint8Array | undefined
}

/** What the journal says, read whole and checked. */
export interface JournalState {
  /** how many entries there are */
  readonly length: number
  /** lower-case hex SHA-256 of each entry, in order */
  readonly digests: readonly string[]
  readonly entries: readonly JournalEntry[]
  readonly last: JournalEntry | undefined
  /** what is done, by the step's id */
  readonly done: ReadonlyMap<string, JournalEntry>
  readonly intent: JournalEntry | undefined
  readonly root: { readonly plan: RootPlan; readonly certificate: Certificate } | undefined
  /** by the id of the step that certified them */
  readonly issuers: ReadonlyMap<string, Certificate>
  /** by the id of the step that certified what is revoked */
  readonly revoked: ReadonlyMap<string, JournalEntry>
  readonly crl: Crl | undefined
}

const base64: Reader<Uint8Array> = (value, at) => base64Decode(string(MAX_ENTRY_BYTES)(value, at))
const entryShape = object(
  {
    mediaType: string(100, /^application\/vnd\.sealwright\.root-journal-entry\.v1\+json$/),
    number: integer(1, MAX_ENTRIES),
    previous: string(64, /^(?:|[0-9a-f]{64})$/),
    at: (value, at) => parseTime(string(20)(value, at)),
    kind: string(6, /^(?:intent|done)$/) as Reader<"intent" | "done">,
    step: readStep,
    root: readRootPlan,
  },
  { input: base64, made: base64 },
)

/** @param before the journal that the entry follows */
export function encodeEntry(before: JournalState, { at, kind, step, root, input, made }: JournalEntry): Uint8Array {
  return canonicalJson({
    mediaType: ENTRY_TYPE,
    number: before.length + 1,
    previous: before.digests.at(-1) ?? "",
    at: formatTime(at),
    kind,
    step: step as unknown as JsonObject,
    root: root as unknown as JsonObject,
    ...(input !== undefined && { input: base64Encode(input) }),
    ...(made !== undefined && { made: base64Encode(made) }),
  })
}

/**
 * Reads a journal: each entry names the one before it, and all that was made verifies under the root.
 * @throws ServiceError CEREMONY_JOURNAL_DAMAGED
 */
export function readJournal(
  ports: { readonly digest: Digest; readonly run: RunStep },
  files: readonly Uint8Array[],
): JournalState {
  if (files.length > MAX_ENTRIES) throw damaged(`more than ${MAX_ENTRIES} entries`)
  let state: JournalState = EMPTY
  for (const [at, bytes] of files.entries()) {
    try {
      const entry = readEntry(state, bytes)
      state = ports.run(follow(state, entry, hexEncode(ports.digest("sha256", bytes))))
    } catch (error) {
      if (error instanceof FormatError || error instanceof Disorder) throw damaged(`entry ${at + 1}: ${error.message}`)
      throw error
    }
  }
  return state
}

class Disorder extends Error {}

function readEntry(before: JournalState, bytes: Uint8Array): JournalEntry {
  const { number, previous, input, made, ...entry } = entryShape(
    parseJson(bytes, { maxBytes: MAX_ENTRY_BYTES, maxDepth: 8 }),
    "entry",
  )
  if (number !== before.length + 1 || previous !== (before.digests.at(-1) ?? ""))
    throw new Disorder("does not follow the one before it")
  if (before.last !== undefined && entry.at.getTime() < before.last.at.getTime())
    throw new Disorder("is older than the one before it")
  return { at: entry.at, kind: entry.kind, step: entry.step, root: entry.root, input, made }
}

function* follow(before: JournalState, entry: JournalEntry, digest: string): Step<JournalState> {
  const { step, kind, made } = entry
  const state: JournalState = {
    ...before,
    length: before.length + 1,
    digests: [...before.digests, digest],
    entries: [...before.entries, entry],
    last: entry,
  }
  if (kind === "intent") {
    if (step.do !== "make-root" || before.intent !== undefined || before.root !== undefined || made !== undefined)
      throw new Disorder("is an intent out of place")
    return { ...state, intent: entry }
  }
  if (before.done.has(step.id)) throw new Disorder(`does ${step.id} again`)
  const done = new Map([...before.done, [step.id, entry]])
  if (step.do === "make-root") {
    if (before.root !== undefined) throw new Disorder("makes a second root")
    const certificate = parseCertificate(required(made))
    yield* mustBeSigned(certificate, certificate)
    return { ...state, done, root: { plan: entry.root, certificate } }
  }
  const root = before.root?.certificate
  if (root === undefined) throw new Disorder("stands before the root")
  if (step.do === "certify-issuer") {
    const issuer = parseCertificate(required(made))
    if (!bytesEqual(issuer.issuer.der, root.subject.der)) throw new Disorder("holds a certificate of another issuer")
    yield* mustBeSigned(issuer, root)
    return { ...state, done, issuers: new Map([...before.issuers, [step.id, issuer]]) }
  }
  if (step.do === "revoke-issuer") {
    if (!before.issuers.has(step.issuer) || before.revoked.has(step.issuer) || made !== undefined)
      throw new Disorder("revokes what is not there to be revoked")
    return { ...state, done, revoked: new Map([...before.revoked, [step.issuer, entry]]) }
  }
  const crl = parseCrl(required(made))
  if (crl.crlNumber !== nextCrlNumber(before)) throw new Disorder("holds a CRL out of order")
  yield* mustBeSigned(crl, root)
  return { ...state, done, crl }
}

/** The number of the CRL that follows: 1 for the first. */
export function nextCrlNumber({ crl }: Pick<JournalState, "crl">): bigint {
  return (crl?.crlNumber ?? 0n) + 1n
}

function* mustBeSigned(
  { signatureScheme, tbs, signature }: Pick<Certificate, "signatureScheme" | "tbs" | "signature">,
  root: Certificate,
): Step<void> {
  if (signatureScheme === undefined || !(yield* verifySignature(signatureScheme, root.spki, tbs, signature)))
    throw new Disorder("holds what the root's key did not sign")
}

function required(made: Uint8Array | undefined): Uint8Array {
  if (made === undefined) throw new Disorder("lacks what it made")
  return made
}

const EMPTY: JournalState = {
  length: 0,
  digests: [],
  entries: [],
  last: undefined,
  done: new Map(),
  intent: undefined,
  root: undefined,
  issuers: new Map(),
  revoked: new Map(),
  crl: undefined,
}

function damaged(detail: string): ServiceError {
  return new ServiceError("CEREMONY_JOURNAL_DAMAGED", detail)
}
