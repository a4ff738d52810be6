import { HASH_LENGTH, type HashName, schemeRow } from "@sealwright/formats/algorithms"
import { ecdsaDerToRaw } from "@sealwright/formats/ecdsa"
import { parsePublicKey } from "@sealwright/formats/x509"
import { AlgorithmUnavailable, type CryptoRequest, type Step } from "./requests.ts"

const HASH_NAMES: Record<HashName, string> = { sha256: "SHA-256", sha384: "SHA-384", sha512: "SHA-512" }
const CURVES: Record<number, "P-256" | "P-384" | "P-521"> = { 32: "P-256", 48: "P-384", 66: "P-521" }

/**
 * Drives a step to its end with the platform's WebCrypto, as browsers, Deno and Node have it.
 * @returns rejects only with what the step throws; a bad key or signature is the answer "no", and ML-DSA where the platform has none
 * `AlgorithmUnavailable`, thrown into the step
 */
export async function runAsync<T>(step: Step<T>): Promise<T> {
  let state = step.next()
  while (!state.done) {
    const answered = await answer(state.value)
    state = answered instanceof AlgorithmUnavailable ? step.throw(answered) : step.next(answered)
  }
  return state.value
}

async function answer(request: CryptoRequest): Promise<Uint8Array | boolean | AlgorithmUnavailable> {
  const { subtle } = globalThis.crypto
  if (request.kind === "digest")
    return new Uint8Array(await subtle.digest(HASH_NAMES[request.hash], owned(request.bytes)))
  try {
    const { format, algorithm, signature } = parameters(request)
    const key = await subtle.importKey("spki", owned(request.spki), format, false, ["verify"])
    return await subtle.verify(algorithm, key, owned(signature), owned(request.message))
  } catch (error) {
    const lacking = request.scheme.startsWith("ml-dsa") && (error as Error).name === "NotSupportedError"
    return lacking && new AlgorithmUnavailable(request.scheme)
  }
}

/** @throws when key, scheme and signature do not belong together, so that the answer is "no" */
function parameters(request: Extract<CryptoRequest, { kind: "verify" }>) {
  const { keyType, padding, hash, fieldBytes } = schemeRow(request.scheme)
  const key = parsePublicKey(request.spki)
  const { signature } = request
  if (keyType === "ec" && fieldBytes !== undefined && hash !== undefined) {
    const namedCurve = CURVES[fieldBytes]
    if (key.type !== "ec" || namedCurve !== key.curve) throw new TypeError("another curve than the scheme's")
    return {
      format: { name: "ECDSA", namedCurve },
      algorithm: { name: "ECDSA", hash: HASH_NAMES[hash] },
      signature: ecdsaDerToRaw(signature, fieldBytes),
    }
  }
  if (keyType === "rsa" && hash !== undefined) {
    if (key.type !== "rsa" || key.modulusBits < 2048) throw new TypeError("not an RSA key of 2048 bits or more")
    const name = padding === "pss" ? "RSA-PSS" : "RSASSA-PKCS1-v1_5"
    return {
      format: { name, hash: HASH_NAMES[hash] },
      algorithm: padding === "pss" ? { name, saltLength: HASH_LENGTH[hash] } : { name },
      signature,
    }
  }
  if (key.type !== keyType) throw new TypeError("another key than the scheme's")
  const name = keyType === "ed25519" ? "Ed25519" : schemeRow(request.scheme).jose
  return { format: { name }, algorithm: { name }, signature }
}

/** WebCrypto takes no views of shared memory; a view of an ordinary buffer passes as it is. */
function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : new Uint8Array(bytes)
}
