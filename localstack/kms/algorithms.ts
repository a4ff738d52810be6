import type { HashName } from "@sealwright/formats/algorithms"

/** A signing algorithm under AWS's name. `hash` undefined: the algorithm hashes inside and takes the message only. */
export interface AlgorithmRow {
  readonly form: "ecdsa" | "pss" | "pkcs1" | "ed25519" | "ml-dsa"
  readonly hash: HashName | undefined
}

export const ALGORITHMS = {
  RSASSA_PSS_SHA_256: { form: "pss", hash: "sha256" },
  RSASSA_PSS_SHA_384: { form: "pss", hash: "sha384" },
  RSASSA_PSS_SHA_512: { form: "pss", hash: "sha512" },
  RSASSA_PKCS1_V1_5_SHA_256: { form: "pkcs1", hash: "sha256" },
  RSASSA_PKCS1_V1_5_SHA_384: { form: "pkcs1", hash: "sha384" },
  RSASSA_PKCS1_V1_5_SHA_512: { form: "pkcs1", hash: "sha512" },
  ECDSA_SHA_256: { form: "ecdsa", hash: "sha256" },
  ECDSA_SHA_384: { form: "ecdsa", hash: "sha384" },
  ECDSA_SHA_512: { form: "ecdsa", hash: "sha512" },
  ED25519_SHA_512: { form: "ed25519", hash: undefined },
  ML_DSA_SHAKE_256: { form: "ml-dsa", hash: undefined },
} as const satisfies Record<string, AlgorithmRow>

export type AlgorithmName = keyof typeof ALGORITHMS

const RSA: readonly AlgorithmName[] = [
  "RSASSA_PKCS1_V1_5_SHA_256",
  "RSASSA_PKCS1_V1_5_SHA_384",
  "RSASSA_PKCS1_V1_5_SHA_512",
  "RSASSA_PSS_SHA_256",
  "RSASSA_PSS_SHA_384",
  "RSASSA_PSS_SHA_512",
]

export interface KeySpecRow {
  readonly algorithms: readonly AlgorithmName[]
  readonly rsaBits?: number
  /** OpenSSL's name of the curve, for node:crypto */
  readonly curve?: string
  readonly mlDsa?: "ml-dsa-44" | "ml-dsa-65" | "ml-dsa-87"
  /** encrypts and decrypts; has no public key and signs nothing */
  readonly symmetric?: true
}

export const KEY_SPECS = {
  ECC_NIST_P256: { algorithms: ["ECDSA_SHA_256"], curve: "prime256v1" },
  ECC_NIST_P384: { algorithms: ["ECDSA_SHA_384"], curve: "secp384r1" },
  ECC_NIST_P521: { algorithms: ["ECDSA_SHA_512"], curve: "secp521r1" },
  ECC_NIST_EDWARDS25519: { algorithms: ["ED25519_SHA_512"] },
  ML_DSA_44: { algorithms: ["ML_DSA_SHAKE_256"], mlDsa: "ml-dsa-44" },
  ML_DSA_65: { algorithms: ["ML_DSA_SHAKE_256"], mlDsa: "ml-dsa-65" },
  ML_DSA_87: { algorithms: ["ML_DSA_SHAKE_256"], mlDsa: "ml-dsa-87" },
  SYMMETRIC_DEFAULT: { algorithms: [], symmetric: true },
  RSA_2048: { algorithms: RSA, rsaBits: 2048 },
  RSA_3072: { algorithms: RSA, rsaBits: 3072 },
  RSA_4096: { algorithms: RSA, rsaBits: 4096 },
} as const satisfies Record<string, KeySpecRow>

export type KeySpec = keyof typeof KEY_SPECS

export function keySpecRow(spec: KeySpec): KeySpecRow {
  return KEY_SPECS[spec]
}

export function algorithmRow(name: AlgorithmName): AlgorithmRow {
  return ALGORITHMS[name]
}
