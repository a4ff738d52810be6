import { afterAll, beforeAll } from "vitest"
import { createDynamoDb } from "../../localstack/dynamodb/server.ts"
import type { Listener } from "../../localstack/http/loopback.ts"
import { dynamoDbContract } from "./dynamodb.contract.ts"
import { dynamoDbAt } from "./stores.ts"

const embedded = createDynamoDb({ path: ":memory:", clock: () => new Date() })
let listener: Listener

beforeAll(async () => {
  listener = await embedded.listen()
})

afterAll(() => embedded.close())

dynamoDbContract("embedded", () => dynamoDbAt(listener.url))

const elsewhere = process.env.SEALWRIGHT_CONTRACT_DYNAMODB
if (elsewhere) dynamoDbContract(elsewhere, () => dynamoDbAt(elsewhere))
