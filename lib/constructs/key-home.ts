import type { ISecurityGroup, IVpc, SubnetSelection } from "aws-cdk-lib/aws-ec2"
import type { Architecture } from "aws-cdk-lib/aws-lambda"
import type { ISecret } from "aws-cdk-lib/aws-secretsmanager"
import { LAYER_ROOT } from "./pkcs11-layer.ts"

/** Where the private keys of root, issuers and held profiles live; keys of TUF stay in AWS KMS. Made by `awsKms` or `cloudHsm`. */
export type KeyHome = { readonly kind: "awsKms" } | Pkcs11KeyHome

export interface Pkcs11KeyHome extends CloudHsmProps {
  readonly kind: "pkcs11"
  readonly vendorFolder: string
  /** path of the library in the vendor's folder */
  readonly library: string
  /** the same, absolute, as functions see it */
  readonly module: string
  readonly tokenLabel: string
}

export interface CloudHsmProps {
  /** the cluster's */
  readonly vpc: IVpc
  /** that reach the cluster. Default: the VPC's private subnets */
  readonly subnets?: SubnetSelection
  /** the cluster's own, which lets its members reach the HSMs */
  readonly clusterSecurityGroup: ISecurityGroup
  /**
   * Folder with the CloudHSM client SDK 5 for the function's architecture, configured for the cluster: `lib/libcloudhsm_pkcs11.so`, `etc/`, `bin/`, as the
   * installed package has them in `/opt/cloudhsm`. AWS alone hands it out.
   */
  readonly client: string
  /** `user:password` of a crypto user */
  readonly pin: ISecret
  /** default: `hsm1`, CloudHSM's own */
  readonly tokenLabel?: string
  /** default: arm64 */
  readonly architecture?: Architecture
  /** `node_modules` with graphene-pk11, built for the architecture. Default: built when synthesised */
  readonly nodeModules?: string
  /**
   * Endpoints in the VPC for what the functions call: DynamoDB, S3, KMS, Secrets Manager, Lambda. Default: true; false where the VPC has
   * them, or a NAT gateway.
   */
  readonly endpoints?: boolean
}

export function awsKms(): KeyHome {
  return { kind: "awsKms" }
}

/** Keys in an AWS CloudHSM cluster. The functions that use them join its VPC. */
export function cloudHsm(props: CloudHsmProps): KeyHome {
  const vendorFolder = "cloudhsm"
  const library = "lib/libcloudhsm_pkcs11.so"
  const module = `${LAYER_ROOT}/${vendorFolder}/${library}`
  return { ...props, kind: "pkcs11", vendorFolder, library, module, tokenLabel: props.tokenLabel ?? "hsm1" }
}
