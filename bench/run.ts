/** `npm run bench`: every figure in one run, as JSON lines and as a table with its conditions. Ends with 0 also when a target is missed. */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { cpus, loadavg, tmpdir, totalmem } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { buildCli } from "../scripts/build-cli.ts"
import { algorithmFigures } from "./algorithms.ts"
import { type StartedProgram, startFigures } from "./command.ts"
import { crlFigures } from "./crl.ts"
import { createDeployment, type Deployment, IMAGE, LOG_POLICY, PROOF, VARIANTS, type Variant } from "./deployment.ts"
import { logFigures } from "./log.ts"
import { type Figure, passes } from "./measure.ts"
import { mirrorFigures } from "./mirror.ts"
import { pkcs11Figures } from "./pkcs11.ts"
import { publishFigures } from "./publish.ts"
import { revokeFigures } from "./revoke.ts"
import { bundleOf, environment, signFigures } from "./sign.ts"
import { sizeFigures } from "./size.ts"
import { timestampFigures } from "./timestamp.ts"
import { verifyFigures } from "./verify.ts"
import { volumeFigures } from "./volume.ts"

/** What a deployer verifies, with what it keeps. */
const KEPT = [
  ...["image", "--reference", `${IMAGE}:v1`, "--policy", "bundle/policy/trustpolicy.json"],
  ...["--bundle", "bundle", "--root", "tuf-root.json"],
]
/** The same, with a proof from the log that the policy demands. */
const KEPT_LOGGED = [
  ...KEPT.map((part) => (part === "bundle/policy/trustpolicy.json" ? LOG_POLICY : part)),
  ...["--proof", PROOF],
]

const STARTS = 15
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const began = new Date()
const loadBefore = loadavg()[0] ?? 0
const say = (line: string) => void process.stderr.write(`${line}\n`)
const figures: Figure[] = []
const missing: string[] = []

say("verifying in this process")
figures.push(...verifyFigures(), ...(await sizeFigures(root)), ...crlFigures(), ...(await algorithmFigures()))

say("publishing as records grow")
figures.push(...(await publishFigures()))

say("logging")
figures.push(...(await logFigures()))

say("mirroring an hour")
figures.push(...(await mirrorFigures()))

say("signing in volume")
figures.push(...(await volumeFigures()))

say("signing on a token")
const onToken = await pkcs11Figures(root)
if (onToken === undefined)
  missing.push("keys on a PKCS #11 token: run scripts/clients/install.sh softhsm graphene to have them measured")
else figures.push(...onToken)

const dist = mkdtempSync(join(tmpdir(), "sealwright-cli-"))
try {
  const command = await buildCli(dist)
  figures.push(
    { figure: "size: what `sealwright verify` loads", value: command.verifyBytes, unit: "bytes" },
    { figure: "size: what the other commands load", value: command.mainBytes, unit: "bytes" },
  )
  say("setting a service up")
  const deployment = await createDeployment(command.path)
  try {
    figures.push({
      figure: "size: sign function",
      value: statSync(bundleOf(deployment)).size,
      unit: "bytes",
      atMost: 400_000,
    })
    say("starting programs")
    figures.push(...startFigures(programs(deployment, command.path), STARTS))
    for (const variant of Object.keys(VARIANTS) as Variant[]) {
      say(`signing: ${variant}`)
      figures.push(...(await signFigures(deployment, variant)))
    }
    say("timestamping")
    figures.push(...(await timestampFigures(deployment)))
    say("revoking")
    figures.push(...(await revokeFigures(deployment)))
  } finally {
    await deployment.close()
  }
} finally {
  rmSync(dist, { recursive: true, force: true })
}
report()

function programs({ folder, ...deployment }: Deployment, command: string): StartedProgram[] {
  const whole = { folder, ...deployment }
  const ours = ["verify", ...KEPT]
  const found: StartedProgram[] = [
    {
      name: "sign function's init",
      command: process.execPath,
      args: ["-e", `require(${JSON.stringify(bundleOf(whole))})`],
      env: environment(whole),
      atMost: 2.7,
    },
    {
      name: "sealwright verify, one image",
      command: process.execPath,
      args: [command, ...ours, "--no-state"],
      cwd: folder,
      atMost: 1.6,
    },
    {
      name: "sealwright verify, one image, with requireLog",
      command: process.execPath,
      args: [command, "verify", ...KEPT_LOGGED, "--no-state"],
      cwd: folder,
      beyond: "sealwright verify, one image",
    },
  ]
  const notation = join(root, ".clients", "notation", "usr", "bin", "notation")
  if (existsSync(notation))
    found.push({
      name: "notation verify, the same image",
      command: notation,
      args: ["verify", "--oci-layout", "--scope", IMAGE, `image@${signedDigest(folder, command)}`],
      cwd: folder,
      env: {
        NOTATION_EXPERIMENTAL: "1",
        HOME: folder,
        XDG_CONFIG_HOME: join(folder, "bundle/notation/config"),
        XDG_CACHE_HOME: join(folder, "bundle/notation/cache"),
      },
    })
  else missing.push("notation: run scripts/clients/install.sh to have it measured beside `sealwright verify`")
  return found
}

function signedDigest(cwd: string, command: string): string {
  const args = [command, "verify", ...KEPT]
  const printed = execFileSync(process.execPath, [...args, "--no-state", "--json"], { cwd, encoding: "utf8" })
  return (JSON.parse(printed) as { artifact: string }).artifact
}

function report(): void {
  const conditions = {
    date: began.toISOString().slice(0, 19),
    command: "npm run bench",
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpu: `${cpus()[0]?.model.trim()}, ${cpus().length} cores`,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    loadBefore: Number(loadBefore.toFixed(2)),
    loadAfter: Number((loadavg()[0] ?? 0).toFixed(2)),
  }
  const rows = figures.map((figure) => ({ ...figure, pass: passes(figure) }))
  const lines = [{ conditions }, ...rows, ...missing.map((what) => ({ missing: what }))]
  const results = join(root, "bench", "results")
  mkdirSync(results, { recursive: true })
  const name = `${conditions.date.slice(0, 10)}.jsonl`
  writeFileSync(join(results, name), lines.map((line) => `${JSON.stringify(line)}\n`).join(""))
  const table = [
    "| figure | value | target | |",
    "|---|---:|---:|---|",
    ...rows.map(
      ({ figure, value, unit, atMost, atLeast, pass, note }) =>
        `| ${figure}${note === undefined ? "" : ` (${note})`} | ${shown(value, unit)} | ${target(unit, atMost, atLeast)} | ${pass === undefined ? "" : pass ? "pass" : "**miss**"} |`,
    ),
  ]
  const text = `# Figures

Made by \`${conditions.command}\` on ${conditions.date}Z; the same as JSON lines in \`results/${name}\`.

- Machine: ${conditions.cpu}, ${conditions.memoryGiB} GiB, ${conditions.platform}; load ${conditions.loadBefore} before, ${conditions.loadAfter} after.
- Node ${conditions.node}.
- Compared things run in turns, in one run; medians. Ratios carry over to other machines, times do not.
- Publishing, logging and mirroring run over stores and keys in memory, in this process; calls and items are counted at the ports. Where a latency is named, each call waits that long.
- Signing runs against this project's stand-ins for KMS and DynamoDB in another process; only the signing process's CPU counts.
${missing.map((what) => `- Not measured: ${what}.\n`).join("")}
${table.join("\n")}
`
  writeFileSync(join(root, "bench", "RESULTS.md"), text)
  process.stdout.write(`${table.join("\n")}\n${missing.map((what) => `not measured: ${what}\n`).join("")}`)
}

function target(unit: Figure["unit"], atMost: number | undefined, atLeast: number | undefined): string {
  if (atMost !== undefined) return `<= ${shown(atMost, unit)}`
  return atLeast === undefined ? "" : `>= ${shown(atLeast, unit)}`
}

function shown(value: number, unit: Figure["unit"]): string {
  if (unit === "bytes") return `${value.toLocaleString("en-US")} bytes`
  if (unit === "/s") return `${Math.round(value).toLocaleString("en-US")} /s`
  if (unit === "items") return `${Math.round(value).toLocaleString("en-US")} items`
  if (unit === "calls") return `${Number(value.toFixed(2))}`
  return unit === "x" ? `${value.toFixed(2)}x` : `${value.toFixed(unit === "us" ? 0 : 2)} ${unit}`
}
