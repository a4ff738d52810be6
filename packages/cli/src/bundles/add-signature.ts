import { join } from "node:path"
import { BUNDLE_INDEX, MAX_INDEX_BYTES, signatureName } from "@sealwright/formats/bundle-index"
import type { Arguments } from "../arguments.ts"
import { readFileLimited, writeFileWhole } from "../files.ts"
import { withKey } from "../keys.ts"
import { sha256Of } from "./folder.ts"
import { keyIdOf, requireSignatures, signedText } from "./sign-index.ts"

/**
 * Signs a folder's index with the key that --key names, if it names one, and checks the signature before it is kept.
 * @returns the key's id, lower-case hex SHA-256 of its SubjectPublicKeyInfo
 * @throws CommandFailure as `withKey`; BUNDLE_NOT_SIGNED when the key home gave a signature that does not verify
 */
export async function signFolder(args: Arguments, folder: string): Promise<string | undefined> {
  const uri = args.text("key")
  if (uri === undefined) return undefined
  const digest = sha256Of(readFileLimited(join(folder, BUNDLE_INDEX), MAX_INDEX_BYTES))
  return await withKey(args, uri, async ({ key, keys }) => {
    const signature = await keys.sign(key, signedText(digest))
    const keyId = keyIdOf(key.spki)
    requireSignatures({ digest, signatures: new Map([[keyId, signature]]) }, [{ keyId, spki: key.spki }])
    writeFileWhole(join(folder, signatureName(keyId)), signature)
    return keyId
  })
}
