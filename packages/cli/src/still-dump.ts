import { setTimeout as sleep } from "node:timers/promises"
import { isDeepStrictEqual } from "node:util"
import { dumpBucket, dumpItem, dumpTable } from "@sealwright/adapters/dump"
import type { Dump, StoredItem } from "./fsck/state.ts"

/** Every change of what is published is decided in one of these items before, and noted in it after. */
const HEADS = [
  { pk: "publication", sk: "head" },
  { pk: "log", sk: "signatures" },
  { pk: "log", sk: "events" },
]
const PREFIXES = ["tuf/", "crl/", "trees/", "log/"]
const ATTEMPTS = 6
const PAUSE_MS = 500

export interface DumpReaders {
  head(key: { readonly pk: string; readonly sk: string }): Promise<unknown>
  items(): Promise<readonly StoredItem[]>
  objects(): Promise<ReadonlyMap<string, Uint8Array>>
}

/**
 * Table and bucket of one moment: read again when an epoch of the lists or of a log was decided or shown meanwhile, since the bucket is read after the
 * table and would be ahead of it.
 * @returns `still` false when that happened at each of six attempts: the dump is of more than one moment
 */
export async function dumpStill(readers: DumpReaders, pauseMs = PAUSE_MS): Promise<Dump & { readonly still: boolean }> {
  for (let attempt = 1; ; attempt++) {
    const before = await Promise.all(HEADS.map(readers.head))
    const items = await readers.items()
    const objects = await readers.objects()
    const still = isDeepStrictEqual(before, await Promise.all(HEADS.map(readers.head)))
    if (still || attempt === ATTEMPTS) return { items, objects, still }
    await sleep(pauseMs)
  }
}

/** @param progress is told how much was read so far */
export function dumpReaders(
  table: string,
  bucket: string,
  progress: (what: "items" | "objects", count: number) => void,
  dynamodb?: Parameters<typeof dumpTable>[2],
  s3?: Parameters<typeof dumpBucket>[3],
): DumpReaders {
  return {
    head: (key) => dumpItem(table, key, dynamodb),
    items: async () =>
      (await dumpTable(table, (count) => progress("items", count), dynamodb)) as unknown as readonly StoredItem[],
    objects: () => dumpBucket(bucket, PREFIXES, (count) => progress("objects", count), s3),
  }
}
