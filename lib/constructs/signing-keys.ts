import { Aws, Stack } from "aws-cdk-lib"
import { Construct } from "constructs"
import type { ServiceFunction } from "./service-function.ts"

/** What a key is for: the tag that IAM decides by (D13). The service's own list, held equal by a test, since infrastructure imports no runtime code. */
export const PURPOSES = [
  "root",
  "issuer",
  "held",
  "timestamp",
  "ocsp",
  "log",
  "wrapping",
  "wrapping-timestamp",
  "tuf-root",
  "tuf-targets",
  "tuf-lists",
  "tuf-registry",
  "tuf-snapshot",
  "tuf-timestamp",
] as const
export type KeyPurpose = (typeof PURPOSES)[number]

/** What wrapped keys are made for: the wrapping key's purpose, and how the names of the keys that it wraps begin. */
const WRAPPING = {
  issuer: { purpose: "wrapping", names: "issuer/*" },
  timestamp: { purpose: "wrapping-timestamp", names: "timestamp/*" },
} as const satisfies Record<string, { readonly purpose: KeyPurpose; readonly names: string }>
export type WrappedPurpose = keyof typeof WRAPPING

const STACK_TAG = "sealwright:stack"
const PURPOSE_TAG = "sealwright:purpose"
const KEY_SPECS = ["ECC_NIST_P256", "ECC_NIST_P384", "RSA_3072", "ML_DSA_65"]
/** Checkpoints of the logs: C2SP has no others. */
const LOG_KEY_SPECS = ["ECC_NIST_EDWARDS25519", "ML_DSA_44"]
const ECDSA = ["ECDSA_SHA_256", "ECDSA_SHA_384"]
/** Timestamps alone take PKCS #1 v1.5: OpenSSL's timestamp code knows no RSASSA-PSS. */
const RSA = { timestamps: "RSASSA_PKCS1_V1_5_SHA_384", others: "RSASSA_PSS_SHA_384" }
const signing = (...rsa: readonly string[]) => ({
  "kms:MessageType": "DIGEST",
  "kms:SigningAlgorithm": [...ECDSA, ...rsa],
})

const SIGNING_PURPOSES = PURPOSES.filter((purpose) => !purpose.startsWith("wrapping"))
const CONTEXT = { stack: "kms:EncryptionContext:sealwright:stack", key: "kms:EncryptionContext:sealwright:key" }

/** ML-DSA hashes inside, so it takes the message; a list too long for that as µ (EXTERNAL_MU), which one function alone makes. */
const ML_DSA = "ML_DSA_SHAKE_256"
const ML_DSA_INPUT = { message: "RAW", mu: "EXTERNAL_MU" } as const
export type MlDsaInput = keyof typeof ML_DSA_INPUT

/** Both hash inside; what they sign is short. */
const LOG_SIGNING = { "kms:MessageType": "RAW", "kms:SigningAlgorithm": ["ED25519_SHA_512", ML_DSA] }

const BY_TAG = "Keys are made at run time and have no names here; conditions pin their tags."

/**
 * Rights to keys that are made at run time, in this account and Region, tagged with stack and purpose.
 * Two locks must open together. The key policy says which roles of this deployment may sign at all; it delegates to IAM and
 * grants nothing by itself, because a key policy cannot see tags, and a role that it named would sign with keys of any purpose.
 * The role's own policy then opens the purposes.
 */
export class SigningKeys extends Construct {
  readonly #stackTag: string
  readonly #keys: string
  readonly #aliases: string

  /** @param name value of the keys' stack tag and first part of their aliases */
  constructor(scope: Construct, id: string, name: string) {
    super(scope, id)
    this.#stackTag = name
    const arn = (resource: string, resourceName: string) =>
      Stack.of(this).formatArn({ service: "kms", resource, resourceName })
    this.#keys = arn("key", "*")
    this.#aliases = arn("alias", `${name}/*`)
  }

  grantSign(
    grantee: ServiceFunction,
    ...purposes: readonly Exclude<KeyPurpose, "timestamp" | "ocsp" | "log" | "wrapping" | "wrapping-timestamp">[]
  ): void {
    this.#allowSign(grantee, purposes, RSA.others)
  }

  /** To sign under ML-DSA-65 with issuers and roots (R19): what is signed goes in as these inputs. */
  grantMlDsa(
    grantee: ServiceFunction,
    purposes: readonly ("root" | "issuer")[],
    ...inputs: readonly MlDsaInput[]
  ): void {
    grantee.allow(["kms:Sign"], [this.#keys], {
      conditions: {
        StringEquals: {
          ...this.#ownTag(),
          [`aws:ResourceTag/${PURPOSE_TAG}`]: purposes,
          "kms:MessageType": inputs.map((input) => ML_DSA_INPUT[input]),
          "kms:SigningAlgorithm": ML_DSA,
        },
      },
      because: BY_TAG,
    })
  }

  grantTimestamps(grantee: ServiceFunction): void {
    this.#allowSign(grantee, ["timestamp"], RSA.timestamps)
  }

  /** To sign checkpoints of the logs. */
  grantLog(grantee: ServiceFunction): void {
    grantee.allow(["kms:Sign"], [this.#keys], {
      conditions: { StringEquals: { ...this.#ownTag(), [`aws:ResourceTag/${PURPOSE_TAG}`]: "log", ...LOG_SIGNING } },
      because: BY_TAG,
    })
  }

  /** ECDSA alone. */
  grantOcsp(grantee: ServiceFunction): void {
    this.#allowSign(grantee, ["ocsp"])
  }

  #allowSign(grantee: ServiceFunction, purposes: readonly KeyPurpose[], ...rsa: readonly string[]): void {
    grantee.allow(["kms:Sign"], [this.#keys], {
      conditions: {
        StringEquals: { ...this.#ownTag(), [`aws:ResourceTag/${PURPOSE_TAG}`]: purposes, ...signing(...rsa) },
      },
      because: BY_TAG,
    })
  }

  /**
   * To create keys with both tags, name them, and read what is public of them. Neither re-tagging nor moving an alias is in it.
   * @param but purposes that this deployment has no use for
   * @param wrapped what it makes wrapped keys for
   */
  grantCreate(grantee: ServiceFunction, but: readonly KeyPurpose[], wrapped: readonly WrappedPurpose[]): void {
    const signing = SIGNING_PURPOSES.filter((purpose) => !but.includes(purpose))
    const wrapping = wrapped.map((kind) => WRAPPING[kind].purpose)
    const tagged = (purposes: readonly KeyPurpose[]) => ({
      StringEquals: { [`aws:RequestTag/${STACK_TAG}`]: this.#stackTag, [`aws:RequestTag/${PURPOSE_TAG}`]: purposes },
      "ForAllValues:StringEquals": { "aws:TagKeys": [STACK_TAG, PURPOSE_TAG] },
    })
    const tags = tagged(signing)
    if (wrapping.length > 0) this.#allowCreateWrapping(grantee, tagged(wrapping))
    grantee.allow(["kms:CreateKey"], ["*"], {
      conditions: {
        ...tags,
        StringEquals: {
          ...tags.StringEquals,
          "kms:KeySpec": [...KEY_SPECS, ...LOG_KEY_SPECS],
          "kms:KeyUsage": "SIGN_VERIFY",
        },
        BoolIfExists: { "kms:BypassPolicyLockoutSafetyCheck": "false" },
      },
      because: "A key that is being made has no name yet; both tags, its kind and its use are pinned by conditions.",
    })
    grantee.allow(["kms:TagResource"], ["*"], {
      conditions: tagged([...signing, ...wrapping]),
      because:
        "KMS wants this right without a key's name for tags given at creation; the policy of every key made here refuses it later.",
    })
    grantee.allow(["kms:CreateAlias"], [this.#aliases], { because: "Aliases below this deployment's own prefix." })
    grantee.allow(["kms:CreateAlias", "kms:DescribeKey", "kms:GetPublicKey"], [this.#keys], {
      conditions: { StringEquals: this.#ownTag() },
      because: BY_TAG,
    })
  }

  #allowCreateWrapping(grantee: ServiceFunction, tags: { readonly StringEquals: object }): void {
    grantee.allow(["kms:CreateKey"], ["*"], {
      conditions: {
        ...tags,
        StringEquals: { ...tags.StringEquals, "kms:KeySpec": "SYMMETRIC_DEFAULT", "kms:KeyUsage": "ENCRYPT_DECRYPT" },
        BoolIfExists: { "kms:BypassPolicyLockoutSafetyCheck": "false" },
      },
      because: "A key that is being made has no name yet; both tags, its kind and its use are pinned by conditions.",
    })
  }

  /** To make key pairs whose private half nobody sees; the maker can't unwrap them. */
  grantWrap(grantee: ServiceFunction, kind: WrappedPurpose): void {
    this.#allowWrapping(grantee, "kms:GenerateDataKeyPairWithoutPlaintext", kind, { "kms:DataKeyPairSpec": KEY_SPECS })
  }

  /** To unwrap such keys, and so to copy them: docs/key-modes.md. */
  grantUnwrap(grantee: ServiceFunction, kind: WrappedPurpose): void {
    this.#allowWrapping(grantee, "kms:Decrypt", kind, {})
  }

  #allowWrapping(grantee: ServiceFunction, action: string, kind: WrappedPurpose, more: object): void {
    const { purpose, names } = WRAPPING[kind]
    grantee.allow([action], [this.#keys], {
      conditions: {
        StringEquals: {
          ...this.#ownTag(),
          [`aws:ResourceTag/${PURPOSE_TAG}`]: purpose,
          [CONTEXT.stack]: this.#stackTag,
          ...more,
        },
        StringLike: { [CONTEXT.key]: names },
      },
      because: BY_TAG,
    })
  }

  /**
   * Policy of every key made at run time, JSON. Administration stays with the account, whose people may sign with no key unless they
   * change its policy, which CloudTrail shows. No function of the service may re-tag a key. `PutKeyPolicy` carries no condition: KMS refuses a policy
   * that nobody could change later, and no function has that right in IAM.
   * @param unwrappers who may unwrap what, where the deployment wraps keys
   */
  policyJson(
    signers: readonly ServiceFunction[],
    maker: ServiceFunction,
    mlDsaSigners: readonly ServiceFunction[],
    logSigners: readonly ServiceFunction[],
    unwrappers: Readonly<Partial<Record<WrappedPurpose, readonly ServiceFunction[]>>> = {},
  ): string {
    const arns = (functions: readonly ServiceFunction[]) => functions.map(({ role }) => role.roleArn)
    const runtime = arns([...new Set([...signers, ...logSigners, maker])])
    const wrapped = Object.entries(unwrappers) as [WrappedPurpose, readonly ServiceFunction[]][]
    const account = { AWS: `arn:${Aws.PARTITION}:iam::${Aws.ACCOUNT_ID}:root` }
    return Stack.of(this).toJsonString({
      Version: "2012-10-17",
      Statement: [
        {
          Sid: "Administration",
          Effect: "Allow",
          Principal: account,
          Action: [
            "kms:CancelKeyDeletion",
            "kms:Describe*",
            "kms:Disable*",
            "kms:Enable*",
            "kms:Get*",
            "kms:List*",
            "kms:PutKeyPolicy",
            "kms:RevokeGrant",
            "kms:ScheduleKeyDeletion",
            "kms:UpdateKeyDescription",
            "kms:Verify",
          ],
          Resource: "*",
        },
        {
          Sid: "Naming",
          Effect: "Allow",
          Principal: account,
          Action: ["kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateAlias", "kms:TagResource", "kms:UntagResource"],
          Resource: "*",
          Condition: { ArnNotEquals: { "aws:PrincipalArn": runtime } },
        },
        {
          Sid: "Signing",
          Effect: "Allow",
          Principal: account,
          Action: "kms:Sign",
          Resource: "*",
          Condition: {
            ArnEquals: { "aws:PrincipalArn": arns(signers) },
            StringEquals: signing(RSA.others, RSA.timestamps),
          },
        },
        {
          Sid: "SigningMlDsa",
          Effect: "Allow",
          Principal: account,
          Action: "kms:Sign",
          Resource: "*",
          Condition: {
            ArnEquals: { "aws:PrincipalArn": arns(mlDsaSigners) },
            StringEquals: { "kms:MessageType": Object.values(ML_DSA_INPUT), "kms:SigningAlgorithm": ML_DSA },
          },
        },
        {
          Sid: "SigningLog",
          Effect: "Allow",
          Principal: account,
          Action: "kms:Sign",
          Resource: "*",
          Condition: { ArnEquals: { "aws:PrincipalArn": arns(logSigners) }, StringEquals: LOG_SIGNING },
        },
        {
          Sid: "Making",
          Effect: "Allow",
          Principal: account,
          Action: ["kms:CreateAlias", ...(wrapped.length > 0 ? ["kms:GenerateDataKeyPairWithoutPlaintext"] : [])],
          Resource: "*",
          Condition: { ArnEquals: { "aws:PrincipalArn": arns([maker]) } },
        },
        ...wrapped.map(([kind, functions]) => ({
          Sid: `Unwrapping${kind}`,
          Effect: "Allow",
          Principal: account,
          Action: "kms:Decrypt",
          Resource: "*",
          Condition: {
            ArnEquals: { "aws:PrincipalArn": arns(functions) },
            StringLike: { [CONTEXT.key]: WRAPPING[kind].names },
          },
        })),
      ],
    })
  }

  #ownTag(): Record<string, string> {
    return { [`aws:ResourceTag/${STACK_TAG}`]: this.#stackTag }
  }
}
