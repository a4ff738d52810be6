import { keys } from "@sealwright/core/ledger/keys"
import { recordItem } from "@sealwright/core/ledger/records"
import type { SignatureRecord } from "@sealwright/core/model"
import { ulid } from "@sealwright/core/names"
import { INBOX_SHARDS } from "@sealwright/core/sign/commit"
import { createService, signRequest } from "../test/support/service.ts"

const BATCH = 50
const WRITES_AT_ONCE = 50

export type Service = ReturnType<typeof createService>

/** A service over memory whose profile `release` may sign. */
export async function readyService(): Promise<Service> {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  return service
}

/** Signatures of the service; they wait for its log. */
export async function signMany({ signer }: Service, count: number, name: string): Promise<SignatureRecord[]> {
  const sign = signer()
  const records: SignatureRecord[] = []
  for (let at = 0; at < count; at += BATCH) {
    const seeds = Array.from({ length: Math.min(BATCH, count - at) }, (_, i) => `${name} ${at + i}`)
    for (const settled of await sign(signRequest(seeds))) {
      if (!("signed" in settled)) throw settled.refused
      records.push(settled.signed)
    }
  }
  return records
}

/** Puts signatures before the log once more, each under an id of its own, until there are as many. */
export async function waitAgain({ ports }: Service, records: readonly SignatureRecord[], count: number): Promise<void> {
  for (let at = 0; at < count; at += WRITES_AT_ONCE)
    await ports.table.transact(
      Array.from({ length: Math.min(WRITES_AT_ONCE, count - at) }, (_, i) => {
        const record = records[(at + i) % records.length] as SignatureRecord
        const id = ulid(ports.clock(), ports.random(10))
        return [
          { put: recordItem({ ...record, id }) },
          { put: { ...keys.inbox((at + i) % INBOX_SHARDS, id), leaf: "signature" } },
        ]
      }).flat(),
    )
}
