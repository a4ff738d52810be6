import { createMemoryTable } from "@sealwright/adapters/memory-table"
import type { Table } from "@sealwright/core/ports"
import { afterAll, beforeAll, describe } from "vitest"
import { type Endpoint, embeddedDynamoDb } from "./embedded.ts"
import { tableAt } from "./endpoints.ts"
import { tableContract } from "./table-contract.ts"

describe("table in memory", () => {
  const table = createMemoryTable()
  tableContract(() => table)
})

describe("table embedded", () => {
  let endpoint: Endpoint
  let table: Table
  beforeAll(async () => {
    endpoint = await embeddedDynamoDb()
    table = await tableAt(endpoint.url)
  })
  afterAll(() => endpoint.close())
  tableContract(() => table)
})

const elsewhere = process.env.SEALWRIGHT_DYNAMODB_ENDPOINT
describe.runIf(elsewhere !== undefined)(`table at ${elsewhere}`, () => {
  let table: Table
  beforeAll(async () => {
    table = await tableAt(elsewhere as string)
  })
  tableContract(() => table)
})
