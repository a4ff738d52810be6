import type { Arguments } from "./arguments.ts"
import type { LogCopy } from "./bundles/log-tree.ts"
import { usage } from "./exit.ts"

/** Which transparency logs a bundle gets, and how much of them. */
export const LOG_OPTIONS = {
  "log-from": { type: "string" },
  "log-tiles": { type: "boolean" },
  "log-entries": { type: "boolean" },
} as const

/** @throws CommandFailure USAGE */
export function logCopy(args: Arguments): LogCopy {
  if (args.flag("log-tiles") && args.flag("log-entries")) throw usage("--log-entries has the tiles too")
  return args.flag("log-entries") ? "entries" : args.flag("log-tiles") ? "tiles" : "seen"
}
