import { constants, createPublicKey, hash, type KeyObject, verify as verifyWithKey, X509Certificate } from "node:crypto"
import { HASH_LENGTH, SCHEMES, type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"
import { hexDecode } from "@sealwright/formats/bytes"
import { sequence } from "@sealwright/formats/der-write"
import { type PublicKey, parsePublicKey } from "@sealwright/formats/x509"
import { Recent } from "./recent.ts"
import { AlgorithmUnavailable, type CryptoRequest, type Step } from "./requests.ts"

/** Keys are imported once: an import costs half of a P-256 verification. `null` stands for a key that cannot be imported. */
const keys = new Recent<ImportedKey | null>(256)

interface ImportedKey {
  /** undefined: of a kind that this Node lacks */
  readonly key: KeyObject | undefined
  /** read from the encoding: asking the key object for its curve costs a third of an import */
  readonly kind: PublicKey
}

/**
 * Drives a step to its end with node:crypto, synchronously.
 * @throws whatever the step throws; a bad key or signature is the answer "no", never an exception; ML-DSA under a Node that has none is
 * `AlgorithmUnavailable`, thrown into the step
 */
export function runSync<T>(step: Step<T>): T {
  let state = step.next()
  while (!state.done) {
    const answered = answer(state.value)
    state = answered instanceof AlgorithmUnavailable ? step.throw(answered) : step.next(answered)
  }
  return state.value
}

function answer(request: CryptoRequest): Uint8Array | boolean | AlgorithmUnavailable {
  if (request.kind === "digest") return hash(request.hash, request.bytes, "buffer")
  const imported = importKey(request.spki)
  if (imported === null || !fits(imported.kind, request.scheme)) return false
  const { key } = imported
  if (key === undefined) return new AlgorithmUnavailable(request.scheme)
  const row = schemeRow(request.scheme)
  try {
    if (row.padding === "pss" && row.hash !== undefined)
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

function importKey(spki: Uint8Array): ImportedKey | null {
  const id = Buffer.from(spki.buffer, spki.byteOffset, spki.length).toString("latin1")
  const known = keys.get(id)
  if (known !== undefined) return known
  let imported: ImportedKey | null
  try {
    const kind = parsePublicKey(spki)
    imported = {
      kind,
      key: kind.type === "ml-dsa-44" || kind.type === "ml-dsa-65" ? importMlDsa(spki) : importOther(kind, spki),
    }
  } catch {
    imported = null
  }
  keys.set(id, imported)
  return imported
}

function importOther(kind: PublicKey, spki: Uint8Array): KeyObject {
  return kind.type === "ec" ? importEcKey(spki) : importSpki(spki)
}

/** Any bytes of the right number are a key of ML-DSA (FIPS 204, algorithm 23), so what can't be imported is unknown to this Node. */
function importMlDsa(spki: Uint8Array): KeyObject | undefined {
  try {
    return importSpki(spki)
  } catch {
    return undefined
  }
}

function importSpki(spki: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" })
}

/** version 3, serial 1, ecdsa-with-SHA256, no issuer, 2020-01-01 to 2020-01-01, no subject */
const SHELL_HEAD = hexDecode(
  "a003020102020101300a06082a8648ce3d0403023000301e170d3230303130313030303030305a170d3230303130313030303030305a3000",
)
/** ecdsa-with-SHA256 and an empty signature */
const SHELL_TAIL = hexDecode("300a06082a8648ce3d040302030100")

/**
 * Imports an EC key as the subject key of an empty certificate: OpenSSL reads a key there in two thirds of the time that its decoder of
 * SubjectPublicKeyInfo takes, with the same checks of the point. A point is too short to hold a certificate in PEM, which `X509Certificate` also takes.
 */
export function importEcKey(spki: Uint8Array): KeyObject {
  return new X509Certificate(sequence(sequence(SHELL_HEAD, spki), SHELL_TAIL)).publicKey
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
    case "ml-dsa-44":
    case "ml-dsa-65":
      return scheme === kind.type
    case "other":
      return false
  }
}
