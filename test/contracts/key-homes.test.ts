import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { KMSClient } from "@aws-sdk/client-kms"
import { type KeyAccess, openKey } from "@sealwright/adapters/key-homes"
import { createKmsKeyMaker } from "@sealwright/adapters/kms"
import { openLocalHome } from "@sealwright/adapters/local-keys"
import { clientOptions } from "@sealwright/adapters/sdk"
import { utf8 } from "@sealwright/formats/bytes"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { afterAll, beforeAll, expect, test, vi } from "vitest"
import { type Endpoint, embeddedKms } from "./embedded.ts"
import { CREDENTIALS, REGION } from "./endpoints.ts"

let folder: string
let kms: Endpoint
let access: KeyAccess

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sealwright-homes-"))
  kms = await embeddedKms()
  vi.stubEnv("AWS_ACCESS_KEY_ID", CREDENTIALS.accessKeyId)
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", CREDENTIALS.secretAccessKey)
  const settings = { region: REGION, endpoint: kms.url }
  access = {
    folder: join(folder, "keys"),
    password: async () => "correct horse battery",
    kms: settings,
    pkcs11: undefined,
  }
  await openLocalHome(access).create("release", "held", "ecdsa-p256-sha256")
  const client = new KMSClient(clientOptions(settings))
  await createKmsKeyMaker(client, { stack: "homes" }).create("held/tool", "held", "rsa-pss-sha256")
  client.destroy()
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await kms.close()
  rmSync(folder, { recursive: true })
})

async function signs(uri: string): Promise<string> {
  const { key, keys, close } = await openKey(uri, access)
  const signature = await keys.sign(key, utf8("m"))
  expect(runSync(verifySignature(key.scheme, key.spki, utf8("m"), signature))).toBe(true)
  await close()
  return key.keyId
}

test("R1: a key is opened by its name, wherever it lives", async () => {
  expect(await signs("local:release")).toBe("local:release")
  const path = join(folder, "keys/release.key.pem")
  expect(await signs(`local:${path}`)).toBe(`local:${path}`)
  const elsewhere = join(folder, "moved.pem")
  writeFileSync(elsewhere, readFileSync(path), { mode: 0o600 })
  expect(await signs(`local:${elsewhere}`)).toBe(`local:${elsewhere}`)
  const arn = await signs("awskms:alias/homes/held/tool")
  expect(arn).toMatch(/^arn:aws:kms:eu-central-1:/)
  expect(await signs(`awskms:${arn}`)).toBe(arn)
})

test("a key file signs under its own scheme alone", async () => {
  const { key, keys } = await openKey(`local:${join(folder, "keys/release.key.pem")}`, access)
  await expect(keys.sign({ ...key, scheme: "ecdsa-p384-sha384" }, utf8("m"))).rejects.toMatchObject({
    code: "KEY_NOT_USABLE",
  })
})

test.each([
  ["release", "KEY_HOME_UNKNOWN"],
  ["gcpkms:projects/x", "KEY_HOME_UNKNOWN"],
  ["local:", "KEY_HOME_UNKNOWN"],
  ["local:none", "KEY_UNKNOWN"],
  ["local:../none.pem", "KEY_UNKNOWN"],
  ["awskms:alias/none", "KEY_NOT_USABLE"],
  ["pkcs11:token=none;object=none", "PKCS11_MODULE_MISSING"],
  ["pkcs11:none", "URI_MALFORMED"],
])("%s: %s", async (uri, code) => {
  await expect(openKey(uri, access)).rejects.toMatchObject({ code })
})
