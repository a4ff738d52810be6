import { setTimeout as sleep } from "node:timers/promises"
import type { Item, Objects, QueryPage, SigningKeys, Table } from "@sealwright/core/ports"

/** What a service's ports were asked for: calls, each one request to the store behind it, and items that queries answered. */
export interface Calls {
  s3: number
  dynamodb: number
  kms: number
  items: number
}

/** Milliseconds that each call waits; none by default. */
export type Latency = Readonly<Record<"s3" | "dynamodb" | "kms", number>>

const NONE: Calls = { s3: 0, dynamodb: 0, kms: 0, items: 0 }
/** What DynamoDB answers a query with at most. */
const PAGE_BYTES = 1024 * 1024

/**
 * Ports that count, and that answer queries in pages as DynamoDB does, which the table in memory does not.
 * @returns `take` answers what was counted since it was asked last
 */
export function counted<P extends { readonly table: Table; readonly objects: Objects; readonly keys: SigningKeys }>(
  ports: P,
  latency?: Latency,
): { readonly ports: P; readonly take: () => Calls } {
  let calls: Calls = { ...NONE }
  const { table, objects, keys } = ports
  const count = <A extends readonly unknown[], R>(service: keyof Latency, call: (...args: A) => Promise<R>) => {
    return async (...args: A): Promise<R> => {
      calls[service] += 1
      if (latency !== undefined) await sleep(latency[service])
      return await call(...args)
    }
  }
  const query: Table["query"] = async (pk, range) => {
    const page = cutPage(await table.query(pk, range))
    calls.items += page.items.length
    return page
  }
  const watched: Pick<P, "table" | "objects" | "keys"> = {
    table: {
      get: count("dynamodb", table.get),
      query: count("dynamodb", query),
      queryIndex: count("dynamodb", table.queryIndex),
      transact: count("dynamodb", table.transact),
    },
    objects: {
      get: count("s3", objects.get),
      create: count("s3", objects.create),
      replace: count("s3", objects.replace),
    },
    keys: { sign: count("kms", keys.sign) },
  }
  const take = () => {
    const taken = calls
    calls = { ...NONE }
    return taken
  }
  return { ports: { ...ports, ...watched }, take }
}

function cutPage(page: QueryPage): QueryPage {
  let bytes = 0
  for (const [i, item] of page.items.entries()) {
    bytes += bytesOf(item)
    if (bytes > PAGE_BYTES) return { items: page.items.slice(0, i), next: page.items[i - 1]?.sk }
  }
  return page
}

/** About what an item weighs: names and texts, other values by the length of their text. */
function bytesOf(item: Item): number {
  return Object.entries(item).reduce((sum, [name, value]) => sum + name.length + weight(value), 0)
}

function weight(value: unknown): number {
  if (typeof value === "string" || value instanceof Uint8Array) return value.length
  return JSON.stringify(value).length
}
