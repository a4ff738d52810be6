import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { BUNDLE_INDEX, signatureName } from "@sealwright/formats/bundle-index"
import { formatTime } from "@sealwright/formats/time"
import type { OpenedBundle } from "@sealwright/verifier/bundle"
import type { Arguments, Command } from "../arguments.ts"
import { folderReader } from "../bundle-folder.ts"
import { signFolder } from "../bundles/add-signature.ts"
import { type WrittenFile, writeArchives } from "../bundles/archive.ts"
import { type BundleContent, contentReader, type Place, sizeOf, verifiedChunks } from "../bundles/content.ts"
import { indexOfFolder, listBundleFiles, openFolder, writeIndex } from "../bundles/folder.ts"
import { checkLogs } from "../bundles/logs.ts"
import { writeLayout } from "../bundles/oci-bundle.ts"
import { openAny, verifyContent, verifyTrust } from "../bundles/open-any.ts"
import { linkFiles, replaceFolder, targetFolder } from "../bundles/replace.ts"
import { readBundleKey, requireSignatures } from "../bundles/sign-index.ts"
import { stampOf, standingReader } from "../bundles/update.ts"
import { EXIT, usage } from "../exit.ts"
import { readFileLimited, writeChunksWhole, writeFileWhole } from "../files.ts"
import { KEY_HELP, KEY_OPTIONS } from "../key-options.ts"
import { coded } from "../keys.ts"
import type { ReadFile } from "../log-files.ts"
import { noteUnsigned, print } from "../output.ts"
import { MAX_ROOT_BYTES } from "../root-file.ts"
import { openTrust } from "./mirror.ts"

export const PACK_OPTIONS = {
  ...KEY_OPTIONS,
  format: { type: "string" },
  split: { type: "string" },
  key: { type: "string" },
} as const

const TRUST_OPTIONS = {
  root: { type: "string" },
  "bundle-key": { type: "string", multiple: true },
  "max-bytes": { type: "string" },
  state: { type: "string" },
  "no-state": { type: "boolean" },
} as const

export const bundlePack: Command = {
  name: "bundle pack",
  summary: "pack a bundle's folder into archives or an OCI layout",
  help: `
Usage: sealwright bundle pack BUNDLE --to FILE.tar --root tuf-root.json [--split SIZE] [--key KEY]
       sealwright bundle pack BUNDLE --to FOLDER --format oci --root tuf-root.json [--key KEY]

Verifies a bundle's folder and packs it: as one tar archive, as several for media of SIZE (bytes, or 650M, 4G: millions, thousands of millions), or as an OCI
image layout. Each part has whole files, so any tar program unpacks it. Equal folders give equal bytes. --key signs the index, which covers every file.
${KEY_HELP}

Examples:
  sealwright bundle pack ./bundle --to bundle.tar --root tuf-root.json --split 650M
  sealwright bundle pack ./bundle --to ./bundle-oci --format oci --root tuf-root.json --key local:bundles
`,
  options: { ...PACK_OPTIONS, to: { type: "string" }, root: { type: "string" } },
  positionals: { min: 1, max: 1 },
  run: (args) =>
    coded(async () => {
      const folder = targetFolder(args.positionals[0] ?? "")
      const to = resolve(args.required("to"))
      const options = packOptions(args)
      if (to.startsWith(`${folder}/`)) throw usage("--to lies inside the bundle")
      const trust = { pinnedRoot: readFileLimited(args.required("root"), MAX_ROOT_BYTES), now: new Date() }
      const bundle = verifyTrust(folderReader(folder), { ...trust, floors: undefined })
      // Signatures over an index that still fits go along; a new index has none but of --key.
      listBundleFiles(folder)
      const packed = await withWorkFolder(to, async (work) => {
        linkFiles(folder, work)
        writeIndex(work, indexOfFolder(work, stampOf(bundle)))
        await signFolder(args, work)
        return await packFolder(work, to, options)
      })
      print(args.flag("json"), packedView(packed), () => packedLines(packed))
      return EXIT.done
    }),
}

export const bundleUnpack: Command = {
  name: "bundle unpack",
  summary: "unpack a bundle, verified, into a folder",
  help: `
Usage: sealwright bundle unpack FILE... --to BUNDLE --root tuf-root.json [--bundle-key PUB.pem]... [--max-bytes SIZE] [--state FILE | --no-state]

Takes every part of an archive in any order, an OCI image layout or a bundle's folder; checks that the parts belong together, that each file is the one of the index,
and the trust data from the pinned root on; and only then replaces the folder, in one step. What this machine has seen newer is refused.
--bundle-key demands a signature over the index. Without it, trust data and artifacts' signatures are as safe as ever, but who carried
the bundle could have changed what is signed by nobody: the policy and notation's trust store.

Example:
  sealwright bundle unpack bundle-1-of-2.tar bundle-2-of-2.tar --to ./bundle --root tuf-root.json --bundle-key bundles.pem
`,
  options: { ...TRUST_OPTIONS, to: { type: "string" } },
  positionals: { min: 1, max: 999 },
  run: (args) =>
    coded(async () => {
      const target = targetFolder(args.required("to"))
      const { content, bundle, remember } = openVerified(args, standingReader(target))
      await replaceFolder(target, async (staging) => copyContent(content, staging))
      remember()
      print(args.flag("json"), { bundle: target, ...viewOf(content, bundle) }, () => [
        `${target}: publication ${content.index.epoch}, ${content.index.files.length} files`,
      ])
      return EXIT.done
    }),
}

export const bundleCheck: Command = {
  name: "bundle check",
  summary: "check a bundle without unpacking it",
  help: `
Usage: sealwright bundle check FILE... --root tuf-root.json [--bundle-key PUB.pem]... [--max-bytes SIZE] [--state FILE | --no-state]

Checks what \`sealwright bundle unpack\` would: that parts belong together, every file against the index, trust data from the pinned root on, and the
signatures that --bundle-key demands. Writes nothing but the state file. A bundle's folder can be checked too.

Example:
  sealwright bundle check bundle.tar --root tuf-root.json --bundle-key bundles.pem
`,
  options: TRUST_OPTIONS,
  positionals: { min: 1, max: 999 },
  run: (args) =>
    coded(async () => {
      const { content, bundle, remember } = openVerified(args)
      for (const file of content.index.files)
        for (const _ of verifiedChunks(content.places.get(file.path) as Place, file));
      remember()
      print(args.flag("json"), viewOf(content, bundle), () => [
        `publication ${content.index.epoch}, ${content.index.files.length} files, ${sizeOf(content)} bytes: as the index says`,
      ])
      return EXIT.done
    }),
}

export interface PackSettings {
  readonly format: "tar" | "oci"
  readonly partBytes: number | undefined
}

/** @throws CommandFailure USAGE */
export function packOptions(args: Arguments): PackSettings {
  const format = args.text("format") ?? "tar"
  if (format !== "tar" && format !== "oci") throw usage("--format takes tar or oci")
  const partBytes = args.bytes("split")
  if (format === "oci" && partBytes !== undefined)
    throw usage("--split is for archives; an OCI layout has a blob for each file")
  return { format, partBytes }
}

export interface Packed {
  readonly content: BundleContent
  readonly written: readonly WrittenFile[]
}

/** Packs an indexed folder. @returns what was written */
export async function packFolder(folder: string, to: string, { format, partBytes }: PackSettings): Promise<Packed> {
  const content = openFolder(folder, true)
  if (format === "tar") return { content, written: writeArchives(content, to, partBytes) }
  await replaceFolder(targetFolder(to), async (staging) => writeLayout(content, staging), { marker: "oci-layout" })
  return { content, written: [{ path: to, bytes: sizeOf(content) }] }
}

/** A folder beside `to` for as long as `use` runs. */
export async function withWorkFolder<T>(to: string, use: (work: string) => Promise<T>): Promise<T> {
  mkdirSync(dirname(to), { recursive: true })
  const work = mkdtempSync(join(dirname(to), ".sealwright-pack-"))
  return await use(work).finally(() => rmSync(work, { recursive: true, force: true }))
}

export function packedView({ content, written }: Packed) {
  return {
    packed: written,
    index: content.digest,
    epoch: content.index.epoch,
    signatures: [...content.signatures.keys()],
  }
}

export function packedLines({ content, written }: Packed): readonly string[] {
  const { signatures } = content
  return [
    ...written.map(({ path, bytes }) => `${path}: ${bytes} bytes`),
    signatures.size === 0
      ? "  its index carries no signature"
      : `  its index is signed by the key ${[...signatures.keys()].join(", ")}`,
  ]
}

/** Everything but the contents of files that verifying does not read; nothing is written. */
function openVerified(args: Arguments, standing?: ReadFile) {
  const { trust, remember } = openTrust(args)
  const content = openAny(
    args.positionals.map((path) => resolve(path)),
    args.bytes("max-bytes"),
  )
  const keys = args.texts("bundle-key").map(readBundleKey)
  requireSignatures(content, keys)
  if (keys.length === 0) noteUnsigned()
  const bundle = checkLogs(contentReader(content), verifyContent(content, trust), trust.now, standing)
  return { content, bundle, remember: () => remember(bundle) }
}

/** Writes a bundle's files and its index into an empty folder, each compared with the index as it is copied. */
function copyContent(content: BundleContent, folder: string): void {
  for (const file of content.index.files) {
    const path = join(folder, file.path)
    mkdirSync(dirname(path), { recursive: true })
    writeChunksWhole(path, verifiedChunks(content.places.get(file.path) as Place, file))
  }
  for (const [keyId, bytes] of content.signatures) writeFileWhole(join(folder, signatureName(keyId)), bytes)
  writeFileWhole(join(folder, BUNDLE_INDEX), content.indexBytes)
}

function viewOf(content: BundleContent, bundle: OpenedBundle) {
  return {
    epoch: content.index.epoch,
    date: formatTime(content.index.date),
    index: content.digest,
    files: content.index.files.length,
    bytes: sizeOf(content),
    signatures: [...content.signatures.keys()],
    stale: bundle.stale,
  }
}
