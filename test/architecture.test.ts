import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, test } from "vitest"

/** Who may import whom, and what pure packages may not touch. A new folder gets a row here. */

const root = dirname(dirname(fileURLToPath(import.meta.url)))

interface Row {
  /** prefix of the files; the longest row that fits a file counts */
  readonly folder: string
  /** folders of this project, as prefixes; its own folder is always allowed */
  readonly project: readonly string[]
  /** prefixes of packages and of `node:` modules */
  readonly outside: readonly string[]
  /** no clock, no chance, no environment: all of it comes in as an argument */
  readonly pure?: true
}

const FORMATS = "packages/formats/src/"
const VERIFIER = "packages/verifier/src/"
const NODE_CRYPTO = "packages/verifier/src/node-crypto.ts"
const CORE = "packages/core/src/"
const ADAPTERS = "packages/adapters/src/"
const ANY = [""]

const ROWS: readonly Row[] = [
  { folder: FORMATS, project: [], outside: [], pure: true },
  { folder: VERIFIER, project: [FORMATS], outside: [], pure: true },
  { folder: NODE_CRYPTO, project: [FORMATS, VERIFIER], outside: ["node:crypto"], pure: true },
  { folder: CORE, project: [FORMATS, VERIFIER], outside: [], pure: true },
  { folder: ADAPTERS, project: [FORMATS, CORE], outside: ["node:", "@aws-sdk/", "@smithy/"] },
  { folder: "packages/cli/src/", project: [FORMATS, VERIFIER, CORE, ADAPTERS], outside: ["node:"] },
  {
    folder: "packages/cli/src/client.ts",
    project: ["packages/cli/src/", FORMATS],
    outside: ["node:", "@aws-sdk/credential-provider-node", "@smithy/signature-v4"],
  },
  { folder: "packages/cli/src/fsck/", project: [FORMATS, VERIFIER], outside: ["node:crypto"] },
  { folder: "functions/", project: [FORMATS, VERIFIER, CORE, ADAPTERS], outside: ["node:", "@middy/core", "valibot"] },
  { folder: "layers/", project: [], outside: ANY },
  {
    folder: "lib/",
    project: ["functions/routes.ts", "scripts/"],
    outside: ["node:", "aws-cdk-lib", "constructs", "esbuild"],
  },
  {
    folder: "bin/",
    project: ["lib/"],
    outside: ["node:", "aws-cdk-lib", "cdk-nag", "constructs"],
  },
  {
    folder: "localstack/",
    project: [FORMATS, "functions/routes.ts", "scripts/"],
    outside: ["node:", "@aws-sdk/", "@smithy/", "@noble/post-quantum"],
  },
  { folder: "scripts/", project: ANY, outside: ANY },
  { folder: "bench/", project: ANY, outside: ANY },
  { folder: "test/", project: ANY, outside: ANY },
  { folder: "vitest.", project: [], outside: ["vitest/config"] },
]

const IMPURE: readonly (readonly [string, RegExp])[] = [
  ["new Date()", /\bnew\s+Date\s*(?:\(\s*\)|(?![\s(\w]))/],
  ["Date.now", /\bDate\s*\.\s*now\b/],
  ["Date()", /(?<!new\s{1,4})\bDate\s*\(\s*\)/],
  ["performance.now", /\bperformance\s*\.\s*now\b/],
  ["Math.random", /\bMath\s*\.\s*random\b/],
  ["process", /\bprocess\s*\.\s*\w/],
  ["random bytes", /\brandom(?:Bytes|UUID|Int|FillSync)\b|\bgetRandomValues\b/],
]

/** Lines of code with comments blanked. */
function codeOf(source: string): string {
  return source
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, " "))
    .split("\n")
    .map((line) => (line.trimStart().startsWith("//") ? "" : line.replace(/\s\/\/ .*$/, "")))
    .join("\n")
}

/** Every module that a file names: static, type-only, side-effect, re-exported, dynamic, in a type. */
function importsOf(code: string): string[] {
  const statements = /^\s*(?:import|export)\b[^"';=()]*?\bfrom\s*["']([^"']+)["']/gm
  const bare = /^\s*import\s*["']([^"']+)["']/gm
  const calls = /\b(?:import|require)\s*\(\s*["'`]([^"'`]+)["'`]/g
  return [statements, bare, calls].flatMap((pattern) => [...code.matchAll(pattern)].map(([, name = ""]) => name))
}

function rowOf(path: string): Row | undefined {
  return ROWS.filter(({ folder }) => path.startsWith(folder)).sort((a, b) => b.folder.length - a.folder.length)[0]
}

/** Where an import points within the project; undefined outside of it. */
function projectPath(from: string, name: string): string | undefined {
  if (name.startsWith(".")) return normalize(join(dirname(from), name))
  const own = /^@sealwright\/([a-z]+)(?:\/(.+))?$/.exec(name)
  return own === null ? undefined : `packages/${own[1]}/src/${own[2] ?? "index"}.ts`
}

function violations(path: string, source: string): string[] {
  const row = rowOf(path)
  if (row === undefined) return [`${path}: no row for this folder`]
  const code = codeOf(source)
  const imports = importsOf(code).flatMap((name) => {
    const target = projectPath(path, name)
    const allowed =
      target === undefined
        ? row.outside.some((prefix) => name.startsWith(prefix))
        : target.startsWith(row.folder) || row.project.some((prefix) => target.startsWith(prefix))
    return allowed ? [] : [`${path}: imports ${name}`]
  })
  const computed = row.pure && /\b(?:import|require)\s*\(\s*[^"'`\s]/.test(code) ? [`${path}: computes an import`] : []
  const impure = row.pure ? IMPURE.flatMap(([name, found]) => (found.test(code) ? [`${path}: uses ${name}`] : [])) : []
  return [...imports, ...computed, ...impure]
}

const SKIPPED = new Set(["node_modules", "dist", "cdk.out"])

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`
    if (entry.isDirectory()) return SKIPPED.has(entry.name) || entry.name.startsWith(".") ? [] : sources(path)
    return /\.[cm]?tsx?$/.test(entry.name) ? [path] : []
  })
}

describe("architecture", () => {
  const files = sources("")

  test("every file keeps to the row of its folder", () => {
    expect(files.filter((path) => path.startsWith(CORE)).length).toBeGreaterThan(20)
    expect(files.filter((path) => path.startsWith("packages/cli/src/fsck/")).length).toBeGreaterThan(2)
    expect(files.flatMap((path) => violations(path, readFileSync(join(root, path), "utf8")))).toEqual([])
  })

  test("no file imports a module that is not there under its name", () => {
    const known = new Set(files)
    const dangling = files.flatMap((path) =>
      importsOf(codeOf(readFileSync(join(root, path), "utf8"))).flatMap((name) => {
        const target = projectPath(path, name)
        return target?.endsWith(".ts") && /^(?:packages|functions)\//.test(path) && !known.has(target)
          ? [`${path}: ${name}`]
          : []
      }),
    )
    expect(dangling).toEqual([])
  })

  test("published packages without dependencies name none", () => {
    for (const name of ["formats", "verifier"]) {
      const manifest = JSON.parse(readFileSync(join(root, "packages", name, "package.json"), "utf8"))
      const outside = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies }).filter(
        (dependency) => !dependency.startsWith("@sealwright/"),
      )
      expect(outside).toEqual([])
    }
  })
})

describe("the table itself refuses", () => {
  const cases: readonly (readonly [name: string, path: string, source: string])[] = [
    ["core that knows an adapter", "packages/core/src/sign/flow.ts", 'import { x } from "@sealwright/adapters/kms"'],
    ["a type-only import", "packages/core/src/a.ts", 'import type { T } from "@sealwright/cli/main"'],
    ["a re-export", "packages/formats/src/a.ts", 'export * from "@sealwright/verifier/verdict"'],
    ["an import over many lines", "packages/core/src/a.ts", 'import {\n  a,\n  b,\n} from "node:fs"'],
    ["a dynamic import", "packages/core/src/a.ts", 'const x = await import("@aws-sdk/client-kms")'],
    ["a computed import", "packages/core/src/a.ts", "const x = await import(name)"],
    ["a type from elsewhere", "packages/formats/src/a.ts", 'type T = import("node:fs").Stats'],
    ["a relative way around", "packages/core/src/a.ts", 'import "../../adapters/src/kms.ts"'],
    ["fsck that shares code with core", "packages/cli/src/fsck/a.ts", 'import { k } from "@sealwright/core/names"'],
    ["fsck that reaches the adapters", "packages/cli/src/fsck/a.ts", 'import { d } from "@sealwright/adapters/dump"'],
    ["an SDK in a command", "packages/cli/src/commands/a.ts", 'import { S3Client } from "@aws-sdk/client-s3"'],
    ["an SDK in a function", "functions/sign/a.ts", 'import { KMSClient } from "@aws-sdk/client-kms"'],
    ["node modules in the verifier", "packages/verifier/src/verify.ts", 'import { hash } from "node:crypto"'],
    ["infrastructure that runs core", "lib/stacks/a.ts", 'import { publish } from "@sealwright/core/publish/flow"'],
    ["a clock", "packages/core/src/a.ts", "const now = new Date()"],
    ["a clock without brackets", "packages/core/src/a.ts", "const now = new Date;"],
    ["another clock", "packages/verifier/src/a.ts", "const now = Date.now()"],
    ["chance", "packages/formats/src/a.ts", "const x = Math.random()"],
    ["the environment", "packages/core/src/a.ts", "const x = process.env.HOME"],
    ["random bytes", "packages/core/src/a.ts", "const x = crypto.getRandomValues(y)"],
    ["a folder without a row", "helpers/a.ts", ""],
  ]

  test.each(cases)("%s", (_name, path, source) => {
    expect(violations(path, source)).toHaveLength(1)
  })

  const allowed: readonly (readonly [name: string, path: string, source: string])[] = [
    ["a date of a value", "packages/core/src/a.ts", "const at = new Date(value)"],
    ["words in a comment", "packages/core/src/a.ts", '/** never Date.now() */\n// import "node:fs"'],
    ["core that reads formats", "packages/core/src/a.ts", 'import { utf8 } from "@sealwright/formats/bytes"'],
    ["the verifier's one file", "packages/verifier/src/node-crypto.ts", 'import { hash } from "node:crypto"'],
  ]

  test.each(allowed)("nothing of %s", (_name, path, source) => {
    expect(violations(path, source)).toEqual([])
  })
})
