import { createHash } from "node:crypto"
import { homedir } from "node:os"
import { join } from "node:path"
import { FormatError } from "@sealwright/formats/errors"
import { type BundleFloors, encodeState, MAX_STATE_BYTES, parseState } from "@sealwright/verifier/state"
import type { Arguments } from "./arguments.ts"
import { CommandFailure, EXIT } from "./exit.ts"
import { readFileIfThere, writeFileWhole } from "./files.ts"
import { note } from "./output.ts"

export interface State {
  /** the highest state seen; undefined at first */
  readonly floors: BundleFloors | undefined
  /** Keeps what was seen. A place that can't be written is said, and changes no verdict. */
  remember(floors: BundleFloors): void
}

/**
 * What this machine has seen of a publisher, so that a rolled-back carrier is noticed. By default one file for each pinned root, below
 * `$XDG_STATE_HOME/sealwright`.
 * @throws CommandFailure STATE_MALFORMED for a file that can't be read: it is not skipped, since that would forget
 */
export function openState(args: Arguments, pinnedRoot: Uint8Array): State {
  if (args.flag("no-state")) return { floors: undefined, remember: () => undefined }
  const path = args.text("state") ?? defaultPath(pinnedRoot)
  const bytes = readFileIfThere(path, MAX_STATE_BYTES)
  return {
    floors: bytes && parseOrFail(path, bytes),
    remember: (floors) => {
      const next = encodeState(floors)
      if (bytes !== undefined && Buffer.compare(bytes, next) === 0) return
      try {
        writeFileWhole(path, next, 0o600)
      } catch (error) {
        note(
          `sealwright: ${path} can't be written (${(error as NodeJS.ErrnoException).code ?? "unknown"}); a later rollback may go unnoticed`,
        )
      }
    },
  }
}

function defaultPath(pinnedRoot: Uint8Array): string {
  const folder = process.env.XDG_STATE_HOME ?? join(homedir(), ".local", "state")
  return join(folder, "sealwright", `${createHash("sha256").update(pinnedRoot).digest("hex").slice(0, 32)}.json`)
}

function parseOrFail(path: string, bytes: Uint8Array): BundleFloors {
  try {
    return parseState(bytes)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new CommandFailure(
      EXIT.inconclusive,
      "STATE_MALFORMED",
      `${path}: ${error.message}`,
      "Restore the file, or remove it to start over knowingly.",
    )
  }
}
