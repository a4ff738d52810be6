import { createHash } from "node:crypto"
import { ServiceError } from "@sealwright/core/errors"
import type { ObjectHeaders, Objects } from "@sealwright/core/ports"

export interface PublishedObject extends ObjectHeaders {
  readonly bytes: Uint8Array
}

export interface MemoryObjects extends Objects {
  /** Copies of every object: what fsck and readers see. */
  dump(): ReadonlyMap<string, PublishedObject>
  /** Deletes, as nobody in the service may, what a key matches. @returns what was there */
  lose(matches: (key: string) => boolean): ReadonlyMap<string, PublishedObject>
  /** Another bucket that begins as this one stands. */
  fork(): MemoryObjects
}

interface Stored extends PublishedObject {
  readonly etag: string
  readonly immutable: boolean
}

/**
 * The published objects in memory: S3's semantics. For tests, and an oracle: an object that `create` made is immutable,
 * so replacing it throws.
 */
export function createMemoryObjects(): MemoryObjects {
  return objectsIn(new Map())
}

function objectsIn(objects: Map<string, Stored>): MemoryObjects {
  function put(key: string, bytes: Uint8Array, headers: ObjectHeaders, immutable: boolean): { etag: string } {
    const etag = `"${createHash("md5").update(bytes).digest("hex")}"`
    const { contentType, cacheControl } = headers
    objects.set(key, { bytes: new Uint8Array(bytes), etag, contentType, cacheControl, immutable })
    return { etag }
  }

  return {
    async get(key, maxBytes) {
      const stored = objects.get(key)
      if (stored === undefined) return undefined
      if (stored.bytes.length > maxBytes)
        throw new ServiceError("PUBLICATION_MISMATCH", `${key} is larger than ${maxBytes} bytes`)
      return { bytes: new Uint8Array(stored.bytes), etag: stored.etag }
    },
    async create(key, bytes, headers) {
      return objects.has(key) ? "exists" : put(key, bytes, headers, true)
    },
    async replace(key, bytes, etag, headers) {
      const stored = objects.get(key)
      if (stored?.etag !== etag) return "changed"
      if (stored?.immutable) throw new Error(`oracle: ${key} is immutable and was about to be replaced`)
      return put(key, bytes, headers, false)
    },
    lose(matches) {
      const lost = [...objects].filter(([key]) => matches(key))
      for (const [key] of lost) objects.delete(key)
      return new Map(lost)
    },
    fork: () => objectsIn(new Map(objects)),
    dump() {
      return new Map(
        [...objects].map(([key, { bytes, contentType, cacheControl }]) => [
          key,
          { bytes: new Uint8Array(bytes), contentType, cacheControl },
        ]),
      )
    },
  }
}
