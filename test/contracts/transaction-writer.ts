import { createDynamoDb } from "../../localstack/dynamodb/server.ts"

const PARTS = 5
const [path, from] = process.argv.slice(2)
const db = createDynamoDb({ path: String(path), clock: () => new Date() })

/** Writes transaction after transaction, each of several items and one bumped head, and prints the number of each answered one. */
for (let number = Number(from); ; number++) {
  await db.call("TransactWriteItems", {
    TransactItems: [
      ...Array.from({ length: PARTS }, (_, part) => ({
        Put: {
          TableName: "kills",
          Item: {
            pk: { S: `tx-${number}` },
            sk: { N: String(part) },
            owner: { S: `owner-${number}` },
            body: { S: "x".repeat(2000) },
          },
        },
      })),
      {
        Update: {
          TableName: "kills",
          Key: { pk: { S: "head" }, sk: { N: "0" } },
          UpdateExpression: "SET newest = :n",
          ExpressionAttributeValues: { ":n": { N: String(number) } },
        },
      },
    ],
  })
  process.stdout.write(`${number}\n`)
}
