import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pemEncode } from "@sealwright/formats/pem"
import { afterAll, beforeAll, expect, test } from "vitest"
import { run, withClients } from "../support/clients.ts"
import {
  profileArguments,
  REPOSITORY,
  readEnvelope,
  startDeployment,
  type TestDeployment,
  writeImage,
} from "./deployment.ts"

const ALGORITHMS = ["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha384"] as const

withClients("R24, R32: openssl checks exported certificates and CRLs", ["openssl"], (openssl) => {
  let deployment: TestDeployment
  let lists: string

  beforeAll(async () => {
    deployment = await startDeployment()
    await deployment.setUp()
    for (const algorithm of ALGORITHMS) {
      await deployment.must("admin", "issuer", "create", algorithm, "--algorithm", algorithm)
      await deployment.must(
        "admin",
        ...profileArguments(`p-${algorithm}`, algorithm, REPOSITORY, "--algorithm", algorithm),
      )
      for (const fate of ["good", "bad"]) {
        const { path } = writeImage(join(deployment.folder, `${algorithm}-${fate}`), `${algorithm} ${fate}`)
        const output = join(deployment.folder, `${algorithm}-${fate}.jws`)
        const request = [
          "sign",
          path,
          "--profile",
          `p-${algorithm}`,
          "--reference",
          `${REPOSITORY}:v1`,
          "--output",
          output,
        ]
        const { signature } = await deployment.must("pipeline", ...request)
        if (fate === "bad")
          await deployment.must("revoker", "revoke", "--signature", signature.id, "--reason", "keyCompromise")
        for (const [i, name] of ["leaf", "issuing", "root"].entries())
          writeFileSync(
            join(deployment.folder, `${algorithm}-${fate}.${name}.pem`),
            pemEncode("CERTIFICATE", Buffer.from(readEnvelope(output).header.x5c[i] ?? "", "base64")),
          )
      }
    }
    lists = await deployment.publishAndExport("bundle")
  }, 200_000)

  afterAll(() => deployment?.close())

  const command = (...args: readonly string[]) => run(openssl, args, {}, deployment.folder)

  /** The seeded CRL that a certificate's distribution point names, as a file of its own. */
  async function crlFor(certificate: string, target: string): Promise<string> {
    const { stdout } = await command("x509", "-in", certificate, "-noout", "-ext", "crlDistributionPoints")
    const url = /URI:(\S+)/.exec(stdout)?.[1] ?? ""
    expect(url).toMatch(/^http:\/\//)
    const seeded = join(lists, "notation/cache/notation/crl", createHash("sha256").update(url).digest("hex"))
    const { baseCRL } = JSON.parse(readFileSync(seeded, "utf8"))
    writeFileSync(join(deployment.folder, target), pemEncode("X509 CRL", Buffer.from(baseCRL, "base64")))
    return target
  }

  test.each(ALGORITHMS)(
    "%s: the good leaf verifies under both lists, the revoked one is error 23",
    async (algorithm) => {
      const file = (fate: string, name: string) => `${algorithm}-${fate}.${name}.pem`
      const leafList = await crlFor(file("good", "leaf"), `${algorithm}.leaf.crl`)
      const rootList = await crlFor(file("good", "issuing"), `${algorithm}.issuing.crl`)
      const anchors = ["-x509_strict", "-CAfile", file("good", "root"), "-untrusted", file("good", "issuing")]
      const checks = ["-crl_check_all", "-CRLfile", leafList, "-CRLfile", rootList]
      const verify = (fate: string) => command("verify", ...anchors, ...checks, file(fate, "leaf"))
      expect(await verify("good")).toMatchObject({ status: 0, stdout: `${file("good", "leaf")}: OK\n` })
      expect(await verify("bad")).toMatchObject({
        status: 2,
        stderr: expect.stringContaining("error 23 at 0 depth lookup: certificate revoked"),
      })
    },
  )

  test.each(ALGORITHMS)("%s: each list is its issuer's, in force, and numbered", async (algorithm) => {
    const root = `${algorithm}-good.root.pem`
    const issuing = `${algorithm}-good.issuing.pem`
    for (const [certificate, issuer] of [
      [`${algorithm}-good.leaf.pem`, issuing],
      [issuing, root],
    ] as const) {
      const list = await crlFor(certificate, "one.crl")
      const own = await command("crl", "-in", list, "-noout", "-text", "-CAfile", issuer)
      expect(own).toMatchObject({
        status: 0,
        stderr: "verify OK\n",
        stdout: expect.stringContaining("X509v3 CRL Number"),
      })
      const dates = /Last Update: (.*)\n\s+Next Update: (.*)\n/.exec(own.stdout)
      expect(Date.parse(dates?.[1] ?? "")).toBeLessThanOrEqual(Date.now())
      expect(Date.parse(dates?.[2] ?? "")).toBeGreaterThan(Date.now())
    }
  })
})
