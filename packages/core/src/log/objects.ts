import { bytesEqual } from "@sealwright/formats/bytes"
import { ServiceError } from "../errors.ts"
import type { ObjectHeaders, Objects } from "../ports.ts"

const IMMUTABLE = "public, max-age=31536000, immutable"

export const LOG_HEADERS = {
  tile: { contentType: "application/octet-stream", cacheControl: IMMUTABLE },
  checkpoint: { contentType: "text/plain; charset=utf-8", cacheControl: "public, max-age=5" },
  staging: { contentType: "application/octet-stream", cacheControl: "no-store" },
} as const satisfies Record<string, ObjectHeaders>

/** Objects that are read or written at once. */
const AT_ONCE = 16

/** Writes an immutable object, or finds it there with the same bytes. @throws ServiceError LOG_FORKED */
export async function createSame(
  objects: Objects,
  key: string,
  bytes: Uint8Array,
  headers: ObjectHeaders,
): Promise<void> {
  if ((await objects.create(key, bytes, headers)) !== "exists") return
  const standing = await objects.get(key, bytes.length)
  if (standing === undefined || !bytesEqual(standing.bytes, bytes))
    throw new ServiceError("LOG_FORKED", `${key} holds other bytes than committed`)
}

/** Calls for each, some at a time, in their order. */
export async function forEach<T, R>(items: readonly T[], call: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  for (let at = 0; at < items.length; at += AT_ONCE)
    results.push(...(await Promise.all(items.slice(at, at + AT_ONCE).map(call))))
  return results
}
