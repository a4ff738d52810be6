import { openReadSecret } from "@sealwright/adapters/secrets-manager"
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest"
import { type LoopbackServer, listenOnLoopback } from "../../localstack/loopback.ts"
import { createSigV4Verifier } from "../../localstack/sigv4.ts"

describe("AWS Secrets Manager", () => {
  let server: LoopbackServer
  let status = 200
  let answer: unknown
  const requests: { readonly authentic: boolean; readonly target: unknown; readonly body: string }[] = []

  beforeAll(async () => {
    vi.stubEnv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "secret")
    vi.stubEnv("AWS_SESSION_TOKEN", "")
    const caller = { accessKeyId: "AKIDEXAMPLE", accountId: "1", userArn: "arn", callerId: "id" }
    const sigV4 = createSigV4Verifier({
      credentials: () => ({ secretAccessKey: "secret", caller }),
      region: "eu-west-1",
      service: "secretsmanager",
      clock: () => new Date(),
    })
    server = await listenOnLoopback({
      onRequest: async (request) => {
        const { ok } = sigV4.authenticate(request, request.rawPath, request.body)
        const body = Buffer.from(request.body).toString()
        requests.push({ authentic: ok, target: request.headers["x-amz-target"], body })
        return { status, headers: {}, body: JSON.stringify(answer) }
      },
      maxBodyBytes: 10_000,
      tooLarge: () => ({ status: 413, headers: {}, body: "" }),
      failed: () => ({ status: 500, headers: {}, body: "" }),
    })
  })

  afterAll(async () => {
    vi.unstubAllEnvs()
    await server.close()
  })

  afterEach(() => {
    status = 200
    requests.length = 0
  })

  const ARN = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:hsm-AbCdEf"
  const read = () => openReadSecret({ endpoint: server.url, region: "us-east-1" })(ARN)

  test("one signed request, in the region that the ARN names", async () => {
    answer = { ARN, SecretString: "user:password", VersionStages: ["AWSCURRENT"] }
    expect(await read()).toBe("user:password")
    expect(requests).toEqual([
      { authentic: true, target: "secretsmanager.GetSecretValue", body: JSON.stringify({ SecretId: ARN }) },
    ])
  })

  test.each([
    ["a refusal", 400, { __type: "ResourceNotFoundException" }, "SECRET_UNAVAILABLE"],
    ["a binary secret", 200, { SecretBinary: "AA==" }, "SECRET_UNAVAILABLE"],
    ["no JSON object", 400, "geheim", "SECRET_UNAVAILABLE"],
    ["a failure", 503, {}, "SIGNER_UNAVAILABLE"],
    ["too many requests", 429, {}, "SIGNER_UNAVAILABLE"],
  ])("%s", async (_, code, content, expected) => {
    status = code
    answer = content
    await expect(read()).rejects.toMatchObject({ code: expected, message: expect.not.stringContaining("geheim") })
  })

  test("nobody there is SIGNER_UNAVAILABLE", async () => {
    const closed = openReadSecret({ endpoint: "http://127.0.0.1:9", region: "us-east-1" })
    await expect(closed("name")).rejects.toMatchObject({ code: "SIGNER_UNAVAILABLE" })
  })
})
