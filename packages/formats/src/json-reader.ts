import { FormatError } from "./errors.ts"

/** @throws FormatError JSON_MALFORMED */
export function parseNative(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw malformed()
  }
}

const SCALAR = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y

/**
 * Reads JSON (RFC 8259) without the engine's reading of member names. V8 13.6, in Node 24, compares a name as it stands in the text with names that it
 * met before, so that after a name `\` it reads `"\""` as that one: members change their names or fall together. A name without escapes is
 * not touched by it, and scalars by themselves are not.
 * @param text nested no deeper than the stack bears: its caller counts
 * @returns objects without prototype; of a name that stands twice the last
 * @throws FormatError JSON_MALFORMED
 */
export function readJson(text: string): unknown {
  let at = 0

  function next(): string | undefined {
    while (text[at] === " " || text[at] === "\n" || text[at] === "\r" || text[at] === "\t") at++
    return text[at]
  }

  function take(expected: string): void {
    if (next() !== expected) throw malformed()
    at++
  }

  function string(): string {
    const from = at
    take('"')
    while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1
    return parseNative(text.slice(from, ++at)) as string
  }

  /** @param read one entry, up to the comma or the end */
  function entries(end: string, read: () => void): void {
    at++
    if (next() === end) {
      at++
      return
    }
    for (read(); next() === ","; read()) at++
    take(end)
  }

  function value(): unknown {
    switch (next()) {
      case '"':
        return string()
      case "[": {
        const array: unknown[] = []
        entries("]", () => array.push(value()))
        return array
      }
      case "{": {
        const object = Object.create(null)
        entries("}", () => {
          next()
          const name = string()
          take(":")
          object[name] = value()
        })
        return object
      }
      default: {
        SCALAR.lastIndex = at
        const [found = ""] = SCALAR.exec(text) ?? []
        at += found.length
        return parseNative(found)
      }
    }
  }

  const result = value()
  if (next() !== undefined) throw malformed()
  return result
}

function malformed(): FormatError {
  return new FormatError("JSON_MALFORMED", "not JSON")
}
