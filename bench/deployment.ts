import { execFile } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { promisify } from "node:util"
import { writeNodeImage } from "../localstack/demo-image.ts"
import { roleArn } from "../localstack/people.ts"
import { type LocalService, startService } from "../localstack/service.ts"

export const IMAGE = "registry.wabbit-networks.io/net-monitor"

export const VARIANTS = {
  p256: { algorithm: "ecdsa-p256-sha256", keyMode: "ephemeral" },
  p256held: { algorithm: "ecdsa-p256-sha256", keyMode: "held" },
  p384: { algorithm: "ecdsa-p384-sha384", keyMode: "ephemeral" },
  rsa: { algorithm: "rsa-pss-sha384", keyMode: "ephemeral" },
} as const
export type Variant = keyof typeof VARIANTS

/** In the deployment's folder: the image's proof from the log, and the bundle's policy that demands one. */
export const PROOF = "image.tlog-proof"
export const LOG_POLICY = "policy-log/trustpolicy.json"

const ASK_MS = 250
const ASKED_TIMES = 40

export interface Deployment {
  readonly service: LocalService
  readonly folder: string
  /** Runs the built command as a role; its JSON answer. @throws Error unless it ends with 0 */
  run(role: string, ...args: readonly string[]): Promise<{ readonly [name: string]: unknown }>
  close(): Promise<void>
}

/** A service on this machine with a profile of every variant, a signed image and an exported bundle. */
export async function createDeployment(command: string): Promise<Deployment> {
  const folder = mkdtempSync(join(tmpdir(), "sealwright-bench-"))
  const log = () => undefined
  const service = await startService({
    folder: join(folder, "service"),
    apiPort: 0,
    trustPort: 0,
    log,
    schedule: false,
  })
  const run: Deployment["run"] = async (role, ...args) => {
    const keys = service.keys[role]
    const env = {
      PATH: process.env.PATH,
      HOME: folder,
      ...(keys && {
        SEALWRIGHT_ENDPOINT: service.apiUrl,
        AWS_REGION: "us-east-1",
        AWS_ACCESS_KEY_ID: keys.accessKeyId,
        AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
      }),
    }
    const { stdout } = await promisify(execFile)(process.execPath, [command, ...args, "--json"], { cwd: folder, env })
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "")
  }
  const named = (options: Readonly<Record<string, string>>) =>
    Object.entries(options).flatMap(([name, value]) => [`--${name}`, value])

  await run(
    "admin",
    "ceremony",
    ...named({
      country: "US",
      state: "Washington",
      organisation: "Wabbit Networks",
      "identity-host": "trust.wabbit-networks.io",
      "crl-host": new URL(service.trustUrl).host,
      "tuf-url": `${service.trustUrl}/tuf`,
      "root-out": "tuf-root.json",
    }),
  )
  for (const algorithm of new Set(Object.values(VARIANTS).map((variant) => variant.algorithm)))
    await run("admin", "issuer", "create", algorithm, ...named({ algorithm }))
  for (const [name, { algorithm, keyMode }] of Object.entries(VARIANTS))
    await run(
      "admin",
      "profile",
      "create",
      name,
      ...named({
        issuer: algorithm,
        algorithm,
        "key-mode": keyMode,
        principal: roleArn("pipeline"),
        repository: IMAGE,
      }),
    )
  writeNodeImage(join(folder, "image"))
  const { signature } = await run("pipeline", "sign", "image", "--profile", "p256", "--reference", `${IMAGE}:v1`)
  await run("admin", "publish")
  await proven(() => run("auditor", "log", "proof", (signature as { id: string }).id, "--output", PROOF))
  await run("auditor", "export", "bundle", "--root", "tuf-root.json", "--no-state")
  demandLog(folder)
  return {
    service,
    folder,
    run,
    close: async () => {
      await service.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Asks until the log has taken the signature in. */
async function proven(ask: () => Promise<unknown>): Promise<void> {
  for (let time = 1; ; time++)
    try {
      await ask()
      return
    } catch (error) {
      if (time === ASKED_TIMES) throw error
      await sleep(ASK_MS)
    }
}

function demandLog(folder: string): void {
  cpSync(join(folder, "bundle/policy"), dirname(join(folder, LOG_POLICY)), { recursive: true })
  const { trustPolicy } = JSON.parse(readFileSync(join(folder, LOG_POLICY), "utf8"))
  writeFileSync(join(folder, LOG_POLICY), JSON.stringify({ trustPolicy: { ...trustPolicy, requireLog: true } }))
}
