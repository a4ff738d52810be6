import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { App } from "aws-cdk-lib"
import { afterAll, describe, expect, inject, test } from "vitest"
import { FUNCTION_NAMES, type FunctionName, OCSP_FUNCTION } from "../../functions/routes.ts"
import { readContext } from "../../lib/context.ts"
import { SealwrightStack } from "../../lib/stacks/sealwright-stack.ts"
import { functionName, type Json, newApp } from "../stacks/template.ts"

const folder = mkdtempSync(join(tmpdir(), "sealwright-bundles-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const NAMES = [...FUNCTION_NAMES, OCSP_FUNCTION]

/** The largest that each may be, in bytes. */
const LIMITS: Record<FunctionName | typeof OCSP_FUNCTION, number> = {
  sign: 400_000,
  records: 515_000,
  revoke: 330_000,
  admin: 440_000,
  publish: 530_000,
  crl: 530_000,
  timestamp: 300_000,
  relay: 290_000,
  batch: 400_000,
  reconcile: 360_000,
  sequence: 500_000,
  ocsp: 500_000,
}

function deployedBundles(): Map<string, Buffer> {
  const context = newApp({ ocsp: "10" }).node.getAllContext() as Record<string, unknown>
  const app = new App({
    outdir: join(folder, "cdk.out"),
    context: { ...context, "aws:cdk:bundling-stacks": ["**"], "aws:cdk:enable-asset-metadata": true },
  })
  const { stackName, ...settings } = readContext((key) => app.node.tryGetContext(key))
  const stack = new SealwrightStack(app, stackName, { settings })
  const template = app.synth().getStackByName(stack.stackName).template as { Resources: Record<string, Json> }
  return new Map(
    Object.entries(template.Resources)
      .filter(([, { Type }]) => Type === "AWS::Lambda::Function")
      .map(([id, { Metadata }]) => [
        functionName(id),
        readFileSync(join(folder, "cdk.out", Metadata["aws:asset:path"], "index.js")),
      ]),
  )
}

describe("bundles (D12)", () => {
  test("what is deployed is, byte for byte, what runs on one machine, and stays small", {
    timeout: 120_000,
  }, () => {
    const deployed = deployedBundles()
    const local = inject("built").functions
    expect(local.map(({ name }) => name).sort()).toEqual([...NAMES].sort())
    expect([...deployed.keys()].sort()).toEqual([...NAMES].sort())
    for (const { name, folder: place } of local) {
      const bytes = deployed.get(name) as Buffer
      expect([name, bytes.equals(readFileSync(join(place, "index.js")))]).toEqual([name, true])
      expect(bytes.length, name).toBeLessThanOrEqual(LIMITS[name as keyof typeof LIMITS])
    }
  })
})
