import { RemovalPolicy, Stack } from "aws-cdk-lib"
import { AccessLogFormat } from "aws-cdk-lib/aws-apigateway"
import { HttpApi, HttpMethod, HttpStage, LogGroupLogDestination } from "aws-cdk-lib/aws-apigatewayv2"
import { HttpIamAuthorizer } from "aws-cdk-lib/aws-apigatewayv2-authorizers"
import { HttpLambdaIntegration } from "aws-cdk-lib/aws-apigatewayv2-integrations"
import { LogGroup, RetentionDays } from "aws-cdk-lib/aws-logs"
import { Construct } from "constructs"
import { type FunctionName, ROUTES } from "../../functions/routes.ts"
import type { ServiceFunction } from "./service-function.ts"

export interface Throttle {
  /** requests per second */
  readonly rate: number
  readonly burst: number
}

export interface ServiceApiProps {
  readonly functions: Readonly<Record<FunctionName, ServiceFunction>>
  readonly throttle: Throttle
}

/** The API front. IAM decides on every route; the log holds who called what and how it ended, never a body. */
export class ServiceApi extends Construct {
  readonly api: HttpApi
  readonly url: string

  constructor(scope: Construct, id: string, props: ServiceApiProps) {
    super(scope, id)
    this.api = new HttpApi(this, "Api", {
      description: "Sealwright",
      createDefaultStage: false,
      defaultAuthorizer: new HttpIamAuthorizer(),
    })
    const integrations = new Map<FunctionName, HttpLambdaIntegration>()
    for (const { method, path, functionName } of ROUTES) {
      const integration =
        integrations.get(functionName) ??
        new HttpLambdaIntegration(functionName, props.functions[functionName].function)
      integrations.set(functionName, integration)
      this.api.addRoutes({ path, methods: [HttpMethod[method]], integration })
    }
    const logGroup = new LogGroup(this, "AccessLog", {
      retention: RetentionDays.ONE_YEAR,
      removalPolicy: RemovalPolicy.RETAIN,
    })
    const stage = new HttpStage(this, "Stage", {
      httpApi: this.api,
      stageName: "$default",
      autoDeploy: true,
      throttle: { rateLimit: props.throttle.rate, burstLimit: props.throttle.burst },
      accessLogSettings: { destination: new LogGroupLogDestination(logGroup), format: ACCESS_LOG_FORMAT },
    })
    this.url = stage.url
  }

  /** ARNs of routes for `execute-api:Invoke`. @param paths `METHOD/v1/…`, `*` for any characters */
  routeArns(...paths: readonly string[]): string[] {
    return paths.map((path) =>
      Stack.of(this).formatArn({
        service: "execute-api",
        resource: this.api.apiId,
        resourceName: `$default/${path}`,
      }),
    )
  }
}

const ACCESS_LOG_FORMAT = AccessLogFormat.custom(
  JSON.stringify({
    requestId: "$context.requestId",
    time: "$context.requestTimeEpoch",
    caller: "$context.identity.userArn",
    sourceIp: "$context.identity.sourceIp",
    routeKey: "$context.routeKey",
    status: "$context.status",
    error: "$context.error.message",
    integrationError: "$context.integrationErrorMessage",
    latencyMs: "$context.responseLatency",
    responseBytes: "$context.responseLength",
  }),
)
