import { hexDecode } from "./bytes.ts"

export type HashName = "sha256" | "sha384" | "sha512"

export const HASH_LENGTH = { sha256: 32, sha384: 48, sha512: 64 } as const satisfies Record<HashName, number>

/** What is known of one signature scheme, under each standard's own name. */
export interface SchemeRow {
  /** undefined: the scheme hashes inside (Ed25519, ML-DSA), so a signer gets the message itself */
  readonly hash: HashName | undefined
  readonly keyType: "ec" | "rsa" | "ed25519" | "ml-dsa-44" | "ml-dsa-65"
  /** RSA alone; PKCS #1 v1.5 is for certificates of other authorities and formats that know nothing else */
  readonly padding: "pss" | "pkcs1" | undefined
  /** length of r and of s, in bytes (ECDSA alone) */
  readonly fieldBytes: number | undefined
  /** X.509 AlgorithmIdentifier, DER (RFC 5758 §3.2, RFC 4055 §3.1 and §5, RFC 8410 §3, RFC 9881 §2) */
  readonly x509: Uint8Array
  /** JOSE `alg` (RFC 7518 §3.1, RFC 8037 §3.1, IANA JOSE registry) */
  readonly jose: string
  /** COSE algorithm (IANA COSE registry) */
  readonly cose: number
  /** AWS KMS `SigningAlgorithm` */
  readonly kms: string
  /** PKCS #11 mechanism (CKM_*): takes a digest, for PKCS #1 v1.5 within its DigestInfo; Ed25519 and ML-DSA take the message */
  readonly pkcs11: number
  /** TUF 1.0 `keytype` and `scheme`, for the schemes that every TUF client takes */
  readonly tuf: { readonly keytype: string; readonly scheme: string } | undefined
}

/** PKCS #11 v3.2 §6: CKM_RSA_PKCS, CKM_RSA_PKCS_PSS, CKM_ECDSA, CKM_EDDSA, CKM_ML_DSA */
const PKCS11 = { RSA_PKCS: 0x1, RSA_PKCS_PSS: 0xd, ECDSA: 0x1041, EDDSA: 0x1057, ML_DSA: 0x1d } as const

const pss = (hashOid: string, mgfHashOid: string, saltLength: string) =>
  hexDecode(
    `304106092a864886f70d01010a3034a00f300d0609608648016503040${hashOid}0500a11c301a06092a864886f70d010108300d0609608648016503040${mgfHashOid}0500a2030201${saltLength}`,
  )

/** RSASSA-PSS here always means MGF1 with the same hash and a salt as long as the hash. */
export const SCHEMES = {
  "ecdsa-p256-sha256": {
    hash: "sha256",
    keyType: "ec",
    padding: undefined,
    fieldBytes: 32,
    x509: hexDecode("300a06082a8648ce3d040302"),
    jose: "ES256",
    cose: -7,
    kms: "ECDSA_SHA_256",
    pkcs11: PKCS11.ECDSA,
    tuf: { keytype: "ecdsa", scheme: "ecdsa-sha2-nistp256" },
  },
  "ecdsa-p384-sha384": {
    hash: "sha384",
    keyType: "ec",
    padding: undefined,
    fieldBytes: 48,
    x509: hexDecode("300a06082a8648ce3d040303"),
    jose: "ES384",
    cose: -35,
    kms: "ECDSA_SHA_384",
    pkcs11: PKCS11.ECDSA,
    tuf: { keytype: "ecdsa", scheme: "ecdsa-sha2-nistp384" },
  },
  "ecdsa-p521-sha512": {
    hash: "sha512",
    keyType: "ec",
    padding: undefined,
    fieldBytes: 66,
    x509: hexDecode("300a06082a8648ce3d040304"),
    jose: "ES512",
    cose: -36,
    kms: "ECDSA_SHA_512",
    pkcs11: PKCS11.ECDSA,
    tuf: undefined,
  },
  "rsa-pss-sha256": {
    hash: "sha256",
    keyType: "rsa",
    padding: "pss",
    fieldBytes: undefined,
    x509: pss("201", "201", "20"),
    jose: "PS256",
    cose: -37,
    kms: "RSASSA_PSS_SHA_256",
    pkcs11: PKCS11.RSA_PKCS_PSS,
    tuf: { keytype: "rsa", scheme: "rsassa-pss-sha256" },
  },
  "rsa-pss-sha384": {
    hash: "sha384",
    keyType: "rsa",
    padding: "pss",
    fieldBytes: undefined,
    x509: pss("202", "202", "30"),
    jose: "PS384",
    cose: -38,
    kms: "RSASSA_PSS_SHA_384",
    pkcs11: PKCS11.RSA_PKCS_PSS,
    tuf: undefined,
  },
  "rsa-pss-sha512": {
    hash: "sha512",
    keyType: "rsa",
    padding: "pss",
    fieldBytes: undefined,
    x509: pss("203", "203", "40"),
    jose: "PS512",
    cose: -39,
    kms: "RSASSA_PSS_SHA_512",
    pkcs11: PKCS11.RSA_PKCS_PSS,
    tuf: undefined,
  },
  "rsa-pkcs1-sha256": {
    hash: "sha256",
    keyType: "rsa",
    padding: "pkcs1",
    fieldBytes: undefined,
    x509: hexDecode("300d06092a864886f70d01010b0500"),
    jose: "RS256",
    cose: -257,
    kms: "RSASSA_PKCS1_V1_5_SHA_256",
    pkcs11: PKCS11.RSA_PKCS,
    tuf: undefined,
  },
  "rsa-pkcs1-sha384": {
    hash: "sha384",
    keyType: "rsa",
    padding: "pkcs1",
    fieldBytes: undefined,
    x509: hexDecode("300d06092a864886f70d01010c0500"),
    jose: "RS384",
    cose: -258,
    kms: "RSASSA_PKCS1_V1_5_SHA_384",
    pkcs11: PKCS11.RSA_PKCS,
    tuf: undefined,
  },
  "rsa-pkcs1-sha512": {
    hash: "sha512",
    keyType: "rsa",
    padding: "pkcs1",
    fieldBytes: undefined,
    x509: hexDecode("300d06092a864886f70d01010d0500"),
    jose: "RS512",
    cose: -259,
    kms: "RSASSA_PKCS1_V1_5_SHA_512",
    pkcs11: PKCS11.RSA_PKCS,
    tuf: undefined,
  },
  ed25519: {
    hash: undefined,
    keyType: "ed25519",
    padding: undefined,
    fieldBytes: undefined,
    x509: hexDecode("300506032b6570"),
    jose: "EdDSA",
    cose: -8,
    kms: "ED25519_SHA_512",
    pkcs11: PKCS11.EDDSA,
    tuf: { keytype: "ed25519", scheme: "ed25519" },
  },
  "ml-dsa-44": {
    hash: undefined,
    keyType: "ml-dsa-44",
    padding: undefined,
    fieldBytes: undefined,
    x509: hexDecode("300b0609608648016503040311"),
    jose: "ML-DSA-44",
    cose: -48,
    kms: "ML_DSA_SHAKE_256",
    pkcs11: PKCS11.ML_DSA,
    tuf: undefined,
  },
  "ml-dsa-65": {
    hash: undefined,
    keyType: "ml-dsa-65",
    padding: undefined,
    fieldBytes: undefined,
    x509: hexDecode("300b0609608648016503040312"),
    jose: "ML-DSA-65",
    cose: -49,
    kms: "ML_DSA_SHAKE_256",
    pkcs11: PKCS11.ML_DSA,
    tuf: undefined,
  },
} as const satisfies Record<string, SchemeRow>

export type SignatureScheme = keyof typeof SCHEMES

export function schemeRow(scheme: SignatureScheme): SchemeRow {
  return SCHEMES[scheme]
}
