import { type ChildProcess, spawn } from "node:child_process"
import type { AddressInfo } from "node:net"
import { createServer } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"

const START_MS = 90_000

export interface Running {
  readonly url: string
  /** what it has printed so far */
  output(): string
  stop(): Promise<void>
}

/** A port of loopback that is free at this moment. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}

/** Starts a server in a process of its own and waits until it answers HTTP. Its environment is `environment` and PATH. */
export async function startServer(
  path: string,
  args: (port: number) => readonly string[],
  options: { readonly environment?: (port: number) => { [name: string]: string }; readonly cwd?: string } = {},
): Promise<Running> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const child = spawn(path, args(port), {
    cwd: options.cwd,
    env: { PATH: process.env.PATH, LANG: "C.UTF-8", ...options.environment?.(port) },
    stdio: ["ignore", "pipe", "pipe"],
  })
  let printed = ""
  const keep = (chunk: Buffer) => {
    printed += chunk.toString("utf8")
  }
  for (const stream of [child.stdout, child.stderr]) stream.on("data", keep)
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve())
    child.once("error", () => resolve())
  })
  const stop = async () => {
    child.kill("SIGKILL")
    await ended
  }
  const until = Date.now() + START_MS
  while (!(await answers(url))) {
    if (!alive(child) || Date.now() > until) {
      await stop()
      throw new Error(`${path} does not answer:\n${printed.slice(-4000)}`)
    }
    await sleep(100)
  }
  return { url, output: () => printed, stop }
}

function alive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null && child.pid !== undefined
}

async function answers(url: string): Promise<boolean> {
  try {
    await (await fetch(url)).arrayBuffer()
    return true
  } catch {
    return false
  }
}
