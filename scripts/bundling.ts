import { mkdir, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { type BuildOptions, build } from "esbuild"

const root = dirname(dirname(fileURLToPath(import.meta.url)))

/**
 * How a function becomes one file, on this machine and in the CDK app alike. CommonJS, because an ES module that
 * imports node:http loads fetch with it; `module` before `main`, because the SDK's `main` builds are twice as long.
 * Nothing is external: what was tested is what runs, whatever SDK a runtime brings. Credentials come from the environment alone.
 */
export const BUNDLING = {
  bundle: true,
  platform: "node",
  format: "cjs",
  target: "node24",
  mainFields: ["module", "main"],
  minify: true,
  sourcemap: false,
  legalComments: "none",
  external: [],
  alias: {
    "@aws-sdk/credential-provider-node": join(root, "functions", "http", "environment-credentials.ts"),
    "@aws-sdk/middleware-endpoint-discovery": join(root, "functions", "http", "no-endpoint-discovery.ts"),
  },
} as const satisfies BuildOptions

export interface BundledFunction {
  readonly name: string
  /** folder that holds index.js and nothing else */
  readonly folder: string
  readonly bytes: number
}

/**
 * Bundles `functions/<name>/index.ts` into `<out>/<name>/index.js`.
 * @param root the folder that holds `functions/`
 * @throws esbuild's BuildFailure when an entry is missing or does not compile
 */
export async function bundleFunctions(options: {
  readonly root: string
  readonly out: string
  readonly names: readonly string[]
}): Promise<BundledFunction[]> {
  const { root, out, names } = options
  await mkdir(out, { recursive: true })
  // Without it Node would read index.js under the type of the package that `out` happens to lie in.
  await writeFile(join(out, "package.json"), '{ "type": "commonjs" }\n')
  return Promise.all(
    names.map(async (name) => {
      const folder = join(out, name)
      const result = await build({
        ...BUNDLING,
        mainFields: [...BUNDLING.mainFields],
        external: [...BUNDLING.external],
        absWorkingDir: root,
        entryPoints: [join(root, "functions", name, "index.ts")],
        outfile: join(folder, "index.js"),
        metafile: true,
        logLevel: "silent",
      })
      const [output] = Object.values(result.metafile.outputs)
      return { name, folder, bytes: output?.bytes ?? 0 }
    }),
  )
}
