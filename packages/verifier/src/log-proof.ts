import { bytesEqual, hexEncode, utf8 } from "@sealwright/formats/bytes"
import { type Checkpoint, parseCheckpoint } from "@sealwright/formats/checkpoint"
import { entryHash, hashedRekordEntry } from "@sealwright/formats/hashedrekord"
import { inclusionRoot, leafInput, type TreeState } from "@sealwright/formats/merkle"
import { type NotaryJws, parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import { parseNote } from "@sealwright/formats/signed-note"
import { formatTime } from "@sealwright/formats/time"
import { parseLogPolicy } from "@sealwright/formats/tlog-policy"
import { type LogProof, parseLogProof } from "@sealwright/formats/tlog-proof"
import type { Certificate } from "@sealwright/formats/x509"
import type { OpenedBundle } from "./bundle.ts"
import {
  type Consistency,
  checkCheckpoint,
  checkNewest,
  hashing,
  type LogCode,
  type RefusedCheckpoint,
  type Relation,
  relateTrees,
  type TrustedLogs,
  trustLogs,
  type VerifiedCheckpoint,
} from "./log-check.ts"
import { orMessage } from "./or-message.ts"
import { digest, type Step } from "./requests.ts"
import type { TrustPolicy } from "./trust-policy.ts"
import { type Check, fail, type LoggedAs, type ProvenHead, pass, skip, warn } from "./verdict.ts"

export const MAX_LOG_PROOFS = 100
const MAX_CHECKPOINTS = 16

/** What is at hand of transparency logs. Nothing of it is trusted. */
export interface LogEvidence {
  /** `.tlog-proof` files of the envelopes, in any order (C2SP tlog-proof); 100 at most */
  readonly proofs?: readonly Uint8Array[] | undefined
  /** the newest checkpoint of each log, as its publisher shows it: signed notes; 16 at most */
  readonly checkpoints?: readonly Uint8Array[] | undefined
  readonly consistency?: Consistency | undefined
}

/** What is known of logs while one question is answered. */
export interface Logs {
  /** by the envelope's position: proofs whose path leads from its entry to the root of the checkpoint that they bring */
  readonly proofs: ReadonlyMap<number, readonly LogProof[]>
  /** what is wrong with a proof that is of no envelope */
  readonly stray: string | undefined
  /** undefined: for signatures of no bundle's publisher */
  readonly trusted: ReadonlyMap<OpenedBundle | undefined, TrustedHere>
  readonly consistency: Consistency | undefined
}

/** Whose checkpoints count for a publisher, or why none does. */
interface TrustedHere {
  readonly logs: TrustedLogs | { readonly code: "LOG_POLICY_MISSING" | "LOG_POLICY_MALFORMED"; readonly detail: string }
  /** where signatures must stand; undefined: in any log of the policy */
  readonly origins: readonly string[] | undefined
  /** the largest tree of each log, seen before or proven since: the publisher's own, whatever origins another one claims */
  readonly heads: Map<string, TreeState>
  readonly proven: Map<string, TreeState>
}

/** The entry that a signature has in its log, rebuilt from the envelope alone; undefined for one whose key does not fit its algorithm. */
export function* logEntryOf(
  { protected: { alg: scheme }, signingInput, signature }: NotaryJws,
  { spki, der: certificate }: Pick<Certificate, "spki" | "der">,
): Step<Uint8Array | undefined> {
  const signed = yield* digest(entryHash(scheme), signingInput)
  const entry = orMessage(() => hashedRekordEntry({ scheme, digest: signed, signature, spki, certificate }))
  return typeof entry === "string" ? undefined : entry
}

export function* gatherLogs(
  evidence: LogEvidence,
  envelopes: readonly Uint8Array[],
  policy: TrustPolicy,
  bundles: readonly OpenedBundle[],
): Step<Logs> {
  const { proofs = [], checkpoints = [], consistency } = evidence
  const needed = proofs.length + checkpoints.length > 0
  return {
    ...(yield* sortProofs(proofs, envelopes)),
    trusted: needed ? yield* trustedHere(policy, bundles) : new Map(),
    consistency,
  }
}

function* trustedHere(
  { logPolicy }: TrustPolicy,
  bundles: readonly OpenedBundle[],
): Step<ReadonlyMap<OpenedBundle | undefined, TrustedHere>> {
  const own = logPolicy && (yield* usable(logPolicy))
  const missing = { code: "LOG_POLICY_MISSING", detail: "" } as const
  const here = (
    logs: TrustedHere["logs"],
    origins: TrustedHere["origins"],
    of: readonly OpenedBundle[],
  ): TrustedHere => {
    const heads = new Map(of.flatMap(({ floors }) => [...(floors.logs ?? [])]))
    return { logs, origins, heads, proven: new Map() }
  }
  const trusted = new Map<OpenedBundle | undefined, TrustedHere>()
  for (const bundle of bundles) {
    const { log } = bundle.trustBundle
    const logs = own ?? (log === undefined ? missing : yield* usable(orMessage(() => parseLogPolicy(utf8(log.policy)))))
    trusted.set(bundle, here(logs, log && [log.signatures], [bundle]))
  }
  return trusted.set(undefined, here(own ?? missing, undefined, own === undefined ? [] : bundles))
}

function* usable(policy: Parameters<typeof trustLogs>[0] | string): Step<TrustedHere["logs"]> {
  const logs = typeof policy === "string" ? policy : yield* trustLogs(policy)
  return typeof logs === "string" ? { code: "LOG_POLICY_MALFORMED", detail: logs } : logs
}

/** Says of each proof which envelope it is of: by the leaf, whatever the order. */
function* sortProofs(
  files: readonly Uint8Array[],
  envelopes: readonly Uint8Array[],
): Step<Pick<Logs, "proofs" | "stray">> {
  const proofs = new Map<number, LogProof[]>()
  if (files.length > MAX_LOG_PROOFS) return { proofs, stray: `more than ${MAX_LOG_PROOFS} proofs` }
  if (files.length === 0) return { proofs, stray: undefined }
  const leaves: (Uint8Array | undefined)[] = []
  for (const envelope of envelopes) leaves.push(yield* leafHashOf(envelope))
  let stray: string | undefined
  for (const [position, bytes] of files.entries()) {
    const read = orMessage(() => readProof(bytes))
    const at = typeof read === "string" ? undefined : yield* envelopeOf(read, leaves, position)
    if (typeof read === "string") stray ??= read
    else if (at === undefined) stray ??= `entry ${read.proof.index} of ${read.head.origin} is none of the signatures`
    else proofs.set(at, [...(proofs.get(at) ?? []), read.proof])
  }
  return { proofs, stray }
}

interface ReadProof {
  readonly proof: LogProof
  /** unverified */
  readonly head: Checkpoint
}

function readProof(bytes: Uint8Array): ReadProof {
  const proof = parseLogProof(bytes)
  return { proof, head: parseCheckpoint(parseNote(proof.checkpoint).text) }
}

function* leafHashOf(envelope: Uint8Array): Step<Uint8Array | undefined> {
  const jws = orMessage(() => parseNotaryJws(envelope))
  if (typeof jws === "string") return undefined
  const leaf = orMessage(() => parseX5c(jws.x5c[0] ?? ""))
  if (typeof leaf === "string") return undefined
  const entry = yield* logEntryOf(jws, leaf)
  return entry && (yield* digest("sha256", leafInput(entry)))
}

/** @param first the envelope to begin with: callers tend to give both in one order */
function* envelopeOf(
  { proof, head }: ReadProof,
  leaves: readonly (Uint8Array | undefined)[],
  first: number,
): Step<number | undefined> {
  for (const i of leaves.keys()) {
    const at = (first + i) % leaves.length
    const leaf = leaves[at]
    const root = leaf && (yield* hashing(inclusionRoot(leaf, proof.index, head.size, proof.hashes)))
    if (root !== undefined && bytesEqual(root, head.root)) return at
  }
  return undefined
}

/** What a log says of one signature, as lines of its verdict; one with a code ends its weighing. */
export interface LogFindings {
  readonly checks: readonly Check[]
  readonly log?: LoggedAs
}

/** Codes that a proof may have without fault of anybody's: where the policy does not require a log, they are said and change nothing. */
const HARMLESS: readonly LogCode[] = ["LOG_WITNESSES_MISSING", "CLOCK_BEHIND", "ALGORITHM_UNAVAILABLE"]

/**
 * @param at position of the envelope
 * @param bundle of the publisher whose signature it is
 */
export function* logFindings(
  at: number,
  bundle: OpenedBundle | undefined,
  logs: Logs,
  { requireLog }: TrustPolicy,
  now: Date,
): Step<LogFindings> {
  const proofs = logs.proofs.get(at)
  if (proofs === undefined) {
    if (logs.stray !== undefined) return { checks: [fail("log", "LOG_PROOF_INVALID", logs.stray)] }
    return {
      checks: [requireLog ? fail("log", "LOG_PROOF_MISSING") : skip("log", "no proof, and the policy asks for none")],
    }
  }
  const here = logs.trusted.get(bundle) as TrustedHere
  const { logs: trusted, origins } = here
  if ("code" in trusted)
    return {
      checks: [requireLog ? fail("log", trusted.code, trusted.detail) : warn("log", `a proof, and ${trusted.code}`)],
    }
  let refused: RefusedCheckpoint | undefined
  for (const { index, checkpoint } of proofs) {
    const result = yield* checkCheckpoint(checkpoint, trusted, origins, now)
    const related = result.ok ? yield* relate(result.head, here, logs.consistency) : result
    if (!result.ok || !related.ok) {
      refused ??= related.ok ? undefined : related
      continue
    }
    const { origin, size } = result.head
    const log = { origin, index: `${index}`, size: `${size}` }
    const lines = [
      pass("log", `entry ${index} of ${headText(result)}`),
      ...(related.checked ? [] : [unchecked(origin)]),
    ]
    return { checks: lines, log }
  }
  const { code, detail } = refused as RefusedCheckpoint
  const line = fail("log", code, detail)
  return { checks: [!requireLog && HARMLESS.includes(code) ? warn("log", line.text) : line] }
}

/** The newest checkpoints, each as a line; one with a code is proof that what is at hand was tampered with, or the log itself. */
export function* headFindings(checkpoints: readonly Uint8Array[], logs: Logs, now: Date): Step<readonly Check[]> {
  if (checkpoints.length > MAX_CHECKPOINTS)
    return [fail("log", "LOG_CHECKPOINT_INVALID", `more than ${MAX_CHECKPOINTS} checkpoints`)]
  const checks: Check[] = []
  for (const bytes of checkpoints) {
    const head = orMessage(() => parseCheckpoint(parseNote(bytes).text))
    if (typeof head === "string") return [...checks, fail("log", "LOG_CHECKPOINT_INVALID", head)]
    const { origin } = head
    const lines: (readonly Check[])[] = []
    for (const here of logs.trusted.values())
      if (!("code" in here.logs) && here.logs.policy.logs.some(({ key }) => key.name === origin))
        lines.push(yield* headChecks(bytes, here, here.logs, origin, logs.consistency, now))
    const good = lines.find((each) => each.every(({ outcome }) => outcome !== "fail"))
    checks.push(...(good ?? lines[0] ?? [skip("log", `no policy knows ${origin}`)]))
  }
  return checks
}

function* headChecks(
  bytes: Uint8Array,
  here: TrustedHere,
  trusted: TrustedLogs,
  origin: string,
  consistency: Consistency | undefined,
  now: Date,
): Step<readonly Check[]> {
  const result = yield* checkNewest(bytes, trusted, origin, here.heads.get(origin), consistency, now)
  if (!result.ok) {
    const line = fail("log", result.code, result.detail)
    return [HARMLESS.includes(result.code) ? warn("log", line.text) : line]
  }
  remember(result.head, here)
  return [pass("log", headText(result)), ...(result.history === "unchecked" ? [unchecked(origin)] : [])]
}

/** Holds a verified tree against the largest that is known of its log, and remembers the larger. */
function* relate(head: Checkpoint, here: TrustedHere, consistency: Consistency | undefined): Step<Relation> {
  const known = here.heads.get(head.origin)
  const related: Relation =
    known === undefined ? { ok: true, checked: true } : yield* relateTrees(head.origin, known, head, consistency)
  if (related.ok) remember(head, here)
  return related
}

function remember({ origin, size, root }: Checkpoint, { heads, proven }: TrustedHere): void {
  if (size <= (heads.get(origin)?.size ?? -1n)) return
  heads.set(origin, { size, root })
  proven.set(origin, { size, root })
}

function unchecked(origin: string): Check {
  return warn("log history", `without its tiles, that ${origin} only grew since it was last seen could not be checked`)
}

function headText({ head: { origin, size }, witnesses, witnessedAt }: VerifiedCheckpoint): string {
  const seen = witnessedAt && `, seen at ${formatTime(witnessedAt)} by ${[...witnesses.keys()].join(", ")}`
  return `${size} in ${origin}${seen ?? ""}`
}

/** @param trusted as the caller gave them: a tree names its bundle by the place there */
export function provenHeads({ trusted: here }: Logs, trusted: readonly unknown[]): readonly ProvenHead[] {
  return [...here].flatMap(([bundle, { proven }]) =>
    [...proven].map(([origin, { size, root }]) => ({
      ...(bundle && { bundle: trusted.indexOf(bundle) }),
      origin,
      size: `${size}`,
      root: hexEncode(root),
    })),
  )
}
