import { digest } from "@sealwright/adapters/platform"
import { type KeySignature, signWithKey } from "@sealwright/core/sign/with-key"
import { hexEncode, utf8Decode } from "@sealwright/formats/bytes"
import type { Descriptor } from "@sealwright/formats/oci"
import { pemDecodeAll } from "@sealwright/formats/pem"
import { parseTime } from "@sealwright/formats/time"
import { runSync } from "@sealwright/verifier/node-crypto"
import type { Arguments } from "./arguments.ts"
import { readFileLimited } from "./files.ts"
import { keyView, withKey } from "./keys.ts"

const MAX_CHAIN_BYTES = 256 * 1024
const SIGNING_AGENT = "sealwright-cli/0.1.0"

export interface OwnSignature extends KeySignature {
  readonly key: ReturnType<typeof keyView>
  /** lower-case hex; names the certificate when it is revoked */
  readonly certificateSha256: string
  readonly signedAt: Date
}

/**
 * Signs on this side, with the key that --key names under the chain of --certificate (R2). The time is this machine's clock, whole seconds.
 * @throws CommandFailure with the codes of `openKey` and `signWithKey`
 */
export async function signOnThisSide(args: Arguments, target: Descriptor): Promise<OwnSignature> {
  const expires = args.text("expires")
  const pem = readFileLimited(args.required("certificate"), MAX_CHAIN_BYTES)
  return await withKey(args, args.required("key"), async ({ key, keys }) => {
    const signedAt = new Date(Math.floor(Date.now() / 1000) * 1000)
    const made = await signWithKey(
      { keys, digest, run: runSync },
      {
        key,
        chain: pemDecodeAll("CERTIFICATE", utf8Decode(pem)),
        target,
        signedAt,
        expiresAt: expires === undefined ? undefined : parseTime(expires),
        signingAgent: SIGNING_AGENT,
      },
    )
    const certificateSha256 = hexEncode(digest("sha256", made.leaf.der))
    return { ...made, key: keyView(key), certificateSha256, signedAt }
  })
}
