import { lstatSync } from "node:fs"
import { join } from "node:path"
import {
  BUNDLE_INDEX,
  MAX_BUNDLE_FILES,
  MAX_INDEX_BYTES,
  signatureKeyId,
  signatureName,
} from "@sealwright/formats/bundle-index"
import { utf8 } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import {
  type Descriptor,
  MAX_MANIFEST_BYTES,
  MEDIA_TYPE,
  parseDigest,
  parseImageIndex,
  parseImageManifest,
  parseLayoutMarker,
} from "@sealwright/formats/oci"
import { EMPTY_CONFIG } from "@sealwright/formats/oci-notary"
import { formatTime } from "@sealwright/formats/time"
import { folderReader } from "../bundle-folder.ts"
import { writeChunksWhole, writeFileWhole } from "../files.ts"
import { type BundleContent, contentOf, mismatch, type Place, verifiedChunks } from "./content.ts"
import { MAX_SIGNATURE_BYTES, sha256Of } from "./folder.ts"

export const BUNDLE_ARTIFACT_TYPE = "application/vnd.sealwright.bundle.v1"
const FILE_TYPE = "application/vnd.sealwright.bundle.file.v1"
const EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
/** Where ORAS and others look for the path that a layer is written to. */
const TITLE = "org.opencontainers.image.title"
const CREATED = "org.opencontainers.image.created"

/**
 * Writes a bundle as an OCI image layout into an empty folder: one artifact manifest, one blob a file, so that a registry takes and gives what changed
 * alone. Equal bundles give equal bytes.
 * @throws CommandFailure BUNDLE_FILE_MISMATCH when a file changes meanwhile
 * @throws FormatError TOO_LARGE when the manifest is larger than registries take
 */
export function writeLayout(content: BundleContent, folder: string): string {
  const putBytes = (bytes: Uint8Array): { digest: string; size: number } => {
    writeFileWhole(blobPath(folder, sha256Of(bytes)), bytes)
    return { digest: `sha256:${sha256Of(bytes)}`, size: bytes.length }
  }
  const layer = (path: string, place: { digest: string; size: number }) => ({
    mediaType: FILE_TYPE,
    ...place,
    annotations: { [TITLE]: path },
  })
  const own: readonly (readonly [string, Uint8Array])[] = [
    [BUNDLE_INDEX, content.indexBytes],
    ...[...content.signatures]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, bytes]) => [signatureName(id), bytes] as const),
  ]
  const layers = own.map(([path, bytes]) => layer(path, putBytes(bytes)))
  for (const file of content.index.files) {
    writeChunksWhole(blobPath(folder, file.sha256), verifiedChunks(content.places.get(file.path) as Place, file))
    layers.push(layer(file.path, { digest: `sha256:${file.sha256}`, size: file.size }))
  }
  const manifest = utf8(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.imageManifest,
      artifactType: BUNDLE_ARTIFACT_TYPE,
      config: { mediaType: EMPTY_TYPE, ...putBytes(EMPTY_CONFIG) },
      layers,
      annotations: { [CREATED]: formatTime(content.index.date) },
    }),
  )
  parseImageManifest(manifest)
  const descriptor = { mediaType: MEDIA_TYPE.imageManifest, ...putBytes(manifest), artifactType: BUNDLE_ARTIFACT_TYPE }
  writeFileWhole(join(folder, "oci-layout"), utf8('{"imageLayoutVersion":"1.0.0"}'))
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPE.imageIndex, manifests: [descriptor] }
  writeFileWhole(join(folder, "index.json"), utf8(JSON.stringify(index)))
  return descriptor.digest
}

/**
 * Opens the one bundle of an OCI image layout. Nothing is written.
 * @throws CommandFailure BUNDLE_FILE_MISMATCH
 * @throws FormatError of the OCI documents, and as `parseBundleIndex`
 */
export function openLayout(folder: string): BundleContent {
  const read = folderReader(folder)
  const need = (path: string, maxBytes: number): Uint8Array => {
    const bytes = read(path, maxBytes)
    if (bytes === undefined) throw mismatch(path, "is missing")
    if (bytes.length > maxBytes) throw mismatch(path, `is longer than ${maxBytes} bytes`)
    return bytes
  }
  const blob = ({ digest, size }: Descriptor, maxBytes: number): Uint8Array => {
    const bytes = need(`blobs/sha256/${hexOf(digest)}`, maxBytes)
    if (bytes.length !== size || sha256Of(bytes) !== hexOf(digest)) throw mismatch(digest, "has other bytes")
    return bytes
  }
  parseLayoutMarker(need("oci-layout", 4096))
  const bundles = parseImageIndex(need("index.json", MAX_MANIFEST_BYTES)).manifests.filter(
    ({ artifactType }) => artifactType === BUNDLE_ARTIFACT_TYPE,
  )
  const [only] = bundles
  if (only === undefined || bundles.length > 1) throw mismatch("index.json", `names ${bundles.length} bundles, not one`)
  const manifest = parseImageManifest(blob(only, MAX_MANIFEST_BYTES), only.mediaType)
  if (manifest.layers.length > MAX_BUNDLE_FILES) throw new FormatError("TOO_LARGE", "too many layers")
  const layers = new Map<string, Descriptor>()
  for (const layer of manifest.layers) {
    const path = layer.annotations?.[TITLE]
    if (path === undefined || layers.has(path)) throw mismatch(layer.digest, "has no path of its own")
    layers.set(path, layer)
  }
  const indexLayer = layers.get(BUNDLE_INDEX)
  if (indexLayer === undefined) throw mismatch(BUNDLE_INDEX, "is missing")
  const signatures = new Map<string, Uint8Array>()
  for (const [path, layer] of layers) {
    const keyId = signatureKeyId(path)
    if (keyId !== undefined) signatures.set(keyId, blob(layer, MAX_SIGNATURE_BYTES))
  }
  const content = contentOf(blob(indexLayer, MAX_INDEX_BYTES), signatures, (file): Place | undefined => {
    const layer = layers.get(file.path)
    if (layer === undefined || layer.digest !== `sha256:${file.sha256}`) return undefined
    const path = blobPath(folder, file.sha256)
    const stats = lstatSync(path, { throwIfNoEntry: false })
    return stats?.isFile() === true ? { file: path, offset: 0, size: stats.size } : undefined
  })
  const extra = [...layers.keys()].find(
    (path) => path !== BUNDLE_INDEX && signatureKeyId(path) === undefined && !content.places.has(path),
  )
  if (extra !== undefined) throw mismatch(extra, "is not in the index")
  return content
}

function hexOf(digest: string): string {
  const { algorithm } = parseDigest(digest)
  if (algorithm !== "sha256") throw new FormatError("DIGEST_MALFORMED", "blobs of a bundle go by SHA-256")
  return digest.slice("sha256:".length)
}

function blobPath(folder: string, hex: string): string {
  return join(folder, "blobs", "sha256", hex)
}
