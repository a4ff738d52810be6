import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { App, Stack, Validations } from "aws-cdk-lib"
import { Effect, ManagedPolicy, PolicyStatement } from "aws-cdk-lib/aws-iam"
import { AwsSolutionsChecks } from "cdk-nag"
import { afterEach, describe, expect, test } from "vitest"
import { readContext } from "../../lib/context.ts"
import { SealwrightStack } from "../../lib/stacks/sealwright-stack.ts"
import { ACCOUNT, newApp, REGION } from "../stacks/template.ts"

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
  process.exitCode = 0
})

const env = { account: ACCOUNT, region: REGION }

/** Rules that the synthesised app breaks, unexplained. */
function findings(context: Readonly<Record<string, unknown>>, add: (app: App) => void): string[] {
  const folder = mkdtempSync(join(tmpdir(), "sealwright-nag-"))
  folders.push(folder)
  const own = newApp(context)
  const app = new App({ outdir: folder, context: own.node.getAllContext() as Record<string, unknown> })
  add(app)
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app))
  try {
    app.synth()
  } catch (error) {
    if ((error as Error).name !== "ValidationFailed") throw error
  }
  const report = JSON.parse(readFileSync(join(folder, "validation-report.json"), "utf8")) as {
    pluginReports: { violations: { ruleName: string }[] }[]
  }
  return report.pluginReports.flatMap(({ violations }) => violations.map(({ ruleName }) => ruleName))
}

const service = (app: App) => {
  const { stackName, ...settings } = readContext((key) => app.node.tryGetContext(key))
  new SealwrightStack(app, stackName, { settings, env })
}

describe("cdk-nag, rules of AWS Solutions", { timeout: 60_000 }, () => {
  test.each([
    {},
    { cdn: "false" },
    { openTimestamps: "5" },
    { ocsp: "5" },
    { trail: "true", wrappedIssuers: "true", wrappedTimestamps: "true" },
    { profiles: "ci,release-eu", reserveConcurrency: "false" },
    {
      hosts: "trust.example.com",
      certificateArn: `arn:aws:acm:us-east-1:${ACCOUNT}:certificate/00000000-0000-0000-0000-000000000000`,
      alarmTopicArn: `arn:aws:sns:${REGION}:${ACCOUNT}:pager`,
    },
  ])("finds nothing unexplained with %o", (context) => {
    expect(findings(context, service)).toEqual([])
  })

  test("finds a wildcard that nobody explained", () => {
    const found = findings({}, (app) => {
      service(app)
      new ManagedPolicy(new Stack(app, "Other", { env }), "Wide", {
        statements: [new PolicyStatement({ effect: Effect.ALLOW, actions: ["kms:Sign"], resources: ["*"] })],
      })
    })
    expect(found.join(" ")).toContain("AwsSolutions-IAM5")
    expect(found).toHaveLength(1)
  })
})
