import { hash } from "node:crypto"
import { lstatSync, readdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import {
  BUNDLE_INDEX,
  type BundleIndex,
  checkBundlePath,
  encodeBundleIndex,
  type IndexedFile,
  isIndexOwn,
  MAX_BUNDLE_FILES,
  MAX_INDEX_BYTES,
  signatureKeyId,
} from "@sealwright/formats/bundle-index"
import { FormatError } from "@sealwright/formats/errors"
import { folderReader } from "../bundle-folder.ts"
import { CommandFailure, EXIT } from "../exit.ts"
import { writeFileWhole } from "../files.ts"
import { digestFile } from "../subject.ts"
import { type BundleContent, contentOf, mismatch } from "./content.ts"

export const MAX_SIGNATURE_BYTES = 8192

/**
 * Every file of a folder that may travel, sorted. Names that begin with a dot are left out: no reader of bundles takes them.
 * @throws FormatError PATH_REFUSED for a link, a device, or a name that is not one everywhere; TOO_LARGE
 */
export function listBundleFiles(folder: string): readonly string[] {
  const paths: string[] = []
  const visit = (below: string): void => {
    for (const entry of readdirSync(join(folder, below), { withFileTypes: true })) {
      if (entry.name.startsWith(".")) continue
      const path = below === "" ? entry.name : `${below}/${entry.name}`
      checkBundlePath(path)
      if (entry.isDirectory()) visit(path)
      else if (!entry.isFile()) throw new FormatError("PATH_REFUSED", `${path} is neither a plain file nor a folder`)
      else if (!isIndexOwn(path)) paths.push(path)
      if (paths.length > MAX_BUNDLE_FILES) throw new FormatError("TOO_LARGE", `more than ${MAX_BUNDLE_FILES} files`)
    }
  }
  visit("")
  return paths.sort()
}

/** The index that fits a folder as it stands. Equal folders give equal bytes. */
export function indexOfFolder(folder: string, { date, epoch }: Pick<BundleIndex, "date" | "epoch">): Uint8Array {
  const files = listBundleFiles(folder).map((path): IndexedFile => {
    const { digest, size } = digestFile(join(folder, path))
    return { path, size, sha256: digest.slice("sha256:".length) }
  })
  return encodeBundleIndex({ date, epoch, files })
}

/** Puts an index into a folder, alone: signatures over an older one go. One that stands with the same bytes stays, and its signatures. */
export function writeIndex(folder: string, index: Uint8Array): void {
  const standing = folderReader(folder)(BUNDLE_INDEX, MAX_INDEX_BYTES)
  if (standing !== undefined && Buffer.compare(standing, index) === 0) return
  for (const name of readdirSync(folder))
    if (signatureKeyId(name) !== undefined) rmSync(join(folder, name), { force: true })
  writeFileWhole(join(folder, BUNDLE_INDEX), index)
}

/**
 * A folder by its own index.
 * @param strict a file beside those of the index is refused too
 * @throws CommandFailure BUNDLE_NOT_INDEXED, BUNDLE_FILE_MISMATCH
 * @throws FormatError as `parseBundleIndex`
 */
export function openFolder(folder: string, strict: boolean): BundleContent {
  const read = folderReader(folder)
  const index = read(BUNDLE_INDEX, MAX_INDEX_BYTES)
  if (index === undefined)
    throw new CommandFailure(
      EXIT.rejected,
      "BUNDLE_NOT_INDEXED",
      `${folder} has no ${BUNDLE_INDEX}`,
      "Export or mirror it anew; an older release wrote none.",
    )
  const signatures = new Map<string, Uint8Array>()
  for (const name of readdirSync(folder)) {
    const keyId = signatureKeyId(name)
    const bytes = keyId === undefined ? undefined : read(name, MAX_SIGNATURE_BYTES)
    if (keyId !== undefined && bytes !== undefined) signatures.set(keyId, bytes)
  }
  const content = contentOf(index, signatures, ({ path }) => {
    const file = plainFile(folder, path)
    return file && { file: file.path, offset: 0, size: file.size }
  })
  const extra = strict ? listBundleFiles(folder).find((path) => !content.places.has(path)) : undefined
  if (extra !== undefined) throw mismatch(extra, "is not in the index")
  return content
}

/** No name on the way may be a link. */
function plainFile(folder: string, path: string): { readonly path: string; readonly size: number } | undefined {
  const names = path.split("/")
  let at = folder
  for (const [i, name] of names.entries()) {
    at = join(at, name)
    const stats = lstatSync(at, { throwIfNoEntry: false })
    if (i < names.length - 1 ? stats?.isDirectory() !== true : stats?.isFile() !== true) return undefined
    if (i === names.length - 1) return { path: at, size: stats?.size ?? 0 }
  }
  return undefined
}

/** Lower-case hex SHA-256 of bytes, as indexes have it. */
export function sha256Of(bytes: Uint8Array): string {
  return hash("sha256", bytes)
}
