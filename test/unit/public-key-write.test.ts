import { constants, createHash, type createPublicKey, generateKeyPairSync, publicDecrypt, sign } from "node:crypto"
import { digestInfo, ecSpki, ed25519Spki, rsaSpki } from "@sealwright/formats/public-key-write"
import { expect, test } from "vitest"

const unsupported = expect.objectContaining({ code: "ALGORITHM_UNSUPPORTED" })
const base64url = (text: string | undefined) => new Uint8Array(Buffer.from(text ?? "", "base64url"))
const spkiOf = (key: ReturnType<typeof createPublicKey>) => new Uint8Array(key.export({ type: "spki", format: "der" }))

test.each(["P-256", "P-384", "P-521"] as const)("%s as Node writes it", (namedCurve) => {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve })
  const { x, y } = publicKey.export({ format: "jwk" })
  const point = new Uint8Array([4, ...base64url(x), ...base64url(y)])
  expect(ecSpki(namedCurve, point)).toEqual(spkiOf(publicKey))
  expect(() => ecSpki(namedCurve, point.subarray(1))).toThrow(unsupported)
  expect(() => ecSpki(namedCurve, point.subarray(0, -1))).toThrow(unsupported)
  expect(() => ecSpki(namedCurve, new Uint8Array([2, ...base64url(x)]))).toThrow(unsupported)
})

test("RSA as Node writes it, with or without leading zeros", () => {
  const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
  const { n, e } = publicKey.export({ format: "jwk" })
  expect(rsaSpki(base64url(n), base64url(e))).toEqual(spkiOf(publicKey))
  expect(rsaSpki(new Uint8Array([0, ...base64url(n)]), new Uint8Array([0, ...base64url(e)]))).toEqual(spkiOf(publicKey))
  expect(() => rsaSpki(new Uint8Array(0), base64url(e))).toThrow(unsupported)
  expect(() => rsaSpki(base64url(n), Uint8Array.of(2))).toThrow(unsupported)
})

test("Ed25519 as Node writes it", () => {
  const { publicKey } = generateKeyPairSync("ed25519")
  const raw = base64url(publicKey.export({ format: "jwk" }).x)
  expect(ed25519Spki(raw)).toEqual(spkiOf(publicKey))
  expect(() => ed25519Spki(raw.subarray(1))).toThrow(unsupported)
})

test.each(["sha256", "sha384", "sha512"] as const)("%s: the DigestInfo that Node's signature holds", (hash) => {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
  const message = Buffer.from("message")
  const padded = publicDecrypt(
    { key: publicKey, padding: constants.RSA_PKCS1_PADDING },
    sign(hash, message, privateKey),
  )
  const digest = createHash(hash).update(message).digest()
  expect(digestInfo(hash, digest)).toEqual(new Uint8Array(padded))
})
