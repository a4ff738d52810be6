import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { Cryptoki } from "@sealwright/adapters/pkcs11/cryptoki"
import { PROJECT, run } from "./clients.ts"

export const PIN = "987654"
/** Where scripts/clients/install.sh has compiled graphene-pk11. */
export const PACKAGE_FOLDER = join(PROJECT, ".clients/graphene")

/** SoftHSM's tokens in a folder of their own. SoftHSM reads where they are when it is initialised, so a process has one such folder at a time. */
export interface SoftHsm {
  readonly folder: string
  /** the library itself */
  readonly module: string
  /** the library that speaks to `p11-kit server` */
  readonly clientModule: string
  addToken(label: string): Promise<void>
  /** Puts a token behind a socket. */
  serve(label: string): Promise<P11KitServer>
  close(): void
}

export interface P11KitServer {
  /** Ends the server and the processes that it has made for its connections: every connection is cut. */
  cut(): Promise<void>
  restart(): Promise<void>
}

/** @param module SoftHSM's library, in the folder that its packages and p11-kit's are unpacked in */
export function openSoftHsm(module: string): SoftHsm {
  const installed = dirname(module)
  const folder = mkdtempSync(join(tmpdir(), "sealwright-softhsm-"))
  const tokens = join(folder, "tokens")
  const configuration = join(folder, "softhsm2.conf")
  mkdirSync(tokens)
  writeFileSync(configuration, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`)
  const before = process.env.SOFTHSM2_CONF
  process.env.SOFTHSM2_CONF = configuration
  const libraries = readdirSync(join(installed, "usr/lib")).map((name) => join(installed, "usr/lib", name))
  const env = { SOFTHSM2_CONF: configuration, LD_LIBRARY_PATH: libraries.join(":") }
  const servers: ChildProcess[] = []

  return {
    folder,
    module,
    clientModule: join(installed, "p11-kit-client.so"),
    async addToken(label) {
      const token = ["--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", PIN]
      const outcome = await run(join(installed, "usr/bin/softhsm2-util"), ["--module", module, ...token], env)
      if (outcome.status !== 0) throw new Error(outcome.stderr)
    },
    async serve(label) {
      const socket = join(folder, `${label}.sock`)
      process.env.P11_KIT_SERVER_ADDRESS = `unix:path=${socket}`
      const start = async () => {
        rmSync(socket, { force: true })
        const server = spawn(
          join(installed, "usr/libexec/p11-kit/p11-kit-server"),
          ["--foreground", "--name", socket, "--provider", module, `pkcs11:token=${label}`],
          {
            detached: true,
            stdio: "ignore",
            env: { PATH: process.env.PATH, P11_KIT_PRIVATEDIR: join(installed, "usr/libexec/p11-kit"), ...env },
          },
        )
        servers.push(server)
        for (let i = 0; !existsSync(socket); i++) {
          if (i === 500 || server.exitCode !== null) throw new Error(`p11-kit server ended with ${server.exitCode}`)
          await sleep(10)
        }
        return server
      }
      let server = await start()
      return {
        cut: () => end(server),
        async restart() {
          server = await start()
        },
      }
    },
    close() {
      for (const server of servers) endNow(server)
      if (before === undefined) delete process.env.SOFTHSM2_CONF
      else process.env.SOFTHSM2_CONF = before
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The server leads a process group of its own, in which are the processes that it forks. */
function endNow({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL")
  } catch {
    // It has ended.
  }
}

async function end(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  const exited = once(server, "exit")
  endNow(server)
  await exited
}

/** A module whose calls are counted. */
export function counting(cryptoki: Cryptoki): { readonly cryptoki: Cryptoki; count(call: keyof Cryptoki): number } {
  const calls = new Map<PropertyKey, number>()
  return {
    count: (call) => calls.get(call) ?? 0,
    cryptoki: new Proxy(cryptoki, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== "function") return value
        return (...args: readonly unknown[]) => {
          calls.set(name, (calls.get(name) ?? 0) + 1)
          return Reflect.apply(value, target, args)
        }
      },
    }),
  }
}
