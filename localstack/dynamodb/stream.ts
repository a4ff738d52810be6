import type { Request } from "./request.ts"
import { isRecord } from "./values.ts"

/** Partition and sort key of an item that a call put down. */
export interface PutKey {
  readonly pk: string
  readonly sk: string
}

/**
 * What a call that succeeded has put, as a stream of keys would show it. Whether something stood there before is not told apart, so an overwritten
 * item looks like a new one: streams may repeat themselves anyway.
 */
export function putsOf(operation: string, request: Request): PutKey[] {
  if (operation === "PutItem") return keysOf(request.Item)
  if (operation === "TransactWriteItems" && Array.isArray(request.TransactItems))
    return request.TransactItems.flatMap((write) =>
      isRecord(write) && isRecord(write.Put) ? keysOf(write.Put.Item) : [],
    )
  return []
}

function keysOf(item: unknown): PutKey[] {
  if (!isRecord(item)) return []
  const text = (value: unknown) => (isRecord(value) && typeof value.S === "string" ? value.S : undefined)
  const pk = text(item.pk)
  const sk = text(item.sk)
  return pk === undefined || sk === undefined ? [] : [{ pk, sk }]
}
