import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { BUNDLE_CODES, type BundleCode } from "./bundle.ts"
import { NOTARY_CODES, type NotaryCode } from "./notary.ts"
import { TIMESTAMP_CODES } from "./timestamp.ts"
import { TUF_CODES } from "./tuf-rules.ts"
import { CHAIN_CODES } from "./x509-path.ts"

export type VerdictKind = "accepted" | "rejected" | "inconclusive"

export interface VerdictCodeRow {
  readonly verdict: VerdictKind
  /** what was found */
  readonly text: string
  /** what to do */
  readonly remedy: string
}

const accepted = (text: string, remedy: string): VerdictCodeRow => ({ verdict: "accepted", text, remedy })
const rejected = (text: string, remedy: string): VerdictCodeRow => ({ verdict: "rejected", text, remedy })
const inconclusive = (text: string, remedy: string): VerdictCodeRow => ({ verdict: "inconclusive", text, remedy })

const DO_NOT_RUN = "Do not run it; ask the publisher for a version that was signed anew."
const NEWER_BUNDLE = "Mirror a newer bundle and verify again."
const FETCH_AGAIN = "Fetch artifact and signatures again; if it stays so, tell the publisher."

const OWN_CODES = {
  ACCEPTED: accepted("signed as the policy demands", "Nothing to do."),
  TRUSTED_ARTIFACT: accepted("the policy lists this digest; no signature was looked at", "Nothing to do."),
  SIGNATURE_CHECK_OFF: accepted("the policy does not check signatures", "Set signatureCheck to true."),

  DIGEST_MALFORMED: rejected("the artifact's digest is not sha256:, sha384: or sha512: and hex", "Verify by digest."),
  REFERENCE_MALFORMED: rejected(
    "the reference is not registry/repository[:tag][@digest]",
    "Name registry and repository in full, in lower case.",
  ),
  REFERENCE_MISMATCH: rejected("the reference names another digest than the artifact's", "Verify what you will run."),
  NO_SIGNATURES: rejected("there is no signature", "Fetch the artifact's signatures, or have it signed."),
  TOO_MANY_SIGNATURES: rejected("there are more than 100 signatures", "Remove those that are not the publisher's."),
  SOURCE_NOT_TRUSTED: rejected(
    "no trusted root counts for this source",
    "Add a root whose scope has this reference, if you trust the source.",
  ),
  IDENTITY_NOT_TRUSTED: rejected(
    "the signer is not among the identities that the policy trusts here",
    "Ask who was to sign this; add the identity only if it may.",
  ),
  IDENTITY_MALFORMED: rejected("the certificate has not the one identity that its publisher gives", DO_NOT_RUN),
  SIGNATURE_UNNUMBERED: rejected("the signature carries no number of its issuer", DO_NOT_RUN),
  ARTIFACT_MISMATCH: rejected("the signature is for another artifact", FETCH_AGAIN),
  ARTIFACT_REVOKED: rejected("the publisher has revoked this artifact", DO_NOT_RUN),
  SIGNATURE_REVOKED: rejected("the publisher has rescinded this signature", DO_NOT_RUN),
  CERTIFICATE_REVOKED: rejected("a certificate or issuer of the signature is revoked", DO_NOT_RUN),
  TIMESTAMP_AUTHORITY_REVOKED: rejected(
    "the authority that made the signature's timestamp is revoked, so nothing proves its time",
    DO_NOT_RUN,
  ),
  PROFILE_REVOKED: rejected("the profile is revoked from before this signature on", DO_NOT_RUN),
  NUMBER_VOID: rejected(
    "the service never recorded a signature with this number",
    "Do not run it; tell the publisher: somebody signs beside the record.",
  ),
  NOT_ON_ALLOW_LIST: rejected("the publisher's allow list has not this artifact here", DO_NOT_RUN),
  LOG_PROOF_MISSING: rejected(
    "the policy requires a log proof, and this signature has none",
    "Get the signature's .tlog-proof from the publisher; one that was just made is logged within a minute.",
  ),
  LOG_PROOF_INVALID: rejected("a log proof is damaged, or of none of the signatures", FETCH_AGAIN),
  LOG_CHECKPOINT_INVALID: rejected("a checkpoint is malformed, or a known key's signature of it is wrong", FETCH_AGAIN),
  LOG_UNKNOWN: rejected("none of the logs that count here signed the checkpoint", FETCH_AGAIN),
  LOG_FORKED: rejected(
    "a log has shown two different trees of one size",
    "Do not run it; keep both checkpoints and ask publisher and witnesses.",
  ),
  ALGORITHMS_MISSING: rejected(
    "no party has one act signed under every algorithm that the policy requires",
    "Get the signature that is missing: an extra one stands beside the artifact as the first one does.",
  ),
  PARTIES_MISSING: rejected("fewer parties have signed than the policy requires", "Get the missing signatures."),

  ROOT_NOT_ACCEPTED: inconclusive(
    "it leads to a root that the publisher added since its trust bundle was taken over, and nobody here has accepted it",
    "Compare the root's SHA-256 with the publisher by another way, then run `sealwright trust accept-root`.",
  ),
  ISSUER_NOT_REGISTERED: inconclusive(
    "the root certifies for others too, and the publisher's registry does not have this issuer",
    NEWER_BUNDLE,
  ),
  PUBLISHER_AMBIGUOUS: inconclusive(
    "several bundles say that the issuer is theirs, and one might hide what another revoked",
    "Ask whose issuer it is, and leave the other's bundle out.",
  ),
  SIGNING_TIME_AHEAD: inconclusive("the signature is dated later than this machine's clock", "Set the clock right."),
  REVOCATION_UNKNOWN: inconclusive(
    "nothing says whether the signature was revoked",
    "Give the publisher's bundle, or turn signatureRescinded off.",
  ),
  REVOCATION_STALE: inconclusive("what is known of revocations is older than allowed", NEWER_BUNDLE),
  REVOCATION_NOT_COVERED: inconclusive("the list has not settled this signature's number", NEWER_BUNDLE),
  ALLOW_LIST_UNKNOWN: inconclusive("the policy asks for an allow list, and the bundle has none", NEWER_BUNDLE),
  LOG_POLICY_MISSING: inconclusive(
    "nothing says which logs and witnesses count",
    "Give the publisher's bundle, or a logPolicy of your own.",
  ),
  LOG_POLICY_MALFORMED: inconclusive(
    "the policy of logs and witnesses can't be used",
    "Correct logPolicy, or have it corrected.",
  ),
  LOG_WITNESSES_MISSING: inconclusive(
    "too few witnesses of the policy have seen the checkpoint",
    "Get a newer proof or checkpoint; if it stays so, ask the publisher.",
  ),
  LOG_ROLLBACK: inconclusive("a log is smaller than it was seen before", NEWER_BUNDLE),
  LOG_INCONSISTENT: inconclusive(
    "a log's tiles do not prove that its trees are one history: they are damaged, or the log was forked",
    "Fetch checkpoints and tiles again; if it stays so, keep them and ask publisher and witnesses.",
  ),
  ALGORITHM_UNAVAILABLE: inconclusive(
    "this platform can't check signatures under this algorithm",
    "Verify with Node 24 or newer, or where WebCrypto has ML-DSA.",
  ),
  ALGORITHMS_UNDECIDED: inconclusive("a signature under a required algorithm could not be decided", NEWER_BUNDLE),
  PARTIES_UNDECIDED: inconclusive("parties are missing whose signatures could not be decided", NEWER_BUNDLE),
} as const satisfies Record<string, VerdictCodeRow>

export type VerdictCode = keyof typeof OWN_CODES | NotaryCode | BundleCode

/** Public API: add codes, never rename or reuse one. Those of envelopes and chains reject, those of bundles leave open. */
export const VERDICT_CODES: Readonly<Record<VerdictCode, VerdictCodeRow>> = {
  ...OWN_CODES,
  ...rows(NOTARY_CODES, (text) => rejected(text, FETCH_AGAIN)),
  ...rows(CHAIN_CODES, (text) =>
    rejected(text, "Ask the publisher which roots are its own, and for a good signature."),
  ),
  ...rows(TIMESTAMP_CODES, (text) =>
    rejected(text, "Ask the publisher for a signature with a timestamp of an authority that you trust."),
  ),
  ...rows(TUF_CODES, (text) => inconclusive(text, NEWER_BUNDLE)),
  ...rows(BUNDLE_CODES, (text) => inconclusive(text, NEWER_BUNDLE)),
  CHAIN_NOT_TRUSTED: rejected(CHAIN_CODES.CHAIN_NOT_TRUSTED, OWN_CODES.SOURCE_NOT_TRUSTED.remedy),
  SIGNATURE_EXPIRED: rejected(NOTARY_CODES.SIGNATURE_EXPIRED, DO_NOT_RUN),
  CERTIFICATE_SWAPPED: rejected(NOTARY_CODES.CERTIFICATE_SWAPPED, DO_NOT_RUN),
  CLOCK_BEHIND: inconclusive(BUNDLE_CODES.CLOCK_BEHIND, OWN_CODES.SIGNING_TIME_AHEAD.remedy),
}

function rows<Code extends string>(codes: Readonly<Record<Code, string>>, row: (text: string) => VerdictCodeRow) {
  return Object.fromEntries(Object.entries<string>(codes).map(([code, text]) => [code, row(text)])) as Record<
    Code,
    VerdictCodeRow
  >
}

export interface Check {
  readonly check: string
  readonly outcome: "pass" | "fail" | "warn" | "skip"
  /** undefined for what passed */
  readonly code?: VerdictCode
  /** one line for people, free to change; control characters are replaced */
  readonly text: string
}

/** What one envelope came to. `outcome` counts for it alone; parties are weighed in the verdict. */
export interface SignatureVerdict {
  /** position in `envelopes` */
  readonly index: number
  readonly outcome: VerdictKind
  readonly code: VerdictCode
  /** named parties of the policy that this signature may stand for */
  readonly parties: readonly string[]
  /** undefined when the envelope did not prove it */
  readonly algorithm?: SignatureScheme
  /** undefined when the envelope did not prove who signed */
  readonly signer?: {
    readonly subject: string
    readonly identity?: string
    readonly issuerKeyId: string
    readonly number?: number
    /** RFC 3339; proven under the signing-authority scheme, claimed otherwise */
    readonly signingTime: string
    readonly expiry?: string
  }
  /** where the signature was proven to stand in a log */
  readonly log?: LoggedAs
  readonly checks: readonly Check[]
}

/** Numbers are decimal text. */
export interface LoggedAs {
  readonly origin: string
  readonly index: string
  /** of the tree that the proof leads to */
  readonly size: string
}

/** A log's tree that a verified checkpoint speaks for. */
export interface ProvenHead {
  /** place in `trusted` of the bundle whose log it is; undefined: of the deployer's own policy alone */
  readonly bundle?: number
  readonly origin: string
  /** decimal */
  readonly size: string
  /** lower-case hex */
  readonly root: string
}

/** How old one part of what was known is; times in RFC 3339. */
export interface PartFreshness {
  readonly part: string
  readonly version: number
  readonly date?: string
  readonly due: string
  /** since its date; of lists alone */
  readonly ageSec?: number
  /** since it was due; 0 before */
  readonly overdueSec: number
  /** undefined for what counts without any grace */
  readonly strict?: {
    /** what a client without grace answers: `TUF_EXPIRED` for a role, `REVOCATION_STALE` for a list whose successor is due */
    readonly code: VerdictCode
    /** whether it counts all the same, within `maxStaleSec` */
    readonly accepted: boolean
    readonly maxStaleSec: number
    /** for people; free to change */
    readonly text: string
  }
}

/** One line of a decision log (R34). */
export interface DecisionEvent {
  readonly event: "signature" | "verdict"
  readonly time: string
  readonly artifact: string
  readonly reference?: string
  readonly outcome: VerdictKind
  readonly code: VerdictCode
  /** what was found, for people */
  readonly text: string
  readonly remedy: string
  readonly [detail: string]: string | number | readonly string[] | undefined
}

/** Plain JSON. Nothing but `accepted` lets an artifact run. */
export interface Verdict {
  readonly verdict: VerdictKind
  readonly code: VerdictCode
  /** the digest that was verified: run this one, and no tag */
  readonly artifact: string
  readonly checks: readonly Check[]
  readonly signatures: readonly SignatureVerdict[]
  readonly freshness: readonly PartFreshness[]
  /** trees larger than those that the bundles' floors have; for `raiseLogFloors` */
  readonly logs: readonly ProvenHead[]
  readonly events: readonly DecisionEvent[]
}

export function verdictOf(code: VerdictCode): VerdictKind {
  return VERDICT_CODES[code].verdict
}

export const pass = (check: string, text: string): Check => ({ check, outcome: "pass", text: printable(text) })

export const skip = (check: string, text: string): Check => ({ check, outcome: "skip", text: printable(text) })

export const warn = (check: string, text: string): Check => ({ check, outcome: "warn", text: printable(text) })

export function fail(check: string, code: VerdictCode, detail = ""): Check {
  const { text } = VERDICT_CODES[code]
  return { check, outcome: "fail", code, text: printable(detail === "" ? text : `${text}: ${detail}`) }
}

/** Text of others ends up on terminals and in logs: no control characters, none that turn the direction of writing, 500 characters at most. */
export function printable(text: string): string {
  return text.slice(0, 500).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "\u{fffd}")
}
