import { compareValues, type Item, isSet, setEntries, type Value, valuesEqual } from "../values.ts"
import type { Comparator, Condition, Operand, Path } from "./syntax.ts"

/** The value at a path; undefined where the item has none. */
export function valueAt(item: Item, path: Path): Value | undefined {
  let value = item.get(path[0])
  for (const step of path.slice(1)) {
    if (typeof step === "number") value = value?.type === "L" ? value.value[step] : undefined
    else value = value?.type === "M" ? value.value.get(step) : undefined
  }
  return value
}

/** @param item an empty map stands for a missing item */
export function holds(condition: Condition, item: Item): boolean {
  switch (condition.kind) {
    case "and":
      return holds(condition.left, item) && holds(condition.right, item)
    case "or":
      return holds(condition.left, item) || holds(condition.right, item)
    case "not":
      return !holds(condition.of, item)
    case "compare":
      return compares(condition.comparator, operandValue(condition.left, item), operandValue(condition.right, item))
    case "between": {
      const value = operandValue(condition.of, item)
      return (
        compares(">=", value, operandValue(condition.lower, item)) &&
        compares("<=", value, operandValue(condition.upper, item))
      )
    }
    case "in": {
      const value = operandValue(condition.of, item)
      return condition.among.some((member) => compares("=", value, operandValue(member, item)))
    }
    case "exists":
      return valueAt(item, condition.path) !== undefined
    case "not_exists":
      return valueAt(item, condition.path) === undefined
    case "type":
      return valueAt(item, condition.path)?.type === condition.type
    case "begins_with":
      return beginsWith(operandValue(condition.of, item), operandValue(condition.part, item))
    case "contains":
      return contains(operandValue(condition.of, item), operandValue(condition.part, item))
  }
}

function operandValue(operand: Operand, item: Item): Value | undefined {
  if (operand.kind === "value") return operand.value
  if (operand.kind === "path") return valueAt(item, operand.path)
  if (operand.kind !== "size") return undefined
  const size = sizeOf(operandValue(operand.of, item))
  return size === undefined ? undefined : { type: "N", value: String(size) }
}

function sizeOf(value: Value | undefined): number | undefined {
  switch (value?.type) {
    case "S":
      return Buffer.byteLength(value.value)
    case "B":
    case "SS":
    case "NS":
    case "BS":
    case "L":
      return value.value.length
    case "M":
      return value.value.size
    default:
      return undefined
  }
}

function compares(comparator: Comparator, left: Value | undefined, right: Value | undefined): boolean {
  if (left === undefined || right === undefined) return comparator === "<>"
  if (comparator === "=") return valuesEqual(left, right)
  if (comparator === "<>") return !valuesEqual(left, right)
  const order = compareValues(left, right)
  if (order === undefined) return false
  switch (comparator) {
    case "<":
      return order < 0
    case "<=":
      return order <= 0
    case ">":
      return order > 0
    case ">=":
      return order >= 0
  }
}

function beginsWith(value: Value | undefined, part: Value | undefined): boolean {
  if (value?.type === "S" && part?.type === "S") return value.value.startsWith(part.value)
  if (value?.type === "B" && part?.type === "B") return value.value.subarray(0, part.value.length).equals(part.value)
  return false
}

function contains(value: Value | undefined, part: Value | undefined): boolean {
  if (value === undefined || part === undefined) return false
  if (value.type === "S") return part.type === "S" && value.value.includes(part.value)
  if (value.type === "B") return part.type === "B" && value.value.includes(part.value)
  if (value.type === "L") return value.value.some((entry) => valuesEqual(entry, part))
  if (!isSet(value) || `${part.type}S` !== value.type) return false
  const wanted = part.type === "B" ? part.value.toString("base64") : part.value
  return setEntries(value).includes(wanted as string)
}
