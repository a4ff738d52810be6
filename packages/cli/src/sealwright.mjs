#!/usr/bin/env node
// Starts the command under Node 24: in this process when it is new enough, else in the Node that `npm ci` installed.
import { spawnSync } from "node:child_process"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const here = dirname(fileURLToPath(import.meta.url))
const [major, minor] = process.versions.node.split(".").map(Number)
if (major > 24 || (major === 24 && minor >= 15)) await import("./main.ts")
else {
  const shim = join(here, "../../../scripts/node24.mjs")
  const { status } = spawnSync(process.execPath, [shim, join(here, "main.ts"), ...process.argv.slice(2)], {
    stdio: "inherit",
  })
  process.exit(status ?? 2)
}
