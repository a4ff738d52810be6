import { base64Decode, base64Encode, utf8 } from "./bytes.ts"
import { array, map, object, oneOf, type Reader, string } from "./shape.ts"
import { parseJson } from "./strict-json.ts"
import { formatTime, parseTime } from "./time.ts"

export const TUF_SIGNING_TYPE = "application/vnd.sealwright.tuf-signing.v1+json"
export const MAX_TUF_SIGNING_BYTES = 16 * 1024 * 1024

/** One document that waits for signatures, with what it is to replace. All bytes are metadata files as TUF clients read them. */
export interface TufSigningDocument {
  readonly role: "root" | "targets"
  /** the version in force */
  readonly previous: Uint8Array
  /** the next version, with the signatures so far */
  readonly metadata: Uint8Array
  /** of targets: trust-bundle.json that `previous` lists, and the one that `metadata` lists */
  readonly bundles?: { readonly previous: Uint8Array; readonly next: Uint8Array }
}

/** The file of a signing ceremony: it goes from person to person, and each adds a signature. */
export interface TufSigningRequest {
  /** lower-case hex SHA-256 that names what is proposed */
  readonly proposal: string
  readonly createdAt: Date
  /** what the documents change, in words; whoever signs compares it with what the documents say */
  readonly changes: readonly string[]
  /** keyid to what people call the key */
  readonly names: ReadonlyMap<string, string>
  /** the TUF root in force */
  readonly root: Uint8Array
  readonly documents: readonly TufSigningDocument[]
}

export function encodeTufSigning(request: TufSigningRequest): Uint8Array {
  const documents = request.documents.map(({ role, previous, metadata, bundles }) => ({
    role,
    previous: base64Encode(previous),
    metadata: base64Encode(metadata),
    ...(bundles && { bundles: { previous: base64Encode(bundles.previous), next: base64Encode(bundles.next) } }),
  }))
  const { proposal, createdAt, changes, names, root } = request
  const file = {
    mediaType: TUF_SIGNING_TYPE,
    proposal,
    createdAt: formatTime(createdAt),
    changes,
    names: Object.fromEntries(names),
    root: base64Encode(root),
    documents,
  }
  return utf8(`${JSON.stringify(file, undefined, 2)}\n`)
}

const bytes: Reader<Uint8Array> = (value, at) => base64Decode(string(7_000_000)(value, at))
const hex64 = string(64, /^[0-9a-f]{64}$/)
// biome-ignore lint/suspicious/noControlCharactersInRegex: a terminal obeys control characters, so they are what it refuses
const line = string(1_000, /^[^\u0000-\u001f\u007f-\u009f]+$/)

const signingShape = object({
  mediaType: oneOf(TUF_SIGNING_TYPE),
  proposal: hex64,
  createdAt: (value, at) => parseTime(string(20)(value, at)),
  changes: array(line, 1_000, 1),
  names: map(line, 256, hex64),
  root: bytes,
  documents: array(
    object(
      { role: oneOf("root", "targets"), previous: bytes, metadata: bytes },
      { bundles: object({ previous: bytes, next: bytes }) },
    ),
    2,
    1,
  ),
})

/** Reads form alone: what the documents say and who signed them is checked by who reads them. @throws FormatError TOO_LARGE, JSON_MALFORMED, SHAPE_MISMATCH, TEXT_MALFORMED */
export function parseTufSigning(file: Uint8Array): TufSigningRequest {
  const { mediaType: _, ...request } = signingShape(
    parseJson(file, { maxBytes: MAX_TUF_SIGNING_BYTES }),
    "signing request",
  )
  return request
}
