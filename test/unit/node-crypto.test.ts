import { generateKeyPairSync, sign } from "node:crypto"
import { utf8 } from "@sealwright/formats/bytes"
import { importEcKey, runSync } from "@sealwright/verifier/node-crypto"
import { Recent } from "@sealwright/verifier/recent"
import { verifySignature } from "@sealwright/verifier/requests"
import { describe, expect, test } from "vitest"

const CURVES = [
  ["P-256", "ecdsa-p256-sha256", "sha256"],
  ["P-384", "ecdsa-p384-sha384", "sha384"],
  ["P-521", "ecdsa-p521-sha512", "sha512"],
] as const

describe("importing EC keys", () => {
  test.each(CURVES)("%s is the same key as its SubjectPublicKeyInfo says", (namedCurve) => {
    const { publicKey } = generateKeyPairSync("ec", { namedCurve })
    const imported = importEcKey(publicKey.export({ format: "der", type: "spki" }))
    expect(imported.equals(publicKey)).toBe(true)
  })

  test.each(CURVES)("%s: a point off the curve or at infinity verifies nothing", (namedCurve, scheme, hash) => {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve })
    const message = utf8("release")
    const signature = sign(hash, message, privateKey)
    const spki = publicKey.export({ format: "der", type: "spki" })
    const verified = (key: Uint8Array) => runSync(verifySignature(scheme, key, message, signature))
    expect(verified(spki)).toBe(true)
    const off = Uint8Array.from(spki)
    off[off.length - 1] = (off[off.length - 1] as number) ^ 1
    const zero = Uint8Array.from(spki)
    zero.fill(0, spki.indexOf(4, spki.length - 2 * Math.ceil(Number(namedCurve.slice(2)) / 8) - 1) + 1)
    expect([off, zero, spki.subarray(0, -1), new Uint8Array(0)].map(verified)).toEqual([false, false, false, false])
  })
})

test("what is used again and again is never pushed out by what comes once", () => {
  const recent = new Recent<number>(8)
  recent.set("issuer", 1)
  for (let i = 0; i < 100; i++) {
    expect(recent.get("issuer")).toBe(1)
    recent.set(`leaf ${i}`, i)
  }
  expect(recent.get("leaf 99")).toBe(99)
  expect(recent.get("leaf 80")).toBeUndefined()
})
