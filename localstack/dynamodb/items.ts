import { CapacityMeter } from "./capacity.ts"
import { readPlaceholders, requireAllUsed } from "./expressions/placeholders.ts"
import { parseProjection, project } from "./expressions/projection.ts"
import type { Path } from "./expressions/syntax.ts"
import { flag, member, oneOf, type Reply, type Request, refuseMembers } from "./request.ts"
import { itemPosition, parseKey } from "./schema.ts"
import type { Store } from "./store.ts"
import { tableOf } from "./tables.ts"
import { type Item, itemSize, writeItem } from "./values.ts"
import {
  apply,
  decide,
  prepareDelete,
  preparePut,
  prepareUpdate,
  type ReturnValues,
  returned,
  type Write,
} from "./writes.ts"

export function getItem(store: Store, request: Request): Reply {
  const meter = new CapacityMeter(request)
  const { schema } = tableOf(store, request)
  const paths = readProjection(request)
  const item = store.getItem(schema, itemPosition(schema, parseKey(schema, member(request, "Key"))))
  meter.read(schema, item ? itemSize(item) : 0, flag(request, "ConsistentRead") ? 1 : 0.5)
  return { ...(item && { Item: shown(item, paths) }), ...meter.single() }
}

/** Reads ProjectionExpression with its names. @returns undefined where the whole item is asked for */
export function readProjection(request: Request): readonly Path[] | undefined {
  refuseMembers(request, ["AttributesToGet"])
  const ProjectionExpression = member(request, "ProjectionExpression")
  const placeholders = readPlaceholders(request, { ProjectionExpression }, false)
  if (ProjectionExpression === undefined) return undefined
  const paths = parseProjection(ProjectionExpression, placeholders)
  requireAllUsed(placeholders)
  return paths
}

export function shown(item: Item, paths: readonly Path[] | undefined): Reply {
  return writeItem(paths ? project(item, paths) : item)
}

export function putItem(store: Store, request: Request): Reply {
  const kind = oneOf(request, "ReturnValues", ["NONE", "ALL_OLD"])
  return write(store, request, preparePut(store, request), kind)
}

export function deleteItem(store: Store, request: Request): Reply {
  const kind = oneOf(request, "ReturnValues", ["NONE", "ALL_OLD"])
  return write(store, request, prepareDelete(store, request), kind)
}

export function updateItem(store: Store, request: Request): Reply {
  const kind = oneOf(request, "ReturnValues", ["NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW"])
  return write(store, request, prepareUpdate(store, request), kind)
}

function write(store: Store, request: Request, prepared: Write, kind: ReturnValues): Reply {
  const meter = new CapacityMeter(request)
  const effect = decide(store, prepared)
  apply(store, prepared, effect)
  meter.write(prepared.table, effect.before, effect.after, 1)
  const part = returned(kind, effect, prepared.touched)
  return { ...(part && { Attributes: writeItem(part) }), ...meter.single() }
}
