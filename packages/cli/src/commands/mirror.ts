import { formatTime } from "@sealwright/formats/time"
import type { Arguments, Command } from "../arguments.ts"
import { Fetcher } from "../bundles/fetcher.ts"
import { logsAt } from "../bundles/logs.ts"
import { DEFAULT_MAX_BUNDLE_BYTES, type TrustInput } from "../bundles/open-any.ts"
import { besideOf, targetFolder } from "../bundles/replace.ts"
import { readBundleKey } from "../bundles/sign-index.ts"
import { mirrorBundle, mirrorTrust, stampOf } from "../bundles/update.ts"
import { EXIT, usage } from "../exit.ts"
import { readFileLimited } from "../files.ts"
import { coded } from "../keys.ts"
import { LOG_OPTIONS, logCopy } from "../log-options.ts"
import { note, noteUnsigned, print } from "../output.ts"
import { MAX_ROOT_BYTES, thumbprintOf } from "../root-file.ts"
import { openState } from "../state-file.ts"

export const mirror: Command = {
  name: "mirror",
  summary: "bring a bundle up to date",
  help: `
Usage: sealwright mirror BUNDLE --root tuf-root.json --from URL [--log-from URL [--log-tiles | --log-entries]] [--state FILE | --no-state]
       sealwright mirror BUNDLE --root tuf-root.json --from-bundle URL [--bundle-key PUB.pem]... [--max-bytes SIZE] [--state FILE | --no-state]

Fetches what changed, verifies it from the pinned root on, and only then replaces the bundle in one step: a cut leaves the old one whole, and the next run
goes on with what had come. Data older than what this machine has seen is refused. --from is the published TUF repository, or a plain web server over
another bundle's \`tuf\` folder: trust data and what is made of them. --from-bundle is a web server over a whole bundle: policy, notation's files and
signatures too, by its index; --bundle-key demands a signature over that.
--log-from is the address below which the transparency logs stand as signatures/ and events/: their newest checkpoints, and the tiles that prove that they
continue what this machine and the bundle have seen; --log-tiles: all tiles, so that any earlier size is proven from; --log-entries: the whole logs.

Examples:
  sealwright mirror ./bundle --root tuf-root.json --from https://trust.wabbit-networks.io/tuf
  sealwright mirror ./bundle --root tuf-root.json --from https://trust.wabbit-networks.io/tuf \\
    --log-from https://trust.wabbit-networks.io/log --log-tiles
  sealwright mirror ./bundle --root tuf-root.json --from-bundle http://mirror.example.com/bundle --bundle-key bundles.pem
`,
  options: {
    root: { type: "string" },
    from: { type: "string" },
    "from-bundle": { type: "string" },
    ...LOG_OPTIONS,
    "bundle-key": { type: "string", multiple: true },
    "max-bytes": { type: "string" },
    state: { type: "string" },
    "no-state": { type: "boolean" },
  },
  positionals: { min: 1, max: 1 },
  run: (args) =>
    coded(async () => {
      const target = targetFolder(args.positionals[0] ?? "")
      const { trust, remember } = openTrust(args)
      const keys = args.texts("bundle-key").map(readBundleKey)
      const fetcher = new Fetcher(besideOf(target, "partial"))
      const whole = args.text("from-bundle")
      if (whole !== undefined && args.text("from") !== undefined)
        throw usage("--from and --from-bundle exclude each other")
      if (whole === undefined && keys.length > 0) throw usage("--bundle-key goes with --from-bundle")
      if (whole !== undefined && keys.length === 0) noteUnsigned()
      const logFrom = args.text("log-from")
      if (whole !== undefined && logFrom !== undefined) throw usage("--log-from goes with --from")
      const copy = logCopy(args)
      if (logFrom === undefined && copy !== "seen") throw usage("--log-tiles and --log-entries go with --log-from")
      const logs =
        logFrom === undefined ? undefined : { source: logsAt(logFrom, fetcher), copy, now: trust.now, required: true }
      const maxBytes = args.bytes("max-bytes") ?? DEFAULT_MAX_BUNDLE_BYTES
      const updated =
        whole === undefined
          ? await mirrorTrust(target, args.required("from"), trust, fetcher, logs)
          : await mirrorBundle(target, whole, { ...trust, keys, maxBytes }, fetcher)
      remember(updated.bundle)
      const { bytesFetched, bytesOfFullCopy, filesWritten } = updated
      const { epoch, date } = stampOf(updated.bundle)
      print(args.flag("json"), { bundle: target, epoch, bytesFetched, bytesOfFullCopy, filesWritten }, () => [
        `${target}: publication ${epoch} of ${formatTime(date)}`,
        `  ${bytesFetched} bytes fetched, where a full copy has ${bytesOfFullCopy}; ${filesWritten} files written`,
      ])
      return EXIT.done
    }),
}

/** What trust data are verified with, and how what was seen is kept afterwards. */
export function openTrust(args: Arguments): {
  readonly trust: TrustInput
  readonly remember: (bundle: Parameters<typeof stampOf>[0]) => void
} {
  const pinnedRoot = readFileLimited(args.required("root"), MAX_ROOT_BYTES)
  const state = openState(args, pinnedRoot)
  return {
    trust: { pinnedRoot, now: new Date(), floors: state.floors },
    remember: (bundle) => {
      state.remember(bundle.floors)
      for (const root of bundle.newRoots)
        note(
          `sealwright: root ${thumbprintOf(root)} was added and waits: compare it, then \`sealwright trust accept-root\``,
        )
    },
  }
}
