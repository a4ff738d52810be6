import { generateKeyPairSync } from "node:crypto"
import { readPrivateKeyPem } from "@sealwright/adapters/import-key"
import { spkiOf } from "@sealwright/adapters/key-pair"
import { pemEncode } from "@sealwright/formats/pem"
import { describe, expect, test } from "vitest"

const ec = generateKeyPairSync("ec", { namedCurve: "P-256" })
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 })
const PASSWORD = "correct horse battery"
const code = (name: string) => expect.objectContaining({ code: name })
const never = async () => {
  throw new Error("asked for a password")
}
const pkcs8 = { type: "pkcs8", format: "pem" } as const
const encrypted = ec.privateKey.export({ ...pkcs8, cipher: "aes-128-cbc", passphrase: PASSWORD }).toString()

describe("a private key is read", () => {
  test.each([
    ["PKCS #8", ec, ec.privateKey.export(pkcs8).toString()],
    ["SEC 1", ec, ec.privateKey.export({ type: "sec1", format: "pem" }).toString()],
    [
      "SEC 1 after its parameters",
      ec,
      `${pemEncode("EC PARAMETERS", Uint8Array.of(6, 1, 1))}${ec.privateKey.export({ type: "sec1", format: "pem" })}`,
    ],
    ["PKCS #1", rsa, rsa.privateKey.export({ type: "pkcs1", format: "pem" }).toString()],
  ])("from %s", async (_, pair, text) => {
    expect(spkiOf((await readPrivateKeyPem(text, never)).publicKey)).toEqual(spkiOf(pair.publicKey))
  })

  test("from encrypted PKCS #8, with its password", async () => {
    const read = await readPrivateKeyPem(encrypted, async () => PASSWORD)
    expect(spkiOf(read.publicKey)).toEqual(spkiOf(ec.publicKey))
    await expect(readPrivateKeyPem(encrypted, async () => "another")).rejects.toThrow(code("KEY_PASSWORD_WRONG"))
  })
})

test.each([
  ["a public key", ec.publicKey.export({ type: "spki", format: "pem" }).toString()],
  ["two keys", `${ec.privateKey.export(pkcs8)}${rsa.privateKey.export(pkcs8)}`],
  ["parameters alone", pemEncode("EC PARAMETERS", Uint8Array.of(6, 1, 1))],
  [
    "the encryption of RFC 1421",
    ec.privateKey.export({ type: "sec1", format: "pem", cipher: "aes-256-cbc", passphrase: PASSWORD }).toString(),
  ],
  ["DER that is no key", pemEncode("EC PRIVATE KEY", Uint8Array.of(0x30, 0))],
  ["a key above 16 KiB", pemEncode("RSA PRIVATE KEY", new Uint8Array(16_385))],
  ["text", "secret"],
])("%s is refused", async (_, text) => {
  await expect(readPrivateKeyPem(text, never)).rejects.toThrow(code("KEY_FILE_MALFORMED"))
})
