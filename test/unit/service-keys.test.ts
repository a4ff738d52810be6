import { makeEphemeralKey } from "@sealwright/adapters/ephemeral-key"
import { createMemoryKeys } from "@sealwright/adapters/memory-keys"
import { serviceKeys, type TokenSettings } from "@sealwright/adapters/service-keys"
import { ServiceError } from "@sealwright/core/errors"
import type { KeyReference } from "@sealwright/core/ports"
import { utf8 } from "@sealwright/formats/bytes"
import { describe, expect, test } from "vitest"
import { readTokenSettings, readWrapping } from "../../functions/http/settings.ts"

const TOKEN: TokenSettings = {
  module: "/opt/hsm/lib.so",
  packageFolder: "/opt/nodejs",
  tokenLabel: "hsm1",
  pin: "env:PIN",
}
const P256 = "ecdsa-p256-sha256"

/** A token that tells what it was asked; it fails to open as often as `failures` says. */
function token(failures = 0) {
  const asked: string[] = []
  let left = failures
  const open = async (settings: TokenSettings) => {
    asked.push(`open ${settings.tokenLabel}`)
    if (left-- > 0) throw new ServiceError("SIGNER_UNAVAILABLE", "test")
    return {
      create: async (name: string): Promise<KeyReference> => {
        asked.push(`create ${name}`)
        return { keyId: `pkcs11:token=hsm1;object=${name}`, scheme: P256, spki: new Uint8Array(1) } as const
      },
      sign: async ({ keyId }: KeyReference) => {
        asked.push(`sign ${keyId}`)
        return Uint8Array.of(7)
      },
      makeEphemeralKey: async () => {
        asked.push("session key")
        return makeEphemeralKey(P256)
      },
      list: async () => [],
      close: async () => undefined,
    }
  }
  return { asked, open }
}

describe("the keys of a function (R1, D13)", () => {
  test("without a token all live in KMS, and keys for one act in this process", async () => {
    const kms = createMemoryKeys()
    const { keys, withMaker, makeEphemeralKey: make } = serviceKeys(kms, undefined)
    const key = await withMaker(kms).create("issuer/ci", "issuer", P256)
    expect(await keys.sign(key, utf8("m"))).toBeInstanceOf(Uint8Array)
    expect(make).toBe(makeEphemeralKey)
  })

  test("with a token, keys of certificates and keys for one act live there, those of TUF and timestamps in KMS", async () => {
    const kms = createMemoryKeys()
    const { asked, open } = token()
    const homes = serviceKeys(kms, TOKEN, open)
    const maker = homes.withMaker(kms)
    const made = await Promise.all(
      (["root", "issuer", "held", "tuf-root", "tuf-lists", "timestamp"] as const).map((purpose) =>
        maker.create(purpose, purpose, P256),
      ),
    )
    expect(made.map(({ keyId }) => keyId.split(":")[0])).toEqual([
      ...["pkcs11", "pkcs11", "pkcs11"],
      ...["memory", "memory", "memory"],
    ])
    expect(await homes.keys.sign(made[0] as KeyReference, utf8("m"))).toEqual(Uint8Array.of(7))
    expect((await homes.keys.sign(made[5] as KeyReference, utf8("m"))).length).toBeGreaterThan(60)
    await homes.makeEphemeralKey(P256)
    expect(asked.filter((act) => act.startsWith("open"))).toEqual(["open hsm1"])
    expect(asked).toContain("session key")
  })

  test("a token that could not be opened is tried again by the next call", async () => {
    const { asked, open } = token(1)
    const { makeEphemeralKey: make } = serviceKeys(createMemoryKeys(), TOKEN, open)
    await expect(make(P256)).rejects.toMatchObject({ code: "SIGNER_UNAVAILABLE" })
    await make(P256)
    expect(asked).toEqual(["open hsm1", "open hsm1", "session key"])
  })

  test("the environment names a token whole or not at all", () => {
    const env = {
      SEALWRIGHT_PKCS11_MODULE: "/opt/hsm/lib.so",
      SEALWRIGHT_PKCS11_PACKAGES: "/opt/nodejs",
      SEALWRIGHT_PKCS11_TOKEN: "hsm1",
      SEALWRIGHT_PKCS11_PIN: "env:PIN",
    }
    expect(readTokenSettings(env)).toEqual(TOKEN)
    expect(readTokenSettings({})).toBeUndefined()
    for (const name of Object.keys(env)) expect(() => readTokenSettings({ ...env, [name]: "" })).toThrow(name)
  })
})

test("a deployment wraps what its settings name, and nothing by default (D13)", () => {
  expect(readWrapping({})).toEqual(new Set())
  expect(readWrapping({ SEALWRIGHT_WRAPPING: "" })).toEqual(new Set())
  expect(readWrapping({ SEALWRIGHT_WRAPPING: "issuer,timestamp" })).toEqual(new Set(["issuer", "timestamp"]))
  expect(() => readWrapping({ SEALWRIGHT_WRAPPING: "issuer,held" })).toThrow("SEALWRIGHT_WRAPPING")
})
