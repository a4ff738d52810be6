import { hash, randomBytes as strongBytes } from "node:crypto"
import type { CertIdDigest } from "@sealwright/core/ocsp/rules"
import type { Clock, Digest, RandomBytes } from "@sealwright/core/ports"

export const clock: Clock = () => new Date()

export const randomBytes: RandomBytes = (length) => new Uint8Array(strongBytes(length))

export const certIdDigest: CertIdDigest = (name, bytes) => new Uint8Array(hash(name, bytes, "buffer"))

export const digest: Digest = (name, bytes) => new Uint8Array(hash(name, bytes, "buffer"))
