import { createHash } from "node:crypto"
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { type Outcome, run, withClients } from "../support/clients.ts"
import { REPOSITORY, startAuthority, type TestDeployment, writeImage } from "./deployment.ts"

const POLICY = "1.2.840.113556.1.8000.2554.6102.11502.31703.19761.46538.5871777.6203004"

withClients(
  "R8, R32: stock clients ask for timestamps and verify them",
  ["openssl", "curl", "notation"],
  (...paths) => {
    const [openssl = "", curl = "", notation = ""] = paths

    describe.each(["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pkcs1-sha384"])("%s", (algorithm) => {
      let deployment: TestDeployment
      let image: ReturnType<typeof writeImage>

      beforeAll(async () => {
        deployment = await startAuthority(algorithm)
        writeFileSync(join(deployment.folder, "data"), "what was there")
        writeFileSync(join(deployment.folder, "other"), "something else")
        image = writeImage(join(deployment.folder, "image"), algorithm)
      }, 120_000)

      afterAll(() => deployment?.close())

      const command = (path: string, ...args: readonly string[]) => run(path, args, {}, deployment.folder)
      const ask = (query: string, reply: string) =>
        command(
          curl,
          ...["-sS", "-o", reply, "-w", "%{http_code} %{content_type}", "--data-binary", `@${query}`],
          ...["-H", "Content-Type: application/timestamp-query", deployment.service.timestampUrl],
        )
      const opensslVerify = (...args: readonly string[]) =>
        command(openssl, "ts", "-verify", ...args, "-CAfile", "root.pem")

      test("openssl: query, reply, verify, with every digest of SHA-2", async () => {
        for (const hash of ["sha256", "sha384", "sha512"]) {
          await command(openssl, "ts", "-query", "-data", "data", `-${hash}`, "-cert", "-out", `${hash}.tsq`)
          const { stdout } = await ask(`${hash}.tsq`, `${hash}.tsr`)
          expect(stdout).toBe("200 application/timestamp-reply")
          const good = { status: 0, stdout: expect.stringContaining("Verification: OK") }
          expect(await opensslVerify("-queryfile", `${hash}.tsq`, "-in", `${hash}.tsr`)).toMatchObject(good)
          expect(await opensslVerify("-data", "data", "-in", `${hash}.tsr`)).toMatchObject(good)
          expect(await opensslVerify("-data", "other", "-in", `${hash}.tsr`)).toMatchObject({
            status: 1,
            stderr: expect.stringContaining("message imprint mismatch"),
          })
        }
        const { stdout } = await command(openssl, "ts", "-reply", "-in", "sha256.tsr", "-text")
        expect(stdout).toContain(`Policy OID: ${POLICY}`)
        expect(stdout).toContain("Accuracy: 0x01 seconds")
      })

      test("openssl: a changed token, and another root", async () => {
        await command(openssl, "ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "t.tsq")
        await ask("t.tsq", "t.tsr")
        const bytes = readFileSync(join(deployment.folder, "t.tsr"))
        const at = bytes.length - 20
        bytes[at] = (bytes[at] as number) ^ 1
        writeFileSync(join(deployment.folder, "tampered.tsr"), bytes)
        expect(await opensslVerify("-queryfile", "t.tsq", "-in", "tampered.tsr")).toMatchObject({ status: 1 })
        const make = [
          "req",
          "-x509",
          "-newkey",
          "ec",
          "-pkeyopt",
          "ec_paramgen_curve:P-256",
          "-nodes",
          "-keyout",
          "k.pem",
        ]
        await command(openssl, ...make, "-out", "strange.pem", "-subj", "/CN=strange", "-days", "2")
        const strange = ["ts", "-verify", "-queryfile", "t.tsq", "-in", "t.tsr", "-CAfile", "strange.pem"]
        expect(await command(openssl, ...strange)).toMatchObject({ status: 1 })
      })

      test("openssl reads why there is no token: policy, SHA-1, no request at all", async () => {
        const rejected = async (...query: readonly string[]) => {
          await command(openssl, "ts", "-query", "-data", "data", ...query, "-out", "r.tsq")
          await ask("r.tsq", "r.tsr")
          return (await command(openssl, "ts", "-reply", "-in", "r.tsr", "-text")).stdout
        }
        expect(await rejected("-sha256", "-tspolicy", "1.2.3")).toContain("policy is not supported")
        expect(await rejected("-sha1")).toContain("unrecognized or unsupported algorithm identifier")
        await ask("data", "n.tsr")
        const { stdout } = await command(openssl, "ts", "-reply", "-in", "n.tsr", "-text")
        expect(stdout).toContain("the data submitted has the wrong format")
      })

      test("the open port answers timestamps alone; the API wants a signature", async () => {
        const { apiUrl, timestampUrl } = deployment.service
        const status = async (url: string) => {
          const options = ["-sS", "-o", "x", "-w", "%{http_code}", "--data-binary", "@data"]
          const type = ["-H", "Content-Type: application/timestamp-query"]
          return (await command(curl, ...options, ...type, url)).stdout
        }
        expect(await status(`${apiUrl}/v1/timestamp`)).toBe("403")
        expect(await status(timestampUrl.replace("/v1/timestamp", "/v1/profiles"))).toBe("404")
        expect(await status(timestampUrl.replace("/v1/timestamp", "/v1/timestamp-authority"))).toBe("404")
      })

      test("our own command: over IAM and over the open port, verified by itself and by openssl", async () => {
        const { must, sealwright } = deployment
        await must("pipeline", "timestamp", "data", "--out", "iam.tsr")
        await must("operator", "timestamp", "data", "--out", "open.tsr", "--url", deployment.service.timestampUrl)
        for (const file of ["iam.tsr", "open.tsr", "sha512.tsr"]) {
          const verify = (data: string) =>
            sealwright("operator", "timestamp", "verify", data, "--in", file, "--root", "root.pem")
          expect(await verify("data")).toMatchObject({ status: 0, answer: { verdict: "accepted", policy: POLICY } })
          expect(await verify("other")).toMatchObject({ status: 1, answer: { code: "TIMESTAMP_IMPRINT_MISMATCH" } })
          expect(await opensslVerify("-data", "data", "-in", file)).toMatchObject({ status: 0 })
        }
        const digest = `sha256:${createHash("sha256").update("what was there").digest("hex")}`
        await must("pipeline", "timestamp", "--digest", digest, "--out", "digest.tsr")
        expect(await opensslVerify("-data", "data", "-in", "digest.tsr")).toMatchObject({ status: 0 })
        const denied = await sealwright("revoker", "timestamp", "data", "--out", "denied.tsr")
        expect(denied.status).toBe(4)
      })

      describe("notation", () => {
        const environment = () => ({
          HOME: deployment.folder,
          NOTATION_EXPERIMENTAL: "1",
          XDG_CONFIG_HOME: join(deployment.folder, "config"),
          XDG_CACHE_HOME: join(deployment.folder, "cache"),
        })
        const call = (...args: readonly string[]): Promise<Outcome> =>
          run(notation, args, environment(), deployment.folder)

        test("sign --timestamp-url takes our token, and verify trusts it by its root", async () => {
          expect(await call("cert", "generate-test", "--default", "wabbit")).toMatchObject({ status: 0 })
          // The token's time less its accuracy must lie within the new certificate's validity.
          await sleep(2_100)
          const target = `${image.path}@${image.digest}`
          const signed = await call(
            ...["sign", "--debug", "--oci-layout", "--signature-format", "jws"],
            ...["--timestamp-url", deployment.service.timestampUrl, "--timestamp-root-cert", "root.pem", target],
          )
          expect(signed).toMatchObject({ status: 0 })
          const store = join(deployment.folder, "config/notation/truststore/x509/tsa/sealwright")
          mkdirSync(store, { recursive: true })
          cpSync(join(deployment.folder, "root.pem"), join(store, "root.pem"))
          writeFileSync(
            join(deployment.folder, "config/notation/trustpolicy.json"),
            JSON.stringify({
              version: "1.0",
              trustPolicies: [
                {
                  name: "all",
                  registryScopes: [REPOSITORY],
                  signatureVerification: { level: "strict" },
                  trustStores: ["ca:wabbit", "tsa:sealwright"],
                  trustedIdentities: ["*"],
                },
              ],
            }),
          )
          const verify = ["verify", "--debug", "--oci-layout", "--scope", REPOSITORY, target]
          const verified = await call(...verify)
          expect(verified).toMatchObject({ status: 0, stdout: expect.stringContaining("Successfully verified") })
          expect(verified.stderr).toMatch(/timestamp/i)
        })

        test("sign refuses our token under another root", async () => {
          const target = `${image.path}@${image.digest}`
          const url = ["--timestamp-url", deployment.service.timestampUrl, "--timestamp-root-cert", "strange.pem"]
          expect(await call("sign", "--oci-layout", ...url, target)).toMatchObject({ status: 1 })
        })
      })
    })
  },
)
