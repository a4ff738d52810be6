import type { AwsError } from "../../http/aws-error.ts"
import { validation } from "../errors.ts"
import type { Value } from "../values.ts"
import { type Token, type TokenKind, tokenize } from "./lexer.ts"
import type { Placeholders } from "./placeholders.ts"
import { RESERVED_WORDS } from "./reserved-words.ts"
import { type Path, showPath } from "./syntax.ts"

const MAX_EXPRESSION_BYTES = 4096
const MAX_OPERATORS = 300
const MAX_INDEX_DIGITS = 9

/** Reads the tokens of one expression; its errors name the parameter, as AWS does. */
export class ExpressionReader {
  readonly #parameter: string
  readonly #tokens: readonly Token[]
  readonly #placeholders: Placeholders
  #at = 0
  #operators = 0

  /** @throws ValidationException on an empty, oversized or unreadable expression */
  constructor(parameter: string, expression: unknown, placeholders: Placeholders) {
    this.#parameter = parameter
    this.#placeholders = placeholders
    if (typeof expression !== "string") throw validation(`${parameter} is not a string`)
    if (expression.length === 0) throw this.error("The expression can not be empty;")
    if (Buffer.byteLength(expression) > MAX_EXPRESSION_BYTES) {
      throw this.error("Expression size has exceeded the maximum allowed size;")
    }
    const tokens = tokenize(expression)
    if (!Array.isArray(tokens)) throw this.error(`Syntax error; token: "${tokens.unexpected}"`)
    this.#tokens = tokens
  }

  error(text: string): AwsError {
    return validation(`Invalid ${this.#parameter}: ${text}`)
  }

  syntaxError(): AwsError {
    const before = this.#at > 0 ? this.#tokens[this.#at - 1]?.text : ""
    return this.error(`Syntax error; token: "${this.peek().text}", near: "${before}${this.peek().text}"`)
  }

  peek(ahead = 0): Token {
    return this.#tokens[Math.min(this.#at + ahead, this.#tokens.length - 1)] as Token
  }

  next(kind: TokenKind): string {
    const token = this.peek()
    if (token.kind !== kind) throw this.syntaxError()
    this.#at += 1
    return token.text
  }

  isSymbol(text: string, ahead = 0): boolean {
    const token = this.peek(ahead)
    return token.kind === "symbol" && token.text === text
  }

  takeSymbol(text: string): boolean {
    if (!this.isSymbol(text)) return false
    this.#at += 1
    return true
  }

  expectSymbol(text: string): void {
    if (!this.takeSymbol(text)) throw this.syntaxError()
  }

  isKeyword(word: string): boolean {
    const token = this.peek()
    return token.kind === "word" && token.text.toUpperCase() === word
  }

  takeKeyword(word: string): boolean {
    if (!this.isKeyword(word)) return false
    this.#at += 1
    return true
  }

  expectKeyword(word: string): void {
    if (!this.takeKeyword(word)) throw this.syntaxError()
  }

  expectEnd(): void {
    if (this.peek().kind !== "end") throw this.syntaxError()
  }

  /** Counts one operator or nesting; bounds the work and the recursion of every expression. */
  countOperator(): void {
    this.#operators += 1
    if (this.#operators > MAX_OPERATORS) {
      throw this.error(`The expression contains too many operators; operator count: ${this.#operators}`)
    }
  }

  /** @throws ValidationException on a reserved word or an undefined `#` placeholder */
  path(): Path {
    const steps: [string, ...(string | number)[]] = [this.#memberName()]
    for (;;) {
      if (this.takeSymbol(".")) steps.push(this.#memberName())
      else if (this.takeSymbol("[")) {
        const digits = this.next("index")
        if (digits.length > MAX_INDEX_DIGITS) throw this.error("List index is not within the allowable range;")
        steps.push(Number(digits))
        this.expectSymbol("]")
      } else return steps
    }
  }

  #memberName(): string {
    const token = this.peek()
    if (token.kind === "name") {
      const name = this.#placeholders.names.get(this.next("name"))
      if (name === undefined) {
        throw this.error(
          `An expression attribute name used in the document path is not defined; attribute name: ${token.text}`,
        )
      }
      this.#placeholders.used.add(token.text)
      return name
    }
    const word = this.next("word")
    if (RESERVED_WORDS.has(word.toUpperCase())) {
      throw this.error(`Attribute name is a reserved keyword; reserved keyword: ${word}`)
    }
    return word
  }

  /** @throws ValidationException on an undefined `:` placeholder */
  value(): Value {
    const key = this.next("value")
    const value = this.#placeholders.values.get(key)
    if (value === undefined) {
      throw this.error(`An expression attribute value used in expression is not defined; attribute value: ${key}`)
    }
    this.#placeholders.used.add(key)
    return value
  }

  /** @throws ValidationException if one path contains another, or one parent is used as a map and as a list */
  requireApart(paths: readonly Path[]): void {
    paths.forEach((one, index) => {
      for (const two of paths.slice(index + 1)) {
        const fault = clash(one, two)
        if (fault) {
          throw this.error(
            `Two document paths ${fault} with each other; must remove or rewrite one of these paths; path one: ${showPath(one)}, path two: ${showPath(two)}`,
          )
        }
      }
    })
  }
}

function clash(one: Path, two: Path): "overlap" | "conflict" | undefined {
  for (let at = 0; at < Math.min(one.length, two.length); at++) {
    if (one[at] === two[at]) continue
    return typeof one[at] === typeof two[at] ? undefined : "conflict"
  }
  return "overlap"
}
