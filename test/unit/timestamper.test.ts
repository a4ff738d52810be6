import type { Invocation } from "@sealwright/adapters/lambda"
import { createTimestamper } from "@sealwright/adapters/timestamper"
import { base64Encode } from "@sealwright/formats/bytes"
import { expect, test } from "vitest"

const QUERY = Uint8Array.of(1, 2, 3)

function timestamperOf(invocation: Invocation) {
  const calls: unknown[] = []
  const invoke = async (...call: unknown[]) => {
    calls.push(call)
    return invocation
  }
  return { calls, timestamper: createTimestamper(async () => invoke, "Timestamp") }
}

test("R8: the function gets the request and answers the response, both in base64", async () => {
  const { calls, timestamper } = timestamperOf({ outcome: "done", answer: { timestampReply: base64Encode(QUERY) } })
  expect(await timestamper.timestamp(QUERY)).toEqual(QUERY)
  expect(calls).toEqual([["Timestamp", { timestampQuery: "AQID" }, "wait"]])
})

test.each<Invocation>([
  { outcome: "failed", cause: new Error("it threw") },
  { outcome: "unavailable", cause: new Error("timed out") },
  { outcome: "done", answer: undefined },
  { outcome: "done", answer: { timestampReply: "not base64" } },
  { outcome: "done", answer: { timestampReply: "A".repeat(100_000) } },
])("what is no answer is TIMESTAMP_UNAVAILABLE: %o", async (invocation) => {
  const { timestamper } = timestamperOf(invocation)
  await expect(timestamper.timestamp(QUERY)).rejects.toMatchObject({ code: "TIMESTAMP_UNAVAILABLE" })
})
