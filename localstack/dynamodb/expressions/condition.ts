import { compareValues, VALUE_TYPES, type ValueType } from "../values.ts"
import type { Placeholders } from "./placeholders.ts"
import { ExpressionReader } from "./reader.ts"
import { type Comparator, type Condition, type Operand, type Path, showPath } from "./syntax.ts"

const ORDERED: readonly ValueType[] = ["S", "N", "B"]
const SIZED: readonly ValueType[] = ["S", "B", "SS", "NS", "BS", "L", "M"]
const COMPARATORS: readonly string[] = ["=", "<>", "<", "<=", ">", ">="]
const MAX_IN = 100

/** Arguments of each function of a condition. */
const FUNCTIONS: Readonly<Record<string, number>> = {
  attribute_exists: 1,
  attribute_not_exists: 1,
  attribute_type: 2,
  begins_with: 2,
  contains: 2,
}

/**
 * Reads a ConditionExpression, FilterExpression or KeyConditionExpression.
 * @throws ValidationException on syntax, unknown placeholders, and literals of a type that the operator does not take
 */
export function parseCondition(parameter: string, expression: unknown, placeholders: Placeholders): Condition {
  const reader = new ExpressionReader(parameter, expression, placeholders)
  const condition = new ConditionParser(reader).disjunction()
  reader.expectEnd()
  return condition
}

class ConditionParser {
  readonly #reader: ExpressionReader
  readonly #parenthesised = new WeakSet<Condition>()

  constructor(reader: ExpressionReader) {
    this.#reader = reader
  }

  disjunction(): Condition {
    let left = this.#conjunction()
    while (this.#reader.takeKeyword("OR")) {
      this.#reader.countOperator()
      left = { kind: "or", left, right: this.#conjunction() }
    }
    return left
  }

  #conjunction(): Condition {
    let left = this.#negation()
    while (this.#reader.takeKeyword("AND")) {
      this.#reader.countOperator()
      left = { kind: "and", left, right: this.#negation() }
    }
    return left
  }

  #negation(): Condition {
    if (!this.#reader.takeKeyword("NOT")) return this.#primary()
    this.#reader.countOperator()
    return { kind: "not", of: this.#negation() }
  }

  #primary(): Condition {
    const reader = this.#reader
    if (reader.takeSymbol("(")) {
      reader.countOperator()
      const inner = this.disjunction()
      reader.expectSymbol(")")
      if (this.#parenthesised.has(inner)) throw reader.error("The expression has redundant parentheses;")
      this.#parenthesised.add(inner)
      return inner
    }
    reader.countOperator()
    const isCall = reader.peek().kind === "word" && reader.isSymbol("(", 1)
    if (isCall && reader.peek().text !== "size") return this.#call()
    return this.#comparison(this.#operand())
  }

  #comparison(of: Operand): Condition {
    const reader = this.#reader
    if (reader.takeKeyword("BETWEEN")) return this.#between(of)
    if (reader.takeKeyword("IN")) return { kind: "in", of, among: this.#members() }
    const { kind, text } = reader.peek()
    if (kind !== "symbol" || !COMPARATORS.includes(text)) {
      if (of.kind === "size") throw this.#misplaced("size")
      throw reader.syntaxError()
    }
    const comparator = reader.next("symbol") as Comparator
    const right = this.#operand()
    if (comparator !== "=" && comparator !== "<>") this.#requireTypes(comparator, [of, right], ORDERED)
    this.#requireDistinct(comparator, of, right)
    return { kind: "compare", comparator, left: of, right }
  }

  #between(of: Operand): Condition {
    const reader = this.#reader
    const lower = this.#operand()
    reader.expectKeyword("AND")
    const upper = this.#operand()
    this.#requireTypes("BETWEEN", [of, lower, upper], ORDERED)
    if (lower.kind === "value" && upper.kind === "value") {
      const order = compareValues(lower.value, upper.value)
      if (order === undefined) {
        throw reader.error("The BETWEEN operator requires same data type for lower and upper bounds;")
      }
      if (order > 0) {
        throw reader.error("The BETWEEN operator requires upper bound to be greater than or equal to lower bound;")
      }
    }
    return { kind: "between", of, lower, upper }
  }

  #members(): Operand[] {
    const reader = this.#reader
    reader.expectSymbol("(")
    const members = [this.#operand()]
    while (reader.takeSymbol(",")) members.push(this.#operand())
    reader.expectSymbol(")")
    if (members.length > MAX_IN) {
      throw reader.error(
        `Incorrect number of operands for operator or function; operator or function: IN, number of operands: ${members.length}`,
      )
    }
    return members
  }

  #operand(): Operand {
    const reader = this.#reader
    if (reader.peek().kind === "value") return { kind: "value", value: reader.value() }
    if (reader.peek().kind !== "word" || !reader.isSymbol("(", 1)) return { kind: "path", path: reader.path() }
    const name = reader.peek().text
    if (name !== "size") throw this.#misplaced(name)
    const [of] = this.#arguments(name, 1) as [Operand]
    if (of.kind === "size") throw this.#wrongType("size", "N")
    this.#requireTypes("size", [of], SIZED)
    return { kind: "size", of }
  }

  #call(): Condition {
    const reader = this.#reader
    const name = reader.peek().text
    const arity = FUNCTIONS[name]
    if (arity === undefined) {
      if (name === "if_not_exists" || name === "list_append") {
        throw reader.error(`The function is not allowed in a condition expression; function: ${name}`)
      }
      throw reader.error(`Invalid function name; function: ${name}`)
    }
    const [first, second] = this.#arguments(name, arity) as [Operand, Operand]
    switch (name) {
      case "attribute_exists":
        return { kind: "exists", path: this.#pathOf(name, first) }
      case "attribute_not_exists":
        return { kind: "not_exists", path: this.#pathOf(name, first) }
      case "attribute_type":
        return { kind: "type", path: this.#pathOf(name, first), type: this.#typeName(second) }
      case "begins_with":
        this.#requireTypes(name, [first, second], ["S", "B"])
        this.#requireDistinct(name, first, second)
        return { kind: name, of: first, part: second }
      default:
        this.#requireDistinct(name, first, second)
        return { kind: "contains", of: first, part: second }
    }
  }

  #arguments(name: string, arity: number): Operand[] {
    const reader = this.#reader
    reader.next("word")
    reader.expectSymbol("(")
    reader.countOperator()
    const operands = [this.#operand()]
    while (reader.takeSymbol(",")) operands.push(this.#operand())
    reader.expectSymbol(")")
    if (operands.length !== arity) {
      throw reader.error(
        `Incorrect number of operands for operator or function; operator or function: ${name}, number of operands: ${operands.length}`,
      )
    }
    return operands
  }

  #pathOf(name: string, operand: Operand): Path {
    if (operand.kind === "path") return operand.path
    throw this.#reader.error(`Operator or function requires a document path; operator or function: ${name}`)
  }

  #typeName(operand: Operand): ValueType {
    if (operand.kind !== "value") throw this.#wrongType("attribute_type", "path")
    if (operand.value.type !== "S") throw this.#wrongType("attribute_type", operand.value.type)
    const name = operand.value.value
    const type = VALUE_TYPES.find((known) => known === name)
    if (type === undefined) {
      throw this.#reader.error(
        `Invalid attribute type name found; type: ${name}, valid types: {${VALUE_TYPES.join(",")}}`,
      )
    }
    return type
  }

  #requireTypes(operator: string, operands: readonly Operand[], types: readonly ValueType[]): void {
    for (const operand of operands) {
      if (operand.kind === "value" && !types.includes(operand.value.type))
        throw this.#wrongType(operator, operand.value.type)
    }
  }

  #requireDistinct(operator: string, first: Operand, second: Operand): void {
    if (first.kind === "path" && second.kind === "path" && showPath(first.path) === showPath(second.path)) {
      throw this.#reader.error(
        `The first operand must be distinct from the remaining operands for this operator or function; operator: ${operator}, first operand: ${showPath(first.path)}`,
      )
    }
  }

  #wrongType(operator: string, type: ValueType | "path") {
    return this.#reader.error(
      `Incorrect operand type for operator or function; operator or function: ${operator}, operand type: ${type}`,
    )
  }

  #misplaced(name: string) {
    if (name !== "size" && FUNCTIONS[name] === undefined && name !== "if_not_exists" && name !== "list_append") {
      return this.#reader.error(`Invalid function name; function: ${name}`)
    }
    return this.#reader.error(`The function is not allowed to be used this way in an expression; function: ${name}`)
  }
}
