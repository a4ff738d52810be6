/**
 * Builds the publishable `sealwright` command into a folder (default packages/cli/dist), without dependencies, ready for `npm pack`:
 * verify.cjs holds `verify` alone, since a CommonJS file without the AWS SDK starts fastest; main.mjs holds every command.
 *   node scripts/node24.mjs scripts/build-cli.ts [folder]
 */
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const source = join(root, "packages/cli")

const STARTER = `#!/usr/bin/env node
if (process.argv[2] === "verify") require("./verify.cjs")
else import("./main.mjs")
`
/** What the SDK's CommonJS parts need inside an ES module. */
const REQUIRE =
  'import{createRequire as __createRequire}from"node:module";const require=__createRequire(import.meta.url);'

export interface BuiltCommand {
  /** what `bin` names */
  readonly path: string
  /** bytes of what `verify` loads and of what every other command loads */
  readonly verifyBytes: number
  readonly mainBytes: number
}

/** @throws esbuild's BuildFailure */
export async function buildCli(folder: string): Promise<BuiltCommand> {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const common = {
    bundle: true,
    minify: true,
    platform: "node",
    target: "node20",
    mainFields: ["module", "main"],
    legalComments: "none",
    logLevel: "silent",
    metafile: true,
  } as const
  const verify = await build({
    ...common,
    mainFields: [...common.mainFields],
    entryPoints: [join(source, "src/verify-entry.ts")],
    outfile: join(folder, "verify.cjs"),
    format: "cjs",
  })
  const foreign = Object.keys(verify.metafile.inputs).filter((input) => input.includes("node_modules"))
  if (foreign.length > 0) throw new Error(`verify loads ${foreign[0]}: it must stand on this project's code alone`)
  const main = await build({
    ...common,
    mainFields: [...common.mainFields],
    entryPoints: [join(source, "src/main.ts")],
    outfile: join(folder, "main.mjs"),
    format: "esm",
    banner: { js: REQUIRE },
  })
  const path = join(folder, "sealwright.cjs")
  writeFileSync(path, STARTER)
  chmodSync(path, 0o755)
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest(), null, 2)}\n`)
  const bytesOf = ({ metafile }: typeof main) => Object.values(metafile.outputs)[0]?.bytes ?? 0
  return { path, verifyBytes: bytesOf(verify), mainBytes: bytesOf(main) }
}

function manifest() {
  const { name, version, description, license } = JSON.parse(readFileSync(join(source, "package.json"), "utf8"))
  return {
    name,
    version,
    description,
    license,
    type: "commonjs",
    bin: { sealwright: "sealwright.cjs" },
    engines: { node: ">=20.12" },
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { path, verifyBytes, mainBytes } = await buildCli(resolve(process.argv[2] ?? join(source, "dist")))
  process.stdout.write(`${path}: verify loads ${verifyBytes} bytes, the other commands ${mainBytes}\n`)
}
