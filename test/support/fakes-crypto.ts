import { createHash, hash } from "node:crypto"
import { makeEphemeralKey } from "@sealwright/adapters/ephemeral-key"
import { createMemoryKeys } from "@sealwright/adapters/memory-keys"
import type {
  EphemeralKey,
  KeyMaker,
  KeyReference,
  KeyWrapper,
  RandomBytes,
  RunStep,
  SigningKeys,
} from "@sealwright/core/ports"
import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { bytesEqual, concat, hexDecode } from "@sealwright/formats/bytes"
import { runSync } from "@sealwright/verifier/node-crypto"

const SPKI_START = hexDecode("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
const SCHEME: SignatureScheme = "ecdsa-p256-sha256"

/** Kinds whose keys are any bytes of the right number, in form: what begins their SubjectPublicKeyInfo, and how long the key is. */
const OTHER_KINDS: Partial<Record<SignatureScheme, { readonly start: Uint8Array; readonly bytes: number }>> = {
  "ml-dsa-65": { start: hexDecode("308207b2300b0609608648016503040312038207a100"), bytes: 1952 },
  "ml-dsa-44": { start: hexDecode("30820532300b06096086480165030403110382052100"), bytes: 1312 },
  ed25519: { start: hexDecode("302a300506032b6570032100"), bytes: 32 },
}

/** A SubjectPublicKeyInfo of P-256 in form, whose point is on no curve; or of another kind, where any bytes are a key. */
function spkiOf(seed: Uint8Array, scheme: SignatureScheme = SCHEME): Uint8Array {
  const other = OTHER_KINDS[scheme]
  if (other !== undefined)
    return concat(other.start, createHash("shake256", { outputLength: other.bytes }).update(seed).digest())
  return concat(SPKI_START, hash("sha256", seed, "buffer"), hash("sha256", concat(seed, seed), "buffer"))
}

/** Anyone can compute it: a form of signature for schedules, where cost counts and forgery does not. Randomised, as ECDSA is. */
function cheapSignature(spki: Uint8Array, message: Uint8Array, nonce: Uint8Array): Uint8Array {
  const r = new Uint8Array(nonce.subarray(0, 32))
  r[0] = 1
  const s = new Uint8Array(createHash("sha256").update(spki).update(r).update(message).digest())
  s[0] = 1
  return concat(hexDecode("30440220"), r, hexDecode("0220"), s)
}

/** Drives the verifier's steps, with `cheapSignature` in the place of ECDSA. */
const runCheap: RunStep = (step) => {
  let state = step.next()
  while (!state.done) {
    const request = state.value
    if (request.kind === "digest") state = step.next(new Uint8Array(hash(request.hash, request.bytes, "buffer")))
    else {
      const { spki, message, signature } = request
      state = step.next(bytesEqual(signature, cheapSignature(spki, message, signature.subarray(4, 36))))
    }
  }
  return state.value
}

type CheapKeys = SigningKeys & KeyMaker & KeyWrapper

/** Keys that any number of makers and signers share without state: a key is its name. */
function createCheapKeys(random: RandomBytes): CheapKeys {
  const spkis = new Map<string, Uint8Array>()
  const reference = (keyId: string, scheme: SignatureScheme): KeyReference => {
    const spki = spkis.get(keyId) ?? spkiOf(new TextEncoder().encode(keyId), scheme)
    spkis.set(keyId, spki)
    return { keyId, scheme, spki }
  }
  const kindOf = (scheme: SignatureScheme) => (scheme in OTHER_KINDS ? scheme : SCHEME)
  return {
    create: async (name, _purpose, scheme) => reference(`cheap:${name}`, kindOf(scheme)),
    wrap: async (name) => reference(`wrapped:cheap:${name}#${Buffer.from(random(8)).toString("hex")}`, SCHEME),
    sign: async ({ keyId, scheme }, message) => cheapSignature(reference(keyId, scheme).spki, message, random(32)),
  }
}

function cheapEphemeralKey(random: RandomBytes, wanted: SignatureScheme): EphemeralKey {
  const scheme = wanted === "ml-dsa-65" ? wanted : SCHEME
  const spki = spkiOf(random(32), scheme)
  return { scheme, spki, sign: (message) => cheapSignature(spki, message, random(32)), drop: () => undefined }
}

/** An outside authority's key in a world of cheap keys; what it signs twice is the same. */
export function cheapSigner(name: string) {
  const spki = spkiOf(new TextEncoder().encode(name))
  const keyId = new Uint8Array(hash("sha256", spki, "buffer"))
  const nonce = (message: Uint8Array) => hash("sha256", message, "buffer")
  return { scheme: SCHEME, spki, keyId, sign: (message: Uint8Array) => cheapSignature(spki, message, nonce(message)) }
}

/** How a world signs and verifies. */
export interface CryptoScheme {
  keys(random: RandomBytes): CheapKeys
  ephemeralKey(random: RandomBytes, scheme: SignatureScheme): EphemeralKey
  readonly run: RunStep
}

export const CHEAP_CRYPTO: CryptoScheme = { keys: createCheapKeys, ephemeralKey: cheapEphemeralKey, run: runCheap }

/** Real keys and signatures; its keys serve every world that it is given to. */
export function realCrypto(): CryptoScheme {
  const keys = createMemoryKeys()
  return { keys: () => keys, ephemeralKey: (_random, scheme) => makeEphemeralKey(scheme), run: runSync }
}
