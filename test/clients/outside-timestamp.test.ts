import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type Outcome, run, runOffline, withClients } from "../support/clients.ts"
import {
  type Image,
  profileArguments,
  REPOSITORY,
  readEnvelope,
  startDeployment,
  type TestDeployment,
  writeImage,
} from "./deployment.ts"

const CONFIG = `
[ca]
default_ca = lists
[lists]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 7
crl_extensions = list
[list]
authorityKeyIdentifier = keyid
[tsa]
default_tsa = ours
[ours]
dir = .
serial = serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[stamper]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
`

withClients("R8, R32: another authority's timestamps on our signatures", ["openssl", "notation"], (...paths) => {
  const [openssl = "", notation = ""] = paths
  const folder = mkdtempSync(join(tmpdir(), "sealwright-outside-"))
  let deployment: TestDeployment
  let authority: Server
  let image: Image
  let status = 200

  async function openSsl(...args: readonly string[]): Promise<void> {
    const { status: ended, stderr } = await run(openssl, args, { OPENSSL_CONF: "/dev/null" }, folder)
    if (ended !== 0) throw new Error(`openssl ${args.join(" ")}: ${stderr}`)
  }

  /** A certificate below the root, or the root itself. */
  async function certificate(name: string, section: string, ...by: readonly string[]): Promise<void> {
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", `${name}.key`]
    const subject = ["-subj", `/C=DE/O=Somebody Else/CN=${name}`, "-config", "tsa.cnf", "-extensions", section]
    await openSsl("req", "-x509", ...key, ...subject, "-days", "30", "-sha256", "-out", `${name}.pem`, ...by)
  }

  beforeAll(async () => {
    writeFileSync(join(folder, "tsa.cnf"), `[req]\ndistinguished_name = name\n[name]\n${CONFIG}`)
    writeFileSync(join(folder, "serial"), "01\n")
    writeFileSync(join(folder, "index.txt"), "")
    writeFileSync(join(folder, "crlnumber"), "01\n")
    await certificate("root", "root")
    await certificate("stamper", "stamper", "-CA", "root.pem", "-CAkey", "root.key")
    authority = createServer(async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      writeFileSync(join(folder, "query.tsq"), Buffer.concat(chunks))
      const signer = ["-inkey", "stamper.key", "-signer", "stamper.pem", "-chain", "root.pem"]
      await openSsl("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query.tsq", ...signer, "-out", "reply.tsr")
      response.writeHead(status, { "content-type": "application/timestamp-reply" })
      response.end(readFileSync(join(folder, "reply.tsr")))
    })
    await new Promise<void>((listening) => authority.listen(0, "127.0.0.1", listening))
    const url = `http://127.0.0.1:${(authority.address() as AddressInfo).port}/`

    deployment = await startDeployment()
    const { must, setUp } = deployment
    await setUp()
    await must("admin", "issuer", "create", "ci")
    await must("admin", "timestamp", "outside", "openssl", "--url", url, "--roots", join(folder, "root.pem"))
    await must("admin", ...profileArguments("release", "ci", REPOSITORY, "--timestamp", "outside:openssl"))
    await sleep(1_500)
    image = writeImage(join(deployment.folder, "image"), "outside")
  }, 120_000)

  afterAll(async () => {
    await deployment?.close()
    authority?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const sign = (output: string) =>
    deployment.sealwright(
      ...(["pipeline", "sign", image.path, "--profile", "release", "--reference", `${REPOSITORY}:v1`] as const),
      ...["--output", join(deployment.folder, output)],
    )

  function judge(bundle: string): Promise<Outcome> {
    const args = ["verify", "--debug", "--oci-layout", "--scope", REPOSITORY, `${image.path}@${image.digest}`]
    return runOffline(notation, args, {
      HOME: deployment.folder,
      NOTATION_EXPERIMENTAL: "1",
      XDG_CONFIG_HOME: join(bundle, "notation/config"),
      XDG_CACHE_HOME: join(bundle, "notation/cache"),
    })
  }

  test("an authority that fails gives no signature, and nothing is recorded", async () => {
    status = 500
    expect(await sign("failed.jws")).toMatchObject({ status: 5, answer: { error: { code: "TIMESTAMP_UNAVAILABLE" } } })
    status = 200
    const { signatures } = await deployment.must("auditor", "list", "--digest", image.digest)
    expect(signatures).toEqual([])
  })

  test("notation accepts the signature below the authority's root, and no other one", async () => {
    expect(await sign("stamped.jws")).toMatchObject({ status: 0 })
    readEnvelope(join(deployment.folder, "stamped.jws"))
    const bundle = await deployment.publishAndExport("bundle")
    expect(await judge(bundle)).toMatchObject({ status: 0 })
    const store = join(bundle, "notation/config/notation/truststore/x509/tsa/sealwright-outside-openssl")
    await certificate("strange", "root")
    rmSync(store, { recursive: true })
    mkdirSync(store)
    copyFileSync(join(folder, "strange.pem"), join(store, "strange.pem"))
    expect(await judge(bundle)).toMatchObject({ status: 1, stderr: expect.stringContaining("timestamp") })
  })

  const verdict = async () => {
    const bundle = await deployment.publishAndExport("bundle")
    const { status: ended, answer } = await deployment.sealwright(
      ...(["auditor", "verify", image.path, "--reference", `${REPOSITORY}:v1`] as const),
      ...[
        "--policy",
        join(bundle, "policy/trustpolicy.json"),
        "--bundle",
        bundle,
        "--root",
        "tuf-root.json",
        "--no-state",
      ],
    )
    return { ended, code: answer.code }
  }

  async function importList(): Promise<void> {
    const by = ["-config", "tsa.cnf", "-keyfile", "root.key", "-cert", "root.pem"]
    await openSsl("ca", "-gencrl", ...by, "-out", "list.pem")
    await openSsl("crl", "-in", "list.pem", "-outform", "DER", "-out", "list.crl")
    await deployment.must("admin", "root", "crl", "import", join(folder, "list.crl"))
  }

  test("our verifier accepts it with the authority's CRL, and neither without nor after the authority's revocation", async () => {
    expect(await verdict()).toEqual({ ended: 3, code: "REVOCATION_UNKNOWN" })
    await importList()
    expect(await verdict()).toEqual({ ended: 0, code: "ACCEPTED" })
    await sleep(1_100)
    await openSsl("ca", "-config", "tsa.cnf", "-keyfile", "root.key", "-cert", "root.pem", "-revoke", "stamper.pem")
    await importList()
    expect(await verdict()).toEqual({ ended: 1, code: "TIMESTAMP_AUTHORITY_REVOKED" })
  })
})
