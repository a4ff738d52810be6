import { constants, createPublicKey, hash, type KeyObject, verify as verifyWithKey } from "node:crypto"
import { HASH_LENGTH, SCHEMES, type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"
import { type PublicKey, parsePublicKey } from "@sealwright/formats/x509"
import type { CryptoRequest, Step } from "./requests.ts"

/** Keys are imported once: an import costs nearly as much as a P-256 verification. Bounded, oldest out first. */
const KEY_CACHE_ENTRIES = 256
const keys = new Map<string, ImportedKey | undefined>()

interface ImportedKey {
  readonly key: KeyObject
  /** read from the encoding: asking the key object for its curve costs a third of an import */
  readonly kind: PublicKey
}

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
  const imported = importKey(request.spki)
  if (imported === undefined || !fits(imported.kind, request.scheme)) return false
  const { key } = imported
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

function importKey(spki: Uint8Array): ImportedKey | undefined {
  const id = Buffer.from(spki.buffer, spki.byteOffset, spki.length).toString("latin1")
  const known = keys.get(id)
  if (known !== undefined || keys.has(id)) return known
  let imported: ImportedKey | undefined
  try {
    imported = {
      kind: parsePublicKey(spki),
      key: createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" }),
    }
  } catch {
    imported = undefined
  }
  if (keys.size >= KEY_CACHE_ENTRIES) keys.delete(keys.keys().next().value as string)
  keys.set(id, imported)
  return imported
}

const CURVES = {
  "P-256": "ecdsa-p256-sha256",
  "P-384": "ecdsa-p384-sha384",
  "P-521": "ecdsa-p521-sha512",
} as const satisfies Record<string, SignatureScheme>

/** The algorithm belongs to the key: a signature under another scheme than the key's own never verifies. */
function fits(kind: PublicKey, scheme: SignatureScheme): boolean {
  switch (kind.type) {
    case "ec":
      return CURVES[kind.curve] === scheme
    case "rsa":
      return SCHEMES[scheme].keyType === "rsa" && kind.modulusBits >= 2048
    case "ed25519":
      return scheme === "ed25519"
    case "other":
      return false
  }
}
