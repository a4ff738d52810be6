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

/** Bytes that a bundle has for certain modules alone: theirs, and of those that nothing else in it imports. */
async function bytesFor(root: string, entry: string, modules: readonly string[]): Promise<number> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    platform: "node",
    target: "node20",
    format: "esm",
    write: false,
    metafile: true,
    logLevel: "silent",
  })
  const others = new Set<string>()
  const visit = (path: string): void => {
    if (others.has(path) || modules.includes(path)) return
    others.add(path)
    for (const { path: imported } of metafile.inputs[path]?.imports ?? []) visit(imported)
  }
  visit(entry)
  const [output] = Object.values(metafile.outputs)
  return Object.entries(output?.inputs ?? {}).reduce(
    (sum, [path, { bytesInOutput }]) => sum + (others.has(path) ? 0 : bytesInOutput),
    0,
  )
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
    {
      figure: "size: of it, for checking proofs and checkpoints of logs alone",
      value: await bytesFor(root, `${source}/index-node.ts`, [`${source}/log-proof.ts`, `${source}/log-check.ts`]),
      unit: "bytes",
    },
  ]
}
