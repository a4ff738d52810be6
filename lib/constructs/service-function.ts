import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { AssetHashType, DockerImage, type Duration, RemovalPolicy } from "aws-cdk-lib"
import type { IVpc } from "aws-cdk-lib/aws-ec2"
import { Effect, type IRole, PolicyStatement, Role, ServicePrincipal } from "aws-cdk-lib/aws-iam"
import {
  Architecture,
  type AssetCode,
  Code,
  Function as LambdaFunction,
  type LayerVersion,
  Runtime,
  Tracing,
} from "aws-cdk-lib/aws-lambda"
import { LogGroup, RetentionDays } from "aws-cdk-lib/aws-logs"
import { Construct } from "constructs"
import { buildSync } from "esbuild"
import { BUNDLING } from "../../scripts/bundling.ts"
import type { HsmNetwork } from "./hsm-network.ts"
import { acknowledgeWildcards } from "./wildcards.ts"

/** As AWSLambdaVPCAccessExecutionRole has them. */
const NETWORK_INTERFACES = [
  "ec2:CreateNetworkInterface",
  "ec2:DescribeNetworkInterfaces",
  "ec2:DescribeSubnets",
  "ec2:DeleteNetworkInterface",
  "ec2:AssignPrivateIpAddresses",
  "ec2:UnassignPrivateIpAddresses",
]

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

export interface ServiceFunctionProps {
  /** folder below `functions/` */
  readonly name: string
  readonly description: string
  readonly timeout: Duration
  /** default: 512; CPU grows with it */
  readonly memoryMiB?: number
  /** default: none reserved */
  readonly reservedConcurrency?: number | undefined
  /** default: the runtime's own: two retries of an event, within six hours */
  readonly events?: { readonly retryAttempts: number; readonly maxEventAge: Duration }
  /** what a function with keys in HSMs needs. Default: none */
  readonly hsm?: HsmAttachment | undefined
}

export interface HsmAttachment {
  readonly vpc: IVpc
  readonly network: HsmNetwork
  readonly layer: LayerVersion
  readonly architecture: Architecture
}

/**
 * One Lambda function with a role of its own, which may write its log and nothing else until it is granted more.
 * The bundle is the one that runs on one machine: same sources, same options, same bytes.
 */
export class ServiceFunction extends Construct {
  readonly function: LambdaFunction
  readonly role: IRole
  readonly logGroup: LogGroup

  constructor(scope: Construct, id: string, props: ServiceFunctionProps) {
    super(scope, id)
    this.logGroup = new LogGroup(this, "Log", {
      retention: RetentionDays.ONE_YEAR,
      removalPolicy: RemovalPolicy.RETAIN,
    })
    this.role = new Role(this, "Role", {
      assumedBy: new ServicePrincipal("lambda.amazonaws.com"),
      description: `Sealwright: what the function ${props.name} may do`,
    })
    this.logGroup.grantWrite(this.role)
    this.function = new LambdaFunction(this, "Function", {
      description: props.description,
      code: bundle(props.name),
      handler: "index.handler",
      runtime: Runtime.NODEJS_24_X,
      architecture: props.hsm?.architecture ?? Architecture.ARM_64,
      memorySize: props.memoryMiB ?? 512,
      timeout: props.timeout,
      tracing: Tracing.DISABLED,
      role: this.role,
      logGroup: this.logGroup,
      ...(props.reservedConcurrency !== undefined && { reservedConcurrentExecutions: props.reservedConcurrency }),
      ...props.events,
      ...(props.hsm && {
        vpc: props.hsm.vpc,
        vpcSubnets: props.hsm.network.subnets,
        securityGroups: [...props.hsm.network.securityGroups],
        layers: [props.hsm.layer],
      }),
    })
    if (props.hsm)
      this.allow(NETWORK_INTERFACES, ["*"], {
        because: "Lambda puts the function into the VPC in its role's name; these actions take no narrower resource.",
      })
  }

  /**
   * @param limits `conditions` as IAM writes them, all must hold; `because` says why a resource may hold a wildcard
   */
  allow(
    actions: readonly string[],
    resources: readonly string[],
    limits: {
      readonly conditions?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
      readonly because?: string
    } = {},
  ): void {
    const { conditions, because } = limits
    this.role.addToPrincipalPolicy(
      new PolicyStatement({
        effect: Effect.ALLOW,
        actions: [...actions],
        resources: [...resources],
        ...(conditions && { conditions }),
      }),
    )
    if (because !== undefined) acknowledgeWildcards(this.role, resources, because)
  }

  /** @param conditions as IAM writes them, all must hold */
  refuse(
    actions: readonly string[],
    resources: readonly string[],
    conditions: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  ): void {
    this.role.addToPrincipalPolicy(
      new PolicyStatement({ effect: Effect.DENY, actions: [...actions], resources: [...resources], conditions }),
    )
  }
}

function bundle(name: string): AssetCode {
  const folder = join(root, "functions", name)
  return Code.fromAsset(folder, {
    assetHashType: AssetHashType.OUTPUT,
    bundling: {
      image: DockerImage.fromRegistry("none"),
      local: {
        tryBundle(outputFolder) {
          buildSync({
            ...BUNDLING,
            mainFields: [...BUNDLING.mainFields],
            external: [...BUNDLING.external],
            absWorkingDir: root,
            entryPoints: [join(folder, "index.ts")],
            outfile: join(outputFolder, "index.js"),
            logLevel: "silent",
          })
          return true
        },
      },
    },
  })
}
