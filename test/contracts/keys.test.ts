import { createMemoryKeys } from "@sealwright/adapters/memory-keys"
import { describe } from "vitest"
import { keysAt } from "./endpoints.ts"
import { keysContract } from "./keys-contract.ts"

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

const endpoint = process.env.SEALWRIGHT_KMS_ENDPOINT
describe.runIf(endpoint !== undefined)(`keys at ${endpoint}`, () => {
  keysContract(() => keysAt(endpoint as string))
})
