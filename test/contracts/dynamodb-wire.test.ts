import { crc32 } from "node:zlib"
import { afterEach, beforeEach, expect, test } from "vitest"
import { createDynamoDb, type EmbeddedDynamoDb } from "../../localstack/dynamodb/server.ts"
import { AwsError } from "../../localstack/http/aws-error.ts"
import type { ServiceCall } from "../../localstack/http/faults.ts"

let db: EmbeddedDynamoDb
let url: string
let now: Date
let hook: (call: ServiceCall) => void
const KEY = { pk: { S: "a" } }

beforeEach(async () => {
  now = new Date("2026-01-01T00:00:00Z")
  hook = () => undefined
  db = createDynamoDb({
    path: ":memory:",
    clock: () => now,
    onCall: (call) => hook(call),
    authenticate: (request) => {
      if (request.headers.authorization === "wrong") throw new AwsError("InvalidSignatureException", "no", 403)
    },
  })
  url = (await db.listen()).url
  await db.call("CreateTable", {
    TableName: "wire",
    BillingMode: "PAY_PER_REQUEST",
    AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }],
    KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
  })
})

afterEach(() => db.close())

async function post(operation: string, body: string | object, headers: Record<string, string> = {}) {
  const reply = await fetch(url, {
    method: "POST",
    headers: {
      "x-amz-target": `DynamoDB_20120810.${operation}`,
      "content-type": "application/x-amz-json-1.0",
      ...headers,
    },
    body: typeof body === "string" ? body : JSON.stringify(body),
  })
  const bytes = Buffer.from(await reply.arrayBuffer())
  return { status: reply.status, headers: reply.headers, bytes, json: JSON.parse(bytes.toString()) }
}

const put = (item: object) => db.call("PutItem", { TableName: "wire", Item: item })
const get = async () => (await db.call("GetItem", { TableName: "wire", Key: KEY })).Item
const code = async (call: Promise<unknown>) =>
  call.then(
    () => "no error",
    (error: AwsError) => error.code,
  )

test("answers carry request id, media type and the checksum of the body", async () => {
  const reply = await post("ListTables", {})
  expect(reply.status).toBe(200)
  expect(reply.headers.get("content-type")).toBe("application/x-amz-json-1.0")
  expect(reply.headers.get("x-amzn-requestid")).toMatch(/^[0-9a-f-]{36}$/)
  expect(Number(reply.headers.get("x-amz-crc32"))).toBe(crc32(reply.bytes))
})

test.each([
  ["no JSON", "GetItem", "{", "SerializationException"],
  ["a JSON list", "GetItem", "[]", "SerializationException"],
  ["an unknown operation", "MakeCoffee", "{}", "UnknownOperationException"],
  ["an operation named like a member of every object", "constructor", "{}", "UnknownOperationException"],
  ["no table", "GetItem", "{}", "ValidationException"],
  ["a table name of another type", "GetItem", '{"TableName":5}', "ValidationException"],
  ["an unknown table", "GetItem", '{"TableName":"other","Key":{}}', "ResourceNotFoundException"],
  [
    "a legacy condition",
    "PutItem",
    '{"TableName":"wire","Item":{"pk":{"S":"a"}},"Expected":{}}',
    "ValidationException",
  ],
  ["a value of no type", "PutItem", '{"TableName":"wire","Item":{"pk":{"S":"a"},"x":{}}}', "ValidationException"],
  [
    "a value of two types",
    "PutItem",
    '{"TableName":"wire","Item":{"pk":{"S":"a"},"x":{"S":"a","N":"1"}}}',
    "ValidationException",
  ],
  [
    "a number that is no text",
    "PutItem",
    '{"TableName":"wire","Item":{"pk":{"S":"a"},"x":{"N":1}}}',
    "ValidationException",
  ],
  ["half a surrogate pair", "PutItem", '{"TableName":"wire","Item":{"pk":{"S":"\\ud800"}}}', "ValidationException"],
  [
    "bytes that are no base64",
    "PutItem",
    '{"TableName":"wire","Item":{"pk":{"S":"a"},"x":{"B":"?"}}}',
    "ValidationException",
  ],
])("%s is refused by code", async (_, operation, body, expected) => {
  const reply = await post(operation, body)
  expect(reply.status).toBe(400)
  expect(reply.json.__type.split("#").at(-1)).toBe(expected)
})

test("values nest 32 deep and no deeper", async () => {
  const nested = (depth: number): object => (depth === 1 ? { S: "x" } : { L: [nested(depth - 1)] })
  await put({ ...KEY, x: nested(32) })
  expect(await code(put({ ...KEY, x: nested(33) }))).toBe("ValidationException")
  expect(await code(put({ ...KEY, x: JSON.parse(`${'{"L":['.repeat(3000)}{"S":"x"}${"]}".repeat(3000)}`) }))).toBe(
    "ValidationException",
  )
})

test("expressions end at their limits: 4 KB, 300 operators", async () => {
  const ask = (ConditionExpression: string) =>
    code(
      db.call("PutItem", {
        TableName: "wire",
        Item: KEY,
        ConditionExpression,
        ExpressionAttributeValues: { ":v": { S: "a" } },
      }),
    )
  const chain = (length: number) => Array.from({ length }, () => "pk<>:v").join(" OR ")
  expect(await ask(chain(150))).toBe("no error")
  expect(await ask(chain(151))).toBe("ValidationException")
  expect(await ask(`${"NOT ".repeat(1000)}pk = :v`)).toBe("ValidationException")
  expect(await ask(`${"(".repeat(2000)}pk = :v${")".repeat(2000)}`)).toBe("ValidationException")
  expect(await ask(`pk = :v${" ".repeat(4096)}`)).toBe("ValidationException")
})

test("an attribute called __proto__ is an attribute like any other", async () => {
  const item = '{"pk":{"S":"a"},"__proto__":{"N":"1"},"m":{"M":{"__proto__":{"S":"x"}}}}'
  expect((await post("PutItem", `{"TableName":"wire","Item":${item}}`)).status).toBe(200)
  const reply = await post("GetItem", { TableName: "wire", Key: KEY })
  expect(reply.bytes.toString()).toBe(`{"Item":${item}}`)
})

test("a body above the limit is refused before it is read", async () => {
  const reply = await post("PutItem", "x".repeat(25 * 1024 * 1024))
  expect(reply.status).toBe(413)
})

test("a caller that authenticate refuses gets its code, and nothing happens", async () => {
  const reply = await post("PutItem", { TableName: "wire", Item: KEY }, { authorization: "wrong" })
  expect([reply.status, reply.json.__type.split("#").at(-1)]).toEqual([403, "InvalidSignatureException"])
  expect(await get()).toBeUndefined()
})

test("a fault before a call leaves nothing; a fault after it leaves the effect", async () => {
  const calls: string[] = []
  hook = ({ operation, phase }) => {
    calls.push(`${operation} ${phase}`)
    if (operation === "PutItem" && phase === "before")
      throw new AwsError("ProvisionedThroughputExceededException", "slow down")
  }
  expect(await code(put(KEY))).toBe("ProvisionedThroughputExceededException")
  expect(await get()).toBeUndefined()
  hook = ({ operation, phase }) => {
    calls.push(`${operation} ${phase}`)
    if (operation === "PutItem" && phase === "after") throw Object.assign(new Error("cut"), { code: "ECONNRESET" })
  }
  await expect(post("PutItem", { TableName: "wire", Item: KEY })).rejects.toThrow()
  expect(await get()).toEqual(KEY)
  expect(calls).toEqual([
    "PutItem before",
    "GetItem before",
    "GetItem after",
    "PutItem before",
    "PutItem after",
    "GetItem before",
    "GetItem after",
  ])
})

test("an error of the hook without a code answers 500", async () => {
  hook = () => {
    throw new Error("secret detail")
  }
  const reply = await post("ListTables", {})
  expect(reply.status).toBe(500)
  expect(reply.bytes.toString()).not.toContain("secret")
})

test("items past their time to live go at the sweep, others stay", async () => {
  const nowSec = now.getTime() / 1000
  await put({ pk: { S: "old" }, ends: { N: String(nowSec - 1) } })
  await put({ pk: { S: "ancient" }, ends: { N: "1" } })
  await put({ pk: { S: "text" }, ends: { S: "1" } })
  await put({ pk: { S: "later" }, ends: { N: String(nowSec + 100) } })
  await db.call("UpdateTimeToLive", {
    TableName: "wire",
    TimeToLiveSpecification: { AttributeName: "ends", Enabled: true },
  })
  expect(db.sweep()).toBe(1)
  expect((await db.call("Scan", { TableName: "wire" })).Count).toBe(3)
  now = new Date(now.getTime() + 200_000)
  expect((await db.call("Scan", { TableName: "wire" })).Count).toBe(2)
})

test("a client request token runs out after ten minutes", async () => {
  const add = {
    ClientRequestToken: "token",
    TransactItems: [
      {
        Update: {
          TableName: "wire",
          Key: KEY,
          UpdateExpression: "ADD n :n",
          ExpressionAttributeValues: { ":n": { N: "1" } },
        },
      },
    ],
  }
  await db.call("TransactWriteItems", add)
  now = new Date(now.getTime() + 599_000)
  await db.call("TransactWriteItems", add)
  expect(await get()).toEqual({ ...KEY, n: { N: "1" } })
  now = new Date(now.getTime() + 2_000)
  await db.call("TransactWriteItems", add)
  expect(await get()).toEqual({ ...KEY, n: { N: "2" } })
})

test("an update that fails only on the stored item is a reason of the transaction", async () => {
  await put({ ...KEY, word: { S: "x" } })
  const update = {
    Update: {
      TableName: "wire",
      Key: KEY,
      UpdateExpression: "ADD word :n",
      ExpressionAttributeValues: { ":n": { N: "1" } },
    },
  }
  const error: AwsError = await db
    .call("TransactWriteItems", { TransactItems: [{ Put: { TableName: "wire", Item: { pk: { S: "b" } } } }, update] })
    .then(
      () => expect.unreachable(),
      (thrown) => thrown,
    )
  expect(error.code).toBe("TransactionCanceledException")
  expect(error.members.CancellationReasons).toMatchObject([{ Code: "None" }, { Code: "ValidationError" }])
})

test("updated parts are returned at their own paths", async () => {
  await put({ ...KEY, m: { M: { a: { N: "1" }, b: { N: "2" } } } })
  const reply = await db.call("UpdateItem", {
    TableName: "wire",
    Key: KEY,
    UpdateExpression: "SET m.b = :v",
    ExpressionAttributeValues: { ":v": { N: "3" } },
    ReturnValues: "UPDATED_NEW",
  })
  expect(reply.Attributes).toEqual({ m: { M: { b: { N: "3" } } } })
})

test("point-in-time recovery is off and cannot be switched on; deletion protection holds", async () => {
  const reply = await db.call("DescribeContinuousBackups", { TableName: "wire" })
  expect(reply).toMatchObject({
    ContinuousBackupsDescription: { PointInTimeRecoveryDescription: { PointInTimeRecoveryStatus: "DISABLED" } },
  })
  const on = { TableName: "wire", PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true } }
  expect(await code(db.call("UpdateContinuousBackups", on))).toBe("ValidationException")
  await db.call("CreateTable", {
    TableName: "protected",
    BillingMode: "PAY_PER_REQUEST",
    DeletionProtectionEnabled: true,
    AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }],
    KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
  })
  expect(await code(db.call("DeleteTable", { TableName: "protected" }))).toBe("ValidationException")
})
