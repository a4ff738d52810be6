import { createHash } from "node:crypto"
import { resolve } from "node:path"
import { formatTime } from "@sealwright/formats/time"
import type { Arguments, Command } from "../arguments.ts"
import {
  folderReader,
  MAX_TREE_BYTES,
  NOTATION_TREE,
  writeMarker,
  writeNotationTree,
  writeTrustData,
} from "../bundle-folder.ts"
import { EXIT } from "../exit.ts"
import { type FetchedTrust, fetchTrust } from "../fetch-trust.ts"
import { readFileLimited } from "../files.ts"
import { note, print } from "../output.ts"
import { openState } from "../state-file.ts"

export const MAX_ROOT_BYTES = 512_000

export const mirror: Command = {
  name: "mirror",
  summary: "bring a bundle's trust data up to date",
  help: `
Usage: sealwright mirror BUNDLE --root tuf-root.json --from URL [--state FILE | --no-state]

Fetches what changed, verifies it from the pinned root on, and only then replaces: a cut leaves the old data whole. Data older than what this machine
has seen is refused. --from is the published TUF repository, or a plain web server over another bundle's \`tuf\` folder.

Example:
  sealwright mirror ./bundle --root tuf-root.json --from https://trust.wabbit-networks.io/tuf
`,
  options: {
    root: { type: "string" },
    from: { type: "string" },
    state: { type: "string" },
    "no-state": { type: "boolean" },
  },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const folder = resolve(args.positionals[0] ?? "")
    const fetched = await updateTrustData(folder, args, args.required("from"))
    const tree = folderReader(folder)(NOTATION_TREE, MAX_TREE_BYTES)
    if (tree !== undefined) writeNotationTree(folder, tree, crlReader(fetched), fetched.bundle.newRoots)
    const list = fetched.bundle.freshness.find(({ part }) => part === "lists/revocations.json")
    print(
      args.flag("json"),
      { bundle: folder, epoch: list?.version, bytesFetched: fetched.bytesFetched, filesWritten: fetched.filesWritten },
      () => [
        `${folder}: publication ${list?.version} of ${list?.date === undefined ? "unknown date" : formatTime(list.date)}`,
        `  ${fetched.bytesFetched} bytes fetched, ${fetched.filesWritten} files written`,
      ],
    )
    return EXIT.done
  },
}

/** Lower-case hex SHA-256 of a certificate, as people compare it. */
export function thumbprintOf(certificate: Uint8Array): string {
  return createHash("sha256").update(certificate).digest("hex")
}

/** Fetches, verifies, replaces and remembers, in this order. */
export async function updateTrustData(
  folder: string,
  args: Arguments,
  from: string,
): Promise<FetchedTrust & { readonly filesWritten: number }> {
  const pinnedRoot = readFileLimited(args.required("root"), MAX_ROOT_BYTES)
  const state = openState(args, pinnedRoot)
  const fetched = await fetchTrust(from, pinnedRoot, new Date(), state.floors, folderReader(folder))
  writeMarker(folder)
  const { written } = writeTrustData(folder, fetched.files)
  state.remember(fetched.bundle.floors)
  for (const root of fetched.bundle.newRoots)
    note(
      `sealwright: root ${thumbprintOf(root)} was added and waits: compare it, then \`sealwright trust accept-root\``,
    )
  return { ...fetched, filesWritten: written }
}

/** CRLs of verified data by target path. */
export function crlReader(fetched: FetchedTrust): (target: string) => Uint8Array | undefined {
  return (target) => {
    const suffix = `.${target.slice("lists/".length)}`
    for (const [path, bytes] of fetched.files)
      if (path.startsWith("tuf/targets/lists/") && path.endsWith(suffix)) return bytes
    return undefined
  }
}
