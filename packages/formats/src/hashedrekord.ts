/** Log entries of kind hashedrekord 0.0.2, byte for byte as Rekor v2 writes them, so that Sigstore's clients rebuild them. */

import type { HashName } from "./algorithms.ts"
import { type SignatureScheme, schemeRow } from "./algorithms.ts"
import { base64Encode, utf8 } from "./bytes.ts"
import { FormatError } from "./errors.ts"
import { parsePublicKey } from "./x509.ts"

/** RSA-PSS beyond SHA-256 has no name in Sigstore's list, and none of its clients verifies it: the name is built alike. */
const HASH_LABEL = { sha256: "SHA2_256", sha384: "SHA2_384", sha512: "SHA2_512" } as const satisfies Record<
  HashName,
  string
>

export interface HashedRekord {
  /** of the key that signed */
  readonly scheme: SignatureScheme
  /** of the signed bytes, under `entryHash(scheme)` */
  readonly digest: Uint8Array
  /** ECDSA: DER Ecdsa-Sig-Value */
  readonly signature: Uint8Array
  /** SubjectPublicKeyInfo of the signer, DER */
  readonly spki: Uint8Array
  /** the signer's certificate, DER; undefined for a bare key */
  readonly certificate?: Uint8Array | undefined
}

/** The hash that an entry names its signed bytes by: the scheme's own; of schemes that hash inside SHA-512. */
export function entryHash(scheme: SignatureScheme): HashName {
  return schemeRow(scheme).hash ?? "sha512"
}

/**
 * @returns canonical JSON (RFC 8785) of the entry
 * @throws FormatError ALGORITHM_UNSUPPORTED for a key that is not of the scheme
 */
export function hashedRekordEntry({ scheme, digest, signature, spki, certificate }: HashedRekord): Uint8Array {
  const verifier = {
    keyDetails: keyDetails(scheme, spki),
    ...(certificate === undefined
      ? { publicKey: { rawBytes: base64Encode(spki) } }
      : { x509Certificate: { rawBytes: base64Encode(certificate) } }),
  }
  // Members in the order of RFC 8785; every value is ASCII that JSON does not escape.
  return utf8(
    JSON.stringify({
      apiVersion: "0.0.2",
      kind: "hashedrekord",
      spec: {
        hashedRekordV002: {
          data: { algorithm: HASH_LABEL[entryHash(scheme)], digest: base64Encode(digest) },
          signature: { content: base64Encode(signature), verifier },
        },
      },
    }),
  )
}

/** `PublicKeyDetails` of Sigstore's protobuf-specs. */
function keyDetails(scheme: SignatureScheme, spki: Uint8Array): string {
  const key = parsePublicKey(spki)
  const { hash, padding, keyType } = schemeRow(scheme)
  if (key.type === "rsa" && keyType === "rsa" && hash !== undefined) {
    const form = padding === "pss" ? "PSS" : "PKCS1V15"
    return `PKIX_RSA_${form}_${key.modulusBits}_${hash.toUpperCase()}`
  }
  const name = OTHER_KEYS[scheme]
  if (name === undefined || key.type !== keyType)
    throw new FormatError("ALGORITHM_UNSUPPORTED", `no log entry for a key of ${scheme}`)
  return name
}

const OTHER_KEYS: Partial<Record<SignatureScheme, string>> = {
  "ecdsa-p256-sha256": "PKIX_ECDSA_P256_SHA_256",
  "ecdsa-p384-sha384": "PKIX_ECDSA_P384_SHA_384",
  "ecdsa-p521-sha512": "PKIX_ECDSA_P521_SHA_512",
  "ml-dsa-65": "ML_DSA_65",
}
