import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { pemDecode } from "@sealwright/formats/pem"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type Outcome, runOffline, withClients } from "../support/clients.ts"
import { type Image, profileArguments, startDeployment, type TestDeployment, writeImage } from "./deployment.ts"

const accepted = { status: 0, stdout: expect.stringContaining("Successfully verified signature") }
const repositoryOf = (name: string) => `registry.wabbit-networks.io/issuers/${name}`

const EXTENSIONS = `
[issuer]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
`

withClients(
  "R6, R31, R32: notation and openssl on issuers, their rotation among it",
  ["notation", "openssl"],
  (notation) => {
    let deployment: TestDeployment
    let bundle: string
    let policy: string
    const images = new Map<string, Image>()

    beforeAll(async () => {
      deployment = await startDeployment()
      const { must, folder } = deployment
      await deployment.setUp()
      await must("admin", "issuer", "create", "own")
      await must("admin", "issuer", "create", "corp", "--external", "--request-out", "corp.csr")
      makeRoot(folder)
      certifyRequest(folder, "4711")
      await must("admin", "issuer", "activate", "corp", "--chain", "corp.pem", "--chain", "root.pem")
      for (const issuer of ["own", "corp"]) {
        await must("admin", ...profileArguments(issuer, issuer, repositoryOf(issuer)))
        await sign(issuer, issuer)
      }
      bundle = await deployment.publishAndExport("bundle")
      policy = join(bundle, "policy/trustpolicy.json")
    }, 120_000)

    afterAll(() => deployment?.close())

    const sign = (name: string, profile: string) => signAs(name, profile, profile)

    async function signAs(name: string, profile: string, repository: string): Promise<void> {
      const image = writeImage(join(deployment.folder, name), name)
      images.set(name, image)
      const reference = `${repositoryOf(repository)}:v1`
      await deployment.must("pipeline", "sign", image.path, "--profile", profile, "--reference", reference)
    }

    function byNotation(name: string, repository: string): Promise<Outcome> {
      const { path, digest } = images.get(name) as Image
      const scope = repositoryOf(repository)
      return runOffline(notation, ["verify", "--debug", "--oci-layout", "--scope", scope, `${path}@${digest}`], {
        HOME: deployment.folder,
        NOTATION_EXPERIMENTAL: "1",
        XDG_CONFIG_HOME: join(bundle, "notation/config"),
        XDG_CACHE_HOME: join(bundle, "notation/cache"),
      })
    }

    /** By the policy of the first export, which the deployer has kept since. */
    async function byUs(name: string, repository: string): Promise<readonly [number, string]> {
      const { path } = images.get(name) as Image
      const trust = ["--policy", policy, "--bundle", bundle, "--root", "tuf-root.json"]
      const reference = ["--reference", `${repositoryOf(repository)}:v1`]
      const { status, answer } = await deployment.sealwright("operator", "verify", path, ...reference, ...trust)
      return [status, answer.code]
    }

    test("what an issuer below an outside root signed is accepted, strict and offline", async () => {
      for (const name of ["own", "corp"]) {
        expect(await byNotation(name, name)).toMatchObject(accepted)
        expect(await byUs(name, name)).toEqual([0, "ACCEPTED"])
      }
    })

    test("notation trusts each profile under its own root alone", async () => {
      const stderr = expect.stringContaining("does not contain any trusted certificate")
      expect(await byNotation("corp", "own")).toMatchObject({ status: 1, stderr })
    })

    test("R16: signatures from before and after rotations are good, and the deployer's policy is the old one", async () => {
      const { must, folder } = deployment
      await must("admin", "issuer", "rotate", "own")
      const { issuer } = await must("admin", "issuer", "rotate", "corp")
      writeFileSync(join(folder, "corp.csr"), issuer.request)
      certifyRequest(folder, "4712")
      await must("admin", "issuer", "activate", "corp", "--chain", "corp.pem", "--chain", "root.pem")
      await must("admin", "publish")
      for (const name of ["own", "corp"]) {
        await must("admin", "issuer", "rotate", name, "--activate")
        await sign(`${name}-second`, name)
      }
      await must("admin", "profile", "rotate", "own", "--issuer", "corp")
      await sign("own-third", "own")
      bundle = await deployment.publishAndExport("rotated")
      for (const name of ["own", "own-second", "own-third", "corp", "corp-second"]) {
        const [repository = ""] = name.split("-")
        expect([name, await byNotation(name, repository)]).toMatchObject([name, accepted])
        expect([name, await byUs(name, repository)]).toEqual([name, [0, "ACCEPTED"]])
      }
    }, 120_000)

    test("R17: a new root is accepted by hand where the bundle is trusted by its address, and the old one retires", async () => {
      const { must, sealwright, folder, service } = deployment
      const address = { trustPolicy: { trustStore: [{ trustedRoots: [{ root: `${service.trustUrl}/tuf` }] }] } }
      writeFileSync(join(folder, "by-address.json"), JSON.stringify(address))
      const trust = ["--bundle", "mirrored", "--root", "tuf-root.json", "--state", "mirrored.state"]
      const mirror = () =>
        must("operator", "mirror", "mirrored", ...trust.slice(2), "--from", `${service.trustUrl}/tuf`)
      const byAddress = async (name: string) => {
        const reference = ["--reference", `${repositoryOf("root")}:v1`, "--policy", "by-address.json"]
        const { status, answer } = await sealwright("operator", "verify", join(folder, name), ...reference, ...trust)
        return [status, answer.code]
      }
      await must("admin", ...profileArguments("root-test", "own", repositoryOf("root")))
      await signAs("root-before", "root-test", "root")
      await must("admin", "publish")
      await mirror()
      expect(await byAddress("root-before")).toEqual([0, "ACCEPTED"])

      const rotated = await must("admin", "root", "rotate")
      await must("admin", "issuer", "rotate", "own")
      await must("admin", "publish")
      await must("admin", "issuer", "rotate", "own", "--activate")
      await signAs("root-after", "root-test", "root")
      bundle = await deployment.publishAndExport("new-root")
      expect(await byNotation("root-before", "root")).toMatchObject(accepted)
      expect(await byNotation("root-after", "root")).toMatchObject(accepted)
      await mirror()
      expect(await byAddress("root-before")).toEqual([0, "ACCEPTED"])
      expect(await byAddress("root-after")).toEqual([3, "ROOT_NOT_ACCEPTED"])
      const { roots } = await must("operator", "trust", "roots", ...trust)
      const waiting = roots.filter((root: { accepted: boolean }) => !root.accepted)
      expect(waiting).toHaveLength(1)
      expect(await sealwright("operator", "trust", "accept-root", "0".repeat(64), ...trust)).toMatchObject({
        status: 1,
      })
      await must("operator", "trust", "accept-root", waiting[0].sha256, ...trust)
      expect(await byAddress("root-after")).toEqual([0, "ACCEPTED"])

      const [old] = rotated.deployment.formerRoots
      await must(
        "admin",
        "root",
        "retire",
        createHash("sha256").update(pemDecode("CERTIFICATE", old.certificate)).digest("hex"),
      )
      await must("admin", "publish")
      await mirror()
      expect(await byAddress("root-before")).toEqual([1, "CHAIN_NOT_TRUSTED"])
      expect(await byAddress("root-after")).toEqual([0, "ACCEPTED"])
    }, 120_000)

    test("R24: once an issuer is revoked, nothing that it signed is accepted", async () => {
      await deployment.must("revoker", "revoke", "--issuer", "corp", "--reason", "cACompromise")
      bundle = await deployment.publishAndExport("revoked")
      expect(await byUs("corp-second", "corp")).toEqual([1, "CERTIFICATE_REVOKED"])
      expect(await byUs("corp", "corp")).toEqual([0, "ACCEPTED"])
      expect(await byNotation("root-after", "root")).toMatchObject(accepted)
    })
  },
)

function openssl(folder: string, ...args: readonly string[]): void {
  execFileSync("openssl", args, { cwd: folder, stdio: "pipe" })
}

/** RSA PKCS #1 v1.5, as companies have it. */
function makeRoot(folder: string): void {
  writeFileSync(join(folder, "extensions.cnf"), EXTENSIONS)
  const made = ["-keyout", "root.key", "-nodes", "-out", "root.pem", "-days", "3650", "-sha256"]
  const named = ["-subj", "/C=US/O=Wabbit Holding/CN=Wabbit Holding Root", "-config", "/dev/null"]
  const extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
  const added = extensions.flatMap((extension) => ["-addext", extension])
  openssl(folder, "req", "-x509", "-newkey", "rsa:3072", ...made, ...named, ...added)
}

function certifyRequest(folder: string, serial: string): void {
  const by = ["-CA", "root.pem", "-CAkey", "root.key", "-set_serial", serial, "-days", "1000", "-sha256"]
  const extensions = ["-extfile", "extensions.cnf", "-extensions", "issuer"]
  openssl(folder, "x509", "-req", "-in", "corp.csr", ...by, ...extensions, "-text", "-out", "corp.pem")
}
