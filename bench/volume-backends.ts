/** A process with what stands beside a signing function: the embedded KMS with a latency and a quota, and a timestamp authority. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { createMemoryTable } from "@sealwright/adapters/memory-table"
import { clock, digest, randomBytes } from "@sealwright/adapters/platform"
import { openKmsAndWrappedKeys } from "@sealwright/adapters/wrapped-keys"
import { type AnswerTimestamp, createTimestampAuthority } from "@sealwright/core/timestamp/flow"
import { DEFAULT_TIMESTAMP_POLICY } from "@sealwright/core/timestamp/rules"
import { base64Decode, base64Encode } from "@sealwright/formats/bytes"
import { runSync } from "@sealwright/verifier/node-crypto"
import { startKms } from "../localstack/kms/server.ts"
import { type Answer, LATENCY_MS, type Question, SIGNATURES_PER_SEC, STACK } from "./volume-terms.ts"

const [accessKeyId = "", secretAccessKey = "", region = ""] = process.argv.slice(2)
const caller = {
  accessKeyId,
  accountId: "111122223333",
  userArn: "arn:aws:iam::111122223333:role/bench",
  callerId: "A",
}
const dataDir = mkdtempSync(join(tmpdir(), "sealwright-volume-"))
let calls: { [operation: string]: number } = {}
let authority: AnswerTimestamp | undefined
/** when the next signature may be made */
let nextMs = 0

const kms = await startKms({
  dataDir,
  region,
  accountId: "111122223333",
  clock,
  credentials: (id) => (id === accessKeyId ? { secretAccessKey, caller } : undefined),
  onCall: async ({ operation, phase }) => {
    if (phase === "after") return
    calls[operation] = (calls[operation] ?? 0) + 1
    await sleep(LATENCY_MS + (operation === "Sign" ? waitForQuota() : 0))
  },
})

/** Who is above the quota waits for its turn, the best that a client's retries could come to. @returns milliseconds */
function waitForQuota(): number {
  const now = performance.now()
  nextMs = Math.max(nextMs, now) + 1000 / SIGNATURES_PER_SEC
  return nextMs - now
}

async function answer(question: Question): Promise<unknown> {
  if (question.kind === "count") {
    const counted = calls
    calls = {}
    return counted
  }
  if (question.kind === "authority") {
    process.env.AWS_ENDPOINT_URL_KMS = kms.url
    authority = createTimestampAuthority(
      {
        table: createMemoryTable(question.items),
        keys: openKmsAndWrappedKeys(STACK),
        clock,
        random: randomBytes,
        digest,
        run: runSync,
      },
      DEFAULT_TIMESTAMP_POLICY,
    )
    return undefined
  }
  if (question.kind === "timestamps") {
    const replies = question.queries.map(async (query) => (await authority?.(base64Decode(query)))?.response)
    return (await Promise.all(replies)).map((reply) => reply && base64Encode(reply))
  }
  await kms.close()
  rmSync(dataDir, { recursive: true })
  process.disconnect()
  return undefined
}

process.on("message", async ({ id, question }: { readonly id: number; readonly question: Question }) => {
  const value = await answer(question)
  if (process.connected) process.send?.({ id, value } satisfies Answer)
})
process.send?.({ id: 0, value: kms.url } satisfies Answer)
