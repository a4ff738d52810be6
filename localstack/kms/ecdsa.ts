import { createECDH, type KeyObject } from "node:crypto"
import { concat } from "@sealwright/formats/bytes"

/**
 * ECDSA over a digest that is already computed, which node:crypto does not offer. Point multiplication is OpenSSL's
 * (an ephemeral ECDH key pair is a nonce k with its point kG); the rest is four operations modulo the group order.
 * For this emulator alone: BigInt does not run in constant time.
 */
interface Curve {
  readonly name: string
  readonly order: bigint
  readonly fieldBytes: number
}

const CURVES: Readonly<Record<string, Curve>> = {
  "P-256": {
    name: "prime256v1",
    order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
    fieldBytes: 32,
  },
  "P-384": {
    name: "secp384r1",
    order: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    fieldBytes: 48,
  },
  "P-521": {
    name: "secp521r1",
    order:
      0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
    fieldBytes: 66,
  },
}

export interface EcdsaKey {
  readonly curve: Curve
  readonly secret: bigint
}

/** @throws TypeError when `key` is not a private key on P-256, P-384 or P-521 */
export function ecdsaKey(key: KeyObject): EcdsaKey {
  const jwk = key.export({ format: "jwk" })
  const curve = CURVES[jwk.crv ?? ""]
  if (curve === undefined || jwk.d === undefined) throw new TypeError("not an ECDSA private key")
  return { curve, secret: toInteger(Buffer.from(jwk.d, "base64url")) }
}

/**
 * @param digest as long as the hash that belongs to the curve, so it never has more bits than the order (FIPS 186-5 §6.4.1)
 * @returns DER Ecdsa-Sig-Value (RFC 3279 §2.2.3)
 */
export function signDigest({ curve, secret }: EcdsaKey, digest: Uint8Array): Uint8Array {
  const e = toInteger(digest)
  for (;;) {
    const nonce = createECDH(curve.name)
    const r = modulo(xCoordinate(nonce.generateKeys(), curve), curve.order)
    const k = toInteger(nonce.getPrivateKey())
    const s = modulo(inverse(k, curve.order) * (e + r * secret), curve.order)
    if (r !== 0n && s !== 0n) return encodeSignature(r, s)
  }
}

/**
 * The owner of the key verifies with one multiplication: u1·G + u2·Q = (u1 + u2·d)·G.
 * @param signature strict DER; anything else is false
 */
export function verifyDigest({ curve, secret }: EcdsaKey, digest: Uint8Array, signature: Uint8Array): boolean {
  const decoded = decodeSignature(signature)
  if (decoded === undefined) return false
  const { r, s } = decoded
  if (r <= 0n || s <= 0n || r >= curve.order || s >= curve.order) return false
  const scalar = modulo(inverse(s, curve.order) * (toInteger(digest) + r * secret), curve.order)
  if (scalar === 0n) return false
  const point = createECDH(curve.name)
  point.setPrivateKey(Buffer.from(scalar.toString(16).padStart(2 * curve.fieldBytes, "0"), "hex"))
  return modulo(xCoordinate(point.getPublicKey(), curve), curve.order) === r
}

function xCoordinate(uncompressedPoint: Uint8Array, curve: Curve): bigint {
  return toInteger(uncompressedPoint.subarray(1, 1 + curve.fieldBytes))
}

function toInteger(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${Buffer.from(bytes).toString("hex")}`)
}

function modulo(value: bigint, order: bigint): bigint {
  const rest = value % order
  return rest < 0n ? rest + order : rest
}

/** Extended Euclid; `value` is not a multiple of the prime `order`. */
function inverse(value: bigint, order: bigint): bigint {
  let [a, b] = [modulo(value, order), order]
  let [x, y] = [1n, 0n]
  while (b !== 0n) {
    const quotient = a / b
    ;[a, b] = [b, a - quotient * b]
    ;[x, y] = [y, x - quotient * y]
  }
  return modulo(x, order)
}

function encodeSignature(r: bigint, s: bigint): Uint8Array {
  const body = concat(encodeInteger(r), encodeInteger(s))
  return concat(Uint8Array.from(body.length < 128 ? [0x30, body.length] : [0x30, 0x81, body.length]), body)
}

function encodeInteger(value: bigint): Uint8Array {
  const hex = value.toString(16)
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex")
  const sign = (bytes[0] as number) >= 0x80 ? [0] : []
  return Uint8Array.from([0x02, sign.length + bytes.length, ...sign, ...bytes])
}

function decodeSignature(der: Uint8Array): { readonly r: bigint; readonly s: bigint } | undefined {
  const bodyAt = der[1] === 0x81 ? 3 : 2
  const rLength = der[bodyAt + 1]
  if (rLength === undefined) return undefined
  const sAt = bodyAt + 2 + rLength
  const sLength = der[sAt + 1]
  if (sLength === undefined) return undefined
  const r = toInteger(der.subarray(bodyAt + 2, sAt))
  const s = toInteger(der.subarray(sAt + 2, sAt + 2 + sLength))
  const isStrict = Buffer.compare(encodeSignature(r, s), der) === 0
  return isStrict ? { r, s } : undefined
}
