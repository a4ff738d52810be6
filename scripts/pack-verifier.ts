/**
 * Builds the publishable @sealwright/verifier into a folder (default packages/verifier/dist): ES modules and CommonJS, minified, with types
 * that name no other package, no dependencies. Equal sources give equal bytes.
 *   node scripts/node24.mjs scripts/pack-verifier.ts [folder]
 */
import { execFileSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

const root = resolve(fileURLToPath(import.meta.url), "../..")
const source = join(root, "packages/verifier")
const ENTRIES = { index: join(source, "src/index.ts"), node: join(source, "src/index-node.ts") }

export interface BuiltPackage {
  readonly folder: string
  /** bytes of the one ES module that holds the whole verifier with its Node driver, minified */
  readonly wholeBytes: number
}

export async function buildVerifier(folder: string): Promise<BuiltPackage> {
  rmSync(folder, { recursive: true, force: true })
  const common = { bundle: true, minify: true, platform: "node", target: "node20", logLevel: "error" } as const
  await build({ ...common, entryPoints: ENTRIES, outdir: join(folder, "esm"), format: "esm", splitting: true })
  await build({ ...common, entryPoints: ENTRIES, outdir: join(folder, "cjs"), format: "cjs" })
  const whole = await build({ ...common, entryPoints: [ENTRIES.node], format: "esm", write: false })
  for (const kind of ["esm", "cjs"]) {
    const type = kind === "esm" ? "module" : "commonjs"
    writeFileSync(join(folder, kind, "package.json"), `${JSON.stringify({ type })}\n`)
  }
  emitTypes(join(folder, "esm/types"))
  cpSync(join(folder, "esm/types"), join(folder, "cjs/types"), { recursive: true })
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest(), null, 2)}\n`)
  cpSync(join(source, "README.md"), join(folder, "README.md"))
  return { folder, wholeBytes: whole.outputFiles[0]?.contents.length ?? 0 }
}

function manifest() {
  const { name, version, description, license } = JSON.parse(readFileSync(join(source, "package.json"), "utf8"))
  const entry = (file: string, types: string) => ({
    import: { types: `./esm/types/verifier/src/${types}.d.ts`, default: `./esm/${file}.js` },
    require: { types: `./cjs/types/verifier/src/${types}.d.ts`, default: `./cjs/${file}.js` },
  })
  return {
    name,
    version,
    description,
    license,
    type: "module",
    sideEffects: false,
    engines: { node: ">=20.12" },
    exports: { ".": entry("index", "index"), "./node": entry("node", "index-node") },
  }
}

/** Declarations of the entries and all that they reach; imports of the formats become relative. */
function emitTypes(folder: string): void {
  const work = mkdtempSync(join(tmpdir(), "sealwright-types-"))
  try {
    const config = {
      extends: join(root, "tsconfig.json"),
      compilerOptions: {
        noEmit: false,
        declaration: true,
        emitDeclarationOnly: true,
        rootDir: join(root, "packages"),
        outDir: folder,
        typeRoots: [join(root, "node_modules/@types")],
      },
      // Named here, since the compiler emits nothing for what it finds through node_modules.
      include: [join(root, "packages/formats/src")],
      files: Object.values(ENTRIES),
    }
    writeFileSync(join(work, "tsconfig.json"), JSON.stringify(config))
    execFileSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", work], { stdio: "pipe" })
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  const wanted = new Set(["verifier/src/index.d.ts", "verifier/src/index-node.d.ts"])
  for (const name of wanted) {
    const path = join(folder, name)
    const text = readFileSync(path, "utf8")
      .replace(/"@sealwright\/formats\/([a-z0-9-]+)"/g, '"../../formats/src/$1.js"')
      .replace(/"(\.\/[a-z0-9-]+)\.ts"/g, '"$1.js"')
    writeFileSync(path, text)
    for (const [, imported = ""] of text.matchAll(/"(\.[a-z0-9./-]+)\.js"/g))
      wanted.add(`${join(dirname(name), imported)}.d.ts`)
  }
  for (const part of ["verifier/src", "formats/src"])
    for (const file of readdirSync(join(folder, part)))
      if (!wanted.has(`${part}/${file}`)) rmSync(join(folder, part, file))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = resolve(process.argv[2] ?? join(source, "dist"))
  mkdirSync(folder, { recursive: true })
  const { wholeBytes } = await buildVerifier(folder)
  process.stdout.write(`${folder}: the whole verifier is ${wholeBytes} bytes, minified\n`)
}
