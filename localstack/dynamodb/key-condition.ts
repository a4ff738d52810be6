import { invalidParameter, validation } from "./errors.ts"
import type { Condition, Operand } from "./expressions/syntax.ts"
import { hashPosition, type KeyAttribute, type KeySchema, keyBytes } from "./schema.ts"
import type { Extent } from "./store.ts"
import type { Value } from "./values.ts"

/** What a KeyConditionExpression selects: one partition and bounds on its sort keys. */
export type KeyRange = Pick<Extent, "lower" | "upper"> & { readonly pk: Uint8Array }

/** @throws ValidationException unless the condition is equality on the hash key, and at most one clause on the range key */
export function keyRange(schema: KeySchema, condition: Condition): KeyRange {
  const clauses = condition.kind === "and" ? [condition.left, condition.right] : [condition]
  const nested = clauses.find(({ kind }) =>
    ["and", "or", "not", "in", "exists", "not_exists", "type", "contains"].includes(kind),
  )
  if (nested) throw validation(`Invalid operator used in KeyConditionExpression: ${nested.kind.toUpperCase()}`)
  const onHash = clauses.filter((clause) => attributeOf(clause) === schema.hash.name)
  const others = clauses.filter((clause) => attributeOf(clause) !== schema.hash.name)
  const [hash] = onHash
  if (hash === undefined) throw validation(`Query condition missed key schema element: ${schema.hash.name}`)
  if (onHash.length > 1) throw validation("KeyConditionExpressions must only contain one condition per key")
  const equality = bounds(hash, schema.hash)
  if (!equality.exact) throw validation("Query key condition not supported")
  const pk = hashPosition(equality.exact)
  const [range] = others
  if (range === undefined) return { pk }
  if (schema.range === undefined || attributeOf(range) !== schema.range.name) {
    throw validation(`Query condition missed key schema element: ${schema.range?.name ?? schema.hash.name}`)
  }
  const { lower, upper } = bounds(range, schema.range)
  return { pk, ...(lower && { lower }), ...(upper && { upper }) }
}

function attributeOf(clause: Condition): string | undefined {
  if (clause.kind === "compare") return nameOf(clause.left) ?? nameOf(clause.right)
  return clause.kind === "between" || clause.kind === "begins_with" ? nameOf(clause.of) : undefined
}

function nameOf(operand: Operand): string | undefined {
  return operand.kind === "path" && operand.path.length === 1 ? operand.path[0] : undefined
}

type Bounds = Pick<Extent, "lower" | "upper"> & { readonly exact?: Value }

const MIRRORED = { "=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<=" } as const

function bounds(clause: Condition, attribute: KeyAttribute): Bounds {
  switch (clause.kind) {
    case "compare": {
      const mirrored = clause.left.kind === "value"
      const comparator = mirrored ? MIRRORED[clause.comparator] : clause.comparator
      const exact = literal(mirrored ? clause.left : clause.right, attribute)
      const sk = keyBytes(exact)
      if (comparator === "<>") throw validation("Invalid operator used in KeyConditionExpression: <>")
      if (comparator === "=") return { exact, lower: { sk, inclusive: true }, upper: { sk, inclusive: true } }
      const bound = { sk, inclusive: comparator === "<=" || comparator === ">=" }
      return comparator.startsWith("<") ? { upper: bound } : { lower: bound }
    }
    case "between":
      return {
        lower: { sk: keyBytes(literal(clause.lower, attribute)), inclusive: true },
        upper: { sk: keyBytes(literal(clause.upper, attribute)), inclusive: true },
      }
    case "begins_with": {
      const prefix = keyBytes(literal(clause.part, attribute))
      const end = afterPrefix(prefix)
      return { lower: { sk: prefix, inclusive: true }, ...(end && { upper: { sk: end, inclusive: false } }) }
    }
    default:
      throw validation("Query key condition not supported")
  }
}

function literal(operand: Operand, { type }: KeyAttribute): Value {
  if (operand.kind !== "value")
    throw validation("Invalid condition in KeyConditionExpression: no value is given for the key")
  if (operand.value.type !== type) throw invalidParameter("Condition parameter type does not match schema type")
  if (keyBytes(operand.value).length === 0) {
    throw invalidParameter("The AttributeValue for a key attribute cannot contain an empty value")
  }
  return operand.value
}

/** The first bytes after everything that starts with `prefix`; undefined where nothing comes after. */
function afterPrefix(prefix: Buffer): Buffer | undefined {
  const last = prefix.findLastIndex((byte) => byte !== 0xff)
  if (last < 0) return undefined
  const end = Buffer.from(prefix.subarray(0, last + 1))
  end[last] = (end[last] as number) + 1
  return end
}
