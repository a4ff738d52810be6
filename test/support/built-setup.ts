import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import type { TestProject } from "vitest/node"
import { FUNCTION_NAMES, OCSP_FUNCTION } from "../../functions/routes.ts"
import { buildCli } from "../../scripts/build-cli.ts"
import { type BundledFunction, bundleFunctions } from "../../scripts/bundling.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** what whole-service tests run, built once for all of them */
    readonly built: { readonly functions: readonly BundledFunction[]; readonly command: string }
  }
}

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** Bundles the functions as a deployment does, and the command as it is published. */
export default async function build(project: TestProject): Promise<() => void> {
  const folder = mkdtempSync(join(tmpdir(), "sealwright-built-"))
  const names = [...FUNCTION_NAMES, OCSP_FUNCTION]
  const functions = await bundleFunctions({ root, out: join(folder, "functions"), names })
  const { path: command } = await buildCli(join(folder, "cli"))
  project.provide("built", { functions, command })
  return () => rmSync(folder, { recursive: true, force: true })
}
