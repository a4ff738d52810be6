import { lstatSync } from "node:fs"
import type { OpenedBundle } from "@sealwright/verifier/bundle"
import { openBundle } from "@sealwright/verifier/bundle"
import { runSync } from "@sealwright/verifier/node-crypto"
import type { BundleFloors } from "@sealwright/verifier/state"
import { CommandFailure, EXIT, usage } from "../exit.ts"
import { isLayout } from "../layout.ts"
import { openArchives } from "./archive.ts"
import { type BundleContent, contentReader, sizeOf } from "./content.ts"
import { openFolder } from "./folder.ts"
import { openLayout } from "./oci-bundle.ts"

/** How much a bundle may take when unpacked, unless the command says otherwise: 16 GiB. */
export const DEFAULT_MAX_BUNDLE_BYTES = 16 * 1024 ** 3

/**
 * Opens what carries a bundle: one folder, one OCI image layout, or every part of an archive.
 * @throws CommandFailure and FormatError as `openFolder`, `openLayout`, `openArchives`; BUNDLE_TOO_LARGE
 */
export function openAny(paths: readonly string[], maxBytes = DEFAULT_MAX_BUNDLE_BYTES): BundleContent {
  const folder = paths.find((path) => lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true)
  if (folder !== undefined && paths.length > 1) throw usage("name one folder, or the parts of one archive")
  const content =
    folder === undefined ? openArchives(paths) : isLayout(folder) ? openLayout(folder) : openFolder(folder, true)
  const size = sizeOf(content)
  if (size > maxBytes)
    throw new CommandFailure(
      EXIT.rejected,
      "BUNDLE_TOO_LARGE",
      `the bundle has ${size} bytes, more than ${maxBytes}`,
      "Allow more with --max-bytes, if that is what you were told to expect.",
    )
  return content
}

export interface TrustInput {
  readonly pinnedRoot: Uint8Array
  readonly now: Date
  readonly floors: BundleFloors | undefined
}

/**
 * Verifies a bundle's trust data as `sealwright verify` does, from the pinned root on, every CRL among it.
 * @throws CommandFailure with the verifier's own code
 */
export function verifyTrust(
  read: (path: string, maxBytes: number) => Uint8Array | undefined,
  { pinnedRoot, now, floors }: TrustInput,
): OpenedBundle {
  const bundle = runSync(openBundle({ read, pinnedRoot, now, ...(floors && { floors }) }))
  if (!bundle.ok)
    throw new CommandFailure(
      EXIT.rejected,
      bundle.code,
      `${bundle.subject}: ${bundle.detail}`,
      "It was not taken over; what stood before is as it was.",
    )
  for (const issuerKeyId of bundle.crlKeyIds) runSync(bundle.crl(issuerKeyId))
  return bundle
}

/** The same for a bundle by its index: other bytes than the index says are refused too. */
export function verifyContent(content: BundleContent, input: TrustInput): OpenedBundle {
  return verifyTrust(contentReader(content), input)
}
