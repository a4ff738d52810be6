import { execFileSync } from "node:child_process"
import * as crypto from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, test } from "vitest"
import { ecdsaKey, signDigest, verifyDigest } from "../../localstack/kms/ecdsa.ts"
import { signPkcs1, signPss, verifyPkcs1, verifyPss } from "../../localstack/kms/rsa.ts"

const folder = mkdtempSync(join(tmpdir(), "sealwright-kms-"))
afterAll(() => rmSync(folder, { recursive: true }))

const opensslVersion = (() => {
  try {
    return execFileSync("openssl", ["version"], { encoding: "utf8" }).trim()
  } catch {
    return undefined
  }
})()

const CURVES = [
  ["P-256", "sha256", 32, 400],
  ["P-384", "sha384", 48, 100],
  ["P-521", "sha512", 64, 60],
] as const

describe.each(CURVES)("ECDSA over a digest, %s", (namedCurve, hash, digestBytes, runs) => {
  const { privateKey, publicKey } = crypto.generateKeyPairSync("ec", { namedCurve })
  const key = ecdsaKey(privateKey)

  test("what it signs, node:crypto verifies; what node:crypto signs, it verifies; DER stays minimal at every length", () => {
    const lengths = new Set<number>()
    for (let i = 0; i < runs; i++) {
      const message = Buffer.from(`message ${i}`)
      const digest = crypto.createHash(hash).update(message).digest()
      const signature = signDigest(key, digest)
      lengths.add(signature.length)
      expect(crypto.verify(hash, message, publicKey, signature)).toBe(true)
      expect(verifyDigest(key, digest, signature)).toBe(true)
      expect(verifyDigest(key, digest, crypto.sign(hash, message, privateKey))).toBe(true)
    }
    expect(lengths.size).toBeGreaterThan(1)
  })

  test("a signature for another digest, a changed byte, an appended byte or r or s of zero is refused", () => {
    const digest = crypto.createHash(hash).update("right").digest()
    const signature = signDigest(key, digest)
    expect(verifyDigest(key, crypto.createHash(hash).update("wrong").digest(), signature)).toBe(false)
    for (let i = 0; i < signature.length; i++) {
      const changed = Uint8Array.from(signature)
      changed[i] = (changed[i] as number) ^ 1
      expect(verifyDigest(key, digest, changed), `byte ${i}`).toBe(false)
    }
    expect(verifyDigest(key, digest, Uint8Array.of(...signature, 0))).toBe(false)
    expect(verifyDigest(key, digest, Uint8Array.of(0x30, 6, 2, 1, 0, 2, 1, 0))).toBe(false)
    expect(verifyDigest(key, digest, new Uint8Array(0))).toBe(false)
  })

  test.skipIf(opensslVersion === undefined)(
    "openssl verifies digests of zeros, of ones above the order and with leading zeros",
    () => {
      const leadingZeros = new Uint8Array(digestBytes)
      leadingZeros[digestBytes - 1] = 1
      const publicFile = join(folder, `${namedCurve}.pem`)
      writeFileSync(publicFile, publicKey.export({ format: "pem", type: "spki" }))
      for (const digest of [new Uint8Array(digestBytes), new Uint8Array(digestBytes).fill(0xff), leadingZeros]) {
        const signature = signDigest(key, digest)
        expect(verifyDigest(key, digest, signature)).toBe(true)
        writeFileSync(join(folder, "digest"), digest)
        writeFileSync(join(folder, "signature"), signature)
        const options = ["-verify", "-pubin", "-inkey", publicFile, "-in", "digest", "-sigfile", "signature"]
        const output = execFileSync("openssl", ["pkeyutl", ...options], { cwd: folder, encoding: "utf8" })
        expect(output).toContain("Verified Successfully")
      }
    },
  )
})

test("a private key with leading zeros signs", () => {
  const secret = Buffer.from("03".padStart(64, "0"), "hex")
  const ecdh = crypto.createECDH("prime256v1")
  ecdh.setPrivateKey(secret)
  const point = ecdh.getPublicKey()
  const jwk = {
    kty: "EC",
    crv: "P-256",
    d: secret.toString("base64url"),
    x: point.subarray(1, 33).toString("base64url"),
    y: point.subarray(33).toString("base64url"),
  }
  const privateKey = crypto.createPrivateKey({ key: jwk, format: "jwk" })
  const digest = crypto.createHash("sha256").update("m").digest()
  const signature = signDigest(ecdsaKey(privateKey), digest)
  expect(crypto.verify("sha256", Buffer.from("m"), crypto.createPublicKey(privateKey), signature)).toBe(true)
})

test("s plus the group order, the same number to a careless verifier, is refused", () => {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const { privateKey } = crypto.generateKeyPairSync("ec", { namedCurve: "P-256" })
  const key = ecdsaKey(privateKey)
  const digest = crypto.createHash("sha256").update("m").digest()
  const plain = crypto.sign("sha256", Buffer.from("m"), { key: privateKey, dsaEncoding: "ieee-p1363" })
  const der = (...numbers: bigint[]) => {
    const integers = numbers.map((number) => {
      const bytes = Buffer.from(`00${number.toString(16).padStart(66, "0")}`, "hex")
      const from = bytes.findIndex((byte, i) => byte !== 0 || (bytes[i + 1] as number) >= 0x80)
      return Buffer.from([2, bytes.length - from, ...bytes.subarray(from)])
    })
    const body = Buffer.concat(integers)
    return Uint8Array.of(0x30, body.length, ...body)
  }
  const [r, s] = [plain.subarray(0, 32), plain.subarray(32)].map((part) => BigInt(`0x${part.toString("hex")}`)) as [
    bigint,
    bigint,
  ]
  expect(verifyDigest(key, digest, der(r, s))).toBe(true)
  expect(verifyDigest(key, digest, der(r, s + order))).toBe(false)
  expect(verifyDigest(key, digest, der(r + order, s))).toBe(false)
})

test("an Ed25519 key is no ECDSA key", () => {
  expect(() => ecdsaKey(crypto.generateKeyPairSync("ed25519").privateKey)).toThrow(TypeError)
})

describe.each(["sha256", "sha384", "sha512"] as const)("RSA over a digest, %s", (hash) => {
  const { privateKey, publicKey } = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 })
  const message = Buffer.from("message")
  const digest = crypto.createHash(hash).update(message).digest()
  const other = crypto.createHash(hash).update("other").digest()
  const pss = { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: digest.length }

  test("PSS: node:crypto verifies with a salt as long as the hash, and no other salt passes here", () => {
    const signature = signPss(privateKey, hash, digest)
    expect(crypto.verify(hash, message, { key: publicKey, ...pss }, signature)).toBe(true)
    expect(verifyPss(publicKey, hash, digest, signature)).toBe(true)
    expect(verifyPss(publicKey, hash, other, signature)).toBe(false)
    expect(verifyPss(publicKey, hash, digest, crypto.sign(hash, message, { key: privateKey, ...pss }))).toBe(true)
    const shortSalt = crypto.sign(hash, message, { key: privateKey, ...pss, saltLength: 20 })
    expect(verifyPss(publicKey, hash, digest, shortSalt)).toBe(false)
    expect(verifyPss(publicKey, hash, digest, signature.subarray(1))).toBe(false)
    expect(verifyPss(publicKey, hash, digest, new Uint8Array(256).fill(0xff))).toBe(false)
  })

  test("PKCS #1 v1.5: byte for byte what node:crypto signs", () => {
    const signature = signPkcs1(privateKey, hash, digest)
    expect(signature).toEqual(crypto.sign(hash, message, privateKey))
    expect(verifyPkcs1(publicKey, hash, digest, signature)).toBe(true)
    expect(verifyPkcs1(publicKey, hash, other, signature)).toBe(false)
    expect(verifyPkcs1(publicKey, hash, digest, signature.subarray(1))).toBe(false)
  })
})

if (opensslVersion === undefined) process.stdout.write("openssl is not on this machine: digest edge cases not run\n")
