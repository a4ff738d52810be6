import { hash, randomBytes as strongBytes } from "node:crypto"
import type { Clock, Digest, RandomBytes } from "@sealwright/core/ports"

export const clock: Clock = () => new Date()

export const randomBytes: RandomBytes = (length) => new Uint8Array(strongBytes(length))

export const digest: Digest = (name, bytes) => new Uint8Array(hash(name, bytes, "buffer"))
