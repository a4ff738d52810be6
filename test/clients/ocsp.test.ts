import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda"
import { certIdDigest } from "@sealwright/adapters/platform"
import { readDeployment, readIssuer } from "@sealwright/core/ledger/trust"
import { createOcspResponder } from "@sealwright/core/ocsp/flow"
import { makeOcspResponders } from "@sealwright/core/ocsp/responder"
import { hexDecode } from "@sealwright/formats/bytes"
import { pemEncode } from "@sealwright/formats/pem"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { run, withClients } from "../support/clients.ts"
import { requestFor } from "../support/ocsp.ts"
import { ADMIN, createService, signRequest } from "../support/service.ts"
import {
  profileArguments,
  REGION,
  REPOSITORY,
  readEnvelope,
  startDeployment,
  type TestDeployment,
} from "./deployment.ts"

withClients("R24, R26, R32: stock clients ask for the status of certificates", ["openssl", "curl"], (...paths) => {
  const [openssl = "", curl = ""] = paths

  describe.each(["ecdsa-p256-sha256", "ecdsa-p384-sha384"])("%s", (algorithm) => {
    let deployment: TestDeployment
    let url = ""
    const file = (name: string) => join(deployment.folder, name)
    const ask = (...args: readonly string[]) => run(openssl, ["ocsp", ...args], {}, deployment.folder)
    const command = (path: string, ...args: readonly string[]) => run(path, args, {}, deployment.folder)
    const about = (leaf: string, issuer = "ci.pem") => ["-issuer", issuer, "-cert", leaf, "-CAfile", "root.pem"]
    const online = ["-verify_other", "ci.pem", "-url"]

    async function sign(name: string): Promise<string> {
      writeFileSync(file(name), `artifact ${name}`)
      const request = ["sign", name, "--profile", "release", "--reference", `${REPOSITORY}:v1`]
      const { signature } = await deployment.must("pipeline", ...request, "--output", `${name}.jws`)
      for (const [i, kind] of [name, "ci", "root"].entries()) {
        const der = Buffer.from(readEnvelope(file(`${name}.jws`)).header.x5c[i] ?? "", "base64")
        writeFileSync(file(`${kind}.pem`), pemEncode("CERTIFICATE", der))
      }
      return signature.id
    }

    beforeAll(async () => {
      deployment = await startDeployment({ ocspPort: 0 })
      url = deployment.service.ocspUrl ?? ""
      const { must } = deployment
      await deployment.setUp()
      for (const issuer of ["ci", "other"]) await must("admin", "issuer", "create", issuer, "--algorithm", algorithm)
      await must("admin", ...profileArguments("release", "ci", REPOSITORY))
      for (const issuer of ["ci", "other"]) await must("admin", "ocsp", "create", issuer, "--algorithm", algorithm)
      const { issuers } = await must("auditor", "issuer", "list")
      for (const { name, certificate } of issuers) writeFileSync(file(`${name}.pem`), certificate)
      const { ocspResponders } = await must("auditor", "ocsp", "show")
      for (const { issuer, certificate } of ocspResponders) writeFileSync(file(`${issuer}-ocsp.pem`), certificate)
      await sign("good")
      const revoked = await sign("revoked")
      await must("revoker", "revoke", "--signature", revoked, "--reason", "superseded")
      await must("admin", "publish")
    }, 120_000)

    afterAll(() => deployment?.close())

    test("the CRL of the same moment, for comparison, has exactly the revoked one", async () => {
      const [point] =
        /http:\S+\.crl/.exec((await command(openssl, "x509", "-in", "good.pem", "-noout", "-text")).stdout) ?? []
      await command(curl, "-sS", "-o", "ci.crl", point ?? "")
      const { stdout } = await command(openssl, "crl", "-inform", "DER", "-in", "ci.crl", "-noout", "-text")
      expect(stdout.match(/Serial Number/g)).toHaveLength(1)
    })

    test("good, by POST with a nonce, with SHA-1 and with SHA-256", async () => {
      for (const hash of [[], ["-sha256"]]) {
        const { status, stdout, stderr } = await ask(...hash, ...about("good.pem"), ...online, url, "-resp_text")
        expect(stderr).toContain("Response verify OK")
        expect(stderr).not.toContain("no nonce")
        expect(stdout).toMatch(/good\.pem: good\n\s+This Update: .*\n\s+Next Update: /)
        expect(stdout).toContain("OCSP Nonce:")
        expect(status).toBe(0)
      }
    })

    test("revoked with its reason and time; unknown; both in one request", async () => {
      const { stdout, stderr } = await ask(
        ...about("good.pem"),
        "-cert",
        "revoked.pem",
        "-serial",
        "0x01ffffff",
        ...online,
        url,
      )
      expect(stderr).toContain("Response verify OK")
      expect(stdout).toMatch(/good\.pem: good/)
      expect(stdout).toMatch(/revoked\.pem: revoked\n(?:.*\n){2}\s+Reason: superseded\n\s+Revocation Time: /)
      expect(stdout).toMatch(/0x01ffffff: unknown/)
    })

    test("a serial of another issuer is unknown there; a certificate below another CA than asked is unauthorized", async () => {
      const { stdout } = await command(openssl, "x509", "-in", "good.pem", "-noout", "-serial")
      const serial = `0x${stdout.trim().replace("serial=", "")}`
      const other = ["-issuer", "other.pem", "-serial", serial, "-CAfile", "root.pem", "-verify_other", "other.pem"]
      const elsewhere = await ask(...other, "-url", url)
      expect(elsewhere.stderr).toContain("Response verify OK")
      expect(elsewhere.stdout).toContain(`${serial}: unknown`)
      for (const issuer of ["other.pem", "root.pem"])
        expect((await ask(...about("good.pem", issuer), ...online, url)).stdout).toContain("unauthorized (6)")
    })

    test("a tampered response, one for another request, and a bad request", async () => {
      await ask(
        "-issuer",
        "ci.pem",
        "-cert",
        "good.pem",
        "-reqout",
        "q.der",
        ...online,
        url,
        "-respout",
        "r.der",
        "-CAfile",
        "root.pem",
      )
      const verify = (respin: string, reqin = "q.der") =>
        ask("-reqin", reqin, "-respin", respin, "-CAfile", "root.pem", "-verify_other", "ci.pem")
      expect((await verify("r.der")).stderr).toContain("Response verify OK")
      const bytes = readFileSync(file("r.der"))
      // Status good, [0] of no content, becomes unknown, [2].
      const at = bytes.indexOf(Buffer.from("8000180f", "hex"))
      expect(at).toBeGreaterThan(0)
      writeFileSync(file("t.der"), bytes.with(at, 0x82))
      expect((await verify("t.der")).stderr).not.toContain("Response verify OK")
      await ask("-issuer", "ci.pem", "-cert", "good.pem", "-reqout", "q2.der")
      expect((await verify("r.der", "q2.der")).stderr).toMatch(/[Nn]once/)
      writeFileSync(file("junk"), "hello")
      const type = ["-H", "Content-Type: application/ocsp-request"]
      const out = ["-sS", "-o", "junk.der", "-w", "%{http_code} %{content_type}", "--data-binary", "@junk"]
      expect((await command(curl, ...out, ...type, url)).stdout).toBe("200 application/ocsp-response")
      const malformed = await ask("-respin", "junk.der")
      expect(`${malformed.stdout}${malformed.stderr}`).toContain("malformedrequest (1)")
    })

    test("GET with the request in the path, which caches may keep; with a nonce they may not", async () => {
      const get = async (request: string, out: string) => {
        const base64 = encodeURIComponent(readFileSync(file(request)).toString("base64"))
        return (await command(curl, "-sS", "-D", "-", "-o", out, `${url}/${base64}`)).stdout.toLowerCase()
      }
      await ask("-issuer", "ci.pem", "-cert", "revoked.pem", "-no_nonce", "-reqout", "plain.der")
      const headers = await get("plain.der", "plain.res")
      expect(headers).toContain("200 ")
      expect(headers).toContain("content-type: application/ocsp-response")
      expect(headers).toMatch(/cache-control: max-age=300, public, no-transform, must-revalidate/)
      for (const name of ["expires", "etag", "last-modified"]) expect(headers).toMatch(new RegExp(`^${name}: .`, "m"))
      const read = await ask("-respin", "plain.res", ...about("revoked.pem"), "-verify_other", "ci.pem", "-no_nonce")
      expect(read.stderr).toContain("Response verify OK")
      expect(read.stdout).toContain("Reason: superseded")
      await ask("-issuer", "ci.pem", "-cert", "good.pem", "-reqout", "nonce.der")
      expect(await get("nonce.der", "nonce.res")).toContain("cache-control: no-store")
    })

    test("the responder of one issuer does not answer for another", async () => {
      await ask(
        "-issuer",
        "other.pem",
        "-serial",
        "0x0101",
        "-no_nonce",
        "-verify_other",
        "other.pem",
        "-url",
        url,
        "-respout",
        "other.der",
        "-CAfile",
        "root.pem",
      )
      const read = await ask("-respin", "other.der", ...about("good.pem"), "-verify_other", "ci.pem")
      expect(read.stdout).not.toContain("good.pem: good")
    })

    test("what the daily schedule sends: nothing is due yet, and a new key is there once it is asked for", async () => {
      const { endpoints, keys } = deployment.service
      const credentials = keys["function-publish"] as { accessKeyId: string; secretAccessKey: string }
      const client = new LambdaClient({ endpoint: endpoints.lambda, region: REGION, credentials })
      const Payload = Buffer.from(JSON.stringify({ renew: "ocsp-responders" }))
      const { Payload: answer } = await client.send(new InvokeCommand({ FunctionName: "admin", Payload }))
      expect(JSON.parse(Buffer.from(answer ?? []).toString())).toEqual({ renewed: 0 })
      client.destroy()
      const { ocspResponders } = await deployment.must("admin", "ocsp", "rotate", "other", "--algorithm", algorithm)
      expect(ocspResponders).toMatchObject([{ issuer: "other", generation: 2, algorithm }])
      expect(await deployment.sealwright("admin", "ocsp", "rotate", "nobody")).toMatchObject({ status: 2 })
      expect((await deployment.sealwright("revoker", "ocsp", "create", "ci")).status).toBe(4)
      const refused = await deployment.sealwright("admin", "ocsp", "create", "ci", "--days", "5")
      expect(refused).toMatchObject({ status: 1, answer: { error: { code: "REQUEST_MALFORMED" } } })
    })

    test("the open port answers OCSP alone; the API wants a signature for all else", async () => {
      const { apiUrl } = deployment.service
      const status = async (target: string) =>
        (await command(curl, "-sS", "-o", "x", "-w", "%{http_code}", target)).stdout
      expect(await status(`${apiUrl}/v1/ocsp-responders`)).toBe("403")
      expect(await status(url.replace("/v1/ocsp", "/v1/ocsp-responders"))).toBe("404")
    })
  })

  describe("responses of another time and of another CA", () => {
    const folder = mkdtempSync(join(tmpdir(), "sealwright-ocsp-"))
    afterAll(() => rmSync(folder, { recursive: true, force: true }))

    /** A service whose clock stands this long before ours, its certificates and one response as files. */
    async function answered(name: string, ageSec: number) {
      const service = createService()
      service.pass(Math.floor((Date.now() - service.ports.clock().getTime()) / 1000) - ageSec)
      await service.setUp()
      await service.profile("release")
      await makeOcspResponders(
        service.ports,
        { issuer: "ci", algorithm: undefined, days: 30, generation: undefined },
        ADMIN,
      )
      const [one] = await service.signer()(signRequest(["a"]))
      if (one === undefined || !("signed" in one)) throw new Error("not signed")
      await service.publish()
      const ci = await readIssuer(service.ports.table, "ci")
      const { root } = await readDeployment(service.ports.table)
      const { serialHex } = one.signed
      const answer = createOcspResponder({ ...service.ports, certIdDigest })
      const { response } = await answer(requestFor(ci.certificate, hexDecode(serialHex)))
      writeFileSync(join(folder, `${name}.der`), response)
      for (const [kind, der] of [
        ["ci", ci.certificate],
        ["root", root.certificate],
      ] as const)
        writeFileSync(join(folder, `${name}-${kind}.pem`), pemEncode("CERTIFICATE", der))
      return { serial: `0x${serialHex}` }
    }
    const judge = (response: string, ca: string, serial: string) =>
      run(
        openssl,
        ["ocsp", "-respin", `${response}.der`, "-issuer", `${ca}-ci.pem`, "-serial", serial, "-no_nonce"].concat([
          "-CAfile",
          `${ca}-root.pem`,
          "-verify_other",
          `${ca}-ci.pem`,
        ]),
        {},
        folder,
      )

    test("a response is refused once its nextUpdate is past", async () => {
      const fresh = await answered("fresh", 3600)
      const judged = await judge("fresh", "fresh", fresh.serial)
      expect(judged.stderr).toContain("Response verify OK")
      expect(judged.stdout).toContain(`${fresh.serial}: good`)
      expect(judged.stdout).not.toContain("Status times invalid")
      const old = await answered("old", 86_400 + 3600)
      const late = await judge("old", "old", old.serial)
      expect(`${late.stdout}${late.stderr}`).toMatch(/Status times invalid[\s\S]*status expired/)
    })

    test("the responder's certificate of another CA of the same name is refused", async () => {
      const ours = await answered("ours", 3600)
      await answered("theirs", 3600)
      const { stdout, stderr } = await judge("theirs", "ours", ours.serial)
      expect(stderr).toMatch(/Response Verify Failure/)
      expect(stdout).not.toContain("good")
    })
  })
})
