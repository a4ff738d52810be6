import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openPkcs11Home } from "@sealwright/adapters/pkcs11/home"
import { afterAll, expect, test } from "vitest"

const folder = mkdtempSync(join(tmpdir(), "sealwright-pkcs11-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const settings = { tokenLabel: "fake", pin: async () => "1234", packageFolder: folder }
const missing = (text: RegExp) => ({ code: "PKCS11_MODULE_MISSING", message: expect.stringMatching(text) })

test("a relative path is not looked for in the system's folders", async () => {
  await expect(openPkcs11Home({ ...settings, module: "libsofthsm2.so" })).rejects.toMatchObject(missing(/absolute/))
})

test("a missing npm package is named with its remedy", async () => {
  await expect(openPkcs11Home({ ...settings, module: join(folder, "module.so") })).rejects.toMatchObject(
    missing(/npm explore pkcs11js -- npm run build/),
  )
})
