import { execFileSync } from "node:child_process"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { cliDocument } from "./docs/cli.ts"
import { errorsDocument } from "./docs/errors.ts"
import { openApiDocument } from "./docs/openapi.ts"
import { requirementsDocument } from "./docs/requirements.ts"

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))

/** Documents that come from the code alone, by path below the project's root, in the project's format. */
export async function generatedDocuments(): Promise<ReadonlyMap<string, string>> {
  const documents: [string, string][] = [
    ["docs/errors.md", errorsDocument()],
    ["docs/openapi.json", openApiDocument()],
    ["docs/cli.md", await cliDocument(ROOT)],
    ["docs/requirements.md", requirementsDocument(ROOT)],
  ]
  return new Map(documents.map(([path, text]) => [path, formatted(path, text)]))
}

function formatted(path: string, text: string): string {
  const biome = join(ROOT, "node_modules/@biomejs/biome/bin/biome")
  return execFileSync(process.execPath, [biome, "format", `--stdin-file-path=${path}`], {
    cwd: ROOT,
    input: text,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  })
}

/** Paths of documents that are missing or differ from what the code says. */
export function outdated(documents: ReadonlyMap<string, string>): string[] {
  return [...documents].flatMap(([path, text]) => (standing(path) === text ? [] : [path]))
}

function standing(path: string): string | undefined {
  try {
    return readFileSync(join(ROOT, path), "utf8")
  } catch {
    return undefined
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { check: { type: "boolean", default: false } } })
  const documents = await generatedDocuments()
  const changed = outdated(documents)
  if (!values.check)
    for (const path of changed) {
      mkdirSync(dirname(join(ROOT, path)), { recursive: true })
      writeFileSync(join(ROOT, path), documents.get(path) ?? "")
    }
  for (const path of changed) process.stdout.write(`${values.check ? "out of date" : "written"}  ${path}\n`)
  if (values.check && changed.length > 0) {
    process.stderr.write("Run `node scripts/node24.mjs scripts/docs.ts`.\n")
    process.exitCode = 1
  }
}
