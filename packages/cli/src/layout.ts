import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { base64Decode, utf8 } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { parseNotaryJws } from "@sealwright/formats/notary-jws"
import {
  type Descriptor,
  MAX_MANIFEST_BYTES,
  MEDIA_TYPE,
  parseDigest,
  parseImageIndex,
  parseLayoutMarker,
} from "@sealwright/formats/oci"
import {
  EMPTY_CONFIG,
  EXTRA_ARTIFACT_TYPE,
  encodeSignatureManifest,
  NOTARY_ARTIFACT_TYPE,
  parseSignatureManifest,
} from "@sealwright/formats/oci-notary"
import type { JsonObject } from "@sealwright/formats/strict-json"
import { parseJson } from "@sealwright/formats/strict-json"
import { formatTime } from "@sealwright/formats/time"
import { CommandFailure, EXIT, usage } from "./exit.ts"
import { readFileIfThere, readFileLimited, writeFileWhole } from "./files.ts"

const MAX_ENVELOPE_BYTES = 1024 * 1024
const TAG_ANNOTATION = "org.opencontainers.image.ref.name"

/** Whether a path is an OCI image layout. */
export function isLayout(path: string): boolean {
  return existsSync(join(path, "oci-layout"))
}

/**
 * The image of a layout: the one that the tag names, or the only one. Signatures that stand beside it don't count.
 * @throws CommandFailure USAGE, SUBJECT_MALFORMED
 */
export function layoutSubject(path: string, tag: string | undefined): Descriptor {
  const images = readIndex(path).filter((entry) => signatureOf(path, entry.descriptor) === undefined)
  const named =
    tag === undefined ? images : images.filter((entry) => entry.tag === tag || entry.descriptor.digest === tag)
  const [only] = named
  if (only === undefined) throw usage(tag === undefined ? `${path} holds no image` : `${path} holds no image ${tag}`)
  if (named.length > 1) throw usage(`${path} holds ${named.length} images`, "Name one with --tag, by tag or digest.")
  const { mediaType, digest, size } = only.descriptor
  const bytes = readBlob(path, only.descriptor.digest, MAX_MANIFEST_BYTES)
  if (bytes.length !== size) throw malformed(`${digest} has ${bytes.length} bytes, not ${size}`)
  return { mediaType, digest, size }
}

/** Envelopes that stand beside an image in its layout. */
export function layoutSignatures(path: string, digest: string): Uint8Array[] {
  return readIndex(path).flatMap(({ descriptor }) => {
    const signature = signatureOf(path, descriptor)
    return signature?.subject.digest === digest ? [readBlob(path, signature.envelope.digest, MAX_ENVELOPE_BYTES)] : []
  })
}

/**
 * Puts an envelope beside its image, as a manifest that refers to it: a Notary signature, or of a type that Notary clients don't look at. Blobs first, the index last and whole; doing it
 * again changes nothing.
 */
export function attachSignature(path: string, subject: Descriptor, envelope: Uint8Array): string {
  const { protected: header, x5c } = parseNotaryJws(envelope)
  const manifest = encodeSignatureManifest({
    subject,
    artifactType: header.alg === "ml-dsa-65" ? EXTRA_ARTIFACT_TYPE : NOTARY_ARTIFACT_TYPE,
    envelope: { digest: sha256(envelope), size: envelope.length },
    thumbprints: x5c
      .map(base64Decode)
      .map((certificate) => new Uint8Array(createHash("sha256").update(certificate).digest())),
    created: formatTime(header.signingTime),
  })
  const descriptor = { mediaType: MEDIA_TYPE.imageManifest, digest: sha256(manifest), size: manifest.length }
  for (const blob of [EMPTY_CONFIG, envelope, manifest]) writeBlob(path, blob)
  const index = parseJson(readFileLimited(join(path, "index.json"), MAX_MANIFEST_BYTES), {
    maxBytes: MAX_MANIFEST_BYTES,
  }) as JsonObject
  const manifests = (index.manifests ?? []) as readonly JsonObject[]
  if (!manifests.some((entry) => entry.digest === descriptor.digest))
    writeFileWhole(join(path, "index.json"), utf8(JSON.stringify({ ...index, manifests: [...manifests, descriptor] })))
  return descriptor.digest
}

function readIndex(path: string): { readonly descriptor: Descriptor; readonly tag: string | undefined }[] {
  try {
    parseLayoutMarker(readFileLimited(join(path, "oci-layout"), 4096))
    const index = parseImageIndex(readFileLimited(join(path, "index.json"), MAX_MANIFEST_BYTES))
    return index.manifests.map((descriptor) => ({ descriptor, tag: descriptor.annotations?.[TAG_ANNOTATION] }))
  } catch (error) {
    if (error instanceof FormatError) throw malformed(error.message)
    throw error
  }
}

function signatureOf(path: string, descriptor: Descriptor): ReturnType<typeof parseSignatureManifest> | undefined {
  if (descriptor.mediaType !== MEDIA_TYPE.imageManifest) return undefined
  try {
    return parseSignatureManifest(readBlob(path, descriptor.digest, MAX_MANIFEST_BYTES))
  } catch (error) {
    if (error instanceof FormatError) return undefined
    throw error
  }
}

function readBlob(path: string, digest: string, maxBytes: number): Uint8Array {
  const bytes = readFileIfThere(blobPath(path, digest), maxBytes)
  if (bytes === undefined) throw malformed(`${path} lacks the blob ${digest}`)
  const { algorithm } = parseDigest(digest)
  if (`${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}` !== digest)
    throw malformed(`the blob ${digest} holds other bytes`)
  return bytes
}

function writeBlob(path: string, bytes: Uint8Array): void {
  const target = blobPath(path, sha256(bytes))
  if (!existsSync(target)) writeFileWhole(target, bytes)
}

function blobPath(path: string, digest: string): string {
  const { algorithm } = parseDigest(digest)
  return join(path, "blobs", algorithm, digest.slice(algorithm.length + 1))
}

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`
}

function malformed(message: string): CommandFailure {
  return new CommandFailure(EXIT.rejected, "SUBJECT_MALFORMED", message)
}
