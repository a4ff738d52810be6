import { type ChildProcess, spawn } from "node:child_process"
import { devNull } from "node:os"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { type HttpReply, type HttpRequest, type LoopbackServer, listenOnLoopback } from "../loopback.ts"
import { functionFailure, type Invocation, type InvokeResult, MAX_PAYLOAD_BYTES } from "./events.ts"

export interface FunctionConfig {
  readonly name: string
  /** folder of the bundle: holds index.js with `exports.handler` */
  readonly folder: string
  /** AWS_ENDPOINT_URL_*, the credentials of the function's role and its settings; nothing else is inherited */
  readonly environment: Readonly<Record<string, string>>
  readonly timeoutSec: number
  /** a runtime interface client's own program, which takes the handler as its argument; default: the one beside this file */
  readonly runtimeClient?: string | undefined
  readonly memoryMb?: number
  /** processes at most, 2 unless given; each serves one invocation at a time */
  readonly maxConcurrency?: number
}

export interface WorkerOptions {
  readonly config: FunctionConfig
  readonly region: string
  readonly functionArn: string
  /** what the process writes, line by line */
  readonly log: (line: string) => void
  readonly clock: () => Date
}

const RUNTIME_PATH = "/2018-06-01/runtime"
const INIT_TIMEOUT_MS = 10_000
const BOOTSTRAP = fileURLToPath(new URL("./bootstrap.ts", import.meta.url))
const HANDLER = "index.handler"
const ACCEPTED: HttpReply = { status: 202, headers: { "content-type": "application/json" }, body: '{"status":"OK"}' }

interface Current {
  readonly invocation: Invocation
  readonly resolve: (result: InvokeResult) => void
  /** set from delivery on */
  timer?: NodeJS.Timeout
}

/** One process with a Runtime API of its own. It never comes back: after an exit or a kill, start another. */
export class Worker {
  readonly #options: WorkerOptions
  readonly #exit: Promise<void>
  #runtimeApi: LoopbackServer | undefined
  #child: ChildProcess | undefined
  #initTimer: NodeJS.Timeout | undefined
  #poll: ((reply: HttpReply) => void) | undefined
  #current: Current | undefined
  #isUsable = true
  #resolveExit = () => {}

  constructor(options: WorkerOptions) {
    this.#options = options
    this.#exit = new Promise((resolve) => {
      this.#resolveExit = resolve
    })
  }

  /** False from the moment its end is certain, which may be before the end itself. */
  get isUsable(): boolean {
    return this.#isUsable
  }

  /** Resolves once the process has ended and its Runtime API is closed. */
  get exit(): Promise<void> {
    return this.#exit
  }

  async start(): Promise<void> {
    this.#runtimeApi = await listenOnLoopback({
      maxBodyBytes: MAX_PAYLOAD_BYTES,
      onRequest: (request) => this.#answer(request),
      tooLarge: () => {
        this.#settle(
          functionFailure(
            "Function.ResponseSizeTooLarge",
            "Response payload size exceeded maximum allowed payload size (6291456 bytes).",
          ),
        )
        return { ...ACCEPTED, status: 413 }
      },
      failed: (error) => ({ status: 500, headers: {}, body: String(error) }),
    })
    const { runtimeClient } = this.#options.config
    const program = runtimeClient === undefined ? [BOOTSTRAP] : [runtimeClient, HANDLER]
    const child = spawn(process.execPath, program, {
      cwd: this.#options.config.folder,
      env: this.#environment(`127.0.0.1:${this.#runtimeApi.port}`),
      stdio: ["ignore", "pipe", "pipe"],
    })
    this.#child = child
    createInterface({ input: child.stdout }).on("line", this.#options.log)
    createInterface({ input: child.stderr }).on("line", this.#options.log)
    this.#initTimer = setTimeout(() => this.#timeOut(INIT_TIMEOUT_MS / 1000), INIT_TIMEOUT_MS)
    child.once("error", (error) => this.#gone(error.message))
    child.once("exit", (code, signal) =>
      this.#gone(signal === null ? `exit status ${code}` : `signal: ${signal.slice(3).toLowerCase()}`),
    )
  }

  /** The caller gives one invocation at a time; the promise always resolves, with a function error when the process dies. */
  invoke(invocation: Invocation): Promise<InvokeResult> {
    return new Promise((resolve) => {
      this.#current = { invocation, resolve }
      if (this.#isUsable) this.#deliver()
      else this.#settle(functionFailure("Runtime.ExitError", "The process has ended."))
    })
  }

  kill(): void {
    this.#isUsable = false
    this.#child?.kill("SIGKILL")
  }

  async #answer(request: HttpRequest): Promise<HttpReply> {
    const isOwnProcess =
      request.headers.host === `127.0.0.1:${this.#runtimeApi?.port}` && request.headers.origin === undefined
    if (!isOwnProcess || !request.rawPath.startsWith(RUNTIME_PATH)) return { status: 403, headers: {}, body: "" }
    const path = request.rawPath.slice(RUNTIME_PATH.length)
    const body = Buffer.from(request.body).toString("utf8")
    const id = this.#current?.invocation.requestId
    if (request.method === "GET" && path === "/invocation/next") {
      clearTimeout(this.#initTimer)
      return new Promise((resolve) => {
        this.#poll = resolve
        this.#deliver()
      })
    }
    if (request.method !== "POST") return { status: 405, headers: {}, body: "" }
    if (path === "/init/error") {
      this.#isUsable = false
      this.#settle({ functionError: "Unhandled", payload: body })
    } else if (path === `/invocation/${id}/response`) this.#settle({ payload: body })
    else if (path === `/invocation/${id}/error`) this.#settle({ functionError: "Unhandled", payload: body })
    else return { status: 400, headers: {}, body: '{"errorType":"InvalidRequestID"}' }
    return ACCEPTED
  }

  #deliver(): void {
    const current = this.#current
    if (this.#poll === undefined || current === undefined || current.timer !== undefined) return
    const { timeoutSec } = this.#options.config
    this.#poll({
      status: 200,
      headers: {
        "content-type": "application/json",
        "lambda-runtime-aws-request-id": current.invocation.requestId,
        "lambda-runtime-deadline-ms": String(this.#options.clock().getTime() + timeoutSec * 1000),
        "lambda-runtime-invoked-function-arn": this.#options.functionArn,
        "lambda-runtime-trace-id": current.invocation.traceId,
      },
      body: current.invocation.payload,
    })
    this.#poll = undefined
    current.timer = setTimeout(() => this.#timeOut(timeoutSec), timeoutSec * 1000)
  }

  #settle(result: InvokeResult): void {
    const current = this.#current
    this.#current = undefined
    clearTimeout(current?.timer)
    current?.resolve(result)
  }

  #timeOut(seconds: number): void {
    this.kill()
    const what = `Task timed out after ${seconds.toFixed(2)} seconds`
    this.#settle(
      functionFailure("Sandbox.Timedout", `RequestId: ${this.#current?.invocation.requestId} Error: ${what}`),
    )
  }

  #gone(reason: string): void {
    this.#isUsable = false
    clearTimeout(this.#initTimer)
    const what = `Runtime exited with error: ${reason}`
    this.#settle(
      functionFailure("Runtime.ExitError", `RequestId: ${this.#current?.invocation.requestId} Error: ${what}`),
    )
    this.#runtimeApi?.close().then(this.#resolveExit, this.#resolveExit)
  }

  #environment(runtimeApi: string): NodeJS.ProcessEnv {
    const { config, region } = this.#options
    return {
      TZ: ":UTC",
      LANG: "en_US.UTF-8",
      // Lambda has no profile files; without these two the SDK would read those of whoever runs this.
      AWS_CONFIG_FILE: devNull,
      AWS_SHARED_CREDENTIALS_FILE: devNull,
      AWS_EC2_METADATA_DISABLED: "true",
      ...config.environment,
      AWS_REGION: region,
      AWS_DEFAULT_REGION: region,
      AWS_EXECUTION_ENV: "AWS_Lambda_nodejs24.x",
      AWS_LAMBDA_FUNCTION_NAME: config.name,
      AWS_LAMBDA_FUNCTION_VERSION: "$LATEST",
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(config.memoryMb ?? 512),
      AWS_LAMBDA_INITIALIZATION_TYPE: "on-demand",
      AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${config.name}`,
      AWS_LAMBDA_LOG_STREAM_NAME: "local",
      AWS_LAMBDA_RUNTIME_API: runtimeApi,
      LAMBDA_TASK_ROOT: config.folder,
      _HANDLER: HANDLER,
    }
  }
}
