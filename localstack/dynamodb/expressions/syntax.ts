import type { SetValue, Value, ValueType } from "../values.ts"

/** A document path: the attribute's name, then member names and list positions. */
export type Path = readonly [string, ...(string | number)[]]

export type Comparator = "=" | "<>" | "<" | "<=" | ">" | ">="

export type Operand =
  | { readonly kind: "path"; readonly path: Path }
  | { readonly kind: "value"; readonly value: Value }
  | { readonly kind: "size"; readonly of: Operand }
  | { readonly kind: "if_not_exists"; readonly path: Path; readonly otherwise: Operand }
  | { readonly kind: "list_append"; readonly left: Operand; readonly right: Operand }
  | { readonly kind: "+" | "-"; readonly left: Operand; readonly right: Operand }

export type Condition =
  | { readonly kind: "and" | "or"; readonly left: Condition; readonly right: Condition }
  | { readonly kind: "not"; readonly of: Condition }
  | { readonly kind: "compare"; readonly comparator: Comparator; readonly left: Operand; readonly right: Operand }
  | { readonly kind: "between"; readonly of: Operand; readonly lower: Operand; readonly upper: Operand }
  | { readonly kind: "in"; readonly of: Operand; readonly among: readonly Operand[] }
  | { readonly kind: "exists" | "not_exists"; readonly path: Path }
  | { readonly kind: "type"; readonly path: Path; readonly type: ValueType }
  | { readonly kind: "begins_with" | "contains"; readonly of: Operand; readonly part: Operand }

export interface Update {
  readonly set: readonly { readonly path: Path; readonly to: Operand }[]
  readonly remove: readonly Path[]
  readonly add: readonly { readonly path: Path; readonly value: Value }[]
  readonly delete: readonly { readonly path: Path; readonly value: SetValue }[]
}

export function showPath(path: Path): string {
  return `[${path.map((step) => (typeof step === "number" ? `[${step}]` : step)).join(", ")}]`
}

/** All paths that a condition reads. */
export function pathsOf(condition: Condition): Path[] {
  switch (condition.kind) {
    case "and":
    case "or":
      return [...pathsOf(condition.left), ...pathsOf(condition.right)]
    case "not":
      return pathsOf(condition.of)
    case "compare":
      return [...operandPaths(condition.left), ...operandPaths(condition.right)]
    case "between":
      return [condition.of, condition.lower, condition.upper].flatMap(operandPaths)
    case "in":
      return [condition.of, ...condition.among].flatMap(operandPaths)
    case "begins_with":
    case "contains":
      return [...operandPaths(condition.of), ...operandPaths(condition.part)]
    default:
      return [condition.path]
  }
}

function operandPaths(operand: Operand): Path[] {
  if (operand.kind === "path") return [operand.path]
  return operand.kind === "size" ? operandPaths(operand.of) : []
}
