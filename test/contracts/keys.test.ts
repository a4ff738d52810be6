import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openLocalHome } from "@sealwright/adapters/local-keys"
import { createMemoryKeys } from "@sealwright/adapters/memory-keys"
import { afterAll, beforeAll, describe } from "vitest"
import { type Endpoint, embeddedKms } from "./embedded.ts"
import { keysAt } from "./endpoints.ts"
import { type KeyHome, keysContract } from "./keys-contract.ts"

describe("keys in memory", () => {
  const memory = createMemoryKeys()
  keysContract(() => ({
    keys: memory,
    maker: memory,
    async disable({ keyId }) {
      memory.disable(keyId)
    },
  }))
})

describe("R1: keys in a folder of this machine", () => {
  const folder = mkdtempSync(join(tmpdir(), "sealwright-keys-"))
  const local = openLocalHome({ folder, password: async () => "correct horse battery" })
  afterAll(async () => {
    await local.close()
    rmSync(folder, { recursive: true })
  })
  keysContract(() => ({
    keys: local,
    maker: local,
    async disable({ keyId }) {
      rmSync(join(folder, `${keyId.slice("local:".length)}.key.pem`))
    },
  }))
})

describe("keys embedded", () => {
  let endpoint: Endpoint
  let home: KeyHome
  beforeAll(async () => {
    endpoint = await embeddedKms()
    home = await keysAt(endpoint.url)
  })
  afterAll(() => endpoint.close())
  keysContract(() => home)
})

const elsewhere = process.env.SEALWRIGHT_KMS_ENDPOINT
describe.runIf(elsewhere !== undefined)(`keys at ${elsewhere}`, () => {
  let home: KeyHome
  beforeAll(async () => {
    home = await keysAt(elsewhere as string)
  })
  keysContract(() => home)
})
