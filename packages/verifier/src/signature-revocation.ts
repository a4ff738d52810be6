import { hexEncode } from "@sealwright/formats/bytes"
import { formatTime } from "@sealwright/formats/time"
import type { Certificate } from "@sealwright/formats/x509"
import { isStale, type OpenedBundle } from "./bundle.ts"
import { checkCrl } from "./crl-check.ts"
import type { VerifiedNotary } from "./notary.ts"
import { digest, type Step } from "./requests.ts"
import type { CertificateQuery, RevocationAnswer, RevokedBy } from "./revocation.ts"
import type { ProvenTime } from "./timestamp.ts"
import { holds } from "./trust-policy.ts"
import { type Check, fail, pass, type VerdictCode } from "./verdict.ts"
import type { Question } from "./verify-signature.ts"

const REVOKED_CODES: Readonly<Record<RevokedBy, VerdictCode>> = {
  artifact: "ARTIFACT_REVOKED",
  signature: "SIGNATURE_REVOKED",
  certificate: "CERTIFICATE_REVOKED",
  issuer: "CERTIFICATE_REVOKED",
  profile: "PROFILE_REVOKED",
  "void number": "NUMBER_VOID",
}

const CHECK = "revocation"

/**
 * The publisher's list first. For chains that no list numbers: what any publisher's list says against the certificate, as it is recorded there
 * once it signed something of theirs, then the CRLs of the bundles, without which nothing speaks for it.
 */
export function* revocationOf(
  proven: VerifiedNotary,
  bundle: OpenedBundle | undefined,
  profile: string | undefined,
  question: Question,
): Step<Check> {
  const { now, policy, artifact } = question
  const certificates = yield* certificateQuery(proven)
  if (bundle === undefined || profile === undefined || proven.number === undefined) {
    const byList = question.bundles.map(({ revocations }) => revocations.revokedCertificate(certificates)).find(Boolean)
    if (byList !== undefined) return revokedCheck({ status: "revoked", by: "certificate", ...byList })
    const byCrl = yield* crlAnswer(proven.chain, question)
    const [refused] = question.refused
    return byCrl ?? (refused ? fail(CHECK, refused.code, refused.detail) : fail(CHECK, "REVOCATION_UNKNOWN"))
  }
  const { issuerKeyId } = certificates
  const maxStaleSec = policy.maxStaleSec ?? bundle.maxStaleSec
  const answer = bundle.revocations.answer({
    ...certificates,
    number: proven.number,
    profile,
    artifact: artifact.digest,
    signedAt: proven.proven,
    stampedBy: proven.proven?.timestamp?.latest,
    now,
    maxStaleSec,
  })
  if (answer.status === "revoked") return revokedCheck(answer)
  if (isStale(bundle, now, maxStaleSec) || answer.status === "stale")
    return fail(CHECK, "REVOCATION_STALE", `list of ${formatTime(bundle.revocations.date)}, ${maxStaleSec} s allowed`)
  const above = yield* outsideAnswer(proven.chain, bundle, question)
  if (above !== undefined) return above
  const known = `list ${bundle.revocations.epoch} of ${formatTime(bundle.revocations.date)}`
  if (answer.status === "good") return pass(CHECK, `not revoked by ${known}`)
  if (!bundle.revocations.knowsIssuer(issuerKeyId)) {
    const byCrl = yield* crlAnswer(proven.chain, question)
    if (byCrl !== undefined) return byCrl
  }
  if (answer.status === "newer") return pass(CHECK, `made after ${known}, which is fresh enough`)
  return fail(CHECK, "REVOCATION_NOT_COVERED", known)
}

function* certificateQuery({ chain, leaf, issuerKeyId }: VerifiedNotary): Step<CertificateQuery> {
  const thumbprints: string[] = []
  for (const { der } of chain) thumbprints.push(hexEncode(yield* digest("sha256", der)))
  return { issuerKeyId: hexEncode(issuerKeyId), serialHex: hexEncode(leaf.serialBytes), thumbprints }
}

function revokedCheck({ reason, at, by }: Extract<RevocationAnswer, { status: "revoked" }>): Check {
  return fail(CHECK, REVOKED_CODES[by], `${by}, ${reason}, ${formatTime(at)}`)
}

/** What CRLs of outside authorities say against the CAs above the leaf; the publisher's list speaks for all that is not revoked there. */
function* outsideAnswer(
  chain: readonly Certificate[],
  bundle: OpenedBundle,
  question: Question,
): Step<Check | undefined> {
  const root = chain.at(-1) as Certificate
  if (!holds(bundle.trustBundle.externalRoots, root.der)) return undefined
  const answer = yield* crlAnswer(chain.slice(1), question)
  return answer?.outcome === "pass" ? undefined : answer
}

/**
 * Every certificate but the root by the CRL of its issuer, from whichever bundle has it: a CRL speaks by its own signature.
 * @returns undefined when a certificate is left without an answer; revoked counts even then
 */
function* crlAnswer(chain: readonly Certificate[], question: Question): Step<Check | undefined> {
  const { now, policy, bundles } = question
  let decided = 0
  for (const [at, certificate] of chain.slice(0, -1).entries()) {
    const issuer = chain[at + 1] as Certificate
    const keyId = hexEncode(yield* digest("sha256", issuer.spki))
    for (const bundle of bundles) {
      const bytes = yield* bundle.crl(keyId)
      const answer = bytes && (yield* checkCrl(certificate, issuer, bytes, now))
      if (answer?.status === "revoked")
        return fail(CHECK, "CERTIFICATE_REVOKED", `CRL, ${answer.reason}, ${formatTime(answer.at)}`)
      if (answer?.status !== "good" || isStale(bundle, now, policy.maxStaleSec ?? bundle.maxStaleSec)) continue
      decided++
      break
    }
  }
  return decided > 0 && decided === chain.length - 1 ? pass(CHECK, "not revoked by the CRLs of its issuers") : undefined
}

/**
 * A revoked authority proves no time, not even one before its revocation: its thief dates as he likes (D7). By the CRLs of its chain, and by the rules
 * of every publisher whose root it stands below.
 */
export function* timestampRevocation({ chain }: ProvenTime, question: Question): Step<Check> {
  const what = "timestamp authority"
  const byCrl = yield* crlAnswer(chain, question)
  if (byCrl === undefined) return fail(what, "REVOCATION_UNKNOWN", "no CRL of the timestamp authority's issuer")
  return byCrl.outcome === "pass"
    ? pass(what, "not revoked by the CRLs of its issuers")
    : fail(what, "TIMESTAMP_AUTHORITY_REVOKED", byCrl.text)
}
