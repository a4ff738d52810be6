import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, expect, test } from "vitest"
import { PROJECT, run, withClients } from "../support/clients.ts"
import { PIN } from "../support/softhsm.ts"

const LOCKOUT_COUNTER = /TPM2_PT_LOCKOUT_COUNTER: (0x[0-9A-Fa-f]+)/

withClients("R1: keys in a TPM", ["tpm2", "dbus-daemon", "graphene-pk11"], (module, dbusDaemon) => {
  const installed = dirname(module)
  const folder = mkdtempSync(join(tmpdir(), "sealwright-tpm-"))
  const processes: ChildProcess[] = []
  let env: { [name: string]: string }

  beforeAll(async () => {
    const libraries = readdirSync(join(installed, "usr/lib")).map((name) => join(installed, "usr/lib", name))
    env = {
      PATH: `${join(installed, "usr/bin")}:${process.env.PATH}`,
      LD_LIBRARY_PATH: [...libraries, ...libraries.map((path) => join(path, "swtpm"))].join(":"),
      PYTHONPATH: join(installed, "usr/lib/python3/dist-packages"),
      HOME: folder,
      DBUS_SESSION_BUS_ADDRESS: `unix:path=${join(folder, "bus")}`,
      TPM2_PKCS11_STORE: join(folder, "store"),
      TPM2_PKCS11_TCTI: "tabrmd:bus_type=session",
      TPM2TOOLS_TCTI: "tabrmd:bus_type=session",
      TPM2_PKCS11_LOG_LEVEL: "0",
      TSS2_LOG: "all+NONE",
    }
    for (const name of ["state", "store"]) mkdirSync(join(folder, name))
    const port = await freePorts()
    start(dbusDaemon, "--session", "--nofork", "--nopidfile", `--address=${env.DBUS_SESSION_BUS_ADDRESS}`)
    start(
      join(installed, "usr/bin/swtpm"),
      ...["socket", "--tpm2", "--tpmstate", `dir=${join(folder, "state")}`, "--flags", "not-need-init,startup-clear"],
      ...["--server", `type=tcp,port=${port},bindaddr=127.0.0.1`],
      ...["--ctrl", `type=tcp,port=${port + 1},bindaddr=127.0.0.1`],
    )
    await eventually(async () => existsSync(join(folder, "bus")))
    await sleep(300)
    const swtpm = `--tcti=swtpm:host=127.0.0.1,port=${port}`
    start(join(installed, "usr/sbin/tpm2-abrmd"), "--session", "--allow-root", swtpm)
    await eventually(async () => (await lockoutCounter()) !== undefined)
    await tool("init")
    await tool("addtoken", "--pid", "1", "--label", "tpm", "--userpin", PIN, "--sopin", "12345678")
  }, 60_000)

  afterAll(async () => {
    for (const one of processes.reverse()) {
      if (one.exitCode !== null || one.signalCode !== null) continue
      const ended = once(one, "exit")
      one.kill("SIGKILL")
      await ended
    }
    rmSync(folder, { recursive: true, force: true })
  })

  function start(command: string, ...args: readonly string[]): void {
    processes.push(spawn(command, args, { stdio: "ignore", env }))
  }

  async function tool(...args: readonly string[]): Promise<void> {
    const ptool = join(installed, "usr/bin/tpm2_ptool")
    const { status, stderr } = await run("/usr/bin/python3", ["-W", "ignore", ptool, ...args], env)
    if (status !== 0) throw new Error(stderr)
  }

  /** How many wrong authorizations the TPM has counted; at three it locks. */
  async function lockoutCounter(): Promise<number | undefined> {
    const { stdout } = await run(join(installed, "usr/bin/tpm2"), ["getcap", "properties-variable"], env)
    const counter = LOCKOUT_COUNTER.exec(stdout)?.[1]
    return counter === undefined ? undefined : Number(counter)
  }

  test("a second module signs the same way; three tries of a wrong PIN are one to the TPM", async () => {
    expect(await lockoutCounter()).toBe(0)
    const program = join(PROJECT, "test/clients/pkcs11-tpm-program.ts")
    const { status, stdout, stderr } = await run(process.execPath, [program, module], env, PROJECT)
    expect([status, status === 0 ? "" : stderr]).toEqual([0, ""])
    expect(JSON.parse(stdout)).toEqual({
      wrongPins: Array(3).fill("PIN_INCORRECT"),
      verdicts: {
        "ecdsa-p256-sha256": true,
        "ecdsa-p384-sha384": true,
        "rsa-pss-sha256": true,
        "rsa-pss-sha384": true,
        ed25519: "ALGORITHM_UNSUPPORTED",
      },
      ephemeral: "ALGORITHM_UNSUPPORTED",
      names: ["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha256", "rsa-pss-sha384"].map(
        (scheme) => `issuer/${scheme}`,
      ),
    })
    expect(await lockoutCounter()).toBe(1)
  })
})

/** @returns a port that is free, as is the next one, a moment ago */
async function freePorts(): Promise<number> {
  for (;;) {
    const server = createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    const next = createServer()
    const free = await new Promise<boolean>((resolve) => {
      next.once("error", () => resolve(false))
      next.listen(port + 1, "127.0.0.1", () => resolve(true))
    })
    server.close()
    if (!free) continue
    next.close()
    return port
  }
}

async function eventually(check: () => Promise<boolean>): Promise<void> {
  for (let i = 0; !(await check()); i++) {
    if (i === 100) throw new Error("not within ten seconds")
    await sleep(100)
  }
}
