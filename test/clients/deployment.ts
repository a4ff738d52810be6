import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { inject } from "vitest"
import { roleArn } from "../../localstack/people.ts"
import { type LocalService, startService } from "../../localstack/service.ts"
import { PROJECT, run } from "../support/clients.ts"

export const REPOSITORY = "registry.wabbit-networks.io/net-monitor"
export const REGION = "us-east-1"

export interface Answer {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: tests read members of answers by name, and fail when one is absent
  readonly answer: any
}

/** A whole service on this machine, used through the `sealwright` command as people use it. */
export interface TestDeployment<S extends Reachable = LocalService> {
  readonly folder: string
  readonly service: S
  /** Runs a command with the keys of a role; `operator` has none. */
  sealwright(role: string, ...args: readonly string[]): Promise<Answer>
  /** Runs a command that must end with exit 0. @returns its JSON document */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  must(role: string, ...args: readonly string[]): Promise<any>
  /** Ceremony, and the TUF root in `tuf-root.json` */
  setUp(): Promise<void>
  /** Publishes, and exports into a new folder. @returns its path */
  publishAndExport(name: string): Promise<string>
  close(): Promise<void>
}

/** @param more how it differs, such as `ocspPort` */
export async function startDeployment(
  more: Partial<Parameters<typeof startService>[0]> = {},
): Promise<TestDeployment<LocalService>> {
  const folder = mkdtempSync(join(tmpdir(), "sealwright-clients-"))
  const bundles = inject("built").functions
  const options = {
    folder: join(folder, "service"),
    apiPort: 0,
    trustPort: 0,
    log: () => undefined,
    schedule: false,
    bundles,
  }
  return deploymentOf(folder, await startService({ ...options, ...more }))
}

/** What the command needs of a service, wherever its functions run. */
export type Reachable = Pick<LocalService, "apiUrl" | "trustUrl" | "keys" | "close">

/** @param folder removed at the end */
export function deploymentOf<S extends Reachable>(folder: string, service: S): TestDeployment<S> {
  async function sealwright(role: string, ...args: readonly string[]): Promise<Answer> {
    const keys = service.keys[role]
    const environment: { [name: string]: string } = { HOME: folder }
    if (keys !== undefined)
      Object.assign(environment, {
        SEALWRIGHT_ENDPOINT: service.apiUrl,
        AWS_REGION: REGION,
        AWS_ACCESS_KEY_ID: keys.accessKeyId,
        AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
      })
    const main = join(PROJECT, "packages/cli/src/main.ts")
    const { status, stdout, stderr } = await run(process.execPath, [main, ...args, "--json"], environment, folder)
    const last = stdout.trim().split("\n").at(-1) ?? ""
    return { status, answer: last.startsWith("{") ? JSON.parse(last) : { error: { code: stderr.trim() } } }
  }

  async function must(role: string, ...args: readonly string[]) {
    const { status, answer } = await sealwright(role, ...args)
    if (status !== 0) throw new Error(`sealwright ${args.join(" ")}: exit ${status}, ${JSON.stringify(answer)}`)
    return answer
  }

  return {
    folder,
    service,
    sealwright,
    must,
    setUp: async () => {
      const host = new URL(service.trustUrl).host
      const names = ["--country", "US", "--state", "Washington", "--organisation", "Wabbit Networks"]
      const hosts = ["--identity-host", "trust.wabbit-networks.io", "--crl-host", host]
      const tuf = ["--tuf-url", `${service.trustUrl}/tuf`, "--root-out", "tuf-root.json"]
      await must("admin", "ceremony", ...names, ...hosts, ...tuf)
    },
    publishAndExport: async (name) => {
      await must("admin", "publish")
      await must("auditor", "export", name, "--root", "tuf-root.json", "--no-state")
      return join(folder, name)
    },
    close: async () => {
      await service.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A deployment with a timestamp authority, and the root's certificate in `root.pem`. */
export async function startAuthority(algorithm: string): Promise<TestDeployment> {
  const deployment = await startDeployment()
  await deployment.setUp()
  await deployment.must("admin", "timestamp", "authority", "--algorithm", algorithm)
  await deployment.must("admin", "publish")
  const { timestampAuthority } = await deployment.must("auditor", "timestamp", "authority", "--show")
  writeFileSync(join(deployment.folder, "root.pem"), timestampAuthority.chain.at(-1))
  // A token reaches back by its accuracy, and nothing was trusted before the ceremony.
  await sleep(1_500)
  return deployment
}

/** Arguments that create a profile for the pipeline. */
export function profileArguments(name: string, issuer: string, repository: string, ...more: readonly string[]) {
  const who = ["--principal", roleArn("pipeline"), "--repository", repository]
  return ["profile", "create", name, "--issuer", issuer, ...who, ...more]
}

export interface Image {
  readonly path: string
  readonly digest: string
}

/** An OCI image layout of one small layer, another for each seed. */
export function writeImage(path: string, seed: string): Image {
  mkdirSync(join(path, "blobs/sha256"), { recursive: true })
  const blob = (mediaType: string, bytes: Uint8Array) => {
    const hex = createHash("sha256").update(bytes).digest("hex")
    writeFileSync(join(path, "blobs/sha256", hex), bytes)
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length }
  }
  const json = (mediaType: string, value: unknown) => blob(mediaType, Buffer.from(JSON.stringify(value)))
  const layer = blob("application/vnd.oci.image.layer.v1.tar", Buffer.alloc(1024, seed))
  const config = json("application/vnd.oci.image.config.v1+json", {
    architecture: "amd64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: [layer.digest] },
  })
  const mediaType = "application/vnd.oci.image.manifest.v1+json"
  const manifest = json(mediaType, { schemaVersion: 2, mediaType, config, layers: [layer] })
  const annotations = { "org.opencontainers.image.ref.name": "v1" }
  writeFileSync(join(path, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }))
  writeFileSync(
    join(path, "index.json"),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  )
  return { path, digest: manifest.digest }
}

/** A Notary JWS envelope as JSON. */
export interface Envelope {
  payload: string
  protected: string
  header: { x5c: string[] }
  signature: string
}

export function readEnvelope(path: string): Envelope {
  return JSON.parse(readFileSync(path, "utf8"))
}
