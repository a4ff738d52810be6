import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openPkcs11Home } from "@sealwright/adapters/pkcs11/home"
import { attachSignature } from "sealwright/layout"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { type Outcome, PROJECT, run, runOffline, withClients } from "../support/clients.ts"
import { type OpensslCa, opensslCa } from "../support/openssl-ca.ts"
import { openSoftHsm, PACKAGE_FOLDER, PIN, type SoftHsm } from "../support/softhsm.ts"
import { type Answer, type Envelope, writeImage } from "./deployment.ts"

const PASSWORD = "correct horse battery"
const REPOSITORY = "registry.wabbit-networks.io/net-monitor"
const NAME = [
  "--country",
  "US",
  "--state",
  "Washington",
  "--organisation",
  "Wabbit Networks",
  "--common-name",
  "release",
]
const MAIN = join(PROJECT, "packages/cli/src/main.ts")

/** notation's trust policy: this repository, signed by `release` under a company's own root, at level strict. */
function writeNotationPolicy(config: string, rootPem: string): void {
  const store = join(config, "truststore/x509/ca/corporate")
  mkdirSync(store, { recursive: true })
  writeFileSync(join(store, "root.pem"), rootPem)
  const statement = {
    name: "corporate",
    registryScopes: [REPOSITORY],
    signatureVerification: { level: "strict" },
    trustStores: ["ca:corporate"],
    trustedIdentities: ["x509.subject: C=US, ST=Washington, O=Wabbit Networks, CN=release"],
  }
  writeFileSync(join(config, "trustpolicy.json"), JSON.stringify({ version: "1.0", trustPolicies: [statement] }))
}

/** One machine without service, endpoint and AWS credentials. */
function workplace() {
  const folder = mkdtempSync(join(tmpdir(), "sealwright-own-keys-"))
  const environment: { [name: string]: string } = { HOME: folder, KEY_PASSWORD: PASSWORD }
  const password = ["--password-source", "env:KEY_PASSWORD"]

  async function sealwright(...args: readonly string[]): Promise<Answer> {
    const { status, stdout, stderr } = await run(process.execPath, [MAIN, ...args, "--json"], environment, folder)
    if (stdout === "") throw new Error(stderr)
    return { status, answer: JSON.parse(stdout) }
  }

  async function must(...args: readonly string[]): Promise<Answer["answer"]> {
    const { status, answer } = await sealwright(...args)
    if (status !== 0) throw new Error(`sealwright ${args.join(" ")}: exit ${status}, ${JSON.stringify(answer)}`)
    return answer
  }

  return { folder, environment, password, sealwright, must, file: (name: string) => join(folder, name) }
}

withClients("R1, R32: keys of this machine and OpenSSL", ["openssl"], (openssl) => {
  const { folder, environment, password, sealwright, must, file } = workplace()
  afterAll(() => rmSync(folder, { recursive: true }))
  const command = (...args: readonly string[]): Promise<Outcome> => run(openssl, args, environment, folder)
  const keyFile = (name: string) => file(`.config/sealwright/keys/${name}.key.pem`)

  /** An openssl command that must succeed. */
  async function made(...args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await command(...args)
    if (status !== 0) throw new Error(`openssl ${args.join(" ")}: ${stderr}`)
    return stdout
  }

  test.each(["ecdsa-p256-sha256", "ecdsa-p384-sha384", "ecdsa-p521-sha512", "rsa-pss-sha256", "ed25519"])(
    "%s: OpenSSL reads the key and believes its request",
    async (algorithm) => {
      await must("key", "generate", algorithm, "--algorithm", algorithm, ...password)
      const { publicKey } = await must("key", "export", `local:${algorithm}`)
      expect(await made("pkey", "-in", keyFile(algorithm), "-passin", "env:KEY_PASSWORD", "-pubout")).toBe(publicKey)
      await must("key", "csr", `local:${algorithm}`, ...NAME, "--output", "x.csr", ...password)
      const request = await command("req", "-in", "x.csr", "-verify", "-noout", "-pubkey", "-subject")
      expect(request).toMatchObject({ status: 0, stdout: expect.stringContaining(publicKey) })
      expect(request.stdout + request.stderr).toContain("verify OK")
    },
  )

  test("PBKDF2 is read too; 128 MiB of scrypt are beyond OpenSSL's limit and within ours", async () => {
    for (const derivation of ["pbkdf2", "scrypt-128m"])
      await must("key", "generate", derivation, "--derivation", derivation, ...password)
    await made("pkey", "-in", keyFile("pbkdf2"), "-passin", "env:KEY_PASSWORD", "-noout")
    const refused = await command("pkey", "-in", keyFile("scrypt-128m"), "-passin", "env:KEY_PASSWORD", "-noout")
    expect(refused.status).not.toBe(0)
    await must("key", "csr", "local:scrypt-128m", ...NAME, ...password)
  })

  describe("what OpenSSL writes is imported", () => {
    const cases: readonly (readonly [string, readonly string[]])[] = [
      ["scrypt", ["pkcs8", "-topk8", "-scrypt"]],
      [
        "scrypt with other costs",
        ["pkcs8", "-topk8", "-scrypt", "-scrypt_N", "1024", "-scrypt_r", "16", "-scrypt_p", "2"],
      ],
      ["PBKDF2 over SHA-256", ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-iter", "700000"]],
      ["PBKDF2 over SHA-512, AES-128", ["pkcs8", "-topk8", "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"]],
      ["AES-192", ["pkcs8", "-topk8", "-v2", "aes-192-cbc"]],
      ["no encryption", ["pkcs8", "-topk8", "-nocrypt"]],
      ["SEC 1", ["ec"]],
    ]
    beforeAll(() => made("ecparam", "-name", "prime256v1", "-genkey", "-out", "ec.pem"))

    test.each(cases)("%s", async (name, write) => {
      const encrypted = write[0] === "pkcs8" && !write.includes("-nocrypt")
      await made(...write, "-in", "ec.pem", "-out", "other.pem", ...(encrypted ? ["-passout", "pass:short"] : []))
      writeFileSync(file("short"), "short\n", { mode: 0o600 })
      const to = `imported/${name.replace(/[^A-Za-z0-9]/g, "")}`
      const from = ["--from-password-source", `file:${file("short")}`]
      const { key } = await must("key", "import", "other.pem", "--name", to, ...from, ...password)
      expect(key).toMatchObject({ keyId: `local:${to}`, algorithm: "ecdsa-p256-sha256" })
      expect((await must("key", "export", key.keyId)).publicKey).toBe(await made("ec", "-in", "ec.pem", "-pubout"))
    })

    test("with the curve's parameters before it, and PKCS #1", async () => {
      await must("key", "import", "ec.pem", "--name", "with-parameters", ...password)
      await made("genrsa", "-traditional", "-out", "rsa.pem", "3072")
      const { key } = await must("key", "import", "rsa.pem", "--name", "rsa", ...password)
      expect(key.algorithm).toBe("rsa-pss-sha384")
    })

    test("but not the encryption of RFC 1421, nor triple DES, nor under a wrong password", async () => {
      const cases = [
        [["ec", "-aes256", "-passout", "pass:short"], "KEY_FILE_MALFORMED"],
        [["pkcs8", "-topk8", "-v2", "des3", "-passout", "pass:short"], "KEY_FILE_MALFORMED"],
        [["pkcs8", "-topk8", "-scrypt", "-passout", "pass:another"], "KEY_PASSWORD_WRONG"],
      ] as const
      writeFileSync(file("short"), "short\n", { mode: 0o600 })
      for (const [write, code] of cases) {
        await made(...write, "-in", "ec.pem", "-out", "other.pem")
        const from = ["--from-password-source", `file:${file("short")}`]
        const { status, answer } = await sealwright("key", "import", "other.pem", "--name", "no", ...from, ...password)
        expect([answer.error.code, status]).toEqual([code, code === "KEY_PASSWORD_WRONG" ? 4 : 1])
      }
    })
  })
})

withClients(
  "R2, R5, R32: signed without the service, judged by notation",
  ["openssl", "notation"],
  (openssl, notation) => {
    const { folder, environment, password, sealwright, must, file } = workplace()
    const ALGORITHMS = ["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha384"]
    let ca: OpensslCa
    let cacheOfGood: string
    let cacheOfRevoked: string

    beforeAll(async () => {
      ca = await opensslCa(openssl, join(folder, "ca"))
      for (const algorithm of ALGORITHMS) {
        await must("key", "generate", algorithm, "--algorithm", algorithm, ...password)
        await must("key", "csr", `local:${algorithm}`, ...NAME, "--output", `${algorithm}.csr`, ...password)
        await ca.certify(file(`${algorithm}.csr`), file(`${algorithm}.pem`))
      }
      writeNotationPolicy(file(".config/notation"), ca.rootPem)
      cacheOfGood = await ca.crlCache(file("cache-good"))
      await ca.revoke(file("ecdsa-p384-sha384.pem"))
      cacheOfRevoked = await ca.crlCache(file("cache-revoked"))
    }, 60_000)
    afterAll(() => rmSync(folder, { recursive: true }))

    async function signed(name: string, algorithm: string, ...more: readonly string[]) {
      const image = writeImage(file(name), name)
      const by = ["--key", `local:${algorithm}`, "--certificate", `${algorithm}.pem`, ...password]
      return { ...image, answer: await must("sign", image.path, "--reference", `${REPOSITORY}:v1`, ...by, ...more) }
    }

    function verify(path: string, digest: string, cache = cacheOfGood): Promise<Outcome> {
      return runOffline(notation, ["verify", "--debug", "--oci-layout", "--scope", REPOSITORY, `${path}@${digest}`], {
        ...environment,
        NOTATION_EXPERIMENTAL: "1",
        XDG_CONFIG_HOME: file(".config"),
        XDG_CACHE_HOME: cache,
      })
    }

    const accepted = { status: 0, stdout: expect.stringContaining("Successfully verified signature") }

    test.each(ALGORITHMS)("%s: accepted at level strict, under a trust store of CAs", async (algorithm) => {
      const { path, digest, answer } = await signed(`image-${algorithm}`, algorithm)
      expect(answer).toMatchObject({ key: { keyId: `local:${algorithm}` }, subject: { digest } })
      expect(await verify(path, digest)).toMatchObject(accepted)
    })

    test("refused once the CA's list has its certificate", async () => {
      const { path, digest } = await signed("revoked", "ecdsa-p384-sha384")
      const refused = await verify(path, digest, cacheOfRevoked)
      expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining("is revoked") })
      const other = await signed("standing", "ecdsa-p256-sha256")
      expect(await verify(other.path, other.digest, cacheOfRevoked)).toMatchObject(accepted)
    })

    test("refused when its payload was changed", async () => {
      const { path, digest } = await signed(
        "tampered",
        "ecdsa-p256-sha256",
        "--output",
        file("tampered.jws"),
        "--no-attach",
      )
      const envelope: Envelope = JSON.parse(readFileSync(file("tampered.jws"), "utf8"))
      const payload = JSON.parse(Buffer.from(envelope.payload, "base64url").toString())
      payload.targetArtifact.size++
      const forged = { ...envelope, payload: Buffer.from(JSON.stringify(payload)).toString("base64url") }
      const subject = {
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        digest,
        size: payload.targetArtifact.size - 1,
      }
      attachSignature(path, subject, Buffer.from(JSON.stringify(forged)))
      expect(await verify(path, digest)).toMatchObject({
        status: 1,
        stderr: expect.stringContaining("signature is invalid"),
      })
    })

    test("R5: a CA's own key does not sign, nor a key under another one's certificate", async () => {
      await must("key", "import", ca.keyPath, "--name", "root", ...password)
      const image = writeImage(file("by-root"), "by-root")
      const attempt = async (key: string, certificate: string) => {
        const by = ["--key", `local:${key}`, "--certificate", certificate, ...password]
        const { status, answer } = await sealwright("sign", image.path, ...by)
        return [answer.error.code, status]
      }
      expect(await attempt("root", ca.rootPath)).toEqual(["CA_KEY_REFUSED", 4])
      expect(await attempt("ecdsa-p256-sha256", "rsa-pss-sha384.pem")).toEqual(["CERTIFICATE_NOT_OF_KEY", 1])
    })

    test("a file's signature is written beside it", async () => {
      writeFileSync(file("tool.tar.gz"), "tool")
      const by = ["--key", "local:ecdsa-p256-sha256", "--certificate", "ecdsa-p256-sha256.pem", ...password]
      const { output } = await must("sign", "tool.tar.gz", ...by)
      expect(output).toBe("tool.tar.gz.jws.sig")
      expect(readFileSync(file(output)).length).toBeGreaterThan(500)
    })
  },
)

withClients(
  "R1, R2: a token's key signs without the service, judged by notation",
  ["openssl", "notation", "softhsm", "graphene-pk11"],
  (openssl, notation, installed) => {
    const { folder, environment, sealwright, must, file } = workplace()
    let softHsm: SoftHsm
    let token: readonly string[]
    afterAll(() => {
      softHsm?.close()
      rmSync(folder, { recursive: true })
    })

    test("its request is certified, its signature accepted; a wrong PIN has its own code", async () => {
      softHsm = openSoftHsm(installed)
      await softHsm.addToken("desk")
      const settings = {
        module: softHsm.module,
        packageFolder: PACKAGE_FOLDER,
        tokenLabel: "desk",
        pin: async () => PIN,
      }
      const home = await openPkcs11Home(settings)
      await home.create("release", "held", "ecdsa-p256-sha256")
      await home.close()
      Object.assign(environment, { TOKEN_PIN: PIN, WRONG: "111111", SOFTHSM2_CONF: process.env.SOFTHSM2_CONF ?? "" })
      token = ["--module", softHsm.module, "--graphene", PACKAGE_FOLDER, "--pin-source", "env:TOKEN_PIN"]
      const key = "pkcs11:token=desk;object=release"

      const ca = await opensslCa(openssl, join(folder, "ca"))
      await must("key", "csr", key, ...NAME, "--output", "release.csr", ...token)
      await ca.certify(file("release.csr"), file("release.pem"))
      const { path, digest } = writeImage(file("image"), "image")
      const made = await must("sign", path, "--key", key, "--certificate", "release.pem", ...token)
      expect(made.key.keyId).toMatch(/^pkcs11:token=desk;object=release;id=/)

      writeNotationPolicy(file(".config/notation"), ca.rootPem)
      const verify = ["verify", "--debug", "--oci-layout", "--scope", REPOSITORY, `${path}@${digest}`]
      const places = { XDG_CONFIG_HOME: file(".config"), XDG_CACHE_HOME: await ca.crlCache(file("cache")) }
      expect(
        await runOffline(notation, verify, { ...environment, NOTATION_EXPERIMENTAL: "1", ...places }),
      ).toMatchObject({
        status: 0,
        stdout: expect.stringContaining("Successfully verified signature"),
      })
      const wrong = [...token.slice(0, -1), "env:WRONG"]
      const { status, answer } = await sealwright("key", "csr", key, ...NAME, ...wrong)
      expect([answer.error.code, status === 0]).toEqual(["PIN_INCORRECT", false])
    })
  },
)
