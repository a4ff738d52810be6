/** Timestamp authorities behind functions of the deployment: its own, and those of others behind `relay`. IAM: lambda:InvokeFunction on that function. */
import { ServiceError } from "@sealwright/core/errors"
import type { OutsideTimestampers, Timestamper } from "@sealwright/core/ports"
import { MAX_TIMESTAMP_QUERIES } from "@sealwright/core/timestamp/rules"
import { base64Decode, base64Encode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { array, openObject, type Reader, string } from "@sealwright/formats/shape"
import { MAX_TIMESTAMP_REPLY_BYTES } from "@sealwright/formats/timestamp"
import { type Invoke, openInvoke } from "./lambda.ts"

/** An answer's place holds null when that query got none. */
const answerShape = openObject({
  timestampReplies: array(orNull(string(Math.ceil(MAX_TIMESTAMP_REPLY_BYTES / 3) * 4)), MAX_TIMESTAMP_QUERIES),
})

interface Asked {
  readonly query: Uint8Array
  readonly resolve: (reply: Uint8Array) => void
  readonly reject: (error: unknown) => void
}

/** Queries of the same turn of the event loop go in one invocation, as those of a batch do. Each is answered, or refused, for itself. */
export function createTimestamper(
  invoke: () => Promise<Invoke>,
  functionName: string,
  more: { readonly [member: string]: string } = {},
): Timestamper {
  let waiting: Asked[] = []

  function flush(): void {
    const asked = waiting
    waiting = []
    for (let at = 0; at < asked.length; at += MAX_TIMESTAMP_QUERIES)
      void askTogether(asked.slice(at, at + MAX_TIMESTAMP_QUERIES))
  }

  async function askTogether(asked: readonly Asked[]): Promise<void> {
    try {
      const replies = await ask(asked.map(({ query }) => query))
      for (const [at, { resolve, reject }] of asked.entries()) settle(replies[at] ?? null, resolve, reject)
    } catch (error) {
      for (const { reject } of asked) reject(error)
    }
  }

  /** @returns as many as there are queries, in their order */
  async function ask(queries: readonly Uint8Array[]): Promise<readonly (string | null)[]> {
    const call = await invoke()
    const invocation = await call(functionName, { ...more, timestampQueries: queries.map(base64Encode) }, "wait")
    if (invocation.outcome !== "done") throw unavailable(`is ${invocation.outcome}`, invocation.cause)
    const { timestampReplies } = readable(() => answerShape(invocation.answer ?? null, "answer"))
    if (timestampReplies.length !== queries.length) throw unavailable(`answered ${timestampReplies.length} queries`)
    return timestampReplies
  }

  return {
    timestamp: (query) =>
      new Promise((resolve, reject) => {
        if (waiting.push({ query, resolve, reject }) === 1) setImmediate(flush)
      }),
  }
}

function settle(reply: string | null, resolve: Asked["resolve"], reject: Asked["reject"]): void {
  try {
    if (reply === null) throw unavailable("failed")
    resolve(readable(() => base64Decode(reply)))
  } catch (error) {
    reject(error)
  }
}

function orNull(read: Reader<string>): Reader<string | null> {
  return (value, at) => (value === null ? null : read(value, at))
}

/** @throws ServiceError TIMESTAMP_UNAVAILABLE for what is not of its form */
function readable<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof FormatError) throw unavailable("gave an unreadable answer", error)
    throw error
  }
}

function unavailable(detail: string, cause?: unknown): ServiceError {
  return new ServiceError("TIMESTAMP_UNAVAILABLE", `the timestamp authority ${detail}`, { cause })
}

/** @param functionName that of `timestamp` */
export function openTimestamper(functionName: string): Timestamper {
  return createTimestamper(openClient(), functionName)
}

/** @param functionName that of `relay` */
export function openOutsideTimestampers(functionName: string): OutsideTimestampers {
  const invoke = openClient()
  const known = new Map<string, Timestamper>()
  return (authority) => {
    const timestamper = known.get(authority) ?? createTimestamper(invoke, functionName, { authority })
    known.set(authority, timestamper)
    return timestamper
  }
}

/** The client is made with the first timestamp: most profiles want none, and a cold start should not pay for it. */
function openClient(): () => Promise<Invoke> {
  let invoke: Promise<Invoke> | undefined
  return () => {
    invoke ??= Promise.resolve(openInvoke({ requestTimeoutMs: 20_000 }))
    return invoke
  }
}
