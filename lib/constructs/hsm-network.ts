import {
  GatewayVpcEndpointAwsService,
  InterfaceVpcEndpointAwsService,
  type ISecurityGroup,
  Peer,
  Port,
  SecurityGroup,
  type SubnetSelection,
  SubnetType,
} from "aws-cdk-lib/aws-ec2"
import { Construct } from "constructs"
import type { Pkcs11KeyHome } from "./key-home.ts"

const GATEWAYS = {
  DynamoDb: GatewayVpcEndpointAwsService.DYNAMODB,
  S3: GatewayVpcEndpointAwsService.S3,
}
const INTERFACES = {
  Kms: InterfaceVpcEndpointAwsService.KMS,
  SecretsManager: InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
  Lambda: InterfaceVpcEndpointAwsService.LAMBDA,
}

/**
 * How functions reach the HSMs and the AWS services that they call. They are members of the cluster's own group, which lets its members reach the
 * HSMs, and of one that opens https; whether https leaves the VPC is for its routes to say.
 */
export class HsmNetwork extends Construct {
  readonly subnets: SubnetSelection
  readonly securityGroups: readonly ISecurityGroup[]

  constructor(scope: Construct, id: string, home: Pkcs11KeyHome) {
    super(scope, id)
    const { vpc, clusterSecurityGroup, endpoints = true } = home
    this.subnets = home.subnets ?? { subnetType: SubnetType.PRIVATE_WITH_EGRESS }
    const group = new SecurityGroup(this, "Functions", {
      vpc,
      description: "Sealwright: functions that use keys in HSMs",
      allowAllOutbound: false,
    })
    group.addEgressRule(Peer.anyIpv4(), Port.tcp(443), "to AWS services")
    this.securityGroups = [clusterSecurityGroup, group]
    if (!endpoints) return
    for (const [name, service] of Object.entries(GATEWAYS))
      vpc.addGatewayEndpoint(`Sealwright${name}`, { service, subnets: [this.subnets] })
    for (const [name, service] of Object.entries(INTERFACES))
      vpc
        .addInterfaceEndpoint(`Sealwright${name}`, { service, subnets: this.subnets, open: false })
        .connections.allowDefaultPortFrom(group)
  }
}
