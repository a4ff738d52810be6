import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import { createFunctions, type LocalFunctions } from "../../localstack/lambda/functions.ts"
import { startInvokeApi } from "../../localstack/lambda/invoke-api.ts"
import { createSchedule } from "../../localstack/lambda/schedule.ts"
import type { LoopbackServer } from "../../localstack/loopback.ts"
import { bundleFunctions } from "../../scripts/bundling.ts"

const REGION = "eu-central-1"
const ACCOUNT = "000000000000"
const folder = mkdtempSync(join(tmpdir(), "sealwright-lambda-"))
const lines: string[] = []

const SOURCES = {
  echo: `
    let calls = 0
    export const handler = async (event: unknown, context: any) => ({
      event, calls: ++calls, pid: process.pid, environment: process.env, cwd: process.cwd(),
      requestId: context.awsRequestId, arn: context.invokedFunctionArn, remaining: context.getRemainingTimeInMillis(),
    })`,
  faulty: `
    export const handler = async (event: { how: string }) => {
      if (event.how === "throw") throw new RangeError("thrown")
      if (event.how === "exit") process.exit(3)
      if (event.how === "hang") return new Promise(() => setInterval(() => {}, 1000))
      if (event.how === "large") return "x".repeat(6 * 1024 * 1024)
      if (event.how === "print") { console.log("to stdout"); console.error("to stderr") }
      if (event.how === "reject") { Promise.reject(new Error("nobody waits")); return new Promise(() => {}) }
      return process.pid
    }`,
  broken: `throw new Error("at load"); export const handler = async () => 1`,
}
type Name = keyof typeof SOURCES

let functions: LocalFunctions

beforeAll(async () => {
  for (const [name, source] of Object.entries(SOURCES)) {
    mkdirSync(join(folder, "functions", name), { recursive: true })
    writeFileSync(join(folder, "functions", name, "index.ts"), source)
  }
  const out = join(folder, "out")
  const bundled = await bundleFunctions({ root: folder, out, names: Object.keys(SOURCES) })
  expect(bundled.map(({ name, bytes }) => [name, bytes > 0])).toEqual(Object.keys(SOURCES).map((name) => [name, true]))
  functions = createFunctions({
    region: REGION,
    accountId: ACCOUNT,
    functions: bundled.map(({ name, folder }) => ({
      name,
      folder,
      environment: { SETTING: "value", AWS_ACCESS_KEY_ID: "AKIAFUNCTION" },
      timeoutSec: 1,
    })),
    log: (line) => lines.push(line),
    clock: () => new Date(),
  })
})
afterAll(async () => {
  await functions.close()
  rmSync(folder, { recursive: true })
})

const invoke = async (name: Name, event: unknown = {}) => {
  const result = await functions.invoke(name, JSON.stringify(event))
  return { ...result, value: JSON.parse(result.payload) }
}

describe("a function in its process", () => {
  test("gets the event and the context, and keeps its process and state for the next one", async () => {
    const first = (await invoke("echo", { n: 1 })).value
    const second = (await invoke("echo", { n: 2 })).value
    expect(first.event).toEqual({ n: 1 })
    expect(first.arn).toBe(`arn:aws:lambda:${REGION}:${ACCOUNT}:function:echo`)
    expect(first.remaining).toBeGreaterThan(0)
    expect(first.remaining).toBeLessThanOrEqual(1000)
    expect(second).toMatchObject({ calls: 2, pid: first.pid })
    expect(second.requestId).not.toBe(first.requestId)
  })

  test("sees its own environment, and nothing of ours", async () => {
    process.env.SEALWRIGHT_TEST_LEAK = "leak"
    const { environment } = (await invoke("echo")).value
    expect(environment).toMatchObject({
      SETTING: "value",
      AWS_ACCESS_KEY_ID: "AKIAFUNCTION",
      AWS_REGION: REGION,
      AWS_LAMBDA_FUNCTION_NAME: "echo",
    })
    expect(Object.keys(environment)).not.toEqual(expect.arrayContaining(["SEALWRIGHT_TEST_LEAK"]))
    expect(environment.HOME).toBeUndefined()
  })

  test("two at once run in two processes, ten share them", async () => {
    const results = await Promise.all(Array.from({ length: 10 }, (_, n) => invoke("echo", n)))
    expect(results.map(({ value }) => value.event)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(new Set(results.map(({ value }) => value.pid)).size).toBe(2)
  })

  test("its lines come out with its name and number", async () => {
    await invoke("faulty", { how: "print" })
    await expect
      .poll(() => lines.map((line) => line.replace(/#\d+/, "#n")))
      .toEqual(expect.arrayContaining(["[faulty#n] to stdout", "[faulty#n] to stderr"]))
  })

  test("an unknown name is a RangeError", async () => {
    await expect(functions.invoke("nobody", "{}")).rejects.toThrow(RangeError)
  })
})

describe("a function that fails", () => {
  test.each([
    ["throw", "RangeError"],
    ["exit", "Runtime.ExitError"],
    ["reject", "Runtime.ExitError"],
    ["hang", "Sandbox.Timedout"],
    ["large", "Function.ResponseSizeTooLarge"],
  ])("%s is %s, and the next invocation works", async (how, errorType) => {
    const failed = await invoke("faulty", { how })
    expect(failed).toMatchObject({ functionError: "Unhandled", value: { errorType } })
    const next = await invoke("faulty")
    expect(next.functionError).toBeUndefined()
    expect(next.value).toBeGreaterThan(0)
  })

  test("invocations that wait behind one that hangs are served by the process that replaces it", async () => {
    const hanging = [invoke("faulty", { how: "hang" }), invoke("faulty", { how: "hang" })]
    const waiting = await Promise.all([invoke("faulty"), invoke("faulty"), invoke("faulty")])
    expect(waiting.map(({ functionError }) => functionError)).toEqual([undefined, undefined, undefined])
    for (const { value } of await Promise.all(hanging)) expect(value.errorType).toBe("Sandbox.Timedout")
  })

  test("an error while loading is reported at every invocation", async () => {
    for (let i = 0; i < 2; i++) {
      const { functionError, value } = await invoke("broken")
      expect({ functionError, ...value }).toMatchObject({ functionError: "Unhandled", errorMessage: "at load" })
    }
  })
})

describe("Invoke over HTTP, with the AWS SDK", () => {
  const credentials = { accessKeyId: "AKIAINVOKE", secretAccessKey: "secret", sessionToken: "token" }
  const caller = { ...credentials, accountId: ACCOUNT, userArn: "arn", callerId: "id" }
  const reported: string[] = []
  let api: LoopbackServer
  let client: LambdaClient
  let isAllowed = true
  let asked = ""

  beforeAll(async () => {
    api = await startInvokeApi({
      functions,
      region: REGION,
      credentials: (id) => (id === credentials.accessKeyId ? { ...credentials, caller } : undefined),
      clock: () => new Date(),
      authorize: ({ action, resource }) => {
        asked = `${action} ${resource}`
        return isAllowed
      },
      report: (name, failure) => reported.push(`${name}: ${failure}`),
    })
    client = new LambdaClient({ region: REGION, endpoint: api.url, credentials, maxAttempts: 1 })
  })
  afterEach(() => {
    isAllowed = true
  })
  afterAll(async () => {
    client.destroy()
    await api.close()
  })

  test("by name and by ARN, RequestResponse, Event and DryRun", async () => {
    for (const FunctionName of ["echo", `arn:aws:lambda:${REGION}:${ACCOUNT}:function:echo`]) {
      const { Payload, StatusCode, ExecutedVersion } = await client.send(
        new InvokeCommand({ FunctionName, Payload: Buffer.from('{"a":1}') }),
      )
      expect({ StatusCode, ExecutedVersion }).toEqual({ StatusCode: 200, ExecutedVersion: "$LATEST" })
      expect(JSON.parse(Buffer.from(Payload as Uint8Array).toString()).event).toEqual({ a: 1 })
    }
    const dry = await client.send(new InvokeCommand({ FunctionName: "echo", InvocationType: "DryRun" }))
    expect(dry.StatusCode).toBe(204)
    const event = await client.send(
      new InvokeCommand({ FunctionName: "faulty", InvocationType: "Event", Payload: Buffer.from('{"how":"throw"}') }),
    )
    expect(event.StatusCode).toBe(202)
    await expect.poll(() => reported.join()).toContain("RangeError")
  })

  test("a function's error is FunctionError with its payload", async () => {
    const { FunctionError, Payload } = await client.send(
      new InvokeCommand({ FunctionName: "faulty", Payload: Buffer.from('{"how":"throw"}') }),
    )
    expect(FunctionError).toBe("Unhandled")
    expect(Buffer.from(Payload as Uint8Array).toString()).toContain("thrown")
  })

  test("unknown function, no JSON, wrong secret and a denied caller are refused by name", async () => {
    const refusal = (input: { FunctionName: string; Payload?: Uint8Array }, by = client) =>
      expect(by.send(new InvokeCommand(input))).rejects
    isAllowed = false
    await refusal({ FunctionName: "echo" }).toMatchObject({ name: "AccessDeniedException" })
    expect(asked).toBe(`lambda:InvokeFunction arn:aws:lambda:${REGION}:${ACCOUNT}:function:echo`)
    isAllowed = true
    await refusal({ FunctionName: "nobody" }).toMatchObject({ name: "ResourceNotFoundException" })
    await refusal({ FunctionName: "echo", Payload: Buffer.from("{") }).toMatchObject({
      name: "InvalidRequestContentException",
    })
    const stranger = new LambdaClient({
      region: REGION,
      endpoint: api.url,
      credentials: { ...credentials, secretAccessKey: "wrong" },
      maxAttempts: 1,
    })
    await refusal({ FunctionName: "echo" }, stranger).toMatchObject({ name: "InvalidSignatureException" })
    stranger.destroy()
  })
})

test("a function does not outlive a host that is killed", async () => {
  const program = `
    import { createFunctions } from ${JSON.stringify(new URL("../../localstack/lambda/functions.ts", import.meta.url).href)}
    const functions = createFunctions({
      region: "${REGION}", accountId: "${ACCOUNT}", log: () => {}, clock: () => new Date(),
      functions: [{ name: "faulty", folder: ${JSON.stringify(join(folder, "out", "faulty"))}, environment: {}, timeoutSec: 5 }],
    })
    process.stdout.write((await functions.invoke("faulty", "{}")).payload)
  `
  const host = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "inherit"] })
  const [pid] = await once(host.stdout, "data")
  const isAlive = () => {
    try {
      return process.kill(Number(pid), 0)
    } catch {
      return false
    }
  }
  expect(isAlive()).toBe(true)
  host.kill("SIGKILL")
  await expect.poll(isAlive, { timeout: 5000 }).toBe(false)
})

test("a schedule invokes until it is stopped, never twice at once, and reports failures", async () => {
  let running = 0
  let runs = 0
  const failures: string[] = []
  const schedule = createSchedule(
    async () => {
      expect(++running).toBe(1)
      await new Promise((resolve) => setTimeout(resolve, 30))
      running--
      if (++runs === 2) throw new Error("second")
      return runs === 3 ? { functionError: "Unhandled", payload: "third" } : { payload: "1" }
    },
    (name, failure) => failures.push(`${name} ${failure}`),
  )
  const stop = schedule.every(0.01, "publish", "{}")
  await expect.poll(() => runs).toBeGreaterThan(3)
  stop()
  await expect.poll(() => running).toBe(0)
  const stoppedAt = runs
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(runs).toBe(stoppedAt)
  expect(failures).toEqual(["publish Error: second", "publish third"])
  schedule.close()
})
