/**
 * Runs in a child process and does what Lambda's Node.js runtime does: loads the bundle that `_HANDLER` names from
 * `LAMBDA_TASK_ROOT`, then serves one invocation after the other from the Runtime API.
 * It ends when the Runtime API is gone, so no function outlives the process that started it.
 */
import { Agent, type IncomingHttpHeaders, request } from "node:http"
import { createRequire } from "node:module"
import { join } from "node:path"

type Handler = (event: unknown, context: unknown) => unknown

const { AWS_LAMBDA_RUNTIME_API, LAMBDA_TASK_ROOT, _HANDLER } = process.env
const api = `http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime`
const agent = new Agent({ keepAlive: true, maxSockets: 1 })

function call(
  method: "GET" | "POST",
  path: string,
  body = "",
): Promise<{ headers: IncomingHttpHeaders; body: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`${api}/${path}`, { method, agent }, (incoming) => {
      const chunks: Buffer[] = []
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
      incoming.on("end", () => resolve({ headers: incoming.headers, body: Buffer.concat(chunks).toString("utf8") }))
      incoming.on("error", reject)
    })
    outgoing.on("error", reject)
    outgoing.end(body)
  })
}

function described(error: unknown): string {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error))
  return JSON.stringify({ errorType: name, errorMessage: message, trace: (stack ?? "").split("\n") })
}

function loadHandler(): Handler {
  const [file = "", exported = ""] = (_HANDLER ?? "").split(".")
  const module: Record<string, unknown> = createRequire(import.meta.url)(join(LAMBDA_TASK_ROOT ?? "", `${file}.js`))
  const handler = module[exported]
  if (typeof handler !== "function") throw new TypeError(`${_HANDLER} is not a function`)
  return handler as Handler
}

function contextOf(headers: IncomingHttpHeaders) {
  const deadlineMs = Number(headers["lambda-runtime-deadline-ms"])
  return {
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    callbackWaitsForEmptyEventLoop: true,
    getRemainingTimeInMillis: () => deadlineMs - Date.now(),
  }
}

async function serveNext(handler: Handler): Promise<void> {
  const { headers, body } = await call("GET", "invocation/next")
  const id = headers["lambda-runtime-aws-request-id"]
  process.env._X_AMZN_TRACE_ID = String(headers["lambda-runtime-trace-id"])
  let outcome: readonly [path: string, body: string]
  try {
    const value = await handler(JSON.parse(body), contextOf(headers))
    outcome = ["response", JSON.stringify(value) ?? "null"]
  } catch (error) {
    outcome = ["error", described(error)]
  }
  await call("POST", `invocation/${id}/${outcome[0]}`, outcome[1])
}

async function run(): Promise<void> {
  let handler: Handler
  try {
    handler = loadHandler()
  } catch (error) {
    await call("POST", "init/error", described(error))
    return
  }
  for (;;) await serveNext(handler)
}

run().then(
  () => process.exit(1),
  () => process.exit(1),
)
