import { constants, createPublicKey, hash, type KeyObject, verify as verifyWithKey } from "node:crypto"
import { HASH_LENGTH, SCHEMES, schemeRow } from "@sealwright/formats/algorithms"
import type { CryptoRequest, Step } from "./requests.ts"

/** Keys are imported once: an import costs half a P-256 verification. Bounded, oldest out first. */
const KEY_CACHE_ENTRIES = 256
const keys = new Map<string, KeyObject | undefined>()

/**
 * Drives a step to its end with node:crypto, synchronously.
 * @throws whatever the step throws; a bad key or signature is the answer "no", never an exception
 */
export function runSync<T>(step: Step<T>): T {
  let state = step.next()
  while (!state.done) state = step.next(answer(state.value))
  return state.value
}

function answer(request: CryptoRequest): Uint8Array | boolean {
  if (request.kind === "digest") return hash(request.hash, request.bytes, "buffer")
  const key = importKey(request.spki)
  if (key === undefined || !fits(key, request)) return false
  const row = schemeRow(request.scheme)
  try {
    if (row.keyType === "rsa" && row.hash !== undefined)
      return verifyWithKey(
        row.hash,
        request.message,
        { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: HASH_LENGTH[row.hash] },
        request.signature,
      )
    return verifyWithKey(row.hash ?? null, request.message, key, request.signature)
  } catch {
    return false
  }
}

function importKey(spki: Uint8Array): KeyObject | undefined {
  const id = Buffer.from(spki.buffer, spki.byteOffset, spki.length).toString("latin1")
  if (keys.has(id)) return keys.get(id)
  let key: KeyObject | undefined
  try {
    key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" })
  } catch {
    key = undefined
  }
  if (keys.size >= KEY_CACHE_ENTRIES) keys.delete(keys.keys().next().value as string)
  keys.set(id, key)
  return key
}

const CURVES: Record<string, string> = {
  prime256v1: "ecdsa-p256-sha256",
  secp384r1: "ecdsa-p384-sha384",
  secp521r1: "ecdsa-p521-sha512",
}

/** The algorithm belongs to the key: a signature under another scheme than the key's own never verifies. */
function fits(key: KeyObject, request: Extract<CryptoRequest, { kind: "verify" }>): boolean {
  switch (SCHEMES[request.scheme].keyType) {
    case "ec":
      return key.asymmetricKeyType === "ec" && CURVES[key.asymmetricKeyDetails?.namedCurve ?? ""] === request.scheme
    case "rsa":
      return key.asymmetricKeyType === "rsa" && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= 2048
    case "ed25519":
      return key.asymmetricKeyType === "ed25519"
  }
}
