import { randomUUID } from "node:crypto"
import { type HttpReply, type HttpRequest, type LoopbackServer, listenOnLoopback } from "../loopback.ts"
import type { AccessQuestion } from "../policy.ts"
import { createSigV4Verifier, type SigV4Options, type SigV4Refusal } from "../sigv4.ts"
import { type InvokeResult, MAX_PAYLOAD_BYTES } from "./events.ts"
import { type LocalFunctions, TooManyInvocations } from "./functions.ts"

export interface InvokeApiOptions {
  readonly functions: LocalFunctions
  readonly region: string
  readonly credentials: SigV4Options["credentials"]
  readonly clock: () => Date
  readonly port?: number
  /** Decides like IAM on `lambda:InvokeFunction`; without it every known caller may invoke. */
  readonly authorize?: (question: AccessQuestion) => boolean
  /** told of errors of Event invocations, which nobody waits for */
  readonly report: (functionName: string, failure: string) => void
}

const REFUSALS = {
  MISSING: "MissingAuthenticationTokenException",
  INCOMPLETE: "IncompleteSignatureException",
  UNKNOWN_KEY: "UnrecognizedClientException",
  TOKEN_MISMATCH: "UnrecognizedClientException",
  SKEWED: "InvalidSignatureException",
  MISMATCH: "InvalidSignatureException",
  PAYLOAD: "InvalidSignatureException",
} as const satisfies Record<SigV4Refusal, string>

/** Lambda's Invoke over HTTP, for functions and tools that call it with an AWS SDK. RequestResponse, Event and DryRun. */
export function startInvokeApi(options: InvokeApiOptions): Promise<LoopbackServer> {
  const sigV4 = createSigV4Verifier({ ...options, service: "lambda" })

  async function answer(request: HttpRequest): Promise<HttpReply> {
    const signedBy = sigV4.authenticate(request, request.rawPath, request.body)
    if (!signedBy.ok) return refusal(403, REFUSALS[signedBy.refusal], "The request is not signed by a known caller.")
    const name = functionName(request)
    if (name === undefined) return refusal(404, "UnknownOperationException", "This emulator has no such operation.")
    const arn = options.functions.arnOf(name)
    const { caller } = signedBy
    const question = { caller, action: "lambda:InvokeFunction", resource: arn ?? "*", conditions: {} }
    if (options.authorize?.(question) === false) {
      return refusal(
        403,
        "AccessDeniedException",
        `${caller.userArn} is not authorized to perform lambda:InvokeFunction.`,
      )
    }
    if (arn === undefined) return refusal(404, "ResourceNotFoundException", `Function not found: ${name}`)
    const payload = jsonText(request.body)
    if (payload === undefined) {
      return refusal(400, "InvalidRequestContentException", "Could not parse request body into json.")
    }
    switch (request.headers["x-amz-invocation-type"] ?? "RequestResponse") {
      case "RequestResponse":
        return answered(await options.functions.invoke(name, payload))
      case "Event":
        inBackground(name, options.functions.invoke(name, payload))
        return { status: 202, headers: { "x-amzn-requestid": randomUUID() }, body: "" }
      case "DryRun":
        return { status: 204, headers: { "x-amzn-requestid": randomUUID() }, body: "" }
      default:
        return refusal(400, "InvalidParameterValueException", "InvocationType is RequestResponse, Event or DryRun.")
    }
  }

  function inBackground(name: string, invocation: Promise<InvokeResult>): void {
    invocation.then(
      (result) => result.functionError !== undefined && options.report(name, result.payload),
      (error) => options.report(name, String(error)),
    )
  }

  return listenOnLoopback({
    ...(options.port === undefined ? {} : { port: options.port }),
    maxBodyBytes: MAX_PAYLOAD_BYTES,
    onRequest: answer,
    tooLarge: () => refusal(413, "RequestTooLargeException", "The request payload exceeds 6291456 bytes."),
    failed: (error) =>
      error instanceof TooManyInvocations
        ? refusal(429, "TooManyRequestsException", error.message)
        : refusal(500, "ServiceException", String(error)),
  })
}

/** The name in `/2015-03-31/functions/{name or ARN}/invocations`. */
function functionName(request: HttpRequest): string | undefined {
  const match = /^\/2015-03-31\/functions\/([^/]+)\/invocations$/.exec(request.rawPath)
  if (request.method !== "POST" || match === null) return undefined
  const named = (match[1] as string).replaceAll("%3A", ":")
  return named.split(":function:").at(-1)
}

function jsonText(body: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(body)
    if (text !== "") JSON.parse(text)
    return text === "" ? "{}" : text
  } catch {
    return undefined
  }
}

function answered(result: InvokeResult): HttpReply {
  const headers = {
    "content-type": "application/json",
    "x-amzn-requestid": randomUUID(),
    "x-amz-executed-version": "$LATEST",
  }
  const failed = result.functionError === undefined ? {} : { "x-amz-function-error": result.functionError }
  return { status: 200, headers: { ...headers, ...failed }, body: result.payload }
}

function refusal(status: number, code: string, message: string): HttpReply {
  return {
    status,
    headers: { "content-type": "application/json", "x-amzn-errortype": code, "x-amzn-requestid": randomUUID() },
    body: JSON.stringify({ Type: status < 500 ? "User" : "Service", Message: message }),
  }
}
