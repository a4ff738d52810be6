import { hexEncode, utf8 } from "./bytes.ts"
import { FormatError } from "./errors.ts"
import { type Descriptor, MEDIA_TYPE, parseDigest, parseImageManifest } from "./oci.ts"

export const NOTARY_ARTIFACT_TYPE = "application/vnd.cncf.notary.signature"
/** Of envelopes under an algorithm that released Notary clients don't have: they look for their own type, so they never meet one. */
export const EXTRA_ARTIFACT_TYPE = "application/vnd.sealwright.signature.v1"
export const JWS_MEDIA_TYPE = "application/jose+json"
export const THUMBPRINTS_ANNOTATION = "io.cncf.notary.x509chain.thumbprint#S256"
const CREATED_ANNOTATION = "org.opencontainers.image.created"

/** Config blob of every signature manifest. */
export const EMPTY_CONFIG = utf8("{}")
const EMPTY_CONFIG_DIGEST = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

export interface SignatureManifestFields {
  /** the signed image's descriptor; its annotations and artifact type are left out */
  readonly subject: Descriptor
  /** `sha256:` digest of the envelope and its length in bytes */
  readonly envelope: { readonly digest: string; readonly size: number }
  /** SHA-256 of each certificate, leaf first */
  readonly thumbprints: readonly Uint8Array[]
  /** RFC 3339 text, such as `formatTime` writes */
  readonly created: string
  /** default: the one of Notary */
  readonly artifactType?: typeof NOTARY_ARTIFACT_TYPE | typeof EXTRA_ARTIFACT_TYPE
}

/**
 * The manifest under which a registry or OCI layout keeps a JWS envelope, in the form that all released Notary clients find: the
 * signature type is the config's media type and there is no `artifactType`.
 */
export function encodeSignatureManifest(fields: SignatureManifestFields): Uint8Array {
  const { mediaType, digest, size } = fields.subject
  return utf8(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.imageManifest,
      config: {
        mediaType: fields.artifactType ?? NOTARY_ARTIFACT_TYPE,
        digest: EMPTY_CONFIG_DIGEST,
        size: EMPTY_CONFIG.length,
      },
      layers: [{ mediaType: JWS_MEDIA_TYPE, digest: fields.envelope.digest, size: fields.envelope.size }],
      subject: { mediaType, digest, size },
      annotations: {
        [CREATED_ANNOTATION]: fields.created,
        [THUMBPRINTS_ANNOTATION]: JSON.stringify(fields.thumbprints.map(hexEncode)),
      },
    }),
  )
}

export interface SignatureManifest {
  readonly subject: Descriptor
  readonly envelope: Descriptor
}

/**
 * Reads a Notary signature manifest, or one of an extra signature, in the older form (type in the config) or the newer one (`artifactType`).
 * @throws FormatError ENVELOPE_MALFORMED when the manifest is of another artifact or has not exactly one layer and a subject; and as `parseImageManifest`
 */
export function parseSignatureManifest(bytes: Uint8Array): SignatureManifest {
  const manifest = parseImageManifest(bytes)
  const type = manifest.artifactType ?? manifest.config.mediaType
  if (type !== NOTARY_ARTIFACT_TYPE && type !== EXTRA_ARTIFACT_TYPE) throw malformed("a manifest of another artifact")
  const [envelope, ...others] = manifest.layers
  if (envelope === undefined || others.length > 0) throw malformed("a signature manifest without exactly one layer")
  if (manifest.subject === undefined) throw malformed("a signature manifest without a subject")
  parseDigest(envelope.digest)
  return { subject: manifest.subject, envelope }
}

function malformed(detail: string): FormatError {
  return new FormatError("ENVELOPE_MALFORMED", detail)
}
