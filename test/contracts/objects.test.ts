import { createMemoryObjects } from "@sealwright/adapters/memory-objects"
import type { Objects } from "@sealwright/core/ports"
import { utf8 } from "@sealwright/formats/bytes"
import { beforeAll, describe, expect, test } from "vitest"
import { objectsAt } from "./endpoints.ts"
import { objectsContract } from "./objects-contract.ts"

describe("objects in memory", () => {
  const objects = createMemoryObjects()
  objectsContract(() => objects)

  test("the oracle stops whoever replaces an object that was created as immutable", async () => {
    const headers = { contentType: "text/plain", cacheControl: "immutable" }
    const created = await objects.create("oracle", utf8("one"), headers)
    const { etag } = created as { etag: string }
    await expect(objects.replace("oracle", utf8("two"), etag, headers)).rejects.toThrow("oracle")
  })
})

const endpoint = process.env.SEALWRIGHT_S3_ENDPOINT
describe.runIf(endpoint !== undefined)(`objects at ${endpoint}`, () => {
  let objects: Objects
  beforeAll(async () => {
    objects = await objectsAt(endpoint as string)
  })
  objectsContract(() => objects)
})
