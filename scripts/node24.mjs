// Runs a script under Node 24: this Node when it is new enough, else the one that `npm ci` installed from its platform package.
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const OLDEST = [24, 15]

function node24() {
  const [major, minor] = process.versions.node.split(".").map(Number)
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return process.execPath
  const root = dirname(dirname(fileURLToPath(import.meta.url)))
  const packaged = join(root, "node_modules", `node-${process.platform}-${process.arch}`, "bin", "node")
  if (existsSync(packaged)) return packaged
  process.stderr.write(
    `Sealwright runs on Node ${OLDEST.join(".")} or newer; this is Node ${process.versions.node}, and npm has installed no Node 24 for ${process.platform}-${process.arch}.\n` +
      "Run `npm ci` with optional packages (no --omit=optional), or install Node 24 and try again.\n",
  )
  process.exit(2)
}

const node = node24()
const args = process.argv.slice(2)
const child = spawn(node, args, {
  stdio: "inherit",
  env: { ...process.env, PATH: `${dirname(node)}${process.platform === "win32" ? ";" : ":"}${process.env.PATH ?? ""}` },
})
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal))
child.on("error", (error) => {
  process.stderr.write(`Cannot start ${node}: ${error.message}\n`)
  process.exit(2)
})
child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)))
