/**
 * Reading a whole table and bucket, for fsck alone; shares no code with the service's adapters.
 * IAM: dynamodb:Scan and dynamodb:GetItem on the table, s3:ListBucket and s3:GetObject on the bucket.
 */
import { type AttributeValue, DynamoDBClient, GetItemCommand, ScanCommand } from "@aws-sdk/client-dynamodb"
import { GetObjectCommand, ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3"

/** Plain values of DynamoDB items: numbers as numbers, binary as bytes, string sets as sets. */
export type DumpedValue =
  | string
  | number
  | boolean
  | Uint8Array
  | ReadonlySet<string>
  | readonly DumpedValue[]
  | { readonly [name: string]: DumpedValue }

/** @param progress is told how many items were read so far */
export async function dumpTable(
  tableName: string,
  progress: (items: number) => void,
  client = new DynamoDBClient({}),
): Promise<{ readonly [name: string]: DumpedValue }[]> {
  const items: { readonly [name: string]: DumpedValue }[] = []
  let start: Record<string, AttributeValue> | undefined
  do {
    const page = await client.send(
      new ScanCommand({ TableName: tableName, ConsistentRead: true, ExclusiveStartKey: start }),
    )
    for (const item of page.Items ?? []) items.push(mapOf(item))
    progress(items.length)
    start = page.LastEvaluatedKey
  } while (start !== undefined)
  return items
}

/** @returns undefined when there is no such item */
export async function dumpItem(
  tableName: string,
  { pk, sk }: { readonly pk: string; readonly sk: string },
  client = new DynamoDBClient({}),
): Promise<{ readonly [name: string]: DumpedValue } | undefined> {
  const key = { pk: { S: pk }, sk: { S: sk } }
  const { Item } = await client.send(new GetItemCommand({ TableName: tableName, Key: key, ConsistentRead: true }))
  return Item && mapOf(Item)
}

/** Every object below the prefixes. */
export async function dumpBucket(
  bucket: string,
  prefixes: readonly string[],
  progress: (objects: number) => void,
  client = new S3Client({}),
): Promise<Map<string, Uint8Array>> {
  const objects = new Map<string, Uint8Array>()
  for (const prefix of prefixes) {
    let token: string | undefined
    do {
      const page = await client.send(
        new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, ContinuationToken: token }),
      )
      for (const { Key } of page.Contents ?? []) {
        if (Key === undefined) continue
        const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key }))
        if (Body !== undefined) objects.set(Key, await Body.transformToByteArray())
        progress(objects.size)
      }
      token = page.NextContinuationToken
    } while (token !== undefined)
  }
  return objects
}

function mapOf(item: Record<string, AttributeValue>): { readonly [name: string]: DumpedValue } {
  return Object.fromEntries(Object.entries(item).map(([name, value]) => [name, plainOf(value)]))
}

function plainOf(value: AttributeValue): DumpedValue {
  if (value.S !== undefined) return value.S
  if (value.N !== undefined) return Number(value.N)
  if (value.BOOL !== undefined) return value.BOOL
  if (value.B !== undefined) return value.B
  if (value.SS !== undefined) return new Set(value.SS)
  if (value.L !== undefined) return value.L.map(plainOf)
  if (value.M !== undefined) return mapOf(value.M)
  throw new TypeError(`an attribute of a type that the service never writes: ${Object.keys(value).join()}`)
}
