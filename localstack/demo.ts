import { execFile } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { writeNodeImage } from "./demo-image.ts"
import { roleArn } from "./people.ts"
import { startService } from "./service.ts"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const folder = mkdtempSync(join(tmpdir(), "sealwright-demo-"))
const IMAGE = "registry.wabbit-networks.io/net-monitor"
const POLICY = ["--policy", "policy/trustpolicy.json"]
const FILE = "downloads.wabbit-networks.io/net-monitor"
const began = performance.now()
let unexpected = 0

interface Outcome {
  readonly status: number
  readonly answer: { readonly [name: string]: unknown }
}

const say = (text = "") => void process.stdout.write(`${text}\n`)

const service = await startService({
  folder: join(folder, "service"),
  apiPort: 0,
  trustPort: 0,
  log: () => undefined,
  schedule: false,
})
try {
  await story()
} finally {
  await service.close()
  rmSync(folder, { recursive: true, force: true })
}
const seconds = ((performance.now() - began) / 1000).toFixed(1)
say()
if (unexpected > 0) {
  say(`${unexpected} verdict(s) were not the expected ones, after ${seconds} s.`)
  process.exit(1)
}
say(`Every verdict was the expected one, after ${seconds} s. Try next:

  npm start                     keep such a service running, and sign your own artifacts
  npx sealwright help           all commands
  npx sealwright verify --help  what an offline site runs
  npx cdk deploy                the same functions in your own AWS account`)

async function story(): Promise<void> {
  say("A signing service of your own, from key to verdict, on this machine.\n")

  chapter("The publisher sets up: root, issuer, and who may sign what")
  await run(
    "admin",
    "ceremony",
    "--country",
    "US",
    "--state",
    "Washington",
    "--organisation",
    "Wabbit Networks",
    "--identity-host",
    "trust.wabbit-networks.io",
    "--crl-host",
    new URL(service.trustUrl).host,
    "--tuf-url",
    `${service.trustUrl}/tuf`,
    "--root-out",
    "tuf-root.json",
  )
  await run("admin", "issuer", "create", "ci-2026")
  await run(
    "admin",
    "profile",
    "create",
    "images",
    "--issuer",
    "ci-2026",
    "--principal",
    roleArn("pipeline"),
    "--repository",
    IMAGE,
  )
  await run(
    "admin",
    "profile",
    "create",
    "files",
    "--issuer",
    "ci-2026",
    "--principal",
    roleArn("pipeline"),
    "--repository",
    FILE,
  )

  chapter("A pipeline builds an image and a release file, and asks for signatures through IAM")
  const image = writeNodeImage(join(folder, "image"))
  say(`    (an OCI image of three layers, ${image.slice(0, 19)}…, and a release file)`)
  writeFileSync(join(folder, "net-monitor.json"), JSON.stringify(process.versions))
  await run("pipeline", "sign", "image", "--profile", "images", "--reference", `${IMAGE}:v1`)
  const signed = await run("pipeline", "sign", "net-monitor.json", "--profile", "files", "--reference", `${FILE}:1.0.0`)
  await refused(
    "pipeline",
    "REPOSITORY_OUT_OF_SCOPE",
    "sign",
    "image",
    "--profile",
    "files",
    "--reference",
    `${IMAGE}:v1`,
    "--no-attach",
  )

  chapter("The trust data is published, and exported as a folder that travels to a site without network")
  await run("admin", "publish")
  await run("auditor", "export", "bundle", "--root", "tuf-root.json", "--no-state")
  say(
    "    (the deployer's admin reads the trust policy that came along, and keeps it where no carrier of bundles writes)",
  )
  cpSync(join(folder, "bundle", "policy"), join(folder, "policy"), { recursive: true })
  await expect("accepted", "ACCEPTED", ...verifyImage())
  await expect("accepted", "ACCEPTED", ...verifyFile())

  chapter("The release file turns out bad: its signature is revoked, and only its own")
  const { signature } = signed.answer as { signature: { id: string } }
  await run("revoker", "revoke", "--signature", signature.id, "--reason", "keyCompromise", "--wait")
  cpSync(join(folder, "bundle"), join(folder, "old-bundle"), { recursive: true })
  await run("auditor", "export", "bundle", "--root", "tuf-root.json", "--no-state")
  await expect("rejected", "SIGNATURE_REVOKED", ...verifyFile())
  await expect("accepted", "ACCEPTED", ...verifyImage())

  chapter("What an attacker would try next")
  say("    a changed copy of the file, under the same signature:")
  writeFileSync(join(folder, "tampered.json"), `${readFileSync(join(folder, "net-monitor.json"), "utf8")} `)
  cpSync(join(folder, "net-monitor.json.jws.sig"), join(folder, "tampered.json.jws.sig"))
  await expect("rejected", "ARTIFACT_MISMATCH", "verify", "tampered.json", "--reference", FILE, ...bundle("bundle"))
  say("    the revoked signature with the certificate of its unrevoked sibling:")
  swapCertificate()
  await expect("rejected", "SIGNATURE_INVALID", "verify", "swapped.json", "--reference", FILE, ...bundle("bundle"))
  say("    the image under the name of another repository:")
  await expect(
    "rejected",
    "SOURCE_NOT_TRUSTED",
    "verify",
    "image",
    "--reference",
    "registry.wabbit-networks.io/other:v1",
    ...bundle("bundle"),
  )
  say("    the bundle of before the revocation, on a machine that has seen the newer one:")
  await expect(
    "accepted",
    "ACCEPTED",
    "verify",
    "image",
    "--reference",
    `${IMAGE}:v1`,
    ...POLICY,
    "--bundle",
    "bundle",
    "--root",
    "tuf-root.json",
    "--state",
    "seen.json",
  )
  await expect(
    "inconclusive",
    "TUF_ROLLBACK",
    "verify",
    "net-monitor.json",
    "--reference",
    FILE,
    ...POLICY,
    "--bundle",
    "old-bundle",
    "--root",
    "tuf-root.json",
    "--state",
    "seen.json",
  )
  say("    the newest bundle, three days later without a newer one:")
  const later = `${new Date(Date.now() + 3 * 86_400_000).toISOString().slice(0, 19)}Z`
  await expect("inconclusive", "REVOCATION_STALE", ...verifyImage(), "--now", later)
}

function verifyImage(): string[] {
  return ["verify", "image", "--reference", `${IMAGE}:v1`, ...bundle("bundle")]
}

function verifyFile(): string[] {
  return ["verify", "net-monitor.json", "--reference", FILE, ...bundle("bundle")]
}

function bundle(name: string): string[] {
  return [...POLICY, "--bundle", name, "--root", "tuf-root.json", "--no-state"]
}

function chapter(title: string): void {
  say(`\n${title}`)
}

/** Puts the image signature's certificates into the file's envelope. */
function swapCertificate(): void {
  const envelopes = join(folder, "image", "blobs", "sha256")
  const index = JSON.parse(readFileSync(join(folder, "image", "index.json"), "utf8"))
  const manifest = JSON.parse(readFileSync(join(envelopes, index.manifests.at(-1).digest.slice(7)), "utf8"))
  const sibling = JSON.parse(readFileSync(join(envelopes, manifest.layers[0].digest.slice(7)), "utf8"))
  const revoked = JSON.parse(readFileSync(join(folder, "net-monitor.json.jws.sig"), "utf8"))
  revoked.header.x5c = sibling.header.x5c
  cpSync(join(folder, "net-monitor.json"), join(folder, "swapped.json"))
  writeFileSync(join(folder, "swapped.json.jws.sig"), JSON.stringify(revoked))
}

/** Runs a command that must succeed. */
async function run(role: string, ...args: readonly string[]): Promise<Outcome> {
  const outcome = await command(role, args)
  show(role, args, outcome.status === 0 ? "done" : `exit ${outcome.status} ${codeOf(outcome)}`, outcome.status === 0)
  if (outcome.status !== 0) throw new Error(`sealwright ${args[0]} failed: ${JSON.stringify(outcome.answer)}`)
  return outcome
}

/** Runs a command that the service must refuse. */
async function refused(role: string, code: string, ...args: readonly string[]): Promise<void> {
  const outcome = await command(role, args)
  show(role, args, `refused  ${codeOf(outcome)}`, codeOf(outcome) === code)
}

/** Verifies offline: the operator has no credentials and no endpoint. */
async function expect(verdict: string, code: string, ...args: readonly string[]): Promise<void> {
  const outcome = await command("operator", args)
  const { answer } = outcome
  const codes = [answer.code, ...((answer.signatures ?? []) as { code?: string }[]).map((signature) => signature.code)]
  show(
    "operator",
    args,
    `${String(answer.verdict).toUpperCase()}  ${[...new Set(codes)].join(" ")}`,
    answer.verdict === verdict && codes.includes(code),
  )
}

function codeOf({ answer }: Outcome): string {
  return (answer.error as { code?: string } | undefined)?.code ?? ""
}

function show(role: string, args: readonly string[], result: string, asExpected: boolean): void {
  if (!asExpected) unexpected += 1
  say(`  ${role.padEnd(8)} $ sealwright ${args.map((arg) => (/\s/.test(arg) ? `"${arg}"` : arg)).join(" ")}`)
  say(`           ${asExpected ? "✓" : "✗ UNEXPECTED"} ${result}`)
}

function command(role: string, args: readonly string[]): Promise<Outcome> {
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
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(root, "packages/cli/src/main.ts"), ...args, "--json"],
      { cwd: folder, env, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === "number" ? error.code : -1
        const last = stdout.trim().split("\n").at(-1) ?? ""
        resolve({ status, answer: last.startsWith("{") ? JSON.parse(last) : { error: { code: stderr.trim() } } })
      },
    )
  })
}
