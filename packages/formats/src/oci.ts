import { HASH_LENGTH, type HashName } from "./algorithms.ts"
import { hexDecode } from "./bytes.ts"
import { FormatError } from "./errors.ts"
import { array, integer, map, mismatch, object, openObject, type Reader, string } from "./shape.ts"
import { type JsonValue, parseJson } from "./strict-json.ts"

export const MEDIA_TYPE = {
  imageManifest: "application/vnd.oci.image.manifest.v1+json",
  imageIndex: "application/vnd.oci.image.index.v1+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerManifestList: "application/vnd.docker.distribution.manifest.list.v2+json",
} as const

/** As registries bound it (distribution-spec, "Pushing Manifests"). */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024
const MAX_LIST = 10_000
const MAX_ANNOTATIONS = 256
const MAX_ANNOTATION_LENGTH = 65_536

export interface Digest {
  readonly algorithm: HashName
  readonly bytes: Uint8Array
}

/**
 * @param text `sha256:` and 64, `sha384:` and 96, or `sha512:` and 128 lower-case hex digits
 * @throws FormatError DIGEST_MALFORMED for anything else, before the text is used as part of a path or URL
 */
export function parseDigest(text: string): Digest {
  const [algorithm, hex] = digestParts(text)
  return { algorithm, bytes: hexDecode(hex) }
}

function digestParts(text: string): readonly [HashName, string] {
  const found = /^(sha256|sha384|sha512):([0-9a-f]{64,128})$/.exec(text)
  const algorithm = found?.[1] as HashName | undefined
  const hex = found?.[2]
  if (algorithm === undefined || hex === undefined || hex.length !== 2 * HASH_LENGTH[algorithm])
    throw new FormatError("DIGEST_MALFORMED", "not an algorithm of the table with lower-case hex of its length")
  return [algorithm, hex]
}

/** The subset of an OCI content descriptor that is signed and stored. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  /** bytes */
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>>
  readonly artifactType?: string
}

const MEDIA_TYPE_PATTERN = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/
const mediaType = string(255, MEDIA_TYPE_PATTERN)
const digest: Reader<string> = (value, at) => {
  if (typeof value !== "string") throw mismatch(at, "is not a digest")
  digestParts(value)
  return value
}
const annotations: Reader<Readonly<Record<string, string>>> = (value, at) =>
  Object.fromEntries(map(string(MAX_ANNOTATION_LENGTH), MAX_ANNOTATIONS, string(1024, /./s))(value, at))

const DESCRIPTOR = { mediaType, digest, size: integer(0) } as const
const DESCRIPTOR_OPTIONAL = { annotations, artifactType: mediaType } as const
const closedDescriptor = object(DESCRIPTOR, DESCRIPTOR_OPTIONAL)
const openDescriptor = openObject(DESCRIPTOR, DESCRIPTOR_OPTIONAL)

/**
 * A descriptor with no other members than `Descriptor` has: what is not understood is not signed.
 * @throws FormatError SHAPE_MISMATCH, DIGEST_MALFORMED, TOO_LARGE
 */
export function readDescriptor(value: JsonValue, at = "descriptor"): Descriptor {
  return closedDescriptor(value, at)
}

/** A descriptor as it stands in an index or manifest, where `platform`, `urls` and `data` may stand beside; they are left out. */
export function readOpenDescriptor(value: JsonValue, at = "descriptor"): Descriptor {
  return openDescriptor(value, at)
}

export interface ImageIndex {
  readonly mediaType: string
  readonly manifests: readonly Descriptor[]
  readonly subject: Descriptor | undefined
  readonly artifactType: string | undefined
  readonly annotations: Readonly<Record<string, string>>
}

export interface ImageManifest {
  readonly mediaType: string
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
  readonly subject: Descriptor | undefined
  readonly artifactType: string | undefined
  readonly annotations: Readonly<Record<string, string>>
}

const schemaVersion = integer(2, 2)
const indexShape = openObject(
  { schemaVersion, manifests: array(readOpenDescriptor, MAX_LIST) },
  { mediaType, subject: readOpenDescriptor, artifactType: mediaType, annotations },
)
const manifestShape = openObject(
  { schemaVersion, config: readOpenDescriptor, layers: array(readOpenDescriptor, MAX_LIST) },
  { mediaType, subject: readOpenDescriptor, artifactType: mediaType, annotations },
)

/**
 * An image index, also the `index.json` of an OCI layout (which may leave its own media type out).
 * @param claimed media type under which the bytes were found; one in the body must equal it
 * @throws FormatError SHAPE_MISMATCH (also for a body with `layers`), JSON_MALFORMED, TEXT_MALFORMED, TOO_LARGE, DIGEST_MALFORMED
 */
export function parseImageIndex(bytes: Uint8Array, claimed: string = MEDIA_TYPE.imageIndex): ImageIndex {
  const value = parseJson(bytes, { maxBytes: MAX_MANIFEST_BYTES })
  refuseMembers(value, ["layers", "config", "fsLayers"])
  const index = indexShape(value, "index")
  if (claimed !== MEDIA_TYPE.imageIndex && claimed !== MEDIA_TYPE.dockerManifestList)
    throw mismatch("index", "is claimed to be of another media type")
  sameMediaType(index.mediaType, claimed, "index")
  return {
    mediaType: claimed,
    manifests: index.manifests,
    subject: index.subject,
    artifactType: index.artifactType,
    annotations: index.annotations ?? {},
  }
}

/**
 * An image manifest.
 * @param claimed media type of the descriptor or response that led to these bytes; one in the body must equal it
 * @throws FormatError as `parseImageIndex`; SHAPE_MISMATCH for a body with `manifests`
 */
export function parseImageManifest(bytes: Uint8Array, claimed: string = MEDIA_TYPE.imageManifest): ImageManifest {
  const value = parseJson(bytes, { maxBytes: MAX_MANIFEST_BYTES })
  refuseMembers(value, ["manifests", "fsLayers"])
  const manifest = manifestShape(value, "manifest")
  if (claimed !== MEDIA_TYPE.imageManifest && claimed !== MEDIA_TYPE.dockerManifest)
    throw mismatch("manifest", "is claimed to be of another media type")
  sameMediaType(manifest.mediaType, claimed, "manifest")
  return {
    mediaType: claimed,
    config: manifest.config,
    layers: manifest.layers,
    subject: manifest.subject,
    artifactType: manifest.artifactType,
    annotations: manifest.annotations ?? {},
  }
}

/**
 * The `oci-layout` file of an OCI image layout.
 * @throws FormatError SHAPE_MISMATCH, JSON_MALFORMED, VERSION_UNKNOWN for a layout that is not 1.x.y
 */
export function parseLayoutMarker(bytes: Uint8Array): void {
  const marker = openObject({ imageLayoutVersion: string(32) })(parseJson(bytes, { maxBytes: 4096 }), "oci-layout")
  if (!/^1\.[0-9]+\.[0-9]+$/.test(marker.imageLayoutVersion))
    throw new FormatError("VERSION_UNKNOWN", "an OCI layout that is not 1.x")
}

/** One digest must not be read as two kinds of document: members of the other kind are refused. */
function refuseMembers(value: JsonValue, names: readonly string[]): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return
  for (const name of names) if (Object.hasOwn(value, name)) throw mismatch(name, "belongs to another kind of document")
}

function sameMediaType(body: string | undefined, claimed: string, at: string): void {
  if (body !== undefined && body !== claimed) throw mismatch(`${at}.mediaType`, "differs from the claimed media type")
}
