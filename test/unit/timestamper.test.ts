import type { Invocation } from "@sealwright/adapters/lambda"
import { createTimestamper } from "@sealwright/adapters/timestamper"
import { MAX_TIMESTAMP_QUERIES } from "@sealwright/core/timestamp/rules"
import { base64Decode, base64Encode } from "@sealwright/formats/bytes"
import { expect, test } from "vitest"

const QUERY = Uint8Array.of(1, 2, 3)
const UNAVAILABLE = { code: "TIMESTAMP_UNAVAILABLE" }

interface Payload {
  readonly timestampQueries: readonly string[]
}

function timestamperOf(answer: Invocation | ((payload: Payload) => Invocation)) {
  const calls: [functionName: string, payload: Payload, mode: string][] = []
  const invoke = async (functionName: string, payload: unknown, mode: string) => {
    calls.push([functionName, payload as Payload, mode])
    return typeof answer === "function" ? answer(payload as Payload) : answer
  }
  return { calls, timestamper: createTimestamper(async () => invoke, "Timestamp") }
}

const done = (timestampReplies: readonly (string | null)[]): Invocation => ({
  outcome: "done",
  answer: { timestampReplies: [...timestampReplies] },
})

test("R8: the function gets the request and answers the response, both in base64", async () => {
  const { calls, timestamper } = timestamperOf(done([base64Encode(QUERY)]))
  expect(await timestamper.timestamp(QUERY)).toEqual(QUERY)
  expect(calls).toEqual([["Timestamp", { timestampQueries: ["AQID"] }, "wait"]])
})

test("R15: what is asked at once goes in one call, and each gets its own answer", async () => {
  const { calls, timestamper } = timestamperOf(({ timestampQueries }) => done(timestampQueries))
  const queries = Array.from({ length: 20 }, (_, i) => Uint8Array.of(i, 7))
  expect(await Promise.all(queries.map((query) => timestamper.timestamp(query)))).toEqual(queries)
  expect(calls.map(([, { timestampQueries }]) => timestampQueries.length)).toEqual([20])
  await timestamper.timestamp(QUERY)
  expect(calls).toHaveLength(2)
})

test("no call carries more than its bound", async () => {
  const { calls, timestamper } = timestamperOf(({ timestampQueries }) => done(timestampQueries))
  const queries = Array.from({ length: MAX_TIMESTAMP_QUERIES * 2 + 1 }, (_, i) => Uint8Array.of(i & 255, i >> 8))
  expect(await Promise.all(queries.map((query) => timestamper.timestamp(query)))).toEqual(queries)
  const sizes = calls.map(([, { timestampQueries }]) => timestampQueries.length)
  expect(sizes).toEqual([MAX_TIMESTAMP_QUERIES, MAX_TIMESTAMP_QUERIES, 1])
})

test("one that got no answer, or an unreadable one, fails alone", async () => {
  const { timestamper } = timestamperOf(({ timestampQueries: [first = "", , , last = ""] }) =>
    done([first, null, "not base64", last]),
  )
  const asked = [1, 2, 3, 4].map((byte) => timestamper.timestamp(Uint8Array.of(byte)))
  const outcomes = await Promise.allSettled(asked)
  expect(outcomes).toEqual([
    { status: "fulfilled", value: Uint8Array.of(1) },
    { status: "rejected", reason: expect.objectContaining(UNAVAILABLE) },
    { status: "rejected", reason: expect.objectContaining(UNAVAILABLE) },
    { status: "fulfilled", value: base64Decode("BA==") },
  ])
})

test("a call that can't be made fails all of it, and none after it", async () => {
  let refusals = 1
  const { timestamper } = timestamperOf(({ timestampQueries }) => {
    if (refusals-- > 0) throw new Error("no right to call it")
    return done(timestampQueries)
  })
  const outcomes = await Promise.allSettled([timestamper.timestamp(QUERY), timestamper.timestamp(QUERY)])
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"])
  expect(await timestamper.timestamp(QUERY)).toEqual(QUERY)
})

test.each<Invocation>([
  { outcome: "failed", cause: new Error("it threw") },
  { outcome: "unavailable", cause: new Error("timed out") },
  { outcome: "done", answer: undefined },
  { outcome: "done", answer: { timestampReplies: "AQID" } },
  done([]),
  done(["AQID", "AQID"]),
  done(["not base64"]),
  done(["A".repeat(100_000)]),
])("what is no answer is TIMESTAMP_UNAVAILABLE: %o", async (invocation) => {
  const { timestamper } = timestamperOf(invocation)
  await expect(timestamper.timestamp(QUERY)).rejects.toMatchObject(UNAVAILABLE)
})
