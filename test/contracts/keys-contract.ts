import type { KeyMaker, KeyReference, SigningKeys } from "@sealwright/core/ports"
import { SCHEMES, type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"
import { utf8 } from "@sealwright/formats/bytes"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { expect, test } from "vitest"

export interface KeyHome {
  readonly keys: SigningKeys
  readonly maker: KeyMaker
  disable(key: KeyReference): Promise<void>
  /** schemes that this home says it has no keys of */
  readonly lacks?: readonly SignatureScheme[]
}

/** What every adapter of `SigningKeys` and `KeyMaker` must do. */
export function keysContract(open: () => KeyHome): void {
  let cases = 0
  const newName = () => `issuer/case-${cases++}-${Math.random().toString(36).slice(2)}`

  test.each(Object.keys(SCHEMES) as SignatureScheme[])(
    "%s: what a new key signs verifies under its public key",
    async (scheme) => {
      const { keys, maker, lacks = [] } = open()
      if (lacks.includes(scheme)) {
        await expect(maker.create(newName(), "issuer", scheme)).rejects.toMatchObject({ code: "ALGORITHM_UNSUPPORTED" })
        return
      }
      const key = await maker.create(newName(), "issuer", scheme)
      expect(key.scheme).toBe(scheme)
      for (const message of [utf8(""), utf8("message"), new Uint8Array(4096)]) {
        if (message.length === 0 && schemeRow(scheme).hash === undefined) continue
        const signature = await keys.sign(key, message)
        expect(runSync(verifySignature(scheme, key.spki, message, signature))).toBe(true)
        expect(runSync(verifySignature(scheme, key.spki, utf8("another message"), signature))).toBe(false)
      }
    },
  )

  test.each(["ecdsa-p256-sha256", "ml-dsa-65"] as const)(
    "%s: a long message is signed, since only its digest or representative travels",
    async (scheme) => {
      const { keys, maker, lacks = [] } = open()
      if ((lacks as readonly SignatureScheme[]).includes(scheme)) return
      const key = await maker.create(newName(), "issuer", scheme)
      const message = new Uint8Array(300_000).fill(7)
      expect(runSync(verifySignature(key.scheme, key.spki, message, await keys.sign(key, message)))).toBe(true)
    },
  )

  test("creating again answers the same key", async () => {
    const { maker } = open()
    const name = newName()
    const key = await maker.create(name, "issuer", "ecdsa-p256-sha256")
    expect(await maker.create(name, "issuer", "ecdsa-p256-sha256")).toEqual(key)
    expect((await maker.create(newName(), "issuer", "ecdsa-p256-sha256")).spki).not.toEqual(key.spki)
  })

  test("two that create at once get one key", async () => {
    const { maker } = open()
    const name = newName()
    const made = await Promise.all([1, 2, 3].map(() => maker.create(name, "issuer", "ecdsa-p384-sha384")))
    expect(new Set(made.map((key) => key.keyId)).size).toBe(1)
  })

  test("a name that has a key of another algorithm is refused", async () => {
    const { maker } = open()
    const name = newName()
    await maker.create(name, "issuer", "ecdsa-p256-sha256")
    await expect(maker.create(name, "issuer", "ecdsa-p384-sha384")).rejects.toMatchObject({ code: "ALREADY_EXISTS" })
  })

  test("a disabled key and one that does not exist are KEY_NOT_USABLE", async () => {
    const { keys, maker, disable } = open()
    const key = await maker.create(newName(), "issuer", "ecdsa-p256-sha256")
    await disable(key)
    await expect(keys.sign(key, utf8("m"))).rejects.toMatchObject({ code: "KEY_NOT_USABLE" })
    const missing = { ...key, keyId: key.keyId.replace(/.{4}$/, "0000") }
    await expect(keys.sign(missing, utf8("m"))).rejects.toMatchObject({ code: "KEY_NOT_USABLE" })
  })
}
