export type TokenKind = "word" | "name" | "value" | "index" | "symbol" | "end"

/** `name` is a `#placeholder`, `value` a `:placeholder`, `index` the digits of a list position. */
export interface Token {
  readonly kind: TokenKind
  readonly text: string
}

const TOKEN = /(?:([A-Za-z][A-Za-z0-9_]*)|(#[A-Za-z0-9_]+)|(:[A-Za-z0-9_]+)|([0-9]+)|(<>|<=|>=|[=<>()[\],.+-]))/y
const SPACE = /[ \t\r\n]*/y
const KINDS: readonly TokenKind[] = ["word", "name", "value", "index", "symbol"]

/** Splits an expression into tokens, closed by one of kind `end`. @returns the offending text where there is no token */
export function tokenize(expression: string): Token[] | { readonly unexpected: string } {
  const tokens: Token[] = []
  let at = 0
  for (;;) {
    SPACE.lastIndex = at
    SPACE.exec(expression)
    at = SPACE.lastIndex
    if (at >= expression.length) break
    TOKEN.lastIndex = at
    const match = TOKEN.exec(expression)
    if (!match) return { unexpected: expression.charAt(at) }
    const kind = KINDS[match.slice(1).findIndex((group) => group !== undefined)] as TokenKind
    tokens.push({ kind, text: match[0] })
    at = TOKEN.lastIndex
  }
  tokens.push({ kind: "end", text: "<EOF>" })
  return tokens
}
