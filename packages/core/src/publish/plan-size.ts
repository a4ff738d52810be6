import type { TargetFile } from "@sealwright/formats/tuf"
import { encodeMetadata } from "@sealwright/formats/tuf-encode"
import type { Plan } from "./plan.ts"
import { delegatedMetadata, requireReadable } from "./tuf.ts"

/** As long as any that will stand there. */
const LONGEST_FILE: TargetFile = { length: 999_999_999_999, hashes: new Map([["sha256", "0".repeat(64)]]) }
const LONGEST_SIGNATURE = { keyid: "0".repeat(64), signature: new Uint8Array(512) }

/**
 * Holds what an epoch's role `lists` will be to what clients read, before the epoch is committed: afterwards it could be neither shown nor taken back. The other
 * roles of a publisher have a fixed number of entries.
 * @throws ServiceError TUF_TOO_LARGE
 */
export function requireReadablePlan({ epoch, date, crlIssuers, outsideCrls = [] }: Plan): void {
  const issuers = [...crlIssuers, ...outsideCrls.map(({ issuerKeyId }) => issuerKeyId)]
  const paths = ["lists/revocations.json", "lists/allow.json", ...issuers.map((issuer) => `lists/${issuer}.crl`)]
  const targets = new Map(paths.map((path) => [path, LONGEST_FILE]))
  const bytes = encodeMetadata(delegatedMetadata("lists", targets, epoch, date), [LONGEST_SIGNATURE])
  requireReadable("lists", "targets", bytes.length)
}
