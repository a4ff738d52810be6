import { createMemoryObjects } from "@sealwright/adapters/memory-objects"
import type { Objects } from "@sealwright/core/ports"
import { utf8 } from "@sealwright/formats/bytes"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { type Endpoint, embeddedS3 } from "./embedded.ts"
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

describe("objects embedded", () => {
  let endpoint: Endpoint
  let objects: Objects
  beforeAll(async () => {
    endpoint = await embeddedS3()
    objects = await objectsAt(endpoint.url)
  })
  afterAll(() => endpoint.close())
  objectsContract(() => objects)
})

const elsewhere = process.env.SEALWRIGHT_S3_ENDPOINT
describe.runIf(elsewhere !== undefined)(`objects at ${elsewhere}`, () => {
  let objects: Objects
  beforeAll(async () => {
    objects = await objectsAt(elsewhere as string)
  })
  objectsContract(() => objects)
})
