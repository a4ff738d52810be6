import { createMemoryTable } from "@sealwright/adapters/memory-table"
import type { Table } from "@sealwright/core/ports"
import { beforeAll, describe } from "vitest"
import { tableAt } from "./endpoints.ts"
import { tableContract } from "./table-contract.ts"

describe("table in memory", () => {
  const table = createMemoryTable()
  tableContract(() => table)
})

const endpoint = process.env.SEALWRIGHT_DYNAMODB_ENDPOINT
describe.runIf(endpoint !== undefined)(`table at ${endpoint}`, () => {
  let table: Table
  beforeAll(async () => {
    table = await tableAt(endpoint as string)
  })
  tableContract(() => table)
})
