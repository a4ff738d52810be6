import { resolve } from "node:path"
import { allRoots } from "@sealwright/formats/trust-bundle"
import { parseCertificate } from "@sealwright/formats/x509"
import { type OpenedBundle, openBundle } from "@sealwright/verifier/bundle"
import { runSync } from "@sealwright/verifier/node-crypto"
import { printable } from "@sealwright/verifier/verdict"
import type { Arguments, Command } from "../arguments.ts"
import { folderReader } from "../bundle-folder.ts"
import { CommandFailure, EXIT, usage } from "../exit.ts"
import { readFileLimited } from "../files.ts"
import { print, table } from "../output.ts"
import { MAX_ROOT_BYTES, thumbprintOf } from "../root-file.ts"
import { openState } from "../state-file.ts"

const OPTIONS = { bundle: { type: "string" }, root: { type: "string" }, state: { type: "string" } } as const

export const trustRoots: Command = {
  name: "trust roots",
  summary: "list a bundle's roots and which are accepted",
  help: `
Usage: sealwright trust roots --bundle BUNDLE --root tuf-root.json [--state FILE]

Lists the roots of the publisher's trust bundle by their SHA-256. Those that were there when this machine first saw the bundle are accepted; a root that
was added since waits for \`sealwright trust accept-root\`, and counts for nothing where a trust policy names the bundle by its address.

Example:
  sealwright trust roots --bundle ./bundle --root tuf-root.json
`,
  options: OPTIONS,
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const { bundle } = openTrust(args, [])
    return show(args, bundle)
  },
}

export const trustAcceptRoot: Command = {
  name: "trust accept-root",
  summary: "accept a root that a publisher added",
  help: `
Usage: sealwright trust accept-root SHA256... --bundle BUNDLE --root tuf-root.json [--state FILE]

Takes roots over into the state file. Compare each SHA-256 with the publisher by another way first: trust bundles are signed by a key that is used
online, and whoever stole it could have added a root.

Example:
  sealwright trust accept-root 7d5b0c1e4f… --bundle ./bundle --root tuf-root.json
`,
  options: OPTIONS,
  positionals: { min: 1, max: 64 },
  run: async (args) => {
    const wanted = args.positionals.map((text) => text.toLowerCase().replaceAll(":", ""))
    const bad = wanted.find((text) => !/^[0-9a-f]{64}$/.test(text))
    if (bad !== undefined) throw usage(`${bad} is no SHA-256 in hex`)
    const { bundle, remember } = openTrust(args, wanted)
    const present = allRoots(bundle.trustBundle).map(thumbprintOf)
    const absent = wanted.find((thumbprint) => !present.includes(thumbprint))
    if (absent !== undefined)
      throw new CommandFailure(
        EXIT.rejected,
        "ROOT_UNKNOWN",
        `the trust bundle has no root ${absent}`,
        "List its roots with `sealwright trust roots`.",
      )
    remember()
    return show(args, bundle)
  },
}

function openTrust(
  args: Arguments,
  acceptRoots: readonly string[],
): { readonly bundle: OpenedBundle; readonly remember: () => void } {
  const folder = resolve(args.required("bundle"))
  const pinnedRoot = readFileLimited(args.required("root"), MAX_ROOT_BYTES)
  const state = openState(args, pinnedRoot)
  const now = new Date()
  const bundle = runSync(
    openBundle({
      read: folderReader(folder),
      pinnedRoot,
      now,
      acceptRoots,
      ...(state.floors && { floors: state.floors }),
    }),
  )
  if (!bundle.ok)
    throw new CommandFailure(EXIT.inconclusive, bundle.code, `${bundle.subject}: ${bundle.detail}`, "Mirror it anew.")
  return { bundle, remember: () => state.remember(bundle.floors) }
}

function show(args: Arguments, { trustBundle, newRoots }: OpenedBundle): number {
  const waiting = new Set(newRoots.map(thumbprintOf))
  const roots = allRoots(trustBundle).map((der) => ({
    sha256: thumbprintOf(der),
    subject: printable(
      parseCertificate(der)
        .subject.rdns.map((rdn) => rdn.map(({ value }) => value ?? "?").join("+"))
        .join(", "),
    ),
    accepted: !waiting.has(thumbprintOf(der)),
  }))
  print(args.flag("json"), { roots }, () =>
    table([
      ["SHA-256", "", "SUBJECT"],
      ...roots.map(({ sha256, accepted, subject }) => [sha256, accepted ? "accepted" : "WAITS", subject]),
    ]),
  )
  return EXIT.done
}
