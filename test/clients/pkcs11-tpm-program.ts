/**
 * What pkcs11-tpm.test.ts runs in a process of its own: the libraries behind tpm2-pkcs11 are found by LD_LIBRARY_PATH, which a process has from its
 * start. Prints one JSON object.
 */
import { openPkcs11Home } from "@sealwright/adapters/pkcs11/home"
import { isServiceError } from "@sealwright/core/errors"
import { utf8 } from "@sealwright/formats/bytes"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { PACKAGE_FOLDER, PIN } from "../support/softhsm.ts"

const [, , module = ""] = process.argv
const MESSAGE = utf8("message")
const settings = { module, packageFolder: PACKAGE_FOLDER, tokenLabel: "tpm" }

async function outcome(act: () => Promise<unknown>): Promise<unknown> {
  try {
    return await act()
  } catch (error) {
    return isServiceError(error) ? error.code : String(error)
  }
}

const wrongPins: unknown[] = []
for (let i = 0; i < 3; i++)
  wrongPins.push(await outcome(() => openPkcs11Home({ ...settings, pin: async () => "000000" })))

const home = await openPkcs11Home({ ...settings, pin: async () => PIN })
const verdicts: { [scheme: string]: unknown } = {}
for (const scheme of ["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha256", "rsa-pss-sha384", "ed25519"] as const)
  verdicts[scheme] = await outcome(async () => {
    const key = await home.create(`issuer/${scheme}`, "issuer", scheme)
    const again = await home.create(`issuer/${scheme}`, "issuer", scheme)
    return (
      key.keyId === again.keyId && runSync(verifySignature(scheme, key.spki, MESSAGE, await home.sign(key, MESSAGE)))
    )
  })
const ephemeral = await outcome(async () => await home.makeEphemeralKey("ecdsa-p256-sha256"))
const names = (await home.list()).map(({ name }) => name)
await home.close()
process.stdout.write(`${JSON.stringify({ wrongPins, verdicts, ephemeral, names })}\n`)
