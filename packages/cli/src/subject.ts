import { createHash } from "node:crypto"
import { closeSync, openSync, readSync, statSync } from "node:fs"
import type { HashName } from "@sealwright/formats/algorithms"
import type { Descriptor } from "@sealwright/formats/oci"
import { LOG_PROOF_SUFFIX, MAX_LOG_PROOF_BYTES } from "@sealwright/formats/tlog-proof"
import { usage } from "./exit.ts"
import { readFileIfThere } from "./files.ts"
import { isLayout, layoutSignatures, layoutSubject } from "./layout.ts"

/** Media type under which plain files are signed. */
export const FILE_MEDIA_TYPE = "application/octet-stream"
const MAX_ENVELOPE_BYTES = 1024 * 1024
const CHUNK_BYTES = 1024 * 1024

/** What a command is about: an image in an OCI layout, or a plain file. */
export interface Subject {
  readonly kind: "image" | "file"
  readonly path: string
  readonly descriptor: Descriptor
}

/** @throws CommandFailure USAGE when the path is neither, SUBJECT_MALFORMED */
export function readSubject(path: string, tag: string | undefined): Subject {
  if (isLayout(path)) return { kind: "image", path, descriptor: layoutSubject(path, tag) }
  const stats = statSync(path, { throwIfNoEntry: false })
  if (stats === undefined) throw usage(`there is no ${path}`)
  if (!stats.isFile()) throw usage(`${path} is neither a file nor an OCI image layout`)
  const { digest, size } = digestFile(path)
  return { kind: "file", path, descriptor: { mediaType: FILE_MEDIA_TYPE, digest, size } }
}

/** Where a file's envelope stands: beside it, as notation names it. */
export function envelopePath(path: string): string {
  return `${path}.jws.sig`
}

/** Where the extra signature's stands. */
export function extraEnvelopePath(path: string): string {
  return `${path}.ml-dsa-65.jws.sig`
}

/** Envelopes found with the subject. */
export function signaturesBeside(subject: Subject): Uint8Array[] {
  if (subject.kind === "image") return layoutSignatures(subject.path, subject.descriptor.digest)
  const { path } = subject
  return [envelopePath(path), extraEnvelopePath(path)].flatMap(
    (file) => readFileIfThere(file, MAX_ENVELOPE_BYTES) ?? [],
  )
}

/** Log proofs beside a file's envelopes; an image layout has none of its own. */
export function proofsBeside({ kind, path }: Subject): Uint8Array[] {
  if (kind === "image") return []
  return [envelopePath(path), extraEnvelopePath(path)].flatMap(
    (file) => readFileIfThere(`${file}${LOG_PROOF_SUFFIX}`, MAX_LOG_PROOF_BYTES) ?? [],
  )
}

/** @throws Error of the file system */
export function digestFile(
  path: string,
  algorithm: HashName = "sha256",
): { readonly digest: string; readonly size: number } {
  const hash = createHash(algorithm)
  const chunk = Buffer.alloc(CHUNK_BYTES)
  const file = openSync(path, "r")
  let size = 0
  try {
    for (;;) {
      const read = readSync(file, chunk)
      if (read === 0) break
      hash.update(chunk.subarray(0, read))
      size += read
    }
  } finally {
    closeSync(file)
  }
  return { digest: `${algorithm}:${hash.digest("hex")}`, size }
}
