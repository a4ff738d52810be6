import { FormatError } from "@sealwright/formats/errors"
import { parseDigest } from "@sealwright/formats/oci"
import { parseReference, type Reference } from "@sealwright/formats/oci-reference"
import { formatTime } from "@sealwright/formats/time"
import { allRoots } from "@sealwright/formats/trust-bundle"
import { type Act, algorithmChecks, completeActs, mayComplete } from "./acts.ts"
import {
  type BundleOutcome,
  type Freshness,
  isSameAddress,
  isStale,
  type OpenedBundle,
  type RefusedBundle,
} from "./bundle.ts"
import type { ChainCache } from "./chain-cache.ts"
import { decisionEvents } from "./events.ts"
import { gatherLogs, headFindings, type LogEvidence, type Logs, provenHeads } from "./log-proof.ts"
import { orMessage } from "./or-message.ts"
import type { Step } from "./requests.ts"
import { holds, type PolicyChecks, type TrustPolicy } from "./trust-policy.ts"
import { scopeMatches, scopeRank } from "./trust-store.ts"
import {
  type Check,
  fail,
  type PartFreshness,
  pass,
  type SignatureVerdict,
  type Verdict,
  type VerdictCode,
  verdictOf,
  warn,
} from "./verdict.ts"
import { type Artifact, type LocalParty, type Question, type Weighed, weighSignature } from "./verify-signature.ts"

export type { Artifact } from "./verify-signature.ts"

export const MAX_SIGNATURES = 100

export interface VerifyInput {
  readonly artifact: Artifact
  /** `registry/repository[:tag][@digest]` from which the artifact is taken; without it only what is trusted for any source counts */
  readonly reference?: string | undefined
  /** Notary JWS envelopes, in any order */
  readonly envelopes: readonly Uint8Array[]
  readonly policy: TrustPolicy
  /** what `openBundle` gave, one for each deployment whose signatures are expected; several must have been opened with their `address` */
  readonly trusted?: BundleOutcome | readonly BundleOutcome[] | undefined
  readonly now: Date
  /** proofs of logging and what else is at hand of transparency logs */
  readonly log?: LogEvidence | undefined
  /** kept by the caller across calls, to check issuers' signatures once */
  readonly cache?: ChainCache | undefined
}

/**
 * Decides whether an artifact may run. Any envelope that satisfies the policy is enough, or as many as it has parties to hear; where it requires
 * algorithms, a party is heard by an act that was signed under each of them.
 * Never throws on bad input.
 * @throws TypeError on misuse: a member of another type
 */
export function* verify(input: VerifyInput): Step<Verdict> {
  checkTypes(input)
  const { artifact, policy, now } = input
  const outcomes = input.trusted === undefined ? [] : [input.trusted].flat()
  const bundles = outcomes.filter((outcome): outcome is OpenedBundle => outcome.ok)
  const refused = outcomes.filter((outcome): outcome is RefusedBundle => !outcome.ok)
  const checks: Check[] = []
  const freshness = bundles.flatMap((bundle) =>
    bundle.freshness.map((part) => partFreshness(part, now, policy.maxStaleSec ?? bundle.maxStaleSec)),
  )
  for (const { strict } of freshness) if (strict !== undefined) checks.push(warn("freshness", strict.text))
  let logs: Logs | undefined
  const conclude = (code: VerdictCode, weighed: readonly Weighed[] = [], more: readonly Check[] = []): Verdict => {
    const verdict = {
      verdict: verdictOf(code),
      code,
      artifact: artifact.digest,
      checks: [...checks, ...more],
      signatures: weighed.map(reported),
      freshness,
      logs: logs === undefined ? [] : provenHeads(logs, outcomes),
    }
    return { ...verdict, events: decisionEvents(verdict, input.reference, now) }
  }
  const refuse = (check: string, code: VerdictCode, detail?: string): Verdict =>
    conclude(code, [], [fail(check, code, detail)])

  if (!isDigest(artifact.digest)) return refuse("artifact", "DIGEST_MALFORMED")
  const { reference: name } = input
  const reference = name === undefined ? undefined : orMessage(() => parseReference(name))
  if (typeof reference === "string") return refuse("reference", "REFERENCE_MALFORMED", reference)
  if (reference?.digest !== undefined && reference.digest !== artifact.digest)
    return refuse("reference", "REFERENCE_MISMATCH")
  const enabled = checksFor(policy, reference, artifact.digest)
  for (const { code, subject, detail } of refused) checks.push(warn("bundle", `${code} ${subject}: ${detail}`))

  if (enabled.rescinded) {
    const denied = bundles.map(({ revocations }) => revocations.deniedArtifact(artifact.digest)).find(Boolean)
    if (denied) return refuse("artifact", "ARTIFACT_REVOKED", `${denied.reason}, ${formatTime(denied.at)}`)
  }
  const unsigned = policy.trustedArtifacts.includes(artifact.digest)
    ? "TRUSTED_ARTIFACT"
    : enabled.signature
      ? undefined
      : "SIGNATURE_CHECK_OFF"
  if (unsigned !== undefined) return withoutSignature(unsigned)

  const { envelopes } = input
  if (envelopes.length === 0) return refuse("signatures", "NO_SIGNATURES")
  if (envelopes.length > MAX_SIGNATURES) return refuse("signatures", "TOO_MANY_SIGNATURES", `${envelopes.length}`)
  const parties = localParties(policy, reference, artifact.digest, bundles)
  const newRoots = waitingRoots(policy, reference, artifact.digest, bundles)
  if (newRoots.length > 0) checks.push(warn("bundle", "the publisher added a root that nobody here has accepted"))
  if (newRoots.length === 0 && parties.every(({ certificates }) => certificates.length === 0))
    return refuse("source", "SOURCE_NOT_TRUSTED")
  logs = yield* gatherLogs(input.log ?? {}, envelopes, policy, bundles)
  const heads = yield* headFindings(input.log?.checkpoints ?? [], logs, now)
  const tampered = heads.find(({ code }) => code !== undefined)
  if (tampered?.code !== undefined) return conclude(tampered.code, [], heads)
  checks.push(...heads)
  const question: Question = {
    artifact,
    reference,
    policy,
    checks: enabled,
    parties,
    newRoots,
    bundles,
    refused,
    logs,
    now,
    cache: input.cache,
  }
  const weighed: Weighed[] = []
  for (const [index, envelope] of envelopes.entries()) weighed.push(yield* weighSignature(envelope, index, question))
  return decide(policy, weighed, conclude)

  /** Even what needs no signature may have been denied since: an unknown answer to that leaves the question open. */
  function withoutSignature(code: "TRUSTED_ARTIFACT" | "SIGNATURE_CHECK_OFF"): Verdict {
    checks.push(
      warn(
        "signature",
        code === "TRUSTED_ARTIFACT" ? "listed by digest in the policy" : "the policy checks no signature",
      ),
    )
    if (!enabled.rescinded) {
      checks.push(warn("revocation", "the policy does not check whether artifacts were revoked"))
      return conclude(code)
    }
    const [first] = refused
    if (first !== undefined) return refuse("revocation", first.code, first.detail)
    if (bundles.length === 0) return refuse("revocation", "REVOCATION_UNKNOWN")
    if (bundles.some((bundle) => isStale(bundle, now, policy.maxStaleSec ?? bundle.maxStaleSec)))
      return refuse("revocation", "REVOCATION_STALE")
    return conclude(code, [], [pass("revocation", "on no list of denied artifacts")])
  }
}

function decide(
  policy: TrustPolicy,
  weighed: readonly Weighed[],
  conclude: (code: VerdictCode, weighed: readonly Weighed[], more?: readonly Check[]) => Verdict,
): Verdict {
  const good = weighed.filter(({ outcome }) => outcome === "accepted")
  const open = weighed.filter(({ outcome }) => outcome === "inconclusive")
  const best = [...good, ...open, ...weighed].sort((a, b) => rank(b) - rank(a))[0] as Weighed
  const { requiredAlgorithms: required, atLeast } = policy
  const acts = completeActs(good, required)
  const heard = assign(acts)
  if (heard.size >= atLeast) {
    const algorithms = algorithmChecks(
      acts.flatMap(({ signatures }) => signatures),
      required,
      undefined,
    )
    if (policy.parties.length === 1 && policy.parties[0]?.name === "")
      return conclude("ACCEPTED", weighed, [...best.checks, ...algorithms])
    const names = [...heard.keys()].map((at) => policy.parties[at]?.name ?? "")
    return conclude("ACCEPTED", weighed, [pass("parties", names.join(", ")), ...algorithms])
  }
  if (required.length > 0 && assign(completeActs(good, [])).size >= atLeast) {
    const code =
      open.length > 0 && mayComplete([...good, ...open], required) ? "ALGORITHMS_UNDECIDED" : "ALGORITHMS_MISSING"
    const lines = algorithmChecks(good, required, code)
    const parted = lines.every(({ outcome }) => outcome === "pass") ? [fail("algorithms", code)] : []
    return conclude(code, weighed, [...lines, ...parted])
  }
  if (atLeast === 1) return conclude(best.code, weighed, best.checks)
  const missing = policy.parties.filter((_, at) => !heard.has(at)).map(({ name }) => name)
  const undecided = assign(completeActs([...good, ...open], required)).size >= atLeast
  const code = undecided ? "PARTIES_UNDECIDED" : "PARTIES_MISSING"
  const found = fail("parties", code, `${heard.size} of ${atLeast}; not heard: ${missing.join(", ")}`)
  return conclude(code, weighed, [found])
}

/** Those that came furthest are the ones to report. */
function rank({ outcome, checks }: Weighed): number {
  return (outcome === "accepted" ? 2000 : outcome === "inconclusive" ? 1000 : 0) + checks.length
}

/**
 * Gives each party a signer of its own, for as many parties as can be: one signer never counts for two (R22). By augmenting paths.
 * @returns party to signer
 */
function assign(acts: readonly Act[]): ReadonlyMap<number, string> {
  const standsFor = new Map<string, Set<number>>()
  for (const { signerKey, standsFor: parties } of acts)
    standsFor.set(signerKey, new Set([...(standsFor.get(signerKey) ?? []), ...parties]))
  const taken = new Map<number, string>()
  const place = (signer: string, tried: Set<number>): boolean => {
    for (const party of standsFor.get(signer) ?? []) {
      if (tried.has(party)) continue
      tried.add(party)
      const holder = taken.get(party)
      if (holder !== undefined && !place(holder, tried)) continue
      taken.set(party, signer)
      return true
    }
    return false
  }
  for (const signer of standsFor.keys()) place(signer, new Set())
  return taken
}

function localParties(
  policy: TrustPolicy,
  reference: Reference | undefined,
  artifactDigest: string,
  bundles: readonly OpenedBundle[],
): readonly LocalParty[] {
  return policy.parties.map((party) => ({
    party,
    certificates: party.entities
      .filter(({ scope }) => scopeMatches(scope, reference, artifactDigest))
      .flatMap((entity) => {
        if (entity.kind !== "key repository")
          return [{ der: entity.certificate, signingScheme: entity.signingScheme as string | undefined }]
        return rootsOf(entity.address, bundles, policy.acceptNewRoots).map((der) => ({ der, signingScheme: undefined }))
      }),
  }))
}

function rootsOf(address: string, bundles: readonly OpenedBundle[], newOnes: boolean): readonly Uint8Array[] {
  return published(address, bundles).flatMap(({ trustBundle, newRoots }) =>
    allRoots(trustBundle).filter((der) => newOnes || !holds(newRoots, der)),
  )
}

function published(address: string, bundles: readonly OpenedBundle[]): readonly OpenedBundle[] {
  return bundles.filter(({ trustBundle }) => isSameAddress(trustBundle.tufUrl, address))
}

/** Roots that would count here if they were accepted: those that the policy's key repositories added. */
function waitingRoots(
  policy: TrustPolicy,
  reference: Reference | undefined,
  artifactDigest: string,
  bundles: readonly OpenedBundle[],
): readonly Uint8Array[] {
  if (policy.acceptNewRoots) return []
  return policy.parties
    .flatMap(({ entities }) => entities)
    .filter(({ scope }) => scopeMatches(scope, reference, artifactDigest))
    .flatMap((entity) => (entity.kind === "key repository" ? published(entity.address, bundles) : []))
    .flatMap(({ newRoots }) => newRoots)
}

/** The narrowest scope that matches decides which checks run. */
function checksFor(policy: TrustPolicy, reference: Reference | undefined, artifactDigest: string): PolicyChecks {
  const [narrowest] = policy.scoped
    .filter(({ scope }) => scopeMatches(scope, reference, artifactDigest))
    .sort((a, b) => scopeRank(b.scope) - scopeRank(a.scope))
  return narrowest?.checks ?? policy.checks
}

function checkTypes({ artifact, envelopes, policy, now, reference, trusted, log = {} }: VerifyInput): void {
  const outcomes: readonly unknown[] = trusted === undefined ? [] : [trusted].flat()
  if (typeof artifact?.digest !== "string") throw new TypeError("`artifact.digest` is not a string")
  if (artifact.size !== undefined && !Number.isSafeInteger(artifact.size)) throw new TypeError("`artifact.size`")
  if (artifact.mediaType !== undefined && typeof artifact.mediaType !== "string")
    throw new TypeError("`artifact.mediaType` is not a string")
  if (reference !== undefined && typeof reference !== "string") throw new TypeError("`reference` is not a string")
  for (const [name, files] of Object.entries({
    envelopes,
    "log.proofs": log.proofs,
    "log.checkpoints": log.checkpoints,
  }))
    if (
      files === undefined
        ? name === "envelopes"
        : !Array.isArray(files) || files.some((each) => !(each instanceof Uint8Array))
    )
      throw new TypeError(`\`${name}\` is not a list of Uint8Array`)
  if (!(now instanceof Date) || Number.isNaN(now.getTime())) throw new TypeError("`now` is not a time")
  if (!Array.isArray(policy?.parties) || policy.parties.length === 0 || !(policy.atLeast >= 1))
    throw new TypeError("`policy` was not made by loadTrustPolicy or importNotationPolicy")
  if (outcomes.some((each) => typeof (each as BundleOutcome | null)?.ok !== "boolean"))
    throw new TypeError("`trusted` was not made by openBundle")
  if (
    outcomes.length > 1 &&
    outcomes.some((each) => (each as BundleOutcome).ok && !(each as OpenedBundle).addressChecked)
  )
    throw new TypeError("`trusted`: several bundles, not each opened with its `address`")
}

function isDigest(text: string): boolean {
  try {
    parseDigest(text)
    return true
  } catch (error) {
    if (error instanceof FormatError) return false
    throw error
  }
}

function reported({ standsFor: _, signerKey: __, signerName: ___, act: ____, ...verdict }: Weighed): SignatureVerdict {
  return verdict
}

function partFreshness(fresh: Freshness, now: Date, maxStaleSec: number): PartFreshness {
  const { part, version, date, due } = fresh
  const since = (then: Date) => Math.max(0, Math.floor((now.getTime() - then.getTime()) / 1000))
  const known = {
    part,
    version,
    ...(date && { date: formatTime(date), ageSec: since(date) }),
    due: formatTime(due),
    overdueSec: since(due),
  }
  if (now.getTime() < due.getTime()) return known
  const accepted = !isStale({ freshness: [fresh] }, now, maxStaleSec)
  const [was, strictly] =
    date === undefined ? ["expired", "strict TUF refuses it"] : ["was due again", "strictly it is stale"]
  const counts = `${accepted ? "counts within" : "beyond"} maxStale of ${span(maxStaleSec)}`
  const text = `${part} ${version} ${was} ${span(known.overdueSec)} ago: ${strictly}; ${counts}`
  return {
    ...known,
    strict: { code: date === undefined ? "TUF_EXPIRED" : "REVOCATION_STALE", accepted, maxStaleSec, text },
  }
}

function span(sec: number): string {
  return sec < 172_800 ? `${Math.round(sec / 360) / 10} h` : `${Math.round(sec / 8640) / 10} d`
}
