import { afterAll, beforeAll } from "vitest"
import type { Listener } from "../../localstack/http/loopback.ts"
import { createS3 } from "../../localstack/s3/server.ts"
import { s3Contract } from "./s3.contract.ts"
import { s3At } from "./stores.ts"

const embedded = createS3({ path: ":memory:", clock: () => new Date() })
let listener: Listener

beforeAll(async () => {
  listener = await embedded.listen()
})

afterAll(() => embedded.close())

s3Contract("embedded", () => s3At(listener.url))

const elsewhere = process.env.SEALWRIGHT_CONTRACT_S3
if (elsewhere) s3Contract(elsewhere, () => s3At(elsewhere))
