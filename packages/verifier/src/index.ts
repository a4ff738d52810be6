import { type BundleInput, type BundleOutcome, openBundle as openBundleStep } from "./bundle.ts"
import type { Verdict } from "./verdict.ts"
import { type VerifyInput, verify as verifyStep } from "./verify.ts"
import { runAsync } from "./web-crypto.ts"

/** Opens a bundle with the platform's WebCrypto. @throws TypeError on misuse, and what `read` throws */
export function openBundle(input: BundleInput): Promise<BundleOutcome> {
  return runAsync(openBundleStep(input))
}

/** Decides whether an artifact may run, with the platform's WebCrypto. @throws TypeError on misuse */
export function verify(input: VerifyInput): Promise<Verdict> {
  return runAsync(verifyStep(input))
}

export type { SignatureScheme } from "@sealwright/formats/algorithms"
export { FormatError, type FormatErrorCode } from "@sealwright/formats/errors"
export {
  BUNDLE_CODES,
  BUNDLE_MARKER,
  BUNDLE_TYPE,
  type BundleCode,
  type BundleInput,
  type BundleOutcome,
  DEFAULT_MAX_STALE_SEC,
  type Freshness,
  isStale,
  type OpenedBundle,
  type RefusedBundle,
} from "./bundle.ts"
export { ChainCache } from "./chain-cache.ts"
export type { Consistency } from "./log-check.ts"
export { type LogEvidence, MAX_LOG_PROOFS } from "./log-proof.ts"
export { importNotationPolicy, type NotationStatement, policyForReference, type ReadStore } from "./notation-policy.ts"
export type { CryptoRequest, Step } from "./requests.ts"
export type { RevocationAnswer, RevocationQuery, RevocationReader } from "./revocation.ts"
export type { SeenEntries } from "./seen.ts"
export type { TimestampTrust } from "./signing-time.ts"
export { type BundleFloors, encodeState, parseState, raiseLogFloors, STATE_TYPE } from "./state.ts"
export { type Identity, loadTrustPolicy, type Party, type PolicyChecks, type TrustPolicy } from "./trust-policy.ts"
export {
  type Loaded,
  loadTrustStore,
  POLICY_CODES,
  type PolicyCode,
  type ReadFile,
  type Scope,
  type TrustedEntity,
} from "./trust-store.ts"
export {
  type Check,
  type DecisionEvent,
  type LoggedAs,
  type PartFreshness,
  type ProvenHead,
  type SignatureVerdict,
  VERDICT_CODES,
  type Verdict,
  type VerdictCode,
  type VerdictCodeRow,
  type VerdictKind,
} from "./verdict.ts"
export { type Artifact, MAX_SIGNATURES, type VerifyInput } from "./verify.ts"
