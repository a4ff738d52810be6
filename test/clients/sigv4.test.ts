import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { PROJECT, run, withClients } from "../support/clients.ts"
import { profileArguments, REGION, REPOSITORY, startDeployment, type TestDeployment } from "./deployment.ts"

const SUBJECT = {
  mediaType: "application/vnd.oci.image.manifest.v1+json",
  digest: `sha256:${"ab".repeat(32)}`,
  size: 528,
}
const BODY = JSON.stringify({ subject: SUBJECT, reference: `${REPOSITORY}:v1` })
const OTHER_BODY = BODY.replace(":v1", ":v2")
const SKEW_SEC = 3600

interface Call {
  readonly role: string
  readonly secret?: string
  readonly skewSec?: number
  readonly sent?: string
  readonly method?: "GET" | "POST"
  readonly path?: string
}
type Reply = { readonly status: number; readonly body: string }

withClients("R32: requests signed by curl and botocore", ["curl", "python"], (curl, python) => {
  let deployment: TestDeployment

  beforeAll(async () => {
    deployment = await startDeployment()
    await deployment.setUp()
    await deployment.must("admin", "issuer", "create", "ci")
    await deployment.must("admin", ...profileArguments("release", "ci", REPOSITORY))
  }, 120_000)

  afterAll(() => deployment?.close())

  const target = ({ path = "/v1/profiles/release/signatures" }: Call) => `${deployment.service.apiUrl}${path}`

  const CLIENTS: readonly { readonly name: string; readonly send: (call: Call) => Promise<Reply> }[] = [
    {
      name: "curl --aws-sigv4",
      send: async (call) => {
        const keys = deployment.service.keys[call.role]
        const at = new Date(Date.now() + (call.skewSec ?? 0) * 1000).toISOString().replace(/[-:]|\.\d+/g, "")
        const who = [
          "--aws-sigv4",
          `aws:amz:${REGION}:execute-api`,
          "--user",
          `${keys?.accessKeyId}:${call.secret ?? keys?.secretAccessKey}`,
        ]
        const date = call.skewSec === undefined ? [] : ["-H", `x-amz-date: ${at}`]
        const body =
          call.method === "GET" ? [] : ["-H", "content-type: application/json", "--data-binary", call.sent ?? BODY]
        if (call.sent !== undefined) return replay(call)
        const { stdout } = await run(curl, ["-sS", "-w", "\n%{http_code}", ...who, ...date, ...body, target(call)])
        return replyOf(stdout)
      },
    },
    {
      name: "botocore",
      send: async (call) => {
        const keys = deployment.service.keys[call.role]
        const signed = [
          call.method ?? "POST",
          target(call),
          call.method === "GET" ? "" : BODY,
          keys?.accessKeyId ?? "",
          call.secret ?? keys?.secretAccessKey ?? "",
        ]
        const script = join(PROJECT, "test/clients/sigv4.py")
        const { status, stdout, stderr } = await run(python, [
          script,
          ...signed,
          String(call.skewSec ?? 0),
          call.sent ?? BODY,
        ])
        if (status !== 0) throw new Error(stderr)
        return JSON.parse(stdout)
      },
    },
  ]

  /** curl signs what it sends, so its signed headers are taken from one call and sent again with another body. */
  async function replay(call: Call): Promise<Reply> {
    const keys = deployment.service.keys[call.role]
    const who = [
      "--aws-sigv4",
      `aws:amz:${REGION}:execute-api`,
      "--user",
      `${keys?.accessKeyId}:${keys?.secretAccessKey}`,
    ]
    const first = ["-sSv", "-H", "content-type: application/json", "--data-binary", BODY, target(call)]
    const { stderr } = await run(curl, [...who, ...first])
    const header = (name: string) => new RegExp(`^> (${name}: [^\\r\\n]*)`, "im").exec(stderr)?.[1] ?? ""
    const headers = ["authorization", "x-amz-date", "content-type"].flatMap((name) => ["-H", header(name)])
    const { stdout } = await run(curl, [
      "-sS",
      "-w",
      "\n%{http_code}",
      ...headers,
      "--data-binary",
      call.sent ?? "",
      target(call),
    ])
    return replyOf(stdout)
  }

  test.each(CLIENTS)("$name: a good request is answered", async ({ send }) => {
    const { status, body } = await send({ role: "pipeline" })
    expect(status).toBe(201)
    expect(JSON.parse(body).signature.subject.digest).toBe(SUBJECT.digest)
    const read = await send({
      role: "auditor",
      method: "GET",
      path: "/v1/profiles/release/signatures?limit=2&order=newest",
    })
    expect(read.status).toBe(200)
    expect(JSON.parse(read.body).signatures.length).toBeGreaterThan(0)
  })

  test.each(CLIENTS)("$name: a wrong secret is refused", async ({ send }) => {
    expect(await send({ role: "pipeline", secret: "x".repeat(40) })).toMatchObject({ status: 403, body: MESSAGE })
  })

  test.each(CLIENTS)("$name: a body changed after signing is refused", async ({ send }) => {
    expect(await send({ role: "pipeline", sent: BODY })).toMatchObject({ status: 201 })
    expect(await send({ role: "pipeline", sent: OTHER_BODY })).toMatchObject({ status: 403, body: MESSAGE })
  })

  test.each(CLIENTS)("$name: a clock an hour off is refused", async ({ send }) => {
    for (const skewSec of [-SKEW_SEC, SKEW_SEC])
      expect(await send({ role: "pipeline", skewSec })).toMatchObject({ status: 403, body: MESSAGE })
  })

  test.each(CLIENTS)("$name: a good signature of one who may not is refused", async ({ send }) => {
    expect(await send({ role: "auditor" })).toMatchObject({ status: 403, body: MESSAGE })
  })
})

/** API Gateway's own body. */
const MESSAGE = expect.stringMatching(/^\{"[Mm]essage":/)

function replyOf(stdout: string): Reply {
  const at = stdout.lastIndexOf("\n")
  return { status: Number(stdout.slice(at + 1)), body: stdout.slice(0, at) }
}
