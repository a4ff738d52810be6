import "reflect-metadata"
import * as x509 from "@peculiar/x509"
import { readDeployment, readIssuer } from "@sealwright/core/ledger/trust"
import { parseNotaryJws } from "@sealwright/formats/notary-jws"
import { describe, expect, test } from "vitest"
import { createService, NAMES, signRequest } from "../support/service.ts"

/** A library of others reads what we write, field by field, and checks the signatures with WebCrypto. */
describe.each(["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha384"] as const)(
  "@peculiar/x509 reads %s",
  (algorithm) => {
    test("root, issuer and leaf: names, extensions, signatures (R5, R6)", async () => {
      const service = createService()
      await service.setUp(algorithm)
      await service.profile("release")
      const [outcome] = await service.signer()(signRequest(["one"]))
      if (outcome === undefined || !("signed" in outcome)) throw new Error("not signed")
      const { x5c } = parseNotaryJws(outcome.signed.envelopes[0]?.bytes ?? new Uint8Array(0))
      const [leaf, issuer, root] = x5c.map((text) => new x509.X509Certificate(text))
      if (leaf === undefined || issuer === undefined || root === undefined) throw new Error("not three certificates")

      expect(root.subject).toBe(
        `C=${NAMES.country}, ST=${NAMES.state}, O=${NAMES.organisation}, CN=${NAMES.organisation} signing root`,
      )
      expect(issuer.issuer).toBe(root.subject)
      expect(leaf.issuer).toBe(issuer.subject)
      expect(leaf.subject).toContain("CN=release")
      expect(leaf.getExtension(x509.SubjectAlternativeNameExtension)?.names.toJSON()).toEqual([
        { type: "email", value: `release@${NAMES.identityHost}` },
      ])
      expect(leaf.getExtension(x509.ExtendedKeyUsageExtension)?.usages).toEqual(["1.3.6.1.5.5.7.3.3"])
      expect(leaf.getExtension(x509.KeyUsagesExtension)?.usages).toBe(x509.KeyUsageFlags.digitalSignature)
      expect(issuer.getExtension(x509.BasicConstraintsExtension)).toMatchObject({
        ca: true,
        pathLength: 0,
        critical: true,
      })
      expect(Buffer.from(leaf.serialNumber, "hex").length).toBe(15)

      const { root: stored } = await readDeployment(service.ports.table)
      expect(Buffer.from(root.rawData).equals(stored.certificate)).toBe(true)
      expect(Buffer.from(issuer.rawData).equals((await readIssuer(service.ports.table, "ci")).certificate)).toBe(true)
      expect(await leaf.verify({ publicKey: issuer, signatureOnly: true })).toBe(true)
      expect(await issuer.verify({ publicKey: root, signatureOnly: true })).toBe(true)
      expect(await root.verify({ publicKey: root, signatureOnly: true })).toBe(true)
      expect(await leaf.verify({ publicKey: root, signatureOnly: true }).catch(() => false)).toBe(false)
    })
  },
)
