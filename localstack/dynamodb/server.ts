import { randomUUID } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import { crc32 } from "node:zlib"
import { AwsError, asAwsError, isConnectionCut } from "../http/aws-error.ts"
import { type CallHook, withFaults } from "../http/faults.ts"
import {
  type Authenticate,
  BodyTooLarge,
  closeAfterAnswer,
  type Listener,
  listenOnLoopback,
  readBody,
} from "../http/loopback.ts"
import { batchGetItem, batchWriteItem } from "./batches.ts"
import { deleteItem, getItem, putItem, updateItem } from "./items.ts"
import { query, scan } from "./queries.ts"
import type { Reply, Request } from "./request.ts"
import { Store } from "./store.ts"
import { type PutKey, putsOf } from "./stream.ts"
import {
  createTable,
  deleteTable,
  describeContinuousBackups,
  describeTable,
  describeTimeToLive,
  listTables,
  type Place,
  updateContinuousBackups,
  updateTimeToLive,
} from "./tables.ts"
import { transactGetItems, transactWriteItems } from "./transactions.ts"
import { isRecord } from "./values.ts"

export interface DynamoDbOptions {
  /** SQLite file that holds everything, or ":memory:" */
  readonly path: string
  readonly clock: () => Date
  readonly onCall?: CallHook
  /** default: every request is let in */
  readonly authenticate?: Authenticate
  /** told of the keys of what a call has put, once that is durable */
  readonly onPuts?: (puts: readonly PutKey[]) => void
  /** named in ARNs; default us-east-1 and 000000000000 */
  readonly region?: string
  readonly account?: string
}

export interface EmbeddedDynamoDb {
  /** Answers one HTTP request of the DynamoDB protocol (JSON 1.0). Never rejects. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>
  /** Makes one call without HTTP; the hook runs as for any other. @throws AwsError */
  call(operation: string, request: Request): Promise<Reply>
  /** Listens on 127.0.0.1. @param options.port default 0: the system chooses */
  listen(options?: { port?: number }): Promise<Listener>
  /** Deletes items whose time to live is over; also done by itself about once a minute. @returns how many */
  sweep(): number
  /** Closes listeners and the file. */
  close(): Promise<void>
}

type Operation = (store: Store, request: Request, now: Date, place: Place) => Reply

const OPERATIONS: ReadonlyMap<string, Operation> = new Map<string, Operation>(
  Object.entries({
    CreateTable: createTable,
    DescribeTable: describeTable,
    DeleteTable: deleteTable,
    ListTables: listTables,
    UpdateTimeToLive: updateTimeToLive,
    DescribeTimeToLive: describeTimeToLive,
    DescribeContinuousBackups: describeContinuousBackups,
    UpdateContinuousBackups: updateContinuousBackups,
    GetItem: getItem,
    PutItem: putItem,
    UpdateItem: updateItem,
    DeleteItem: deleteItem,
    Query: query,
    Scan: scan,
    BatchGetItem: batchGetItem,
    BatchWriteItem: batchWriteItem,
    TransactWriteItems: transactWriteItems,
    TransactGetItems: transactGetItems,
  }),
)

const TARGET = "DynamoDB_20120810."
const NAMESPACE = "com.amazonaws.dynamodb.v20120810#"
const MAX_BODY_BYTES = 24 * 1024 * 1024
const SWEEP_PERIOD_SEC = 60

/** A DynamoDB subset over AWS's own protocol, on one SQLite file. Every call is one SQLite transaction. */
export function createDynamoDb(options: DynamoDbOptions): EmbeddedDynamoDb {
  const store = new Store(options.path)
  const place = { region: options.region ?? "us-east-1", account: options.account ?? "000000000000" }
  const listeners: Listener[] = []
  let sweptSec = Number.NEGATIVE_INFINITY

  const sweep = () => {
    sweptSec = Math.floor(options.clock().getTime() / 1000)
    return store.transaction(() => store.sweep(sweptSec))
  }

  const call = async (operation: string, request: Request): Promise<Reply> => {
    const run = OPERATIONS.get(operation)
    if (!run) throw new AwsError("UnknownOperationException", "An unknown operation was requested.")
    return withFaults(options.onCall, operation, () => {
      const now = options.clock()
      if (now.getTime() / 1000 - sweptSec >= SWEEP_PERIOD_SEC) sweep()
      const reply = store.transaction(() => run(store, request, now, place))
      options.onPuts?.(putsOf(operation, request))
      return reply
    })
  }

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      const body = await readBody(request, MAX_BODY_BYTES)
      await options.authenticate?.(request, body)
      send(response, 200, await call(operationOf(request), parseBody(body)))
    } catch (error) {
      if (isConnectionCut(error)) {
        response.destroy()
      } else if (error instanceof BodyTooLarge) {
        closeAfterAnswer(request, response)
        sendError(response, new AwsError("RequestEntityTooLargeException", "The request is larger than 24 MiB", 413))
      } else {
        sendError(response, asAwsError(error, "InternalServerError"))
      }
    }
  }

  return {
    handle,
    call,
    sweep,
    async listen({ port = 0 } = {}) {
      const listener = await listenOnLoopback(handle, port)
      listeners.push(listener)
      return listener
    },
    async close() {
      await Promise.all(listeners.map((listener) => listener.close()))
      store.close()
    },
  }
}

function operationOf(request: IncomingMessage): string {
  const target = request.headers["x-amz-target"]
  if (request.method !== "POST" || typeof target !== "string" || !target.startsWith(TARGET)) {
    throw new AwsError("UnknownOperationException", "An unknown operation was requested.")
  }
  return target.slice(TARGET.length)
}

function parseBody(body: Uint8Array): Request {
  let parsed: unknown
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body))
  } catch {
    throw new AwsError("SerializationException", "The request body is no JSON")
  }
  if (!isRecord(parsed)) throw new AwsError("SerializationException", "The request body is no JSON object")
  return parsed
}

function sendError(response: ServerResponse, error: AwsError): void {
  const namespace = error.code === "ValidationException" ? "com.amazon.coral.validate#" : NAMESPACE
  send(response, error.status, { __type: namespace + error.code, message: error.message, ...error.members })
}

function send(response: ServerResponse, status: number, reply: Reply): void {
  const body = Buffer.from(JSON.stringify(reply))
  response.writeHead(status, {
    "content-type": "application/x-amz-json-1.0",
    "content-length": body.length,
    "x-amzn-requestid": randomUUID(),
    "x-amz-crc32": crc32(body),
  })
  response.end(body)
}
