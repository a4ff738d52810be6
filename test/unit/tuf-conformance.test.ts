import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { expect, test } from "vitest"
import { ROOT } from "../../scripts/docs.ts"

interface Row {
  readonly name: string
  readonly file: string
  readonly title: string
}

const ROWS: readonly Row[] = [
  ...readFileSync(join(ROOT, "docs/tuf-conformance.md"), "utf8").matchAll(/^\| `(.+?)` *\| `(.+?)` *\| `(.+?)` *\|$/gm),
].map(([, name = "", file = "", title = ""]) => ({ name, file, title }))

/** Every test of these files, as `file title`, its parameters filled in: the files are loaded, nothing is run. */
function titlesOf(files: readonly string[]): ReadonlySet<string> {
  const folder = mkdtempSync(join(tmpdir(), "sealwright-titles-"))
  const list = join(folder, "titles.json")
  const vitest = join(ROOT, "node_modules/vitest/vitest.mjs")
  try {
    const args = [vitest, "list", "--project", "fast", "--no-static-parse", `--json=${list}`, ...files]
    execFileSync(process.execPath, args, { cwd: ROOT, env: { PATH: process.env.PATH }, stdio: "pipe" })
    const found: { file: string; name: string }[] = JSON.parse(readFileSync(list, "utf8"))
    return new Set(found.map(({ file, name }) => `${relative(ROOT, file).replaceAll("\\", "/")} ${name}`))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

test("each of the 113 cases of tuf-conformance stands once in its table", () => {
  expect(ROWS).toHaveLength(113)
  expect(new Set(ROWS.map(({ name }) => name)).size).toBe(113)
})

test("every test that the table of tuf-conformance names is there", () => {
  const titles = titlesOf([...new Set(ROWS.map(({ file }) => file))])
  expect(ROWS.filter(({ file, title }) => !titles.has(`${file} ${title}`))).toEqual([])
}, 60_000)
