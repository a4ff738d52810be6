/**
 * The published objects on S3. IAM: s3:GetObject and s3:PutObject on the objects, s3:ListBucket on the bucket (without it a
 * missing object answers 403, not 404). Encryption and versions are the bucket's own settings.
 */
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3"
import { ServiceError } from "@sealwright/core/errors"
import type { ObjectHeaders, Objects } from "@sealwright/core/ports"
import { concat } from "@sealwright/formats/bytes"
import { backOff, type ClientSettings, clientOptions, errorName, isRefusal } from "./sdk.ts"

/** Attempts of a conditional write that met another one. */
const WRITE_ATTEMPTS = 6
/** Attempts of an answer whose body broke off, which the SDK does not try again. */
const READ_ATTEMPTS = 3

export function createS3Objects(client: S3Client, bucket: string): Objects {
  /** @returns undefined when the condition did not hold */
  async function put(
    key: string,
    bytes: Uint8Array,
    headers: ObjectHeaders,
    condition: { readonly IfMatch: string } | { readonly IfNoneMatch: "*" },
  ): Promise<{ etag: string } | undefined> {
    const command = new PutObjectCommand({
      Bucket: bucket,
      Key: key,
      Body: bytes,
      ContentLength: bytes.length,
      ContentType: headers.contentType,
      CacheControl: headers.cacheControl,
      ...condition,
    })
    for (let attempt = 0; attempt < WRITE_ATTEMPTS; attempt++) {
      if (attempt > 0) await backOff(attempt)
      try {
        const { ETag } = await client.send(command)
        if (ETag === undefined) throw new Error("an answer without an ETag")
        return { etag: ETag }
      } catch (error) {
        const name = errorName(error)
        if (name === "PreconditionFailed" || (name === "NoSuchKey" && "IfMatch" in condition)) return undefined
        if (name !== "ConditionalRequestConflict") throw storeError(error, key)
      }
    }
    throw new ServiceError("CONTENTION", `writing ${key} met others ${WRITE_ATTEMPTS} times`)
  }

  return {
    async get(key, maxBytes) {
      for (let attempt = 1; ; attempt++) {
        const answer = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key })).catch((error: unknown) => {
          if (errorName(error) === "NoSuchKey") return undefined
          throw storeError(error, key)
        })
        if (answer === undefined) return undefined
        const { Body, ContentLength, ETag } = answer
        if (Body === undefined || ETag === undefined) throw storeError(new Error("no body or ETag"), key)
        try {
          return { bytes: await readBody(Body as NodeBody, key, ContentLength ?? 0, maxBytes), etag: ETag }
        } catch (error) {
          if (error instanceof ServiceError || attempt === READ_ATTEMPTS) throw storeError(error, key)
        }
      }
    },
    async create(key, bytes, headers) {
      return (await put(key, bytes, headers, { IfNoneMatch: "*" })) ?? "exists"
    },
    async replace(key, bytes, etag, headers) {
      return (
        (await put(key, bytes, headers, etag === undefined ? { IfNoneMatch: "*" } : { IfMatch: etag })) ?? "changed"
      )
    },
  }
}

type NodeBody = AsyncIterable<Uint8Array> & { destroy(): void }

async function readBody(body: NodeBody, key: string, announced: number, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    if (announced > maxBytes) throw tooLarge(key, maxBytes)
    for await (const chunk of body) {
      length += chunk.length
      if (length > maxBytes) throw tooLarge(key, maxBytes)
      chunks.push(chunk)
    }
  } catch (error) {
    body.destroy()
    throw error
  }
  return concat(...chunks)
}

function tooLarge(key: string, maxBytes: number): ServiceError {
  return new ServiceError("PUBLICATION_MISMATCH", `${key} is larger than ${maxBytes} bytes`)
}

function storeError(error: unknown, key: string): unknown {
  if (error instanceof ServiceError || isRefusal(error)) return error
  return new ServiceError("STORE_UNAVAILABLE", `the bucket did not answer for ${key}: ${errorName(error)}`, {
    cause: error,
  })
}

/** The bucket behind a client of its own, as functions open it. */
export function openS3Objects(bucket: string, settings: ClientSettings = {}): Objects {
  return createS3Objects(new S3Client(clientOptions(settings)), bucket)
}
