import { statSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { createMemoryKeys } from "@sealwright/adapters/memory-keys"
import { CKA, CKF, CKO, CKR, type Cryptoki } from "@sealwright/adapters/pkcs11/cryptoki"
import { createPkcs11Home, openPkcs11Home, type Pkcs11Home } from "@sealwright/adapters/pkcs11/home"
import { slotOf } from "@sealwright/adapters/pkcs11/library"
import { loadCryptoki } from "@sealwright/adapters/pkcs11/load"
import { serviceKeys } from "@sealwright/adapters/service-keys"
import { readDeployment } from "@sealwright/core/ledger/trust"
import type { EphemeralKey, KeyHome, KeyReference } from "@sealwright/core/ports"
import { SCHEMES, type SignatureScheme } from "@sealwright/formats/algorithms"
import { utf8 } from "@sealwright/formats/bytes"
import { parsePkcs11Uri } from "@sealwright/formats/pkcs11-uri"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifyNotaryEnvelope } from "@sealwright/verifier/notary"
import { verifySignature } from "@sealwright/verifier/requests"
import { attachSignature } from "sealwright/layout"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { writeNotationTree } from "../../packages/cli/src/bundle-folder.ts"
import { keysContract } from "../contracts/keys-contract.ts"
import { runOffline, withClients } from "../support/clients.ts"
import { createService, PROFILE, signRequest } from "../support/service.ts"
import { counting, openSoftHsm, PACKAGE_FOLDER, PIN, type SoftHsm } from "../support/softhsm.ts"
import { expectSound, published } from "../unit/core-published.ts"
import { writeImage } from "./deployment.ts"

const P256 = "ecdsa-p256-sha256"
const MESSAGE = utf8("message")
const pin = async () => PIN
const CKR_ATTRIBUTE_SENSITIVE = 0x11
const USER_PIN_COUNT_LOW = 0x10000
const withCode = (code: string) => expect.objectContaining({ code })
const load = (module: string) => loadCryptoki(module, PACKAGE_FOLDER)

const verifies = ({ scheme, spki }: Pick<KeyReference, "scheme" | "spki">, signature: Uint8Array) =>
  runSync(verifySignature(scheme, spki, MESSAGE, signature))

/** What a home that has ended with a key answers for: all that an owner with another tool would do. */
function privateKeyOf(cryptoki: Cryptoki, tokenLabel: string, keyId: string) {
  const session = cryptoki.C_OpenSession(slotOf(cryptoki, tokenLabel), CKF.SERIAL_SESSION | CKF.RW_SESSION)
  cryptoki.C_FindObjectsInit(session, [
    { type: CKA.CLASS, value: CKO.PRIVATE_KEY },
    { type: CKA.ID, value: Buffer.from(parsePkcs11Uri(keyId).id ?? []) },
  ])
  const [object] = cryptoki.C_FindObjects(session, 1)
  cryptoki.C_FindObjectsFinal(session)
  if (object === undefined) throw new Error(`no key ${keyId}`)
  return { session, object }
}

withClients("R1: keys in SoftHSM", ["softhsm", "graphene-pk11", "notation"], (library, _, notation) => {
  let softHsm: SoftHsm
  let cryptoki: Cryptoki
  let home: Pkcs11Home

  beforeAll(async () => {
    softHsm = openSoftHsm(library)
    await softHsm.addToken("sealwright")
    await softHsm.addToken("wrong PIN")
    for (let i = 0; i < 2; i++) await softHsm.addToken("twice")
    cryptoki = await load(softHsm.module)
    home = await openPkcs11Home({
      module: softHsm.module,
      packageFolder: PACKAGE_FOLDER,
      tokenLabel: "sealwright",
      pin,
    })
  })

  afterAll(async () => {
    await home?.close()
    softHsm?.close()
  })

  describe("the contract of key homes", () => {
    keysContract(() => ({
      keys: home,
      maker: home,
      lacks: ["ml-dsa-44", "ml-dsa-65"],
      async disable({ keyId }) {
        const { session, object } = privateKeyOf(cryptoki, "sealwright", keyId)
        cryptoki.C_DestroyObject(session, object)
        cryptoki.C_CloseSession(session)
      },
    }))
  })

  test.each((Object.keys(SCHEMES) as SignatureScheme[]).filter((scheme) => !scheme.startsWith("ml-dsa")))(
    "%s: a key for one act is a session object, and gone after it",
    async (scheme) => {
      const before = (await home.list()).length
      const key = await home.makeEphemeralKey(scheme)
      expect(verifies(key, await key.sign(MESSAGE))).toBe(true)
      expect((await home.list()).length).toBe(before)
      await key.drop()
      await expect(key.sign(MESSAGE)).rejects.toThrow(withCode("SIGNER_UNAVAILABLE"))
    },
  )

  test("nobody reads a private value, and nobody makes it readable", async () => {
    const key = await home.create("secret", "issuer", P256)
    const { session, object } = privateKeyOf(cryptoki, "sealwright", key.keyId)
    const CKA_VALUE = 0x11
    expect(() => cryptoki.C_GetAttributeValue(session, object, [{ type: CKA_VALUE }])).toThrow(
      withCode(CKR_ATTRIBUTE_SENSITIVE as never),
    )
    const [sensitive, extractable] = cryptoki.C_GetAttributeValue(session, object, [
      { type: CKA.SENSITIVE },
      { type: CKA.EXTRACTABLE },
    ])
    expect([sensitive?.value[0], extractable?.value[0]]).toEqual([1, 0])
    cryptoki.C_CloseSession(session)
  })

  test("a wrong PIN reaches the token once, however often it is tried", async () => {
    const counted = counting(cryptoki)
    const settings = { tokenLabel: "wrong PIN", pin: async () => "000000" }
    const flags = () => cryptoki.C_GetTokenInfo(slotOf(cryptoki, "wrong PIN")).flags
    expect(flags() & USER_PIN_COUNT_LOW).toBe(0)
    for (let i = 0; i < 3; i++)
      await expect(createPkcs11Home(counted.cryptoki, settings)).rejects.toThrow(withCode("PIN_INCORRECT"))
    expect(counted.count("C_Login")).toBe(1)
    expect(flags() & USER_PIN_COUNT_LOW).not.toBe(0)
    await (await createPkcs11Home(counted.cryptoki, { ...settings, pin })).close()
    expect(flags() & USER_PIN_COUNT_LOW).toBe(0)
  })

  test.each(["twice", "nowhere"])("the token %j is not picked by chance", async (tokenLabel) => {
    await expect(createPkcs11Home(cryptoki, { tokenLabel, pin })).rejects.toThrow(withCode("PKCS11_TOKEN_UNKNOWN"))
  })

  test("every call that fails gives the module's answer, whichever way it comes", async () => {
    const strange = Buffer.alloc(8, 7)
    const answer = { code: CKR.SESSION_HANDLE_INVALID, message: "CKR_SESSION_HANDLE_INVALID" }
    for (const call of [
      () => cryptoki.C_GetSessionInfo(strange),
      () => cryptoki.C_CloseSession(strange),
      () => cryptoki.C_FindObjectsInit(strange, []),
      () => cryptoki.C_FindObjects(strange, 1),
      () => cryptoki.C_FindObjectsFinal(strange),
      () => cryptoki.C_GetAttributeValue(strange, strange, [{ type: CKA.ID }]),
      () => cryptoki.C_GenerateKeyPair(strange, { mechanism: 0 }, [], []),
      () => cryptoki.C_DestroyObject(strange, strange),
      () => cryptoki.C_SignInit(strange, { mechanism: 1 }, strange),
    ])
      expect(call).toThrow(expect.objectContaining(answer))
    await expect(cryptoki.C_SignAsync(strange, Buffer.alloc(1), Buffer.alloc(1))).rejects.toMatchObject(answer)
    await expect(cryptoki.C_GenerateKeyPairAsync(strange, { mechanism: 0 }, [], [])).rejects.toMatchObject(answer)
  })

  test("a library that is not there is named", async () => {
    await expect(load("/nowhere/libpkcs11.so")).rejects.toThrow(withCode("PKCS11_MODULE_MISSING"))
  })

  describe("the whole flow with every private key in the token", () => {
    test.each(["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha384"] as const)(
      "%s: our verifier and notation accept both key modes, and refuse what was revoked",
      async (algorithm) => {
        const prefixed = within(home, algorithm)
        const service = createService({
          keys: () => prefixed,
          maker: () => prefixed,
          makeEphemeralKey: () => home.makeEphemeralKey,
        })
        service.pass(Math.floor((Date.now() - service.ports.clock().getTime()) / 1000))
        await service.setUp(algorithm)
        const repository = (name: string) => `registry.wabbit-networks.io/${name}`
        const folder = join(softHsm.folder, algorithm)
        const images = new Map<string, { path: string; digest: string; id: string }>()
        for (const keyMode of ["ephemeral", "held"] as const) {
          await service.profile(keyMode, { ...PROFILE, algorithm, keyMode, repositories: [repository(keyMode)] })
          for (const name of keyMode === "held" ? ["held"] : ["ephemeral", "revoked"]) {
            const { path, digest } = writeImage(join(folder, name), name)
            const size = statSync(join(path, "blobs/sha256", digest.slice(7))).size
            const mediaType = "application/vnd.oci.image.manifest.v1+json"
            const subject = { mediaType, digest, size, reference: `${repository(keyMode)}:v1` }
            const [settled] = await service.signer()({ ...signRequest([]), profile: keyMode, subjects: [subject] })
            if (settled === undefined || !("signed" in settled)) throw new Error("not signed")
            const envelope = settled.signed.envelopes[0]?.bytes ?? new Uint8Array(0)
            const trusted = [(await readDeployment(service.ports.table)).root.certificate]
            const { signedAt } = settled.signed
            expect(runSync(verifyNotaryEnvelope(envelope, { trusted, now: signedAt }))).toMatchObject({ ok: true })
            attachSignature(path, { mediaType, digest, size }, envelope)
            images.set(name, { path, digest, id: settled.signed.id })
          }
        }
        await service.revoke({ kind: "signature", signature: images.get("revoked")?.id ?? "" })
        await service.publish()
        expect(expectSound(service)).toBe(3)
        const { objects } = published(service)
        const tree = objects.get("trees/notation.json") ?? new Uint8Array(0)
        writeNotationTree(folder, tree, (target) => objects.get(target.replace("lists/", "crl/")), [])
        const judge = (name: string, mode: string) =>
          runOffline(
            notation,
            [
              ...["verify", "--debug", "--oci-layout", "--scope", repository(mode)],
              `${images.get(name)?.path}@${images.get(name)?.digest}`,
            ],
            {
              HOME: folder,
              NOTATION_EXPERIMENTAL: "1",
              XDG_CONFIG_HOME: join(folder, "notation/config"),
              XDG_CACHE_HOME: join(folder, "notation/cache"),
            },
          )
        const accepted = { status: 0, stdout: expect.stringContaining("Successfully verified signature") }
        expect(await judge("ephemeral", "ephemeral")).toMatchObject(accepted)
        expect(await judge("held", "held")).toMatchObject(accepted)
        expect(await judge("revoked", "ephemeral")).toMatchObject({
          status: 1,
          stderr: expect.stringContaining("is revoked"),
        })
      },
      120_000,
    )
  })
})

/** One token holds the keys of several services here, each under names of its own. */
function within(home: KeyHome, prefix: string): KeyHome {
  return { ...home, create: (name, purpose, scheme) => home.create(`${prefix}/${name}`, purpose, scheme) }
}

withClients("R1: a token behind a socket", ["softhsm", "graphene-pk11"], (library) => {
  let softHsm: SoftHsm
  let server: Awaited<ReturnType<SoftHsm["serve"]>>

  beforeAll(async () => {
    softHsm = openSoftHsm(library)
    await softHsm.addToken("remote")
    server = await softHsm.serve("remote")
  })

  afterAll(async () => {
    await server?.cut()
    softHsm?.close()
  })

  async function opened(timeoutMs = 10_000) {
    const counted = counting(await load(softHsm.clientModule))
    const home = await createPkcs11Home(counted.cryptoki, { tokenLabel: "remote", pin, timeoutMs })
    return { home, counted }
  }

  test("signs with every algorithm that the protocol carries, and says which it does not", async () => {
    const { home } = await opened()
    for (const scheme of ["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha256", "rsa-pkcs1-sha256"] as const) {
      const key = await home.create(`issuer/${scheme}`, "issuer", scheme)
      expect(verifies(key, await home.sign(key, MESSAGE))).toBe(true)
    }
    await expect(home.create("ed", "issuer", "ed25519")).rejects.toThrow(withCode("ALGORITHM_UNSUPPORTED"))
    await home.close()
  })

  test("a cut between calls is bridged: one new start, one login, the same key", async () => {
    const { home, counted } = await opened()
    const key = await home.create("bridged", "issuer", P256)
    const act = await home.makeEphemeralKey(P256)
    await server.cut()
    await server.restart()
    const signatures = await Promise.all(Array.from({ length: 8 }, () => home.sign(key, MESSAGE)))
    for (const signature of signatures) expect(verifies(key, signature)).toBe(true)
    expect([counted.count("C_Initialize"), counted.count("C_Login")]).toEqual([2, 2])
    await expect(act.sign(MESSAGE)).rejects.toThrow(withCode("SIGNER_UNAVAILABLE"))
    await act.drop()
    expect(await home.create("bridged", "issuer", P256)).toEqual(key)
    await home.close()
  })

  test("while nobody serves, signing is SIGNER_UNAVAILABLE; afterwards it works again", async () => {
    const { home } = await opened()
    const key = await home.create("away", "issuer", P256)
    await server.cut()
    for (let i = 0; i < 3; i++) await expect(home.sign(key, MESSAGE)).rejects.toThrow(withCode("SIGNER_UNAVAILABLE"))
    await server.restart()
    await vi.waitFor(async () => expect(verifies(key, await home.sign(key, MESSAGE))).toBe(true), 2_000)
    await home.close()
  })

  test("cuts amid signing requests: a retry under the same key gets each signature, and the ledger is sound", async () => {
    const { home } = await opened()
    // Keys of certificates on the token, all others elsewhere, as in a deployment: this token's protocol carries no Ed25519.
    const kms = createMemoryKeys()
    const token = { module: softHsm.clientModule, packageFolder: PACKAGE_FOLDER, tokenLabel: "remote", pin: "env:PIN" }
    const homes = serviceKeys(kms, token, async () => home)
    const service = createService({
      keys: () => homes.keys,
      maker: () => homes.withMaker(kms),
      makeEphemeralKey: () => homes.makeEphemeralKey,
    })
    await service.setUp()
    await service.profile("release")
    const sign = service.signer()
    let cutting = true
    let unavailable = 0
    let subjects = 0
    const worker = async (name: string) => {
      for (let i = 0; cutting; i++) {
        const seeds = Array.from({ length: 5 }, (_, j) => `${name} ${i} ${j}`)
        const request = signRequest(seeds, { idempotencyKey: `${name} ${i}` })
        for (let settled = false; !settled; )
          try {
            expect((await sign(request)).map((one) => "signed" in one)).toEqual(Array(5).fill(true))
            subjects += 5
            settled = true
          } catch (error) {
            expect(error).toEqual(withCode("SIGNER_UNAVAILABLE"))
            unavailable++
            await sleep(20)
          }
      }
    }
    const workers = ["a", "b", "c", "d"].map(worker)
    for (let i = 0; i < 4; i++) {
      await sleep(50 + 20 * i)
      await server.cut()
      await server.restart()
    }
    cutting = false
    await Promise.all(workers)
    expect(unavailable).toBeGreaterThan(0)
    await service.publish()
    expect(expectSound(service)).toBe(subjects)
    await home.close()
  }, 60_000)

  test("cuts while signatures are made: each is right or SIGNER_UNAVAILABLE, and the home lives on", async () => {
    const { home } = await opened()
    const key = await home.create("busy", "issuer", "rsa-pss-sha384")
    let cutting = true
    let unavailable = 0
    const signing = async () => {
      while (cutting) {
        let act: EphemeralKey | undefined
        try {
          act = await home.makeEphemeralKey(P256)
          expect(verifies(act, await act.sign(MESSAGE))).toBe(true)
          expect(verifies(key, await home.sign(key, MESSAGE))).toBe(true)
        } catch (error) {
          expect(error).toEqual(withCode("SIGNER_UNAVAILABLE"))
          unavailable++
          await sleep(20)
        } finally {
          await act?.drop()
        }
      }
    }
    const workers = Array.from({ length: 4 }, signing)
    for (let i = 0; i < 6; i++) {
      await sleep(60 + 15 * i)
      await server.cut()
      await server.restart()
    }
    cutting = false
    await Promise.all(workers)
    expect(unavailable).toBeGreaterThan(0)
    await vi.waitFor(async () => expect(verifies(key, await home.sign(key, MESSAGE))).toBe(true), 2_000)
    await home.close()
  })
})
