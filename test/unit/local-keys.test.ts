import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto"
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type LocalHome, openLocalHome } from "@sealwright/adapters/local-keys"
import { utf8 } from "@sealwright/formats/bytes"
import { pemBlocks, pemEncode } from "@sealwright/formats/pem"
import { KEY_LABEL, parseEncryptedPrivateKey } from "@sealwright/formats/pkcs8"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"

const PASSWORD = "correct horse battery"
const code = (name: string) => expect.objectContaining({ code: name })

let made: string
let folder: string
/** How often a password was asked for. */
let asked: number
const P256 = "ecdsa-p256-sha256"

function open(password: string | (() => Promise<string>) = PASSWORD): LocalHome {
  return openLocalHome({
    folder,
    password: async () => {
      asked++
      return typeof password === "string" ? password : await password()
    },
  })
}

/** One key, made once, since each derivation takes its time; every test gets a copy of the folder. */
beforeAll(async () => {
  made = mkdtempSync(join(tmpdir(), "sealwright-local-"))
  folder = join(made, "first")
  await open().create("issuer/ci", "issuer", P256)
})
afterAll(() => rmSync(made, { recursive: true }))

let copies = 0
let file: string
beforeEach(() => {
  folder = join(made, `copy-${copies++}`)
  mkdirSync(join(folder, "issuer"), { recursive: true, mode: 0o700 })
  file = join(folder, "issuer/ci.key.pem")
  writeFileSync(file, readFileSync(join(made, "first/issuer/ci.key.pem")), { mode: 0o600 })
  asked = 0
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe("R1: a folder of encrypted keys", () => {
  test("holds each key in a file for its owner alone: AES-256-CBC under scrypt, and the public key", () => {
    expect(statSync(join(made, "first")).mode & 0o777).toBe(0o700)
    expect(statSync(join(made, "first/issuer/ci.key.pem")).mode & 0o777).toBe(0o600)
    expect(readdirSync(join(made, "first/issuer"))).toEqual(["ci.key.pem"])
    const [encrypted, open] = pemBlocks(readFileSync(file, "utf8"))
    expect([encrypted?.label, open?.label]).toEqual(["ENCRYPTED PRIVATE KEY", "PUBLIC KEY"])
    expect(parseEncryptedPrivateKey(encrypted?.der as Uint8Array)).toMatchObject({
      cipher: "aes-256-cbc",
      derivation: { name: "scrypt", cost: 2 ** 14, blockSize: 8, parallelization: 5 },
    })
  })

  test("lists and finds without a password, and signs after asking once", async () => {
    const home = open()
    const [named] = await home.list()
    expect(named).toEqual({ name: "issuer/ci", key: await home.find("issuer/ci") })
    expect([named?.key.keyId, named?.key.scheme, asked]).toEqual(["local:issuer/ci", P256, 0])
    const key = await home.create("issuer/ci", "issuer", P256)
    for (const message of [utf8("one"), utf8("two")])
      expect(runSync(verifySignature(P256, key.spki, message, await home.sign(key, message)))).toBe(true)
    expect(asked).toBe(1)
    await home.close()
    await home.sign(key, utf8("three"))
    expect(asked).toBe(2)
  })

  test("is empty where there is no folder", async () => {
    rmSync(folder, { recursive: true })
    expect(await open().list()).toEqual([])
    await expect(open().find("issuer/ci")).rejects.toThrow(code("KEY_UNKNOWN"))
  })

  test("a wrong password has its own code, and the next one is asked for", async () => {
    const answers = ["wrong horse battery", PASSWORD]
    const home = open(async () => answers.shift() ?? "")
    const key = await home.find("issuer/ci")
    await expect(home.sign(key, utf8("m"))).rejects.toThrow(code("KEY_PASSWORD_WRONG"))
    await home.sign(key, utf8("m"))
    expect(asked).toBe(2)
  })

  test("a new key's password has 12 characters at least", async () => {
    await expect(open("elevenchars").create("new", "held", P256)).rejects.toThrow(code("KEY_PASSWORD_SHORT"))
    expect(readdirSync(folder)).toEqual(["issuer"])
  })

  test("a name that stands is never written over, and its key never replaced by another one's reference", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
    const before = readFileSync(file)
    await expect(open().add("issuer/ci", privateKey, publicKey)).rejects.toThrow(code("ALREADY_EXISTS"))
    expect(readFileSync(file)).toEqual(before)
    expect(readdirSync(join(folder, "issuer"))).toEqual(["ci.key.pem"])
    const other = {
      ...(await open().find("issuer/ci")),
      spki: new Uint8Array(publicKey.export({ type: "spki", format: "der" })),
    }
    await expect(open().sign(other, utf8("m"))).rejects.toThrow(code("KEY_NOT_USABLE"))
  })

  test("takes in keys from elsewhere, of the table of algorithms alone", async () => {
    const home = open()
    const pair = generateKeyPairSync("ed25519")
    const key = await home.add("held/tool", pair.privateKey, pair.publicKey)
    expect(key).toMatchObject({ keyId: "local:held/tool", scheme: "ed25519" })
    expect(runSync(verifySignature("ed25519", key.spki, utf8("m"), await home.sign(key, utf8("m"))))).toBe(true)
    const secp256k1 = generateKeyPairSync("ec", { namedCurve: "secp256k1" })
    const short = generateKeyPairSync("rsa", { modulusLength: 1024 })
    for (const { privateKey, publicKey } of [secp256k1, short])
      await expect(home.add("x", privateKey, publicKey)).rejects.toThrow(code("KEY_ALGORITHM_UNSUPPORTED"))
  })

  test("an RSA key signs under both paddings of its size, and nothing else", async () => {
    const home = open()
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
    const key = await home.add("rsa", privateKey, publicKey)
    expect(key.scheme).toBe("rsa-pss-sha256")
    for (const scheme of ["rsa-pss-sha256", "rsa-pkcs1-sha256"] as const) {
      const signature = await home.sign({ ...key, scheme }, utf8("m"))
      expect(runSync(verifySignature(scheme, key.spki, utf8("m"), signature))).toBe(true)
    }
    await expect(home.sign({ ...key, scheme: "rsa-pss-sha384" }, utf8("m"))).rejects.toThrow(code("KEY_NOT_USABLE"))
    await expect(home.create("rsa", "held", "rsa-pss-sha384")).rejects.toThrow(code("ALREADY_EXISTS"))
  })

  test.each(["", "../ci", "/ci", "a//b", ".hidden", "a/../b", "a b", "a\0b", "a".repeat(65), "a/b/c/d/e"])(
    "%j is no name",
    async (name) => {
      await expect(open().find(name)).rejects.toThrow(code("KEY_UNKNOWN"))
      await expect(open().create(name, "held", P256)).rejects.toThrow(code("KEY_UNKNOWN"))
    },
  )
})

describe("refuses a file or folder that others could have touched", () => {
  const cases: readonly (readonly [string, () => void])[] = [
    ["a key that its group may read", () => chmodSync(file, 0o640)],
    ["a key that anyone may write", () => chmodSync(file, 0o602)],
    ["a folder that others may list", () => chmodSync(folder, 0o755)],
    ["a folder below it that others may enter", () => chmodSync(join(folder, "issuer"), 0o701)],
    [
      "a symbolic link to a key",
      () => {
        renameSync(file, join(folder, "elsewhere.pem"))
        symlinkSync(join(folder, "elsewhere.pem"), file)
      },
    ],
    [
      "a symbolic link to a folder",
      () => {
        renameSync(join(folder, "issuer"), join(folder, "elsewhere"))
        symlinkSync(join(folder, "elsewhere"), join(folder, "issuer"))
      },
    ],
    [
      "a folder in a key's place",
      () => {
        rmSync(file)
        mkdirSync(file, { mode: 0o700 })
      },
    ],
    ["a long file", () => writeFileSync(file, readFileSync(file, "utf8") + "\n".repeat(65_536))],
  ]
  test.each(cases)("%s", async (_, spoil) => {
    const key = await open().find("issuer/ci")
    spoil()
    await expect(open().find("issuer/ci")).rejects.toThrow(code("KEY_FILE_UNSAFE"))
    await expect(open().sign(key, utf8("m"))).rejects.toThrow(code("KEY_FILE_UNSAFE"))
  })
})

describe("refuses a file that is not one encrypted key", () => {
  const foreign = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const blocks = () => pemBlocks(readFileSync(file, "utf8")).map(({ label, der }) => pemEncode(label, der))
  const spki = pemEncode(KEY_LABEL.public, foreign.publicKey.export({ type: "spki", format: "der" }))
  const cases: readonly (readonly [string, () => string])[] = [
    ["text", () => "secret"],
    ["a key in the clear", () => foreign.privateKey.export({ type: "pkcs8", format: "pem" }).toString()],
    ["three blocks", () => `${blocks().join("")}${spki}`],
    ["the public key first", () => blocks().reverse().join("")],
    ["a public key that is none", () => `${blocks()[0]}${pemEncode(KEY_LABEL.public, Uint8Array.of(0x30, 0))}`],
  ]
  test.each(cases)("%s", async (_, content) => {
    writeFileSync(file, content())
    await expect(open().find("issuer/ci")).rejects.toThrow(code("KEY_FILE_MALFORMED"))
  })

  test("another public key than the private one's", async () => {
    writeFileSync(file, `${blocks()[0]}${spki}`)
    await expect(open().sign(await open().find("issuer/ci"), utf8("m"))).rejects.toThrow(code("KEY_FILE_MALFORMED"))
  })
})

test("a file of another tool, without the public key, is found with the password", async () => {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-384" })
  const cipher = { type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: PASSWORD } as const
  // Node writes PBKDF2 over SHA-256, 2,048 times: too few for us to write, and read all the same.
  writeFileSync(join(folder, "tool.key.pem"), pair.privateKey.export(cipher), { mode: 0o600 })
  const home = open()
  expect(await home.find("tool")).toMatchObject({ scheme: "ecdsa-p384-sha384" })
  expect(asked).toBe(1)
})

test("the file that was written is one that Node reads", () => {
  const [pem = ""] = readFileSync(file, "utf8").split("-----BEGIN PUBLIC KEY-----")
  const key = createPrivateKey({ key: pem, passphrase: PASSWORD })
  expect(createPublicKey(key).asymmetricKeyDetails?.namedCurve).toBe("prime256v1")
})
