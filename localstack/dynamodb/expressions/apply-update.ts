import { validation } from "../errors.ts"
import { addDecimals, formatDecimal, negateDecimal, parseDecimal } from "../numbers.ts"
import { type Item, isSet, type SetValue, setEntries, setOf, type Value } from "../values.ts"
import { valueAt } from "./evaluate.ts"
import type { Operand, Path, Update } from "./syntax.ts"

type Step = string | number

/**
 * The item after the update. Every operand is read from `item` as it was before.
 * @throws ValidationException on operands that are missing or of a wrong type, and on paths whose parent is missing
 */
export function applyUpdate(item: Item, update: Update): Item {
  let result = item
  const removals: Path[] = [...update.remove]
  for (const { path, to } of update.set) result = withValue(result, path, evaluate(to, item))
  for (const { path, value } of update.add) result = withValue(result, path, added(valueAt(item, path), value))
  for (const { path, value } of update.delete) {
    const left = remaining(valueAt(item, path), value)
    if (left === undefined) removals.push(path)
    else if (left !== "unchanged") result = withValue(result, path, left)
  }
  for (const path of removals.sort(laterPositionFirst)) result = withoutValue(result, path)
  return result
}

function evaluate(operand: Operand, item: Item): Value {
  switch (operand.kind) {
    case "value":
      return operand.value
    case "path": {
      const value = valueAt(item, operand.path)
      if (value === undefined) {
        throw validation("The provided expression refers to an attribute that does not exist in the item")
      }
      return value
    }
    case "if_not_exists":
      return valueAt(item, operand.path) ?? evaluate(operand.otherwise, item)
    case "list_append": {
      const left = evaluate(operand.left, item)
      const right = evaluate(operand.right, item)
      if (left.type !== "L" || right.type !== "L") throw incorrectType()
      return { type: "L", value: [...left.value, ...right.value] }
    }
    case "+":
      return total(evaluate(operand.left, item), evaluate(operand.right, item), false)
    case "-":
      return total(evaluate(operand.left, item), evaluate(operand.right, item), true)
    case "size":
      throw incorrectType()
  }
}

function total(left: Value, right: Value, negate: boolean): Value {
  if (left.type !== "N" || right.type !== "N") throw incorrectType()
  const term = parseDecimal(right.value)
  return { type: "N", value: formatDecimal(addDecimals(parseDecimal(left.value), negate ? negateDecimal(term) : term)) }
}

function added(current: Value | undefined, value: Value): Value {
  if (current === undefined) return value
  if (value.type === "N") return total(current, value, false)
  if (!isSet(value) || !isSet(current) || current.type !== value.type) throw incorrectType()
  return setOf(current.type, [...new Set([...setEntries(current), ...setEntries(value)])])
}

function remaining(current: Value | undefined, value: SetValue): Value | "unchanged" | undefined {
  if (current === undefined) return "unchanged"
  if (!isSet(current) || current.type !== value.type) throw incorrectType()
  const gone = new Set(setEntries(value))
  const left = setEntries(current).filter((entry) => !gone.has(entry))
  return left.length === 0 ? undefined : setOf(current.type, left)
}

function withValue(item: Item, [name, ...rest]: Path, value: Value): Item {
  const result = new Map(item)
  result.set(name, rest.length === 0 ? value : inside(item.get(name), rest, (parent, step) => put(parent, step, value)))
  return result
}

function withoutValue(item: Item, [name, ...rest]: Path): Item {
  const result = new Map(item)
  if (rest.length === 0) result.delete(name)
  else result.set(name, inside(item.get(name), rest, take))
  return result
}

/** Rebuilds the containers on the way to the last step and changes the innermost one. */
function inside(
  container: Value | undefined,
  steps: readonly Step[],
  change: (parent: Value, step: Step) => Value,
): Value {
  const [step, ...rest] = steps as [Step, ...Step[]]
  if (container?.type === "M" && typeof step === "string") {
    if (rest.length === 0) return change(container, step)
    return put(container, step, inside(container.value.get(step), rest, change))
  }
  if (container?.type === "L" && typeof step === "number") {
    if (rest.length === 0) return change(container, step)
    return put(container, step, inside(container.value[step], rest, change))
  }
  throw validation("The document path provided in the update expression is invalid for update")
}

function put(parent: Value, step: Step, value: Value): Value {
  if (parent.type === "M") return { type: "M", value: new Map(parent.value).set(step as string, value) }
  const list = [...(parent.value as readonly Value[])]
  list[Math.min(step as number, list.length)] = value
  return { type: "L", value: list }
}

function take(parent: Value, step: Step): Value {
  if (parent.type === "M") {
    const map = new Map(parent.value)
    map.delete(step as string)
    return { type: "M", value: map }
  }
  return { type: "L", value: (parent.value as readonly Value[]).filter((_, index) => index !== step) }
}

function laterPositionFirst(one: Path, two: Path): number {
  for (let at = 0; at < Math.min(one.length, two.length); at++) {
    const [a, b] = [one[at] as Step, two[at] as Step]
    if (a !== b) return typeof a === "number" && typeof b === "number" ? b - a : String(a) < String(b) ? -1 : 1
  }
  return 0
}

function incorrectType() {
  return validation("An operand in the update expression has an incorrect data type")
}
