import { isSet, type SetValue, type Value, type ValueType } from "../values.ts"
import type { Placeholders } from "./placeholders.ts"
import { ExpressionReader } from "./reader.ts"
import type { Operand, Path, Update } from "./syntax.ts"

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] }

/** @throws ValidationException on syntax, unknown placeholders, literals of a wrong type, and paths that overlap */
export function parseUpdate(expression: unknown, placeholders: Placeholders): Update {
  const reader = new ExpressionReader("UpdateExpression", expression, placeholders)
  const update: Mutable<Update> = { set: [], remove: [], add: [], delete: [] }
  const seen = new Set<string>()
  const clauses: Readonly<Record<string, () => void>> = {
    SET: () => update.set.push(setAction(reader)),
    REMOVE: () => update.remove.push(reader.path()),
    ADD: () => update.add.push(addAction(reader)),
    DELETE: () => update.delete.push(deleteAction(reader)),
  }
  do {
    const section = reader.peek().kind === "word" ? reader.peek().text.toUpperCase() : ""
    const readAction = clauses[section]
    if (!readAction) throw reader.syntaxError()
    if (seen.has(section)) throw reader.error(`The "${section}" section can only be used once in an update expression;`)
    seen.add(section)
    reader.next("word")
    do readAction()
    while (reader.takeSymbol(","))
  } while (reader.peek().kind !== "end")
  reader.requireApart(updatedPaths(update))
  return update
}

/** Every path that the update writes or removes. */
export function updatedPaths(update: Update): Path[] {
  return [...update.set, ...update.add, ...update.delete].map(({ path }) => path).concat(update.remove)
}

function setAction(reader: ExpressionReader): { path: Path; to: Operand } {
  const path = reader.path()
  reader.expectSymbol("=")
  return { path, to: sum(reader) }
}

function sum(reader: ExpressionReader): Operand {
  const left = operand(reader)
  const sign = reader.isSymbol("+") ? "+" : reader.isSymbol("-") ? "-" : undefined
  if (sign === undefined) return left
  reader.expectSymbol(sign)
  reader.countOperator()
  const right = operand(reader)
  requireType(reader, sign, left, "N")
  requireType(reader, sign, right, "N")
  return { kind: sign, left, right }
}

function operand(reader: ExpressionReader): Operand {
  if (reader.peek().kind === "value") return { kind: "value", value: reader.value() }
  if (reader.takeSymbol("(")) {
    reader.countOperator()
    const inner = sum(reader)
    reader.expectSymbol(")")
    return inner
  }
  if (reader.peek().kind === "word" && reader.isSymbol("(", 1)) return call(reader)
  return { kind: "path", path: reader.path() }
}

function call(reader: ExpressionReader): Operand {
  const name = reader.next("word")
  if (name !== "if_not_exists" && name !== "list_append") {
    throw reader.error(`The function is not allowed in an update expression; function: ${name}`)
  }
  reader.expectSymbol("(")
  reader.countOperator()
  const first = operand(reader)
  reader.expectSymbol(",")
  const second = operand(reader)
  reader.expectSymbol(")")
  if (name === "if_not_exists") {
    if (first.kind !== "path") {
      throw reader.error(`Operator or function requires a document path; operator or function: ${name}`)
    }
    return { kind: name, path: first.path, otherwise: second }
  }
  requireType(reader, name, first, "L")
  requireType(reader, name, second, "L")
  return { kind: name, left: first, right: second }
}

function addAction(reader: ExpressionReader): { path: Path; value: Value } {
  const path = reader.path()
  const value = reader.value()
  if (value.type !== "N" && !isSet(value)) throw wrongType(reader, "ADD", value.type)
  return { path, value }
}

function deleteAction(reader: ExpressionReader): { path: Path; value: SetValue } {
  const path = reader.path()
  const value = reader.value()
  if (!isSet(value)) throw wrongType(reader, "DELETE", value.type)
  return { path, value }
}

function requireType(reader: ExpressionReader, operator: string, given: Operand, type: ValueType): void {
  if (given.kind === "value" && given.value.type !== type) throw wrongType(reader, operator, given.value.type)
}

function wrongType(reader: ExpressionReader, operator: string, type: ValueType) {
  return reader.error(
    `Incorrect operand type for operator or function; operator or function: ${operator}, operand type: ${type}`,
  )
}
