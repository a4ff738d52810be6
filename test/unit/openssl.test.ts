import { execFileSync, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { assembleCrl, crlTbs } from "@sealwright/formats/crl-write"
import { assembleCsr, CSR_LABEL, csrInfo } from "@sealwright/formats/csr"
import { pemEncode } from "@sealwright/formats/pem"
import { issuingCaRequestExtensions, subjectKeyIdentifier } from "@sealwright/formats/x509-write"
import { afterAll, describe, expect, test } from "vitest"
import { at, makeIssuer, makeSigner, nameOf, type Signer, serialOf } from "../support/chains.ts"

const version = spawnSync("openssl", ["version"], { encoding: "utf8" })
const present = version.status === 0
const folder = present ? mkdtempSync(join(tmpdir(), "sealwright-openssl-")) : ""
const NOW_SEC = String(Date.parse("2026-06-01T12:00:00Z") / 1000)

afterAll(() => {
  if (present) rmSync(folder, { recursive: true })
})

/** Exit status and all output of one openssl command. */
function openssl(...args: readonly string[]): { readonly status: number | null; readonly text: string } {
  const { status, stdout, stderr } = spawnSync("openssl", args, { encoding: "utf8", cwd: folder })
  return { status, text: stdout + stderr }
}

function save(name: string, label: string, der: Uint8Array): string {
  writeFileSync(join(folder, name), pemEncode(label, der))
  return name
}

describe.skipIf(!present)(`R31: OpenSSL as the judge of what we write (${version.stdout?.trim()})`, () => {
  const SCHEMES: readonly (readonly [SignatureScheme, string])[] = [
    ["ecdsa-p256-sha256", "ecdsa-with-SHA256"],
    ["ecdsa-p384-sha384", "ecdsa-with-SHA384"],
    ["rsa-pss-sha256", "rsassaPss"],
    ["rsa-pss-sha384", "rsassaPss"],
  ]

  test.each(SCHEMES)("%s", (scheme, algorithm) => {
    const issuer = makeIssuer(scheme, 3072)
    const root = save(`${scheme}.root`, "CERTIFICATE", issuer.root)
    const issuing = save(`${scheme}.issuing`, "CERTIFICATE", issuer.issuing)
    const signer = makeSigner("ecdsa-p256-sha256")
    const good = save(`${scheme}.good`, "CERTIFICATE", issuer.leaf({ signer, number: 1 }))
    const revoked = save(`${scheme}.revoked`, "CERTIFICATE", issuer.leaf({ signer, number: 2 }))

    const text = openssl("x509", "-in", good, "-noout", "-text").text
    expect(text).toContain(`Signature Algorithm: ${algorithm}`)
    expect(text).toContain("Digital Signature")
    expect(text).toContain("Code Signing")
    expect(text).toContain("email:web@sign.example.test")
    expect(text).toContain("URI:http://crl.example.test/issuer.crl")
    expect(openssl("x509", "-in", issuing, "-noout", "-text").text).toContain("CA:TRUE, pathlen:0")

    const list = (who: Signer, name: string, entries: Parameters<typeof crlTbs>[0]["entries"]) => {
      const tbs = crlTbs({
        issuer: nameOf(name),
        scheme,
        thisUpdate: at("2026-06-01T00:00:00Z"),
        nextUpdate: at("2026-06-08T00:00:00Z"),
        crlNumber: 300n,
        authorityKeyId: subjectKeyIdentifier(who.keyId),
        entries,
        expiredCertsOnCrl: at("2026-01-01T00:00:00Z"),
      })
      return assembleCrl(tbs, scheme, who.sign(tbs))
    }
    const entry = { serial: serialOf(2), revokedAt: at("2026-05-31T00:00:00Z"), reason: "keyCompromise" as const }
    const crl = save(`${scheme}.crl`, "X509 CRL", list(issuer.issuingSigner, "Test Issuer", [entry]))
    const rootCrl = save(`${scheme}.root.crl`, "X509 CRL", list(issuer.rootSigner, "Test Root", []))

    const crlText = openssl("crl", "-in", crl, "-noout", "-text", "-CAfile", issuing)
    expect(crlText).toMatchObject({ status: 0, text: expect.stringContaining("verify OK") })
    expect(crlText.text).toContain("X509v3 CRL Number")
    expect(crlText.text).toContain("Key Compromise")

    const verify = (leaf: string, ...more: readonly string[]) =>
      openssl("verify", "-x509_strict", "-attime", NOW_SEC, "-CAfile", root, "-untrusted", issuing, ...more, leaf)
    const withLists = ["-crl_check_all", "-CRLfile", crl, "-CRLfile", rootCrl]
    expect(verify(good)).toMatchObject({ status: 0 })
    expect(verify(good, ...withLists)).toMatchObject({ status: 0 })
    expect(verify(revoked)).toMatchObject({ status: 0 })
    expect(verify(revoked, ...withLists)).toMatchObject({
      status: 2,
      text: expect.stringContaining("certificate revoked"),
    })
  })

  const REQUESTS: readonly SignatureScheme[] = [...SCHEMES.map(([scheme]) => scheme), "rsa-pkcs1-sha256", "ed25519"]
  test.each(REQUESTS)("openssl req takes a request of an issuing CA: %s", (scheme) => {
    const signer = makeSigner(scheme)
    const extensions = issuingCaRequestExtensions(subjectKeyIdentifier(signer.keyId), 0)
    const info = csrInfo({ subject: nameOf("Test Issuer"), spki: signer.spki, extensions })
    const file = save(`${scheme}.csr`, CSR_LABEL, assembleCsr(info, scheme, signer.sign(info)))
    const { status, text } = openssl("req", "-in", file, "-noout", "-verify", "-text")
    expect({ status, text }).toMatchObject({ status: 0, text: expect.stringContaining("verify OK") })
    expect(text).toContain("CA:TRUE, pathlen:0")
    expect(text).toContain("Certificate Sign, CRL Sign")
    expect(text).toMatch(/CN ?= ?Test Issuer/)
    const bare = csrInfo({ subject: nameOf("Test Issuer"), spki: signer.spki, extensions: [] })
    const empty = save(`${scheme}.bare.csr`, CSR_LABEL, assembleCsr(bare, scheme, signer.sign(bare)))
    expect(openssl("req", "-in", empty, "-noout", "-verify")).toMatchObject({ status: 0 })
  })

  test("openssl crl reads a list of 100,000 entries to its end", () => {
    const issuer = makeIssuer("ecdsa-p256-sha256")
    const signer = issuer.issuingSigner
    function* entries() {
      for (let i = 0; i < 100_000; i++) {
        const serial = new Uint8Array(15)
        serial[0] = 1
        new DataView(serial.buffer).setUint32(11, i)
        yield { serial, revokedAt: at("2026-05-31T00:00:00Z") }
      }
    }
    const tbs = crlTbs({
      issuer: nameOf("Test Issuer"),
      scheme: signer.scheme,
      thisUpdate: at("2026-06-01T00:00:00Z"),
      nextUpdate: at("2026-06-08T00:00:00Z"),
      crlNumber: 1n,
      authorityKeyId: subjectKeyIdentifier(signer.keyId),
      entries: entries(),
    })
    const file = join(folder, "large.crl")
    writeFileSync(file, assembleCrl(tbs, signer.scheme, signer.sign(tbs)))
    const text = execFileSync("openssl", ["crl", "-inform", "DER", "-in", file, "-noout", "-text"], {
      maxBuffer: 2 ** 26,
    })
    expect(text.toString().split("Serial Number:").length - 1).toBe(100_000)
  })
})

test.runIf(!present)("openssl is not on this machine", () => {
  process.stdout.write("skipped: openssl is not there\n")
})
