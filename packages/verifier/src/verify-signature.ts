import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { base64Decode, bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { parseNotaryJws } from "@sealwright/formats/notary-jws"
import type { Reference } from "@sealwright/formats/oci-reference"
import { formatTime } from "@sealwright/formats/time"
import { allRoots } from "@sealwright/formats/trust-bundle"
import { ATTRIBUTE, type Certificate, nameAttribute } from "@sealwright/formats/x509"
import { actOf, signerKeyOf, signerNameOf } from "./acts.ts"
import { isStale, type OpenedBundle, type RefusedBundle } from "./bundle.ts"
import type { ChainCache } from "./chain-cache.ts"
import { type Logs, logFindings } from "./log-proof.ts"
import { type NotaryResult, type VerifiedNotary, verifyNotaryEnvelope } from "./notary.ts"
import { AlgorithmUnavailable, digest, type Step } from "./requests.ts"
import { CLOCK_TOLERANCE_MS } from "./revocation.ts"
import { revocationOf, timestampRevocation } from "./signature-revocation.ts"
import { emailIn, holds, identityMatches, type Party, type PolicyChecks, type TrustPolicy } from "./trust-policy.ts"
import { type Check, fail, pass, type SignatureVerdict, skip, type VerdictCode, verdictOf, warn } from "./verdict.ts"

/** The artifact that is to be run, by digest: what a registry or a file gave, never what a signature says. */
export interface Artifact {
  readonly digest: string
  readonly mediaType?: string | undefined
  /** bytes */
  readonly size?: number | undefined
}

/** A party with the certificates that count here, after scopes and key repositories. */
export interface LocalParty {
  readonly party: Party
  readonly certificates: readonly { readonly der: Uint8Array; readonly signingScheme: string | undefined }[]
}

/** All that is the same for every signature of one question. */
export interface Question {
  readonly artifact: Artifact
  readonly reference: Reference | undefined
  readonly policy: TrustPolicy
  readonly checks: PolicyChecks
  readonly parties: readonly LocalParty[]
  /** what key repositories added and nobody has accepted */
  readonly newRoots: readonly Uint8Array[]
  readonly bundles: readonly OpenedBundle[]
  readonly refused: readonly RefusedBundle[]
  readonly logs: Logs
  readonly now: Date
  readonly cache: ChainCache | undefined
}

/** `parties`: positions of those that this signature may stand for. `signer` tells distinct signers apart. */
export interface Weighed extends SignatureVerdict {
  readonly standsFor: readonly number[]
  readonly signerKey: string
  readonly signerName: string
  /** tells acts apart: the signatures that one act made under several algorithms share it; undefined for what nobody numbers */
  readonly act: string | undefined
}

const NOBODY = { signerKey: "", signerName: "", act: undefined } as const

/** Weighs one envelope against everything but the number of parties. Never throws on bad input. */
export function* weighSignature(bytes: Uint8Array, index: number, question: Question): Step<Weighed> {
  try {
    return yield* weigh(bytes, index, question)
  } catch (error) {
    if (!(error instanceof AlgorithmUnavailable)) throw error
    const code = "ALGORITHM_UNAVAILABLE"
    const checks = [fail("algorithm", code, error.scheme)]
    const { scheme: algorithm } = error
    return {
      index,
      outcome: verdictOf(code),
      code,
      parties: [],
      algorithm,
      checks,
      standsFor: [],
      ...NOBODY,
    }
  }
}

function* weigh(bytes: Uint8Array, index: number, question: Question): Step<Weighed> {
  const { policy, parties, checks: enabled } = question
  const checks: Check[] = []
  let signer: Weighed["signer"]
  let standsFor: readonly number[] = []
  let log: Weighed["log"]
  let identified: Pick<Weighed, "signerKey" | "signerName" | "act"> = NOBODY
  const algorithm = claimedAlgorithm(bytes)
  const end = (code: VerdictCode): Weighed => ({
    index,
    outcome: verdictOf(code),
    code,
    parties: standsFor.map((at) => parties[at]?.party.name ?? "").filter((name) => name !== ""),
    ...(algorithm && { algorithm }),
    ...(signer && { signer }),
    ...(log && { log }),
    checks,
    standsFor,
    ...identified,
  })
  const refuse = (check: string, code: VerdictCode, detail?: string): Weighed => {
    checks.push(fail(check, code, detail))
    return end(code)
  }

  const proven = yield* proveEnvelope(bytes, question)
  for (const { check, ok, code, text } of proven.checks)
    checks.push(ok || code === undefined ? pass(check, text) : { ...fail(check, code), text: pass(check, text).text })
  if (!proven.ok) {
    if (proven.code !== "CHAIN_NOT_TRUSTED" || !leadsTo(bytes, question.newRoots)) return end(proven.code)
    return refuse("root", "ROOT_NOT_ACCEPTED", hexEncode(yield* digest("sha256", rootIn(bytes))))
  }
  if (!enabled.expiry) checks.push(warn("expiry", "the policy does not check the expiry of signatures"))

  const { leaf, target, signingTime } = proven
  signer = signerOf(proven)
  const [bundle, another] = bundlesOf(proven, question.bundles)
  identified = { signerKey: signerKeyOf(proven, bundle), signerName: signerNameOf(leaf), act: actOf(proven) }
  const mismatch = mismatchOf(question.artifact, target)
  if (mismatch !== undefined) return refuse("artifact", "ARTIFACT_MISMATCH", mismatch)
  checks.push(pass("artifact", target.digest))
  if (another !== undefined) return refuse("publisher", "PUBLISHER_AMBIGUOUS", hexEncode(proven.issuerKeyId))

  const ahead = [signingTime, ...(proven.proven ? [proven.proven.earliest] : [])].find(
    (time) => time.getTime() > question.now.getTime() + CLOCK_TOLERANCE_MS,
  )
  if (ahead !== undefined) return refuse("time", "SIGNING_TIME_AHEAD", formatTime(ahead))

  standsFor = partiesOf(proven, parties)
  if (standsFor.length === 0) return refuse("identity", "IDENTITY_NOT_TRUSTED", signer.identity ?? signer.subject)
  checks.push(pass("identity", signer.identity ?? signer.subject))
  if (proven.anchor === 0) checks.push(warn("anchor", "the signing key itself is trusted: the next rotation breaks it"))

  const profile = bundle && profileOf(leaf, bundle.trustBundle.identityHost)
  if (bundle !== undefined) {
    if (profile === undefined) return refuse("identity", "IDENTITY_MALFORMED")
    if (proven.number === undefined) return refuse("certificate", "SIGNATURE_UNNUMBERED")
    if (!isIssuerOf(bundle, proven)) return refuse("identity", "ISSUER_NOT_REGISTERED", hexEncode(proven.issuerKeyId))
  }
  if (enabled.rescinded) {
    const revocation = yield* revocationOf(proven, bundle, profile, question)
    checks.push(revocation)
    if (revocation.code !== undefined) return end(revocation.code)
    const { timestamp } = proven.proven ?? {}
    if (timestamp !== undefined) {
      const authority = yield* timestampRevocation(timestamp, question)
      checks.push(authority)
      if (authority.code !== undefined) return end(authority.code)
    }
  } else checks.push(warn("revocation", "the policy does not check whether signatures were rescinded"))

  if (policy.requireAllowList) {
    const allowed = allowanceOf(bundle, profile, question)
    checks.push(allowed)
    if (allowed.code !== undefined) return end(allowed.code)
  } else checks.push(skip("allow list", "the policy asks for none"))

  const found = yield* logFindings(index, bundle, question.logs, policy, question.now)
  checks.push(...found.checks)
  log = found.log
  return end(found.checks.find(({ code }) => code !== undefined)?.code ?? "ACCEPTED")
}

/**
 * An expiry that the policy overlooks is overlooked alone: all else was checked at `now` before, and is checked once more at the signing
 * time, which every expiry is after.
 */
function* proveEnvelope(bytes: Uint8Array, { parties, policy, checks, now, cache }: Question): Step<NotaryResult> {
  const options = {
    trusted: parties.flatMap(({ certificates }) => certificates.map(({ der }) => der)),
    ...(policy.algorithms && { algorithms: policy.algorithms }),
    timestamps: policy.timestamps,
    ...(cache && { cache }),
  }
  const result = yield* verifyNotaryEnvelope(bytes, { ...options, now })
  if (result.ok || result.code !== "SIGNATURE_EXPIRED" || checks.expiry) return result
  const { signingTime } = parseNotaryJws(bytes).protected
  return yield* verifyNotaryEnvelope(bytes, { ...options, now: signingTime })
}

/** What the envelope says of itself; it counts only where it is proven. */
function claimedAlgorithm(bytes: Uint8Array): SignatureScheme | undefined {
  return orUndefined(() => parseNotaryJws(bytes).protected.alg)
}

/** @param bytes an envelope that was read before */
function rootIn(bytes: Uint8Array): Uint8Array {
  return base64Decode(parseNotaryJws(bytes).x5c.at(-1) ?? "")
}

function leadsTo(bytes: Uint8Array, roots: readonly Uint8Array[]): boolean {
  return roots.length > 0 && holds(roots, rootIn(bytes))
}

function mismatchOf(artifact: Artifact, target: VerifiedNotary["target"]): string | undefined {
  if (artifact.digest !== target.digest) return target.digest
  if (artifact.size !== undefined && artifact.size !== target.size) return `${target.size} bytes`
  if (artifact.mediaType !== undefined && artifact.mediaType !== target.mediaType) return target.mediaType
  return undefined
}

function partiesOf({ chain, leaf, signingScheme }: VerifiedNotary, parties: readonly LocalParty[]): readonly number[] {
  return [...parties.keys()].filter((at) => {
    const { party, certificates } = parties[at] as LocalParty
    const counted = certificates.filter(
      (each) => each.signingScheme === undefined || each.signingScheme === signingScheme,
    )
    const ders = counted.map(({ der }) => der)
    if (!chain.some((certificate) => holds(ders, certificate.der))) return false
    return (
      party.identities.length === 0 ||
      party.identities.some((wanted) => orUndefined(() => identityMatches(wanted, leaf)))
    )
  })
}

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof FormatError) return undefined
    throw error
  }
}

function signerOf(proven: VerifiedNotary): NonNullable<Weighed["signer"]> {
  const { leaf, issuerKeyId, number, signingTime, expiry } = proven
  const identity = emailIn(leaf)
  return {
    subject: leaf.subject.rdns.map((rdn) => rdn.map(({ value }) => pass("", value ?? "?").text).join("+")).join(", "),
    ...(identity !== undefined && { identity: pass("", identity).text }),
    issuerKeyId: hexEncode(issuerKeyId),
    ...(number !== undefined && { number }),
    signingTime: formatTime(signingTime),
    ...(expiry && { expiry: formatTime(expiry) }),
  }
}

/**
 * The bundle that speaks for a signature is the one whose trust bundle has its root: no publisher speaks for another's. Where several have it, as roots
 * of a company may, the one that registers the issuer.
 * @returns more than one when several say that the issuer is theirs: one of them is wrong, and might hide what the other revoked
 */
function bundlesOf(proven: VerifiedNotary, bundles: readonly OpenedBundle[]): readonly OpenedBundle[] {
  const root = proven.chain.at(-1) as Certificate
  const holders = bundles.filter(({ trustBundle }) => holds(allRoots(trustBundle), root.der))
  const registered = holders.filter((bundle) => isIssuerOf(bundle, proven))
  return registered.length > 0 ? registered : holders.slice(0, 1)
}

/** A root of the publisher's own certifies for nobody else. Another authority's may certify a namesake of the profile: there the registry decides. */
function isIssuerOf({ trustBundle, registry }: OpenedBundle, { chain }: VerifiedNotary): boolean {
  if (holds(trustBundle.roots, (chain.at(-1) as Certificate).der)) return true
  const [, issuer] = chain
  return issuer !== undefined && registry.issuers.some(({ certificate }) => bytesEqual(certificate, issuer.der))
}

/** The profile is the common name, and the one e-mail name says the same. */
function profileOf(leaf: Certificate, identityHost: string): string | undefined {
  const profile = nameAttribute(leaf.subject, ATTRIBUTE.commonName)
  const email = emailIn(leaf)
  return profile !== undefined && email === `${profile}@${identityHost}` ? profile : undefined
}

function allowanceOf(bundle: OpenedBundle | undefined, profile: string | undefined, question: Question): Check {
  const { reference, artifact, now, policy } = question
  const list = bundle?.allowList
  if (bundle === undefined || list === undefined || profile === undefined)
    return fail("allow list", "ALLOW_LIST_UNKNOWN")
  if (isStale(bundle, now, policy.maxStaleSec ?? bundle.maxStaleSec)) return fail("allow list", "REVOCATION_STALE")
  const repository = reference && `${reference.registry}/${reference.repository}`
  const digests = repository === undefined ? undefined : list.profiles.get(profile)?.get(repository)
  return digests?.includes(artifact.digest)
    ? pass("allow list", `list ${list.epoch} of ${formatTime(list.date)}`)
    : fail("allow list", "NOT_ON_ALLOW_LIST", repository ?? "no reference was given")
}
