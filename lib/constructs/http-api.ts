import { RemovalPolicy, Stack, Validations } from "aws-cdk-lib"
import { AccessLogFormat } from "aws-cdk-lib/aws-apigateway"
import {
  type CfnStage,
  HttpApi,
  HttpMethod,
  HttpNoneAuthorizer,
  type HttpRoute,
  HttpStage,
  LogGroupLogDestination,
} from "aws-cdk-lib/aws-apigatewayv2"
import { HttpIamAuthorizer } from "aws-cdk-lib/aws-apigatewayv2-authorizers"
import { HttpLambdaIntegration } from "aws-cdk-lib/aws-apigatewayv2-integrations"
import { LogGroup, RetentionDays } from "aws-cdk-lib/aws-logs"
import { Construct } from "constructs"
import {
  type AnyRoute,
  type FunctionName,
  OCSP_OPEN_ROUTES,
  OCSP_ROUTES,
  ROUTES,
  TIMESTAMP_ROUTE,
} from "../../functions/routes.ts"
import type { ServiceFunction } from "./service-function.ts"

export interface Throttle {
  /** requests per second */
  readonly rate: number
  readonly burst: number
}

export interface ServiceApiProps {
  readonly functions: Readonly<Record<FunctionName, ServiceFunction>>
  readonly throttle: Throttle
  /** lets anyone ask for timestamps, at this rate. Default: IAM, as on every route */
  readonly openTimestamps?: Throttle | undefined
  /** the OCSP responder, which anyone may ask at this rate. Default: none, and no route of it */
  readonly ocsp?: { readonly function: ServiceFunction; readonly throttle: Throttle } | undefined
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
    const functions = { ...props.functions, ocsp: props.ocsp?.function }
    const limits = openLimits(props)
    const open: HttpRoute[] = []
    const integrations = new Map<ServiceFunction, HttpLambdaIntegration>()
    for (const route of props.ocsp ? [...ROUTES, ...OCSP_ROUTES] : ROUTES) {
      const { method, path, functionName } = route
      const target = functions[functionName]
      if (target === undefined) throw new TypeError(`no function ${functionName}`)
      const integration = integrations.get(target) ?? new HttpLambdaIntegration(functionName, target.function)
      integrations.set(target, integration)
      const isOpen = limits.has(routeKey(route))
      const added = this.api.addRoutes({
        path,
        methods: [HttpMethod[method]],
        integration,
        ...(isOpen && { authorizer: new HttpNoneAuthorizer() }),
      })
      if (isOpen) open.push(...added)
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
    if (limits.size > 0) this.#open(stage, open, limits)
  }

  /** A limit of their own: strangers must not use up what callers with names have. */
  #open(stage: HttpStage, routes: readonly HttpRoute[], limits: ReadonlyMap<string, Throttle>): void {
    const cfnStage = stage.node.defaultChild as CfnStage
    cfnStage.routeSettings = Object.fromEntries(
      [...limits].map(([key, { rate, burst }]) => [key, { ThrottlingRateLimit: rate, ThrottlingBurstLimit: burst }]),
    )
    for (const route of routes) {
      cfnStage.node.addDependency(route)
      Validations.of(route).acknowledge({
        id: "AwsSolutions-APIG4",
        reason:
          "Stock clients of timestamps and OCSP sign no requests; an answer says nothing of who asked, and the route has a limit of its own.",
      })
    }
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

function routeKey({ method, path }: AnyRoute): string {
  return `${method} ${path}`
}

/** The routes that anyone may call, each with its limit. */
function openLimits({ openTimestamps, ocsp }: ServiceApiProps): ReadonlyMap<string, Throttle> {
  const limits = new Map<string, Throttle>()
  if (openTimestamps) limits.set(routeKey(TIMESTAMP_ROUTE), openTimestamps)
  if (ocsp) for (const route of OCSP_OPEN_ROUTES) limits.set(routeKey(route), ocsp.throttle)
  return limits
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
