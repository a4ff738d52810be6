import { EventEmitter } from "node:events"
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { askHidden } from "@sealwright/adapters/pkcs11/ask-hidden"
import { pinSource } from "@sealwright/adapters/pkcs11/pin-sources"
import { openReadSecret } from "@sealwright/adapters/secrets-manager"
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest"
import { type LoopbackServer, listenOnLoopback } from "../../localstack/loopback.ts"
import { createSigV4Verifier } from "../../localstack/sigv4.ts"

const folder = mkdtempSync(join(tmpdir(), "sealwright-pin-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const unreadable = expect.objectContaining({ code: "PIN_UNREADABLE" })

function file(name: string, content: string | Uint8Array, mode = 0o600): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  chmodSync(path, mode)
  return `file:${path}`
}

describe("sources of PINs", () => {
  test("the environment, read at each login", async () => {
    const environment: { [name: string]: string } = { HSM_PIN: "1234" }
    const pin = pinSource("env:HSM_PIN", { environment })
    expect(await pin()).toBe("1234")
    environment.HSM_PIN = "5678"
    expect(await pin()).toBe("5678")
    await expect(pinSource("env:NOBODY", { environment })()).rejects.toThrow(unreadable)
  })

  test.each([
    ["as it is", "user:pass word", "user:pass word"],
    ["without an editor's line end", "1234\n", "1234"],
    ["without another editor's", "1234\r\n", "1234"],
    ["with all else", " 1234 \n\n", " 1234 \n"],
  ])("a file, %s", async (name, content, pin) => {
    expect(await pinSource(file(name, content))()).toBe(pin)
  })

  test.each([
    ["a file that the group may read", () => file("group", "1234", 0o640)],
    ["a file that others may read", () => file("others", "1234", 0o604)],
    ["a file that others may write", () => file("written", "1234", 0o602)],
    ["an empty file", () => file("empty", "\n")],
    ["a long file", () => file("long", "1".repeat(1_025))],
    ["a file that is no text", () => file("binary", Uint8Array.of(0xff, 0xfe))],
    ["a file with a zero byte", () => file("zero", "12\0")],
    ["a folder", () => `file:${folder}`],
    ["no file", () => `file:${join(folder, "none")}`],
  ])("refuses %s", async (_, source) => {
    await expect(pinSource(source())()).rejects.toThrow(unreadable)
  })

  test.each(["", "1234", "env:", "PROMPT", "prompt:x", "file", "http://127.0.0.1/"])(
    "refuses the source %j",
    (source) => {
      expect(() => pinSource(source)).toThrow(unreadable)
    },
  )

  test("no error repeats a PIN that stands in the place of its source", () => {
    expect(() => pinSource("geheim")).toThrow(/^(?!.*geheim)/)
  })

  test("a person, and a secret", async () => {
    expect(await pinSource("prompt", { ask: async () => "1234" })()).toBe("1234")
    expect(await pinSource("secretsmanager:hsm/pin", { readSecret: async (id) => `of ${id}` })()).toBe("of hsm/pin")
    await expect(pinSource("prompt", { ask: async () => "" })()).rejects.toThrow(unreadable)
  })
})

describe("asking at the terminal", () => {
  class Terminal extends EventEmitter {
    readonly modes: boolean[] = []
    readonly isTTY: boolean
    constructor(isTTY = true) {
      super()
      this.isTTY = isTTY
    }
    setRawMode(mode: boolean) {
      this.modes.push(mode)
      return this as never
    }
    resume() {
      return this as never
    }
    pause() {
      return this as never
    }
  }

  test("keys are not shown, the last one may be taken back", async () => {
    const terminal = new Terminal()
    let shown = ""
    const answer = askHidden("PIN: ", terminal as never, (text) => {
      shown += text
    })
    for (const keys of ["12", "x\u007f3", "é\b4\r"]) terminal.emit("data", Buffer.from(keys))
    expect(await answer).toBe("1234")
    expect([shown, terminal.modes, terminal.listenerCount("data")]).toEqual(["PIN: \n", [true, false], 0])
  })

  test("Ctrl-C gives up", async () => {
    const terminal = new Terminal()
    const answer = askHidden("PIN: ", terminal as never, () => undefined)
    terminal.emit("data", Buffer.from("12\u0003"))
    await expect(answer).rejects.toThrow(unreadable)
    expect(terminal.modes).toEqual([true, false])
  })

  test("without a terminal nobody is asked", async () => {
    await expect(askHidden("PIN: ", new Terminal(false) as never)).rejects.toThrow(unreadable)
  })
})

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
    ["a refusal", 400, { __type: "ResourceNotFoundException" }, "PIN_UNREADABLE"],
    ["a binary secret", 200, { SecretBinary: "AA==" }, "PIN_UNREADABLE"],
    ["no JSON object", 400, "geheim", "PIN_UNREADABLE"],
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
