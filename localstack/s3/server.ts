import { randomBytes } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import { type AwsError, asAwsError, isConnectionCut } from "../http/aws-error.ts"
import { type CallHook, withFaults } from "../http/faults.ts"
import { type Authenticate, closeAfterAnswer, type Listener, listenOnLoopback } from "../http/loopback.ts"
import {
  createBucket,
  deleteBucket,
  deleteObjects,
  getBucketLocation,
  getBucketVersioning,
  headBucket,
  listBuckets,
  putBucketVersioning,
} from "./buckets.ts"
import { S3Error, s3Error } from "./errors.ts"
import { listObjectsV2, listObjectVersions } from "./listing.ts"
import { copyObject, deleteObject, getObject, putObject } from "./objects.ts"
import { openPayload, type Payload, readRaw } from "./payload.ts"
import { parseTarget, type S3Reply, type S3Request } from "./request.ts"
import { type Bucket, ObjectStore } from "./store.ts"
import { writeXml, type XmlTree } from "./xml.ts"

export interface S3Options {
  /** SQLite file that holds everything, or ":memory:" */
  readonly path: string
  readonly clock: () => Date
  readonly onCall?: CallHook
  /** default: every request is let in */
  readonly authenticate?: Authenticate
  /** default us-east-1 */
  readonly region?: string
  /** largest object; default and most 64 MiB */
  readonly maxObjectBytes?: number
}

/** An object as a static front serves it. */
export interface ServedObject {
  readonly body: Uint8Array
  readonly etag: string
  readonly contentType: string
  readonly cacheControl: string | undefined
  readonly contentEncoding: string | undefined
  readonly lastModified: Date
}

export interface EmbeddedS3 {
  /** Answers one HTTP request of the S3 REST protocol. Never rejects. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>
  /** The newest version of an object, read without HTTP and without the hook; undefined when there is none. */
  read(bucket: string, key: string): ServedObject | undefined
  /** Listens on 127.0.0.1. @param options.port default 0: the system chooses */
  listen(options?: { port?: number }): Promise<Listener>
  /** Closes listeners and the file. */
  close(): Promise<void>
}

interface Context {
  readonly store: ObjectStore
  readonly request: S3Request
  readonly payload: Payload
  readonly now: Date
  readonly region: string
}

interface Route {
  readonly operation: string
  run(context: Context): S3Reply
}

const MAX_OBJECT_BYTES = 64 * 1024 * 1024
const MAX_DOCUMENT_BYTES = 2 * 1024 * 1024

/** An S3 subset over the REST protocol, on one SQLite file. Every call is one SQLite transaction. */
export function createS3(options: S3Options): EmbeddedS3 {
  const store = new ObjectStore(options.path)
  const region = options.region ?? "us-east-1"
  const maxObjectBytes = Math.min(options.maxObjectBytes ?? MAX_OBJECT_BYTES, MAX_OBJECT_BYTES)
  const listeners: Listener[] = []

  const answer = async (message: IncomingMessage): Promise<S3Reply> => {
    const request = parseTarget(message)
    const maxBytes = request.key !== undefined && request.method === "PUT" ? maxObjectBytes : MAX_DOCUMENT_BYTES
    const raw = await readRaw(message, maxBytes)
    await options.authenticate?.(message, raw)
    const { operation, run } = routeOf(request)
    const payload = openPayload(request.headers, raw, maxBytes)
    return withFaults(options.onCall, operation, () =>
      store.transaction(() => run({ store, request, payload, now: options.clock(), region })),
    )
  }

  const handle = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      send(message, response, await answer(message))
    } catch (error) {
      if (isConnectionCut(error)) response.destroy()
      else {
        if (!message.readableEnded) closeAfterAnswer(message, response)
        sendError(message, response, asAwsError(error, "InternalError"))
      }
    }
  }

  return {
    handle,
    read: (bucket, key) => readServed(store, bucket, key),
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

function readServed(store: ObjectStore, bucket: string, key: string): ServedObject | undefined {
  const version = store.latest(bucket, key)
  if (!version?.head) return undefined
  const { etag, size, headers } = version.head
  return {
    body: store.body(version.seq, 0, size),
    etag,
    contentType: headers["content-type"] ?? "binary/octet-stream",
    cacheControl: headers["cache-control"],
    contentEncoding: headers["content-encoding"],
    lastModified: version.modified,
  }
}

const LIST_PARAMETERS = ["prefix", "delimiter", "max-keys", "encoding-type"]
const READ_PARAMETERS = [
  "versionId",
  "response-cache-control",
  "response-content-disposition",
  "response-content-encoding",
].concat(["response-content-language", "response-content-type", "response-expires"])

/** Parameters of any request: the operation's name that SDKs add, and those of presigned addresses. */
function isCommon(parameter: string): boolean {
  return parameter === "x-id" || /^x-amz-/i.test(parameter)
}

/** Finds the operation. @throws NotImplemented on any parameter that the operation does not have */
function routeOf(request: S3Request): Route {
  const { method, bucket, key, query, headers } = request
  const given = [...new Set(query.keys())].filter((parameter) => !isCommon(parameter))
  const only = (route: Route, ...parameters: readonly string[]) => {
    const other = given.find((parameter) => !parameters.includes(parameter))
    if (other !== undefined) throw s3Error("NotImplemented", { Parameter: other })
    return route
  }
  if (bucket === undefined) {
    if (method === "GET") return only({ operation: "ListBuckets", run: ({ store }) => listBuckets(store) })
  } else if (key !== undefined) {
    switch (method) {
      case "GET":
        return only(onKey("GetObject", getObjectIn), ...READ_PARAMETERS)
      case "HEAD":
        return only(onKey("HeadObject", getObjectIn), ...READ_PARAMETERS)
      case "DELETE":
        return only(
          onKey("DeleteObject", (at, name, { store, request, now }) => deleteObject(store, at, name, request, now)),
          "versionId",
        )
      case "PUT":
        if (headers["x-amz-copy-source"] !== undefined) {
          return only(
            onKey("CopyObject", (at, name, { store, request, now }) => copyObject(store, at, name, request, now)),
          )
        }
        return only(
          onKey("PutObject", (at, name, { store, request, payload, now }) =>
            putObject(store, at, name, request, payload, now),
          ),
        )
    }
  } else if (method === "PUT") {
    if (query.has("versioning")) {
      return only(
        onBucket("PutBucketVersioning", (at, { store, payload }) => putBucketVersioning(store, at, payload.bytes)),
        "versioning",
      )
    }
    return only({
      operation: "CreateBucket",
      run: ({ store, request, now, region }) => createBucket(store, bucket, request, now, region),
    })
  } else if (method === "HEAD") {
    return only(onBucket("HeadBucket", (_, { region }) => headBucket(region)))
  } else if (method === "DELETE") {
    return only(onBucket("DeleteBucket", (at, { store }) => deleteBucket(store, at)))
  } else if (method === "POST" && query.has("delete")) {
    return only(
      onBucket("DeleteObjects", (at, { store, payload, now }) => deleteObjects(store, at, payload.bytes, now)),
      "delete",
    )
  } else if (method === "GET") {
    if (query.has("location"))
      return only(
        onBucket("GetBucketLocation", (_, { region }) => getBucketLocation(region)),
        "location",
      )
    if (query.has("versioning"))
      return only(
        onBucket("GetBucketVersioning", (at) => getBucketVersioning(at)),
        "versioning",
      )
    if (query.has("versions")) {
      return only(
        onBucket("ListObjectVersions", (at, { store, request }) => listObjectVersions(store, at, request)),
        ...LIST_PARAMETERS.concat(["versions", "key-marker", "version-id-marker"]),
      )
    }
    if (query.get("list-type") === "2") {
      return only(
        onBucket("ListObjectsV2", (at, { store, request }) => listObjectsV2(store, at, request)),
        ...LIST_PARAMETERS.concat(["list-type", "continuation-token", "start-after"]),
      )
    }
    throw s3Error("NotImplemented", { Parameter: "list-type" })
  }
  throw s3Error("MethodNotAllowed", { Method: method })
}

function getObjectIn(bucket: Bucket, key: string, { store, request }: Context): S3Reply {
  return getObject(store, bucket, key, request)
}

function onBucket(operation: string, run: (bucket: Bucket, context: Context) => S3Reply): Route {
  return {
    operation,
    run(context) {
      const name = context.request.bucket ?? ""
      const bucket = context.store.bucket(name)
      if (!bucket) throw s3Error("NoSuchBucket", { BucketName: name })
      return run(bucket, context)
    },
  }
}

function onKey(operation: string, run: (bucket: Bucket, key: string, context: Context) => S3Reply): Route {
  return onBucket(operation, (bucket, context) => run(bucket, context.request.key ?? "", context))
}

function send(message: IncomingMessage, response: ServerResponse, { status, headers, body }: S3Reply): void {
  response.writeHead(status, {
    "x-amz-request-id": randomBytes(8).toString("hex").toUpperCase(),
    "x-amz-id-2": randomBytes(16).toString("base64"),
    ...(status !== 204 && status !== 304 && { "content-length": String(body?.length ?? 0) }),
    ...headers,
  })
  response.end(message.method === "HEAD" ? undefined : body)
}

function sendError(message: IncomingMessage, response: ServerResponse, error: AwsError): void {
  const body = writeXml(
    "Error",
    { Code: error.code, Message: error.message, ...(error.members as XmlTree), RequestId: "local", HostId: "local" },
    false,
  )
  const headers = error instanceof S3Error ? error.headers : {}
  send(message, response, { status: error.status, headers: { "content-type": "application/xml", ...headers }, body })
}
