import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, beforeEach, expect, test } from "vitest"
import { createDynamoDb } from "../../localstack/dynamodb/server.ts"

const KILLS = 6
const PARTS = 5
const TABLE = {
  TableName: "kills",
  BillingMode: "PAY_PER_REQUEST",
  AttributeDefinitions: [
    { AttributeName: "pk", AttributeType: "S" },
    { AttributeName: "sk", AttributeType: "N" },
    { AttributeName: "owner", AttributeType: "S" },
  ],
  KeySchema: [
    { AttributeName: "pk", KeyType: "HASH" },
    { AttributeName: "sk", KeyType: "RANGE" },
  ],
  GlobalSecondaryIndexes: [
    {
      IndexName: "by-owner",
      KeySchema: [{ AttributeName: "owner", KeyType: "HASH" }],
      Projection: { ProjectionType: "KEYS_ONLY" },
    },
  ],
}

let folder: string
const clock = () => new Date("2026-01-01T00:00:00Z")

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sealwright-dynamodb-"))
})

afterEach(() => rmSync(folder, { recursive: true }))

test("tables, items, indexes and tokens survive a restart", async () => {
  const path = join(folder, "dynamodb.db")
  const first = createDynamoDb({ path, clock })
  await first.call("CreateTable", TABLE)
  const Item = { pk: { S: "a" }, sk: { N: "1" }, owner: { S: "o" }, visits: { N: "1" } }
  await first.call("PutItem", { TableName: "kills", Item })
  const bump = {
    ClientRequestToken: "once",
    TransactItems: [
      {
        Update: {
          TableName: "kills",
          Key: { pk: { S: "a" }, sk: { N: "1" } },
          UpdateExpression: "ADD visits :one",
          ExpressionAttributeValues: { ":one": { N: "1" } },
        },
      },
    ],
  }
  await first.call("TransactWriteItems", bump)
  await first.close()
  const second = createDynamoDb({ path, clock })
  await second.call("TransactWriteItems", bump)
  const reply = await second.call("Query", {
    TableName: "kills",
    IndexName: "by-owner",
    KeyConditionExpression: "#o = :o",
    ExpressionAttributeNames: { "#o": "owner" },
    ExpressionAttributeValues: { ":o": { S: "o" } },
  })
  expect(reply.Items).toEqual([{ pk: { S: "a" }, sk: { N: "1" }, owner: { S: "o" } }])
  const { Item: kept } = await second.call("GetItem", { TableName: "kills", Key: { pk: { S: "a" }, sk: { N: "1" } } })
  expect(kept).toEqual({ ...Item, visits: { N: "2" } })
  await second.close()
})

test(`after each of ${KILLS} SIGKILLs every answered transaction is there, and none is there by half`, async () => {
  const path = join(folder, "dynamodb.db")
  const setUp = createDynamoDb({ path, clock })
  await setUp.call("CreateTable", TABLE)
  await setUp.close()
  let answered = -1
  let from = 0
  for (let kill = 0; kill < KILLS; kill++) {
    const newest = await writeUntilKilled(path, from, 20 + Math.floor(Math.random() * 80))
    expect(newest).toBeGreaterThanOrEqual(from)
    answered = newest
    const db = createDynamoDb({ path, clock })
    const { Item: head } = await db.call("GetItem", { TableName: "kills", Key: { pk: { S: "head" }, sk: { N: "0" } } })
    const stored = Number((head as { newest: { N: string } }).newest.N)
    expect(stored === answered || stored === answered + 1).toBe(true)
    for (let number = from; number <= stored + 1; number++) {
      const expected = number <= stored ? PARTS : 0
      expect(
        await count(db, {
          KeyConditionExpression: "pk = :v",
          ExpressionAttributeValues: { ":v": { S: `tx-${number}` } },
        }),
      ).toBe(expected)
      const owned = {
        IndexName: "by-owner",
        KeyConditionExpression: "#o = :v",
        ExpressionAttributeNames: { "#o": "owner" },
        ExpressionAttributeValues: { ":v": { S: `owner-${number}` } },
      }
      expect(await count(db, owned)).toBe(expected)
    }
    await db.close()
    from = stored + 1
  }
  expect(from).toBeGreaterThan(KILLS)
})

async function count(db: ReturnType<typeof createDynamoDb>, query: object): Promise<unknown> {
  return (await db.call("Query", { TableName: "kills", Select: "COUNT", ...query })).Count
}

/** @returns the last transaction whose answer was seen before the process was killed */
async function writeUntilKilled(path: string, from: number, afterMs: number): Promise<number> {
  const script = fileURLToPath(new URL("./transaction-writer.ts", import.meta.url))
  const child = spawn(process.execPath, [script, path, String(from)], { stdio: ["ignore", "pipe", "inherit"] })
  let output = ""
  child.stdout.on("data", (chunk: Buffer) => {
    if (output === "") setTimeout(() => child.kill("SIGKILL"), afterMs)
    output += chunk.toString()
  })
  const [, signal] = (await once(child, "close")) as [number | null, string | null]
  expect(signal).toBe("SIGKILL")
  return Number(output.slice(0, output.lastIndexOf("\n")).split("\n").at(-1))
}
