import { hexEncode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { type IssuerNumbers, readRevocationList } from "@sealwright/formats/revocation-list"
import { isServiceError } from "../errors.ts"
import type { EpochCommit } from "../ledger/epochs.ts"
import type { Digest, Objects } from "../ports.ts"
import { decodePlan, MAX_PLAN_BYTES } from "./plan.ts"

/** What a list says of numbers, by issuer key id. */
export type NumbersBefore = ReadonlyMap<string, Pick<IssuerNumbers, "coveredBelow" | "void">>

/**
 * What a committed epoch says of numbers, from its staged plan, so that its successor reads what came since alone. The bucket is not trusted: a plan
 * counts when its digest is the committed one.
 * @param commit undefined: there is no such epoch
 * @returns empty when the plan is gone, another one or unreadable: the successor reads all of it anew
 * @throws ServiceError STORE_UNAVAILABLE
 */
export async function numbersOfEpoch(
  { objects, digest }: { readonly objects: Objects; readonly digest: Digest },
  commit: EpochCommit | undefined,
): Promise<NumbersBefore> {
  if (commit === undefined) return new Map()
  try {
    const staged = await objects.get(commit.planKey, MAX_PLAN_BYTES)
    if (staged === undefined || hexEncode(digest("sha256", staged.bytes)) !== commit.planDigest) return new Map()
    return readRevocationList(decodePlan(staged.bytes).revocations).issuers
  } catch (error) {
    // Too large to be it, or of another version of this program.
    if (error instanceof FormatError || isServiceError(error, "PUBLICATION_MISMATCH")) return new Map()
    throw error
  }
}
