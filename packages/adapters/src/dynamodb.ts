/**
 * The ledger's table on DynamoDB. IAM: dynamodb:GetItem, Query, PutItem, UpdateItem, DeleteItem, ConditionCheckItem on the
 * table (a transaction needs the rights of its parts), Query on its index `byProfile`.
 */
import { randomUUID } from "node:crypto"
import {
  type CancellationReason,
  DynamoDBClient,
  GetItemCommand,
  QueryCommand,
  TransactionCanceledException,
  TransactWriteItemsCommand,
} from "@aws-sdk/client-dynamodb"
import { ServiceError } from "@sealwright/core/errors"
import type { QueryPage, QueryRange, Table, TransactResult, Write, WriteOutcome } from "@sealwright/core/ports"
import { itemFrom, keyTo, writeTo } from "./dynamodb-expressions.ts"
import { backOff, type ClientSettings, clientOptions, errorName, isRefusal } from "./sdk.ts"
import { checkWrites } from "./writes.ts"

/** Attempts of a transaction that met another one; with the pauses between them about two seconds. */
const TRANSACT_ATTEMPTS = 8

export function createDynamoTable(client: DynamoDBClient, tableName: string): Table {
  async function transact(writes: readonly Write[]): Promise<TransactResult> {
    checkWrites(writes)
    const items = writes.map((write) => writeTo(tableName, write))
    for (let attempt = 0; attempt < TRANSACT_ATTEMPTS; attempt++) {
      if (attempt > 0) await backOff(attempt)
      const result = await tryTransact(items)
      if (result !== "conflict") return result
    }
    throw new ServiceError("CONTENTION", `a transaction met others ${TRANSACT_ATTEMPTS} times`)
  }

  /** The token makes the SDK's own retries of one attempt apply once. */
  async function tryTransact(items: ReturnType<typeof writeTo>[]): Promise<TransactResult | "conflict"> {
    try {
      await client.send(new TransactWriteItemsCommand({ TransactItems: items, ClientRequestToken: randomUUID() }))
      return { committed: true }
    } catch (error) {
      if (!(error instanceof TransactionCanceledException)) throw storeError(error)
      return readReasons(error, error.CancellationReasons ?? [], items.length)
    }
  }

  async function query(
    index: "byProfile" | undefined,
    partition: string,
    value: string,
    sort: string,
    range: QueryRange,
  ): Promise<QueryPage> {
    const { after, limit, descending = false } = range
    const from = !descending && after !== undefined && after > (range.from ?? "") ? after : range.from
    const to = descending && after !== undefined && (range.to === undefined || after < range.to) ? after : range.to
    if (from !== undefined && to !== undefined && from > to) return { items: [], next: undefined }
    const bounds =
      from !== undefined && to !== undefined
        ? " AND #s BETWEEN :f AND :t"
        : from !== undefined
          ? " AND #s >= :f"
          : to !== undefined
            ? " AND #s <= :t"
            : ""
    const answer = await client
      .send(
        new QueryCommand({
          TableName: tableName,
          ...(index === undefined ? { ConsistentRead: true } : { IndexName: index }),
          KeyConditionExpression: `#p = :p${bounds}`,
          ExpressionAttributeNames: { "#p": partition, ...(bounds !== "" && { "#s": sort }) },
          ExpressionAttributeValues: {
            ":p": { S: value },
            ...(from !== undefined && { ":f": { S: from } }),
            ...(to !== undefined && { ":t": { S: to } }),
          },
          ScanIndexForward: !descending,
          ...(limit !== undefined && { Limit: after === undefined ? limit : limit + 1 }),
        }),
      )
      .catch(rethrow)
    const found = (answer.Items ?? []).map(itemFrom).filter((item) => item[sort] !== after)
    const items = limit === undefined ? found : found.slice(0, limit)
    const next = items.length < found.length ? items.at(-1)?.[sort] : answer.LastEvaluatedKey?.[sort]?.S
    return { items, next: next as string | undefined }
  }

  return {
    transact,
    async get(key) {
      const answer = await client
        .send(new GetItemCommand({ TableName: tableName, Key: keyTo(key), ConsistentRead: true }))
        .catch(rethrow)
      return answer.Item && itemFrom(answer.Item)
    },
    query: (pk, range = {}) => query(undefined, "pk", pk, "sk", range),
    queryIndex: (index, value, range = {}) => query(index, index, value, `${index}At`, range),
  }
}

const BUSY = new Set(["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])

function readReasons(
  error: TransactionCanceledException,
  reasons: readonly CancellationReason[],
  count: number,
): TransactResult | "conflict" {
  if (reasons.length !== count) throw error
  if (reasons.some(({ Code }) => BUSY.has(Code ?? ""))) return "conflict"
  const outcomes = reasons.map(({ Code, Item }): WriteOutcome => {
    if (Code === undefined || Code === "None") return { failed: false }
    if (Code !== "ConditionalCheckFailed") throw error
    return { failed: true, item: Item && Object.keys(Item).length > 0 ? itemFrom(Item) : undefined }
  })
  return { committed: false, outcomes }
}

function storeError(error: unknown): unknown {
  if (isRefusal(error) && errorName(error) !== "TransactionInProgressException") return error
  return new ServiceError("STORE_UNAVAILABLE", `the table did not answer: ${errorName(error)}`, { cause: error })
}

function rethrow(error: unknown): never {
  throw storeError(error)
}

/** The table behind a client of its own, as functions and commands open it. */
export function openDynamoTable(tableName: string, settings: ClientSettings = {}): Table {
  return createDynamoTable(new DynamoDBClient(clientOptions(settings)), tableName)
}
