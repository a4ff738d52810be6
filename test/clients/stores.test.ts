import { readdirSync } from "node:fs"
import { join } from "node:path"
import type { Objects, Table } from "@sealwright/core/ports"
import { afterAll, beforeAll, describe } from "vitest"
import { dynamoDbContract } from "../contracts/dynamodb.contract.ts"
import { objectsAt, tableAt } from "../contracts/endpoints.ts"
import { objectsContract } from "../contracts/objects-contract.ts"
import { CHECKSUMS, s3Contract } from "../contracts/s3.contract.ts"
import { dynamoDbAt, s3At } from "../contracts/stores.ts"
import { tableContract } from "../contracts/table-contract.ts"
import { withClients } from "../support/clients.ts"
import { type Running, startServer } from "../support/processes.ts"

withClients("DynamoDB Local passes what the embedded table passes", ["java", "dynamodb-local"], (java, folder) => {
  let server: Running
  let table: Table

  beforeAll(async () => {
    const jar = find(folder, "DynamoDBLocal.jar")
    const own = (port: number) => [
      "-jar",
      join(jar, "DynamoDBLocal.jar"),
      "-inMemory",
      "-sharedDb",
      "-disableTelemetry",
      "-port",
      String(port),
    ]
    server = await startServer(java, (port) => [`-Djava.library.path=${join(jar, "DynamoDBLocal_lib")}`, ...own(port)])
    table = await tableAt(server.url)
  }, 120_000)

  afterAll(() => server?.stop())

  dynamoDbContract("DynamoDB Local", () => dynamoDbAt(server.url))
  describe("the ledger's port", () => tableContract(() => table))
})

withClients("moto's S3 passes what the embedded bucket passes", ["moto"], (moto) => {
  let server: Running
  let objects: Objects

  beforeAll(async () => {
    server = await startServer(moto, (port) => ["-H", "127.0.0.1", "-p", String(port)])
    objects = await objectsAt(server.url)
  }, 120_000)

  afterAll(() => server?.stop())

  s3Contract("moto", () => s3At(server.url), [CHECKSUMS])
  describe("the publisher's port", () => objectsContract(() => objects))
})

/** The folder below `at` that holds a file of this name. */
function find(at: string, name: string): string {
  const found = readdirSync(at, { withFileTypes: true, recursive: true }).find((entry) => entry.name === name)
  if (found === undefined) throw new Error(`no ${name} below ${at}`)
  return found.parentPath
}
