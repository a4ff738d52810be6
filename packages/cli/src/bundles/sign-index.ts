import { digest } from "@sealwright/adapters/platform"
import { BUNDLE_INDEX_TYPE } from "@sealwright/formats/bundle-index"
import { hexEncode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import { schemesOfKey } from "@sealwright/formats/key-scheme"
import { pemDecode } from "@sealwright/formats/pem"
import { parsePublicKey } from "@sealwright/formats/x509"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { CommandFailure, EXIT } from "../exit.ts"
import { readFileLimited } from "../files.ts"
import type { BundleContent } from "./content.ts"

const MAX_KEY_BYTES = 16 * 1024

/**
 * What is signed of an index: its media type and its digest, two short lines, since some keys sign 4,096 bytes at most.
 * @param indexDigest lower-case hex SHA-256 of the file
 */
export function signedText(indexDigest: string): Uint8Array {
  return utf8(`${BUNDLE_INDEX_TYPE}\nsha256:${indexDigest}\n`)
}

/** A key that the deployer demands a bundle's signature of. */
export interface BundleKey {
  /** lower-case hex SHA-256 of the SubjectPublicKeyInfo */
  readonly keyId: string
  readonly spki: Uint8Array
}

export function keyIdOf(spki: Uint8Array): string {
  return hexEncode(digest("sha256", spki))
}

/** @param path PEM `PUBLIC KEY`, such as `sealwright key export` writes */
export function readBundleKey(path: string): BundleKey {
  const spki = pemDecode("PUBLIC KEY", utf8Decode(readFileLimited(path, MAX_KEY_BYTES)))
  return { keyId: keyIdOf(spki), spki }
}

/**
 * Each key that is demanded must have signed the index.
 * @throws CommandFailure BUNDLE_NOT_SIGNED
 */
export function requireSignatures(
  { digest: indexDigest, signatures }: Pick<BundleContent, "digest" | "signatures">,
  keys: readonly BundleKey[],
): void {
  for (const { keyId, spki } of keys) {
    const signature = signatures.get(keyId)
    const text = signedText(indexDigest)
    const good =
      signature !== undefined &&
      schemesOfKey(parsePublicKey(spki)).some((scheme) => runSync(verifySignature(scheme, spki, text, signature)))
    if (!good)
      throw new CommandFailure(
        EXIT.rejected,
        "BUNDLE_NOT_SIGNED",
        signature === undefined
          ? `the bundle's index is not signed by the key ${keyId}`
          : `the signature of the key ${keyId} does not fit the bundle's index`,
        "Get the bundle from who signs it; trust data that was mirrored by address carries no such signature.",
      )
  }
}
