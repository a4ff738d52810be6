/** Calling another function of the deployment. IAM: lambda:InvokeFunction on that function. */
import { KMSClient } from "@aws-sdk/client-kms"
import { type JsonValue, parseJson } from "@sealwright/formats/strict-json"
import { type ClientSettings, clientOptions } from "./sdk.ts"
import { createSignedRequest, type SignedRequest, type SignedService } from "./signed-request.ts"

const MAX_ANSWER_BYTES = 1024 * 1024
const MAX_ANSWER_DEPTH = 16

/** `unavailable`: whether it ran is not known. `failed`: it ran and threw, or its answer cannot be read. */
export type Invocation =
  | { readonly outcome: "done"; readonly answer: JsonValue | undefined }
  | { readonly outcome: "failed" | "unavailable"; readonly cause: unknown }

/**
 * @param mode `wait` for the function's answer, at most 1 MiB of JSON; `event`: it is queued, and there is no answer
 * @throws InvocationRefused when the call itself is refused: no such function, no right to call it
 */
export type Invoke = (functionName: string, payload: JsonValue, mode: "wait" | "event") => Promise<Invocation>

/** A refusal under the name that Lambda gives it. */
export class InvocationRefused extends Error {}

export const LAMBDA: SignedService = {
  name: "lambda",
  endpointVariable: "AWS_ENDPOINT_URL_LAMBDA",
  maxAnswerBytes: MAX_ANSWER_BYTES,
}
const TOO_MANY_REQUESTS = 429

export function createInvoke(request: SignedRequest): Invoke {
  return async (functionName, payload, mode) => {
    const answer = await request({
      path: `/2015-03-31/functions/${encodeURIComponent(functionName)}/invocations`,
      headers: {
        "content-type": "application/json",
        "x-amz-invocation-type": mode === "wait" ? "RequestResponse" : "Event",
      },
      body: JSON.stringify(payload),
    }).catch((cause: unknown) => ({ cause }))
    if ("cause" in answer)
      return { outcome: answer.cause instanceof RangeError ? "failed" : "unavailable", cause: answer.cause }
    const { status, headers, bytes } = answer
    if (status >= 500 || status === TOO_MANY_REQUESTS)
      return { outcome: "unavailable", cause: new Error(`${functionName}: ${status}`) }
    if (status >= 300) throw refusalOf(functionName, headers.get("x-amzn-errortype") ?? String(status))
    const functionError = headers.get("x-amz-function-error")
    if (functionError !== null) return { outcome: "failed", cause: new Error(`${functionName}: ${functionError}`) }
    return readAnswer(mode === "event" ? undefined : bytes)
  }
}

function refusalOf(functionName: string, type: string): InvocationRefused {
  const refusal = new InvocationRefused(`${functionName}: Lambda refuses the call`)
  refusal.name = type.split(":")[0] ?? type
  return refusal
}

function readAnswer(payload: Uint8Array | undefined): Invocation {
  if (payload === undefined || payload.length === 0) return { outcome: "done", answer: undefined }
  try {
    return {
      outcome: "done",
      answer: parseJson(payload, { maxBytes: MAX_ANSWER_BYTES, maxDepth: MAX_ANSWER_DEPTH }),
    }
  } catch (cause) {
    return { outcome: "failed", cause }
  }
}

/** @param settings `requestTimeoutMs` above the longest run of what is called */
export function openInvoke(settings: ClientSettings = {}): Invoke {
  const whole = { requestTimeoutMs: 60_000, ...settings }
  return createInvoke(createSignedRequest(new KMSClient(clientOptions(settings)), LAMBDA, whole))
}
