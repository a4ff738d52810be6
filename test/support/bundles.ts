import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { BUNDLE_INDEX, BUNDLE_PART, encodeBundleIndex, encodeBundlePart } from "@sealwright/formats/bundle-index"
import { concat } from "@sealwright/formats/bytes"
import { archiveEnd, archiveHeader, archivePadding } from "@sealwright/formats/ustar"
import { sha256Of } from "../../packages/cli/src/bundles/folder.ts"

export type Files = ReadonlyMap<string, Uint8Array>

export function scratch(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "sealwright-bundles-"))
  return { path, remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 5 }) }
}

export function writeFiles(folder: string, files: Files): string {
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), bytes)
  }
  return folder
}

/** Every file below a folder, dotted ones too, by path: what a test compares before and after. */
export function readFiles(folder: string): Map<string, string> {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) => {
    const path = join(entry.parentPath, entry.name)
    return entry.isDirectory() ? [] : [[path.slice(folder.length + 1), readFileSync(path).toString("latin1")] as const]
  })
  return new Map(found.sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** An archive of anything, also of what an honest exporter would never pack. */
export function rawArchive(files: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  const parts = files.flatMap(([path, bytes]) => [
    archiveHeader({ path, size: bytes.length, mtimeSec: 0 }),
    bytes,
    archivePadding(bytes.length),
  ])
  return concat(...parts, archiveEnd())
}

/** One part of a bundle of these files, with an index that fits; `change` makes it hostile. */
export function bundleArchive(
  files: Files,
  change: { readonly archived?: readonly (readonly [string, Uint8Array])[]; readonly date?: Date } = {},
): Uint8Array {
  const index = encodeBundleIndex({
    date: change.date ?? new Date(0),
    epoch: 1,
    files: [...files].map(([path, bytes]) => ({ path, size: bytes.length, sha256: sha256Of(bytes) })),
  })
  const part = encodeBundlePart({ part: 1, parts: 1, index: sha256Of(index) })
  return rawArchive([[BUNDLE_PART, part], [BUNDLE_INDEX, index], ...(change.archived ?? files)])
}
