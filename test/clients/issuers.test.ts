import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type Outcome, runOffline, withClients } from "../support/clients.ts"
import { type Image, profileArguments, startDeployment, type TestDeployment, writeImage } from "./deployment.ts"

const accepted = { status: 0, stdout: expect.stringContaining("Successfully verified signature") }
const repositoryOf = (name: string) => `registry.wabbit-networks.io/issuers/${name}`

const EXTENSIONS = `
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[issuer]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
`

withClients(
  "R6, R31, R32: notation and openssl on an issuer below an outside root",
  ["notation", "openssl"],
  (notation) => {
    let deployment: TestDeployment
    let bundle: string
    const images = new Map<string, Image>()

    beforeAll(async () => {
      deployment = await startDeployment()
      const { must, folder } = deployment
      await deployment.setUp()
      await must("admin", "issuer", "create", "own")
      await must("admin", "issuer", "create", "corp", "--external", "--request-out", "corp.csr")
      certifyWithOpenssl(folder)
      await must("admin", "issuer", "activate", "corp", "--chain", "corp.pem", "--chain", "root.pem")
      for (const issuer of ["own", "corp"]) {
        await must("admin", ...profileArguments(issuer, issuer, repositoryOf(issuer)))
        const image = writeImage(join(folder, issuer), issuer)
        images.set(issuer, image)
        await must("pipeline", "sign", image.path, "--profile", issuer, "--reference", `${repositoryOf(issuer)}:v1`)
      }
      bundle = await deployment.publishAndExport("bundle")
    }, 120_000)

    afterAll(() => deployment?.close())

    /** A root with RSA PKCS #1 v1.5 and the certificate of the request, as a company's authority makes them. */
    function certifyWithOpenssl(folder: string): void {
      writeFileSync(join(folder, "extensions.cnf"), EXTENSIONS)
      const openssl = (...args: readonly string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" })
      const subject = ["-subj", "/C=US/O=Wabbit Holding/CN=Wabbit Holding Root"]
      const root = ["-keyout", "root.key", "-nodes", "-out", "root.pem", "-days", "3650", "-sha256"]
      openssl(
        "req",
        "-x509",
        "-newkey",
        "rsa:3072",
        ...root,
        ...subject,
        "-config",
        "/dev/null",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
      )
      const by = ["-CA", "root.pem", "-CAkey", "root.key", "-set_serial", "4711", "-days", "1000", "-sha256"]
      openssl(
        "x509",
        "-req",
        "-in",
        "corp.csr",
        ...by,
        "-extfile",
        "extensions.cnf",
        "-extensions",
        "issuer",
        "-text",
        "-out",
        "corp.pem",
      )
    }

    function verify(name: string, scope: string): Promise<Outcome> {
      const { path, digest } = images.get(name) as Image
      return runOffline(notation, ["verify", "--debug", "--oci-layout", "--scope", scope, `${path}@${digest}`], {
        HOME: deployment.folder,
        NOTATION_EXPERIMENTAL: "1",
        XDG_CONFIG_HOME: join(bundle, "notation/config"),
        XDG_CACHE_HOME: join(bundle, "notation/cache"),
      })
    }

    test("notation accepts what it signed, strict and offline", async () => {
      expect(await verify("corp", repositoryOf("corp"))).toMatchObject(accepted)
      expect(await verify("own", repositoryOf("own"))).toMatchObject(accepted)
    })

    test("each profile is trusted under its own root alone", async () => {
      expect(await verify("corp", repositoryOf("own"))).toMatchObject({
        status: 1,
        stderr: expect.stringContaining("does not contain any trusted certificate"),
      })
    })

    test("our verifier accepts it with the exported policy", async () => {
      const { path } = images.get("corp") as Image
      const policy = [
        "--policy",
        join(bundle, "policy/trustpolicy.json"),
        "--bundle",
        bundle,
        "--root",
        "tuf-root.json",
      ]
      const reference = ["--reference", `${repositoryOf("corp")}:v1`]
      expect(await deployment.sealwright("operator", "verify", path, ...reference, ...policy)).toMatchObject({
        status: 0,
      })
    })

    test("R24: once the issuer is revoked, nobody accepts it", async () => {
      await deployment.must("revoker", "revoke", "--issuer", "corp", "--reason", "cACompromise")
      bundle = await deployment.publishAndExport("revoked")
      const { path } = images.get("corp") as Image
      const policy = [
        "--policy",
        join(bundle, "policy/trustpolicy.json"),
        "--bundle",
        bundle,
        "--root",
        "tuf-root.json",
      ]
      const reference = ["--reference", `${repositoryOf("corp")}:v1`]
      const { status, answer } = await deployment.sealwright("operator", "verify", path, ...reference, ...policy)
      expect({ status, code: answer.code }).toEqual({ status: 1, code: "CERTIFICATE_REVOKED" })
      expect(await verify("own", repositoryOf("own"))).toMatchObject(accepted)
    })
  },
)
