import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb"
import { DisableKeyCommand, KMSClient } from "@aws-sdk/client-kms"
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3"
import { createDynamoTable } from "@sealwright/adapters/dynamodb"
import { createKmsKeyMaker, createKmsKeys } from "@sealwright/adapters/kms"
import { createS3Objects } from "@sealwright/adapters/s3"
import { clientOptions } from "@sealwright/adapters/sdk"
import type { Objects, Table } from "@sealwright/core/ports"
import type { KeyHome } from "./keys-contract.ts"

export const REGION = "eu-central-1"
export const CREDENTIALS = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}

const options = (endpoint: string) => ({
  ...clientOptions({ region: REGION, endpoint, requestTimeoutMs: 20_000 }),
  credentials: CREDENTIALS,
})
const newName = (kind: string) => `contract-${kind}-${Math.random().toString(36).slice(2)}`

/** A new table in the shape that the ledger wants, at any address that speaks DynamoDB. */
export async function tableAt(endpoint: string): Promise<Table> {
  const client = new DynamoDBClient(options(endpoint))
  const name = newName("table")
  const text = (AttributeName: string) => ({ AttributeName, AttributeType: "S" as const })
  const schema = (partition: string, sort: string) => [
    { AttributeName: partition, KeyType: "HASH" as const },
    { AttributeName: sort, KeyType: "RANGE" as const },
  ]
  await client.send(
    new CreateTableCommand({
      TableName: name,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: ["pk", "sk", "byProfile", "byProfileAt"].map(text),
      KeySchema: schema("pk", "sk"),
      GlobalSecondaryIndexes: [
        {
          IndexName: "byProfile",
          KeySchema: schema("byProfile", "byProfileAt"),
          Projection: { ProjectionType: "ALL" },
        },
      ],
    }),
  )
  return createDynamoTable(client, name)
}

export async function objectsAt(endpoint: string): Promise<Objects> {
  const client = new S3Client({ ...options(endpoint), forcePathStyle: true })
  const name = newName("bucket")
  await client.send(
    new CreateBucketCommand({ Bucket: name, CreateBucketConfiguration: { LocationConstraint: REGION } }),
  )
  return createS3Objects(client, name)
}

export async function keysAt(endpoint: string): Promise<KeyHome> {
  const client = new KMSClient(options(endpoint))
  return {
    keys: createKmsKeys(client),
    maker: createKmsKeyMaker(client, { stack: "contract" }),
    async disable({ keyId }) {
      await client.send(new DisableKeyCommand({ KeyId: keyId }))
    },
  }
}
