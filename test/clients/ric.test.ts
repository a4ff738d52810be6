import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { openPkcs11Home } from "@sealwright/adapters/pkcs11/home"
import { afterAll, beforeAll, expect, test } from "vitest"
import { startService } from "../../localstack/service.ts"
import { withClients } from "../support/clients.ts"
import { openSoftHsm, PACKAGE_FOLDER, PIN, type SoftHsm } from "../support/softhsm.ts"
import { deploymentOf, profileArguments, REPOSITORY, type TestDeployment, writeImage } from "./deployment.ts"

const TOKEN = "hsm1"
/** As the stack of `keyHome: cloudHsm` gives it: who may use keys on the token. */
const ON_TOKEN = new Set(["sign", "admin", "crl"])

withClients(
  "R1, D12: the functions' bundles under AWS's own runtime interface client, with keys in SoftHSM",
  ["ric", "softhsm", "graphene-pk11"],
  (ric, library) => {
    let hsm: SoftHsm
    let deployment: TestDeployment
    const lines: string[] = []

    beforeAll(async () => {
      hsm = openSoftHsm(library)
      await hsm.addToken(TOKEN)
      const folder = mkdtempSync(join(tmpdir(), "sealwright-ric-"))
      const token = {
        SEALWRIGHT_PKCS11_MODULE: library,
        SEALWRIGHT_PKCS11_PACKAGES: PACKAGE_FOLDER,
        SEALWRIGHT_PKCS11_TOKEN: TOKEN,
        SEALWRIGHT_PKCS11_PIN: "env:TOKEN_PIN",
        TOKEN_PIN: PIN,
        SOFTHSM2_CONF: process.env.SOFTHSM2_CONF ?? "",
      }
      const service = await startService({
        folder: join(folder, "service"),
        apiPort: 0,
        trustPort: 0,
        log: (line) => void lines.push(line),
        schedule: false,
        runtimeClient: join(dirname(ric), "index.mjs"),
        settingsOf: (name) => (ON_TOKEN.has(name) ? token : {}),
      })
      deployment = deploymentOf(folder, service)
      await deployment.setUp()
    }, 60_000)

    afterAll(async () => {
      await deployment?.close()
      hsm?.close()
    })

    test("signs with a key that the token keeps, records it, and our verifier takes it offline", async () => {
      const { must, sealwright, folder } = deployment
      await must("admin", "issuer", "create", "ci")
      await must("admin", ...profileArguments("release", "ci", REPOSITORY))
      await must("admin", ...profileArguments("held", "ci", `${REPOSITORY}/held`, "--key-mode", "held"))
      for (const [profile, repository] of [
        ["release", REPOSITORY],
        ["held", `${REPOSITORY}/held`],
      ] as const) {
        const { path, digest } = writeImage(join(folder, profile), profile)
        const reference = `${repository}:v1`
        await must("pipeline", "sign", path, "--profile", profile, "--reference", reference)
        const { signatures } = await must("auditor", "list", "--digest", digest)
        expect(signatures).toMatchObject([{ profile, keyMode: profile === "held" ? "held" : "ephemeral" }])
        const bundle = await deployment.publishAndExport(`bundle-${profile}`)
        const trust = [
          "--policy",
          join(bundle, "policy/trustpolicy.json"),
          "--bundle",
          bundle,
          "--root",
          "tuf-root.json",
        ]
        const verdict = await sealwright("operator", "verify", path, "--reference", reference, ...trust, "--no-state")
        expect(verdict).toMatchObject({ status: 0, answer: { code: "ACCEPTED" } })
      }
      expect(lines.filter((line) => line.includes(PIN))).toEqual([])
    }, 120_000)

    test("the token has root, issuer and held key; a refusal comes through the client as it is", async () => {
      const home = await openPkcs11Home({
        module: library,
        packageFolder: PACKAGE_FOLDER,
        tokenLabel: TOKEN,
        pin: async () => PIN,
        sessions: 1,
      })
      const names = (await home.list().finally(() => home.close())).map(({ name }) => name)
      expect(names.map((name) => name.split("/")[0]).sort()).toEqual(["held", "issuer", "root"])
      const asked = ["sign", "tuf-root.json", "--profile", "none", "--reference", `${REPOSITORY}:v1`]
      const { answer } = await deployment.sealwright("pipeline", ...asked)
      expect(answer.error.code).toMatch(/^(?:PROFILE_UNKNOWN|HTTP_403)$/)
    }, 60_000)
  },
)
