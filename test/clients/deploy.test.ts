import { mkdirSync, mkdtempSync, readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { InvokeCommand, LambdaClient, ListFunctionsCommand } from "@aws-sdk/client-lambda"
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3"
import { afterAll, beforeAll, expect, test } from "vitest"
import { FUNCTION_NAMES, ROUTES } from "../../functions/routes.ts"
import { startApiFront } from "../../localstack/api/front.ts"
import { createPrincipals } from "../../localstack/api/principals.ts"
import { startCdn } from "../../localstack/cdn/front.ts"
import { ACCOUNT, API_ID, loadKeys, principalsOf } from "../../localstack/people.ts"
import { PROJECT, run, runOffline, withClients } from "../support/clients.ts"
import { type Running, startServer } from "../support/processes.ts"
import {
  deploymentOf,
  profileArguments,
  REGION,
  REPOSITORY,
  type Reachable,
  type TestDeployment,
  writeImage,
} from "./deployment.ts"

const CREDENTIALS = { accessKeyId: "test", secretAccessKey: "test" }

/**
 * ministack takes the stack as CloudFormation does and runs its functions; it checks neither SigV4 nor IAM and serves no HTTP API
 * as API Gateway would, so our own front makes the events.
 */
withClients(
  "the unmodified stack deploys, and what its functions sign verifies",
  ["ministack", "notation"],
  (ministack, notation) => {
    let emulator: Running
    let deployment: TestDeployment<Reachable>

    beforeAll(async () => {
      const folder = mkdtempSync(join(tmpdir(), "sealwright-deploy-"))
      mkdirSync(join(folder, "emulator"))
      emulator = await startServer(ministack, () => [], {
        environment: (port) => ({ BIND_HOST: "127.0.0.1", GATEWAY_PORT: String(port), HOME: join(folder, "emulator") }),
        cwd: join(folder, "emulator"),
      })
      const cdk = await deploy(folder, emulator.url)
      deployment = deploymentOf(folder, await reach(folder, emulator.url, cdk))
    }, 300_000)

    afterAll(async () => {
      await deployment?.close()
      await emulator?.stop()
    })

    test("sign, revoke, publish and export through the deployed functions; notation judges", async () => {
      const { must, folder } = deployment
      await deployment.setUp()
      await must("admin", "issuer", "create", "ci")
      await must("admin", ...profileArguments("release", "ci", REPOSITORY))
      const sign = async (name: string) => {
        const image = writeImage(join(folder, name), name)
        const { signature } = await must(
          "pipeline",
          "sign",
          image.path,
          "--profile",
          "release",
          "--reference",
          `${REPOSITORY}:v1`,
        )
        return { ...image, id: signature.id as string }
      }
      const good = await sign("good")
      const bad = await sign("bad")
      const verify = (bundle: string, image: { path: string; digest: string }) =>
        runOffline(
          notation,
          ["verify", "--debug", "--oci-layout", "--scope", REPOSITORY, `${image.path}@${image.digest}`],
          {
            HOME: folder,
            NOTATION_EXPERIMENTAL: "1",
            XDG_CONFIG_HOME: join(bundle, "notation/config"),
            XDG_CACHE_HOME: join(bundle, "notation/cache"),
          },
        )
      const before = await deployment.publishAndExport("before")
      expect(await verify(before, good)).toMatchObject({ status: 0 })
      expect(await verify(before, bad)).toMatchObject({ status: 0 })
      await must("revoker", "revoke", "--signature", bad.id, "--reason", "keyCompromise")
      const after = await deployment.publishAndExport("after")
      expect(await verify(after, good)).toMatchObject({ status: 0 })
      expect(await verify(after, bad)).toMatchObject({
        status: 1,
        stderr: expect.stringContaining('CN=release,O=Wabbit Networks,ST=Washington,C=US" is revoked'),
      })
    }, 200_000)
  },
)

interface Deployed {
  readonly bucket: string
  /** full names of the functions by ours */
  readonly functions: ReadonlyMap<string, string>
}

/** `cdk bootstrap` and `cdk deploy` as a person runs them, with the emulator's address in the environment. */
async function deploy(folder: string, endpoint: string): Promise<Deployed> {
  const cdk = join(PROJECT, "node_modules/aws-cdk/bin/cdk")
  const outputs = join(folder, "outputs.json")
  const environment = {
    HOME: folder,
    AWS_ENDPOINT_URL: endpoint,
    AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
    AWS_REGION: REGION,
  }
  const common = ["-o", join(folder, "cdk.out"), "-c", "cdn=false"]
  for (const args of [
    ["bootstrap", ...common, `aws://${ACCOUNT}/${REGION}`],
    ["deploy", ...common, "--require-approval", "never", "--outputs-file", outputs],
  ]) {
    const { status, stdout, stderr } = await run(process.execPath, [cdk, ...args], environment, PROJECT)
    if (status !== 0) throw new Error(`cdk ${args[0]}: ${stdout.slice(-2000)}${stderr.slice(-4000)}`)
  }
  const lambda = new LambdaClient({ endpoint, region: REGION, credentials: CREDENTIALS })
  const { Functions = [] } = await lambda.send(new ListFunctionsCommand({}))
  lambda.destroy()
  const functions = new Map(
    FUNCTION_NAMES.map((name) => {
      const logical = `${name.slice(0, 1).toUpperCase()}${name.slice(1)}Function`
      return [
        name,
        Functions.find(({ FunctionName }) => FunctionName?.includes(logical))?.FunctionName ?? `no ${logical}`,
      ]
    }),
  )
  const [stack] = Object.values(JSON.parse(readFileSync(outputs, "utf8"))) as { Bucket: string }[]
  return { bucket: stack?.Bucket ?? "", functions }
}

/** Our API front and static front over the deployed functions and bucket. */
async function reach(folder: string, endpoint: string, { bucket, functions }: Deployed): Promise<Reachable> {
  const lambda = new LambdaClient({ endpoint, region: REGION, credentials: CREDENTIALS })
  const s3 = new S3Client({ endpoint, region: REGION, credentials: CREDENTIALS, forcePathStyle: true })
  const keys = loadKeys(folder)
  const clock = () => new Date()
  const api = await startApiFront({
    routes: ROUTES,
    principals: createPrincipals(ACCOUNT, principalsOf(keys)),
    region: REGION,
    accountId: ACCOUNT,
    apiId: API_ID,
    clock,
    invoke: async (name, payload) => {
      const FunctionName = functions.get(name) ?? name
      const answer = await lambda.send(new InvokeCommand({ FunctionName, Payload: Buffer.from(payload) }))
      const text = Buffer.from(answer.Payload ?? []).toString("utf8")
      return answer.FunctionError === undefined ? { payload: text } : { payload: text, functionError: "Unhandled" }
    },
  })
  const cdn = await startCdn({
    publicPaths: ["tuf/", "crl/"],
    read: async (key) => {
      try {
        const object = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }))
        return {
          body: (await object.Body?.transformToByteArray()) ?? new Uint8Array(0),
          etag: object.ETag ?? "",
          contentType: object.ContentType ?? "",
          cacheControl: object.CacheControl,
          lastModified: object.LastModified ?? clock(),
        }
      } catch (error) {
        if ((error as Error).name === "NoSuchKey") return undefined
        throw error
      }
    },
  })
  return {
    apiUrl: api.url,
    trustUrl: cdn.url,
    keys,
    close: async () => {
      await api.close()
      await cdn.close()
      lambda.destroy()
      s3.destroy()
    },
  }
}
