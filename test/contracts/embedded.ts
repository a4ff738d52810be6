import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createDynamoDb } from "../../localstack/dynamodb/server.ts"
import type { CallHook } from "../../localstack/http/faults.ts"
import { startKms } from "../../localstack/kms/server.ts"
import { createS3 } from "../../localstack/s3/server.ts"
import { CREDENTIALS, REGION } from "./endpoints.ts"

export interface Endpoint {
  readonly url: string
  close(): Promise<void>
}

const clock = () => new Date()
const ACCOUNT = "111122223333"
const CALLER = {
  accessKeyId: CREDENTIALS.accessKeyId,
  accountId: ACCOUNT,
  userArn: `arn:aws:iam::${ACCOUNT}:user/test`,
  callerId: "AIDATEST",
}

export async function embeddedDynamoDb(onCall?: CallHook): Promise<Endpoint> {
  const store = createDynamoDb({ path: ":memory:", clock, ...(onCall && { onCall }) })
  const { url } = await store.listen()
  return { url, close: () => store.close() }
}

export async function embeddedS3(onCall?: CallHook): Promise<Endpoint> {
  const store = createS3({ path: ":memory:", clock, region: REGION, ...(onCall && { onCall }) })
  const { url } = await store.listen()
  return { url, close: () => store.close() }
}

export async function embeddedKms(onCall?: CallHook): Promise<Endpoint> {
  const dataDir = mkdtempSync(join(tmpdir(), "sealwright-keys-"))
  const kms = await startKms({
    dataDir,
    region: REGION,
    accountId: ACCOUNT,
    clock,
    ...(onCall && { onCall }),
    credentials: (id) =>
      id === CREDENTIALS.accessKeyId ? { secretAccessKey: CREDENTIALS.secretAccessKey, caller: CALLER } : undefined,
  })
  return {
    url: kms.url,
    async close() {
      await kms.close()
      rmSync(dataDir, { recursive: true })
    },
  }
}
