import { createHash } from "node:crypto"
import { crc32 } from "node:zlib"
import { s3Error } from "./errors.ts"

const CRC32C_POLYNOMIAL = 0x82f63b78

const crc32cTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ CRC32C_POLYNOMIAL : value >>> 1
  return value >>> 0
})

function crc32c(bytes: Uint8Array): number {
  let value = 0xffffffff
  for (const byte of bytes) value = (value >>> 8) ^ (crc32cTable[(value ^ byte) & 0xff] as number)
  return (value ^ 0xffffffff) >>> 0
}

function bigEndian(value: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes.toString("base64")
}

/** Checksum header suffix -> base64 of the checksum. */
const ALGORITHMS: Readonly<Record<string, (bytes: Uint8Array) => string>> = {
  crc32: (bytes) => bigEndian(crc32(bytes)),
  crc32c: (bytes) => bigEndian(crc32c(bytes)),
  sha1: (bytes) => createHash("sha1").update(bytes).digest("base64"),
  sha256: (bytes) => createHash("sha256").update(bytes).digest("base64"),
}

const PREFIX = "x-amz-checksum-"
const NO_CHECKSUM = ["mode", "algorithm", "type"]

/** Checksums of an object by header name, such as `x-amz-checksum-crc32`. */
export type Checksums = Readonly<Record<string, string>>

/**
 * Picks the checksums out of headers or trailers and compares them with the bytes.
 * @throws BadDigest, NotImplemented for an algorithm that this subset lacks (crc64nvme)
 */
export function verifyChecksums(headers: Readonly<Record<string, unknown>>, bytes: Uint8Array): Checksums {
  const checksums: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith(PREFIX) || NO_CHECKSUM.includes(name.slice(PREFIX.length))) continue
    const compute = ALGORITHMS[name.slice(PREFIX.length)]
    if (!compute) throw s3Error("NotImplemented", { Header: name })
    if (compute(bytes) !== value) throw s3Error("BadDigest", { Header: name })
    checksums[name] = value as string
  }
  return checksums
}

export function md5(bytes: Uint8Array): Buffer {
  return createHash("md5").update(bytes).digest()
}

export function sha256Hex(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex")
}
