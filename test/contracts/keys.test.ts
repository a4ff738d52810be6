import type { KeyPairKeyObjectResult } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { openLocalHome } from "@sealwright/adapters/local-keys"
import { createMemoryKeys } from "@sealwright/adapters/memory-keys"
import { afterAll, beforeAll, describe, vi } from "vitest"
import { type Endpoint, embeddedKms } from "./embedded.ts"
import { keysAt } from "./endpoints.ts"
import { type KeyHome, keysContract } from "./keys-contract.ts"

/**
 * Cheaper cryptography. A pair of RSA keys takes seconds: all homes are handed the same one of each size, made by the first that asks. And a password
 * goes through a sixteenth of the work that key files name.
 */
vi.mock("node:crypto", async (original) => {
  const crypto = await original<typeof import("node:crypto")>()
  const rsa = new Map<number, KeyPairKeyObjectResult>()
  const make = (kind: string, options: { readonly modulusLength: number }) => {
    if (kind !== "rsa") return Reflect.apply(crypto.generateKeyPairSync, crypto, [kind, options])
    const { modulusLength } = options
    const pair = rsa.get(modulusLength) ?? crypto.generateKeyPairSync(kind, { modulusLength })
    rsa.set(modulusLength, pair)
    return pair
  }
  const generateKeyPair = Object.assign(() => undefined, {
    [promisify.custom]: async (...args: Parameters<typeof make>) => make(...args),
  })
  const scrypt = (...[password, salt, length, options, done]: Required<Parameters<typeof crypto.scrypt>>) =>
    crypto.scrypt(password, salt, length, { ...options, N: Number(options.N) / 16 }, done)
  return { ...crypto, generateKeyPairSync: make, generateKeyPair, scrypt }
})

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
