import { hexDecode } from "./bytes.ts"

export type HashName = "sha256" | "sha384" | "sha512"

export const HASH_LENGTH = { sha256: 32, sha384: 48, sha512: 64 } as const satisfies Record<HashName, number>

/** What is known of one signature scheme, under each standard's own name. */
export interface SchemeRow {
  /** undefined: the scheme hashes inside (Ed25519), so a signer gets the message itself */
  readonly hash: HashName | undefined
  readonly keyType: "ec" | "rsa" | "ed25519"
  /** length of r and of s, in bytes (ECDSA alone) */
  readonly fieldBytes: number | undefined
  /** X.509 AlgorithmIdentifier, DER (RFC 5758 §3.2, RFC 4055 §3.1, RFC 8410 §3) */
  readonly x509: Uint8Array
  /** JOSE `alg` (RFC 7518 §3.1, RFC 8037 §3.1) */
  readonly jose: string
  /** AWS KMS `SigningAlgorithm` */
  readonly kms: string
  /** TUF 1.0 `keytype` and `scheme`, for the schemes that every TUF client takes */
  readonly tuf: { readonly keytype: string; readonly scheme: string } | undefined
}

const pss = (hashOid: string, mgfHashOid: string, saltLength: string) =>
  hexDecode(
    `304106092a864886f70d01010a3034a00f300d0609608648016503040${hashOid}0500a11c301a06092a864886f70d010108300d0609608648016503040${mgfHashOid}0500a2030201${saltLength}`,
  )

/** RSASSA-PSS here always means MGF1 with the same hash and a salt as long as the hash. */
export const SCHEMES = {
  "ecdsa-p256-sha256": {
    hash: "sha256",
    keyType: "ec",
    fieldBytes: 32,
    x509: hexDecode("300a06082a8648ce3d040302"),
    jose: "ES256",
    kms: "ECDSA_SHA_256",
    tuf: { keytype: "ecdsa", scheme: "ecdsa-sha2-nistp256" },
  },
  "ecdsa-p384-sha384": {
    hash: "sha384",
    keyType: "ec",
    fieldBytes: 48,
    x509: hexDecode("300a06082a8648ce3d040303"),
    jose: "ES384",
    kms: "ECDSA_SHA_384",
    tuf: { keytype: "ecdsa", scheme: "ecdsa-sha2-nistp384" },
  },
  "ecdsa-p521-sha512": {
    hash: "sha512",
    keyType: "ec",
    fieldBytes: 66,
    x509: hexDecode("300a06082a8648ce3d040304"),
    jose: "ES512",
    kms: "ECDSA_SHA_512",
    tuf: undefined,
  },
  "rsa-pss-sha256": {
    hash: "sha256",
    keyType: "rsa",
    fieldBytes: undefined,
    x509: pss("201", "201", "20"),
    jose: "PS256",
    kms: "RSASSA_PSS_SHA_256",
    tuf: { keytype: "rsa", scheme: "rsassa-pss-sha256" },
  },
  "rsa-pss-sha384": {
    hash: "sha384",
    keyType: "rsa",
    fieldBytes: undefined,
    x509: pss("202", "202", "30"),
    jose: "PS384",
    kms: "RSASSA_PSS_SHA_384",
    tuf: undefined,
  },
  "rsa-pss-sha512": {
    hash: "sha512",
    keyType: "rsa",
    fieldBytes: undefined,
    x509: pss("203", "203", "40"),
    jose: "PS512",
    kms: "RSASSA_PSS_SHA_512",
    tuf: undefined,
  },
  ed25519: {
    hash: undefined,
    keyType: "ed25519",
    fieldBytes: undefined,
    x509: hexDecode("300506032b6570"),
    jose: "EdDSA",
    kms: "ED25519_SHA_512",
    tuf: { keytype: "ed25519", scheme: "ed25519" },
  },
} as const satisfies Record<string, SchemeRow>

export type SignatureScheme = keyof typeof SCHEMES

export function schemeRow(scheme: SignatureScheme): SchemeRow {
  return SCHEMES[scheme]
}
