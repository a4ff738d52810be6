import { type BundleInput, type BundleOutcome, openBundle } from "./bundle.ts"
import { runSync } from "./node-crypto.ts"
import type { Verdict } from "./verdict.ts"
import { type VerifyInput, verify } from "./verify.ts"

/** Opens a bundle with Node's crypto. @throws TypeError on misuse, and what `read` throws */
export function openBundleSync(input: BundleInput): BundleOutcome {
  return runSync(openBundle(input))
}

/** Decides whether an artifact may run, with Node's crypto. @throws TypeError on misuse */
export function verifySync(input: VerifyInput): Verdict {
  return runSync(verify(input))
}

export * from "./index.ts"
