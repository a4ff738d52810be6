import { createHash } from "node:crypto"
import { AwsError } from "../http/aws-error.ts"
import { requireDistinct } from "./batches.ts"
import { CapacityMeter } from "./capacity.ts"
import { validation } from "./errors.ts"
import { readProjection, shown } from "./items.ts"
import {
  member,
  optionalText,
  type Reply,
  type Request,
  refuseMembers,
  requiredList,
  requiredRecord,
} from "./request.ts"
import { itemPosition, parseKey } from "./schema.ts"
import type { Store } from "./store.ts"
import { tableOf } from "./tables.ts"
import { itemSize } from "./values.ts"
import {
  apply,
  decide,
  type Effect,
  prepareConditionCheck,
  prepareDelete,
  preparePut,
  prepareUpdate,
  type Write,
} from "./writes.ts"

const MAX_ACTIONS = 100
const MAX_BYTES = 4 * 1024 * 1024
const TOKEN_LIFETIME_SEC = 600
const MAX_TOKEN_LENGTH = 36
const IN_TRANSACTION = 2

const ACTIONS: Readonly<Record<string, (store: Store, request: Request) => Write>> = {
  ConditionCheck: prepareConditionCheck,
  Put: preparePut,
  Update: prepareUpdate,
  Delete: prepareDelete,
}

interface Reason {
  readonly Code: string
  readonly Message?: string
  readonly Item?: unknown
}

/**
 * All or nothing, in one SQLite transaction. A repeated ClientRequestToken answers without writing again for ten minutes.
 * @throws TransactionCanceledException with one reason per action in their order, IdempotentParameterMismatchException
 */
export function transactWriteItems(store: Store, request: Request, now: Date): Reply {
  const nowSec = Math.floor(now.getTime() / 1000)
  const meter = new CapacityMeter(request)
  const writes = requiredList(request, "TransactItems", 1, MAX_ACTIONS).map((action) => readAction(store, action))
  requireDistinct(writes, "Transaction request cannot include multiple operations on one item")
  const token = optionalText(request, "ClientRequestToken")
  const fingerprint = token === undefined ? "" : createHash("sha256").update(JSON.stringify(request)).digest("hex")
  if (token !== undefined) {
    if (token.length < 1 || token.length > MAX_TOKEN_LENGTH) {
      throw validation("1 validation error detected: Value at 'clientRequestToken' must have length from 1 to 36")
    }
    const known = store.tokenFingerprint(token, nowSec)
    if (known !== undefined && known !== fingerprint) {
      throw new AwsError(
        "IdempotentParameterMismatchException",
        "ClientRequestToken was used with other parameters in the last ten minutes",
      )
    }
    if (known !== undefined) return meter.several()
  }
  const effects = decideAll(store, writes)
  writes.forEach((write, at) => {
    const effect = effects[at] as Effect
    apply(store, write, effect)
    meter.write(write.table, effect.before, effect.after, IN_TRANSACTION)
  })
  if (token !== undefined) store.putToken(token, fingerprint, nowSec + TOKEN_LIFETIME_SEC)
  return meter.several()
}

function readAction(store: Store, action: Request): Write {
  const given = Object.keys(ACTIONS).filter((name) => member(action, name) !== undefined)
  const [name] = given
  if (given.length !== 1 || name === undefined) {
    throw validation("TransactItems can only contain one of Check, Put, Update or Delete")
  }
  const request = requiredRecord(action, name)
  refuseMembers(request, ["ReturnValues"])
  return (ACTIONS[name] as (typeof ACTIONS)[string])(store, request)
}

function decideAll(store: Store, writes: readonly Write[]): Effect[] {
  const effects: Effect[] = []
  const reasons: Reason[] = writes.map((write) => {
    try {
      effects.push(decide(store, write))
      return { Code: "None" }
    } catch (error) {
      return reasonOf(error)
    }
  })
  if (reasons.some(({ Code }) => Code !== "None")) throw cancelled(reasons)
  const bytes = effects.reduce((sum, { before, after }) => {
    const item = after ?? before
    return sum + (item ? itemSize(item) : 0)
  }, 0)
  if (bytes > MAX_BYTES) {
    throw validation("The total size of the items in the transaction exceeds the maximum of 4 MB")
  }
  return effects
}

function reasonOf(error: unknown): Reason {
  if (!(error instanceof AwsError)) throw error
  if (error.code === "ConditionalCheckFailedException") {
    return { Code: "ConditionalCheckFailed", Message: error.message, ...error.members }
  }
  if (error.code === "ValidationException") return { Code: "ValidationError", Message: error.message }
  throw error
}

/** The error of a cancelled transaction, with one reason per action. */
export function cancelled(reasons: readonly Reason[]): AwsError {
  const codes = reasons.map(({ Code }) => Code).join(", ")
  return new AwsError(
    "TransactionCanceledException",
    `Transaction cancelled, please refer cancellation reasons for specific reasons [${codes}]`,
    400,
    { CancellationReasons: reasons },
  )
}

export function transactGetItems(store: Store, request: Request): Reply {
  const meter = new CapacityMeter(request)
  const gets = requiredList(request, "TransactItems", 1, MAX_ACTIONS).map((action) => {
    const get = requiredRecord(action, "Get")
    const { schema } = tableOf(store, get)
    const position = itemPosition(schema, parseKey(schema, member(get, "Key")))
    return { table: schema, position, paths: readProjection(get) }
  })
  requireDistinct(gets, "Transaction request cannot include multiple operations on one item")
  let bytes = 0
  const Responses = gets.map(({ table, position, paths }) => {
    const item = store.getItem(table, position)
    const size = item ? itemSize(item) : 0
    bytes += size
    meter.read(table, size, IN_TRANSACTION)
    return item ? { Item: shown(item, paths) } : {}
  })
  if (bytes > MAX_BYTES) throw validation("The total size of the items in the transaction exceeds the maximum of 4 MB")
  return { Responses, ...meter.several() }
}
