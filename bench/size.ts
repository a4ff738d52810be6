import { join } from "node:path"
import { build } from "esbuild"
import type { Figure } from "./measure.ts"

/** Bytes of a module with all that it reaches, as one minified ES module. */
async function minified(root: string, entry: string): Promise<number> {
  const { outputFiles } = await build({
    entryPoints: [join(root, entry)],
    bundle: true,
    minify: true,
    platform: "node",
    target: "node20",
    format: "esm",
    write: false,
    logLevel: "silent",
  })
  return outputFiles[0]?.contents.length ?? 0
}

export async function sizeFigures(root: string): Promise<Figure[]> {
  const source = "packages/verifier/src"
  return [
    {
      figure: "size: verifier package, all of it with its Node driver",
      value: await minified(root, `${source}/index-node.ts`),
      unit: "bytes",
      atMost: 32_000,
    },
    {
      figure: "size: of it, Notary envelopes and paths",
      value: await minified(root, `${source}/notary.ts`),
      unit: "bytes",
    },
    { figure: "size: of it, the TUF client", value: await minified(root, `${source}/tuf-client.ts`), unit: "bytes" },
  ]
}
