import { createHash, createHmac } from "node:crypto"
import { SignatureV4 } from "@smithy/signature-v4"

export interface SigningCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

class Sha256 {
  readonly #hash
  constructor(secret?: unknown) {
    this.#hash = secret === undefined ? createHash("sha256") : createHmac("sha256", secret as Uint8Array)
  }
  update(bytes: unknown) {
    this.#hash.update(bytes as Uint8Array)
  }
  async digest() {
    return new Uint8Array(this.#hash.digest())
  }
}

/** The signer of the AWS SDK for JavaScript, as its clients set it up. */
export function signerOf(region: string, service: string, credentials: SigningCredentials): SignatureV4 {
  return new SignatureV4({ region, service, credentials, sha256: Sha256, uriEscapePath: service !== "s3" })
}
