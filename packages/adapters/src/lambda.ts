/** Calling another function of the deployment. IAM: lambda:InvokeFunction on that function. */
import { InvokeCommand, type LambdaClient } from "@aws-sdk/client-lambda"
import { utf8 } from "@sealwright/formats/bytes"
import { type JsonValue, parseJson } from "@sealwright/formats/strict-json"
import { isRefusal } from "./sdk.ts"

const MAX_ANSWER_BYTES = 64 * 1024
const MAX_ANSWER_DEPTH = 16

/** `unavailable`: whether it ran is not known. `failed`: it ran and threw, or its answer cannot be read. */
export type Invocation =
  | { readonly outcome: "done"; readonly answer: JsonValue | undefined }
  | { readonly outcome: "failed" | "unavailable"; readonly cause: unknown }

/**
 * @param mode `wait` for the function's answer, at most 64 KiB of JSON; `event`: it is queued, and there is no answer
 * @throws the SDK's error when the call itself is refused: no such function, no right to call it
 */
export type Invoke = (functionName: string, payload: JsonValue, mode: "wait" | "event") => Promise<Invocation>

export function createInvoke(client: LambdaClient): Invoke {
  return async (functionName, payload, mode) => {
    const command = new InvokeCommand({
      FunctionName: functionName,
      InvocationType: mode === "wait" ? "RequestResponse" : "Event",
      Payload: utf8(JSON.stringify(payload)),
    })
    try {
      const { FunctionError, Payload } = await client.send(command)
      if (FunctionError !== undefined)
        return { outcome: "failed", cause: new Error(`${functionName}: ${FunctionError}`) }
      return readAnswer(mode === "event" ? undefined : Payload)
    } catch (error) {
      if (isRefusal(error)) throw error
      return { outcome: "unavailable", cause: error }
    }
  }
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
