/** The deployment's timestamp authority, behind its function. IAM: lambda:InvokeFunction on that function. */
import { ServiceError } from "@sealwright/core/errors"
import type { Timestamper } from "@sealwright/core/ports"
import { base64Decode, base64Encode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { openObject, string } from "@sealwright/formats/shape"
import { MAX_TIMESTAMP_REPLY_BYTES } from "@sealwright/formats/timestamp"
import type { Invoke } from "./lambda.ts"

const answerShape = openObject({ timestampReply: string(Math.ceil(MAX_TIMESTAMP_REPLY_BYTES / 3) * 4) })

export function createTimestamper(invoke: () => Promise<Invoke>, functionName: string): Timestamper {
  return {
    async timestamp(query) {
      const call = await invoke()
      const invocation = await call(functionName, { timestampQuery: base64Encode(query) }, "wait")
      if (invocation.outcome !== "done")
        throw new ServiceError("TIMESTAMP_UNAVAILABLE", `the timestamp authority is ${invocation.outcome}`, {
          cause: invocation.cause,
        })
      try {
        return base64Decode(answerShape(invocation.answer ?? null, "answer").timestampReply)
      } catch (error) {
        if (!(error instanceof FormatError)) throw error
        throw new ServiceError("TIMESTAMP_UNAVAILABLE", "the timestamp authority's answer is unreadable", {
          cause: error,
        })
      }
    },
  }
}

/** The client is loaded with the first timestamp: most profiles want none, and a cold start should not pay for it. */
export function openTimestamper(functionName: string): Timestamper {
  let invoke: Promise<Invoke> | undefined
  return createTimestamper(() => {
    invoke ??= import("./lambda.ts").then(({ openInvoke }) => openInvoke({ requestTimeoutMs: 20_000 }))
    return invoke
  }, functionName)
}
