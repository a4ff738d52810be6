import { createHash } from "node:crypto"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { rootCertificates } from "node:tls"
import { gzipSync } from "node:zlib"

const TAR_BLOCK = 512

/** One file of a layer. */
interface LayerFile {
  readonly name: string
  readonly bytes: Uint8Array
  readonly mode: number
}

/** Writes an OCI image layout of three layers, made of this Node's own files. @returns the manifest's digest */
export function writeNodeImage(folder: string): string {
  const layers = [
    [{ name: `usr/bin/${basename(process.execPath)}`, bytes: readFileSync(process.execPath), mode: 0o755 }],
    [
      {
        name: "etc/ssl/certs/ca-certificates.crt",
        bytes: Buffer.from(`${rootCertificates.join("\n")}\n`),
        mode: 0o644,
      },
    ],
    [{ name: "etc/node/config.json", bytes: Buffer.from(JSON.stringify(process.config)), mode: 0o644 }],
  ] satisfies LayerFile[][]
  mkdirSync(join(folder, "blobs", "sha256"), { recursive: true })
  writeFileSync(join(folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }))
  const tars = layers.map(tar)
  const descriptors = tars.map((bytes) =>
    writeBlob(folder, "application/vnd.oci.image.layer.v1.tar+gzip", gzipSync(bytes, { level: 1 })),
  )
  const config = writeBlob(
    folder,
    "application/vnd.oci.image.config.v1+json",
    Buffer.from(
      JSON.stringify({
        architecture: process.arch === "x64" ? "amd64" : process.arch,
        os: "linux",
        config: { Entrypoint: ["/usr/bin/node"] },
        rootfs: { type: "layers", diff_ids: tars.map(sha256) },
      }),
    ),
  )
  const mediaType = "application/vnd.oci.image.manifest.v1+json"
  const manifest = writeBlob(
    folder,
    mediaType,
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers: descriptors })),
  )
  const index = { schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [manifest] }
  writeFileSync(join(folder, "index.json"), JSON.stringify(index))
  return manifest.digest
}

function writeBlob(folder: string, mediaType: string, bytes: Uint8Array) {
  const digest = sha256(bytes)
  writeFileSync(join(folder, "blobs", "sha256", digest.slice("sha256:".length)), bytes)
  return { mediaType, digest, size: bytes.length }
}

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`
}

/** A tar archive in the ustar format (POSIX.1-1988), with fixed times and owners. */
function tar(files: readonly LayerFile[]): Buffer {
  const parts = files.flatMap(({ name, bytes, mode }) => {
    const header = Buffer.alloc(TAR_BLOCK)
    const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, "0")}\0`
    header.write(name, 0)
    header.write(octal(mode, 8), 100)
    header.write(octal(0, 8), 108)
    header.write(octal(0, 8), 116)
    header.write(octal(bytes.length, 12), 124)
    header.write(octal(0, 12), 136)
    header.write("        ", 148)
    header.write("0", 156)
    header.write("ustar\x0000", 257)
    header.write(
      `${octal(
        header.reduce((sum, byte) => sum + byte, 0),
        7,
      )} `,
      148,
    )
    return [header, bytes, Buffer.alloc((TAR_BLOCK - (bytes.length % TAR_BLOCK)) % TAR_BLOCK)]
  })
  return Buffer.concat([...parts, Buffer.alloc(2 * TAR_BLOCK)])
}
