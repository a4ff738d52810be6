/**
 * Reading a whole table and bucket, for fsck and the audit of the logs alone; shares no code with the service's adapters.
 * IAM: dynamodb:Scan and dynamodb:GetItem on the table, s3:ListBucket and s3:GetObject on the bucket; for the audit dynamodb:BatchGetItem and dynamodb:Query
 * instead of dynamodb:GetItem.
 */
import { setTimeout as sleep } from "node:timers/promises"
import {
  type AttributeValue,
  BatchGetItemCommand,
  DynamoDBClient,
  GetItemCommand,
  QueryCommand,
  ScanCommand,
} from "@aws-sdk/client-dynamodb"
import { GetObjectCommand, ListObjectsV2Command, NoSuchKey, S3Client } from "@aws-sdk/client-s3"

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

export type DumpedItem = { readonly pk: string; readonly sk: string } & { readonly [name: string]: DumpedValue }

interface DumpKey {
  readonly pk: string
  readonly sk: string
}

const KEYS_AT_ONCE = 100
const BATCH_ATTEMPTS = 8

/** Table and bucket piece by piece, for what does not fit into memory. Reads of the table are strongly consistent. */
export function openDump(tableName: string, bucket: string, dynamodb = new DynamoDBClient({}), s3 = new S3Client({})) {
  return {
    /** One page of the table. @param after `next` of the page before: the last key, as JSON */
    page: async (after: string | undefined) => {
      const start = after === undefined ? undefined : (JSON.parse(after) as Record<string, AttributeValue>)
      const page = await dynamodb.send(
        new ScanCommand({ TableName: tableName, ConsistentRead: true, ExclusiveStartKey: start }),
      )
      const items = (page.Items ?? []).map((item) => mapOf(item) as DumpedItem)
      return { items, next: page.LastEvaluatedKey && JSON.stringify(page.LastEvaluatedKey) }
    },
    /** Items that are there, of any number of keys, in any order. */
    get: async (keys: readonly DumpKey[]) => {
      const items: DumpedItem[] = []
      for (let at = 0; at < keys.length; at += KEYS_AT_ONCE)
        items.push(...(await batchGet(dynamodb, tableName, keys.slice(at, at + KEYS_AT_ONCE))))
      return items
    },
    /** A whole partition. */
    query: async (pk: string) => {
      const items: DumpedItem[] = []
      let start: Record<string, AttributeValue> | undefined
      do {
        const page = await dynamodb.send(
          new QueryCommand({
            TableName: tableName,
            ConsistentRead: true,
            KeyConditionExpression: "pk = :pk",
            ExpressionAttributeValues: { ":pk": { S: pk } },
            ExclusiveStartKey: start,
          }),
        )
        items.push(...(page.Items ?? []).map((item) => mapOf(item) as DumpedItem))
        start = page.LastEvaluatedKey
      } while (start !== undefined)
      return items
    },
    /** @returns undefined when there is no such object, or it is longer than `maxBytes` */
    read: async (key: string, maxBytes: number) => {
      try {
        const { Body, ContentLength = 0 } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }))
        if (ContentLength > maxBytes) await Body?.transformToWebStream().cancel()
        if (Body === undefined || ContentLength > maxBytes) return undefined
        return await Body.transformToByteArray()
      } catch (error) {
        if (error instanceof NoSuchKey) return undefined
        throw error
      }
    },
  }
}

async function batchGet(dynamodb: DynamoDBClient, tableName: string, keys: readonly DumpKey[]): Promise<DumpedItem[]> {
  const items: DumpedItem[] = []
  let left: Record<string, AttributeValue>[] = keys.map(({ pk, sk }) => ({ pk: { S: pk }, sk: { S: sk } }))
  for (let attempt = 0; left.length > 0; attempt++) {
    if (attempt === BATCH_ATTEMPTS) throw new Error(`${tableName} does not give ${left.length} items`)
    if (attempt > 0) await sleep(50 * 2 ** attempt)
    const answer = await dynamodb.send(
      new BatchGetItemCommand({ RequestItems: { [tableName]: { Keys: left, ConsistentRead: true } } }),
    )
    items.push(...(answer.Responses?.[tableName] ?? []).map((item) => mapOf(item) as DumpedItem))
    left = answer.UnprocessedKeys?.[tableName]?.Keys ?? []
  }
  return items
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
