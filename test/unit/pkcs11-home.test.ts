import { CKA, CKO } from "@sealwright/adapters/pkcs11/cryptoki"
import { findTokenKey } from "@sealwright/adapters/pkcs11/find-key"
import { createPkcs11Home, type Pkcs11Settings } from "@sealwright/adapters/pkcs11/home"
import { unwrapPoint } from "@sealwright/adapters/pkcs11/objects"
import type { KeyReference } from "@sealwright/core/ports"
import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { utf8 } from "@sealwright/formats/bytes"
import { parsePkcs11Uri } from "@sealwright/formats/pkcs11-uri"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { describe, expect, test } from "vitest"
import { keysContract } from "../contracts/keys-contract.ts"
import { createFakeTokenStore, FakeCryptoki, FakeError, objectsOf, PIN } from "../support/fakes-cryptoki.ts"

const P256 = "ecdsa-p256-sha256"
const MESSAGE = utf8("message")
const withCode = (code: string) => expect.objectContaining({ code })

async function open(settings: Partial<Pkcs11Settings> = {}, store = createFakeTokenStore()) {
  const cryptoki = new FakeCryptoki(store)
  const home = await createPkcs11Home(cryptoki, { tokenLabel: "fake", pin: async () => PIN, ...settings })
  return { store, cryptoki, home }
}

const verifies = ({ scheme, spki }: Pick<KeyReference, "scheme" | "spki">, signature: Uint8Array) =>
  runSync(verifySignature(scheme, spki, MESSAGE, signature))

describe("the contract of key homes, over a token in memory", async () => {
  const { home, store } = await open()
  keysContract(() => ({
    keys: home,
    maker: home,
    lacks: ["ml-dsa-44", "ml-dsa-65"],
    async disable({ keyId }) {
      const { id } = parsePkcs11Uri(keyId)
      for (const attributes of objectsOf(store, CKO.PRIVATE_KEY))
        if (attributes.get(CKA.ID)?.equals(id ?? new Uint8Array())) attributes.set(CKA.SIGN, Buffer.of(0))
    },
  }))
})

describe("a key by its URI", () => {
  test("is the one that has the label and the id, as far as they are named", async () => {
    const { home } = await open()
    const key = await home.create("release", "held", P256)
    const other = await home.create("other", "held", P256)
    const { id } = parsePkcs11Uri(key.keyId)
    for (const wanted of [
      { object: "release", id: undefined },
      { object: undefined, id },
      { object: "release", id },
    ])
      expect(await findTokenKey(home, { token: "fake", ...wanted })).toEqual(key)
    const { id: otherId } = parsePkcs11Uri(other.keyId)
    for (const wanted of [
      { object: "none", id: undefined },
      { object: "release", id: otherId },
      { object: undefined, id: undefined },
    ])
      await expect(findTokenKey(home, { token: "fake", ...wanted })).rejects.toThrow(withCode("KEY_UNKNOWN"))
  })
})

describe("keys on a token (R1)", () => {
  test("are sensitive, not extractable and sign alone; the id is a URI without PIN or module", async () => {
    const { home, store } = await open()
    const key = await home.create("issuer/ci", "issuer", "rsa-pss-sha256")
    expect(key.keyId).toMatch(/^pkcs11:token=fake;object=issuer%2Fci;id=(%[0-9A-F]{2}){16}$/)
    const template = new Map(store.templates[0]?.map(({ type, value }) => [type, value]))
    for (const [type, value] of [
      [CKA.TOKEN, true],
      [CKA.PRIVATE, true],
      [CKA.SENSITIVE, true],
      [CKA.EXTRACTABLE, false],
      [CKA.SIGN, true],
      [CKA.DECRYPT, false],
      [CKA.UNWRAP, false],
    ] as const)
      expect([type, template.get(type)]).toEqual([type, value])
  })

  test("are listed with what is public of them; those for one act are not", async () => {
    const { home } = await open()
    const keys = [await home.create("a", "issuer", P256), await home.create("b", "root", "ed25519")]
    await home.makeEphemeralKey(P256)
    expect(await home.list()).toEqual(keys.map((key, i) => ({ name: ["a", "b"][i], key })))
  })

  test("foreign keys that lack attributes, a public half or the right to sign are passed over, and do not sign", async () => {
    const { home, store } = await open()
    const keys = []
    for (const name of ["a", "b", "c", "d"]) keys.push(await home.create(name, "issuer", P256))
    objectsOf(store, CKO.PUBLIC_KEY)[0]?.delete(CKA.EC_POINT)
    objectsOf(store, CKO.PUBLIC_KEY)[1]?.set(CKA.ID, Buffer.from("another"))
    objectsOf(store, CKO.PRIVATE_KEY)[2]?.set(CKA.SIGN, Buffer.of(0))
    expect((await home.list()).map(({ name }) => name)).toEqual(["d"])
    for (const key of keys.slice(0, 3))
      await expect(home.sign(key, MESSAGE)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
  })

  test("an RSA key signs under both paddings", async () => {
    const { home } = await open()
    const pss = await home.create("a", "issuer", "rsa-pss-sha256")
    const pkcs1 = await home.create("a", "issuer", "rsa-pkcs1-sha256")
    expect(pkcs1).toEqual({ ...pss, scheme: "rsa-pkcs1-sha256" })
    for (const key of [pss, pkcs1]) expect(verifies(key, await home.sign(key, MESSAGE))).toBe(true)
  })

  test("a key that took another's place under its id does not sign for it", async () => {
    const { home, store, cryptoki } = await open()
    const key = await home.create("a", "issuer", P256)
    const [publicKey] = objectsOf(store, CKO.PUBLIC_KEY)
    const other = await home.makeEphemeralKey(P256)
    publicKey?.set(CKA.EC_POINT, Buffer.from(other.spki.subarray(26)))
    expect(cryptoki.count("C_SignAsync")).toBe(0)
    await expect(home.sign(key, MESSAGE)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    expect(cryptoki.count("C_SignAsync")).toBe(0)
  })

  test.each([
    ["another token's key", "pkcs11:token=other;object=a"],
    ["a key of another home", "arn:aws:kms:us-east-1:111122223333:key/1"],
    ["a URI with a PIN", "pkcs11:token=fake;object=a?pin-value=1234"],
    ["a key that is not there", "pkcs11:token=fake;object=b"],
  ])("%s is KEY_NOT_USABLE", async (_, keyId) => {
    const { home } = await open()
    const key = await home.create("a", "issuer", P256)
    await expect(home.sign({ ...key, keyId }, MESSAGE)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
  })

  test("a key whose object was replaced by a restored backup is found again", async () => {
    const { home, store } = await open()
    const key = await home.create("a", "issuer", P256)
    await home.sign(key, MESSAGE)
    const objects = [...store.objects]
    store.objects.clear()
    for (const [handle, object] of objects) store.objects.set(handle + 1_000_000, object)
    expect(verifies(key, await home.sign(key, MESSAGE))).toBe(true)
  })

  test("processes that create at once get one key", async () => {
    const store = createFakeTokenStore()
    const homes = await Promise.all([1, 2, 3].map(async () => (await open({}, store)).home))
    for (const name of ["a", "b", "c"]) {
      const keys = await Promise.all(homes.map((home) => home.create(name, "issuer", P256)))
      expect(new Set(keys.map(({ keyId }) => keyId)).size).toBe(1)
      expect(objectsOf(store, CKO.PRIVATE_KEY).filter((one) => one.get(CKA.LABEL)?.equals(utf8(name)))).toHaveLength(1)
    }
  })

  test.each(["ecdsa-p256-sha256", "ecdsa-p521-sha512", "ed25519"] as const)(
    "%s: a point is read with and without its OCTET STRING",
    async (scheme) => {
      const { home, store } = await open()
      const key = await home.create("a", "issuer", scheme)
      const [publicKey] = objectsOf(store, CKO.PUBLIC_KEY)
      const length = { "ecdsa-p256-sha256": 65, "ecdsa-p521-sha512": 133, ed25519: 32 }[scheme]
      publicKey?.set(CKA.EC_POINT, publicKey.get(CKA.EC_POINT)?.subarray(-length) as Buffer)
      expect(await home.create("a", "issuer", scheme)).toEqual(key)
    },
  )

  test("a point of another length or encoding is no key", () => {
    const point = new Uint8Array(32).fill(7)
    expect(unwrapPoint(Uint8Array.of(3, 33, 0, ...point), 32)).toEqual(point)
    for (const bad of [
      [4, 31, ...point],
      [5, 32, ...point],
      [4, 32, ...point, 0],
      [...point, 0],
      [3, 33, 1, ...point],
    ])
      expect(() => unwrapPoint(Uint8Array.from(bad), 32)).toThrow(withCode("ALGORITHM_UNSUPPORTED"))
  })

  test("two tokens of one label, or none, are refused", async () => {
    const pin = async () => PIN
    for (const stores of [[], [createFakeTokenStore("other")], [createFakeTokenStore(), createFakeTokenStore()]])
      await expect(createPkcs11Home(new FakeCryptoki(...stores), { tokenLabel: "fake", pin })).rejects.toThrow(
        withCode("PKCS11_TOKEN_UNKNOWN"),
      )
  })
})

describe("a key for one act (R14)", () => {
  test.each(["ecdsa-p256-sha256", "rsa-pss-sha256", "ed25519"] as const)(
    "%s: signs, and is destroyed",
    async (scheme) => {
      const { home, cryptoki, store } = await open()
      const key = await home.makeEphemeralKey(scheme)
      expect(verifies(key, await key.sign(MESSAGE))).toBe(true)
      expect(cryptoki.sessionObjects).toBe(1)
      await key.drop()
      expect([cryptoki.sessionObjects, store.objects.size]).toEqual([0, 0])
      await expect(key.sign(MESSAGE)).rejects.toThrow(withCode("SIGNER_UNAVAILABLE"))
    },
  )

  test("ends with its session when it can't be destroyed", async () => {
    const { home, cryptoki } = await open()
    const key = await home.makeEphemeralKey(P256)
    cryptoki.before = (call) => {
      if (call === "C_DestroyObject") throw new TypeError("the module is broken")
    }
    await key.drop()
    expect(cryptoki.sessionObjects).toBe(0)
  })

  test("is gone after a cut, and no other key signs in its place", async () => {
    const { home, cryptoki } = await open()
    const key = await home.makeEphemeralKey(P256)
    cryptoki.dropSessions()
    await expect(key.sign(MESSAGE)).rejects.toThrow(withCode("SIGNER_UNAVAILABLE"))
    await key.drop()
    const next = await home.makeEphemeralKey(P256)
    expect(verifies(next, await next.sign(MESSAGE))).toBe(true)
  })

  test("more acts at once than sessions all end", async () => {
    const { home, cryptoki } = await open({ sessions: 2 })
    const issuer = await home.create("a", "issuer", P256)
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const key = await home.makeEphemeralKey(P256)
        expect(verifies(issuer, await home.sign(issuer, MESSAGE))).toBe(true)
        expect(verifies(key, await key.sign(MESSAGE))).toBe(true)
        await key.drop()
      }),
    )
    expect(cryptoki.sessionObjects).toBe(0)
    expect(cryptoki.openSessions).toBeLessThanOrEqual(2)
  })
})

describe("algorithms that a token lacks", () => {
  test.each(["rsa-pss-sha256", "ed25519", "ml-dsa-65"] as readonly SignatureScheme[])("%s", async (scheme) => {
    const { home, cryptoki } = await open()
    cryptoki.C_GetMechanismList = () => [0x1040, 0x1041]
    await expect(home.create("a", "issuer", scheme)).rejects.toThrow(withCode("ALGORITHM_UNSUPPORTED"))
    await expect(home.makeEphemeralKey(scheme)).rejects.toThrow(withCode("ALGORITHM_UNSUPPORTED"))
    const key = await home.create("b", "issuer", P256)
    expect(verifies(key, await home.sign(key, MESSAGE))).toBe(true)
  })
})

test("a token without session objects has no keys for one act, and its other keys sign", async () => {
  const { home, cryptoki } = await open()
  cryptoki.before = (call) => {
    if (call === "C_GenerateKeyPair") throw new FakeError("ATTRIBUTE_VALUE_INVALID")
  }
  await expect(home.makeEphemeralKey(P256)).rejects.toThrow(withCode("ALGORITHM_UNSUPPORTED"))
  const key = await home.create("a", "issuer", P256)
  expect(verifies(key, await home.sign(key, MESSAGE))).toBe(true)
})

test("closing ends sessions and the module; the last of two homes over one module does", async () => {
  const { home, cryptoki } = await open()
  const other = await createPkcs11Home(cryptoki, { tokenLabel: "fake", pin: async () => PIN })
  await home.close()
  await other.create("a", "issuer", P256)
  expect(cryptoki.count("C_Finalize")).toBe(0)
  await other.close()
  expect([cryptoki.count("C_Initialize"), cryptoki.count("C_Finalize"), cryptoki.openSessions]).toEqual([1, 1, 0])
  await expect(other.list()).rejects.toThrow("closed")
})
