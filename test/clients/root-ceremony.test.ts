import { X509Certificate } from "node:crypto"
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { delimiter, join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type Outcome, PROJECT, run, runOffline, withClients } from "../support/clients.ts"
import { openSoftHsm, PACKAGE_FOLDER, PIN, type SoftHsm } from "../support/softhsm.ts"
import {
  type Image,
  profileArguments,
  REGION,
  REPOSITORY,
  startDeployment,
  type TestDeployment,
  writeImage,
} from "./deployment.ts"

/**
 * docs/root-ceremony.md, command by command, as it is written. Two things are added where a person would stand: `--yes` where participants are asked,
 * and the source of a password or PIN that would be typed. The deployment's CRL host stands in the place of the document's.
 */
const BLOCKS = [...readFileSync(join(PROJECT, "docs/root-ceremony.md"), "utf8").matchAll(/^```sh\n(.*?)^```$/gms)].map(
  ([, block = ""]) => block,
)
const ASKING = /^(sealwright root ceremony (?!.*--yes).*)$/gm
const refused = { status: 1, stderr: expect.stringContaining("revoked") }

withClients("R5, R24, R26, R32: a root that is kept offline", ["notation", "openssl"], (notation) => {
  let deployment: TestDeployment
  let image: Image
  let bundle = ""
  const done: string[] = []

  beforeAll(async () => {
    deployment = await startDeployment()
    await deployment.setUp()
    const command = join(deployment.folder, "bin/sealwright")
    mkdirSync(join(deployment.folder, "bin"))
    writeFileSync(command, `#!/bin/sh\nexec "${process.execPath}" "${PROJECT}/packages/cli/src/main.ts" "$@"\n`)
    chmodSync(command, 0o755)
    image = writeImage(join(deployment.folder, "image"), "offline root")
  }, 60_000)

  afterAll(() => deployment?.close())

  async function shell(block: string, environment: { readonly [name: string]: string } = {}): Promise<Outcome> {
    const { folder, service } = deployment
    const keys = service.keys.admin
    return await run(
      "bash",
      ["--norc", "-euo", "pipefail", "-c", block],
      {
        HOME: folder,
        PATH: [join(folder, "bin"), process.env.PATH].join(delimiter),
        SEALWRIGHT_ENDPOINT: service.apiUrl,
        AWS_REGION: REGION,
        AWS_ACCESS_KEY_ID: keys?.accessKeyId ?? "",
        AWS_SECRET_ACCESS_KEY: keys?.secretAccessKey ?? "",
        ROOT_PASSWORD: "correct horse battery",
        ...environment,
      },
      folder,
    )
  }

  /** The document's next block, which must be the one that has `expected` in it. */
  async function next(expected: string): Promise<string> {
    const block = BLOCKS[done.length] ?? ""
    expect(block).toContain(expected)
    done.push(block)
    const { host } = new URL(deployment.service.trustUrl)
    const typed = block
      .replaceAll("crl.wabbit-networks.io", host)
      .replace(ASKING, "$1 --yes --password-source env:ROOT_PASSWORD")
    const { status, stdout, stderr } = await shell(typed)
    if (status !== 0) throw new Error(`${block}\nexit ${status}: ${stdout}${stderr}`)
    return stdout
  }

  function byNotation(): Promise<Outcome> {
    return runOffline(
      notation,
      ["verify", "--debug", "--oci-layout", "--scope", REPOSITORY, `${image.path}@${image.digest}`],
      {
        HOME: deployment.folder,
        NOTATION_EXPERIMENTAL: "1",
        XDG_CONFIG_HOME: join(bundle, "notation/config"),
        XDG_CACHE_HOME: join(bundle, "notation/cache"),
      },
    )
  }

  async function byUs(): Promise<readonly [number, string]> {
    const trust = ["--policy", join(bundle, "policy/trustpolicy.json"), "--bundle", bundle, "--root", "tuf-root.json"]
    const args = [image.path, "--reference", `${REPOSITORY}:v1`, ...trust, "--no-state"]
    const { status, answer } = await deployment.sealwright("operator", "verify", ...args)
    return [status, answer.code]
  }

  test("the document's ceremony, from the request to the transcript that openssl verifies", async () => {
    expect(await next("issuer create")).toMatch(/^[0-9a-f]{64} {2}ci-corp\.csr$/m)
    await next("ceremony.json <<")
    expect(await next("--rehearse")).toContain("CN=ci-corp issuing CA REHEARSAL")
    await next("--transcript ceremony-1.txt")
    expect(await next("openssl dgst")).toContain("Verified OK")
    const tampered =
      "sed -i 's/Grace/Grave/' signed.txt; openssl dgst -sha384 -verify root.pub -signature signed.sig signed.txt"
    expect(await shell(tampered)).toMatchObject({ status: 1, stdout: expect.stringContaining("erification") })
    await next("safe-2/")
  }, 120_000)

  test("openssl takes the root's certificate, chain and CRL", async () => {
    const judge = [
      "openssl verify -x509_strict -CAfile out/root.pem out/ci-corp.chain.pem",
      "openssl crl -inform DER -in out/crl-1.crl -CAfile out/root.pem -noout",
      "openssl crl -inform DER -in out/crl-1.crl -out crl-1.pem",
      "openssl verify -crl_check -CRLfile crl-1.pem -CAfile out/root.pem out/ci-corp.chain.pem",
    ]
    const { status, stdout, stderr } = await shell(["cd corporate-root", ...judge].join("\n"))
    expect([status, stderr.trim()], stdout).toEqual([0, "verify OK"])
  })

  test("an issuer below it is accepted by notation, strict and without a network, from the exported cache alone", async () => {
    const { must } = deployment
    const chain = "corporate-root/out/ci-corp.chain.pem"
    await must("admin", "issuer", "activate", "ci-corp", "--chain", chain)
    await must("admin", ...profileArguments("release", "ci-corp", REPOSITORY))
    await must("pipeline", "sign", image.path, "--profile", "release", "--reference", `${REPOSITORY}:v1`)
    bundle = await deployment.publishAndExport("without-crl")
    expect((await byNotation()).status).toBe(1)
    await next("issuer activate")
    bundle = await deployment.publishAndExport("with-crl")
    expect(await byNotation()).toMatchObject({ status: 0, stdout: expect.stringContaining("Successfully verified") })
    expect(await byUs()).toEqual([0, "ACCEPTED"])
    const { expiries } = await must("auditor", "status")
    const root = new X509Certificate(readFileSync(join(deployment.folder, "corporate-root/out/root.pem")))
    expect(root.ca).toBe(true)
    expect(expiries.map(({ name }: { name: string }) => name)).toContainEqual(expect.stringMatching(/^outside-crl\//))
  }, 120_000)

  test("R24: revoked by the root, it is refused by notation and by us, offline", async () => {
    await next("second.json <<")
    await deployment.must("admin", "root", "crl", "import", "corporate-root/out/crl-2.crl")
    bundle = await deployment.publishAndExport("revoked-by-crl")
    expect(await byNotation()).toMatchObject(refused)
    expect(await byUs()).toEqual([1, "CERTIFICATE_REVOKED"])
    const back = await deployment.sealwright("admin", "root", "crl", "import", "corporate-root/out/crl-1.crl")
    expect(back).toMatchObject({ status: 1, answer: { error: { code: "OUTSIDE_CRL_OLDER" } } })
    expect(await next("revoke --issuer")).toContain("REVOKED by it: issuer ci-corp")
    bundle = await deployment.publishAndExport("revoked")
    expect(await byNotation()).toMatchObject(refused)
    expect(await byUs()).toEqual([1, "CERTIFICATE_REVOKED"])
  }, 120_000)

  test("what is left of the document is its token, which a test of its own holds", () => {
    expect(BLOCKS.slice(done.length)).toEqual([expect.stringContaining("--module ")])
  })

  withClients("R1: its key on a token", ["softhsm", "graphene-pk11"], (library) => {
    let hsm: SoftHsm

    beforeAll(async () => {
      hsm = openSoftHsm(library)
      await hsm.addToken("ROOT")
    })

    afterAll(() => hsm?.close())

    test("the document's block, with SoftHSM where its package is", async () => {
      const block = (BLOCKS.at(-1) ?? "")
        .replace("/usr/lib/softhsm/libsofthsm2.so", library)
        .replace(ASKING, `$1 --yes --graphene ${PACKAGE_FOLDER} --pin-source env:ROOT_PIN`)
      const environment = { ROOT_PIN: PIN, SOFTHSM2_CONF: process.env.SOFTHSM2_CONF ?? "" }
      const made = await shell(block, environment)
      expect(made.status, made.stdout + made.stderr).toBe(0)
      const judge = "openssl verify -x509_strict -CAfile token-root/out/root.pem token-root/out/ci-corp.chain.pem"
      expect(await shell(judge)).toMatchObject({ status: 0 })
      const again = await shell(block.replace("token.txt", "token-2.txt"), environment)
      expect([again.status, again.stdout.match(/done before/g)?.length]).toEqual([0, 3])
      expect(made.stdout).not.toContain(PIN)
    }, 60_000)
  })
})
