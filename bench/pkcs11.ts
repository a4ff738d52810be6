import { existsSync } from "node:fs"
import { join } from "node:path"
import { CKA, CKF, CKO, type Cryptoki, type Handle } from "@sealwright/adapters/pkcs11/cryptoki"
import { createPkcs11Home } from "@sealwright/adapters/pkcs11/home"
import { slotOf } from "@sealwright/adapters/pkcs11/library"
import { loadCryptoki } from "@sealwright/adapters/pkcs11/load"
import { signInput, signMechanism } from "@sealwright/adapters/pkcs11/mechanisms"
import type { KeyReference } from "@sealwright/core/ports"
import { utf8 } from "@sealwright/formats/bytes"
import { parsePkcs11Uri } from "@sealwright/formats/pkcs11-uri"
import { openSoftHsm, PACKAGE_FOLDER, PIN } from "../test/support/softhsm.ts"
import { type Figure, median } from "./measure.ts"

const SCHEMES = ["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha384"] as const
/** as many sessions as libuv has threads */
const SESSIONS = 4
const ROUNDS = 15
const ROUND_MS = 120
const MESSAGE = utf8("message")
const TOKEN = "bench"

/**
 * Signatures a second of the key home, against a loop of bare C_SignInit and C_Sign calls in as many sessions over the same module: what the home's
 * lookups, limits, time-outs and encodings cost. The loop signs a digest that was made once, and leaves its signatures as they are.
 * @param root of the project. @returns undefined where SoftHSM or graphene-pk11 is not installed
 */
export async function pkcs11Figures(root: string): Promise<Figure[] | undefined> {
  const library = join(root, ".clients/softhsm/libsofthsm2.so")
  if (!existsSync(library) || !existsSync(join(PACKAGE_FOLDER, "node_modules/pkcs11js/build"))) return undefined
  const softHsm = openSoftHsm(library)
  try {
    await softHsm.addToken(TOKEN)
    const cryptoki = await loadCryptoki(softHsm.module, PACKAGE_FOLDER)
    const home = await createPkcs11Home(cryptoki, { tokenLabel: TOKEN, pin: async () => PIN, sessions: SESSIONS })
    try {
      const figures: Figure[] = []
      for (const scheme of SCHEMES) {
        const key = await home.create(scheme, "issuer", scheme)
        const bare = bareSigners(cryptoki, key)
        const ours: number[] = []
        const ceiling: number[] = []
        for (let round = -3; round < ROUNDS; round++) {
          const [mine, theirs] = [
            await rate(Array.from({ length: SESSIONS }, () => () => home.sign(key, MESSAGE))),
            await rate(bare.signers),
          ]
          if (round < 0) continue
          ours.push(mine)
          ceiling.push(theirs)
        }
        bare.close()
        const ratios = ours.map((mine, i) => (ceiling[i] ?? Number.NaN) / mine)
        figures.push(
          { figure: `pkcs11 ${scheme}: signatures, SoftHSM`, value: median(ours), unit: "/s" },
          {
            figure: `pkcs11 ${scheme}: the module's own loop against it`,
            value: median(ratios),
            unit: "x",
            atMost: 1 / 0.7,
          },
        )
      }
      return figures
    } finally {
      await home.close()
    }
  } finally {
    softHsm.close()
  }
}

/** Each signs as fast as it can, one call after the other. @returns signatures of all of them in a second */
async function rate(signers: readonly (() => Promise<unknown>)[]): Promise<number> {
  const began = performance.now()
  const counts = await Promise.all(
    signers.map(async (sign) => {
      let count = 0
      for (; performance.now() - began < ROUND_MS; count++) await sign()
      return count
    }),
  )
  return (counts.reduce((sum, count) => sum + count, 0) * 1000) / (performance.now() - began)
}

function bareSigners(cryptoki: Cryptoki, { keyId, scheme }: KeyReference) {
  const slot = slotOf(cryptoki, TOKEN)
  const input = signInput(scheme, MESSAGE)
  const sessions = Array.from({ length: SESSIONS }, () => cryptoki.C_OpenSession(slot, CKF.SERIAL_SESSION))
  return {
    signers: sessions.map((session) => {
      const signature = Buffer.alloc(512)
      const key = privateKey(cryptoki, session, parsePkcs11Uri(keyId).id ?? new Uint8Array(0))
      return async () => {
        cryptoki.C_SignInit(session, signMechanism(scheme), key)
        return await cryptoki.C_SignAsync(session, input, signature)
      }
    }),
    close: () => {
      for (const session of sessions) cryptoki.C_CloseSession(session)
    },
  }
}

function privateKey(cryptoki: Cryptoki, session: Handle, id: Uint8Array): Handle {
  cryptoki.C_FindObjectsInit(session, [
    { type: CKA.CLASS, value: CKO.PRIVATE_KEY },
    { type: CKA.ID, value: Buffer.from(id) },
  ])
  const [found] = cryptoki.C_FindObjects(session, 1)
  cryptoki.C_FindObjectsFinal(session)
  if (found === undefined) throw new Error("the key that was made is not there")
  return found
}
