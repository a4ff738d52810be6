import { CKF, type CKR } from "@sealwright/adapters/pkcs11/cryptoki"
import { createPkcs11Home, type Pkcs11Settings } from "@sealwright/adapters/pkcs11/home"
import type { KeyReference } from "@sealwright/core/ports"
import { utf8 } from "@sealwright/formats/bytes"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { describe, expect, test, vi } from "vitest"
import { createFakeTokenStore, FakeCryptoki, FakeError, PIN } from "../support/fakes-cryptoki.ts"

const P256 = "ecdsa-p256-sha256"
const MESSAGE = utf8("message")
const withCode = (code: string) => expect.objectContaining({ code })

async function open(settings: Partial<Pkcs11Settings> = {}) {
  const store = createFakeTokenStore()
  const cryptoki = new FakeCryptoki(store)
  const home = await createPkcs11Home(cryptoki, { tokenLabel: "fake", pin: async () => PIN, ...settings })
  const key = await home.create("a", "issuer", P256)
  cryptoki.calls.length = 0
  return { store, cryptoki, home, key }
}

const verifies = ({ scheme, spki }: KeyReference, signature: Uint8Array) =>
  runSync(verifySignature(scheme, spki, MESSAGE, signature))

/** Lets the next calls of one name fail, so many of them. */
function failing(cryptoki: FakeCryptoki, name: keyof typeof CKR, call: string, times = 1): void {
  let left = times
  cryptoki.before = (one) => {
    if (one === call && left-- > 0) throw new FakeError(name)
  }
}

describe("a wrong PIN", () => {
  test("is sent once in a process, whoever asks", async () => {
    const store = createFakeTokenStore()
    const cryptoki = new FakeCryptoki(store)
    const attempt = () => createPkcs11Home(cryptoki, { tokenLabel: "fake", pin: async () => "000000" })
    const together = await Promise.allSettled([attempt(), attempt(), attempt()])
    expect(together.map((one) => one.status === "rejected" && one.reason.code)).toEqual(Array(3).fill("PIN_INCORRECT"))
    await expect(attempt()).rejects.toThrow(withCode("PIN_INCORRECT"))
    expect([store.failedLogins, cryptoki.count("C_Login")]).toEqual([1, 1])
  })

  test("another PIN is sent then", async () => {
    const cryptoki = new FakeCryptoki(createFakeTokenStore())
    const pins = ["000000", "000000", PIN]
    const attempt = () => createPkcs11Home(cryptoki, { tokenLabel: "fake", pin: async () => pins.shift() ?? "" })
    for (let i = 0; i < 2; i++) await expect(attempt()).rejects.toThrow(withCode("PIN_INCORRECT"))
    await (await attempt()).close()
    expect(cryptoki.count("C_Login")).toBe(2)
  })

  test("one that was changed while the service ran is not sent twice either", async () => {
    const { home, store, cryptoki, key } = await open()
    store.pin = "111111"
    cryptoki.dropSessions()
    for (let i = 0; i < 3; i++) await expect(home.sign(key, MESSAGE)).rejects.toThrow(withCode("PIN_INCORRECT"))
    expect(store.failedLogins).toBe(1)
  })

  test.each([
    ["locked", CKF.USER_PIN_LOCKED],
    ["one try from it", CKF.USER_PIN_FINAL_TRY],
  ])("no PIN is sent to a token that is %s", async (_, flag) => {
    const store = createFakeTokenStore()
    store.flags |= flag
    const cryptoki = new FakeCryptoki(store)
    await expect(createPkcs11Home(cryptoki, { tokenLabel: "fake", pin: async () => PIN })).rejects.toThrow(
      withCode("PIN_LOCKED"),
    )
    expect(cryptoki.count("C_Login")).toBe(0)
  })

  test.each(["PIN_LOCKED", "PIN_EXPIRED"] as const)("%s is PIN_LOCKED", async (name) => {
    const cryptoki = new FakeCryptoki(createFakeTokenStore())
    failing(cryptoki, name, "C_Login")
    const attempt = () => createPkcs11Home(cryptoki, { tokenLabel: "fake", pin: async () => PIN })
    for (let i = 0; i < 2; i++) await expect(attempt()).rejects.toThrow(withCode("PIN_LOCKED"))
    expect(cryptoki.count("C_Login")).toBe(1)
  })

  test("is in no error", async () => {
    const cryptoki = new FakeCryptoki(createFakeTokenStore())
    const error = await createPkcs11Home(cryptoki, { tokenLabel: "fake", pin: async () => "geheim" }).catch((e) => e)
    expect(`${error.stack} ${JSON.stringify(error)} ${error.cause}`).not.toContain("geheim")
  })
})

describe("a cut", () => {
  test.each(["SESSION_HANDLE_INVALID", "SESSION_CLOSED", "DEVICE_ERROR", "GENERAL_ERROR"] as const)(
    "%s: signed once more, in a new session",
    async (name) => {
      const { home, cryptoki, key } = await open()
      failing(cryptoki, name, "C_SignAsync")
      expect(verifies(key, await home.sign(key, MESSAGE))).toBe(true)
      expect([cryptoki.count("C_SignAsync"), cryptoki.count("C_Initialize")]).toEqual([2, 0])
    },
  )

  test("sessions that the token forgot are opened again, with one login", async () => {
    const { home, cryptoki, key } = await open()
    await Promise.all([1, 2, 3, 4].map(() => home.sign(key, MESSAGE)))
    cryptoki.calls.length = 0
    cryptoki.dropSessions()
    const signatures = await Promise.all([1, 2, 3, 4, 5, 6].map(() => home.sign(key, MESSAGE)))
    for (const signature of signatures) expect(verifies(key, signature)).toBe(true)
    expect(cryptoki.count("C_Login")).toBe(1)
  })

  test.each(["DEVICE_REMOVED", "DEVICE_ERROR", "CRYPTOKI_NOT_INITIALIZED"] as const)(
    "%s for new sessions too: the module starts anew, once for all who wait",
    async (name) => {
      const { home, cryptoki, key } = await open()
      await Promise.all([1, 2, 3, 4].map(() => home.sign(key, MESSAGE)))
      cryptoki.calls.length = 0
      let cut = true
      cryptoki.before = (call) => {
        if (call === "C_Initialize") cut = false
        if (cut && call !== "C_Finalize") throw new FakeError(name)
      }
      const signatures = await Promise.all([1, 2, 3, 4, 5, 6].map(() => home.sign(key, MESSAGE)))
      for (const signature of signatures) expect(verifies(key, signature)).toBe(true)
      expect([cryptoki.count("C_Initialize"), cryptoki.count("C_Login")]).toEqual([1, 1])
    },
  )

  test("no restart under a call that runs", async () => {
    const { home, cryptoki, key } = await open()
    const held = Promise.withResolvers<void>()
    cryptoki.signing = () => held.promise
    const slow = home.sign(key, MESSAGE)
    await new Promise(setImmediate)
    cryptoki.signing = async () => undefined
    let cut = true
    cryptoki.before = (call) => {
      if (call === "C_Initialize") cut = false
      if (cut && (call === "C_OpenSession" || call === "C_SignInit")) throw new FakeError("DEVICE_REMOVED")
    }
    const other = home.sign(key, MESSAGE)
    await new Promise(setImmediate)
    expect(cryptoki.count("C_Finalize")).toBe(0)
    held.resolve()
    expect(verifies(key, await slow)).toBe(true)
    expect(verifies(key, await other)).toBe(true)
    expect(cryptoki.count("C_Finalize")).toBe(1)
  })

  test("that lasts is SIGNER_UNAVAILABLE, and over when the token is back", async () => {
    const { home, cryptoki, key } = await open()
    cryptoki.before = (call) => {
      if (call !== "C_Finalize") throw new FakeError("DEVICE_REMOVED")
    }
    for (let i = 0; i < 3; i++) await expect(home.sign(key, MESSAGE)).rejects.toThrow(withCode("SIGNER_UNAVAILABLE"))
    expect(cryptoki.count("C_Initialize")).toBe(1)
    cryptoki.before = () => undefined
    await vi.waitFor(async () => expect(verifies(key, await home.sign(key, MESSAGE))).toBe(true), 2_000)
  })

  test("in the middle of making a key does not make a second one", async () => {
    const { home, cryptoki, store } = await open()
    let made = false
    cryptoki.before = (call) => {
      if (call === "C_GenerateKeyPairAsync") made = true
      else if (made && call === "C_FindObjectsInit") {
        made = false
        throw new FakeError("DEVICE_ERROR")
      }
    }
    const key = await home.create("b", "issuer", P256)
    expect(verifies(key, await home.sign(key, MESSAGE))).toBe(true)
    expect(store.objects.size).toBe(4)
    expect(cryptoki.count("C_GenerateKeyPairAsync")).toBe(1)
  })

  test("a token that is away for a while is SIGNER_UNAVAILABLE", async () => {
    const { home, cryptoki, store, key } = await open()
    store.label = "elsewhere"
    let cut = true
    cryptoki.before = (call) => {
      if (call === "C_Initialize") cut = false
      if (cut && (call === "C_OpenSession" || call === "C_SignInit")) throw new FakeError("DEVICE_REMOVED")
    }
    await expect(home.sign(key, MESSAGE)).rejects.toThrow(withCode("SIGNER_UNAVAILABLE"))
    expect(cryptoki.count("C_Initialize")).toBe(1)
    store.label = "fake"
    expect(verifies(key, await home.sign(key, MESSAGE))).toBe(true)
  })
})

describe("other answers", () => {
  test.each([
    ["KEY_FUNCTION_NOT_PERMITTED", "KEY_NOT_USABLE"],
    ["KEY_TYPE_INCONSISTENT", "KEY_NOT_USABLE"],
    ["KEY_SIZE_RANGE", "KEY_NOT_USABLE"],
    ["MECHANISM_INVALID", "ALGORITHM_UNSUPPORTED"],
    ["MECHANISM_PARAM_INVALID", "ALGORITHM_UNSUPPORTED"],
    ["DEVICE_MEMORY", "SIGNER_UNAVAILABLE"],
  ] as const)("%s is %s, without a second try", async (name, code) => {
    const { home, cryptoki, key } = await open()
    failing(cryptoki, name, "C_SignInit", 2)
    await expect(home.sign(key, MESSAGE)).rejects.toThrow(withCode(code))
    expect(cryptoki.count("C_SignInit")).toBe(1)
  })

  test("a login that is asked for again after it was given is not the key's fault to mend: SIGNER_UNAVAILABLE", async () => {
    const { home, cryptoki, key } = await open()
    failing(cryptoki, "USER_NOT_LOGGED_IN", "C_SignInit", 9)
    await expect(home.sign(key, MESSAGE)).rejects.toThrow(withCode("SIGNER_UNAVAILABLE"))
    expect([cryptoki.count("C_SignInit"), cryptoki.count("C_Login")]).toEqual([2, 1])
  })

  test("a token that does not answer holds up its callers no longer than they wait, and others not at all", async () => {
    const { home, cryptoki, key } = await open({ timeoutMs: 50, sessions: 2 })
    cryptoki.signing = () => new Promise(() => undefined)
    const slow = home.sign(key, MESSAGE)
    await new Promise(setImmediate)
    cryptoki.signing = async () => undefined
    expect(verifies(key, await home.sign(key, MESSAGE))).toBe(true)
    await expect(slow).rejects.toThrow(withCode("SIGNER_UNAVAILABLE"))
    expect(verifies(key, await home.sign(key, MESSAGE))).toBe(true)
  })

  test("a caller who gave up waiting for a new start makes no signature later", async () => {
    const { home, cryptoki, key } = await open({ timeoutMs: 30, sessions: 2 })
    const held = Promise.withResolvers<void>()
    cryptoki.signing = () => held.promise
    const slow = home.sign(key, MESSAGE)
    await new Promise(setImmediate)
    let cut = true
    cryptoki.before = (call) => {
      if (call === "C_Initialize") cut = false
      if (cut && (call === "C_OpenSession" || call === "C_SignInit")) throw new FakeError("DEVICE_REMOVED")
    }
    const calls = [slow, home.sign(key, MESSAGE)]
    for (const call of calls) await expect(call).rejects.toThrow(withCode("SIGNER_UNAVAILABLE"))
    const signed = cryptoki.count("C_SignAsync")
    held.resolve()
    await vi.waitFor(() => expect(cryptoki.count("C_OpenSession")).toBeGreaterThan(1))
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(cryptoki.count("C_SignAsync")).toBe(signed)
  })

  test("a caller who gave up waiting for a session makes no signature later", async () => {
    const { home, cryptoki, key } = await open({ timeoutMs: 30, sessions: 1 })
    const held = Promise.withResolvers<void>()
    cryptoki.signing = () => held.promise
    const calls = [home.sign(key, MESSAGE), home.sign(key, MESSAGE)]
    for (const call of calls) await expect(call).rejects.toThrow(withCode("SIGNER_UNAVAILABLE"))
    held.resolve()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(cryptoki.count("C_SignAsync")).toBe(1)
  })
})
