import { randomUUID } from "node:crypto"
import { type HttpReply, type HttpRequest, type LoopbackServer, listenOnLoopback } from "../loopback.ts"
import type { AccessQuestion } from "../policy.ts"
import { type Caller, createSigV4Verifier, type SigV4Options, type SigV4Refusal } from "../sigv4.ts"
import { KmsError, type KmsErrorCode } from "./errors.ts"
import { type Input, parseInput } from "./input.ts"
import { OPERATIONS, type OperationContext, resourceOf } from "./operations.ts"
import { KmsStore, type SignCall } from "./store.ts"
import { type TrailEvent, trailEvent } from "./trail.ts"

export interface KmsOptions {
  /** a folder of this emulator alone; ":memory:" keeps nothing */
  readonly dataDir: string
  readonly region: string
  readonly accountId: string
  readonly credentials: SigV4Options["credentials"]
  readonly clock: () => Date
  readonly port?: number
  /**
   * Runs before the operation and again after it, before the reply. A KmsError that it throws is sent; any other error
   * cuts the connection. Thrown in phase "after", it hides what was already done.
   */
  readonly onCall?: (call: KmsCall) => void | Promise<void>
  /** Decides like IAM; without it every caller with valid credentials may do everything. */
  readonly authorize?: (question: AccessQuestion) => boolean
  /** Told what CloudTrail would record of uses of keys, refused ones with their code. */
  readonly trail?: (event: TrailEvent) => void
}

export interface KmsCall {
  readonly operation: string
  readonly phase: "before" | "after"
  readonly requestId: string
}

export interface EmbeddedKms {
  readonly url: string
  readonly port: number
  /** Every Sign request on an existing key since the data folder was made, refused ones with their code. */
  signCalls(): SignCall[]
  close(): Promise<void>
}

const MAX_BODY_BYTES = 128 * 1024
const TARGET_PREFIX = "TrentService."

const REFUSALS = {
  MISSING: "MissingAuthenticationTokenException",
  INCOMPLETE: "IncompleteSignatureException",
  UNKNOWN_KEY: "UnrecognizedClientException",
  TOKEN_MISMATCH: "UnrecognizedClientException",
  SKEWED: "InvalidSignatureException",
  MISMATCH: "InvalidSignatureException",
  PAYLOAD: "InvalidSignatureException",
} as const satisfies Record<SigV4Refusal, KmsErrorCode>

/** AWS KMS for signing keys, over its JSON 1.1 protocol on 127.0.0.1. For development and tests alone. */
export async function startKms(options: KmsOptions): Promise<EmbeddedKms> {
  const store = new KmsStore(options.dataDir)
  const sigV4 = createSigV4Verifier({ ...options, service: "kms" })

  async function answer(request: HttpRequest, requestId: string): Promise<HttpReply | "hang-up"> {
    const signedBy = sigV4.authenticate(request, request.rawPath, request.body)
    if (!signedBy.ok) throw new KmsError(REFUSALS[signedBy.refusal], "The request is not signed by a known caller.")
    const target = request.headers["x-amz-target"] ?? ""
    const operation = target.startsWith(TARGET_PREFIX) ? target.slice(TARGET_PREFIX.length) : ""
    const run = Object.hasOwn(OPERATIONS, operation) ? OPERATIONS[operation] : undefined
    if (request.method !== "POST" || request.rawPath !== "/" || run === undefined) {
      throw new KmsError("UnknownOperationException", "This emulator has no such operation.")
    }
    const input = parseInput(request.body)
    const context: OperationContext = {
      store,
      region: options.region,
      accountId: options.accountId,
      now: options.clock(),
      requestId,
      accessKeyId: signedBy.caller.accessKeyId,
    }
    const record = (errorCode: string | undefined) => {
      const { now: at, region } = context
      const keyArn = resourceOf(input, context)
      const event = trailEvent({ operation, requestId, at, region, caller: signedBy.caller, input, keyArn, errorCode })
      if (event !== undefined) options.trail?.(event)
    }
    if (options.authorize?.(question(signedBy.caller, operation, input, context)) === false) {
      record("AccessDenied")
      throw new KmsError(
        "AccessDeniedException",
        `${signedBy.caller.userArn} is not authorized to perform kms:${operation}.`,
      )
    }
    if (await isCut(operation, "before", requestId)) return "hang-up"
    const output = await Promise.resolve()
      .then(() => run(input, context))
      .catch((error: unknown) => {
        record(error instanceof KmsError ? error.code : "KMSInternalException")
        throw error
      })
    record(undefined)
    if (await isCut(operation, "after", requestId)) return "hang-up"
    return reply(200, requestId, output)
  }

  async function isCut(operation: string, phase: KmsCall["phase"], requestId: string): Promise<boolean> {
    try {
      await options.onCall?.({ operation, phase, requestId })
      return false
    } catch (error) {
      if (error instanceof KmsError) throw error
      return true
    }
  }

  const server: LoopbackServer = await listenOnLoopback({
    ...(options.port === undefined ? {} : { port: options.port }),
    maxBodyBytes: MAX_BODY_BYTES,
    onRequest: async (request) => {
      const requestId = randomUUID()
      try {
        return await answer(request, requestId)
      } catch (error) {
        return failure(error, requestId)
      }
    },
    tooLarge: () => failure(new KmsError("RequestEntityTooLargeException", "The request is too large."), randomUUID()),
    failed: (error) => failure(error, randomUUID()),
  })

  return {
    url: server.url,
    port: server.port,
    signCalls: () => store.signCalls(),
    close: async () => {
      await server.close()
      store.close()
    },
  }
}

function question(caller: Caller, operation: string, input: Input, context: OperationContext): AccessQuestion {
  const conditions: Record<string, string> = {}
  if (typeof input.SigningAlgorithm === "string") conditions["kms:SigningAlgorithm"] = input.SigningAlgorithm
  if (operation === "Sign" || operation === "Verify") {
    conditions["kms:MessageType"] = typeof input.MessageType === "string" ? input.MessageType : "RAW"
  }
  return { caller, action: `kms:${operation}`, resource: resourceOf(input, context), conditions }
}

function failure(error: unknown, requestId: string): HttpReply {
  const known =
    error instanceof KmsError
      ? error
      : new KmsError("KMSInternalException", `Unexpected failure of the emulator: ${error}`)
  return reply(known.status, requestId, { __type: known.code, message: known.message })
}

function reply(status: number, requestId: string, body: Readonly<Record<string, unknown>>): HttpReply {
  return {
    status,
    headers: { "content-type": "application/x-amz-json-1.1", "x-amzn-requestid": requestId },
    body: JSON.stringify(body),
  }
}
