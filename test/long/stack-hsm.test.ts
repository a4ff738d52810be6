import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { App, Stack, Validations } from "aws-cdk-lib"
import { Template } from "aws-cdk-lib/assertions"
import { FlowLog, FlowLogResourceType, type IVpc, SecurityGroup, Vpc } from "aws-cdk-lib/aws-ec2"
import { Architecture } from "aws-cdk-lib/aws-lambda"
import { Secret } from "aws-cdk-lib/aws-secretsmanager"
import { AwsSolutionsChecks } from "cdk-nag"
import { afterAll, describe, expect, test } from "vitest"
import type { SigningServiceProps } from "../../lib/constructs/signing-service.ts"
import { type CloudHsmProps, cloudHsm, SigningService } from "../../lib/index.ts"
import { ACCOUNT, functionName, type Json, listOf, newApp, REGION, ROOT } from "../stacks/template.ts"

const folder = mkdtempSync(join(tmpdir(), "sealwright-hsm-"))
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
  process.exitCode = 0
})

/** What a deployer has: the vendor's client, and graphene-pk11 built elsewhere. */
const client = join(folder, "client")
mkdirSync(join(client, "lib"), { recursive: true })
mkdirSync(join(client, "etc"))
writeFileSync(join(client, "lib", "libcloudhsm_pkcs11.so"), "library")
writeFileSync(join(client, "etc", "cloudhsm-pkcs11.cfg"), "{}")
const nodeModules = join(folder, "built")
mkdirSync(join(nodeModules, "graphene-pk11"), { recursive: true })
writeFileSync(join(nodeModules, "graphene-pk11", "index.js"), "")

const HSM_FUNCTIONS = ["sign", "admin", "crl", "batch"]

function synthesise(
  change: Partial<CloudHsmProps> = {},
  context: Readonly<Record<string, unknown>> = {},
  more: SigningServiceProps = {},
) {
  const outdir = mkdtempSync(join(folder, "out-"))
  const app = new App({ outdir, context: { ...newApp().node.getAllContext(), ...context } as Record<string, unknown> })
  const stack = new Stack(app, "Hsm", { env: { account: ACCOUNT, region: REGION } })
  const vpc = new Vpc(stack, "Vpc", { maxAzs: 2 }) as IVpc
  new FlowLog(stack, "Flow", { resourceType: FlowLogResourceType.fromVpc(vpc) })
  new SigningService(stack, "Service", {
    cdn: false,
    ...more,
    keyHome: cloudHsm({
      vpc,
      clusterSecurityGroup: SecurityGroup.fromSecurityGroupId(stack, "Cluster", "sg-0123456789abcdef0"),
      client,
      pin: Secret.fromSecretNameV2(stack, "Pin", "hsm-crypto-user"),
      nodeModules,
      ...change,
    }),
  })
  return { app, stack, outdir }
}

const { stack } = synthesise()
const template = Template.fromStack(stack).toJSON() as { Resources: Record<string, Json> }
const ofType = (type: string) => Object.entries(template.Resources).filter(([, { Type }]) => Type === type)

describe("keys in CloudHSM (R1)", () => {
  test("the functions that use them, and no others, are in the cluster's VPC with the layer and the PIN's place", () => {
    const functions = ofType("AWS::Lambda::Function").filter(([id]) => id.startsWith("Service"))
    for (const [id, { Properties }] of functions) {
      const inVpc = Properties.VpcConfig !== undefined
      expect([functionName(id), inVpc]).toEqual([functionName(id), HSM_FUNCTIONS.includes(functionName(id))])
      const { Variables } = Properties.Environment
      expect(Properties.Layers?.length ?? 0).toBe(inVpc ? 1 : 0)
      expect(Variables.SEALWRIGHT_PKCS11_MODULE).toBe(inVpc ? "/opt/cloudhsm/lib/libcloudhsm_pkcs11.so" : undefined)
      expect(Variables.SEALWRIGHT_PKCS11_TOKEN).toBe(inVpc ? "hsm1" : undefined)
      expect(JSON.stringify(Variables.SEALWRIGHT_PKCS11_PIN ?? "").includes("secretsmanager:")).toBe(inVpc)
      if (inVpc) expect(Properties.VpcConfig.SecurityGroupIds).toContain("sg-0123456789abcdef0")
    }
    expect(functions.length).toBeGreaterThan(HSM_FUNCTIONS.length)
  })

  test("no role may sign artifacts or certificates with KMS any more; the PIN is read by four", () => {
    const statements = ofType("AWS::IAM::Policy").flatMap(([id, { Properties }]) =>
      (Properties.PolicyDocument.Statement as Json[]).map((statement) => ({ id, ...statement })),
    )
    const purposes = statements
      .filter(({ Action }) => listOf(Action).includes("kms:Sign"))
      .flatMap(({ Condition }) => listOf(Condition.StringEquals["aws:ResourceTag/sealwright:purpose"]))
    expect(purposes.filter((purpose) => !String(purpose).startsWith("tuf-"))).toEqual(["timestamp", "log"])
    const readers = statements.filter(({ Action }) => listOf(Action).includes("secretsmanager:GetSecretValue"))
    expect(readers.map(({ id }) => /^Service(\w+?)RoleDefault/.exec(id)?.[1]?.toLowerCase()).sort()).toEqual(
      [...HSM_FUNCTIONS].sort(),
    )
  })

  test("what they call has an endpoint in the VPC, unless the deployer has some", () => {
    const services = (from: Template) =>
      Object.values(from.findResources("AWS::EC2::VPCEndpoint")).map(
        ({ Properties }) => /(dynamodb|s3|kms|secretsmanager|lambda)/.exec(JSON.stringify(Properties.ServiceName))?.[1],
      )
    expect(services(Template.fromStack(stack)).sort()).toEqual(["dynamodb", "kms", "lambda", "s3", "secretsmanager"])
    expect(services(Template.fromStack(synthesise({ endpoints: false }).stack))).toEqual([])
  })

  test("breaks no rule of cdk-nag unexplained", () => {
    const { app, outdir } = synthesise()
    Validations.of(app).addPlugins(new AwsSolutionsChecks(app))
    try {
      app.synth()
    } catch (error) {
      if ((error as Error).name !== "ValidationFailed") throw error
    }
    const { pluginReports } = JSON.parse(readFileSync(join(outdir, "validation-report.json"), "utf8")) as {
      pluginReports: { violations: { ruleName: string }[] }[]
    }
    expect(pluginReports.flatMap(({ violations }) => violations.map(({ ruleName }) => ruleName))).toEqual([])
  })

  test("issuers' keys live on the token, so none is wrapped", () => {
    expect(() => synthesise({}, {}, { wrappedIssuers: true })).toThrow(/wrappedIssuers/)
  })

  test("a folder without the vendor's library is refused before anything is deployed", () => {
    const empty = join(folder, "empty")
    mkdirSync(empty, { recursive: true })
    expect(() => synthesise({ client: empty })).toThrow(/holds no lib\/libcloudhsm_pkcs11\.so/)
  })
})

describe("the layer", () => {
  test("holds the vendor's client and graphene-pk11 where the function looks for them", () => {
    const { app, outdir } = synthesise({ architecture: Architecture.X86_64 }, { "aws:cdk:bundling-stacks": ["**"] })
    app.synth()
    const layer = readdirSync(outdir).find((name) => existsSync(join(outdir, name, "cloudhsm")))
    if (layer === undefined) throw new Error("no layer was built")
    expect(readdirSync(join(outdir, layer)).sort()).toEqual(["cloudhsm", "nodejs"])
    expect(readFileSync(join(outdir, layer, "cloudhsm", "lib", "libcloudhsm_pkcs11.so"), "utf8")).toBe("library")
    expect(existsSync(join(outdir, layer, "nodejs", "node_modules", "graphene-pk11", "index.js"))).toBe(true)
  })

  test("installs what its own lock file pins", () => {
    const read = (name: string) => JSON.parse(readFileSync(join(ROOT, "layers", "pkcs11", name), "utf8"))
    const { dependencies } = read("package.json")
    expect(read("package-lock.json").packages[""].dependencies).toEqual(dependencies)
    expect(Object.values(dependencies).every((version) => /^\d+\.\d+\.\d+$/.test(String(version)))).toBe(true)
  })
})
