import type { Item, Value } from "../values.ts"
import { valueAt } from "./evaluate.ts"
import type { Placeholders } from "./placeholders.ts"
import { ExpressionReader } from "./reader.ts"
import type { Path } from "./syntax.ts"

/** @throws ValidationException on syntax, unknown placeholders and overlapping paths */
export function parseProjection(expression: unknown, placeholders: Placeholders): readonly Path[] {
  const reader = new ExpressionReader("ProjectionExpression", expression, placeholders)
  const paths = [reader.path()]
  while (reader.takeSymbol(",")) paths.push(reader.path())
  reader.expectEnd()
  reader.requireApart(paths)
  return paths
}

type Steps = readonly (string | number)[]

/** The parts of `item` that the paths name, in their places; list elements close up, in order of position. */
export function project(item: Item, paths: readonly Path[]): Item {
  return projectMap(
    item,
    paths.filter((path) => valueAt(item, path) !== undefined),
  )
}

function projectMap(map: Item, paths: readonly Steps[]): Item {
  const result = new Map<string, Value>()
  for (const [name, rest] of groupByFirst(paths)) {
    const value = map.get(name as string)
    if (value !== undefined) result.set(name as string, projectValue(value, rest))
  }
  return result
}

function projectValue(value: Value, paths: readonly Steps[]): Value {
  if (paths.some((path) => path.length === 0)) return value
  if (value.type === "M") return { type: "M", value: projectMap(value.value, paths) }
  if (value.type !== "L") return value
  const groups = [...groupByFirst(paths)].sort(([a], [b]) => (a as number) - (b as number))
  return { type: "L", value: groups.map(([index, rest]) => projectValue(value.value[index as number] as Value, rest)) }
}

function groupByFirst(paths: readonly Steps[]): Map<string | number, Steps[]> {
  const groups = new Map<string | number, Steps[]>()
  for (const [first, ...rest] of paths) {
    if (first === undefined) continue
    const group = groups.get(first)
    if (group) group.push(rest)
    else groups.set(first, [rest])
  }
  return groups
}
