export interface Route {
  /** an HTTP method, or ANY */
  readonly method: string
  /** `/v1/profiles/{profile}/signatures`; a last segment `{name+}` takes the rest of the path */
  readonly path: string
  readonly functionName: string
  /** requests per second and burst; API Gateway's account defaults unless given */
  readonly throttle?: { readonly ratePerSec: number; readonly burst: number }
}

export interface RouteMatch {
  readonly route: Route
  /** decoded */
  readonly pathParameters: Readonly<Record<string, string>>
}

/** Finds the most specific route: fixed segments before `{name}` before `{name+}`, a method before ANY. */
export function matchRoute(routes: readonly Route[], method: string, rawPath: string): RouteMatch | undefined {
  const segments = rawPath.split("/").slice(1)
  const matches = routes
    .filter((route) => route.method === method || route.method === "ANY")
    .flatMap((route) => {
      const pathParameters = matchPath(route.path.split("/").slice(1), segments)
      return pathParameters === undefined ? [] : [{ route, pathParameters }]
    })
  return matches.sort((a, b) => compare(rank(a.route), rank(b.route)))[0]
}

/** The path as API Gateway hands it on: percent-decoded; undefined when that is not possible. */
export function decodePath(rawPath: string): string | undefined {
  try {
    return decodeURIComponent(rawPath)
  } catch {
    return undefined
  }
}

function matchPath(pattern: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  const parameters: Record<string, string> = {}
  for (const [i, part] of pattern.entries()) {
    const name = /^\{(.+?)(\+?)\}$/.exec(part)
    const rest = name?.[2] === "+" ? segments.slice(i).join("/") : segments[i]
    const value = rest === undefined ? undefined : decodePath(rest)
    if (value === undefined || (name === null ? rest !== part : value === "")) return undefined
    if (name !== null) parameters[name[1] as string] = value
    if (name?.[2] === "+") return parameters
  }
  return pattern.length === segments.length ? parameters : undefined
}

/** A text that sorts the more specific route first. */
function rank(route: Route): string {
  const segments = route.path.split("/").map((part) => (part.endsWith("+}") ? "2" : part.startsWith("{") ? "1" : "0"))
  return `${segments.join("")}${route.method === "ANY" ? "1" : "0"}`
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
