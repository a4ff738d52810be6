import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { AssetHashType, DockerImage, type Duration, RemovalPolicy } from "aws-cdk-lib"
import { Effect, type IRole, PolicyStatement, Role, ServicePrincipal } from "aws-cdk-lib/aws-iam"
import {
  Architecture,
  type AssetCode,
  Code,
  Function as LambdaFunction,
  Runtime,
  Tracing,
} from "aws-cdk-lib/aws-lambda"
import { LogGroup, RetentionDays } from "aws-cdk-lib/aws-logs"
import { Construct } from "constructs"
import { buildSync } from "esbuild"
import { BUNDLING } from "../../scripts/bundling.ts"
import { acknowledgeWildcards } from "./wildcards.ts"

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
      architecture: Architecture.ARM_64,
      memorySize: props.memoryMiB ?? 512,
      timeout: props.timeout,
      tracing: Tracing.DISABLED,
      role: this.role,
      logGroup: this.logGroup,
      ...(props.reservedConcurrency !== undefined && { reservedConcurrentExecutions: props.reservedConcurrency }),
      ...props.events,
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
