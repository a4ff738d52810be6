import { AwsError } from "../http/aws-error.ts"
import { CONDITION_FAILED_MESSAGE, invalidParameter, validation } from "./errors.ts"
import { applyUpdate } from "./expressions/apply-update.ts"
import { parseCondition } from "./expressions/condition.ts"
import { holds } from "./expressions/evaluate.ts"
import { readPlaceholders, requireAllUsed } from "./expressions/placeholders.ts"
import { project } from "./expressions/projection.ts"
import type { Condition, Path } from "./expressions/syntax.ts"
import { parseUpdate, updatedPaths } from "./expressions/update.ts"
import { member, oneOf, type Request, refuseMembers } from "./request.ts"
import { indexPosition, itemPosition, keyAttributes, type Position, parseKey, type TableSchema } from "./schema.ts"
import type { Store } from "./store.ts"
import { tableOf } from "./tables.ts"
import { type Item, itemSize, parseItem, type Value, writeItem } from "./values.ts"

const MAX_ITEM_BYTES = 400 * 1024
const LEGACY = ["Expected", "ConditionalOperator", "AttributeUpdates"]

/** One write that has passed every check that needs no stored item. */
export interface Write {
  readonly table: TableSchema
  readonly position: Position
  readonly condition: Condition | undefined
  readonly returnOnFailure: boolean
  /** the paths that an update touches, for UPDATED_OLD and UPDATED_NEW */
  readonly touched: readonly Path[]
  /** the item after the write; undefined when there is none */
  next(before: Item | undefined): Item | undefined
}

/** A write's effect on its item, decided and not yet stored. */
export interface Effect {
  readonly before: Item | undefined
  readonly after: Item | undefined
}

export function preparePut(store: Store, request: Request): Write {
  const { schema } = tableOf(store, request)
  const item = parseItem(member(request, "Item"))
  const position = itemPosition(schema, item)
  requireSize(item, "Item size has exceeded the maximum allowed size")
  for (const index of schema.indexes) indexPosition(index, item)
  return { ...conditional(request, schema, position), next: () => item }
}

export function prepareDelete(store: Store, request: Request): Write {
  const { schema } = tableOf(store, request)
  const position = itemPosition(schema, parseKey(schema, member(request, "Key")))
  return { ...conditional(request, schema, position), next: () => undefined }
}

export function prepareConditionCheck(store: Store, request: Request): Write {
  if (member(request, "ConditionExpression") === undefined) {
    throw validation("The ConditionExpression of a ConditionCheck must not be null")
  }
  const { schema } = tableOf(store, request)
  const position = itemPosition(schema, parseKey(schema, member(request, "Key")))
  return { ...conditional(request, schema, position), next: (before) => before }
}

export function prepareUpdate(store: Store, request: Request): Write {
  refuseMembers(request, LEGACY)
  const { schema } = tableOf(store, request)
  const key = parseKey(schema, member(request, "Key"))
  const [ConditionExpression, UpdateExpression] = [
    member(request, "ConditionExpression"),
    member(request, "UpdateExpression"),
  ]
  const placeholders = readPlaceholders(request, { ConditionExpression, UpdateExpression })
  const update = UpdateExpression === undefined ? undefined : parseUpdate(UpdateExpression, placeholders)
  const condition =
    ConditionExpression === undefined
      ? undefined
      : parseCondition("ConditionExpression", ConditionExpression, placeholders)
  requireAllUsed(placeholders)
  const touched = update ? updatedPaths(update) : []
  for (const { name } of keyAttributes(schema)) {
    if (touched.some(([first]) => first === name)) {
      throw invalidParameter(`Cannot update attribute ${name}. This attribute is part of the key`)
    }
  }
  return {
    table: schema,
    position: itemPosition(schema, key),
    condition,
    returnOnFailure: returnsOnFailure(request),
    touched,
    next(before) {
      const after = update ? applyUpdate(before ?? key, update) : (before ?? key)
      requireSize(after, "Item size to update has exceeded the maximum allowed size")
      for (const index of schema.indexes) indexPosition(index, after)
      return after
    },
  }
}

function conditional(request: Request, table: TableSchema, position: Position): Omit<Write, "next"> {
  refuseMembers(request, LEGACY)
  const ConditionExpression = member(request, "ConditionExpression")
  const placeholders = readPlaceholders(request, { ConditionExpression })
  const condition =
    ConditionExpression === undefined
      ? undefined
      : parseCondition("ConditionExpression", ConditionExpression, placeholders)
  requireAllUsed(placeholders)
  return { table, position, condition, returnOnFailure: returnsOnFailure(request), touched: [] }
}

function returnsOnFailure(request: Request): boolean {
  return oneOf(request, "ReturnValuesOnConditionCheckFailure", ["NONE", "ALL_OLD"]) === "ALL_OLD"
}

function requireSize(item: Item, message: string): void {
  if (itemSize(item) > MAX_ITEM_BYTES) throw validation(message)
}

/** Decides a write against the stored item. @throws ConditionalCheckFailedException (with Item when asked), ValidationException */
export function decide(store: Store, write: Write): Effect {
  const before = store.getItem(write.table, write.position)
  if (write.condition && !holds(write.condition, before ?? new Map<string, Value>())) {
    throw new AwsError(
      "ConditionalCheckFailedException",
      CONDITION_FAILED_MESSAGE,
      400,
      write.returnOnFailure && before ? { Item: writeItem(before) } : {},
    )
  }
  return { before, after: write.next(before) }
}

/** Stores what `decide` decided, in the caller's transaction. */
export function apply(store: Store, write: Write, { before, after }: Effect): void {
  if (after === before) return
  if (after) store.putItem(write.table, write.position, after)
  else store.deleteItem(write.table, write.position)
}

export type ReturnValues = "NONE" | "ALL_OLD" | "ALL_NEW" | "UPDATED_OLD" | "UPDATED_NEW"

/** The item, or the part of it, that ReturnValues asks for; undefined where there is nothing to return. */
export function returned(kind: ReturnValues, { before, after }: Effect, touched: readonly Path[]): Item | undefined {
  if (kind === "NONE") return undefined
  const item = kind === "ALL_OLD" || kind === "UPDATED_OLD" ? before : after
  const part = item && (kind === "UPDATED_OLD" || kind === "UPDATED_NEW") ? project(item, touched) : item
  return part && part.size > 0 ? part : undefined
}
